"""Runs a plugin in a thread of the bridge: for tests and tiny machines, because a thread that hangs cannot be ended.

An attempt that takes too long is given up and its thread left behind; a few of those are borne, then the lane stops.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

from glycanbridge.delivery import Delivery, Outcome, Result
from glycanbridge.errors import without_text
from glycanbridge.hosts import CLOSE_S

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


class _Caller:
    """One long-lived thread that makes calls, until one of them hangs."""

    def __init__(self, call: Callable[[Delivery], Outcome], on_late: Callable[[Delivery, Outcome], None]) -> None:
        self._call = call
        self._on_late = on_late
        self._deliveries: SimpleQueue[Delivery | None] = SimpleQueue()
        self._outcomes: SimpleQueue[Outcome] = SimpleQueue()
        self._handing_over = threading.Lock()
        self._left = False
        self._thread = threading.Thread(target=self._run, name="host-thread", daemon=True)
        self._thread.start()

    def deliver(self, delivery: Delivery, timeout_s: float) -> Outcome | None:
        """The call's outcome; `None` if it took too long: then this caller is never used again."""
        self._deliveries.put(delivery)
        try:
            return self._outcomes.get(timeout=timeout_s)
        except Empty:
            with self._handing_over:  # it may have come this very moment
                self._left = self._outcomes.empty()
                return None if self._left else self._outcomes.get()

    def close(self) -> None:
        """End the thread, or leave it."""
        self._deliveries.put(None)
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while (delivery := self._deliveries.get()) is not None:
            try:
                outcome = self._call(delivery)
            except BaseException as error:  # a plugin's SystemExit must not end the thread
                outcome = Outcome(result=Result.TEMPORARY, error=without_text(error))
            with self._handing_over:
                if not self._left:
                    self._outcomes.put(outcome)
                    continue
            self._on_late(delivery, outcome)
            return


class ThreadHost:
    """A host that calls `call` in a thread; `left_behind` is shared by the lanes of one destination."""

    def __init__(self, *, call: Callable[[Delivery], Outcome], timeout_s: float, left_behind: LeftBehind) -> None:
        self._call = call
        self._timeout_s = timeout_s
        self._left_behind = left_behind
        self._caller: _Caller | None = None

    def start(self) -> str | None:
        """There is nothing to get ready: a plugin that cannot be made is an attempt that fails."""
        return None

    def deliver(self, delivery: Delivery) -> Outcome:
        """Make one attempt; after `timeout_s` it is given up, and its thread is left behind."""
        trouble = self.trouble()
        if trouble is not None:
            return Outcome(result=Result.TEMPORARY, error=trouble)
        try:
            caller = self._caller = self._caller or _Caller(self._call, self._on_late)
        except RuntimeError as error:  # the machine has no thread left
            return Outcome(result=Result.TEMPORARY, error=f"no thread for the plugin: {error}")
        outcome = caller.deliver(delivery, self._timeout_s)
        if outcome is not None:
            return outcome
        self._caller = None
        self._left_behind.count(+1)
        told = f"no answer within {self._timeout_s:g} s: the thread is left behind"
        return Outcome(result=Result.UNKNOWN, error=told)

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
