"""What must outlive a restart: who has which mail already, and what waits for a digest. One small SQLite file.

It is shared by all lanes, processes and e-mail destinations of a bridge. Losing it loses no event: the bridge's journal
still owes them. Rollback journal, not WAL: SQLite before 3.51.3 can lose committed rows there.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glycanbridge import DestinationError, TemporaryError

RETENTION_S = 30 * 86_400.0
"""How long a repeat is recognised."""
BUSY_S = 5.0
"""How long to wait for another process that writes."""
_TEMPORARY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
_SCHEMA = """
CREATE TABLE IF NOT EXISTS accepted (
    message_id TEXT, address TEXT, since_ms INTEGER NOT NULL, PRIMARY KEY (message_id, address)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS digests (
    message_id TEXT PRIMARY KEY, destination TEXT NOT NULL, practice_id TEXT NOT NULL,
    told_as TEXT NOT NULL, frozen_ms INTEGER NOT NULL, receipt TEXT
);
CREATE TABLE IF NOT EXISTS entries (
    delivery_id TEXT PRIMARY KEY, destination TEXT NOT NULL, practice_id TEXT NOT NULL, told_as TEXT NOT NULL,
    due_by TEXT NOT NULL, due_ms INTEGER NOT NULL, seen_ms INTEGER NOT NULL, order_ms INTEGER NOT NULL,
    told TEXT NOT NULL, digest TEXT REFERENCES digests (message_id) ON DELETE SET NULL
);
CREATE INDEX IF NOT EXISTS entries_of_digest ON entries (digest);
CREATE INDEX IF NOT EXISTS entries_of_practice ON entries (destination, practice_id) WHERE digest IS NULL;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A delivery that waits for a digest, or is in one."""

    delivery_id: str
    destination: str
    practice_id: str
    told_as: str
    """The settings that decided what is told of it, and how."""
    due_by: str
    """The settings that decided when it is due."""
    due_ms: int
    seen_ms: int
    """When its delivery last came: one that comes no more was discarded, or delivered in another way."""
    order_ms: int
    """The event's own time."""
    told: dict[str, Any]
    """What a template gets of it: no more than `personal` allows."""
    digest: str | None = None
    """The Message-ID of the digest that it is in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """A frozen set of entries that goes out as one mail. `receipt` is there once it is sent."""

    message_id: str
    told_as: str
    frozen_ms: int
    receipt: str | None


class State:
    """The file in `directory`; made when it is first needed. Each use opens it anew: it may be taken away any time."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "state.db"

    @property
    def is_there(self) -> bool:
        """Whether anything was ever kept."""
        return self._file.exists()

    @contextmanager
    def change(self) -> Iterator[Changes]:
        """One transaction: all of it is on the disk when the block ends, or nothing.

        Raises `TemporaryError` if the file cannot be written now, `DestinationError` if it is none of ours.
        """
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite's other files take its mode
            with closing(sqlite3.connect(self._file, timeout=BUSY_S, isolation_level=None)) as connection:
                connection.execute("PRAGMA journal_mode = DELETE")
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA secure_delete = ON")
                connection.execute("PRAGMA foreign_keys = ON")
                connection.execute("BEGIN IMMEDIATE")
                for statement in _SCHEMA.split(";"):
                    connection.execute(statement)
                yield Changes(connection)
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._told(error) from None
        except OSError as error:
            raise unwritable(self._file, error) from None

    def _told(self, error: sqlite3.Error) -> Exception:
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _TEMPORARY:
            told = f"{self._file}: {name}; see that the disk has space, and that no other program holds the file"
            return TemporaryError(told, retry_after_s=BUSY_S)
        told = f"{self._file}: {name}; see that it may be written to; if it is damaged, move it away: no event is lost"
        return DestinationError(told)


def unwritable(file: Path, error: OSError) -> TemporaryError:
    """The error to raise for a file that the system does not let us write."""
    told = f"{file}: {error.strerror or type(error).__name__}; see that it may be written to, and has space"
    return TemporaryError(told, retry_after_s=BUSY_S)  # no quick try: somebody may have the mail already


class Changes:
    """What can be asked and changed within one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def who_has(self, message_id: str) -> dict[str, int]:
        """The addresses that have a mail which others have not yet, and since when (ms)."""
        asked = "SELECT address, since_ms FROM accepted WHERE message_id = ?"
        return dict(self._connection.execute(asked, (message_id,)).fetchall())

    def has_it(self, message_id: str, addresses: Sequence[str], now_ms: int) -> None:
        """Keep that these have the mail."""
        rows = [(message_id, each, now_ms) for each in addresses]
        self._connection.executemany("INSERT OR IGNORE INTO accepted VALUES (?, ?, ?)", rows)

    def all_have_it(self, message_id: str) -> None:
        """There is nothing more to keep of the mail."""
        self._connection.execute("DELETE FROM accepted WHERE message_id = ?", (message_id,))

    def entry(self, delivery_id: str) -> Entry | None:
        """What is kept of a delivery."""
        found = self._entries("delivery_id = ?", delivery_id)
        return found[0] if found else None

    def write(self, entry: Entry) -> None:
        """Keep it, in place of what was kept of this delivery."""
        row = (
            *(entry.delivery_id, entry.destination, entry.practice_id, entry.told_as, entry.due_by, entry.due_ms),
            *(entry.seen_ms, entry.order_ms, json.dumps(entry.told, ensure_ascii=False), entry.digest),
        )
        self._connection.execute("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)

    def take_out(self, delivery_id: str) -> str | None:
        """The receipt of a delivery whose digest was sent; else let no digest tell of it any more."""
        entry = self.entry(delivery_id)
        receipt = self.digest(entry.digest).receipt if entry and entry.digest else None
        if receipt is None:
            self._connection.execute("DELETE FROM entries WHERE delivery_id = ?", (delivery_id,))
        return receipt

    def waiting(self, destination: str, practice_id: str) -> list[Entry]:
        """The entries of a practice that are in no digest."""
        return self._entries("destination = ? AND practice_id = ? AND digest IS NULL", destination, practice_id)

    def entries_of(self, digest: str) -> list[Entry]:
        """The entries of a digest, in the order of their events."""
        return self._entries("digest = ?", digest)

    def digest(self, message_id: str) -> Digest:
        """A digest by its Message-ID: no other ever has the same, not even in a file that was made anew."""
        asked = "SELECT told_as, frozen_ms, receipt FROM digests WHERE message_id = ?"
        told_as, frozen_ms, receipt = self._connection.execute(asked, (message_id,)).fetchone()
        return Digest(message_id=message_id, told_as=told_as, frozen_ms=frozen_ms, receipt=receipt)

    def last_frozen_ms(self, destination: str, practice_id: str) -> int | None:
        """When a practice's last digest was frozen."""
        asked = "SELECT max(frozen_ms) FROM digests WHERE destination = ? AND practice_id = ?"
        found: int | None = self._connection.execute(asked, (destination, practice_id)).fetchone()[0]
        return found

    def freeze(self, entries: Sequence[Entry], *, message_id: str, now_ms: int) -> None:
        """Make a digest of the entries, which are all of one practice."""
        first = entries[0]
        row = (message_id, first.destination, first.practice_id, first.told_as, now_ms)
        told = "INSERT INTO digests (message_id, destination, practice_id, told_as, frozen_ms) VALUES (?, ?, ?, ?, ?)"
        self._connection.execute(told, row)
        ids = [(message_id, each.delivery_id) for each in entries]
        self._connection.executemany("UPDATE entries SET digest = ? WHERE delivery_id = ?", ids)

    def thaw(self, digest: Digest) -> None:
        """Undo a digest that was not sent: its entries wait again."""
        self._connection.execute("DELETE FROM digests WHERE message_id = ?", (digest.message_id,))
        self.all_have_it(digest.message_id)

    def sent(self, digest: Digest, receipt: str) -> None:
        """Keep that a digest is sent, and of its entries nothing but that they were in it."""
        self._connection.execute("UPDATE digests SET receipt = ? WHERE message_id = ?", (receipt, digest.message_id))
        self._connection.execute("UPDATE entries SET told = '{}' WHERE digest = ?", (digest.message_id,))
        self.all_have_it(digest.message_id)

    def forget_old(self, now_ms: int) -> None:
        """Let go of what is older than `RETENTION_S`: entries that come no more, their digests, and who has what."""
        for told in (
            "DELETE FROM entries WHERE seen_ms < ?",
            "DELETE FROM digests WHERE frozen_ms < ? AND NOT EXISTS (SELECT 1 FROM entries WHERE digest = message_id)",
            "DELETE FROM accepted WHERE since_ms < ?",
        ):
            self._connection.execute(told, (now_ms - round(RETENTION_S * 1000),))

    def _entries(self, which: str, *values: object) -> list[Entry]:
        names = "delivery_id, destination, practice_id, told_as, due_by, due_ms, seen_ms, order_ms, told, digest"
        asked = f"SELECT {names} FROM entries WHERE {which} ORDER BY order_ms, delivery_id"  # noqa: S608 (our own words)
        rows = [dict(zip(names.split(", "), row, strict=True)) for row in self._connection.execute(asked, values)]
        return [Entry(**row | {"told": json.loads(row["told"])}) for row in rows]
