"""A lane serves one destination: it claims as much as it can deliver in a moment, and has a host for the plugin.

A destination has one lane or more; one failing or hanging lane holds back no other, and no other destination.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from glycanbridge.attempt import Attempts
from glycanbridge.delivery import Claim, Delivery, Outcome, ReportSource, Result
from glycanbridge.destinations import Destination
from glycanbridge.hosts import BATCH_S, CLOSE_S, Host, Made
from glycanbridge.hosts.forks import Forks
from glycanbridge.hosts.messages import HostPlan
from glycanbridge.hosts.process import ProcessHost
from glycanbridge.hosts.thread import LeftBehind, ThreadHost

log = logging.getLogger(__name__)

LARGEST_BATCH = 64
"""What a crash can cut off, and so repeat, for each lane."""
EXPECTED_S = BATCH_S / 2
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
    ) -> None:
        """`leave` is called when it is closed."""
        self.destination = destination
        self.host = host
        self.name = f"lane-{destination.name}-{number}"
        self.stopping = stopping
        """Set when the bridge stops: begin nothing new."""
        self._leave = leave
        self._room = 1.0

    @property
    def batch(self) -> int:
        """How many deliveries to claim. One at a time, if a crash must put no others in doubt."""
        return 1 if self.destination.terms.holds_unknown else int(self._room)

    def deliver(self, claims: Sequence[Claim]) -> list[tuple[Claim, Made]]:
        """Make attempts in turn; whatever the plugin does, each ends in an outcome, and in time.

        A failure ends the turn. What is missing in the end was not begun, and is to be put back.
        """
        refused = [(claim, Made(outcome, 0.0)) for claim in claims if (outcome := self._refused(claim)) is not None]
        others = [claim for claim in claims if self._refused(claim) is None] if refused else claims
        made = self.host.deliver([claim.delivery for claim in others]) if others else []
        for each in made:
            fits = EXPECTED_S / max(each.took_s, EXPECTED_S / LARGEST_BATCH)
            self._room = 1.0 if each.outcome.failed else max(1.0, min(2 * self._room, fits))
        return [*refused, *zip(others, made, strict=False)]

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

    def __init__(self, destination: Destination, *, lanes: int, reports: ReportSource | None = None) -> None:
        self._destination = destination
        self._reports = reports
        self._lock = threading.Lock()
        self._attempts: Attempts | None = None
        self._lanes = lanes

    def deliver(self, delivery: Delivery) -> Outcome:
        """Make one attempt. Raises whatever the plugin raises when it is made."""
        with self._lock:
            if self._attempts is None:
                self._attempts = self._destination.attempts()
        return self._attempts.deliver(delivery if self._reports is None else delivery.with_reports(self._reports))

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


def open_lanes(
    destination: Destination,
    *,
    forks: Forks,
    stopping: threading.Event,
    lanes: int | None = None,
    reports: ReportSource | None = None,
) -> list[Lane]:
    """Every lane of a destination, or so many, each with a host of its own. No plugin is made before it is needed.

    `reports`: where report files come from, if there are any.
    """
    settings = destination.settings
    lanes = settings.lanes if lanes is None else lanes
    if settings.isolation == "process":
        plan = HostPlan(
            destination=destination.name,
            plugin=settings.plugin,
            plugin_file=destination.plugin_file,
            settings=settings.settings,
            folder=destination.folder,
            tries=destination.retry.tries,
            memory_mb=settings.memory_mb,
            reports=reports is not None,
        )

        def lane(number: int) -> Lane:
            host = ProcessHost(plan=plan, timeout_s=settings.timeout_s, forks=forks, reports=reports)
            return Lane(destination, host, number=number, stopping=stopping)

    else:
        shared, left_behind = SharedPlugin(destination, lanes=lanes, reports=reports), LeftBehind()

        def lane(number: int) -> Lane:
            host = ThreadHost(
                call=shared.deliver, timeout_s=settings.timeout_s, left_behind=left_behind, stopping=stopping
            )
            return Lane(destination, host, number=number, stopping=stopping, leave=shared.leave)

    return [lane(number) for number in range(1, lanes + 1)]
