"""Adds a row to a CSV file for every event it is given: one file for each event type and month.

A row is on the disk before the bridge gets its receipt, and is there once however often a delivery is repeated.
Several lanes and processes may write to one directory. README.md lists columns and failures.
"""

from __future__ import annotations

import csv
import errno
import io
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from filelock import FileLock, Timeout
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from glycanbridge import (
    AssignmentStatusChanged,
    Delivery,
    Event,
    KitReceived,
    LocalPath,
    OrderStatusChanged,
    PermanentError,
    ReportReady,
    TemporaryError,
    hookimpl,
)

_SHARED = "delivery_id event_id event_type timestamp local_time received_at"
_OWN = {
    "order-status-changed": "order_id order_type previous_status current_status practice_id number_of_kits amount"
    " currency",
    "assignment-status-changed": "assignment_id previous_status current_status practice_id payment_type amount currency"
    " set_number sets patient_id kit_code product",
    "kit-received": "kit_code test_id patient_id practice_id assignment_id kit_received_at kit_received_at_local"
    " status",
    "report-ready": "report_id test_id kit_code patient_id practice_id assignment_id glycan_age chronological_age"
    " report_url created_on created_on_local",
}
COLUMNS = {event_type: f"{_SHARED} {own} local_date".split() for event_type, own in _OWN.items()}
"""The header of each event type's files. `local_date` is the last in each: see `_Table.is_whole`."""
LONGEST_VALUE = 32_766
"""Characters of a value; with an apostrophe before it, it just fits into a cell of Excel's."""
_BOM = b"\xef\xbb\xbf"


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; no name at all; a part of names, such as "Europe"
        raise ValueError("expected an IANA time zone, such as Europe/Zagreb or UTC") from None
    return name


class CsvSettings(BaseModel):
    """The settings of one CSV destination in `bridge.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)

    directory: LocalPath
    """Where the files go; made (0700) if it is missing. Relative paths are taken from the folder of `bridge.yaml`."""
    time_zone: Annotated[str, AfterValidator(_time_zone)] = "UTC"
    """An IANA name, such as `Europe/Zagreb`: decides the month of an event, and the local times in its row."""
    bom: bool = False
    """Begin a new file with a UTF-8 byte order mark: without one, Excel takes UTF-8 for another encoding."""
    delimiter: Literal[",", ";"] = ","
    """What stands between cells; `;` where the decimal sign is a comma, as Excel expects it there."""
    lock_timeout_s: float = Field(5, ge=0, le=600, allow_inf_nan=False)
    """How long to wait (seconds) while another process writes to the same file."""


@dataclass(frozen=True, slots=True)
class _Table:
    """How the files of one event type are written and read."""

    columns: list[str]
    delimiter: str

    def line(self, cells: Iterable[str]) -> bytes:
        text = io.StringIO(newline="")
        csv.writer(text, delimiter=self.delimiter, lineterminator="\r\n").writerow(cells)
        return text.getvalue().encode()

    def cells(self, line: bytes, *, strict: bool = False) -> list[str]:
        """The cells of one line of a file; none if it is not CSV: somebody edited it."""
        try:
            return next(csv.reader([line.decode("utf-8-sig", "replace")], delimiter=self.delimiter, strict=strict), [])
        except csv.Error:
            return []

    def key(self, cells: list[str]) -> tuple[str, ...]:
        """What tells a row from every other: its delivery and, in an assignment, its set."""
        place = self.columns.index("set_number") if "set_number" in self.columns else len(cells)
        return (*cells[:1], *cells[place : place + 1])

    def is_whole(self, line: bytes) -> bool:
        """Whether only the line end is missing: then the last cell, a date of fixed length, is there to the end."""
        cells = self.cells(line, strict=True)
        return len(cells) == len(self.columns) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", cells[-1]) is not None


@dataclass(slots=True)
class _Known:
    """What this process knows of a file up to `end`, so as to read only what others have added since."""

    end: int = 0
    tail: bytes = b""  # the last bytes before `end`: if others stand there, somebody has edited or replaced the file
    lead: bytes = b""  # what has to be written before the next row: a header, or the end of the last line
    keys: set[tuple[str, ...]] = field(default_factory=set)

    def advance(self, data: bytes) -> None:
        self.end += len(data)
        self.tail = (self.tail + data)[-1024:]


class Csv:
    """The plugin: an instance for each lane of a destination. It holds no file open between deliveries."""

    Settings = CsvSettings

    def __init__(self, settings: CsvSettings) -> None:
        self._settings = settings
        self._zone = ZoneInfo(settings.time_zone)
        self._known: dict[Path, _Known] = {}  # of a file: only touched by whoever holds its lock

    @hookimpl
    def on_order_status_changed(self, event: OrderStatusChanged, delivery: Delivery) -> str:
        """One row. Returns the file's name."""
        return self._add(event, delivery, [_fields(event.data)])

    @hookimpl
    def on_assignment_status_changed(self, event: AssignmentStatusChanged, delivery: Delivery) -> str:
        """A row for each set, and one for an assignment without any. Returns the file's name."""
        shared = {**_fields(event.data), "sets": len(event.data.sets)}
        rows = [{**shared, **_fields(each), "set_number": number} for number, each in enumerate(event.data.sets, 1)]
        return self._add(event, delivery, rows or [shared])

    @hookimpl
    def on_kit_received(self, event: KitReceived, delivery: Delivery) -> str:
        """One row; the kit's `received_at` is `kit_received_at` there. Returns the file's name."""
        at = event.data.received_at
        local = {"kit_received_at": at, "kit_received_at_local": _iso(self._local(at))}
        return self._add(event, delivery, [_fields(event.data) | local])

    @hookimpl
    def on_report_ready(self, event: ReportReady, delivery: Delivery) -> str:
        """One row. Returns the file's name."""
        local = {"created_on_local": _iso(self._local(event.data.created_on))}
        return self._add(event, delivery, [_fields(event.data) | local])

    @hookimpl
    def check(self) -> str:
        """Write into the directory without leaving anything. Raises `TemporaryError` if that cannot be done."""
        directory = self._settings.directory
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
                file.write(b"?")
        except OSError as error:
            raise _temporary(directory, error) from error
        return f"{directory} can be written to"

    @hookimpl
    def close(self) -> None:
        """Forget what was read of the files."""
        self._known.clear()

    def _local(self, moment: datetime) -> datetime:
        try:
            return moment.astimezone(self._zone)
        except OverflowError:  # the first or the last day that there is
            return moment

    def _add(self, event: Event, delivery: Delivery, rows: list[dict[str, Any]]) -> str:
        local = self._local(event.timestamp)
        shared: dict[str, Any] = {"delivery_id": delivery.id, "event_id": delivery.event_id, "event_type": event.type}
        shared |= {"timestamp": event.timestamp, "local_time": _iso(local), "local_date": local.date()}
        shared["received_at"] = delivery.received_at
        table = _Table(COLUMNS[event.type], self._settings.delimiter)
        cells = [[_cell(name, {**row, **shared}.get(name)) for name in table.columns] for row in rows]
        lines = {table.key(each): table.line(each) for each in cells}
        path = self._settings.directory / f"{event.type}-{local.year:04}-{local.month:02}.csv"
        wait_s = self._settings.lock_timeout_s
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = FileLock(path.with_name(f".{path.name}.lock"), mode=0o600)
            with lock.acquire(timeout=wait_s, poll_interval=0.01):
                return self._write(path, table, lines)
        except Timeout:
            told = f"{path} was locked by another process for {wait_s:g} s; end it if it hangs, or raise lock_timeout_s"
            raise TemporaryError(told) from None
        except OSError as error:
            raise _temporary(path, error) from error

    def _write(self, path: Path, table: _Table, lines: Mapping[tuple[str, ...], bytes], number: int = 1) -> str:
        """Write those of `lines` that are not there, into the first of the month's files that has our header."""
        target = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
        before = self._known.pop(target, None)  # put back once all has gone well
        with open(target, "a+b", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            known = _read(file, table, before, _BOM if self._settings.bom else b"")
            if known is not None:
                added = {key: line for key, line in lines.items() if key not in known.keys}
                data = known.lead + b"".join(added.values())
                _append(file, known.end, data)
        if known is None:
            return self._write(path, table, lines, number + 1)
        if known is not before:
            _sync_directory(target.parent)  # the file's name, too, must outlive a power cut
        known.advance(data)
        known.lead = b""
        known.keys.update(added)
        self._known[target] = known
        return target.name


def _read(file: io.BufferedRandom, table: _Table, known: _Known | None, bom: bytes) -> _Known | None:
    """What is in the file, reading no more than others added since `known`; `None` if its header is not ours.

    Every row of ours is one line, for cells hold no line ends. So a crash can only leave whole rows and then a part of
    a line at the very end, and an edit by hand, such as a stray quote, can never make more than that look unfinished.
    A part of a row is cut off by `_append(known.end)`; its delivery had no receipt, and comes again. Whole rows stay:
    of a delivery with several sets, the next attempt adds those that are missing.
    """
    file.seek(0)
    first, header = file.readline(), table.line(table.columns)
    if not first.endswith(b"\n") and ((_BOM + header).startswith(first) or header.startswith(first)):
        return _Known(lead=bom + header)  # a new file, or one whose maker died over its header
    if not first.endswith(b"\n") or table.cells(first) != table.columns:
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
        known.keys.add(table.key(table.cells(line)))
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


def _fields(data: BaseModel) -> dict[str, Any]:
    """The declared fields alone: what GlycanAge may add some day must not fill a column of another meaning."""
    return {name: getattr(data, name) for name in type(data).model_fields}


_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_FORMULA = re.compile(r"[\t\r\n\0]|[\s\0-\x1f\x7f\u200b-\u200f\u2060\ufeff\"'`´‘’“”]*[=+\-@＝＋－＠]")  # noqa: RUF001
_TO_SPACES = str.maketrans("\r\n\0", "   ")


def _cell(name: str, value: object) -> str:
    """A value as text that no spreadsheet takes for a formula (OWASP "CSV Injection", ASVS 5.0 1.2.10)."""
    text = "" if value is None else _iso(value.astimezone(UTC)) if isinstance(value, datetime) else str(value)
    if len(text) > LONGEST_VALUE:
        raise PermanentError(f"{name} has more than {LONGEST_VALUE:,} characters, too many for a cell")
    harmful = _FORMULA.match(text) and not _NUMBER.fullmatch(text)
    return ("'" if harmful else "") + text.translate(_TO_SPACES)


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z" if moment.tzinfo is UTC else "+00:00")


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


def _temporary(path: Path, error: OSError) -> TemporaryError:
    advice = "see that it is there, has space, may be written to, and is open in no other program"
    return TemporaryError(f"{path}: {error.strerror or type(error).__name__}; {advice}")
