"""Tells plugins how every attempt has ended: from memory, a moment later, in hosts of their own.

For whoever counts, mirrors or alerts (`on_delivery_settled`). Nothing that such a plugin does can hold up or spoil a
delivery: what it does not take in time is dropped, with a line in the log. What must not be lost is journaled instead.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from glycanbridge.announcements import settled, told_to
from glycanbridge.bridge_events import parse_kept
from glycanbridge.delivery import Clock, Delivery, Ended, Result, wall_clock
from glycanbridge.destinations import Destination
from glycanbridge.errors import HostStopped, without_text
from glycanbridge.event_types import DELIVERY_SETTLED
from glycanbridge.hosts import CLOSE_S
from glycanbridge.hosts.forks import Forks
from glycanbridge.lanes import Lane, open_lanes

log = logging.getLogger(__name__)

MOST_WAITING = 10_000
"""What may wait for one observer; the oldest is dropped for what is more."""
AT_ONCE = 64
START_AGAIN_S = 30.0
LAST_WORDS_S = 2.0
"""How long a stop waits for what is still to be told."""


class _News(NamedTuple):
    """How an attempt ended, made ready once for whoever is told."""

    practice_id: str | None
    """`None`: nobody knows."""
    told: Delivery


class Observer:
    """One destination that is told, with a thread and a host of its own."""

    def __init__(self, lane: Lane) -> None:
        """`lane` is the observer's own: nothing is claimed for it."""
        self.name = lane.destination.name
        self._lane = lane
        self._waiting: deque[Delivery] = deque()
        self._news = threading.Condition()
        self._ending = False
        self._dropped = 0
        self._thread = threading.Thread(target=self._run, name=f"observer-{self.name}", daemon=True)

    def start(self) -> None:
        """Let it run."""
        self._thread.start()

    def tell(self, news: _News) -> None:
        """Have it told, if it takes it; this returns at once."""
        if not self._lane.destination.takes(DELIVERY_SETTLED, news.practice_id):
            return
        with self._news:
            self._waiting.append(told_to(news.told, self.name))
            if len(self._waiting) > MOST_WAITING:
                self._waiting.popleft()
                self._dropped += 1
            self._news.notify()

    def end(self) -> None:
        """Nothing more will come: tell what waits, and end."""
        with self._news:
            self._ending = True
            self._news.notify()

    def close(self, deadline: float) -> None:
        """Wait until it has ended, up to a `deadline` of the steady clock; what is not told by then is dropped."""
        self._thread.join(max(0.0, deadline - time.monotonic()))
        self._lane.stopping.set()
        with self._news:
            self._dropped += len(self._waiting)
            self._waiting.clear()
            self._news.notify()
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

    def _next(self) -> list[Delivery] | None:
        """What to tell next, once there is something; `None` if nothing will come any more."""
        with self._news:
            self._news.wait_for(lambda: self._waiting or self._ending)
            return [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))] or None

    def _hand_over(self, left: list[Delivery]) -> None:
        host, stopping = self._lane.host, self._lane.stopping
        while left and not stopping.is_set():
            not_ready = host.start() or host.trouble()
            if not_ready is not None:
                log.error("the observer does not start: %s", not_ready, extra=self._where)
                with self._news:
                    self._news.wait_for(lambda: self._ending, START_AGAIN_S)
                break
            made = host.deliver(left)
            for told, each in zip(left, made, strict=False):
                if each.outcome.result is not Result.DELIVERED:
                    log.warning("not observed: %s", each.outcome.error, extra=self._where | {"delivery": told.id})
            left = left[len(made) :]
        with self._news:
            self._dropped += len(left)

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

    def __init__(self, observers: Sequence[Observer], *, clock: Clock = wall_clock) -> None:
        self._observers = observers
        self._clock = clock

    def start(self) -> None:
        """Let them run."""
        for each in self._observers:
            each.start()

    def tell(self, ended: Ended) -> None:
        """Have it told to each; this returns at once, and raises nothing."""
        if not self._observers:
            return
        try:
            told = settled(ended, now=self._clock())
            news = _News(parse_kept(told.body).practice_id or None, told)
        except Exception as error:  # nobody hears of it, and the delivery is none the worse for it
            log.error("an attempt cannot be told of: %s", without_text(error), extra=ended.told)  # noqa: TRY400
            return
        for each in self._observers:
            each.tell(news)

    def stop(self) -> None:
        """Tell what waits, and end: all of them at once."""
        for each in self._observers:
            each.end()
        deadline = time.monotonic() + LAST_WORDS_S
        closing = [threading.Thread(target=each.close, args=(deadline,), daemon=True) for each in self._observers]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join(max(0.0, deadline + 2 * CLOSE_S - time.monotonic()))


def open_observers(destinations: Sequence[Destination], *, forks: Forks) -> Observers:
    """An observer for each destination that runs and takes such events. No plugin is made before there is something."""
    observers = []
    for each in destinations:
        if each.runs and each.takes(DELIVERY_SETTLED):
            (lane,) = open_lanes(each, forks=forks, stopping=threading.Event(), lanes=1)
            observers.append(Observer(lane))
    return Observers(observers)
