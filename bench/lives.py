"""One life of the bridge while it delivers a backlog: what it needs for it, read from outside.

How far it is stands in memory that the plugin shares (`bench.noop`), CPU and memory in /proc, commits in the index of
the write-ahead log: nothing that is looked at costs the bridge anything worth mentioning.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

import apsw

from bench import backlog
from bench.folder import Folder
from bench.noop import Taken
from bench.processes import Failed, Process, cpu_s, descendants, memory_mb

EDGE = 100
"""Deliveries of each destination at the beginning and at the end of a backlog that do not count: lanes wake up, and run
dry. A tenth of a short one."""
LOOK_S = 0.005
IN_HAND_EVERY = 10
"""Looks between two at what the lanes have in hand."""
STUCK_S = 90.0


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What some deliveries took; not a number where the system does not tell."""

    deliveries: int
    deliveries_per_s: float
    ms_each: float
    """Time for one, in milliseconds: one second divided by the rate."""
    bridge_cpu: float
    """CPU seconds of the bridge's process for 1,000 deliveries."""
    hosts_cpu: float
    """CPU seconds of all processes that it has started for 1,000 deliveries."""
    memory_mb: float
    """The most memory that the bridge's process held."""
    commits: float
    """For 1,000 deliveries."""
    in_hand: int
    """The most deliveries that the lanes were seen to hold, claimed and not settled: one lane's are its batch."""


class _Reading(NamedTuple):
    """All that counts up."""

    at_s: float
    taken: int
    bridge_cpu_s: float
    hosts_cpu_s: float
    commits: int


class Life:
    """A bridge that runs, and what its destinations took so far, in this life and before."""

    def __init__(self, process: Process, made: Folder, taken: Collection[Taken]) -> None:
        self._process = process
        self._made = made
        self._taken = taken
        self._hosts: list[int] = []
        self._in_hand = 0

    def measured(self, deliveries: int, *, pending: int, fill_up: Callable[[], None]) -> Figures:
        """Measure so many `deliveries`, after a tenth as many for warming up that do not count.

        `pending`: how long each destination's backlog is; whenever it has run dry it is filled up.
        """
        each, edge = len(self._taken), min(EDGE, pending // 10)
        spans: list[tuple[_Reading, _Reading]] = []
        counted, warm_up, dry_at = 0, deliveries // 10, self._all_taken() + each * pending
        with closing(apsw.Connection(str(self._made.journal), flags=apsw.SQLITE_OPEN_READONLY)) as reader:
            while counted < deliveries:
                began = dry_at - each * pending
                begin, last = began + each * edge, dry_at - each * edge
                if last - began > warm_up:
                    self._until(max(begin, began + warm_up), reader)
                    before = self._reading()
                    self._until(min(last, before.taken + deliveries - counted), reader)
                    spans.append((before, self._reading()))
                    counted += spans[-1][1].taken - before.taken
                warm_up = max(0, warm_up - each * pending)
                if counted < deliveries:
                    self._until(dry_at, reader)
                    fill_up()
                    dry_at += each * pending
        return self._figures(spans)

    def _until(self, taken: int, reader: apsw.Connection) -> None:
        """Return when so many deliveries were taken."""
        now, changed_s, looks = self._all_taken(), time.monotonic(), 0
        while now < taken:
            time.sleep(LOOK_S)
            looks += 1
            if looks % IN_HAND_EVERY == 0:
                self._in_hand = max(self._in_hand, backlog.in_hand(reader))
            before, now = now, self._all_taken()
            if now != before:
                changed_s = time.monotonic()
            elif time.monotonic() - changed_s > STUCK_S or self._process.poll() is not None:
                raise Failed(f"no more deliveries after {now}\n{self._made.errors.read_text(encoding='utf-8')}")

    def _all_taken(self) -> int:
        return sum(map(len, self._taken))

    def _reading(self) -> _Reading:
        self._hosts = self._hosts or descendants(self._process.pid)
        cpus_s = [math.nan if told is None else told for told in map(cpu_s, [self._process.pid, *self._hosts])]
        commits = backlog.commits(self._made.journal)
        return _Reading(time.monotonic(), self._all_taken(), cpus_s[0], sum(cpus_s[1:]), commits)

    def _figures(self, spans: list[tuple[_Reading, _Reading]]) -> Figures:
        sums = [sum(after[field] - before[field] for before, after in spans) for field in range(len(_Reading._fields))]
        spent_s, taken, bridge_cpu_s, hosts_cpu_s, commits = sums
        memory = memory_mb(self._process.pid)
        return Figures(
            deliveries=int(taken),
            deliveries_per_s=taken / spent_s,
            ms_each=spent_s / taken * 1000,
            bridge_cpu=bridge_cpu_s / taken * 1000,
            hosts_cpu=hosts_cpu_s / taken * 1000,
            memory_mb=math.nan if memory is None else memory,
            commits=commits / taken * 1000,
            in_hand=self._in_hand,
        )
