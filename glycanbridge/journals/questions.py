"""The questions asked of an SQLite journal: lists, single rows, what is owed. Reads only, over a connection of its own.

Every question is answered in one short read, so that no reader keeps the write-ahead log from being folded back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Any

import apsw

from glycanbridge.circuit import Circuit
from glycanbridge.delivery import Delivery, State
from glycanbridge.errors import JournalMissing, JournalUnavailable, JournalUnusable
from glycanbridge.journal import AttemptRow, DeliveryRow, Done, EventRow, Filter, Owed, OwedLetter, Standing
from glycanbridge.journals import migrations
from glycanbridge.journals.keys import key_of, keys_from
from glycanbridge.journals.lists import DELIVERY, EVENT, Listing, where

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PAGE = 500
"""Events read at once when all of them are gone through."""
BUSY_MS = 2_000
"""How long to wait for another process that holds the file."""
_EVENTS = f"SELECT {EVENT} FROM events e"  # noqa: S608 (no values in it)
_DELIVERIES = f"SELECT {DELIVERY} FROM events e CROSS JOIN deliveries d ON d.event = e.id"  # noqa: S608


def see_that_it_is_there(path: Path) -> None:
    """Raises `JournalMissing` if there is no such file, `JournalUnavailable` if whoever asks may not even look."""
    try:
        path.stat()
    except PermissionError:
        raise JournalUnavailable(f"{path}: you may not look there; run this as the bridge's user") from None
    except OSError:
        raise JournalMissing(f"{path}: there is no journal yet; `glycanbridge serve` makes one") from None


class SqliteQuestions:
    """Answers `journal.Questions` from one file. Safe to use from many threads."""

    def __init__(self, path: Path) -> None:
        see_that_it_is_there(path)
        self.path = path
        self._lock = Lock()
        with told(path):
            self._reader = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
            self._reader.set_busy_timeout(BUSY_MS)
            version = check_version(self._reader, path)
            if version == 0:
                raise JournalMissing(f"{path}: the journal is empty; `glycanbridge serve` makes it one")
            if version < migrations.newest("sqlite"):
                raise JournalUnavailable(
                    f"{path}: the journal is an older version's: `glycanbridge serve` or `db migrate` mends that"
                )

    def events(self, which: Filter) -> list[EventRow]:
        """The newest events that fit."""
        listing = self._listing(which, events=True)
        return [_event_row(row) for row in self._ask(listing.events(), [], listing.values, "")]

    def event(self, event_id: str) -> list[EventRow]:
        """The event with this id, or the events (two at the most) whose ids begin with it."""
        conditions, values = keys_from(event_id)
        asked = [self._ask(_EVENTS, [each], values, "ORDER BY e.key LIMIT 2") for each in conditions]
        rows = sorted((_event_row(row) for rows in asked for row in rows), key=lambda row: row.id)[:2]
        return rows[:1] if rows and rows[0].id == event_id else rows

    def deliveries(self, which: Filter) -> list[DeliveryRow]:
        """The newest deliveries that fit."""
        listing = self._listing(which, events=False)
        return [_delivery_row(row) for row in self._ask(listing.deliveries(), [], listing.values, "")]

    def deliveries_of(self, event_id: str) -> list[DeliveryRow]:
        """Every delivery of one event."""
        rows = self._ask(_DELIVERIES, ["e.key = :key"], {"key": key_of(event_id)}, "ORDER BY d.id")
        return [_delivery_row(row) for row in rows]

    def attempts(self, delivery_id: str) -> list[AttemptRow]:
        """Every attempt of one delivery, the first one first."""
        event_id, _, destination = delivery_id.rpartition(":")
        question = """
            SELECT a.attempt, a.started_at, a.duration_ms, a.outcome, a.error, a.receipt
            FROM attempts a JOIN deliveries d ON d.id = a.delivery JOIN events e ON e.id = d.event
        """
        conditions = ["e.key = :key", "d.destination = :destination"]
        values = {"key": key_of(event_id), "destination": destination}
        names = ("number", "started_at", "duration_ms", "outcome", "error", "receipt")
        rows = self._ask(question, conditions, values, "ORDER BY a.attempt")
        return [AttemptRow(**dict(zip(names, row, strict=True))) for row in rows]

    def pages(self, which: Filter) -> Iterator[list[EventRow]]:
        """Every event that fits, the oldest first, some hundred at a time: each page is a short read of its own."""
        listing = self._listing(which, events=True)
        question, place = listing.page(), {"limit": PAGE, "at": which.since or 0, "after": 0}
        while rows := self._ask(question, [], listing.values | place, ""):
            page = [_event_row(row[1:]) for row in rows]
            place |= {"at": page[-1].received_at, "after": rows[-1][0]}
            yield page

    def owed(self) -> list[Owed]:
        """What each destination is owed; one that is owed nothing is left out."""
        question = """
            SELECT destination, count(*) FILTER (WHERE state = 'pending'), count(*) FILTER (WHERE state = 'running'),
                   count(*) FILTER (WHERE state = 'dead'), sum(held), min(due_at) FILTER (WHERE state = 'pending')
            FROM (SELECT destination, state, due_at, 0 AS held FROM deliveries
                  WHERE state = 'pending' AND due_at IS NOT NULL
                  UNION ALL SELECT destination, state, NULL, held FROM deliveries
                  WHERE state = 'pending' AND due_at IS NULL
                  UNION ALL SELECT destination, state, due_at, 0 FROM deliveries WHERE state = 'running'
                  UNION ALL SELECT destination, state, NULL, 0 FROM deliveries
                  WHERE state = 'dead' AND letter IS NOT 'discarded')
            GROUP BY destination ORDER BY destination
        """
        names = ("destination", "pending", "running", "dead", "held", "oldest_due_at")
        return [Owed(**dict(zip(names, row, strict=True))) for row in self._ask(question, [], {}, "")]

    def standings(self) -> dict[str, Standing]:
        """How each destination stands that is paused or has failed lately."""
        question = """
            SELECT name, paused_at, paused_by, reason, failures, open_since, probe_at, answered_at FROM destinations
        """
        standings = {}
        for name, paused_at, paused_by, reason, *parts in self._ask(question, [], {}, ""):
            circuit = circuit_of(*parts)
            trouble = self._trouble(name) if circuit.open_since is not None else None
            standings[name] = Standing(
                paused_at=paused_at, paused_by=paused_by, reason=reason, circuit=circuit, trouble=trouble
            )
        return standings

    def _trouble(self, destination: str) -> str | None:
        """The last error of a destination. What failed lately is not due yet: look at those that wait longest."""
        question = """
            SELECT last_error
            FROM (SELECT id, attempt, last_error FROM deliveries INDEXED BY deliveries_due
                  WHERE destination = :name AND state = 'pending' AND due_at IS NOT NULL
                  ORDER BY due_at DESC LIMIT 100) d
            JOIN attempts a ON a.delivery = d.id AND a.attempt = d.attempt
        """
        asked = ["last_error IS NOT NULL"], {"name": destination}, "ORDER BY started_at DESC LIMIT 1"
        return next((error for (error,) in self._ask(question, *asked)), None)

    def history(self, about: str) -> list[Done]:
        """What was done about a destination, a delivery or a dead letter, the first thing first."""
        rows = self._ask("SELECT at, who, what, about, reason FROM history", ["about = :about"], {"about": about},
                         "ORDER BY id")  # fmt: skip
        return [Done(**dict(zip(("at", "who", "what", "about", "reason"), row, strict=True))) for row in rows]

    def owed_letters(self) -> list[OwedLetter]:
        """Some of the dead deliveries whose dead letters are still to be written."""
        question = """
            SELECT e.event_id, e.type, d.destination, d.attempt, e.received_at, e.body, d.last_error
            FROM deliveries d JOIN events e ON e.id = d.event
        """
        owed = []
        for row in self._ask(question, ["d.letter = 'owed'"], {}, "ORDER BY d.id LIMIT 100"):
            event_id, event_type, destination, attempt, received_at, body, error = row
            delivery = Delivery(id=f"{event_id}:{destination}", event_id=event_id, event_type=event_type,
                                destination=destination, attempt=attempt, body=body,
                                received_at=EPOCH + timedelta(milliseconds=received_at))  # fmt: skip
            owed.append(OwedLetter(delivery=delivery, reason=error or ""))
        return owed

    def close(self) -> None:
        """Close; nothing can be asked afterwards."""
        with self._lock:
            self._reader.close()

    def _listing(self, which: Filter, *, events: bool) -> Listing:
        listing = Listing(which)
        question = listing.count(events=events)
        if question is not None:
            count, most = question
            listing.few = self._ask(count, [], listing.values, "")[0][0] < most
        return listing

    def _ask(self, select: str, conditions: list[str], values: Mapping[str, object], end: str) -> list[tuple[Any, ...]]:
        with self._lock, told(self.path):
            return list(self._reader.execute(f"{select} {where(conditions)} {end}", dict(values)))


def circuit_of(failures: int, open_since: int | None, probe_at: int | None, answered_at: int | None) -> Circuit:
    """The circuit in a destination's row."""
    return Circuit(failures=failures, open_since=open_since, probe_at=probe_at, answered_at=answered_at)


def check_version(connection: apsw.Connection, path: Path) -> int:
    """The version of the schema in the file, 0 if it is empty.

    Raises `JournalUnusable` for a file that is not a journal, or that a newer GlycanBridge has made.
    """
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "schema" not in tables:
        if tables:
            raise JournalUnusable(f"{path}: this is an SQLite database, but not a journal; name another file")
        return 0
    version = int(connection.execute("SELECT max(version) FROM schema").get or 0)
    newest = migrations.steps("sqlite")[-1].version
    if version > newest:
        raise JournalUnusable(
            f"{path}: the journal has version {version}, this program knows versions up to {newest}: "
            "install the GlycanBridge that wrote it, or a newer one"
        )
    return version


@contextmanager
def told(path: Path) -> Iterator[None]:
    """What SQLite raises within, in the journal's own words."""
    try:
        yield
    except apsw.NotADBError:
        raise JournalUnusable(f"{path}: this is not an SQLite database; name another file") from None
    except apsw.Error as error:
        raise JournalUnavailable(f"{path}: the journal cannot be read: {error}") from error


def _event_row(row: tuple[Any, ...]) -> EventRow:
    names = ("id", "type", "timestamp", "received_at", "practice_id", "kit_code", "flags", "body", "state")
    parts = dict(zip(names, row, strict=True))
    parts["state"] = State(str(parts["state"])) if parts["state"] else None
    return EventRow(**parts)


def _delivery_row(row: tuple[Any, ...]) -> DeliveryRow:
    names = ("event_id", "event_type", "destination", "state", "attempts", "due_at", "last_error", "receipt", "held")
    parts = dict(zip((*names, "discarded"), row, strict=True))
    parts |= {"state": State(str(parts["state"])), "held": bool(parts["held"]), "discarded": bool(parts["discarded"])}
    return DeliveryRow(id=f"{row[0]}:{row[2]}", **parts)
