"""Tells the journal's time, and moves what lies in the future along when the wall clock is set.

Waits and leases stand in the journal as wall time, so that they mean something after a restart. But a wall clock jumps:
somebody sets it, a virtual machine wakes up. A jump is seen by a steady clock that runs beside it, and whatever was to
come in a minute still comes in a minute.
"""

from __future__ import annotations

import logging

from glycanbridge.delivery import Clock
from glycanbridge.journals.database import Database

log = logging.getLogger(__name__)

JUMP_MS = 2_000
"""What differs by less is ordinary keeping of time."""
NOTED_EVERY_MS = 10_000
"""How exactly a start can tell that the clock was set back while nothing ran."""

_SHIFT = (
    "UPDATE deliveries SET due_at = due_at + :by WHERE state = 'pending' AND due_at > :after",
    "UPDATE deliveries SET due_at = due_at + :by, claimed_at = claimed_at + :by WHERE state = 'running'",
    "UPDATE destinations SET open_since = open_since + :by, probe_at = probe_at + :by WHERE open_since IS NOT NULL",
)


class Timekeeper:
    """The time of the transaction that runs, in milliseconds since the epoch: one for all that is in it."""

    def __init__(self, database: Database, *, wall: Clock, steady: Clock, serves: bool) -> None:
        """`serves`: look out for jumps. One process must, the one that delivers; others only tell the time."""
        self._database = database
        self._wall = wall
        self._steady = steady
        self._serves = serves
        self._seen = self._told = wall(), steady()
        self._noted_at: int | None = None

    @property
    def now(self) -> int:
        """When the transaction began."""
        return self._told[0]

    def begin(self) -> None:
        """Look at the clocks; if the wall clock has jumped since the last commit, move whatever waits."""
        wall, steady = self._told = self._wall(), self._steady()
        if not self._serves:
            return
        jumped = (wall - self._seen[0]) - (steady - self._seen[1])
        if self._noted_at is None:  # the first one: was the clock set back while nothing ran?
            jumped = min(0, wall - int(self._database.execute("SELECT seen_at FROM clock").get or 0))
        if abs(jumped) > JUMP_MS:
            self._shift(jumped)
        if self._is_to_be_noted:
            self._database.execute("UPDATE clock SET seen_at = ?", (wall,))

    def committed(self) -> None:
        """What `begin` did is on disk."""
        self._seen = self._told
        if self._is_to_be_noted:
            self._noted_at = self.now

    @property
    def _is_to_be_noted(self) -> bool:
        return self._noted_at is None or not 0 <= self.now - self._noted_at < NOTED_EVERY_MS

    def _shift(self, by: int) -> None:
        for statement in _SHIFT:
            self._database.execute(statement, {"by": by, "after": min(self.now, self.now - by)})
        log.warning("the clock was set by %d s; what waits goes on waiting as long as it was to", by // 1000)
