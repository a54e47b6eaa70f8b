"""One SQLite file as the journal uses it: locked, opened, migrated; its transactions.

apsw brings its own SQLite: the one that Debian 12 and most Pythons carry (3.7.0 to 3.51.2) can lose committed rows in
WAL mode.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import apsw
from filelock import FileLock, Timeout

from glycanbridge.delivery import Clock
from glycanbridge.disk import make_folder, sync, write_anew
from glycanbridge.errors import JournalUnavailable, JournalUnusable
from glycanbridge.journals import migrations
from glycanbridge.journals.questions import BUSY_MS, check_version

log = logging.getLogger(__name__)

Values = Sequence[object] | Mapping[str, object]

_OUTAGES = (
    apsw.BusyError, apsw.LockedError, apsw.FullError, apsw.IOError, apsw.ReadOnlyError, apsw.CantOpenError,
    apsw.PermissionsError, apsw.ProtocolError, apsw.NoMemError, apsw.CorruptError, apsw.NotADBError,
)  # fmt: skip
_CREATE_SCHEMA = "CREATE TABLE IF NOT EXISTS schema (version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL)"


class Database:
    """A connection that writes. One thread at a time may use it; a transaction is `begin`, `execute`, `commit`."""

    def __init__(self, path: Path, *, clock: Clock, serves: bool) -> None:
        """`serves`: the only one that delivers from the file, held to it by a lock file beside it."""
        self._path = path
        self._serving = FileLock(f"{path}.lock", mode=0o600)
        if serves:
            _lock(self._serving, path)
        try:
            self.connection = _open(path, clock, serves=serves)
        except BaseException:
            self._serving.release()
            raise
        self._file = _identity(path)

    def execute(self, sql: str, values: Values = ()) -> apsw.Cursor:
        """Run one statement."""
        return self.connection.execute(sql, values)

    def executemany(self, sql: str, rows: Iterable[Values]) -> apsw.Cursor:
        """Run one statement for each of `rows`; if it returns something, it is run as that is read."""
        return self.connection.executemany(sql, rows)

    def changes(self) -> int:
        """How many rows the last statement changed."""
        return int(self.connection.changes())

    def inserted(self) -> int | None:
        """The row that the last statement, an INSERT of one, has made; `None` if it made none."""
        return int(self.connection.last_insert_rowid()) if self.connection.changes() else None

    def changed_by_others(self) -> int:
        """A number that is another one whenever somebody else has written to the file since."""
        return int(self.connection.pragma("data_version"))

    def begin(self) -> None:
        """Start a transaction that may write."""
        if _identity(self._path) != self._file:  # else we would go on writing into a file without a name
            raise JournalUnavailable(
                f"{self._path}: the file was moved, deleted or replaced; put it back, or start anew"
            )
        self.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Return when everything since `begin` is on disk."""
        self.execute("COMMIT")

    def rollback(self) -> None:
        """Undo everything since `begin`."""
        if self.connection.in_transaction:
            self.execute("ROLLBACK")

    def is_outage(self, error: Exception) -> bool:
        """Whether the database as a whole cannot write now."""
        return isinstance(error, (JournalUnavailable, *_OUTAGES))

    def raised(self, error: Exception) -> bool:
        """Whether the database raised it, for whatever reason."""
        return isinstance(error, apsw.Error)

    def close(self) -> None:
        """Close, and let another process serve from the file."""
        self.connection.close()
        self._serving.release()


def is_served(path: Path) -> bool:
    """Whether a bridge serves from the file just now."""
    probe = FileLock(f"{path}.lock", mode=0o600)
    try:
        probe.acquire(blocking=False)
    except Timeout:
        return True
    except (OSError, NotImplementedError):
        return False
    probe.release()
    return False


def _lock(serving: FileLock, path: Path) -> None:
    """Make sure that no other process serves from the file, before anything in it is touched."""
    try:
        make_folder(path.parent)
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


def _open(path: Path, clock: Clock, *, serves: bool) -> apsw.Connection:
    try:
        make_folder(path.parent)
        path.touch(mode=0o600)
        connection = _connect(path)
        try:
            if serves:
                _write_log_anew(connection, path)
            else:
                _leave_to_its_server(connection, path)
            migrate(connection, path, clock)
            connection.execute("PRAGMA temp_store = MEMORY")  # no file for each group; a migration needs one, or much
        except BaseException:
            connection.close()
            raise
    except apsw.NotADBError:
        raise JournalUnusable(f"{path}: this is not an SQLite database; name another file") from None
    except apsw.CorruptError as error:
        raise JournalUnusable(
            f"{path}: the journal is damaged ({error}): see docs/operations.md; `glycanbridge db check` tells more"
        ) from error
    except (apsw.Error, OSError) as error:
        raise JournalUnavailable(f"{path}: the journal cannot be opened: {error}") from error
    return connection


def _leave_to_its_server(connection: apsw.Connection, path: Path) -> None:
    if check_version(connection, path) < migrations.newest("sqlite") and is_served(path):
        raise JournalUnavailable(
            f"{path}: a bridge serves from this journal and is just making it, or is of an older version: "
            "try again, or stop it first"
        )


def _connect(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        connection.set_busy_timeout(BUSY_MS)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # a commit returns when it is on disk
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA cache_size = -8192")
    except BaseException:
        connection.close()
        raise
    return connection


def _write_log_anew(connection: apsw.Connection, path: Path) -> None:
    """Put the write-ahead log on the disk once more: the last process may not have been able to."""
    connection.execute("BEGIN IMMEDIATE")  # so that nobody else writes to it
    try:
        write_anew(path.with_name(f"{path.name}-wal"))
    finally:
        connection.execute("ROLLBACK")


def migrate(connection: apsw.Connection, path: Path, clock: Clock) -> None:
    """Bring the schema up to date, all steps or none; an older journal is copied first, which is the way back."""
    version, steps = check_version(connection, path), migrations.steps("sqlite")
    if version == steps[-1].version:
        return
    if version:
        copy = path.with_name(f"{path.name}.version-{version}")
        copy.unlink(missing_ok=True)
        copy.touch(mode=0o600)
        connection.execute("VACUUM INTO ?", (str(copy),))
        sync(copy)
        log.info("the journal was copied before its migration", extra={"path": str(copy)})
    connection.execute("PRAGMA foreign_keys = OFF")  # tables are made anew, and point at each other meanwhile
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = check_version(connection, path)  # another process may have been faster
        connection.execute(_CREATE_SCHEMA)
        for step in steps[version:]:
            for _ in connection.execute(step.sql):  # apsw runs a statement when the one before it is at its end
                pass
            connection.execute("INSERT INTO schema VALUES (?, ?)", (step.version, clock()))
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("PRAGMA foreign_keys = ON")
