"""Adds lines to files: one writer at a time, each line once, whole, and on the disk before anybody is told."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock

from glycanbridge_csv.table import Key, Table

_BOM = b"\xef\xbb\xbf"
REMEMBERED = 256
"""Of how many files a process knows what is in them: those of a year, day by day, need not all stay in memory."""


@dataclass(slots=True)
class _Known:
    """What this process knows of a file up to `end`, so as to read only what others have added since."""

    end: int = 0
    tail: bytes = b""  # the last bytes before `end`: if others stand there, somebody has edited or replaced the file
    lead: bytes = b""  # what has to be written before the next row: a header, or the end of the last line
    keys: set[Key] = field(default_factory=set)

    def advance(self, data: bytes) -> None:
        self.end += len(data)
        self.tail = (self.tail + data)[-1024:]


class Files:
    """Files to add to, as far as this process knows them. None of them is held open between two calls."""

    def __init__(self, *, bom: bool, lock_timeout_s: float) -> None:
        self._bom = _BOM if bom else b""
        self._lock_timeout_s = lock_timeout_s
        self._known: dict[Path, _Known] = {}  # of a file: only touched by whoever holds its lock

    def add(self, path: Path, table: Table, lines: Mapping[Key, bytes]) -> Path:
        """Add those of `lines` that are not there; the file that they are in, `path` or, if that one's header is not
        ours, the first one that has ours among `path-2`, `path-3` and so on.

        Raises `OSError`, and `filelock.Timeout` if another process or thread writes for longer than was set.
        """
        make_directory(path.parent)
        lock = FileLock(path.with_name(f".{path.name}.lock"), mode=0o600)
        with lock.acquire(timeout=self._lock_timeout_s, poll_interval=0.01):
            return self._add(path, table, lines)

    def forget(self) -> None:
        """Know nothing of any file any more."""
        self._known.clear()

    def _add(self, path: Path, table: Table, lines: Mapping[Key, bytes], number: int = 1) -> Path:
        target = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
        before = self._known.pop(target, None)  # put back once all has gone well
        with open(target, "a+b", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            known = _read(file, table, before, self._bom)
            if known is not None:
                added = {key: line for key, line in lines.items() if key not in known.keys}
                data = known.lead + b"".join(added.values())
                _append(file, known.end, data)
        if known is None:
            return self._add(path, table, lines, number + 1)
        if known is not before:
            _sync_directory(target.parent)  # the file's name, too, must outlive a power cut
        known.advance(data)
        known.lead = b""
        known.keys.update(added)
        self._known[target] = known
        for longest_unused in list(self._known)[:-REMEMBERED]:
            self._known.pop(longest_unused, None)
        return target


def make_directory(directory: Path) -> None:
    """Make it, for its owner alone, and those above it that are missing; their names, too, are on the disk."""
    if directory.is_dir():
        return
    missing = [each for each in (directory, *directory.parents) if not each.exists()]
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for each in missing:
        _sync_directory(each.parent)


def _read(file: io.BufferedRandom, table: Table, known: _Known | None, bom: bytes) -> _Known | None:
    """What is in the file, reading no more than others added since `known`; `None` if its header is not ours.

    Every row of ours is one line, for cells hold no line ends. So a crash can only leave whole rows and then a part of
    a line at the very end, and an edit by hand, such as a stray quote, can never make more than that look unfinished.
    A part of a row is cut off by `_append(known.end)`; its delivery had no receipt, and comes again. Whole rows stay:
    of a delivery with several sets, the next attempt adds those that are missing.
    """
    file.seek(0)
    first = file.readline()
    if not first.endswith(b"\n") and ((_BOM + table.header).startswith(first) or table.header.startswith(first)):
        return _Known(lead=bom + table.header)  # a new file, or one whose maker died over its header
    if not table.is_header(first):
        return None
    known = known or _Known(end=len(first), tail=first)
    file.seek(known.end - len(known.tail))
    if file.read(len(known.tail)) != known.tail:
        return _read(file, table, None, bom)
    for line in file:
        if not line.endswith(b"\n"):
            if not table.is_whole(line):
                break
            known.lead = b"\n" if line.endswith(b"\r") else b"\r\n"
        known.advance(line)
        known.keys.add(table.key(line))
    return known


def _append(file: io.BufferedRandom, end: int, data: bytes) -> None:
    """Put `data` on the disk as the file's end, or leave the file to end at `end`."""
    try:
        if os.fstat(file.fileno()).st_size > end:
            file.truncate(end)
        rest = memoryview(data)
        while rest:  # one write, unless the system takes only a part
            rest = rest[file.raw.write(rest) :]
        os.fsync(file.fileno())  # also when nothing is new: whoever wrote it may have died before this line
    except BaseException:
        with suppress(OSError):  # if not even this can be done, the next one to come does it
            file.truncate(end)
        raise


def _sync_directory(directory: Path) -> None:
    if sys.platform == "win32":  # has no such thing
        return
    try:
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in {errno.EACCES, errno.EINVAL, errno.ENOTSUP}:  # some network shares have none either
            raise
