"""Tells the journal's time, and moves what lies in the future along when the wall clock is set.

Waits and leases stand in the journal as wall time, so that they mean something after a restart. But a wall clock jumps:
somebody sets it, a virtual machine wakes up. A jump is seen by a steady clock that runs beside it, and whatever was to
come in a minute still comes in a minute.
"""

from __future__ import annotations

import logging
from pathlib import Path
from secrets import token_hex

from glycanbridge.delivery import Clock
from glycanbridge.journals.database import Database

log = logging.getLogger(__name__)

JUMP_MS = 2_000
"""What differs by less is ordinary keeping of time."""
NOTED_EVERY_MS = 10_000
_NOTE = "UPDATE clock SET seen_at = ?, ahead_by = ?, boot = ?"

_SHIFT = (
    "UPDATE deliveries SET due_at = due_at + :by WHERE state = 'pending' AND due_at > :after",
    "UPDATE deliveries SET was_due_at = was_due_at + :by WHERE state = 'running' AND was_due_at > :after",
    "UPDATE deliveries SET due_at = due_at + :by, claimed_at = claimed_at + :by WHERE state = 'running'",
    "UPDATE destinations SET open_since = open_since + :by, probe_at = probe_at + :by WHERE open_since IS NOT NULL",
)


class Timekeeper:
    """The time of the transaction that runs, in milliseconds since the epoch: one for all that is in it."""

    def __init__(self, database: Database, *, wall: Clock, steady: Clock) -> None:
        self._database = database
        self._wall = wall
        self._steady = steady
        self._boot = _boot()
        self.now = wall()
        """When the transaction began."""

    def begin(self) -> None:
        """Look at the clocks; if the wall clock was set since any process last did, move whatever waits."""
        self.now = self._wall()
        ahead_by = self.now - self._steady()
        seen_at, was_ahead_by, boot = next(iter(self._database.execute("SELECT seen_at, ahead_by, boot FROM clock")))
        same = boot == self._boot
        # From one start of the machine to the next, only a clock that was set back can be told from time that passed.
        jumped = ahead_by - was_ahead_by if same else min(0, self.now - seen_at)
        was_set = abs(jumped) > JUMP_MS
        if was_set:
            self._shift(jumped)
        if was_set or not same or not 0 <= self.now - seen_at < NOTED_EVERY_MS:
            self._database.execute(_NOTE, (self.now, ahead_by, self._boot))

    def _shift(self, by: int) -> None:
        for statement in _SHIFT:
            self._database.execute(statement, {"by": by, "after": min(self.now, self.now - by)})
        log.warning("the clock was set by %d s; what waits goes on waiting as long as it was to", by // 1000)


def _boot() -> str:
    """What the steady clock counts from: which start of the machine, or of a container that has a clock of its own.

    Where that cannot be told it is this process alone: a jump between two processes goes unnoticed then.
    """
    told = ""
    for source in ("/proc/sys/kernel/random/boot_id", "/proc/self/timens_offsets"):
        try:
            told += " ".join(Path(source).read_text(encoding="ascii").split())
        except OSError:
            continue
    return told or token_hex(8)
