"""The embedded journal: one SQLite file in WAL mode, every acknowledged write synced to disk.

One connection writes, in one thread (`writer.py`); whoever asks questions has a connection of his own. What is done in
that thread is told in `recording.py` (the way in), `delivering.py` (the way out) and `deciding.py` (what people do).
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from secrets import token_hex

from glycanbridge.delivery import Claim, Clock, Delivery, Ended, steady_clock, wall_clock
from glycanbridge.identity import is_whole
from glycanbridge.journal import NO_DEATHS, NewEvent, Recorded, Replay, Terms
from glycanbridge.journals.database import Database
from glycanbridge.journals.deciding import Deciding
from glycanbridge.journals.delivering import Delivering
from glycanbridge.journals.order import Order
from glycanbridge.journals.questions import SqliteQuestions
from glycanbridge.journals.recording import Recording
from glycanbridge.journals.timekeeper import Timekeeper
from glycanbridge.journals.writer import WAIT_S, Writer

REPLAYED_AT_ONCE = 200
"""Deliveries in one transaction of a replay: another process must not wait for long."""
_WRITE_SOMETHING = "UPDATE clock SET seen_at = seen_at + 1"
"""SQLite leaves out an UPDATE that changes nothing, and a full disk would go unnoticed."""
LOOKED_EVERY_S = 1.0
"""How soon the lanes learn of what another process, such as a command, has written."""


class _Transaction:
    """The database's transactions, each with its time. See `writer.Transaction`."""

    def __init__(self, database: Database, timekeeper: Timekeeper) -> None:
        self._database = database
        self._timekeeper = timekeeper
        self.commit = database.commit
        self.rollback = database.rollback
        self.is_outage = database.is_outage
        self.raised = database.raised

    def begin(self) -> None:
        self._database.begin()
        self._timekeeper.begin()


class SqliteJournal(SqliteQuestions):
    """Keeps `journal.Journal` in one file, which it makes (mode 0600) or brings up to date.

    Raises `JournalUnusable` for a file that is no journal or a newer program's, `JournalUnavailable` if the file
    cannot be opened now.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock = wall_clock,
        steady: Clock = steady_clock,
        wait_s: float = WAIT_S,
        serves: bool = True,
    ) -> None:
        """`serves`: claims deliveries, and so must be the only one that does; waits are in seconds."""
        self._due: set[str] = set()
        self._told_due: Callable[[frozenset[str] | None], None] = lambda _destinations: None
        self._mine: dict[int, tuple[Claim, Terms]] = {}
        self._database = Database(path, clock=clock, serves=serves)
        super().__init__(path)
        timekeeper = Timekeeper(self._database, wall=clock, steady=steady)
        order = Order(self._database)
        owner = f"{socket.gethostname()}:{os.getpid()}:{token_hex(4)}"
        self._recording = Recording(self._database, timekeeper, order)
        self._delivering = Delivering(self._database, timekeeper, order, owner=owner, due=self._due)
        self._deciding = Deciding(self._database, timekeeper, order)
        self._others_wrote, self._looked_at = self._database.changed_by_others(), time.monotonic()
        self._writer = Writer(
            _Transaction(self._database, timekeeper),
            after_commit=self._tell_due,
            when_idle=self._look_for_others,
            wait_s=wait_s,
        )
        if serves:  # and nobody else does
            try:
                self._writer.run(self._delivering.take_over)
            except BaseException:
                self.close()
                raise

    def record(self, event: NewEvent) -> Recorded:
        """Keep the event with a pending delivery for each destination; returns when both are on disk."""
        return self._writer.run(lambda: self._record(event))

    def claim(self, destination: str, *, limit: int, terms: Terms) -> list[Claim]:
        """Take up to `limit` due deliveries; what is rescued is told by a line in the log."""
        found = self._writer.run(lambda: self._delivering.claim(destination, limit, terms, dict(self._mine)))
        claims = [
            claim if is_whole(claim.delivery.body, digest) else replace(claim, whole=False) for claim, digest in found
        ]
        self._mine.update({each.row: (each, terms) for each in claims})
        return claims

    def settle(self, ended: Sequence[Ended], *, terms: Terms, deaths: Mapping[int, NewEvent] = NO_DEATHS) -> list[bool]:
        """Journal attempts that end now, and what is told of those given up, in one commit."""
        kept = self._writer.run(lambda: self._settle(ended, terms, deaths))
        self.let_go([each.claim for each in ended])
        return kept

    def release(self, claims: Sequence[Claim]) -> None:
        """Put back claims whose attempts have not begun."""
        if claims:
            self._writer.run(lambda: self._delivering.release(claims))
            self.let_go(claims)

    def let_go(self, claims: Sequence[Claim]) -> None:
        """Renew these no longer."""
        for each in claims:
            held, _ = self._mine.get(each.row, (None, None))
            if held is each:  # and not a later claim of the same delivery
                del self._mine[each.row]

    def renew(self) -> None:
        """Make the leases of what is in hand last as long again."""
        mine = list(self._mine.values())
        if mine:
            self._writer.run(lambda: self._delivering.renew(mine))

    def stop(self) -> None:
        """Journal what is still in hand as cut off."""
        mine = list(self._mine.values())
        self._writer.run(lambda: self._delivering.stop(mine))
        self._mine.clear()

    def next_due_in_s(self, destination: str) -> float | None:
        """How long until `claim` may find something; `None` if nothing is owed, or while it is paused."""
        return self._writer.run(lambda: self._delivering.next_due_in_s(destination))

    def on_due(self, callback: Callable[[frozenset[str] | None], None]) -> None:
        """Call `callback` with the destinations that something new is due for, once per commit."""
        self._told_due = callback

    def replay(self, which: Sequence[Replay], *, who: str, per_s: float | None = None) -> int:
        """Make deliveries due now, or so many per second; how many there were to move or to make."""
        moved, every_ms = 0, 1000 / per_s if per_s else 0.0
        began = time.monotonic()
        for start in range(0, len(which), REPLAYED_AT_ONCE):
            some = which[start : start + REPLAYED_AT_ONCE]
            starts_in_ms = max(0, int(moved * every_ms - (time.monotonic() - began) * 1000))
            moved += self._writer.run(lambda: self._replay(some, who, starts_in_ms, every_ms))  # noqa: B023 (run now)
        return moved

    def confirm(self, delivery_id: str, *, who: str, reason: str) -> bool:
        """A person knows that the destination has it; `False` if it is not pending."""
        event_id, _, destination = delivery_id.rpartition(":")
        return self._writer.run(lambda: self._deciding.confirm(event_id, destination, who=who, reason=reason))

    def discard(self, delivery_id: str, *, who: str, reason: str) -> bool:
        """A person does not want it any more; `False` if it is neither pending nor dead."""
        event_id, _, destination = delivery_id.rpartition(":")
        return self._writer.run(lambda: self._deciding.discard(event_id, destination, who=who, reason=reason))

    def pause(self, destination: str, *, who: str, reason: str) -> None:
        """Claim nothing for the destination until it is resumed."""
        self._writer.run(lambda: self._deciding.pause(destination, who=who, reason=reason))

    def resume(self, destination: str, *, who: str) -> None:
        """End a pause, and try an open circuit at once."""
        self._writer.run(lambda: self._resume(destination, who))

    def note(self, *, who: str, what: str, about: str, reason: str | None) -> None:
        """Keep in mind what a person did outside the journal."""
        self._writer.run(lambda: self._deciding.note(who=who, what=what, about=about, reason=reason))

    def letter_written(self, delivery: Delivery) -> None:
        """The dead letter of a dead delivery has been written."""
        self._writer.run(lambda: self._deciding.letter_written(delivery.event_id, delivery.destination))

    def probe(self) -> None:
        """Return if the journal takes writes just now."""
        self._writer.run(lambda: self._database.execute(_WRITE_SOMETHING))

    def close(self) -> None:
        """Commit what waits and close."""
        self._writer.close()
        super().close()
        self._database.close()

    # What follows runs in the writer's thread.

    def _record(self, event: NewEvent) -> Recorded:
        recorded = self._recording.record(event)
        if not recorded.duplicate:
            self._due.update(event.owed_to)
        return recorded

    def _settle(self, ended: Sequence[Ended], terms: Terms, deaths: Mapping[int, NewEvent]) -> list[bool]:
        kept = self._delivering.settle(ended, terms)
        for each, is_kept in zip(ended, kept, strict=True):
            if is_kept and each.claim.row in deaths:
                self._record(deaths[each.claim.row])
        return kept

    def _replay(self, which: Sequence[Replay], who: str, starts_in_ms: int, every_ms: float) -> int:
        self._due.update(each.destination for each in which)
        return self._deciding.replay(which, who=who, starts_in_ms=starts_in_ms, every_ms=every_ms)

    def _resume(self, destination: str, who: str) -> None:
        self._due.add(destination)
        self._deciding.resume(destination, who=who)

    def _tell_due(self) -> None:
        due = frozenset(self._due)
        self._due.clear()
        if due:
            self._told_due(due)
        if time.monotonic() - self._looked_at >= LOOKED_EVERY_S:
            self._look_for_others()

    def _look_for_others(self) -> None:
        """Let every lane look, if another process has replayed, resumed or recorded something."""
        self._looked_at = time.monotonic()
        before, self._others_wrote = self._others_wrote, self._database.changed_by_others()
        if before != self._others_wrote:
            self._told_due(None)
