"""The journal's schema as numbered steps, each one an SQL file that is never changed once released.

`migrations/sqlite/0001_....sql` is version 1. A later step only adds (expand first, contract a release later), so that
an older program can still read what a newer one wrote during a rolling upgrade.
"""

from __future__ import annotations

from importlib import resources
from typing import NamedTuple


class Step(NamedTuple):
    """One step of the schema."""

    version: int
    sql: str


def steps(dialect: str) -> list[Step]:
    """Every step of a dialect (`sqlite`), the first one first. Versions count from 1 without gaps."""
    folder = resources.files("glycanbridge.journals") / "migrations" / dialect
    files = sorted((each for each in folder.iterdir() if each.name.endswith(".sql")), key=lambda each: each.name)
    return [Step(int(each.name.partition("_")[0]), each.read_text("utf-8")) for each in files]


def newest(dialect: str) -> int:
    """The version that this program makes."""
    return steps(dialect)[-1].version
