"""The embedded journal: one SQLite file in WAL mode, every acknowledged write synced to disk.

apsw brings its own SQLite: the one that Debian 12 and most Pythons carry (3.7.0 to 3.51.2) can lose committed rows in
WAL mode. One connection writes, in one thread; whoever asks questions has a connection of his own.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_hex

import apsw
from filelock import FileLock, Timeout

from glycanbridge.delivery import Clock, Delivery, Outcome, Settlement, State, wall_clock
from glycanbridge.errors import JournalUnavailable, JournalUnusable
from glycanbridge.journal import NewEvent, Recorded
from glycanbridge.journals import migrations
from glycanbridge.journals.questions import BUSY_MS, SqliteQuestions, check_version
from glycanbridge.journals.writer import WAIT_S, Writer

log = logging.getLogger(__name__)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_OUTAGES = (
    apsw.BusyError, apsw.LockedError, apsw.FullError, apsw.IOError, apsw.ReadOnlyError, apsw.CantOpenError,
    apsw.PermissionsError, apsw.ProtocolError, apsw.NoMemError, apsw.CorruptError, apsw.NotADBError,
)  # fmt: skip

_INSERT_EVENT = """
INSERT INTO events (event_id, digest, type, timestamp, received_at, practice_id, kit_code, flags, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (event_id) DO NOTHING RETURNING id
"""
_INSERT_DELIVERY = "INSERT INTO deliveries (event, destination, due_at) VALUES (?, ?, ?)"
_DUE = """
SELECT d.id, d.attempt, e.event_id, e.type, e.received_at, e.body
FROM deliveries d JOIN events e ON e.id = d.event
WHERE d.destination = ? AND d.state IN ('pending', 'running') AND d.due_at <= ? ORDER BY d.due_at, d.id LIMIT ?
"""
_LEASE = "UPDATE deliveries SET state = 'running', attempt = ?, due_at = ?, lease_owner = ? WHERE id = ?"
_SETTLE = """
UPDATE deliveries
SET state = :state, due_at = :due_at, finished_at = :finished_at, lease_owner = NULL,
    last_error = coalesce(:error, last_error), receipt = coalesce(:receipt, receipt)
WHERE event = (SELECT id FROM events WHERE event_id = :event) AND destination = :destination
  AND state = 'running' AND attempt = :attempt
RETURNING id
"""
_INSERT_ATTEMPT = "INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?)"
_CREATE_SCHEMA = "CREATE TABLE IF NOT EXISTS schema (version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL)"
_TAKE_OVER = """
UPDATE deliveries SET due_at = ? + min(60000, ((1 << min(attempt - 1, 6)) - 1) * 1000)
WHERE state = 'running' AND state IN ('pending', 'running')
"""  # at once after the first attempt, 1, 3, 7 s later and so on after more: one of them may be what kills the process
_NEXT_DUE = "SELECT min(due_at) FROM deliveries WHERE destination = ? AND state IN ('pending', 'running')"


class _Transaction:
    def __init__(self, connection: apsw.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._file = _identity(path)

    def begin(self) -> None:
        if _identity(self._path) != self._file:  # else we would go on writing into a file without a name
            raise JournalUnavailable(
                f"{self._path}: the file was moved, deleted or replaced; put it back, or start anew"
            )
        self._connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self._connection.execute("COMMIT")

    def rollback(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def is_outage(self, error: Exception) -> bool:
        return isinstance(error, (JournalUnavailable, *_OUTAGES))

    def raised(self, error: Exception) -> bool:
        return isinstance(error, apsw.Error)


class SqliteJournal(SqliteQuestions):
    """Keeps `journal.Journal` in one file, which it makes (mode 0600) or brings up to date.

    Raises `JournalUnusable` for a file that is no journal or a newer program's, `JournalUnavailable` if the file
    cannot be opened now.
    """

    def __init__(self, path: Path, *, clock: Clock = wall_clock, wait_s: float = WAIT_S, serves: bool = True) -> None:
        """`serves`: claims deliveries, and so must be the only one that does; waits are in seconds."""
        self._clock = clock
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{token_hex(4)}"
        self._due: set[str] = set()
        self._told_due: Callable[[frozenset[str]], None] = lambda _destinations: None
        self._serving = FileLock(f"{path}.lock", mode=0o600)
        if serves:
            _lock(self._serving, path)
        self._connection = _open(path, clock)
        super().__init__(path)
        transaction = _Transaction(self._connection, path)
        self._writer = Writer(transaction, after_commit=self._tell_due, wait_s=wait_s)
        if serves:  # and nobody else does: whatever is running was left by a dead process
            try:
                self._writer.run(self._take_over)
            except BaseException:
                self.close()
                raise

    def record(self, event: NewEvent) -> Recorded:
        """Keep the event with its deliveries; returns when both are on disk."""
        return self._writer.run(lambda: self._record(event))

    def claim(self, destination: str, *, limit: int, lease_s: float) -> list[Delivery]:
        """Take up to `limit` due deliveries, and what the dead left behind."""
        return self._writer.run(lambda: self._claim(destination, limit, lease_s))

    def settle(self, delivery: Delivery, outcome: Outcome, settlement: Settlement, *, took_ms: int) -> bool:
        """Journal an attempt and what follows from it; `False` if the lease was lost."""
        return self._writer.run(lambda: self._settle(delivery, outcome, settlement, took_ms))

    def next_due_in_s(self, destination: str) -> float | None:
        """How long until something falls due; `None` if nothing is owed."""
        due_at = self._writer.run(lambda: self._connection.execute(_NEXT_DUE, (destination,)).get)
        return None if due_at is None else max(0, due_at - self._clock()) / 1000

    def on_due(self, callback: Callable[[frozenset[str]], None]) -> None:
        """Call `callback` with the destinations that something new is due for, once per commit."""
        self._told_due = callback

    def probe(self) -> None:
        """Return if the journal takes writes just now."""
        self._writer.run(lambda: self._connection.execute("UPDATE schema SET applied_at = applied_at"))

    def close(self) -> None:
        """Commit what waits and close."""
        self._writer.close()
        super().close()
        self._connection.close()
        self._serving.release()

    # What follows runs in the writer's thread, inside a transaction.

    def _take_over(self) -> None:
        self._connection.execute(_TAKE_OVER, (self._clock(),))
        left_behind = self._connection.changes()
        if left_behind:
            log.warning("attempts were cut off when the last process ended; they are made again: %d", left_behind)

    def _record(self, new: NewEvent) -> Recorded:
        now = self._clock()
        for kept_as, flags in ((new.id.id, ""), (new.id.hash, "id-conflict")):
            row = self._insert(new, kept_as, flags, now)
            if row is not None:
                break
            digest = self._connection.execute("SELECT digest FROM events WHERE event_id = ?", (kept_as,)).get
            if digest == new.id.digest:
                return Recorded(kept_as, duplicate=True)
        more_kits = [(kit, row) for kit in new.event.kit_codes[1:]]
        self._connection.executemany("INSERT INTO event_kits VALUES (?, ?)", more_kits)
        self._connection.executemany(_INSERT_DELIVERY, [(row, destination, now) for destination in new.owed_to])
        self._due.update(new.owed_to)
        return Recorded(kept_as, duplicate=False)

    def _insert(self, new: NewEvent, kept_as: str, flags: str, now: int) -> int | None:
        event = new.event
        timestamp = (event.timestamp - _EPOCH) // timedelta(milliseconds=1)
        kit = next(iter(event.kit_codes), None)
        values = (kept_as, new.id.digest, event.type, timestamp, now, event.practice_id, kit, flags, new.body)
        row: int | None = self._connection.execute(_INSERT_EVENT, values).get
        return row

    def _claim(self, destination: str, limit: int, lease_s: float) -> list[Delivery]:
        now = self._clock()
        lease_end = now + int(lease_s * 1000)
        due = list(self._connection.execute(_DUE, (destination, now, limit)))
        self._connection.executemany(_LEASE, [(attempt + 1, lease_end, self._owner, row) for row, attempt, *_ in due])
        return [
            Delivery(
                id=f"{event_id}:{destination}",
                event_id=event_id,
                event_type=event_type,
                destination=destination,
                attempt=attempt + 1,
                received_at=_EPOCH + timedelta(milliseconds=received_at),
                body=body,
            )
            for _row, attempt, event_id, event_type, received_at, body in due
        ]

    def _settle(self, delivery: Delivery, outcome: Outcome, settlement: Settlement, took_ms: int) -> bool:
        waits = settlement.state is State.PENDING
        now = self._clock()
        values = {
            "state": settlement.state,
            "due_at": now + int((settlement.wait_s or 0) * 1000) if waits else None,
            "finished_at": None if waits else now,
            "error": outcome.error,
            "receipt": outcome.receipt,
            "event": delivery.event_id,
            "destination": delivery.destination,
            "attempt": delivery.attempt,
        }
        row = self._connection.execute(_SETTLE, values).get
        if row is None:
            return False
        ended = (now - took_ms, took_ms, outcome.result, outcome.error, outcome.receipt)
        self._connection.execute(_INSERT_ATTEMPT, (row, delivery.attempt, *ended))
        return True

    def _tell_due(self) -> None:
        due, self._due = self._due, set()
        if due:
            self._told_due(frozenset(due))


def _lock(serving: FileLock, path: Path) -> None:
    """Make sure that no other process serves from the file, before anything in it is touched."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        serving.acquire(blocking=False)
    except Timeout:
        raise JournalUnavailable(f"{path}: another bridge serves from this journal; stop that one first") from None
    except (OSError, NotImplementedError) as error:
        raise JournalUnavailable(f"{path}: its lock file cannot be used: {error}") from error


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        told = path.stat()
    except OSError:
        return None
    return told.st_dev, told.st_ino


def _open(path: Path, clock: Clock) -> apsw.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        connection = apsw.Connection(str(path))
        connection.set_busy_timeout(BUSY_MS)
        try:
            _migrate(connection, path, clock)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")  # a commit returns when it is on disk
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA temp_store = MEMORY")
        except BaseException:
            connection.close()
            raise
    except apsw.NotADBError:
        raise JournalUnusable(f"{path}: this is not an SQLite database; name another file") from None
    except (apsw.Error, OSError) as error:
        raise JournalUnavailable(f"{path}: the journal cannot be opened: {error}") from error
    return connection


def _migrate(connection: apsw.Connection, path: Path, clock: Clock) -> None:
    version, steps = check_version(connection, path), migrations.steps("sqlite")
    if version == steps[-1].version:
        return
    if version:  # a copy first: the way back is to put it in the journal's place
        copy = path.with_name(f"{path.name}.version-{version}")
        copy.unlink(missing_ok=True)
        connection.execute("VACUUM INTO ?", (str(copy),))
        copy.chmod(0o600)
        log.info("the journal was copied before its migration", extra={"path": str(copy)})
    connection.execute("BEGIN IMMEDIATE")
    version = check_version(connection, path)  # another process may have been faster
    connection.execute(_CREATE_SCHEMA)
    for step in steps[version:]:
        connection.execute(step.sql)
        connection.execute("INSERT INTO schema VALUES (?, ?)", (step.version, clock()))
    connection.execute("COMMIT")
