"""The door out: lanes, one thread each, that take what a destination is owed as it falls due.

A lane asks the journal for work, and when there is none it sleeps until something is recorded for its destination or
falls due: nothing is polled. Whatever goes wrong in a lane is logged, and the lane goes on.
"""

from __future__ import annotations

import logging
import threading
import time

from glycanbridge.bridge import Bridge
from glycanbridge.destinations import Destination
from glycanbridge.errors import JournalUnavailable, without_text

log = logging.getLogger(__name__)

LONGEST_SLEEP_S = 60.0
"""A lane looks again after so long in any case: another process may have put work into the journal."""
TROUBLE_SLEEP_S = 2.0
"""How long a lane waits when the journal cannot be used."""


class _Bell:
    """Wakes the lanes of one destination; each ring wakes every lane that has not looked since."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._rings = 0

    @property
    def rings(self) -> int:
        """How often it has been rung."""
        return self._rings

    def ring(self) -> None:
        """Wake whoever waits."""
        with self._condition:
            self._rings += 1
            self._condition.notify_all()

    def wait(self, rings: int, timeout_s: float) -> None:
        """Return when it has been rung more than `rings` times, or after `timeout_s`."""
        with self._condition:
            self._condition.wait_for(lambda: self._rings > rings, timeout_s)


class Dispatcher:
    """The lanes of every destination that runs."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._stopping = threading.Event()
        running = [each for each in bridge.destinations.values() if each.runs]
        self._bells = {each.name: _Bell() for each in running}
        self._lanes = [
            threading.Thread(target=self._lane, args=(each,), name=f"lane-{each.name}-{number}", daemon=True)
            for each in running
            for number in range(1, each.settings.lanes + 1)
        ]

    def start(self) -> None:
        """Let the lanes run."""
        self._bridge.journal.on_due(self._wake)
        for lane in self._lanes:
            lane.start()

    def stop(self, timeout_s: float) -> bool:
        """Take nothing new and wait for running attempts, `timeout_s` in all; whether all of them came to an end."""
        self._stopping.set()
        self._wake(frozenset(self._bells))
        deadline = time.monotonic() + timeout_s
        for lane in self._lanes:
            lane.join(max(0.0, deadline - time.monotonic()))
        return not any(lane.is_alive() for lane in self._lanes)

    def alive(self) -> bool:
        """Whether every lane runs."""
        return all(lane.is_alive() for lane in self._lanes)

    def _wake(self, destinations: frozenset[str]) -> None:
        for name in destinations & self._bells.keys():
            self._bells[name].ring()

    def _lane(self, destination: Destination) -> None:
        bell = self._bells[destination.name]
        while not self._stopping.is_set():
            rings = bell.rings
            try:
                if not self._bridge.deliver_next(destination):
                    due_in_s = self._bridge.journal.next_due_in_s(destination.name)
                    bell.wait(rings, LONGEST_SLEEP_S if due_in_s is None else min(due_in_s, LONGEST_SLEEP_S))
            except JournalUnavailable as error:
                log.warning("lane waits: %s", error, extra={"destination": destination.name})
                self._stopping.wait(TROUBLE_SLEEP_S)
            except BaseException as error:
                told = {"destination": destination.name, "error": without_text(error)}
                log.error("lane failed and goes on", extra=told)  # noqa: TRY400 (the text may hold a patient's values)
                self._stopping.wait(TROUBLE_SLEEP_S)
