"""The questions asked of an SQLite journal: lists, single rows, what is owed. Reads only, over a connection of its own.

Every question is answered in one short read, so that no reader keeps the write-ahead log from being folded back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import apsw

from glycanbridge.delivery import State
from glycanbridge.errors import JournalMissing, JournalUnavailable, JournalUnusable
from glycanbridge.journal import AttemptRow, DeliveryRow, EventRow, Filter, Owed
from glycanbridge.journals import migrations

BUSY_MS = 2_000
"""How long to wait for another process that holds the file."""

_EVENT = """
SELECT e.event_id, e.type, e.timestamp, e.received_at, e.practice_id, e.kit_code, e.flags, e.body,
       (SELECT d.state FROM deliveries d WHERE d.event = e.id ORDER BY
        CASE d.state WHEN 'dead' THEN 0 WHEN 'running' THEN 1 WHEN 'pending' THEN 2 ELSE 3 END LIMIT 1) AS state
FROM events e
"""
_DELIVERY = """
SELECT e.event_id, e.type, d.destination, d.state, d.attempt, d.due_at, d.last_error, d.receipt
FROM deliveries d JOIN events e ON e.id = d.event
"""


class SqliteQuestions:
    """Answers `journal.Questions` from one file. Safe to use from many threads."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise JournalMissing(f"{path}: there is no journal yet; `glycanbridge serve` makes one")
        self.path = path
        self._lock = Lock()
        with _told(path):
            self._reader = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
            self._reader.set_busy_timeout(BUSY_MS)
            if check_version(self._reader, path) == 0:
                raise JournalMissing(f"{path}: the journal is empty; `glycanbridge serve` makes it one")

    def events(self, which: Filter) -> list[EventRow]:
        """The newest events that fit."""
        conditions, values = _conditions(which)
        if which.destination is not None or which.state is not None:
            inner = ["d.event = e.id"]
            inner += ["d.destination = :destination"] if which.destination is not None else []
            inner += ["d.state = :state"] if which.state is not None else []
            conditions.append(f"EXISTS (SELECT 1 FROM deliveries d WHERE {' AND '.join(inner)})")  # noqa: S608 (bound)
        return [_event_row(row) for row in self._ask(_EVENT, conditions, values, "ORDER BY e.id DESC LIMIT :limit")]

    def event(self, event_id: str) -> list[EventRow]:
        """The event with this id, or the events (two at the most) whose ids begin with it."""
        conditions = ["e.event_id >= :first AND e.event_id < :last"]
        values = {"first": event_id, "last": event_id + "\U0010ffff"}
        rows = [_event_row(row) for row in self._ask(_EVENT, conditions, values, "ORDER BY e.event_id LIMIT 2")]
        return rows[:1] if rows and rows[0].id == event_id else rows

    def deliveries(self, which: Filter) -> list[DeliveryRow]:
        """The newest deliveries that fit."""
        conditions, values = _conditions(which)
        conditions += ["d.destination = :destination"] if which.destination is not None else []
        conditions += ["d.state = :state"] if which.state is not None else []
        rows = self._ask(_DELIVERY, conditions, values, "ORDER BY d.id DESC LIMIT :limit")
        return [_delivery_row(row) for row in rows]

    def deliveries_of(self, event_id: str) -> list[DeliveryRow]:
        """Every delivery of one event."""
        rows = self._ask(_DELIVERY, ["e.event_id = :id"], {"id": event_id}, "ORDER BY d.id")
        return [_delivery_row(row) for row in rows]

    def attempts(self, delivery_id: str) -> list[AttemptRow]:
        """Every attempt of one delivery, the first one first."""
        event_id, _, destination = delivery_id.rpartition(":")
        question = """
            SELECT a.attempt, a.started_at, a.duration_ms, a.outcome, a.error, a.receipt
            FROM attempts a JOIN deliveries d ON d.id = a.delivery JOIN events e ON e.id = d.event
        """
        conditions = ["e.event_id = :event", "d.destination = :destination"]
        values = {"event": event_id, "destination": destination}
        names = ("number", "started_at", "duration_ms", "outcome", "error", "receipt")
        rows = self._ask(question, conditions, values, "ORDER BY a.attempt")
        return [AttemptRow(**dict(zip(names, row, strict=True))) for row in rows]

    def owed(self) -> list[Owed]:
        """What each destination is owed; one that is owed nothing is left out."""
        question = """
            SELECT destination, count(*) FILTER (WHERE state = 'pending'), count(*) FILTER (WHERE state = 'running'),
                   count(*) FILTER (WHERE state = 'dead'), min(due_at) FILTER (WHERE state = 'pending')
            FROM (SELECT destination, state, due_at FROM deliveries WHERE state IN ('pending', 'running')
                  UNION ALL SELECT destination, state, NULL FROM deliveries WHERE state = 'dead')
            GROUP BY destination ORDER BY destination
        """
        names = ("destination", "pending", "running", "dead", "oldest_due_at")
        return [Owed(**dict(zip(names, row, strict=True))) for row in self._ask(question, [], {}, "")]

    def close(self) -> None:
        """Close; nothing can be asked afterwards."""
        with self._lock:
            self._reader.close()

    def _ask(self, select: str, conditions: list[str], values: Mapping[str, object], end: str) -> list[tuple[Any, ...]]:
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        with self._lock, _told(self.path):
            return list(self._reader.execute(f"{select} {where} {end}", dict(values)))


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
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except apsw.NotADBError:
        raise JournalUnusable(f"{path}: this is not an SQLite database; name another file") from None
    except apsw.Error as error:
        raise JournalUnavailable(f"{path}: the journal cannot be read: {error}") from error


def _conditions(which: Filter) -> tuple[list[str], dict[str, object]]:
    told = {
        "e.type = :type": which.type,
        "e.received_at >= :since": which.since,
        "e.received_at < :until": which.until,
        "e.id IN (SELECT id FROM events WHERE kit_code = :kit UNION ALL "
        "SELECT event FROM event_kits WHERE kit_code = :kit)": which.kit,
    }
    values = {"type": which.type, "since": which.since, "until": which.until, "kit": which.kit}
    more = {"destination": which.destination, "state": which.state, "limit": which.limit}
    return [condition for condition, value in told.items() if value is not None], {**values, **more}


def _event_row(row: tuple[Any, ...]) -> EventRow:
    names = ("id", "type", "timestamp", "received_at", "practice_id", "kit_code", "flags", "body", "state")
    told = dict(zip(names, row, strict=True))
    told["state"] = State(str(told["state"])) if told["state"] else None
    return EventRow(**told)


def _delivery_row(row: tuple[Any, ...]) -> DeliveryRow:
    names = ("event_id", "event_type", "destination", "state", "attempts", "due_at", "last_error", "receipt")
    told = dict(zip(names, row, strict=True))
    told["state"] = State(str(told["state"]))
    return DeliveryRow(id=f"{row[0]}:{row[2]}", **told)
