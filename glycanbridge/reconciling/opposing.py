"""The events that rows differ from, or that are newer than they: found in a second pass, and for such rows alone.

Of what is held there are only numbers in memory. So these rows cost a second pass, and without them there is none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from glycanbridge.journal import Questions
from glycanbridge.reconciling.held import Held, Pause, Told, told
from glycanbridge.reconciling.rows import Kind, Row


@dataclass(frozen=True, slots=True)
class Opposed:
    """A row that an event in the journal speaks against."""

    row: Row
    whole: Row
    """With what is known besides."""
    fields: tuple[str, ...] = ()
    """In what they differ; none of it if the event is a newer thing of the same test."""


@dataclass(frozen=True, slots=True)
class Opposing:
    """The event that speaks against a row, and both values of the fields in which they differ."""

    id: str
    row: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    held: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)


def opposing(rows: Iterable[Opposed], kind: Kind, journal: Questions, pause: Pause) -> dict[int, Opposing]:
    """What speaks against each row, by the `id()` of the row: of several events the one that came last.

    Raises `JournalUnavailable` and what `pause` raises.
    """
    rows = tuple(rows)
    by_key: dict[tuple[str, str], list[Opposed]] = defaultdict(list)
    for each in rows:
        name = _found_by(each, kind)
        by_key[name, each.whole.values.get(name, "").strip()].append(each)
    found: dict[int, Told] = {}
    for event in told(journal, kind.event_type, pause):
        for name in {kind.key[0], "testId"}:
            for each in by_key.get((name, str(event.data.get(name)).strip()), ()):
                if _speaks_against(event, each, kind):
                    found[id(each.row)] = event
    return {id(each.row): _told(each, found[id(each.row)]) for each in rows if id(each.row) in found}


def _found_by(each: Opposed, kind: Kind) -> str:
    """By which field such an event is found."""
    return kind.key[0] if each.fields else "testId"


def _speaks_against(event: Told, each: Opposed, kind: Kind) -> bool:
    held = Held(kind)
    held.add(event.data)
    return held.differences(each.whole) == each.fields if each.fields else held.has_newer(each.whole)


def _told(each: Opposed, event: Told) -> Opposing:
    return Opposing(
        event.id,
        {name: each.whole.values[name] for name in each.fields},
        {name: event.data.get(name) for name in each.fields},
    )
