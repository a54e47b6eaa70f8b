"""The ways into an EHR, and what each must do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from glycanbridge import TemporaryError
from glycanbridge_ehr.reports import Report
from glycanbridge_ehr.settings import EhrSettings


class Fault(TemporaryError):
    """The far side breaks over this result. If it always breaks in the same way, time will not mend it."""

    def __init__(self, message: str, *, fingerprint: str, retry_after_s: float | str | None = None) -> None:
        self.fingerprint = fingerprint
        super().__init__(message, retry_after_s=retry_after_s)


class PatientUnknown(Exception):
    """The EHR does not know the patient yet. The text tells how they were looked for, and no value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """Under what keys a report is sent: the same in every attempt."""

    destination: str
    revision: int
    """0 for the first result of a report, 1 for its first correction, ..."""
    amended: bool = False
    """The EHR has these values already; what is new is the report file."""


class Way(Protocol):
    """One way into one EHR. Safe to use from several threads."""

    def send(self, report: Report, sending: Sending) -> str:
        """Send a result; return what the EHR calls it, without a patient's value.

        Raises `PatientUnknown`, or one of the four errors of a plugin.
        """

    def check(self) -> str:
        """Talk to the EHR without sending a result; what was found, in a line."""

    def tells(self) -> str:
        """What leaves and where to, in a line, without talking to anybody."""

    def close(self) -> None:
        """Let go of connections. May be called twice."""


def open_way(settings: EhrSettings) -> Way:
    """The way that the settings name. Nothing is connected yet.

    What a way needs is imported with it alone: a clinic with a folder loads no HTTP client.
    """
    if settings.fhir is not None:
        from glycanbridge_ehr.fhir_way import FhirWay  # noqa: PLC0415

        return FhirWay(settings.fhir, patients=settings.patients, state=settings.state)
    if settings.mllp is not None and settings.patients is not None:
        from glycanbridge_ehr.mllp_way import MllpWay  # noqa: PLC0415

        return MllpWay(settings.mllp, patients=settings.patients, state=settings.state)
    if settings.drop is not None and settings.patients is not None:
        from glycanbridge_ehr.drop import DropWay  # noqa: PLC0415

        return DropWay(settings.drop, patients=settings.patients, state=settings.state)
    raise AssertionError("the settings let exactly one way through, and ask for patients where one needs them")
