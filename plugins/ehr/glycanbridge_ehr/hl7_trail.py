"""Where results have gone by HL7 v2: messages that their receiver may have, and in whose chart each report is.

An engine cannot be asked, so it stands in a small SQLite file beside `sent.db`: digests and keys, no result. If it is
lost, a receiver's "duplicate" is taken for a refusal, and a person looks.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from glycanbridge import DestinationError, PermanentError
from glycanbridge_ehr.hl7 import short_name
from glycanbridge_ehr.patients import Patient
from glycanbridge_ehr.reports import Report
from glycanbridge_ehr.ways import Sending

_WAIT_S = 3
_SCHEMA = """
CREATE TABLE IF NOT EXISTS unsettled (control_id TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS charts (report TEXT PRIMARY KEY, chart TEXT);
"""


class Trail:
    """The file `hl7.db` in the plugin's directory, made when it is first needed (0600)."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "hl7.db"

    def leaves(self, control_id: str) -> bool:
        """Keep in mind that a message leaves; whether it may have left before."""
        added = self._run("INSERT OR IGNORE INTO unsettled VALUES (?) RETURNING 1", control_id)
        return not added

    def may_have_left(self, control_id: str) -> bool:
        """Whether a message left, and nobody knows what became of it."""
        return self._file.exists() and bool(self._run("SELECT 1 FROM unsettled WHERE control_id=?", control_id))

    def settle(self, control_id: str) -> None:
        """The receiver has taken or refused it."""
        with suppress(DestinationError):  # it is settled whether or not this can be written down
            self._run("DELETE FROM unsettled WHERE control_id=?", control_id)

    def stays_in_its_chart(self, report: Report, patient: Patient, sending: Sending) -> bool:
        """Whether the result, or what it corrects, went into this chart, or may have.

        Raises `PermanentError` if it went into another one.
        """
        known = False
        if not self._file.exists():
            return known
        for (chart,) in self._run("SELECT chart FROM charts WHERE report=?", _name(report, sending)):
            if chart != _chart(report, patient):
                told = "the result, or an attempt at it, went to another ehr_id: a person must look at both charts"
                raise PermanentError(told)
            known = True
        return known

    def keep_chart(self, report: Report, patient: Patient, sending: Sending) -> None:
        """Keep in mind into whose chart a report went."""
        self._run("INSERT OR REPLACE INTO charts VALUES (?, ?)", _name(report, sending), _chart(report, patient))

    def forget_chart(self, report: Report, sending: Sending) -> None:
        """It went nowhere: its receiver has refused it."""
        self._run("DELETE FROM charts WHERE report=?", _name(report, sending))

    def _run(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file.touch(mode=0o600)
            with closing(sqlite3.connect(self._file, timeout=_WAIT_S)) as connection, connection:
                connection.executescript(_SCHEMA)
                return connection.execute(statement, values).fetchall()
        except (OSError, sqlite3.Error) as error:
            told = f"{self._file}: {type(error).__name__}; see that it is whole and can be written to"
            raise DestinationError(told) from None


def _name(report: Report, sending: Sending) -> str:
    return short_name(sending.destination, report.report_id)


def _chart(report: Report, patient: Patient) -> str:
    return short_name(report.report_id, patient.ehr_id)
