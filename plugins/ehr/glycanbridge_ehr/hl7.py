"""A report as an HL7 v2 message, ORU^R01: pure, and the same bytes for the same report. README-hl7.md maps it."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime

from glycanbridge import PermanentError
from glycanbridge_ehr.hl7_segments import Components, Field, Segment, Writer
from glycanbridge_ehr.patients import Patient
from glycanbridge_ehr.reports import Report
from glycanbridge_ehr.settings_hl7 import AGE_IN_YEARS, CodeName, Hl7Settings
from glycanbridge_ehr.ways import PatientUnknown, Sending

LONGEST_CONTROL_ID = 20
"""Characters of MSH-10 in HL7 v2.5.1."""
SEXES = frozenset({"", "F", "M", "O", "U", "A", "N"})
"""HL7's table 0001."""

_LOCAL = "99GLY"
_YEARS = ("a", "year", "UCUM")
_OUR_CODES: dict[CodeName, Components] = {
    "glycanage-report": ("glycanage-report", "GlycanAge report", _LOCAL),
    "glycan-age": ("glycan-age", "GlycanAge biological age", _LOCAL),
    "chronological-age": (AGE_IN_YEARS, "Age", "LN", "chronological-age", "Chronological age", _LOCAL),
    "kit-code": ("kit-code", "Kit code", _LOCAL),
    "report-file": ("PDF", "GlycanAge report PDF", _LOCAL),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message as it goes over the wire, and the id that its acknowledgement must name."""

    control_id: str
    data: bytes


def control_id(report: Report, patient: Patient, sending: Sending) -> str:
    """MSH-10: the same in every attempt, on every machine, and another for another destination, patient or result.

    It is also another with another file, with none, and with none that was asked for.
    """
    file = ["without its file"] if report.lacks_pdf else []
    file += [report.pdf_digest] if report.pdf_digest else []
    return short_name(sending.destination, report.report_id, report.digest, patient.ehr_id, sending.revision, *file)


def short_name(*told: str | int) -> str:
    """A name of 20 characters for whatever is told, another for anything else: `G` and 95 bits of a SHA-256."""
    digest = hashlib.sha256(json.dumps(told).encode()).digest()
    return ("G" + base64.b32encode(digest[:15]).decode())[:LONGEST_CONTROL_ID]


def oru_r01(
    report: Report, patient: Patient, sending: Sending, settings: Hl7Settings, *, ask_commit: bool = False
) -> Message:
    """The report as ORU^R01. `ask_commit`: ask for a commit acknowledgement (enhanced mode).

    Raises `PermanentError` if something cannot be said in HL7 v2 as it is, `PatientUnknown` if the patient has no name.
    """
    name = control_id(report, patient, sending)
    segments = [
        _msh(report, name, settings, ask_commit=ask_commit),
        _pid(report, patient, settings),
        _orc(report),
        _obr(report, sending, settings),
        *_notes(report),
        *_observations(report, sending, settings),
    ]
    writer = Writer(character_set=settings.character_set, longest=settings.longest)
    return Message(control_id=name, data=writer.bytes_of(segments))


def _msh(report: Report, name: str, settings: Hl7Settings, *, ask_commit: bool) -> Segment:
    structure = () if settings.version == "2.3" else ("ORU_R01",)  # 2.3 has no third component
    return Segment(
        "MSH",
        {
            3: _system(settings.sending_application),
            4: _system(settings.sending_facility),
            5: _system(settings.receiving_application),
            6: _system(settings.receiving_facility) if settings.receiving_facility else report.practice_id,
            7: _time(report.created_on, settings),  # not the clock's: a repeat has the same bytes
            9: ("ORU", "R01", *structure),
            10: name,
            11: settings.processing_id,
            12: settings.version,
            15: "AL" if ask_commit else "",
            16: "NE" if ask_commit else "",
            18: settings.character_set,
        },
    )


def _pid(report: Report, patient: Patient, settings: Hl7Settings) -> Segment:
    return Segment(
        "PID",
        {
            1: "1",
            3: [
                (patient.ehr_id, "", "", _system(settings.mrn_authority), "MR"),
                (report.patient_id, "", "", "GLYCANAGE", "PI"),
            ],
            5: _name(patient, settings),
            7: _birth_date(patient.birth_date),
            8: _sex(patient.sex),
        },
    )


def _orc(report: Report) -> Segment:
    return Segment("ORC", {1: "RE", 2: _placer(report), 3: _filler(report), 5: "CM"})


def _obr(report: Report, sending: Sending, settings: Hl7Settings) -> Segment:
    received_at = report.kit_received_at
    return Segment(
        "OBR",
        {
            1: "1",
            2: _placer(report),
            3: _filler(report),
            4: _code("glycanage-report", settings),
            7: _effective(report, settings),
            14: _time(received_at, settings) if received_at else "",
            16: _provider(settings),
            22: _time(report.created_on, settings),
            24: "LAB",
            25: "C" if sending.amended else _status(sending),  # the whole takes the place of what they have
        },
    )


def _notes(report: Report) -> list[Segment]:
    told = [f"GlycanAge report {report.report_id}"]
    told += ["The report file is not attached."] if report.lacks_pdf else []
    return [Segment("NTE", {1: str(number), 2: "L", 3: each}) for number, each in enumerate(told, 1)]


def _observations(report: Report, sending: Sending, settings: Hl7Settings) -> list[Segment]:
    """What was found, a segment each. NM keeps the digits that GlycanAge wrote."""
    found: list[tuple[str, CodeName, Field, Field]] = [
        ("NM", "glycan-age", report.glycan_age, _YEARS),
        ("NM", "chronological-age", report.chronological_age, _YEARS),
        ("ST", "kit-code", report.kit_code, ""),
    ]
    if report.pdf is not None:
        data = base64.b64encode(report.pdf).decode()
        found.append(("ED", "report-file", ("GLYCANAGE", "AP", "PDF", "Base64", data), ""))
    shared: dict[int, Field] = {11: _status(sending), 14: _effective(report, settings)}
    return [
        Segment("OBX", {1: str(number), 2: kind, 3: _code(name, settings), 5: value, 6: unit} | shared)
        for number, (kind, name, value, unit) in enumerate(found, 1)
    ]


def _placer(report: Report) -> Components:
    return (report.assignment_id, "GLYCANAGE")


def _filler(report: Report) -> Components:
    return (report.test_id, "GLYCANAGE")


def _provider(settings: Hl7Settings) -> Field:
    who = settings.ordering_provider
    if who is None:
        return ""
    authority = _system(who.authority) if who.authority else ""
    return (who.id, who.family, who.given, "", "", "", "", "", authority)


def _status(sending: Sending) -> str:
    return "C" if sending.revision else "F"


def _effective(report: Report, settings: Hl7Settings) -> str:
    if settings.effective == "unknown":
        return ""
    received_at = report.kit_received_at if settings.effective == "kit_received" else None
    return _time(received_at or report.created_on, settings)


def _code(name: CodeName, settings: Hl7Settings) -> Components:
    """The site's own code first, if it has one, and ours as the alternate; else ours."""
    ours, own = _OUR_CODES[name], settings.codes.get(name)
    return ours if own is None else (own.code, own.text, own.system, *ours[-3:])


def _name(patient: Patient, settings: Hl7Settings) -> Components:
    if patient.family:
        return (patient.family, patient.given, "", "", "", "", "L")
    if settings.unknown_names:
        return ("", patient.given, "", "", "", "", "U")
    raise PatientUnknown("the patients file has no family name for this patient, and HL7 v2 asks for one (PID-5)")


def _birth_date(text: str) -> str:
    if not text:
        return ""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    if day is None or day.isoformat() != text:
        raise PermanentError("birth_date in the patients file is no day such as 1981-04-12")
    return text.replace("-", "")


def _sex(text: str) -> str:
    if text not in SEXES:
        raise PermanentError("sex in the patients file is none of F, M, O, U, A and N (HL7's table 0001)")
    return text


def _system(told: str) -> tuple[str, ...]:
    return tuple(told.split("^"))


def _time(moment: datetime, settings: Hl7Settings) -> str:
    at = moment.astimezone(UTC)
    fraction = f".{at.microsecond // 1000:03}" if settings.time_precision == "millisecond" else ""
    return f"{at.year:04}{at:%m%d%H%M%S}{fraction}+0000"
