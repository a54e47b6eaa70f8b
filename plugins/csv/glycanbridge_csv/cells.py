"""A value as the text of a cell: moments, ages and everything else, and never a formula."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from glycanbridge import PermanentError

LONGEST_VALUE = 32_766
"""Characters of a value; with an apostrophe before it, it just fits into a cell of Excel's."""
ISO = "iso"
"""The date format that is ISO 8601's; any other is a pattern such as `DD.MM.YYYY`."""
_LOCAL = {"local_time", "kit_received_at_local", "created_on_local", "local_date"}
_AGES = {"glycan_age", "chronological_age"}
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_FORMULA = re.compile(r"[\t\r\n\0]|[\s\0-\x1f\x7f\u200b-\u200f\u2060\ufeff\"'`´‘’“”]*[=+\-@＝＋－＠]")  # noqa: RUF001
_TO_SPACES = str.maketrans("\r\n\0", "   ")


@dataclass(frozen=True, slots=True)
class Form:
    """In which form the values of a file are written. A column in another than the usual says so in its title."""

    zone: ZoneInfo
    date_format: str = ISO
    decimal: str = "."
    masked: bool = False
    """Whether of kit codes only the last letters are told."""

    def title(self, column: str) -> str:
        """What stands in the header, so that no file ever holds two forms, and its reader knows which one it is."""
        if column in _LOCAL and self.date_format != ISO:  # such a time has no offset: the zone belongs to it
            return f"{column} ({self.date_format} {self.zone.key})"
        if column in _AGES and self.decimal != ".":
            return f"{column} (decimal comma)"
        return "kit_code (masked)" if column == "kit_code" and self.masked else column

    def cell(self, column: str, value: object) -> str:
        """A value as text that no spreadsheet takes for a formula (OWASP "CSV Injection", ASVS 5.0 1.2.10).

        Raises `PermanentError` if no cell can hold it.
        """
        if isinstance(value, datetime):
            return self._moment(column, value)
        text = "" if value is None else str(value)
        if len(text) > LONGEST_VALUE:
            raise PermanentError(f"{column} has more than {LONGEST_VALUE:,} characters, too many for a cell")
        if self.decimal != "." and column in _AGES and _NUMBER.fullmatch(text):
            return text.replace(".", self.decimal)
        harmful = _FORMULA.match(text) and not _NUMBER.fullmatch(text)
        return ("'" if harmful else "") + text.translate(_TO_SPACES)

    def shape(self, end: str) -> re.Pattern[str]:
        """How a whole cell of the last column looks, and no part of one."""
        if end != "local_date":
            return re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
        pattern = re.escape("YYYY-MM-DD" if self.date_format == ISO else self.date_format)
        return re.compile(re.sub("[DMY]", "[0-9]", pattern))

    def local(self, moment: datetime) -> datetime:
        """The moment in the zone that was set."""
        try:
            return moment.astimezone(self.zone)
        except OverflowError:  # the first or the last day that there is
            return moment

    def _moment(self, column: str, moment: datetime) -> str:
        if column not in _LOCAL:
            return _iso(moment.astimezone(UTC))
        local = self.local(moment)
        if self.date_format == ISO:
            return local.date().isoformat() if column == "local_date" else _iso(local)
        day = self.date_format.replace("YYYY", f"{local.year:04}")
        day = day.replace("MM", f"{local.month:02}").replace("DD", f"{local.day:02}")
        return day if column == "local_date" else f"{day} {local:%H:%M:%S}"


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z" if moment.tzinfo is UTC else "+00:00")
