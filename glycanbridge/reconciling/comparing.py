"""What GlycanAge has, held against what the journal holds: what is missing, and what speaks against making it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

from glycanbridge.errors import ParseError
from glycanbridge.journal import Questions
from glycanbridge.reconciling.held import IDENTITY, Facts, Held, Pause, told
from glycanbridge.reconciling.making import Made, make
from glycanbridge.reconciling.rows import Kind, Row, read_instant, same_text, spelt_alike

What = Literal["missing", "different", "contradicts", "incomplete"]
MOST_OTHERS = 3
"""So many other rows are named: a wrong column makes all rows of an export one thing, and each would name them all."""
_PATIENT = ("patientId", "testId", "kitCode")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A row that is not simply held."""

    row: Row
    what: What
    why: str = ""
    made: Made | None = field(default=None, repr=False)
    """The event that is to be kept, of a missing one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All that was found. The counts are of rows."""

    kind: Kind
    findings: tuple[Finding, ...]
    """In the order of the rows."""
    held: int = 0
    """Those that the journal holds just so."""
    outside: int = 0
    """Those of another time than was asked for."""
    not_yet: int = 0
    """Those in which there is no such thing yet."""
    repeated: int = 0
    """Those that say again what another one has said."""
    naive: int = 0
    """Those whose time has no zone, and was taken as UTC."""

    @property
    def missing(self) -> list[Made]:
        """The events that are to be kept."""
        return [each.made for each in self.findings if each.made is not None]

    def count(self, what: What) -> int:
        """How many were found to be so."""
        return sum(each.what == what for each in self.findings)


def _no_pause() -> None:
    pass


def compare(
    rows: Iterable[Row],
    *,
    kind: Kind,
    journal: Questions,
    since: int | None = None,
    until: int | None = None,
    pause: Pause = _no_pause,
) -> Comparison:
    """Hold rows against the journal; those that came to be before `since`, or not before `until`, are passed over.

    Nothing is changed. A row whose time cannot be read is looked at. Raises `JournalUnavailable`, and what `rows` and
    `pause` raise.
    """
    held = Held(kind)
    for data in told(journal, kind.event_type, pause):
        held.add(data)
    counts: Counter[str] = Counter()
    found: list[Finding | Row] = []
    for row in rows:
        what = _first_look(row, kind, since, until)
        differ = held.differences(row) if what is None else None
        if what is not None or differ == ():
            counts[what or "held"] += 1
            continue
        at = read_instant(row.values.get(kind.at))
        counts["naive"] += at is not None and at.naive
        found.append(row if differ is None else Finding(row=row, what="different", why=_different(differ)))
    missing = [each for each in found if isinstance(each, Row)]
    judged = _judged(missing, held, journal, pause) if missing else {}
    findings = [judged[id(each)] if isinstance(each, Row) else each for each in found]
    counts.update(each for each in findings if isinstance(each, str))
    return Comparison(kind=kind, findings=tuple(each for each in findings if isinstance(each, Finding)), **counts)


def _first_look(row: Row, kind: Kind, since: int | None, until: int | None) -> str | None:
    """Why a row is not looked at any closer, if it is not."""
    if not row.values.get(kind.key[0]) and not row.values.get(kind.sign):
        return "not_yet"
    if kind.sign == kind.at and not row.values.get(kind.sign):
        return "not_yet"
    at = read_instant(row.values.get(kind.at))
    if at is not None and not ((since is None or at.ms >= since) and (until is None or at.ms + at.lasts_ms <= until)):
        return "outside"
    return None


def _judged(
    rows: list[Row], held: Held, journal: Questions, pause: Pause
) -> dict[int, Finding | Literal["held", "repeated"]]:
    """What is found of each row that is not plainly held, by its `id()`."""
    kind, facts = held.kind, Facts(rows)
    facts.gather(journal, pause)
    by_key: dict[tuple[str, ...], list[Row]] = {}
    judged: dict[int, Finding | Literal["held", "repeated"]] = {}
    for row in rows:
        known = facts.about(row)
        whole = Row(row.place, {name: texts[0] for name, texts in known.items() if len(texts) == 1} | dict(row.values))
        key = tuple(spelt_alike(whole.values.get(name, "")) for name in kind.key)
        same = by_key.setdefault(key, []) if "" not in key else []
        judged[id(row)] = (
            "repeated"
            if same and _agree(row, same[0], kind)
            else _finding(row, whole, known, held, facts.spelt_otherwise(row))
        )
        if judged[id(row)] != "repeated":
            same.append(row)
    for same in by_key.values():
        for row in same if len(same) > 1 else ():
            others = ", ".join(each.place for each in islice((each for each in same if each is not row), MOST_OTHERS))
            others += ", and more" if len(same) > MOST_OTHERS + 1 else ""
            why = f"could this be the wrong patient? Another row of it says otherwise: {others}"
            judged[id(row)] = Finding(row=row, what="contradicts", why=why)
    return judged


def _finding(
    row: Row, whole: Row, known: Mapping[str, tuple[str, ...]], held: Held, spelt: list[str]
) -> Finding | Literal["held"]:
    """What is found of a row, and of the `whole` of it: with what is known besides, where that is one thing.

    `spelt`: the fields that are known in another spelling.
    """
    differ = held.differences(whole) if whole.values.keys() != row.values.keys() else None
    if differ is not None:  # what makes it the same was not all in the row
        return Finding(row=row, what="different", why=_different(differ)) if differ else "held"
    contradicted = _contradicted(row, known)
    spelt = [*spelt, held.kind.key[0]] if held.is_spelt_otherwise(whole) else spelt
    if not contradicted and spelt:
        contradicted = f"the journal has another spelling of its {' and '.join(spelt)}: could it be the same?"
    elif not contradicted and held.is_called_otherwise(whole):
        contradicted = f"the journal has another {held.kind.key[0]} of the same test and time: could it be the same?"
    if contradicted:
        return Finding(row=row, what="contradicts", why=contradicted)
    if row.doubt:
        return Finding(row=row, what="incomplete", why=row.doubt)
    kind, values = held.kind, whole.values
    lacking = [name for name in kind.fields if name not in values and name != "reportUrl"]
    if lacking:
        several = [name for name in lacking if len(known.get(name, ())) > 1]
        why = f"not known: {', '.join(lacking)}" + (f" (several: {', '.join(several)})" if several else "")
        return Finding(row=row, what="incomplete", why=why)
    try:
        return Finding(row=row, what="missing", why="no event of it has come", made=make(kind, values))
    except ParseError as error:
        return Finding(row=row, what="incomplete", why=str(error))


def _contradicted(row: Row, known: Mapping[str, tuple[str, ...]]) -> str:
    """In which fields what is known of the kit and the test does not agree, in words; empty if it does."""
    fields = [name for name in IDENTITY if name != "assignmentId" and len(known[name]) > 1]
    assignment = row.values.get("assignmentId", "").strip()
    if assignment and known["assignmentId"] and assignment not in map(str.strip, known["assignmentId"]):
        fields.append("assignmentId")
    if not fields:
        return ""
    ask = ": could this be the wrong patient?" if set(fields) & set(_PATIENT) else ""
    return f"another {' and '.join(fields)} for its kit or test{ask}"


def _agree(row: Row, other: Row, kind: Kind) -> bool:
    """Whether two rows say the same wherever both say something."""
    names = [name for name in kind.fields if name in row.values and name in other.values and name not in kind.moving]
    return all(same_text(name, row.values[name]) == same_text(name, other.values[name]) for name in names)


def _different(fields: tuple[str, ...]) -> str:
    return f"the journal has another {', '.join(fields)}"
