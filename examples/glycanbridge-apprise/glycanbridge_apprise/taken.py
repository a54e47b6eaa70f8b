"""Remembers which of several services have a delivery that others refuse: a repeat is for the others alone.

It is SQLite, a file for each destination, and holds hashes. Losing it repeats a message, and loses none.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from glycanbridge import Delivery, DestinationError

KEPT_DAYS = 90
"""How long it is remembered who has a delivery that never reached the others."""


class Taken:
    """Who has what, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def has(self, delivery: Delivery, url: str) -> bool:
        """Whether the service at `url` has it. Raises `DestinationError` if nothing can be remembered."""
        try:
            with self._open(delivery) as database:
                return bool(database.execute("SELECT 1 FROM taken WHERE url = ?", [_key(delivery, url)]).fetchall())
        except (OSError, sqlite3.Error) as error:
            raise DestinationError(f"{self._folder} cannot be used: {type(error).__name__}") from error

    def add(self, delivery: Delivery, url: str) -> None:
        """It has it. If that cannot be written down, it may get it twice: better than not to tell the others."""
        with suppress(OSError, sqlite3.Error), self._open(delivery) as database:
            row = (_key(delivery, url), _key(delivery, ""))
            database.execute("INSERT OR IGNORE INTO taken (url, delivery) VALUES (?, ?)", row)

    def forget(self, delivery: Delivery) -> None:
        """All of them have it; and what is old is of no use any more."""
        with suppress(OSError, sqlite3.Error), self._open(delivery) as database:
            database.execute("DELETE FROM taken WHERE delivery = ?", [_key(delivery, "")])
            database.execute("DELETE FROM taken WHERE at < datetime('now', ?)", [f"-{KEPT_DAYS} days"])

    @contextmanager
    def _open(self, delivery: Delivery) -> Iterator[sqlite3.Connection]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = self._folder / f"{delivery.destination}.db"
        with closing(sqlite3.connect(file, timeout=5)) as database, database:
            database.execute(
                "CREATE TABLE IF NOT EXISTS taken "
                "(url TEXT PRIMARY KEY, delivery TEXT NOT NULL, at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"
            )
            yield database


def _key(delivery: Delivery, url: str) -> str:
    return hashlib.sha256(f"{delivery.id}\n{url}".encode()).hexdigest()
