"""A plugin that writes down what it was handed, a line each, and what reads these lines: the far side of a crash test.

A line is there whole or not at all, also when the process is killed while it writes: each is appended by one system
call, and its length divides a memory page, so that the kernel has no seam to stop at.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel

from glycanbridge import Delivery, LocalPath, ReportReady, hookimpl

LINE_BYTES = 128


class Receipt(NamedTuple):
    """One line: an event was handed over, by this attempt at this delivery."""

    report_id: str
    delivery_id: str
    attempt: int


class ReceiptsSettings(BaseModel, extra="forbid"):
    """Where the lines go, and how long each delivery takes before and after its line."""

    file: LocalPath
    before_ms: int = 0
    after_ms: int = 0


class Receipts:
    """Takes report-ready events. Holds nothing in memory: it may run in any process, and in many at once."""

    Settings = ReceiptsSettings

    def __init__(self, settings: ReceiptsSettings) -> None:
        self._settings = settings

    @hookimpl
    def on_report_ready(self, event: ReportReady, delivery: Delivery) -> str:
        """Append the line."""
        _hold(self._settings.before_ms)
        line = f"{event.data.report_id} {delivery.id} {delivery.attempt}".ljust(LINE_BYTES - 1) + "\n"
        file = os.open(self._settings.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)
        _hold(self._settings.after_ms)
        return "written"


def received(file: Path) -> list[Receipt]:
    """Every receipt in `file`, in order. Raises `ValueError` for a line that is none."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    told = [line.split() for line in lines]
    return [Receipt(report_id, delivery_id, int(attempt)) for report_id, delivery_id, attempt in told]


def _hold(duration_ms: int) -> None:
    for _ in range(duration_ms):  # in small steps: time during which the process is stopped does not count
        time.sleep(0.001)
