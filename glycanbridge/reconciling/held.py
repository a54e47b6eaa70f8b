"""What the journal holds: every thing of a kind in a few hundred bytes, and what is known of the kits in question.

A clinic's whole history is gone through, page by page, and nobody's result is kept in memory: of each value there is a
number that is equal for equal ones.
"""

from __future__ import annotations

import json
import struct
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from glycanbridge.journal import Filter, Questions
from glycanbridge.reconciling.rows import KINDS, Kind, Row, read_instant, same_text, spelt_alike

IDENTITY = ("kitCode", "testId", "patientId", "practiceId", "assignmentId")
"""What is the same in all events of one test."""
Pause = Callable[[], None]
"""Called between pages; what it raises ends the work."""


class Told(NamedTuple):
    """An event that is held: its id, and what it tells."""

    id: str
    data: Mapping[str, Any]


def told(journal: Questions, event_type: str, pause: Pause) -> Iterator[Told]:
    """Every event of a type that the journal holds, the oldest first.

    What a disk has damaged is left out: made once more it is there twice, left as it is it may be lost.
    """
    for page in journal.pages(Filter(type=event_type)):
        for each in page:
            try:
                data = json.loads(each.body)["data"]
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
            if isinstance(data, dict):
                yield Told(each.id, data)
        pause()


class Held:
    """The things of one kind that are held, each possibly with several versions."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self._names = tuple(name for name in kind.fields if name not in (kind.at, kind.key[0], *kind.moving))
        self._packed = struct.Struct(f"{len(self._names) + 1}q")
        self._versions: dict[str, list[bytes]] = defaultdict(list)
        self._spelt_alike: dict[str, str] = {}
        self._times: dict[int, list[int]] = defaultdict(list)

    def add(self, data: Mapping[str, Any]) -> None:
        """Add what an event tells."""
        at = data.get(self.kind.at)
        version = self._packed.pack(
            at if type(at) is int and abs(at) < 2**63 else 0, *(_number(name, data.get(name)) for name in self._names)
        )
        key = _text(data.get(self.kind.key[0])).strip()
        self._spelt_alike.setdefault(spelt_alike(key), key)
        versions = self._versions[key]
        if version not in versions:
            versions.append(version)
            self._times[_number("testId", data.get("testId"))].append(self._packed.unpack(version)[0])

    def differences(self, row: Row) -> tuple[str, ...] | None:
        """The fields in which a row is none of the versions of it that are held; none of it if it is one of them.

        `None` if it is not held at all. What the row does not have, or has so that it cannot be read, is not compared.
        """
        key = row.values.get(self.kind.key[0])
        if key is None:
            return None
        at = read_instant(row.values.get(self.kind.at))
        own = {name: _number(name, row.values.get(name)) for name in self._names}
        found = []
        for version in self._versions.get(key.strip(), ()):
            held_at, *rest = self._packed.unpack(version)
            differ = [name for name, held in zip(self._names, rest, strict=True) if own[name] not in (0, held)]
            if not set(differ) & set(self.kind.key):
                found.append((*differ, *((self.kind.at,) if at is not None and not at.may_be(held_at) else ())))
        return min(found, key=len, default=None)

    def is_spelt_otherwise(self, row: Row) -> bool:
        """Whether a row's key is not held, and one is that may be the same."""
        key = row.values.get(self.kind.key[0], "").strip()
        return key not in self._versions and spelt_alike(key) in self._spelt_alike

    def is_called_otherwise(self, row: Row) -> bool:
        """Whether a row's key is not held, and one of the same test and the same time is.

        A report that is issued anew has a time of its own; where a list has ids of its own, no row would be held.
        """
        at = read_instant(row.values.get(self.kind.at))
        if at is None or row.values.get(self.kind.key[0], "").strip() in self._versions:
            return False
        test = _number("testId", row.values.get("testId"))
        return test != 0 and any(at.may_be(each) for each in self._times.get(test, ()))

    def has_newer(self, row: Row) -> bool:
        """Whether one of the same test is held that came to be later than a row, for certain, where that matters."""
        at = read_instant(row.values.get(self.kind.at))
        if at is None or not self.kind.reissued:
            return False
        test = _number("testId", row.values.get("testId"))
        return test != 0 and any(each >= at.over_ms for each in self._times.get(test, ()))


class Facts:
    """What the journal, and the rows that are missing, tell of the kits and tests that those rows are about."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = tuple(rows)
        self._kits: dict[str, dict[str, dict[str, str]]] = {}
        self._tests: dict[str, dict[str, dict[str, str]]] = {}
        self._spellings: dict[tuple[str, str], set[str]] = {}
        for row in self._rows:
            _wanted(self._kits, row.values.get("kitCode"))
            _wanted(self._tests, row.values.get("testId"))
            self._spellings.update({(name, spelt_alike(row.values.get(name, ""))): set() for name in IDENTITY})

    def gather(self, journal: Questions, pause: Pause) -> None:
        """Go through the journal for them, and once more for kits of which a row has named the test alone."""
        for _ in range(2):
            for event_type in ("assignment-status-changed", *KINDS):
                for each in told(journal, event_type, pause):
                    self.add(each.data)
            if not self._kits_of_tests():
                break
        for row in self._rows:  # two rows may contradict each other, too
            self._add({name: row.values.get(name) for name in IDENTITY if name != "assignmentId"})

    def add(self, data: Mapping[str, Any]) -> None:
        """Add what an event tells, if it is about one of them."""
        sets = data.get("sets")
        for each in sets if isinstance(sets, list) else ({},):
            told = {**data, **each} if isinstance(each, dict) else data
            self._add(told)
            for name in IDENTITY:
                text = _text(told.get(name)).strip()
                self._spellings.get((name, spelt_alike(text)), set()).add(text)

    def about(self, row: Row) -> dict[str, tuple[str, ...]]:
        """Every value of each field of `IDENTITY` that is known of the row's kit and test."""
        of_test = self._tests.get(spelt_alike(row.values.get("testId", "")), {})
        kit = row.values.get("kitCode", "").strip() or next(iter(of_test.get("kitCode", ())), "")
        of_kit = self._kits.get(spelt_alike(kit), {})
        return {name: tuple((of_kit.get(name, {}) | of_test.get(name, {})).values()) for name in IDENTITY}

    def spelt_otherwise(self, row: Row) -> list[str]:
        """The fields that the journal knows in another spelling alone, of whatever kit: `7` where there is `007`."""
        told = {name: text for name in IDENTITY if (text := row.values.get(name, "").strip())}
        known = {name: self._spellings[name, spelt_alike(text)] for name, text in told.items()}
        return [name for name, text in told.items() if known[name] and text not in known[name]]

    def _add(self, data: Mapping[str, Any]) -> None:
        told = {name: text for name in IDENTITY if (text := _text(data.get(name))).strip()}
        for things, name in ((self._kits, "kitCode"), (self._tests, "testId")):
            thing = things.get(spelt_alike(told.get(name, "")))
            if thing is not None:
                for field, text in told.items():
                    thing[field].setdefault(text.strip(), text)

    def _kits_of_tests(self) -> bool:
        """Whether there are kits to ask for that were not known before."""
        before = len(self._kits)
        for row in self._rows:
            if not row.values.get("kitCode"):
                of_test = self._tests.get(spelt_alike(row.values.get("testId", "")), {})
                for kit in of_test.get("kitCode", ()):
                    _wanted(self._kits, kit)
        return len(self._kits) > before


def _wanted(things: dict[str, dict[str, dict[str, str]]], name: str | None) -> None:
    if name is not None and name.strip():
        things.setdefault(spelt_alike(name), defaultdict(dict))


def _text(value: object) -> str:
    return str(value) if isinstance(value, str | int | float) else ""


def _number(name: str, value: object) -> int:
    """Equal for values that say the same; 0 for one that says nothing."""
    text = same_text(name, _text(value))
    return hash(text) or 1 if text else 0
