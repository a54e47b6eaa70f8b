"""What is found when a plugin is held against a rule."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

UNUSABLE = "mend first what keeps it from being loaded"
WITHOUT_TESTS = "its tests were not run: leave --without-tests out"


class State(StrEnum):
    """Whether a rule is kept."""

    MET = "met"
    MISSING = "missing"
    NOT_KNOWN = "not known"
    """It could not be looked at; it does not count as kept."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a rule is kept, and how that was seen, or what to do about it."""

    state: State
    told: str
    output: str = ""
    """The last lines of what was run, where it failed."""


def met(seen: str) -> Verdict:
    """The rule is kept: `seen` says how that is known."""
    return Verdict(State.MET, seen)


def missing(do: str, output: str = "") -> Verdict:
    """The rule is not kept: `do` says what is to be done."""
    return Verdict(State.MISSING, do, output)


def not_known(do: str) -> Verdict:
    """Nobody could look: `do` says how it can be shown."""
    return Verdict(State.NOT_KNOWN, do)


def listed(names: list[str]) -> str:
    """The first of some names, and how many more there are."""
    more = len(names) - 5
    return ", ".join(names[:5]) + (f" and {more} more" if more > 0 else "")
