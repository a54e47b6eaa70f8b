"""The way into an EHR by files: each result in a folder, from where an interface engine takes it.

A file is there whole or not at all. It has the same name in every attempt, and no name holds what an outsider chose.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from glycanbridge import DestinationError, TemporaryError
from glycanbridge_ehr.hl7 import Message, oru_r01
from glycanbridge_ehr.hl7_trail import Trail
from glycanbridge_ehr.patients import Patient, PatientFile
from glycanbridge_ehr.reports import Report
from glycanbridge_ehr.settings_hl7 import DropSettings
from glycanbridge_ehr.ways import PatientUnknown, Sending

_MODES = {"owner": 0o600, "group": 0o640}
_OCCUPIED_S = 60


class DropWay:
    """A folder that an interface engine empties."""

    def __init__(self, settings: DropSettings, *, patients: Path, state: Path) -> None:
        self._settings = settings
        self._patients = PatientFile(patients)
        self._trail = Trail(state)

    def send(self, report: Report, sending: Sending) -> str:
        """Put a result there, a file for each format; their names."""
        patient = self._patients.find(report.patient_id)
        if patient is None:
            raise PatientUnknown("the patients file has no row for this patient")
        message = oru_r01(report, patient, sending, self._settings)
        self._trail.stays_in_its_chart(report, patient, sending)
        at = report.created_on.astimezone(UTC)
        stem = f"{at.year:04}{at:%m%dT%H%M%S}-{message.control_id}"
        pdf = f"{stem}.pdf" if report.pdf is not None else None
        contents = {
            "oru": (f"{stem}.hl7", message.data),
            "json": (f"{stem}.json", json_of(report, patient, sending, message, pdf=pdf)),
        }
        files = {} if pdf is None or report.pdf is None else {pdf: report.pdf}  # first: the others set an engine off
        files |= dict(contents[each] for each in dict.fromkeys(self._settings.formats))
        try:
            self._see_that_it_is_there()
            self._publish(files)
        except OSError as error:
            raise self._unusable(error) from None
        self._trail.keep_chart(report, patient, sending)
        return ", ".join(files)

    def check(self) -> str:
        """Write a hidden file and take it away again; look into the patients file."""
        try:
            self._see_that_it_is_there()
            self._hidden(".glycanbridge-check", b"?").unlink()
        except OSError as error:
            raise self._unusable(error) from None
        return f"{self._settings.directory} can be written to; the patients file has {self._patients.count()} patients"

    def tells(self) -> str:
        """What leaves and where to."""
        formats = " and ".join(dict.fromkeys(self._settings.formats))
        told = f"names, birth dates, sexes, all ids and both ages go into files ({formats})"
        return f"{told} in {self._settings.directory}, readable by their {self._settings.readable_by}"

    def close(self) -> None:
        """Nothing is held between two results."""

    def _see_that_it_is_there(self) -> None:
        directory, marker = self._settings.directory, self._settings.marker
        if not directory.is_dir():
            raise DestinationError(f"{directory} is no directory; make it, or mount the share that it stands for")
        if marker is not None and not (directory / marker).exists():
            raise DestinationError(f"{directory} has no file {marker} (marker); mount the share that has it")

    def _publish(self, files: dict[str, bytes]) -> None:
        """All files become visible once all of them are on the disk; those that are there already are left alone."""
        directory = self._settings.directory
        missing = {name: data for name, data in files.items() if not self._has(directory / name, data)}
        hidden: dict[str, Path] = {}
        try:
            for name, data in missing.items():
                hidden[name] = self._hidden(f".{name}", data)
            for name, temporary in hidden.items():
                temporary.rename(directory / name)
        finally:
            for temporary in hidden.values():
                temporary.unlink(missing_ok=True)
        _sync_directory(directory)

    def _has(self, file: Path, data: bytes) -> bool:
        """Whether the file waits to be taken, from an attempt that was cut off before it was written down."""
        try:
            found = file.read_bytes()
        except FileNotFoundError:
            return False
        if found != data:
            told = f"{file} has another content; it is not overwritten, and this one waits until it has been taken"
            raise TemporaryError(told, retry_after_s=_OCCUPIED_S)
        return True

    def _hidden(self, stem: str, data: bytes) -> Path:
        """A file, on the disk, whose name no pattern of an engine's matches."""
        file = self._settings.directory / f"{stem}.tmp"
        file.unlink(missing_ok=True)  # of an attempt that was cut off: its report is held, so it is nobody's
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        try:
            with os.fdopen(descriptor, "wb") as opened:
                opened.write(data)
                opened.flush()
                if sys.platform != "win32":
                    os.fchmod(descriptor, _MODES[self._settings.readable_by])
                os.fsync(descriptor)
        except BaseException:
            with suppress(OSError):
                file.unlink()
            raise
        return file

    def _unusable(self, error: OSError) -> DestinationError:
        told = error.strerror or type(error).__name__
        return DestinationError(
            f"{self._settings.directory}: {told}; see that it is there, has space, may be written to"
        )


def json_of(report: Report, patient: Patient, sending: Sending, message: Message, *, pdf: str | None = None) -> bytes:
    """The result as a JSON object. README-hl7.md has its fields; later versions may add some.

    `pdf` is the name of the report file beside it.
    """
    values = {name: _json_value(value) for name, value in asdict(report).items() if name not in {"pdf", "lacks_pdf"}}
    told = {
        "version": 1,
        "control_id": message.control_id,
        "status": "amended" if sending.amended else "corrected" if sending.revision else "final",
        "revision": sending.revision,
        "report": values,
        "patient": asdict(patient),
        **({"report_file": pdf} if pdf is not None or report.lacks_pdf else {}),
    }
    return (json.dumps(told, ensure_ascii=False, indent=1) + "\n").encode()


def _json_value(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value


def _sync_directory(directory: Path) -> None:
    """The files' names must outlive a power cut, too."""
    if sys.platform == "win32":  # has no such thing
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:  # some network shares have none either
            raise
    finally:
        os.close(descriptor)
