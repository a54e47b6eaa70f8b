"""What has been sent to an EHR, by report: a small SQLite file that all lanes of a destination share.

It tells a repeat from a correction, and holds no result: digests, times, and what the EHR calls its copy. If it is
lost, nothing else is: a report that comes again is sent again under the same keys.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from glycanbridge import DestinationError, NotYetError, TemporaryError
from glycanbridge_ehr.reports import Report

_LOCKS = 256
_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    destination TEXT, report_id TEXT, event_id TEXT, digest TEXT, PRIMARY KEY (destination, report_id));
CREATE TABLE IF NOT EXISTS sent (
    destination TEXT, report_id TEXT, revision INTEGER, digest TEXT, patient_digest TEXT, created_on TEXT,
    received_at TEXT, receipt TEXT, PRIMARY KEY (destination, report_id));
CREATE TABLE IF NOT EXISTS kits (
    destination TEXT, test_id TEXT, received_at TEXT, PRIMARY KEY (destination, test_id));
CREATE TABLE IF NOT EXISTS faults (
    destination TEXT, report_id TEXT, fingerprint TEXT, attempt INTEGER, times INTEGER,
    PRIMARY KEY (destination, report_id));
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentFile:
    """The report file that the EHR was sent, and of which event's delivery it was."""

    event_id: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """What the EHR was last sent of a report."""

    revision: int
    digest: str
    patient_digest: str
    created_on: datetime
    received_at: datetime
    """When the bridge was told: it says which is later where GlycanAge gives two tellings one time."""
    receipt: str
    file: SentFile | None
    """`None`: what it was sent had none with it."""


class Sent:
    """The file `sent.db` in a directory, both made when they are first needed (0600, 0700)."""

    def __init__(self, directory: Path, *, lock_timeout_s: float) -> None:
        self._directory = directory
        self._lock_timeout_s = lock_timeout_s

    @contextmanager
    def one_at_a_time(self, destination: str, report_id: str) -> Iterator[None]:
        """Hold a report: conditional creates are no lock, so two senders of one report would make two results.

        Raises `NotYetError` if another lane holds it for too long, such as one that waits for GlycanAge's file.
        """
        number = hashlib.sha256(f"{destination}\0{report_id}".encode()).digest()[0] % _LOCKS
        self._make_directory()
        file = self._directory / f".{number:03}.lock"
        lock = FileLock(file, mode=0o600, timeout=self._lock_timeout_s)
        try:
            lock.acquire()
        except Timeout:
            raise NotYetError("another lane is sending this report; it is tried again", retry_after_s=5) from None
        except OSError as error:
            raise DestinationError(f"{file}: {error.strerror}; see that the bridge can write there") from None
        try:
            yield
        finally:
            lock.release()

    def last(self, destination: str, report_id: str) -> Before | None:
        """What was last sent of a report, if anything was."""
        question = (
            "SELECT revision, sent.digest, patient_digest, created_on, received_at, receipt, event_id, files.digest"
            " FROM sent LEFT JOIN files USING (destination, report_id) WHERE destination=? AND report_id=?"
        )
        found = self._run(question, destination, report_id)
        for revision, digest, patient_digest, created_on, received_at, receipt, event_id, file_digest in found:
            return Before(
                revision=revision,
                digest=digest,
                patient_digest=patient_digest,
                created_on=datetime.fromisoformat(created_on),
                received_at=datetime.fromisoformat(received_at),
                receipt=receipt,
                file=None if event_id is None else SentFile(event_id=event_id, digest=file_digest),
            )
        return None

    def keep(
        self,
        destination: str,
        report: Report,
        *,
        received_at: datetime,
        revision: int,
        receipt: str,
        file: SentFile | None = None,
    ) -> None:
        """Keep in mind that the EHR has taken this, and with which file."""
        times = [each.astimezone(UTC).isoformat() for each in (report.created_on, received_at)]
        key = (destination, report.report_id)
        row = (*key, revision, report.digest, report.patient_digest, *times, receipt)
        with self._opened() as connection:
            connection.execute("INSERT OR REPLACE INTO sent VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
            connection.execute("DELETE FROM files WHERE destination=? AND report_id=?", key)
            if file is not None:
                connection.execute("INSERT INTO files VALUES (?, ?, ?, ?)", (*key, file.event_id, file.digest))

    def kit(self, destination: str, test_id: str) -> datetime | None:
        """When a test's kit came to the laboratory, if that is known."""
        for (received_at,) in self._run(
            "SELECT received_at FROM kits WHERE destination=? AND test_id=?", destination, test_id
        ):
            return datetime.fromisoformat(received_at)
        return None

    def keep_kit(self, destination: str, test_id: str, received_at: datetime) -> None:
        """Keep in mind when a test's kit came."""
        row = (destination, test_id, received_at.astimezone(UTC).isoformat())
        self._run("INSERT OR REPLACE INTO kits VALUES (?, ?, ?)", *row)

    def count_fault(self, destination: str, report_id: str, *, fingerprint: str, attempt: int) -> int:
        """Count that the EHR broke over a report; in how many attempts in a row it has now done so in this way."""
        question = "SELECT fingerprint, attempt, times FROM faults WHERE destination=? AND report_id=?"
        times = 1
        for before, counted, so_far in self._run(question, destination, report_id):
            if before == fingerprint:
                times = so_far + (counted != attempt)  # the quick tries of one attempt are one
        row = (destination, report_id, fingerprint, attempt, times)
        self._run("INSERT OR REPLACE INTO faults VALUES (?, ?, ?, ?, ?)", *row)
        return times

    def forget_faults(self, destination: str, report_id: str) -> None:
        """Begin to count anew."""
        self._run("DELETE FROM faults WHERE destination=? AND report_id=?", destination, report_id)

    def _run(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with self._opened() as connection:
            return connection.execute(statement, values).fetchall()

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it is kept when the block ends, or nothing."""
        self._make_directory()
        file = self._directory / "sent.db"
        try:
            file.touch(mode=0o600)
            with closing(sqlite3.connect(file, timeout=self._lock_timeout_s)) as connection, connection:
                connection.executescript(_SCHEMA)
                yield connection
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise DestinationError(f"{file}: {error.sqlite_errorname}; see that it can be written to") from None
            raise TemporaryError(f"{file}: another lane holds it", retry_after_s=5) from None
        except (OSError, sqlite3.Error) as error:
            raise DestinationError(f"{file}: {type(error).__name__}; see that it is whole and can be written") from None

    def _make_directory(self) -> None:
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise DestinationError(
                f"{self._directory}: {error.strerror}; it must be a directory of the bridge's"
            ) from None
