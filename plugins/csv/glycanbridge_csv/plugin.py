"""The plugin: its hooks, and whose trouble it is when a row cannot be written."""

from __future__ import annotations

import tempfile
from pathlib import Path
from zoneinfo import ZoneInfo

from filelock import Timeout as LockTimeout

from glycanbridge import (
    EVENT_TYPES,
    AssignmentStatusChanged,
    Delivery,
    DestinationError,
    Event,
    KitReceived,
    OrderStatusChanged,
    Personal,
    ReportReady,
    TemporaryError,
    hookimpl,
)
from glycanbridge_csv.cells import Form
from glycanbridge_csv.columns import layout
from glycanbridge_csv.files import Files, make_directory
from glycanbridge_csv.paths import file_name, folder_of
from glycanbridge_csv.rows import rows_of
from glycanbridge_csv.settings import CsvSettings
from glycanbridge_csv.table import Table

AWAY_S = 60.0
"""After so long a directory that could not be written to is tried again: nobody waits long for a share to be back."""
LOCKED_S = 1.0
"""After so long a file that was locked may be tried again: not in the same attempt, which has waited enough."""
_ROOM_BYTES = 65_536
"""What a directory that can be written to has room for."""
_LEAVES = {
    Personal.NONE: "no id of a patient's, no age, kit codes masked",
    Personal.IDS: "patients' ids and kit codes, no ages",
    Personal.FULL: "patients' ids, kit codes and ages",
}


class Csv:
    """Adds rows for events. It holds no file open between deliveries, and threads may share it."""

    Settings = CsvSettings
    contract = ">=1.0,<2"

    def __init__(self, settings: CsvSettings) -> None:
        self._settings = settings
        self._form = Form(
            zone=ZoneInfo(settings.time_zone),
            date_format=settings.date_format,
            decimal=settings.decimal,
            masked=settings.personal is Personal.NONE,
        )
        self._tables = {event_type: self._table(event_type) for event_type in EVENT_TYPES}
        self._files = Files(bom=settings.bom, lock_timeout_s=settings.lock_timeout_s)

    @hookimpl
    def on_order_status_changed(self, event: OrderStatusChanged, delivery: Delivery) -> str:
        """One row. Returns the file's name."""
        return self._add(event, delivery)

    @hookimpl
    def on_assignment_status_changed(self, event: AssignmentStatusChanged, delivery: Delivery) -> str:
        """A row for each set, and one for an assignment without any. Returns the file's name."""
        return self._add(event, delivery)

    @hookimpl
    def on_kit_received(self, event: KitReceived, delivery: Delivery) -> str:
        """One row; the kit's `received_at` is `kit_received_at` there. Returns the file's name."""
        return self._add(event, delivery)

    @hookimpl
    def on_report_ready(self, event: ReportReady, delivery: Delivery) -> str:
        """One row. Returns the file's name."""
        return self._add(event, delivery)

    @hookimpl
    def tells(self) -> str:
        """What leaves, and where to."""
        practice = ", in a folder for each practice" if self._settings.folder_per_practice else ""
        return f"{_LEAVES[self._settings.personal]} go into CSV files in {self._settings.directory}{practice}"

    @hookimpl
    def check(self) -> str:
        """Write into the directory without leaving anything. Raises `DestinationError` if that cannot be done."""
        try:
            self._try_out()
        except OSError as error:
            raise DestinationError(_told(self._settings.directory, error), retry_after_s=AWAY_S) from error
        return f"{self._settings.directory} can be written to"

    @hookimpl
    def close(self) -> None:
        """Forget what was read of the files."""
        self._files.forget()

    def _table(self, event_type: str) -> Table:
        columns = layout(event_type, self._settings.columns.of(event_type), self._settings.personal)
        return Table(columns, self._form, self._settings.delimiter)

    def _path(self, event: Event) -> Path:
        name = file_name(event.type, self._form.local(event.timestamp), self._settings.rotate)
        folder = folder_of(event.practice_id) if self._settings.folder_per_practice else ""
        return self._settings.directory / folder / name

    def _add(self, event: Event, delivery: Delivery) -> str:
        table, path = self._tables[event.type], self._path(event)
        lines = table.lines(rows_of(event, delivery, self._settings.personal))
        try:
            self._see_marker()
            file = self._files.add(path, table, lines)
            self._see_marker()  # a share that went away meanwhile has left the rows in its empty mount point
        except LockTimeout:
            wait_s = self._settings.lock_timeout_s
            told = f"{path} was locked by another process for {wait_s:g} s; end it if it hangs, or raise lock_timeout_s"
            raise TemporaryError(told, retry_after_s=LOCKED_S) from None
        except OSError as error:
            raise self._trouble(path, error) from error
        return file.relative_to(self._settings.directory).as_posix()

    def _see_marker(self) -> None:
        """Raises `DestinationError` if the marker is not there."""
        if self._settings.marker is None:
            return
        marker = self._settings.directory / self._settings.marker
        if not marker.is_file():
            told = f"{marker} is not there, so nothing is written; see that the share is mounted, or make that file"
            raise DestinationError(told, retry_after_s=AWAY_S)

    def _try_out(self) -> None:
        """Write into the directory. Raises `OSError`, or `DestinationError` if the marker is not there."""
        directory = self._settings.directory
        self._see_marker()
        make_directory(directory)
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(bytes(_ROOM_BYTES))

    def _trouble(self, path: Path, error: OSError) -> TemporaryError | DestinationError:
        """Of one file, unless nothing can be written into the directory at all: then of the whole destination."""
        try:
            self._try_out()
        except DestinationError as no_marker:
            return no_marker
        except OSError:
            return DestinationError(_told(path, error), retry_after_s=AWAY_S)
        return TemporaryError(_told(path, error))


def _told(path: Path, error: OSError) -> str:
    advice = "see that it is there, has space, may be written to, and is open in no other program"
    return f"{path}: {error.strerror or type(error).__name__}; {advice}"
