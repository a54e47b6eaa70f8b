"""A report as one FHIR document, for EHRs that take no results: a DocumentReference with a sentence in it."""

from __future__ import annotations

import base64

from glycanbridge_ehr.fhir import LABORATORY_REPORT, Part, conclusion, identifier, instant, pdf_of, safe, who
from glycanbridge_ehr.reports import Report
from glycanbridge_ehr.settings_fhir import FhirSettings


def document_of(
    report: Report, *, subject: str, corrected: bool, settings: FhirSettings, amended: bool = False
) -> list[Part]:
    """The one resource of a report. What people read stands in it as plain text; the report itself is named.

    The report file is the same document in another format, and stands behind the text. `amended`: it is new there.
    """
    system, value = settings.system("document"), safe(report.report_id)
    key, moment = {"system": system, "value": value}, instant(report.created_on)
    related = {"type": "DiagnosticReport", "identifier": {"system": settings.system("report"), "value": value}}
    resource = {
        "resourceType": "DocumentReference",
        "masterIdentifier": key,
        "identifier": [key, identifier(settings.system("test"), report.test_id)],
        "status": "current",
        "docStatus": "amended" if corrected or amended else "final",
        "type": {"coding": [LABORATORY_REPORT, *settings.own_codes("report")], "text": "GlycanAge report"},
        "subject": {"reference": subject},
        "date": moment,
        "author": [who(settings.performer)],
        "description": "GlycanAge report (its file is not attached)" if report.lacks_pdf else "GlycanAge report",
        "content": [
            {
                "attachment": {
                    "contentType": "text/plain; charset=utf-8",
                    "language": "en",
                    "data": base64.b64encode(conclusion(report).encode()).decode(),
                    "title": "GlycanAge report",
                    "creation": moment,
                }
            },
            *([{"attachment": pdf_of(report, settings)}] if report.pdf is not None else []),
        ],
        "context": {"related": [related]},
    }
    return [Part(system=system, value=value, resource=resource)]
