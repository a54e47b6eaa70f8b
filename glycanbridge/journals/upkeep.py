"""Upkeep of an SQLite journal's file: says what is damaged in it, copies it, brings it up to date, shrinks it.

Checking and copying work while a bridge serves from the file, and hold nobody up.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex

import apsw

from glycanbridge.delivery import wall_clock
from glycanbridge.disk import sync
from glycanbridge.errors import JournalError, JournalUnavailable, JournalUnusable
from glycanbridge.identity import is_whole
from glycanbridge.journals.database import Database, is_served, migrate
from glycanbridge.journals.questions import BUSY_MS, check_version, see_that_it_is_there, told

MOST_PROBLEMS = 100


class JournalFile:
    """The file of a journal. Its methods raise `JournalError` when the file or the disk makes trouble."""

    def __init__(self, path: Path) -> None:
        """Raises `JournalMissing` if there is none."""
        see_that_it_is_there(path)
        self.path = path
        with told(path):
            self._reader = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
            self._reader.set_busy_timeout(BUSY_MS)

    def check(self) -> list[str]:
        """Everything that is damaged, a line each; empty if the journal is whole.

        SQLite's own check finds what is wrong with its pages. It does not see a byte that was flipped within a value,
        so each event's body is held against the digest that was taken of it when it came.
        """
        problems: list[str] = []
        try:
            for problem in self._problems():
                problems.append(problem)
                if len(problems) >= MOST_PROBLEMS:
                    return [*problems, "and perhaps more"]
        except (apsw.Error, JournalUnusable) as error:
            problems.append(f"{self.path}: cannot be read to its end: {error}")
        return problems

    def version(self) -> int:
        """The version of its schema."""
        with told(self.path):
            return check_version(self._reader, self.path)

    def quick_check(self, within_s: float) -> list[str] | None:
        """What SQLite finds damaged in its pages at a glance; `None` if the time was over before the end."""
        until_s = time.monotonic() + within_s
        self._reader.set_progress_handler(lambda: time.monotonic() >= until_s, 1000)
        try:
            with told(self.path):
                lines = [str(line) for (line,) in self._reader.execute(f"PRAGMA quick_check({MOST_PROBLEMS})")]
        except JournalUnavailable:
            if time.monotonic() >= until_s:
                return None
            raise
        finally:
            self._reader.set_progress_handler(None)
        return [line for line in lines if line != "ok"]

    def is_served(self) -> bool:
        """Whether a bridge serves from it just now; asking leaves no file behind."""
        return Path(f"{self.path}.lock").exists() and is_served(self.path)

    def counted(self) -> str:
        """How much is in it, in words."""
        with told(self.path):
            events = self._reader.execute("SELECT count(*) FROM events").get
            states = list(self._reader.execute("SELECT state, count(*) FROM deliveries GROUP BY state ORDER BY state"))
        return f"{events} events, {', '.join(f'{count} {state}' for state, count in states) or 'no'} deliveries"

    def back_up(self, target: Path) -> None:
        """Copy the journal as it is at one moment to `target` (mode 0600), which appears whole or not at all."""
        if target.exists():
            raise JournalError(f"{target}: there is a file already; name another one")
        partial = target.with_name(f"{target.name}.{token_hex(4)}.partial")
        try:
            partial.touch(mode=0o600, exist_ok=False)
            self._reader.execute("VACUUM INTO ?", (str(partial),))
            sync(partial)
            partial.rename(target)
            sync(target.parent)
        except (OSError, apsw.Error) as error:
            raise JournalUnavailable(f"{target}: no copy of {self.path} can be made there: {error}") from error
        finally:
            partial.unlink(missing_ok=True)

    def migrate(self) -> tuple[int, int]:
        """Bring the schema up to date; its version before and after."""
        self._must_not_be_served()
        with told(self.path):
            connection = apsw.Connection(str(self.path))
            try:
                before = check_version(connection, self.path)
                migrate(connection, self.path, wall_clock)
                return before, check_version(connection, self.path)
            finally:
                connection.close()

    def vacuum(self) -> tuple[int, int]:
        """Write the file anew without what was deleted; its bytes before and after."""
        self._must_not_be_served()
        before = self.path.stat().st_size
        with told(self.path):
            database = Database(self.path, clock=wall_clock, serves=True)
            try:
                database.execute("PRAGMA temp_store = FILE")  # else it would copy the whole journal into memory
                database.execute("VACUUM")
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                database.close()
        return before, self.path.stat().st_size

    def close(self) -> None:
        """Let go of the file."""
        self._reader.close()

    def _must_not_be_served(self) -> None:
        if is_served(self.path):
            raise JournalUnavailable(f"{self.path}: a bridge serves from this journal; stop it first")

    def _problems(self) -> Iterator[str]:
        for (line,) in self._reader.execute("PRAGMA integrity_check"):
            if line != "ok":
                yield f"{self.path}: {line}"
        for table, row, *_ in self._reader.execute("PRAGMA foreign_key_check"):
            yield f"{self.path}: row {row} of {table} points at nothing"
        check_version(self._reader, self.path)
        last = 0
        while rows := list(self._reader.execute(
            "SELECT id, event_id, digest, body FROM events WHERE id > ? ORDER BY id LIMIT 500", (last,)
        )):  # fmt: skip
            for last, name, digest, body in rows:  # noqa: B007 (the last one goes on)
                if not is_whole(body, digest):
                    yield f"{self.path}: the event {name} is not what was signed: its body is damaged"
