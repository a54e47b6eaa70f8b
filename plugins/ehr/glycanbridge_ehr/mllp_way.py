"""The way into an EHR by HL7 v2 over MLLP: report and patient to a message, its acknowledgement to an outcome."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from glycanbridge import DestinationError, PermanentError
from glycanbridge_ehr.hl7 import control_id, oru_r01
from glycanbridge_ehr.hl7_acks import judged
from glycanbridge_ehr.hl7_trail import Trail
from glycanbridge_ehr.mllp import MllpClient
from glycanbridge_ehr.patients import Patient, PatientFile
from glycanbridge_ehr.reports import Report
from glycanbridge_ehr.settings_hl7 import MllpSettings
from glycanbridge_ehr.ways import PatientUnknown, Sending


class MllpWay:
    """A receiver of HL7 v2, and what is on its way there."""

    def __init__(self, settings: MllpSettings, *, patients: Path, state: Path) -> None:
        self._settings = settings
        self._patients = PatientFile(patients)
        self._trail = Trail(state)
        self._client = MllpClient(settings)

    def send(self, report: Report, sending: Sending) -> str:
        """Send a result; its control id (MSH-10) and what the receiver said to it."""
        patient = self._patients.find(report.patient_id)
        if patient is None:
            raise PatientUnknown("the patients file has no row for this patient")
        ask_commit = self._settings.acknowledgement == "enhanced"
        sending = self._known_without_file(report, patient, sending)
        message = oru_r01(report, patient, sending, self._settings, ask_commit=ask_commit)
        known = self._trail.stays_in_its_chart(report, patient, sending)
        left_before: list[bool] = []

        def leaving() -> None:
            left_before.append(self._trail.leaves(message.control_id))
            self._trail.keep_chart(report, patient, sending)

        ack = self._client.exchange(message, leaving=leaving)
        try:
            receipt = judged(ack, again=any(left_before), ar_retry=self._settings.ar_retry)
        except (PermanentError, DestinationError):  # it has been refused, and is nowhere
            self._trail.settle(message.control_id)
            if not (sending.revision or sending.amended or known or any(left_before)):
                self._trail.forget_chart(report, sending)
            raise
        self._trail.settle(message.control_id)
        return receipt

    def _known_without_file(self, report: Report, patient: Patient, sending: Sending) -> Sending:
        """As an amendment, if the receiver may have the result without the file that now goes along."""
        without = control_id(replace(report, pdf=None, lacks_pdf=True), patient, sending)
        is_late = report.pdf is not None and self._trail.may_have_left(without)
        return replace(sending, amended=True) if is_late else sending

    def check(self) -> str:
        """Connect without sending a message, and look into the patients file."""
        return f"{self._client.check()}; the patients file has {self._patients.count()} patients"

    def tells(self) -> str:
        """What leaves and where to."""
        how = "over TLS" if self._settings.tls else "WITHOUT TLS, readable on the way"
        where = f"{self._settings.host}:{self._settings.port}"
        return f"names, birth dates, sexes, all ids and both ages go to {where} as HL7 v2 (MLLP), {how}"

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()
