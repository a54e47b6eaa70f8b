"""Which file an event belongs into: its name, and the folder of its practice."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from typing import Literal

Rotation = Literal["day", "month", "year", "never"]
_PERIODS: dict[Rotation, str] = {
    "day": "-{0.year:04}-{0.month:02}-{0.day:02}",
    "month": "-{0.year:04}-{0.month:02}",
    "year": "-{0.year:04}",
    "never": "",
}
_PLAIN = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_DEVICES = re.compile(r"con|prn|aux|nul|(com|lpt)[0-9]")
"""What Windows takes for a device wherever it stands."""


def file_name(event_type: str, local: datetime, rotate: Rotation) -> str:
    """The name of the file for events of this type at this local time."""
    return f"{event_type}{_PERIODS[rotate].format(local)}.csv"


def folder_of(practice_id: str) -> str:
    """The name of a practice's folder, its id if that is harmless; no two practices ever have the same one.

    The id comes from outside: it must not choose a path, nor a name that some file system takes for another's (letter
    case, accents, trailing dots, devices, length). So any other is told by its digest, behind what can be read of it;
    no harmless id has a `~`.
    """
    if _PLAIN.fullmatch(practice_id) and not _DEVICES.fullmatch(practice_id):
        return practice_id
    readable = re.sub("[^a-z0-9_]", "_", practice_id[:32].lower())
    return f"{readable}~{hashlib.sha256(practice_id.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"
