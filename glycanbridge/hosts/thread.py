"""Runs a plugin in a thread of the bridge: for tests and tiny machines, because a thread that hangs cannot be ended.

An attempt that takes too long is given up and its thread left behind; a few of those are borne, then the lane stops.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue

from glycanbridge.delivery import Delivery, Outcome, Result
from glycanbridge.errors import without_text
from glycanbridge.hosts import CLOSE_S, Made, Stint

log = logging.getLogger("glycanbridge.plugin")

MOST_LEFT_BEHIND = 8
"""Threads of one destination that may hang before it is not called any more."""


class LeftBehind:
    """How many threads of one destination hang; its lanes' hosts share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0

    def count(self, change: int = 0) -> int:
        """How many there are after this change."""
        with self._lock:
            self._count += change
            return self._count


class _Batch:
    """Deliveries on their way through a caller's thread."""

    def __init__(self, deliveries: Sequence[Delivery]) -> None:
        self.deliveries = deliveries
        self.made: list[Made] = []
        self.ended = threading.Lock()
        self.ended.acquire()
        self._began = time.monotonic()
        self._handing_over = threading.Lock()
        self._left = self._is_last = False

    def hangs(self, timeout_s: float) -> bool:
        """Wait until it has ended; whether an attempt takes longer than `timeout_s`: then it is left."""
        while not self.ended.acquire(timeout=max(0.0, self._began + timeout_s - time.monotonic())):
            with self._handing_over:  # it may have come this very moment
                self._left = not self._is_last and time.monotonic() >= self._began + timeout_s
            if self._left:
                return True
        return False

    def take(self, made: Made, *, is_last: bool) -> bool:
        """Take an attempt that has been made; `False` if nobody waits for it any more."""
        with self._handing_over:
            if not self._left:
                self.made.append(made)
                self._began = time.monotonic()
                self._is_last = is_last
        return not self._left


class _Caller:
    """One long-lived thread that makes calls, until one of them hangs."""

    def __init__(
        self,
        call: Callable[[Delivery], Outcome],
        on_late: Callable[[Delivery, Outcome], None],
        stopping: threading.Event,
    ) -> None:
        self._call = call
        self._on_late = on_late
        self._stopping = stopping
        self._batches: SimpleQueue[_Batch | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="host-thread", daemon=True)
        self._thread.start()

    def deliver(self, deliveries: Sequence[Delivery], timeout_s: float) -> tuple[list[Made], bool]:
        """What was made in time, and whether the next one took too long: then this caller is never used again.

        The whole batch is handed over at once: to hand each call to another thread costs more than most calls.
        """
        batch = _Batch(deliveries)
        self._batches.put(batch)
        hangs = batch.hangs(timeout_s)
        return batch.made, hangs

    def close(self) -> None:
        """End the thread, or leave it."""
        self._batches.put(None)
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while (batch := self._batches.get()) is not None:
            stint = Stint()
            for number, delivery in enumerate(batch.deliveries, 1):
                made = stint.make(self._attempt, delivery)
                is_last = stint.over or self._stopping.is_set() or number == len(batch.deliveries)
                if not batch.take(made, is_last=is_last):
                    self._on_late(delivery, made.outcome)
                    return
                if is_last:
                    break
            batch.ended.release()

    def _attempt(self, delivery: Delivery) -> Outcome:
        try:
            return self._call(delivery)
        except BaseException as error:  # a plugin's SystemExit must not end the thread
            return Outcome(result=Result.TEMPORARY, error=without_text(error))


class ThreadHost:
    """A host that calls `call` in a thread; `left_behind` is shared by the lanes of one destination."""

    def __init__(
        self,
        *,
        call: Callable[[Delivery], Outcome],
        timeout_s: float,
        left_behind: LeftBehind,
        stopping: threading.Event,
    ) -> None:
        """Once `stopping` is set, nothing new is begun."""
        self._call = call
        self._timeout_s = timeout_s
        self._left_behind = left_behind
        self._stopping = stopping
        self._caller: _Caller | None = None

    def start(self) -> str | None:
        """There is nothing to get ready: a plugin that cannot be made is an attempt that fails."""
        return None

    def deliver(self, deliveries: Sequence[Delivery]) -> list[Made]:
        """Make attempts in turn; one is given up after `timeout_s`, and its thread is left behind."""
        trouble = self.trouble()
        if trouble is not None:
            return [Made(Outcome(result=Result.TEMPORARY, error=trouble), 0.0)]
        try:
            caller = self._caller = self._caller or _Caller(self._call, self._on_late, self._stopping)
        except RuntimeError as error:  # the machine has no thread left
            return [Made(Outcome(result=Result.TEMPORARY, error=f"no thread for the plugin: {error}"), 0.0)]
        made, hangs = caller.deliver(deliveries, self._timeout_s)
        if not hangs:
            return made
        self._caller = None
        self._left_behind.count(+1)
        told = f"no answer within {self._timeout_s:g} s: the thread is left behind"
        return [*made, Made(Outcome(result=Result.UNKNOWN, error=told), self._timeout_s)]

    def close(self) -> None:
        """End the thread if it is idle; the plugin is closed by whoever made it."""
        if self._caller is not None:
            self._caller.close()

    def trouble(self) -> str | None:
        """Says so when too many threads hang; once some of them come back, it may be called again."""
        hanging = self._left_behind.count()
        if hanging < MOST_LEFT_BEHIND:
            return None
        return f"{hanging} attempts hang in threads that cannot be ended; mend the plugin, or use isolation: process"

    def _on_late(self, delivery: Delivery, outcome: Outcome) -> None:
        self._left_behind.count(-1)
        told = {"destination": delivery.destination, "delivery": delivery.id, "error": outcome.error}
        log.warning("an attempt that was given up has ended after all: %s", outcome.result, extra=told)
