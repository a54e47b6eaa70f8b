"""The directory of dead letters: one readable JSON file for each delivery given up, or signed body not understood.

A file holds everything needed to understand it with `cat`, and to send it again even after the journal is gone. Its
name sorts by time and holds nothing that an outsider chose. It holds a patient's data: mode 0600.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from threading import Lock
from typing import Any, Literal, get_args

from glycanbridge.delivery import Clock, Delivery, wall_clock
from glycanbridge.disk import make_folder, sync
from glycanbridge.errors import DeadLetterError

VERSION = 1
Kind = Literal["delivery", "quarantine"]
_ID = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """One dead letter. Times are ISO 8601 in UTC."""

    version: int = VERSION
    id: str
    kind: Kind
    event_id: str | None
    destination: str | None
    plugin: str | None
    reason: str
    died_at: str
    received_at: str
    attempts: int
    body: bytes = field(repr=False)
    """Exactly as it was signed."""


class DeadLetters:
    """Writes, lists and reads the dead letters in one directory, which it makes (mode 0700) when it is needed."""

    def __init__(self, directory: Path, *, clock: Clock = wall_clock) -> None:
        self.directory = directory
        self._clock = clock
        self._writing = Lock()

    def tidy(self) -> None:
        """Remove what a killed process left half written: nothing of it was ever acknowledged."""
        with suppress(OSError):
            for partial in self.directory.glob("*.partial"):
                partial.unlink(missing_ok=True)

    def bury(self, delivery: Delivery, *, plugin: str, reason: str) -> DeadLetter:
        """Write the dead letter of a delivery given up; a second time writes the same file anew.

        Raises `DeadLetterError` if it cannot be written.
        """
        letter = DeadLetter(
            id=letter_of(delivery.id),
            kind="delivery",
            event_id=delivery.event_id,
            destination=delivery.destination,
            plugin=plugin,
            reason=reason,
            died_at=self._now(),
            received_at=_iso(delivery.received_at),
            attempts=delivery.attempt,
            body=delivery.body,
        )
        with self._writing:
            self._write(letter)
        return letter

    def quarantine(self, body: bytes, *, reason: str) -> DeadLetter:
        """Keep a signed body that is not an event we understand; the same bytes again are the same dead letter.

        Raises `DeadLetterError` if it cannot be written.
        """
        identity = _id("quarantine", body)
        with self._writing:  # two retries of one request may come at once
            known = next(self._readable(identity), None)
            if known is not None:
                self._sync()  # whoever wrote it may have been refused just that, or killed before
                return known
            now = self._now()
            letter = DeadLetter(
                id=identity,
                kind="quarantine",
                event_id=None,
                destination=None,
                plugin=None,
                reason=reason,
                died_at=now,
                received_at=now,
                attempts=0,
                body=body,
            )
            self._write(letter)
            return letter

    def remove(self, letter_id: str, *, received_at: str | None = None) -> None:
        """Remove a dead letter: its delivery was made after all, or is not wanted.

        `received_at`, as it stands in the letter, saves looking through the directory; without it, or if the file was
        put back under another name, all are looked at. Raises `DeadLetterError` if one cannot be removed.
        """
        try:
            named = None if received_at is None else self._file(received_at, letter_id)
            if named is not None and named.exists():
                named.unlink(missing_ok=True)
                return
            for file in self._named(letter_id) or self._holding(letter_id):
                file.unlink(missing_ok=True)
        except OSError as error:
            raise DeadLetterError(f"{self.directory}: no dead letter can be removed: {error.strerror}") from error

    def remove_of(self, delivery: Delivery) -> None:
        """Remove the dead letter of a delivery. Raises `DeadLetterError` if it cannot be removed."""
        self.remove(letter_of(delivery.id), received_at=_iso(delivery.received_at))

    def load(self, letter_id: str) -> DeadLetter:
        """The dead letter with this id, or the only one whose id begins with it. Raises `DeadLetterError`."""
        if not letter_id:
            raise DeadLetterError("name a dead letter by its id, or by the beginning of it")
        found = {letter.id: letter for letter in self._readable(letter_id)}
        if not found:
            found = {letter.id: letter for letter in map(_read, self._holding(letter_id))}
        if len(found) != 1:
            raise DeadLetterError(f"{self.directory}: {len(found)} dead letters have an id that begins {letter_id!r}")
        return next(iter(found.values()))

    def letters(self) -> Iterator[DeadLetter | DeadLetterError]:
        """Every dead letter, the oldest first; in the place of a damaged file, the error that says so."""
        for file in self._files():
            try:
                yield _read(file)
            except DeadLetterError as error:
                yield error

    def _readable(self, letter_id: str) -> Iterator[DeadLetter]:
        for file in self._named(letter_id):
            with suppress(DeadLetterError):
                yield _read(file)

    def _named(self, letter_id: str) -> list[Path]:
        """The files whose names say that they hold a letter whose id begins so."""
        return [file for file in self._files() if file.stem.rpartition("-")[2].startswith(letter_id)]

    def _holding(self, letter_id: str) -> list[Path]:
        """The files that do hold one, whatever they are called: each is read."""
        held = []
        for file in self._files():
            with suppress(DeadLetterError):
                held += [file] if _read(file).id.startswith(letter_id) else []
        return held

    def _files(self) -> list[Path]:
        try:
            return sorted(file for file in self.directory.iterdir() if file.suffix == ".json" and _is_plain(file))
        except FileNotFoundError:  # nothing has died yet
            return []
        except OSError as error:
            raise DeadLetterError(f"{self.directory}: cannot be listed: {error.strerror}") from error

    def _now(self) -> str:
        return _iso(datetime.fromtimestamp(self._clock() / 1000, UTC))

    def _file(self, received_at: str, letter_id: str) -> Path:
        moment = "".join(character for character in received_at if character not in "-:.")
        return self.directory / f"{moment}-{letter_id}.json"

    def _write(self, letter: DeadLetter) -> None:
        target = self._file(letter.received_at, letter.id)
        partial = target.with_suffix(f".{token_hex(4)}.partial")
        told = asdict(letter) | _body_as_text(letter.body)
        try:
            make_folder(self.directory)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
            with os.fdopen(os.open(partial, flags, 0o600), "w", encoding="utf-8") as file:
                json.dump(told, file, indent=2)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        except OSError as error:
            with suppress(OSError):
                partial.unlink(missing_ok=True)  # it holds a patient's data, and no command lists it
            raise DeadLetterError(f"{self.directory}: no dead letter can be written: {error.strerror}") from error
        self._sync()

    def _sync(self) -> None:
        """Put the names on the disk: of the files in the directory, and its own."""
        try:
            sync(self.directory)
            sync(self.directory.parent)
        except OSError as error:
            raise DeadLetterError(f"{self.directory}: cannot be synced: {error.strerror}") from error


def _checked(letter: DeadLetter) -> DeadLetter:
    """The letter, if it is one that this program could have written: its id becomes part of a file's name."""
    if not _ID.fullmatch(letter.id) or letter.kind not in get_args(Kind) or letter.version != VERSION:
        raise ValueError("another program's")
    return letter


def _is_plain(file: Path) -> bool:
    """Whether it is a file of its own: opening a pipe would wait for ever, and a link may lead anywhere."""
    try:
        return stat.S_ISREG(file.lstat().st_mode)
    except OSError:
        return False


def letter_of(delivery_id: str) -> str:
    """The id of the dead letter of a delivery, whether there is one or not."""
    return _id("delivery", delivery_id.encode())


def _id(kind: Kind, what: bytes) -> str:
    return hashlib.sha256(f"{kind}:".encode() + what).hexdigest()[:32]


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _body_as_text(body: bytes) -> dict[str, str]:
    try:
        return {"body": body.decode(), "body_encoding": "utf-8"}
    except UnicodeDecodeError:
        return {"body": base64.b64encode(body).decode(), "body_encoding": "base64"}


def _read(file: Path) -> DeadLetter:
    try:
        told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        encoding = told.pop("body_encoding")
        told["body"] = base64.b64decode(told["body"]) if encoding == "base64" else told["body"].encode()
        datetime.fromisoformat(told["received_at"])
        return _checked(DeadLetter(**told))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DeadLetterError(f"{file}: not a dead letter that can be read: {type(error).__name__}") from None
