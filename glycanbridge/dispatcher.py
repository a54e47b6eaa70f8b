"""The door out: lanes, one thread each, that take what a destination is owed as it falls due.

A lane asks the journal for work, and when there is none it sleeps until something is recorded for its destination or
falls due: nothing is polled. Whatever goes wrong in a lane is logged, and the lane goes on.
"""

from __future__ import annotations

import logging
import threading
import time

from glycanbridge.bridge import Bridge
from glycanbridge.delivery import ReportSource
from glycanbridge.errors import HostStopped, JournalUnavailable, without_text
from glycanbridge.hosts.forks import Forks
from glycanbridge.lanes import Lane, open_lanes

log = logging.getLogger(__name__)

LONGEST_SLEEP_S = 60.0
"""A lane looks again after so long in any case: another process may have put work into the journal."""
START_AGAIN_S = 30.0
"""How long a lane waits when its plugin cannot be made."""
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
    """The lanes of every destination that runs, each in a thread of its own."""

    def __init__(self, bridge: Bridge, forks: Forks, *, reports: ReportSource | None = None) -> None:
        """`forks` starts the processes that plugins run in; `reports` gives report files, if anybody does."""
        self._bridge = bridge
        self._stopping = threading.Event()
        running = [each for each in bridge.destinations.values() if each.runs]
        lanes = [
            lane for each in running for lane in open_lanes(each, forks=forks, stopping=self._stopping, reports=reports)
        ]
        self._bells = {each.destination.name: _Bell() for each in lanes}
        self._threads = [
            threading.Thread(target=self._run, args=(each,), name=each.name, daemon=True) for each in lanes
        ]

    def start(self) -> None:
        """Let the lanes run."""
        self._bridge.journal.on_due(self._wake)
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Take nothing new and wait for running attempts, `timeout_s` in all; whether all of them came to an end."""
        self._stopping.set()
        self._wake(None)
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def alive(self) -> bool:
        """Whether every lane runs."""
        return all(thread.is_alive() for thread in self._threads)

    def _wake(self, destinations: frozenset[str] | None) -> None:
        for name in self._bells.keys() if destinations is None else destinations & self._bells.keys():
            self._bells[name].ring()

    def _run(self, lane: Lane) -> None:
        while not self._stopping.is_set():
            told = {"destination": lane.destination.name}
            try:
                self._turn(lane)
            except HostStopped:
                return
            except JournalUnavailable as error:
                log.warning("lane waits: %s", error, extra=told)
                self._stopping.wait(TROUBLE_SLEEP_S)
            except BaseException as error:
                log.error("lane failed and goes on", extra=told | {"error": without_text(error)})  # noqa: TRY400
                self._stopping.wait(TROUBLE_SLEEP_S)
        lane.close()

    def _turn(self, lane: Lane) -> None:
        """Deliver what is due, or sleep until something is."""
        not_ready = lane.host.start()
        if not_ready is not None:  # what is owed waits, and loses no attempt
            log.error("the plugin does not start: %s", not_ready, extra={"destination": lane.destination.name})
            self._stopping.wait(START_AGAIN_S)
            return
        journal, name, bell = self._bridge.journal, lane.destination.name, self._bells[lane.destination.name]
        rings, trouble = bell.rings, lane.host.trouble()
        if trouble is None and self._bridge.deliver_next(lane):
            return
        due_in_s = journal.next_due_in_s(name)
        if trouble is not None and due_in_s == 0:
            log.error("the destination is paused: %s", trouble, extra={"destination": name})
            journal.pause(name, who="glycanbridge", reason=trouble)
        bell.wait(rings, LONGEST_SLEEP_S if due_in_s is None else min(due_in_s, LONGEST_SLEEP_S))
