"""A finished report as an EHR may have it: every value checked, nothing altered.

What is not a plain number of years is never sent, least of all as 0: such a report is a dead letter.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from glycanbridge import Age, PermanentError, ReportReady

OLDEST_YEARS = Decimal(150)
_MOST_DIGITS = 18
"""Of a number in FHIR."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One report, in GlycanAge's words."""

    report_id: str
    test_id: str
    kit_code: str
    patient_id: str
    practice_id: str
    assignment_id: str
    glycan_age: str
    """Years, as the decimal text that GlycanAge wrote: `45.20` stays `45.20`."""
    chronological_age: str
    created_on: datetime
    """UTC, exact to the millisecond."""
    kit_received_at: datetime | None
    """When the kit came to the laboratory, if the bridge was told; UTC."""
    pdf: bytes | None = field(default=None, repr=False)
    """The report file, if it goes along."""
    lacks_pdf: bool = False
    """It was to go along and could not be had, which whoever reads the result is told."""

    @property
    def digest(self) -> str:
        """What makes two tellings of one report the same: all that is told of the result, but not when nor its file."""
        told = [self.test_id, self.kit_code, self.patient_id, self.practice_id, self.assignment_id]
        return _sha256([*told, self.glycan_age, self.chronological_age])

    @property
    def pdf_digest(self) -> str | None:
        """Which file goes along, unreadable."""
        return None if self.pdf is None else hashlib.sha256(self.pdf).hexdigest()

    @property
    def patient_digest(self) -> str:
        """Whose report it is, unreadable."""
        return _sha256([self.report_id, self.patient_id])


def report_of(event: ReportReady, *, kit_received_at: datetime | None) -> Report:
    """The report in an event. Raises `PermanentError` if one of its ages is no plain number of years."""
    data = event.data
    return Report(
        report_id=data.report_id,
        test_id=data.test_id,
        kit_code=data.kit_code,
        patient_id=data.patient_id,
        practice_id=data.practice_id,
        assignment_id=data.assignment_id,
        glycan_age=_years("glycanAge", data.glycan_age),
        chronological_age=_years("chronologicalAge", data.chronological_age),
        created_on=data.created_on,
        kit_received_at=kit_received_at,
    )


def _years(name: str, age: Age) -> str:
    years = age.decimal
    if years is None or not 0 < years < OLDEST_YEARS or len(age) > _MOST_DIGITS:
        raise PermanentError(f"{name} is not a number of years between 0 and {OLDEST_YEARS}; it is not sent")
    return str(age)


def _sha256(told: list[str]) -> str:
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()
