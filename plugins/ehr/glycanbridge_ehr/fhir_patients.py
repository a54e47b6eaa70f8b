"""Which of the EHR's patients a report is about, as a FHIR reference. Nobody is ever made, or matched by name."""

from __future__ import annotations

import re
from collections.abc import Callable

from glycanbridge import PermanentError
from glycanbridge_ehr.fhir_answers import failure
from glycanbridge_ehr.fhir_found import the_one
from glycanbridge_ehr.fhir_server import Server
from glycanbridge_ehr.patients import PatientFile
from glycanbridge_ehr.ways import PatientUnknown

Finder = Callable[[str], str]
"""From GlycanAge's patient id to a reference. Raises `PatientUnknown`, or an error of a plugin's."""


def by_file(file: PatientFile) -> Finder:
    """By the clinic's own file."""

    def find(patient_id: str) -> str:
        patient = file.find(patient_id)
        if patient is None:
            raise PatientUnknown("the patient is not in the file of patients")
        if re.fullmatch(r"[A-Za-z0-9.-]{1,64}", patient.ehr_id) is None:
            raise PermanentError("the patient's ehr_id in the file of patients is no FHIR id; mend it, then replay")
        return f"Patient/{patient.ehr_id}"

    return find


def by_search(server: Server, system: str) -> Finder:
    """By asking the EHR who has this identifier."""

    def find(patient_id: str) -> str:
        answer = server.search("Patient", f"identifier={system}|{escaped(patient_id)}")
        if not answer.ok:
            raise failure(answer, doing="looking for the patient")
        patient = the_one(answer.resource, "Patient", system=system, value=patient_id)
        if patient is None:
            raise PatientUnknown("the EHR has no patient with this identifier")
        return f"Patient/{patient['id']}"

    return find


def escaped(value: str) -> str:
    r"""A value for a search, in which `$`, `,` and `|` mean something else (FHIR R4, 3.1.1.4.4): `\,`."""
    return re.sub(r"([\\$,|])", r"\\\1", value)
