"""What GlycanAge has, one thing a row: which fields it has, and how their text is to be read. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_MS = re.compile(r"([0-9]{13})(\.0*)?", re.ASCII)
"""From 2001 to 2286: neither seconds, with ten digits, nor 20260403120000 or 202604031200, which are days as well."""
_ISO = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)"
    r"(?:[T ](?P<minute>\d\d:\d\d)(?P<second>:\d\d)?(?:[.,](?P<part>\d{1,9}))?\s?(?P<zone>Z|UTC|GMT|[+-]\d\d:?\d\d)?)?",
    re.ASCII | re.IGNORECASE,
)
_WIDEST_ZONE_MS = 14 * 3_600_000
"""Kiribati's, the farthest from UTC."""
_NUMBER = re.compile(r"0*([0-9]+?)(\.0*)?", re.ASCII)
_PLAIN_NUMBER = re.compile(r"[0-9]+\.[0-9]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of thing that GlycanAge has, and tells in one event: a report, or a received kit."""

    event_type: str
    called: str
    """What several of them are called."""
    fields: tuple[str, ...]
    """What its event must have, in GlycanAge's words."""
    key: tuple[str, ...]
    """What makes two of them the same; the first one is needed to find it."""
    at: str
    """When it came to be."""
    sign: str
    """What it has as soon as there is one: a test in the laboratory has a row, and no report yet."""
    moving: tuple[str, ...]
    """What may be another one later, without being another thing."""
    optional: tuple[str, ...]
    """What can be made where no row tells it."""
    reissued: bool
    """A test may have several, one after the other, and the newest one is what is true."""


REPORTS = Kind(
    event_type="report-ready",
    called="reports",
    fields=(
        "reportId", "testId", "kitCode", "patientId", "practiceId", "assignmentId", "glycanAge", "chronologicalAge",
        "reportUrl", "createdOn",
    ),
    key=("reportId",),
    at="createdOn",
    sign="glycanAge",
    moving=("reportUrl",),
    optional=("reportUrl",),
    reissued=True,
)  # fmt: skip
KITS = Kind(
    event_type="kit-received",
    called="received kits",
    fields=("kitCode", "testId", "patientId", "practiceId", "assignmentId", "receivedAt", "status"),
    key=("kitCode", "testId"),
    at="receivedAt",
    sign="receivedAt",
    moving=("status",),
    optional=("status",),
    reissued=False,
)
KINDS = {each.event_type: each for each in (REPORTS, KITS)}
FIELDS = tuple(dict.fromkeys(name for kind in KINDS.values() for name in kind.fields))
"""Every field that a row may have."""
AGES = ("glycanAge", "chronologicalAge")


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that GlycanAge has."""

    place: str
    """Where it stands: `export.csv:12`."""
    values: Mapping[str, str] = field(repr=False)
    """By GlycanAge's name of the field; what is empty or not there is left out."""
    doubt: str = ""
    """Why nothing may be made of it, if there is a reason."""


class Instant(NamedTuple):
    """A time as it was written: it may be a whole day, or in a zone that nobody has told."""

    ms: int
    """Its first millisecond since the epoch, in UTC where no zone was told."""
    lasts_ms: int
    """1, or more where it was written less exactly."""
    naive: bool
    """No zone was told."""

    @property
    def over_ms(self) -> int:
        """From when on it is past for certain, whatever zone was meant."""
        return self.ms + self.lasts_ms + (_WIDEST_ZONE_MS if self.naive else 0)

    def may_be(self, ms: int) -> bool:
        """Whether it can be this millisecond."""
        return self.ms - (_WIDEST_ZONE_MS if self.naive else 0) <= ms < self.over_ms


def read_instant(text: str | None) -> Instant | None:
    """The time in a text: milliseconds since the epoch, ISO 8601 or a date; `None` if it is none of them."""
    text = (text or "").strip()
    if whole := _EPOCH_MS.fullmatch(text):
        return Instant(int(whole[1]), 1, naive=False)
    found = _ISO.fullmatch(text)
    if found is None:
        return None
    day, minute, second, part, zone = found.group("day", "minute", "second", "part", "zone")
    if part is not None and second is None:
        return None
    zone = "" if zone is None or zone.upper() in {"Z", "UTC", "GMT"} else f"{zone[:3]}:{zone[-2:]}"
    written = f"{day}T{minute or '00:00'}{second or ':00'}.{(part or '0')[:6]:0<6}{zone}"
    try:
        moment = datetime.fromisoformat(written)
        ms = (moment if zone else moment.replace(tzinfo=UTC)) - _EPOCH
    except (ValueError, OverflowError):
        return None
    exactly_ms = 10 ** max(0, 3 - len(part or ""))
    lasts_ms = 86_400_000 if minute is None else 60_000 if second is None else exactly_ms
    return Instant(ms // timedelta(milliseconds=1), lasts_ms, naive=found["zone"] is None)


def same_text(name: str, text: str) -> str:
    """What is equal for two texts of a field that say the same: blanks around it, and zeros behind an age, do not."""
    text = text.strip()
    return text.rstrip("0").rstrip(".") if name in AGES and _PLAIN_NUMBER.fullmatch(text) else text


def spelt_alike(text: str) -> str:
    """What is equal for two ids that a spreadsheet, or a person, may have made of one.

    The case, blanks and signs that are not seen, wide letters, zeros before a number and `.0` behind it: two ids that
    differ in nothing else may be one, and may be two.
    """
    text = "".join(unicodedata.normalize("NFKC", text).casefold().split())
    text = text if text.isascii() else "".join(each for each in text if unicodedata.category(each) != "Cf")
    number = _NUMBER.fullmatch(text)
    return number[1] if number else text
