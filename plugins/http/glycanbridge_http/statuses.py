"""What an HTTP status means for a delivery: a table that the operator may overrule. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field


class Meaning(StrEnum):
    """What follows from a status."""

    SUCCESS = "success"
    """The far side has it."""
    TEMPORARY = "temporary"
    """Again by the schedule."""
    DESTINATION = "destination"
    """The far side takes nothing: everything waits."""
    PERMANENT = "permanent"
    """A dead letter."""


def _status(told: int | str) -> str:
    text = str(told).lower()
    known = text.isdecimal() or (text[1:] == "xx" and text[0] in "12345")
    if not (known and len(text) == 3 and text[0] in "12345"):
        raise ValueError("expected a status such as 409, or a range such as 5xx")
    return text


Status = Annotated[int | str, Field(json_schema_extra={"examples": [409, "5xx"]}), AfterValidator(_status)]
"""`409`, or `5xx` for all from 500 to 599."""

DEFAULTS: Mapping[Meaning, tuple[str, ...]] = {
    Meaning.SUCCESS: ("2xx",),
    Meaning.TEMPORARY: ("408", "425", "5xx"),
    Meaning.DESTINATION: ("3xx", "401", "403", "404", "405", "407", "410", "429"),
    Meaning.PERMANENT: ("4xx",),
}
"""What stands in no list of the operator's. A status comes before its range."""


class Statuses:
    """What each status means at one far side."""

    def __init__(self, told: Mapping[Meaning, Sequence[str]]) -> None:
        self._tables = [
            {each: meaning for meaning, listed in table.items() for each in listed} for table in (told, DEFAULTS)
        ]

    def __getitem__(self, status: int) -> Meaning:
        names = (str(status), f"{status // 100}xx")
        found = (table.get(name) for table in self._tables for name in names)
        return next((each for each in found if each is not None), Meaning.DESTINATION)
