"""A new secret in its own file, and the one line in `bridge.yaml` that names it: written in, or taken out, with care.

`bridge.yaml` is a person's file: every byte but that line stays. What would come of a change is read and compared
before the file is replaced; where the list is written in another way than an item a line, nothing is changed.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

from glycanbridge.bridge_yaml import BridgeYaml
from glycanbridge.disk import make_folder, sync
from glycanbridge.errors import GlycanAgeError, SettingsError
from glycanbridge.settings import load

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
LIST = ("receiver", "secrets")
_ITEM = re.compile(r"(?P<dash>[ ]*-[ ]+)(?P<value>\"[^\"\\]*\"|'[^']*'|[^\s\"'#&*!|>\[{%@`][^\s]*)[ \t]*(#.*)?")
"""An item that has its line for itself: a plain scalar of one word, or one in quotes."""
_FILE = re.compile(r"\$\{file:(?P<path>[^}]*?)(:-[^}]*)?\}")
_BY_DEFAULT = "var/webhook-secret"
_HANDED_IN = ("/run/", "/var/run/", "/dev/shm/")  # noqa: S108 (nothing is written there)
"""Folders that are empty after the next start: what stands there was put there from outside."""
_DATED = re.compile(r"-[0-9]{4}-[0-9]{2}-[0-9]{2}(-[0-9]+)?$")


class NotEdited(GlycanAgeError):
    """`bridge.yaml` is as it was, and `why`."""

    def __init__(self, file: Path, why: str) -> None:
        self.why = why
        super().__init__(f"{file} was not changed: {why}")


class SecretList:
    """The list `receiver.secrets` as it is written in `bridge.yaml`."""

    def __init__(self, source: BridgeYaml) -> None:
        self._source = source
        self.file = source.file

    @property
    def count(self) -> int:
        """How many secrets are in it."""
        return len(self._source.data["receiver"]["secrets"])

    def trouble(self) -> str:
        """Why it cannot be edited by a program, in a few words; empty if it can."""
        if self.file.is_symlink():
            return "it is a link: whatever keeps the file it leads to would be passed over"
        lines = self._lines()
        if any(self._item(lines, number) is None for number in range(self.count)):
            return "the list is not written as an item a line"
        return ""

    def path_of(self, number: int) -> str | None:
        """The path in the reference that an item is, `${file:PATH}`; `None` if it is something else."""
        item = self._item(self._lines(), number)
        found = _FILE.fullmatch(item["value"].strip("'\"")) if item is not None else None
        return found["path"] if found else None

    def new_path(self, today: date) -> str:
        """The path, as `bridge.yaml` has it, of a file for a new secret beside the newest one's. There is none yet.

        Never where a container's secrets are handed in: it would be gone with the container, and no bridge start.
        """
        path = self.path_of(self.count - 1) or _BY_DEFAULT
        if path.startswith(_HANDED_IN):
            path = _BY_DEFAULT
        begin = f"{_DATED.sub('', path)}-{today.isoformat()}"
        tries = (begin if number == 1 else f"{begin}-{number}" for number in range(1, 100))
        return next(each for each in tries if not (self._source.folder / each).exists())

    def write_secret(self, path: str) -> Path:
        """Write a new secret into a file that is not there yet. Raises `GlycanAgeError`.

        Its mode is 0600; 0640 where the old one is its group's to read, and nobody else's: the bridge may be in it.
        """
        file, old = self._source.folder / path, self._source.folder / (self.path_of(self.count - 1) or "")
        try:
            make_folder(file.parent)
            like = old if old.is_file() and old.parent == file.parent else file.parent
            mode = old.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH) if like == old else 0
            group = stat.S_IRGRP if mode == stat.S_IRGRP else 0
            _write_new(file, secrets.token_urlsafe(48).encode() + b"\n", like=like, more=group)
            sync(file.parent)
        except OSError as error:
            raise GlycanAgeError(f"{file}: the new secret cannot be written: {error.strerror}") from None
        return file

    def add(self, path: str) -> None:
        """Name a secret's file in the list, as its last item. Raises `NotEdited`; then nothing has changed."""
        lines, number = self._editable(), self.count - 1
        item = self._item(lines, number)
        line = self._line(number)
        if item is None:  # trouble() has said so
            raise NotEdited(self.file, "the list is not written as an item a line")
        end = "\r\n" if lines[line].endswith("\r\n") else "\n"
        if not lines[line].endswith("\n"):
            lines[line] += end
            end = ""
        lines.insert(line + 1, f"{item['dash']}${{file:{path}}}{end}")
        self._replace(lines, expected=[*self._values(), None])

    def remove(self, number: int) -> None:
        """Take an item's line out. Raises `NotEdited`; then nothing has changed."""
        lines = self._editable()
        del lines[self._line(number)]
        self._replace(lines, expected=[each for index, each in enumerate(self._values()) if index != number])

    def _editable(self) -> list[str]:
        trouble = self.trouble()
        if trouble:
            raise NotEdited(self.file, trouble)
        return self._lines()

    def _values(self) -> list[Any]:
        return list(self._source.data["receiver"]["secrets"])

    def _lines(self) -> list[str]:
        """The file's lines with their ends; no other sign than a line feed ends one here."""
        try:
            return re.findall(r"[^\n]*\n|[^\n]+", self.file.read_bytes().decode())
        except (OSError, UnicodeDecodeError):
            raise GlycanAgeError(f"{self.file}: cannot be read any more") from None

    def _line(self, number: int) -> int:
        return self._source.problem((*LIST, number), "").line - 1

    def _item(self, lines: list[str], number: int) -> re.Match[str] | None:
        """An item as it is written, if it has its line for itself."""
        place = self._source.problem((*LIST, number), "")
        if place.line > len(lines):
            return None
        item = _ITEM.fullmatch(lines[place.line - 1].rstrip("\r\n"))
        return item if item is not None and len(item["dash"]) + 1 == place.column else None

    def _replace(self, lines: list[str], *, expected: list[Any]) -> None:
        """Put a new text in the file's place, if it says what was meant and nothing else."""
        text, before = "".join(lines).encode(), self.file.read_bytes()
        new = self.file.with_name(f".{self.file.name}.{os.getpid()}.new")
        try:
            _write_new(new, text, like=self.file)
            self._check(BridgeYaml(new), expected)
            new.chmod(self.file.stat().st_mode & 0o7777)
            if self.file.read_bytes() != before:
                raise NotEdited(self.file, "somebody else is writing it")
            new.replace(self.file)
            with suppress(OSError):  # it is there; what a power cut could bring back is good as well
                sync(self._source.folder)
        except OSError as error:
            raise NotEdited(self.file, error.strerror or "it cannot be written") from None
        finally:
            with suppress(OSError):
                new.unlink(missing_ok=True)
        self._source = BridgeYaml(self.file)

    def _check(self, new: BridgeYaml, expected: list[Any]) -> None:
        """Raises `NotEdited` unless the new text is in order, and the list is all that differs."""
        try:
            load(new)
        except SettingsError as error:
            told = str(error.problems[0].message)
            raise NotEdited(self.file, f"it would be wrong afterwards: {told}") from None
        listed = new.data["receiver"]["secrets"]
        same = len(listed) == len(expected) and all(
            told == meant or meant is None for told, meant in zip(listed, expected, strict=True)
        )
        if not same or _without_list(new.data) != _without_list(self._source.data):
            raise NotEdited(self.file, "more than one line would be different afterwards")


def _without_list(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "receiver": {**data["receiver"], "secrets": None}}


def _write_new(file: Path, text: bytes, *, like: Path, more: int = 0) -> None:
    """Write a file that is not there yet (mode 0600 and `more`, owner of `like`), or leave none. Raises `OSError`."""
    handle = os.open(file, _NEW, 0o600)
    try:
        with os.fdopen(handle, "wb") as opened:
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())
        _give(file, like=like)
        if more:
            file.chmod(0o600 | more)
    except BaseException:
        file.unlink()
        raise


def _give(file: Path, *, like: Path) -> None:
    """Give a file to the owner of another one: an administrator's would be closed to the bridge. Raises `OSError`."""
    if hasattr(os, "chown"):
        was, now = like.stat(), file.stat()
        if (was.st_uid, was.st_gid) != (now.st_uid, now.st_gid):
            os.chown(file, was.st_uid, was.st_gid)
