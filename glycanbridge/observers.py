"""Tells plugins how every attempt has ended: from memory, a moment later, in hosts of their own.

For whoever counts, mirrors or alerts (`on_delivery_settled`). Nothing that such a plugin does can hold up or spoil a
delivery: what it does not take in time is dropped, with a line in the log. What must not be lost is journaled instead.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence

from glycanbridge.announcements import settled
from glycanbridge.bridge_events import parse_kept
from glycanbridge.delivery import Clock, Delivery, Ended, Result, wall_clock
from glycanbridge.destinations import Destination
from glycanbridge.errors import HostStopped, without_text
from glycanbridge.event_types import DELIVERY_SETTLED
from glycanbridge.hosts.forks import Forks
from glycanbridge.lanes import Lane, open_lanes

log = logging.getLogger(__name__)

MOST_WAITING = 10_000
"""What may wait for one observer; the oldest is dropped for what is more."""
AT_ONCE = 64
START_AGAIN_S = 30.0
LAST_WORDS_S = 2.0
"""How long a stop waits for what is still to be told."""


class Observer:
    """One destination that is told, with a thread and a host of its own."""

    def __init__(self, lane: Lane, *, clock: Clock = wall_clock) -> None:
        """`lane` is the observer's own: nothing is claimed for it."""
        self.name = lane.destination.name
        self._lane = lane
        self._clock = clock
        self._waiting: deque[Ended] = deque()
        self._news = threading.Condition()
        self._stopping = False
        self._dropped = 0
        self._thread = threading.Thread(target=self._run, name=f"observer-{self.name}", daemon=True)

    def start(self) -> None:
        """Let it run."""
        self._thread.start()

    def tell(self, ended: Ended) -> None:
        """Have it told; this returns at once."""
        with self._news:
            self._waiting.append(ended)
            if len(self._waiting) > MOST_WAITING:
                self._waiting.popleft()
                self._dropped += 1
            self._news.notify()

    def stop(self) -> None:
        """Tell what waits, if it takes no more than `LAST_WORDS_S`, and end."""
        with self._news:
            self._stopping = True
            self._news.notify()
        self._thread.join(LAST_WORDS_S)
        with self._news:
            self._dropped += len(self._waiting)
            self._waiting.clear()
        self._tell_dropped()
        self._lane.close()

    def _run(self) -> None:
        while (some := self._next()) is not None:
            try:
                self._hand_over(some)
            except HostStopped:
                return
            except BaseException as error:  # whatever it is, the next may be told
                log.error("an observer failed and goes on", extra=self._where | {"error": without_text(error)})  # noqa: TRY400
            self._tell_dropped()

    def _next(self) -> list[Ended] | None:
        """What to tell next, once there is something; `None` if nothing will come any more."""
        with self._news:
            self._news.wait_for(lambda: self._waiting or self._stopping)
            some = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
            return some or None

    def _hand_over(self, some: Sequence[Ended]) -> None:
        host, left = self._lane.host, [told for each in some if self._takes(told := self._told(each))]
        while left:
            not_ready = host.start() or host.trouble()
            if not_ready is not None:
                log.error("the observer does not start: %s", not_ready, extra=self._where)
                self._dropped += len(left)
                with self._news:
                    self._news.wait_for(lambda: self._stopping, START_AGAIN_S)
                return
            made = host.deliver(left)
            for told, each in zip(left, made, strict=False):
                if each.outcome.result is not Result.DELIVERED:
                    log.warning("not observed: %s", each.outcome.error, extra=self._where | {"delivery": told.id})
            left = left[len(made) :]

    def _told(self, ended: Ended) -> Delivery:
        return settled(ended, told_to=self.name, now=self._clock())

    def _takes(self, told: Delivery) -> bool:
        return self._lane.destination.takes(DELIVERY_SETTLED, parse_kept(told.body).practice_id)

    def _tell_dropped(self) -> None:
        with self._news:
            dropped, self._dropped = self._dropped, 0
        if dropped:
            log.warning("settled deliveries were not told to an observer: %d", dropped, extra=self._where)

    @property
    def _where(self) -> dict[str, object]:
        return {"destination": self.name}


class Observers:
    """All destinations whose plugins want to know how attempts end."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def start(self) -> None:
        """Let them run."""
        for each in self._observers:
            each.start()

    def tell(self, ended: Ended) -> None:
        """Have it told to each; this returns at once."""
        for each in self._observers:
            each.tell(ended)

    def stop(self) -> None:
        """Tell what waits, and end."""
        for each in self._observers:
            each.stop()


def open_observers(destinations: Sequence[Destination], *, forks: Forks) -> Observers:
    """An observer for each destination that runs and takes such events. No plugin is made before there is something."""
    observers = []
    for each in destinations:
        if each.runs and each.takes(DELIVERY_SETTLED):
            (lane,) = open_lanes(each, forks=forks, stopping=threading.Event(), lanes=1)
            observers.append(Observer(lane))
    return Observers(observers)
