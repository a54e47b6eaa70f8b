"""A lane serves one destination: it claims as much as it can deliver in a moment, and has a host for the plugin.

A destination has one lane or more; one failing or hanging lane holds back no other, and no other destination.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from glycanbridge.attempt import Attempts
from glycanbridge.delivery import Claim, Delivery, Outcome, Result
from glycanbridge.destinations import Destination
from glycanbridge.hosts import CLOSE_S, Host
from glycanbridge.hosts.forks import Forks
from glycanbridge.hosts.messages import HostPlan
from glycanbridge.hosts.process import ProcessHost
from glycanbridge.hosts.thread import LeftBehind, ThreadHost

log = logging.getLogger(__name__)

LARGEST_BATCH = 64
"""What a crash can cut off, and so repeat, for each lane."""
BATCH_S = 0.1
"""A batch is as large as can be delivered in this time: a fast destination costs few disk syncs, and what a slow one
is owed is left for the other lanes."""


class Lane:
    """One lane of a destination, for one thread."""

    def __init__(
        self,
        destination: Destination,
        host: Host,
        *,
        number: int,
        stopping: threading.Event,
        leave: Callable[[], None] = lambda: None,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        """`leave` is called when it is closed; `seconds` tells how long attempts take."""
        self.destination = destination
        self.host = host
        self.name = f"lane-{destination.name}-{number}"
        self.stopping = stopping
        """Set when the bridge stops: begin nothing new."""
        self.took_s = 0.0
        """How long the last attempt took."""
        self._leave = leave
        self._seconds = seconds
        self._room = 1.0

    @property
    def batch(self) -> int:
        """How many deliveries to claim. One at a time, if a crash must put no others in doubt."""
        terms = self.destination.terms
        return 1 if terms.holds_unknown or terms.unknown_counts else int(self._room)

    def deliver(self, claim: Claim) -> Outcome:
        """Make one attempt; whatever the plugin does, it ends in an outcome, and in time."""
        started = self._seconds()
        outcome = self._refused(claim) or self.host.deliver(claim.delivery)
        self.took_s = self._seconds() - started
        fits = BATCH_S / max(self.took_s, BATCH_S / LARGEST_BATCH)
        self._room = 1.0 if outcome.result.failed else max(1.0, min(2 * self._room, fits))
        return outcome

    def ends_batch(self, outcome: Outcome) -> bool:
        """Whether the rest of the batch is to be put back, after an attempt that ended in `outcome`.

        Also when the destination has become slow: outcomes would wait for the others, and other lanes for the rest.
        """
        return outcome.result.failed or self.took_s > BATCH_S or self.stopping.is_set()

    def _refused(self, claim: Claim) -> Outcome | None:
        """Why the plugin is not even called, if so."""
        if not claim.whole:
            told = "the event in the journal is damaged, its body is not what was signed: see `glycanbridge db check`"
        elif claim.cut_off and not self.destination.allows(claim.step):
            told = f"the last of {claim.delivery.attempt - 1} attempts did not come to an end: it kills the process"
        else:
            return None
        return Outcome(result=Result.PERMANENT, error=told)

    def close(self) -> None:
        """Let the plugin let go of what it holds."""
        self.host.close()
        self._leave()


class SharedPlugin:
    """The one instance of a plugin that every lane of a destination calls, where they are threads of the bridge.

    It is made by the first call, within that call's time limit, and closed by the last lane.
    """

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._lock = threading.Lock()
        self._attempts: Attempts | None = None
        self._lanes = destination.settings.lanes

    def deliver(self, delivery: Delivery) -> Outcome:
        """Make one attempt. Raises whatever the plugin raises when it is made."""
        with self._lock:
            if self._attempts is None:
                self._attempts = self._destination.attempts()
        return self._attempts.deliver(delivery)

    def leave(self) -> None:
        """A lane ends. A plugin that takes longer than `CLOSE_S` to close is left behind."""
        with self._lock:
            self._lanes -= 1
            last = self._lanes == 0
        if last and self._attempts is not None:
            closing = threading.Thread(target=self._attempts.close, name=f"close-{self._destination.name}", daemon=True)
            closing.start()
            closing.join(CLOSE_S)
            if closing.is_alive():
                log.error("the plugin does not close; it is left behind", extra={"destination": self._destination.name})


def open_lanes(destination: Destination, *, forks: Forks, stopping: threading.Event) -> list[Lane]:
    """Every lane of a destination, each with a host of its own. No plugin is made before the first delivery."""
    settings = destination.settings
    if settings.isolation == "process":
        plan = HostPlan(
            destination=destination.name,
            plugin=settings.plugin,
            settings=settings.settings,
            folder=destination.folder,
            tries=destination.retry.tries,
            memory_mb=settings.memory_mb,
        )

        def lane(number: int) -> Lane:
            host = ProcessHost(plan=plan, timeout_s=settings.timeout_s, forks=forks)
            return Lane(destination, host, number=number, stopping=stopping)

    else:
        shared, left_behind = SharedPlugin(destination), LeftBehind()

        def lane(number: int) -> Lane:
            host = ThreadHost(call=shared.deliver, timeout_s=settings.timeout_s, left_behind=left_behind)
            return Lane(destination, host, number=number, stopping=stopping, leave=shared.leave)

    return [lane(number) for number in range(1, settings.lanes + 1)]
