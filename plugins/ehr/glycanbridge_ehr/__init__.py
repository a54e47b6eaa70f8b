"""Hands finished reports to an EHR: by FHIR R4, by HL7 v2 over MLLP, or as files for an interface engine.

One report is one result in the EHR, however often its event comes; another value under the same report is a correction.
README.md lists mappings and failures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from glycanbridge import Delivery, KitReceived, NotYetError, PermanentError, ReportReady, hookimpl
from glycanbridge_ehr.report_files import ReportFile, report_file
from glycanbridge_ehr.reports import Report, report_of
from glycanbridge_ehr.sent import Before, Sent, SentFile
from glycanbridge_ehr.settings import EhrSettings
from glycanbridge_ehr.ways import Fault, PatientUnknown, Sending, open_way

__all__ = ["Ehr", "EhrSettings"]


def _now() -> datetime:
    return datetime.now(UTC)


_FAULTS = 5
"""Attempts in which the far side breaks in the same way over a result, before that is a dead letter."""


class Ehr:
    """The plugin: an instance for each lane of a destination. All lanes share what stands in `state`."""

    Settings = EhrSettings
    contract = ">=1.1,<2"

    def __init__(self, settings: EhrSettings, *, clock: Callable[[], datetime] = _now) -> None:
        self._settings = settings
        self._clock = clock
        self._sent = Sent(settings.state, lock_timeout_s=settings.lock_timeout_s)
        self._way = open_way(settings)

    @hookimpl
    def on_kit_received(self, event: KitReceived, delivery: Delivery) -> str:
        """Remember when the kit came to the laboratory: its report does not say so. Nothing is sent."""
        self._sent.keep_kit(delivery.destination, event.data.test_id, event.data.received_at)
        return "remembered for its report"

    @hookimpl
    def on_report_ready(self, event: ReportReady, delivery: Delivery) -> str:
        """Send a result, or its correction. Returns what the EHR calls it."""
        report = report_of(event, kit_received_at=self._sent.kit(delivery.destination, event.data.test_id))
        if report.practice_id not in self._settings.practices:
            raise PermanentError("the report's practice is not among settings.practices; send it where it belongs")
        with self._sent.one_at_a_time(delivery.destination, report.report_id):
            return self._send(report, delivery)

    @hookimpl
    def check(self) -> str:
        """Talk to the EHR without sending a result."""
        return self._way.check()

    @hookimpl
    def tells(self) -> str:
        """What leaves, and where to."""
        told, settings = self._way.tells(), self._settings
        if settings.report == "none":
            return told
        return f"{told}; so does the report file (PDF), of up to {settings.report_max_mb:g} MB"

    @hookimpl
    def close(self) -> None:
        """Let go of connections."""
        self._way.close()

    def _send(self, report: Report, delivery: Delivery) -> str:
        before = self._sent.last(delivery.destination, report.report_id)
        if before is None:
            return self._send_now(report, delivery, self._file(delivery), revision=0)
        is_newer = (before.created_on, before.received_at) <= (report.created_on, delivery.received_at)
        if before.digest == report.digest:
            told = f"{before.receipt} (it has this result already)"
            return self._again(report, delivery, before) or told if is_newer else told
        if before.patient_digest != report.patient_digest:
            raise PermanentError("the report was sent for another patient before: a person must look at both")
        if not is_newer:
            return f"{before.receipt} (it has a later result)"
        return self._send_now(report, delivery, self._file(delivery), revision=before.revision + 1)

    def _again(self, report: Report, delivery: Delivery, before: Before) -> str | None:
        """Told again with the same values: only a file that the EHR does not have is sent. The receipt of that, if so.

        The file of an event is sent once. Another event about the same report may have another one.
        """
        # What was told in between, and comes late, must not undo it.
        self._keep(report, delivery, revision=before.revision, receipt=before.receipt, file=before.file)
        if before.file is not None and before.file.event_id == delivery.event_id:
            return None
        file = self._file(delivery)
        if file.content is None:
            return f"{before.receipt} (it has this result already; {file.remark})" if file.remark else None
        if before.file is not None and before.file.digest == file.digest:
            again = SentFile(event_id=delivery.event_id, digest=before.file.digest)
            self._keep(report, delivery, revision=before.revision, receipt=before.receipt, file=again)
            return None
        return self._send_now(report, delivery, file, revision=before.revision, amended=True)

    def _file(self, delivery: Delivery) -> ReportFile:
        return report_file(self._settings.report, delivery.report, max_mb=self._settings.report_max_mb)

    def _send_now(
        self, report: Report, delivery: Delivery, file: ReportFile, *, revision: int, amended: bool = False
    ) -> str:
        """Send it. Returns what the EHR calls it, and why it has no file if it was to have one."""
        report = replace(report, pdf=file.content, lacks_pdf=file.why_missing is not None)
        sending = Sending(destination=delivery.destination, revision=revision, amended=amended)
        try:
            receipt = self._way.send(report, sending)
        except Fault as fault:
            raise self._counted(fault, report, delivery) from None
        except PatientUnknown as unknown:
            waited = self._clock() - delivery.received_at
            if waited >= timedelta(days=self._settings.patient_wait_days):
                raise PermanentError(f"{unknown}; it waited for {waited.days} days") from None
            raise NotYetError(f"{unknown}; the result waits, and is tried again in an hour") from None
        self._sent.forget_faults(delivery.destination, report.report_id)
        sent = None if file.digest is None else SentFile(event_id=delivery.event_id, digest=file.digest)
        self._keep(report, delivery, revision=revision, receipt=receipt, file=sent)
        return f"{receipt}; {file.remark}" if file.remark else receipt

    def _keep(self, report: Report, delivery: Delivery, *, revision: int, receipt: str, file: SentFile | None) -> None:
        self._sent.keep(
            delivery.destination,
            report,
            received_at=delivery.received_at,
            revision=revision,
            receipt=receipt,
            file=file,
        )

    def _counted(self, fault: Fault, report: Report, delivery: Delivery) -> Fault | PermanentError:
        """A fault, or the end if it was one too many."""
        destination, report_id = delivery.destination, report.report_id
        times = self._sent.count_fault(destination, report_id, fingerprint=fault.fingerprint, attempt=delivery.attempt)
        if times < _FAULTS:
            return fault
        self._sent.forget_faults(destination, report_id)  # a replay by hand has as many again
        return PermanentError(f"{fault}; it broke in the same way in {times} attempts")
