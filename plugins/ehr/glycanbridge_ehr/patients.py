"""Whose result it is in the EHR: a file that says which of GlycanAge's patients is which of the clinic's.

Never by name, and nobody is ever made: a patient who is not in the file yet waits.
"""

from __future__ import annotations

import csv
import io
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

from glycanbridge import DestinationError, PermanentError

_DELIMITERS = ",;\t"
_KEY = "patient_id"
_SAVING_S = 10
"""A file that has just changed and ends within a line may be half of one: `47` of `4711` would be another's chart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """A patient as the EHR knows them; what only HL7 v2 asks for is empty where the file has no such column."""

    ehr_id: str
    family: str = ""
    given: str = ""
    birth_date: str = ""
    """`1981-04-12`."""
    sex: str = ""
    """HL7's table 0001: `F`, `M`, `O`, `U`, ..."""


_COLUMNS = tuple(each.name for each in fields(Patient))


class PatientFile:
    """A CSV file with the columns `patient_id` and `ehr_id`, and maybe the others of `Patient`.

    It is read anew when it changes. It is what a spreadsheet saves: UTF-8 with or without a byte order mark, split at
    `,`, `;` or tabs.
    """

    def __init__(self, file: Path, *, now_s: Callable[[], float] = time.time) -> None:
        self._file = file
        self._now_s = now_s
        self._one_reader = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._patients: dict[str, frozenset[Patient]] = {}

    def find(self, patient_id: str) -> Patient | None:
        """The patient, or `None` if the file has none of this id.

        Raises `PermanentError` if it has several different ones, `DestinationError` if it cannot be read.
        """
        found = self._read().get(patient_id, frozenset())
        if len(found) > 1:
            raise PermanentError(f"{self._file}: the patient has {len(found)} different rows; leave one and replay")
        return next(iter(found), None)

    def count(self) -> int:
        """How many patients the file has. Raises `DestinationError` if it cannot be read."""
        return len(self._read())

    def _read(self) -> dict[str, frozenset[Patient]]:
        with self._one_reader:
            try:
                status = self._file.stat()
                seen = (status.st_mtime_ns, status.st_size, status.st_ino)
                if seen != self._seen:
                    text = self._file.read_text(encoding="utf-8-sig")
                    if text and not text.endswith(("\n", "\r")) and self._now_s() - status.st_mtime < _SAVING_S:
                        told = "is being saved, or its last line has no end; it is read again in a moment"
                        raise DestinationError(f"{self._file} {told}", retry_after_s=_SAVING_S)
                    self._patients = _patients_in(text, str(self._file))
                    self._seen = seen
            except OSError as error:
                raise DestinationError(f"{self._file}: {error.strerror}; see that the bridge can read it") from None
            except UnicodeDecodeError:
                raise DestinationError(f"{self._file}: it is not UTF-8; save it as 'CSV UTF-8'") from None
            return self._patients


def _patients_in(text: str, name: str) -> dict[str, frozenset[Patient]]:
    """The patients of a file by GlycanAge's id: several where its rows differ."""
    header = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=header.count)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise DestinationError(f"{name}: it is no CSV file ({error}); save it again") from None
    columns = [each.strip().lower() for each in rows[0]] if rows else []
    missing = [each for each in (_KEY, "ehr_id") if columns.count(each) != 1]
    if missing:
        raise DestinationError(f"{name}:1: expected one column {' and one '.join(missing)}")
    patients: dict[str, frozenset[Patient]] = {}
    for number, row in enumerate(rows[1:], start=2):
        if not any(map(str.strip, row)):
            continue
        if len(row) != len(columns):
            raise DestinationError(
                f"{name}: row {number} has {len(row)} cells, the header {len(columns)}; save it again"
            )
        told = {column: cell.strip() for column, cell in zip(columns, row, strict=True)}
        if not told[_KEY] or not told["ehr_id"]:
            continue  # not matched yet
        patient = Patient(**{each: told[each] for each in _COLUMNS if each in told})
        patients[told[_KEY]] = patients.get(told[_KEY], frozenset()) | {patient}
    return patients
