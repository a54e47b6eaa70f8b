"""A report as FHIR R4: two Observations, and the DiagnosticReport that holds them.

Pure: the same report gives the same bytes. The biological age has a code of our own, for LOINC has none for it. LOINC's
age, 30525-0, is the person's own, and is never put on the other: a chart would show a wrong age.
"""

from __future__ import annotations

import base64
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from glycanbridge_ehr.reports import Report
from glycanbridge_ehr.settings_fhir import FhirSettings

Resource = dict[str, Any]

_HL7 = "http://terminology.hl7.org/CodeSystem"
_LOINC = "http://loinc.org"
_ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
_AGE = {"system": _LOINC, "code": "30525-0", "display": "Age"}
LABORATORY_REPORT = {"system": _LOINC, "code": "11502-2", "display": "Laboratory report"}
_REFERENCE = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64}")


NO_FILE = " The report file is not attached."
"""Behind a result's sentence, where the file was to go along and could not be had."""


class Telling(StrEnum):
    """As what a result is told."""

    FIRST = "first"
    CORRECTION = "correction"
    """Its values are others than before."""
    AMENDMENT = "amendment"
    """Its values are as before; its report file is new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One resource of a result, and the key under which it is there once."""

    system: str
    value: str
    resource: Resource

    @property
    def type(self) -> str:
        """`Observation` or `DiagnosticReport`."""
        return str(self.resource["resourceType"])

    @property
    def query(self) -> str:
        """What finds it: the part of a search after the `?`. Nothing in it needs an escape."""
        return f"identifier={self.system}|{self.value}"

    @property
    def full_url(self) -> str:
        """Its name within a Bundle: always the same for the same key."""
        return uuid.uuid5(uuid.NAMESPACE_URL, f"{self.system}|{self.value}").urn


def parts_of(
    report: Report, *, subject: str, corrected: bool, settings: FhirSettings, amended: bool = False
) -> list[Part]:
    """A report's resources, the DiagnosticReport last. `subject` is a reference to the patient.

    `amended`: the DiagnosticReport has a file that it had not; its Observations are as they were.
    """
    shared = {
        "status": "corrected" if corrected else "final",
        "subject": {"reference": subject},
        **_effective(report, settings),
        "issued": instant(report.created_on),
        "performer": [who(settings.performer)],
    }
    own = {"system": settings.result_codes, "code": "glycan-age", "display": "GlycanAge biological age"}
    biological = _observation(
        _key(report, "glycan-age", settings), shared,
        code=_code([own], settings.own_codes("glycan_age"), text="GlycanAge biological age"), years=report.glycan_age,
    )  # fmt: skip
    chronological = _observation(
        _key(report, "chronological-age", settings), shared,
        code=_code([_AGE], settings.own_codes("chronological_age"), text="Chronological age (as used by GlycanAge)"),
        years=report.chronological_age,
    )  # fmt: skip
    whole = shared | {"status": "amended"} if amended else shared
    return [biological, chronological, _diagnostic_report(report, whole, [biological, chronological], settings)]


def transaction(parts: Sequence[Part], *, update: bool) -> Resource:
    """All parts in one Bundle, each made if its key is not there yet; with `update` each put where its key is."""
    entries = []
    for part in parts:
        request = {"method": "POST", "url": part.type, "ifNoneExist": part.query}
        if update:
            request = {"method": "PUT", "url": f"{part.type}?{part.query}"}
        entries.append({"fullUrl": part.full_url, "request": request, "resource": part.resource})
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def with_ids(part: Part, references: Mapping[str, str]) -> Part:
    """A report that refers to its Observations by the server's own ids, as it must outside a transaction."""
    if "result" not in part.resource:
        return part
    result = [{"reference": references[each["reference"]]} for each in part.resource["result"]]
    return Part(system=part.system, value=part.value, resource=part.resource | {"result": result})


def instant(moment: datetime) -> str:
    """`2023-08-27T07:56:40.000Z`; the moment is in UTC."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def conclusion(report: Report) -> str:
    """The result as a sentence: the two numbers, and neither ranges nor advice."""
    return f"GlycanAge biological age {report.glycan_age} years; chronological age {report.chronological_age} years."


def pdf_of(report: Report, settings: FhirSettings) -> dict[str, str]:
    """The report file as an Attachment."""
    return {
        "contentType": "application/pdf",
        "language": "en",
        "title": f"GlycanAge report {identifier(settings.system('report'), report.report_id)['value']}",
        "creation": instant(report.created_on),
        "data": base64.b64encode(report.pdf or b"").decode(),
    }


def safe(told: str) -> str:
    """An identifier that means the same in every search and URL: `a,b` is `a~2Cb`.

    What is not `[A-Za-z0-9._-]` becomes `~` and its bytes in hex. Servers take `,`, `+` and the like in a search for
    something else, find nothing, and make a second result.
    """
    return re.sub(
        r"[^A-Za-z0-9._-]",
        lambda found: "".join(f"~{byte:02X}" for byte in found[0].encode("utf-8", "surrogatepass")),
        told,
    )


def identifier(system: str, value: str) -> dict[str, str]:
    """An identifier for people and other systems to compare: as it came, if FHIR can hold that."""
    return {"system": system, "value": value if value.isprintable() and value == value.strip() else safe(value)}


def _key(report: Report, role: str, settings: FhirSettings) -> tuple[str, str]:
    return settings.system("observation"), f"{safe(report.report_id)}.{role}"


def _observation(key: tuple[str, str], shared: Resource, *, code: Resource, years: str) -> Part:
    system, value = key
    resource = {
        "resourceType": "Observation",
        "identifier": [{"system": system, "value": value}],
        "status": shared["status"],
        "category": [_category("observation-category", "laboratory")],
        "code": code,
        **{name: each for name, each in shared.items() if name != "status"},
        "valueQuantity": {"value": Decimal(years), "unit": "years", "system": "http://unitsofmeasure.org", "code": "a"},
    }
    return Part(system=system, value=value, resource=resource)


def _diagnostic_report(report: Report, shared: Resource, results: list[Part], settings: FhirSettings) -> Part:
    system, value = settings.system("report"), safe(report.report_id)
    identifiers = [{"system": system, "value": value}, identifier(settings.system("test"), report.test_id)]
    own = {"system": settings.result_codes, "code": "glycanage-report", "display": "GlycanAge report"}
    order = {"type": "ServiceRequest", "identifier": identifier(settings.system("assignment"), report.assignment_id)}
    kit = {"type": "Specimen", "identifier": identifier(settings.system("kit"), report.kit_code)}
    resource = {
        "resourceType": "DiagnosticReport",
        "identifier": identifiers,
        **({"basedOn": [order]} if settings.based_on else {}),
        "status": shared["status"],
        "category": [_category("v2-0074", "LAB")],
        "code": _code([own, LABORATORY_REPORT], settings.own_codes("report"), text="GlycanAge report"),
        **{name: each for name, each in shared.items() if name != "status"},
        **({"specimen": [kit]} if settings.specimen else {}),
        "result": [{"reference": each.full_url} for each in results],
        "conclusion": conclusion(report) + (NO_FILE if report.lacks_pdf else ""),
        **({"presentedForm": [pdf_of(report, settings)]} if report.pdf is not None else {}),
    }
    return Part(system=system, value=value, resource=resource)


def _effective(report: Report, settings: FhirSettings) -> Resource:
    if settings.effective == "unknown":
        return {"_effectiveDateTime": {"extension": [{"url": _ABSENT, "valueCode": "unknown"}]}}
    moment = report.created_on
    if settings.effective == "kit_received" and report.kit_received_at is not None:
        moment = report.kit_received_at
    return {"effectiveDateTime": instant(moment)}


def who(told: str) -> dict[str, str]:
    """Who made a result: a reference, if it is one, else a name."""
    return {"reference": told} if _REFERENCE.fullmatch(told) else {"display": told}


def _category(system: str, code: str) -> Resource:
    return {"coding": [{"system": f"{_HL7}/{system}", "code": code, "display": "Laboratory"}]}


def _code(ours: list[dict[str, str]], sites: Sequence[dict[str, str]], *, text: str) -> Resource:
    return {"coding": [*ours, *sites], "text": text}
