"""What a doctor says: a finding has a fixed word, a level, what was looked at, what was found, and what to do."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    NOTE = "note"
    """Worth knowing, or not looked at."""
    WARNING = "warning"
    """Goes wrong soon, or may be wrong."""
    PROBLEM = "problem"
    """Events are lost, results do not arrive, or others can read or forge them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at. It holds no secret and nothing of a patient."""

    id: str
    """A fixed word for programs, such as `secrets.length`; several findings may have the same."""
    level: Level
    about: str
    found: str
    do: str = ""
    """What to do, with the command to type."""


def typed(path: Path) -> str:
    """A path as it is typed in a command, also where there are blanks in it."""
    return shlex.quote(str(path))


def ok(identity: str, about: str, found: str) -> Finding:
    """All is well with it."""
    return Finding(id=identity, level=Level.OK, about=about, found=found)


def note(identity: str, about: str, found: str, do: str = "") -> Finding:
    """Worth knowing."""
    return Finding(id=identity, level=Level.NOTE, about=about, found=found, do=do)


def warning(identity: str, about: str, found: str, do: str) -> Finding:
    """Goes wrong soon, or may be wrong."""
    return Finding(id=identity, level=Level.WARNING, about=about, found=found, do=do)


def problem(identity: str, about: str, found: str, do: str) -> Finding:
    """Something is wrong."""
    return Finding(id=identity, level=Level.PROBLEM, about=about, found=found, do=do)
