"""The way into an EHR by FHIR R4."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, urlsplit

from glycanbridge import DestinationError
from glycanbridge_ehr.fhir import Part, Telling, parts_of
from glycanbridge_ehr.fhir_abilities import WRITTEN
from glycanbridge_ehr.fhir_answers import failure
from glycanbridge_ehr.fhir_document import document_of
from glycanbridge_ehr.fhir_found import matches
from glycanbridge_ehr.fhir_patients import Finder, by_file, by_search, escaped
from glycanbridge_ehr.fhir_server import FhirServer
from glycanbridge_ehr.fhir_writing import Writer
from glycanbridge_ehr.patients import PatientFile
from glycanbridge_ehr.reports import Report
from glycanbridge_ehr.settings_fhir import FhirSettings
from glycanbridge_ehr.ways import Sending

_NOBODY = "glycanbridge-check-nobody"
"""An identifier that nothing has."""


class FhirWay:
    """One FHIR server. Safe to use from several threads."""

    def __init__(self, settings: FhirSettings, *, patients: Path | None, state: Path) -> None:
        self._settings = settings
        self._server = FhirServer(settings, state=state)
        self._writer = Writer(self._server, settings)
        self._file = PatientFile(patients) if patients is not None else None
        self._patient = self._finder()

    def send(self, report: Report, sending: Sending) -> str:
        """Send a result; return the server's name for it, such as `DiagnosticReport/12`."""

        def parts(telling: Telling) -> list[Part]:
            make = parts_of if self._settings.send_as == "report" else document_of
            corrected = telling is Telling.CORRECTION or sending.revision > 0
            amended = telling is Telling.AMENDMENT
            return make(report, subject=subject, corrected=corrected, amended=amended, settings=self._settings)

        telling = Telling.CORRECTION if sending.revision else Telling.FIRST

        try:
            subject = self._patient(report.patient_id)
            return self._writer.write(parts, Telling.AMENDMENT if sending.amended else telling)
        except DestinationError:
            self._writer.forget()
            raise

    def check(self) -> str:
        """Ask the server what it can, and look for an identifier that nothing has. Nothing is written."""
        able, settings = self._writer.ask(), self._settings
        let_in = self._server.check_in()
        mode = able.mode if settings.mode == "auto" else settings.mode
        if settings.patient == "conditional" and mode != "transaction":
            raise DestinationError(
                "patient: conditional needs transactions, which the server cannot do; set it to search"
            )
        self._look_for_nothing()
        known = f", {self._file.count()} in the file" if settings.patient == "map" and self._file else ""
        but = f"; but it says that it takes no new {' and no new '.join(able.refused)}" if able.refused else ""
        how = f"results by mode {mode}, patients by {settings.patient}{known}"
        return f"{self._server.name}: FHIR R4, {how}{but}{let_in}"

    def tells(self) -> str:
        """What leaves, and where to."""
        how = "FHIR" if urlsplit(self._settings.url).scheme == "https" else "FHIR, NOT encrypted"
        return f"reports with ages, kit codes and all ids go to {self._server.name} ({how})"

    def close(self) -> None:
        """Let go of connections. May be called twice."""
        self._server.close()

    def _look_for_nothing(self) -> None:
        """See that the server lets us search, and that it finds nothing where nothing is."""
        type_, system = "Patient", self._settings.patient_system
        if self._settings.patient == "map":
            type_, system = WRITTEN[self._settings.send_as][-1], self._settings.system(self._settings.send_as)
        answer = self._server.search(type_, f"identifier={system}|{_NOBODY}")
        if not answer.ok:
            raise failure(answer, doing=f"looking for a {type_} that is not there")
        if matches(answer.resource, type_):
            raise DestinationError(f"the server does not search by identifier: it found a {type_} that is not there")

    def _finder(self) -> Finder:
        system = str(self._settings.patient_system)
        if self._settings.patient == "map" and self._file is not None:
            return by_file(self._file)
        if self._settings.patient == "search":
            return by_search(self._server, system)
        return lambda patient_id: f"Patient?identifier={quote(f'{system}|{escaped(patient_id)}', safe=':/|')}"
