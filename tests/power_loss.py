"""What a disk holds after a power cut: replays an strace of the server up to any call, and loses what was not synced.

Harsher than a file system has to be. Until a file is synced, each write to it may be missing, whatever came after it.
Until its folder is synced, a new or renamed file may lie under its old name or none. An unlink counts at once.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from kept import damage

CALLS = (
    "openat,?mkdir,mkdirat,write,pwrite64,ftruncate,fsync,fdatasync,"
    "?rename,?renameat,renameat2,?unlink,unlinkat,sendto,sendmsg"
)
TRACE = ("-y", "-xx", "-s", "8388608", "-e", f"trace={CALLS}")
"""What strace must tell, and how; a call with `?` is one that not every processor has."""
MODES = ("dropped", "half", "torn")
"""Of what was not synced: nothing is kept, or each write by the toss of a coin, or each sector of each write."""
SECTOR_BYTES = 512
CUTS = int(os.environ.get("GLYCANBRIDGE_POWER_CUTS", "200"))
"""How many power cuts of each kind a test should make."""

_LINE = re.compile(r"(\d+) +(?:(\w+)\(|<\.\.\. (\w+) resumed>)(.*)")
_ENDED = re.compile(r"(.*)\) += (-?\w+)(.*)")
_HANDLE = re.compile(r"\d+<(.*?)>")
_HTTP = "".join(rf"\x{byte:02x}" for byte in b"HTTP/")
_ANSWER = re.compile(r'"status":"(accepted|duplicate|quarantined)","id":"(\w+)"')


@dataclass
class Call:
    """A system call: its arguments as text, and the trace's lines on which it began and ended."""

    name: str
    arguments: list[str]
    begun: int
    ended: float = float("inf")
    result: str = ""
    path: str = ""
    """The file that it is about; a rename's old name."""

    def bytes_of(self, argument: int) -> bytes:
        """What was written or sent."""
        return _bytes(self.arguments[argument])

    def answers(self) -> list[tuple[str, str]]:
        """Status and id of every 200 that it sends."""
        return _ANSWER.findall(self.bytes_of(1).decode("latin-1")) if self.name == "sendto" else []


def calls(folder: Path, *traces: Path) -> list[Call]:
    """Every call in the traces, one after the other, that is about `folder` or sends an answer."""
    made, open_calls = [], {}
    for number, line in enumerate(line for trace in traces for line in trace.read_text().splitlines()):
        told = _LINE.match(line)
        if told is None:
            continue
        thread, begins, _resumes, rest = told.groups()
        if begins:
            call = open_calls[thread] = Call(begins, rest.removesuffix(" <unfinished ...>").split(", "), number)
            made.append(call)
        ended = _ENDED.match(rest)
        if ended is not None:
            call = open_calls.pop(thread)
            call.ended, call.result = number, ended[2] + ended[3]
            if begins:
                call.arguments = ended[1].split(", ")
    for call in made:
        assert call.name != "sendmsg" or _HTTP not in "".join(call.arguments), "an answer would be overlooked"
        call.path = _path(call)
    return [call for call in made if call.path.startswith(str(folder)) or call.answers()]


class Disk:
    """The files that calls have made under a folder: what programs see of them, and what is safe."""

    def __init__(self, before: dict[str, bytes]) -> None:
        """`before`: the files that were safe before the first call."""
        self.promised: dict[str, str] = {}
        """Id and status of whatever was answered 200 so far."""
        self._seen = {path: _File(size=len(content), _safe=content) for path, content in before.items()}
        self._safe = dict(self._seen)

    def replay(self, made: list[Call]) -> Iterator[int]:
        """Take in the calls one moment after the other; yields after each, with how many there were."""
        moments = [(call.begun, 0, call) for call in made] + [(call.ended, 1, call) for call in made]
        for number, (_line, end, call) in enumerate(sorted(moments, key=lambda each: each[:2])):
            (self._end if end else self._begin)(call)
            yield number

    def left(self, mode: str, chance: Random) -> dict[str, bytes]:
        """The files after a power cut just now, by their paths."""
        names = {"dropped": self._safe, "torn": self._seen, "half": chance.choice((self._safe, self._seen))}[mode]
        return {
            path: file.left(mode, chance)
            for path, file in names.items()
            if not file.is_folder and all(str(each) in names for each in Path(path).parents if str(each) in self._seen)
        }

    def _begin(self, call: Call) -> None:
        self.promised |= {letter: status for status, letter in call.answers()}
        file = self._seen.get(call.path)
        if file is None:
            return
        if call.name in ("write", "pwrite64"):  # from now on, any part of it may be on the disk
            file.write(call, int(call.arguments[3]) if call.name == "pwrite64" else file.position)
        elif call.name == "ftruncate":
            file.truncate(call, int(call.arguments[1]))

    def _end(self, call: Call) -> None:
        if not call.result:  # the process was killed in it
            return
        if call.name in ("fsync", "fdatasync"):
            self._sync(call)
        if call.result.startswith("-"):
            return
        if call.name.startswith("mkdir"):
            self._seen[call.path] = _File(is_folder=True)
        elif call.name == "openat" and not call.path.endswith("-shm"):
            if "O_CREAT" in call.arguments[2]:
                self._seen.setdefault(call.path, _File())
            if call.path in self._seen:
                self._seen[call.path].open(append="O_APPEND" in call.arguments[2])
        elif call.name.startswith("rename"):
            new_name = call.arguments[1 if call.name == "rename" else 3]
            self._seen[_bytes(new_name).decode()] = self._seen.pop(call.path)
        elif call.name.startswith("unlink"):
            self._seen.pop(call.path, None)
            self._safe.pop(call.path, None)

    def _sync(self, call: Call) -> None:
        file = self._seen.get(call.path)
        if file is not None and not file.is_folder:
            file.sync(call)
        elif call.result == "0":
            elsewhere = {path: file for path, file in self._safe.items() if str(Path(path).parent) != call.path}
            here = {path: file for path, file in self._seen.items() if str(Path(path).parent) == call.path}
            self._safe = elsewhere | here


@dataclass(frozen=True, kw_only=True)
class Traced:
    """What a server did to the files in its folder, and what it was sent, by the ids that it answered with."""

    folder: Path
    calls: list[Call]
    bodies: dict[str, bytes]
    before: dict[str, bytes] = field(default_factory=dict)


def losses(server: Traced, mode: str, cuts: int, into: Path) -> list[str]:
    """What is missing or broken after so many power cuts, each after another call; the same ones each time."""
    chance, disk, told = Random(mode), Disk(server.before), []
    moments = set(chance.sample(range(2 * len(server.calls)), min(cuts, 2 * len(server.calls))))
    for moment in disk.replay(server.calls):
        if moment in moments:
            for path, content in disk.left(mode, chance).items():
                file = into / Path(path).relative_to(server.folder)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
            told += [f"{mode} after {moment}: {each}" for each in damage(into / "var", disk.promised, server.bodies)]
            shutil.rmtree(into, ignore_errors=True)
    return told


@dataclass
class _File:
    is_folder: bool = False
    size: int = 0
    position: int = 0
    """Where `write` goes on: nobody has such a file open twice, or seeks in it."""
    _safe: bytes = b""
    _unsafe: list[tuple[int, int, bytes | None]] = field(default_factory=list)
    """Line, offset and data of every write that was not synced; no data: cut off at the offset."""

    def open(self, *, append: bool) -> None:
        self.position = self.size if append else 0

    def write(self, call: Call, offset: int) -> None:
        data = call.bytes_of(1)
        self._unsafe.append((call.begun, offset, data))
        self.position = offset + len(data)
        self.size = max(self.size, self.position)

    def truncate(self, call: Call, size: int) -> None:
        self._unsafe.append((call.begun, size, None))
        self.size = size

    def sync(self, call: Call) -> None:
        """Make safe what was written before the sync began, or forget it if the sync failed.

        For so does Linux: the next sync, of whatever process, says that all is well.
        """
        done = [each for each in self._unsafe if each[0] < call.begun]
        self._unsafe = self._unsafe[len(done) :]
        if call.result == "0":
            self._safe = _applied(self._safe, done)

    def left(self, mode: str, chance: Random) -> bytes:
        if mode == "dropped":
            return self._safe
        parts = self._unsafe
        if mode == "torn":
            parts = [part for each in parts for part in _sectors(*each)]
        return _applied(self._safe, [part for part in parts if chance.random() < 0.5])


def _sectors(line: int, offset: int, data: bytes | None) -> Iterator[tuple[int, int, bytes | None]]:
    if data is None:
        yield line, offset, None
        return
    edges = [offset, *range(offset - offset % SECTOR_BYTES + SECTOR_BYTES, offset + len(data), SECTOR_BYTES)]
    for start, end in zip(edges, [*edges[1:], offset + len(data)], strict=True):
        yield line, start, data[start - offset : end - offset]


def _applied(content: bytes, writes: list[tuple[int, int, bytes | None]]) -> bytes:
    now = bytearray(content)
    for _line, offset, data in writes:
        if len(now) < offset:
            now.extend(bytes(offset - len(now)))
        if data is None:
            del now[offset:]
        else:
            now[offset : offset + len(data)] = data
    return bytes(now)


def _path(call: Call) -> str:
    if call.name in ("mkdir", "rename", "unlink"):
        return _bytes(call.arguments[0]).decode()
    if call.name in ("mkdirat", "renameat", "renameat2", "unlinkat"):
        return _bytes(call.arguments[1]).decode()
    handle = _HANDLE.match(call.result if call.name == "openat" else call.arguments[0])
    return _unhex(handle[1]).decode() if handle else ""


def _bytes(argument: str) -> bytes:
    assert argument.endswith('"'), "strace must tell everything: -s is too small"
    return _unhex(argument.strip('"'))


def _unhex(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))
