"""What GlycanAge has, held against what the journal holds: what is missing, and what speaks against making it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

from glycanbridge.delivery import Clock, wall_clock
from glycanbridge.errors import ParseError
from glycanbridge.identity import short
from glycanbridge.journal import Questions
from glycanbridge.reconciling.held import IDENTITY, Facts, Held, Pause, told
from glycanbridge.reconciling.making import Made, make
from glycanbridge.reconciling.opposing import Opposed, Opposing, opposing
from glycanbridge.reconciling.rows import Kind, Row, read_instant, same_text, spelt_alike

What = Literal["missing", "different", "contradicts", "incomplete"]
MOST_OTHERS = 3
"""So many other rows are named: a wrong column makes all rows of an export one thing, and each would name them all."""
FUTURE_MS = 86_400_000
"""What came to be later than this from now did not: a clock may be wrong, and a time be in another zone."""
_PATIENT = ("patientId", "testId", "kitCode")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A row that is not simply held."""

    row: Row
    what: What
    why: str = ""
    made: Made | None = field(default=None, repr=False)
    """The event that is to be kept, of a missing one."""
    opposing: Opposing | None = field(default=None, repr=False)
    """The event in the journal that it differs from, or that is newer."""


_Judged = Finding | Opposed | Literal["held", "repeated"]


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
        """The events that are to be kept, the oldest first: of two reports of a test the newer one must come last."""
        return sorted((each.made for each in self.findings if each.made is not None), key=lambda made: made.at)

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
    clock: Clock = wall_clock,
) -> Comparison:
    """Hold rows against the journal; those that came to be before `since`, or not before `until`, are passed over.

    Nothing is changed. A row whose time cannot be read is looked at. Raises `JournalUnavailable`, and what `rows` and
    `pause` raise.
    """
    held = Held(kind)
    for each in told(journal, kind.event_type, pause):
        held.add(each.data)
    counts: Counter[str] = Counter()
    found: list[Opposed | Row] = []
    for row in rows:
        what = _first_look(row, kind, since, until)
        differ = held.differences(row) if what is None else None
        if what is not None or differ == ():
            counts[what or "held"] += 1
            continue
        at = read_instant(row.values.get(kind.at))
        counts["naive"] += at is not None and at.naive
        found.append(row if differ is None else Opposed(row, row, differ))
    missing = [each for each in found if isinstance(each, Row)]
    judging = _Judging(held, latest=clock() + FUTURE_MS)
    judged = judging.judged(missing, journal, pause) if missing else {}
    every = [judged[id(each)] if isinstance(each, Row) else each for each in found]
    counts.update(each for each in every if isinstance(each, str))
    opposed = [each for each in every if isinstance(each, Opposed)]
    against = opposing(opposed, kind, journal, pause) if opposed else {}
    findings = (_against(each, against.get(id(each.row))) if isinstance(each, Opposed) else each for each in every)
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


class _Judging:
    """Judges the rows that are not plainly held."""

    def __init__(self, held: Held, *, latest: int) -> None:
        self._held, self._kind, self._latest = held, held.kind, latest

    def judged(self, rows: list[Row], journal: Questions, pause: Pause) -> dict[int, _Judged]:
        """What is found of each row, by its `id()`."""
        kind, facts = self._kind, Facts(rows)
        facts.gather(journal, pause)
        by_key: dict[tuple[str, ...], list[Row]] = {}
        judged: dict[int, _Judged] = {}
        for row in rows:
            known = facts.about(row)
            told = {name: texts[0] for name, texts in known.items() if len(texts) == 1}
            whole = Row(row.place, told | dict(row.values), row.doubt)
            key = tuple(spelt_alike(whole.values.get(name, "")) for name in kind.key)
            same = by_key.setdefault(key, []) if "" not in key else []
            if same and _agree(row, same[0], kind):
                judged[id(row)] = "repeated"
            else:
                judged[id(row)] = self._finding(row, whole, known, facts.spelt_otherwise(row))
                same.append(row)
        for same in by_key.values():
            for row in same if len(same) > 1 else ():
                others = ", ".join(
                    each.place for each in islice((each for each in same if each is not row), MOST_OTHERS)
                )
                others += ", and more" if len(same) > MOST_OTHERS + 1 else ""
                why = f"could this be the wrong patient? Another row of it says otherwise: {others}"
                judged[id(row)] = Finding(row=row, what="contradicts", why=why)
        return judged

    def _finding(self, row: Row, whole: Row, known: Mapping[str, tuple[str, ...]], spelt: list[str]) -> _Judged:
        """What is found of a row, and of the `whole` of it: with what is known besides, where that is one thing.

        `spelt`: the fields that are known in another spelling.
        """
        differ = self._held.differences(whole) if whole.values.keys() != row.values.keys() else None
        if differ is not None:  # what makes it the same was not all in the row
            return Opposed(row, whole, differ) if differ else "held"
        contradicted = _contradicted(row, known)
        spelt = [*spelt, self._kind.key[0]] if self._held.is_spelt_otherwise(whole) else spelt
        if not contradicted and spelt:
            contradicted = f"the journal has another spelling of its {' and '.join(spelt)}: could it be the same?"
        elif not contradicted and self._held.is_called_otherwise(whole):
            contradicted = (
                f"the journal has another {self._kind.key[0]} of the same test and time: could it be the same?"
            )
        if contradicted:
            return Finding(row=row, what="contradicts", why=contradicted)
        if self._held.has_newer(whole):
            return Opposed(row, whole)
        return self._made(row, whole.values, known)

    def _made(self, row: Row, values: Mapping[str, str], known: Mapping[str, tuple[str, ...]]) -> Finding:
        """What is found of a row that nothing speaks against: its event, or why none can be made."""
        if row.doubt:
            return Finding(row=row, what="incomplete", why=row.doubt)
        kind = self._kind
        lacking = [name for name in kind.fields if name not in values and name not in kind.optional]
        if lacking:
            several = [name for name in lacking if len(known.get(name, ())) > 1]
            why = f"not known: {', '.join(lacking)}" + (f" (several: {', '.join(several)})" if several else "")
            return Finding(row=row, what="incomplete", why=why)
        at = read_instant(values[kind.at])
        if at is not None and at.ms > self._latest:
            return Finding(row=row, what="incomplete", why=f"{kind.at} is in the future")
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


def _against(each: Opposed, event: Opposing | None) -> Finding:
    """What is found of a row that an event speaks against: it is none if it was removed in this moment."""
    if each.fields:
        why = f"the journal has another {', '.join(each.fields)}"
        return Finding(row=each.row, what="different", why=why, opposing=event)
    come = f": {short(event.id)}" if event is not None else ""
    why = f"a newer report of its test has come{come}; is this one still wanted?"
    return Finding(row=each.row, what="contradicts", why=why, opposing=event)
