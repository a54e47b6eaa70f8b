"""Whose result it is in the EHR: a file that says which of GlycanAge's patients is which of the clinic's.

Never by name, and nobody is ever made: a patient who is not in the file yet waits.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from glycanbridge import DestinationError, PermanentError


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


class PatientFile:
    """A CSV file with the columns `patient_id` and `ehr_id`, and maybe the others of `Patient`. Read anew when it changes."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def find(self, patient_id: str) -> Patient | None:
        """The patient, or `None` if the file has none of this id. Raises `PermanentError` if it has several different ones,
        `DestinationError` if it cannot be read.
        """
        raise NotImplementedError
