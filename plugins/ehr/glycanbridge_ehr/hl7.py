"""A report as an HL7 v2 message, ORU^R01: pure, and the same bytes for the same report.

Nothing is ever altered: what the character set or the format cannot hold is refused. README.md has the mapping.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from unicodedata import category

from glycanbridge import PermanentError
from glycanbridge_ehr.patients import Patient
from glycanbridge_ehr.reports import Report
from glycanbridge_ehr.settings_hl7 import AGE_IN_YEARS, CodeName, Hl7Settings
from glycanbridge_ehr.ways import PatientUnknown, Sending

LONGEST_CONTROL_ID = 20
"""Characters of MSH-10 in HL7 v2.5.1."""
CODECS = {
    "UNICODE UTF-8": "utf-8",
    "8859/1": "latin-1",
    "8859/2": "iso8859-2",
    "8859/15": "iso8859-15",
    "ASCII": "ascii",
}
"""Python's names of HL7's table 0211, as far as we write it."""
SEXES = frozenset({"", "F", "M", "O", "U", "A", "N"})
"""HL7's table 0001."""

_LOCAL = "99GLY"
_ESCAPING = str.maketrans(
    {
        "\\": "\\E\\",
        "|": "\\F\\",
        "^": "\\S\\",
        "&": "\\T\\",
        "~": "\\R\\",
        "\r": "\\X0D\\",
        "\n": "\\X0A\\",
    }
)
_YEARS = ("a", "year", "UCUM")
_OUR_CODES: dict[CodeName, Components] = {
    "glycanage-report": ("glycanage-report", "GlycanAge report", _LOCAL),
    "glycan-age": ("glycan-age", "GlycanAge biological age", _LOCAL),
    "chronological-age": (AGE_IN_YEARS, "Age", "LN", "chronological-age", "Chronological age", _LOCAL),
    "kit-code": ("kit-code", "Kit code", _LOCAL),
}

Components = tuple[str | tuple[str, ...], ...]
"""What `^` parts; one of them may be a tuple itself: what `&` parts."""
Field = str | Components | list[Components]
"""A text, or its components, or repetitions of such: what `~` parts."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One line of a message: what stands in which of its fields."""

    name: str
    fields: Mapping[int, Field]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message as it goes over the wire, and the id that its acknowledgement must name."""

    control_id: str
    data: bytes


def control_id(report: Report, patient: Patient, sending: Sending) -> str:
    """MSH-10: the same in every attempt, on every machine, and another for another destination, patient or result."""
    told = [sending.destination, report.report_id, report.digest, patient.ehr_id, sending.revision]
    digest = hashlib.sha256(json.dumps(told).encode()).digest()
    return ("G" + base64.b32encode(digest).decode())[:LONGEST_CONTROL_ID]


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
        Segment("NTE", {1: "1", 2: "L", 3: f"GlycanAge report {report.report_id}"}),
        *_observations(report, sending, settings),
    ]
    return Message(control_id=name, data=_Writer(settings).bytes_of(segments))


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
            25: _status(sending),
        },
    )


def _observations(report: Report, sending: Sending, settings: Hl7Settings) -> list[Segment]:
    """What was found, a segment each. NM keeps the digits that GlycanAge wrote."""
    found: list[tuple[str, CodeName, Field, Field]] = [
        ("NM", "glycan-age", report.glycan_age, _YEARS),
        ("NM", "chronological-age", report.chronological_age, _YEARS),
        ("ST", "kit-code", report.kit_code, ""),
    ]
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
        return ("", "", "", "", "", "", "U")
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


class _Writer:
    """Puts segments into bytes, or refuses to."""

    def __init__(self, settings: Hl7Settings) -> None:
        self._character_set = settings.character_set
        self._codec = CODECS[settings.character_set]
        self._longest = settings.longest

    def bytes_of(self, segments: list[Segment]) -> bytes:
        return "".join(f"{self._line(each)}\r" for each in segments).encode(self._codec)

    def _line(self, segment: Segment) -> str:
        texts = {number: self._field(f"{segment.name}-{number}", field) for number, field in segment.fields.items()}
        if segment.name == "MSH":  # where the separators name themselves: the first of them is MSH-1
            texts[2] = "^~\\&"
        first = 2 if segment.name == "MSH" else 1
        last = max(number for number, text in texts.items() if text)
        return "|".join([segment.name, *(texts.get(number, "") for number in range(first, last + 1))])

    def _field(self, place: str, field: Field) -> str:
        repetitions = field if isinstance(field, list) else [field]
        return "~".join(self._components(place, each if isinstance(each, tuple) else (each,)) for each in repetitions)

    def _components(self, place: str, components: Components) -> str:
        texts = []
        for number, each in enumerate(components, 1):
            parts = each if isinstance(each, tuple) else (each,)
            texts.append("&".join(self._text(f"{place}.{number}", part) for part in parts))
        return "^".join(texts).rstrip("^")

    def _text(self, place: str, text: str) -> str:
        if len(text) > self._longest.get(place, len(text)):
            raise PermanentError(f"{place} has more characters than settings.longest allows; it is not cut off")
        if text == '""':
            raise PermanentError(f'{place} is "", which means "delete this" in HL7 v2; it is not sent')
        if any(category(each) == "Cc" for each in text if each not in "\r\n"):
            raise PermanentError(f"{place} holds a control character, which no HL7 v2 message may; it is not sent")
        try:
            text.encode(self._codec)
        except UnicodeEncodeError:
            told = f"{place} cannot be written in {self._character_set}; set character_set to one that has its letters"
            raise PermanentError(told) from None
        return text.translate(_ESCAPING)
