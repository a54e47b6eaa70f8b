"""The cases of `bench.deliveries`, and their medians and ratios: as tables for people, as plain values for machines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal

from bench.lives import Figures
from bench.report import spread, table

_FORMATS = {
    "deliveries_per_s": ("deliveries/s", "{:,.0f}"),
    "bridge_cpu": ("CPU s/1,000: bridge", "{:.3f}"),
    "hosts_cpu": ("hosts", "{:.3f}"),
    "memory_mb": ("memory MB", "{:.1f}"),
    "commits": ("commits/1,000", "{:.0f}"),
    "in_hand": ("in hand", "{:.0f}"),
}
_RATIOS = {"ms_each": "time each", "cpu": "CPU", "memory_mb": "memory", "commits": "commits"}


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is measured: deliveries from this backlog, by these destinations and lanes."""

    pending: int
    """For each destination."""
    isolation: Literal["process", "thread"] = "process"
    destinations: int = 1
    lanes: int = 1
    """Of each destination."""
    paused: int = 0
    """Deliveries of another destination, which is paused."""

    def __str__(self) -> str:
        told = [f"{self.pending:,} pending", self.isolation]
        told += [f"{self.destinations} destinations"] if self.destinations > 1 else []
        told += [f"{self.lanes} lanes"] if self.lanes > 1 else []
        told += [f"beside {self.paused:,} paused"] if self.paused else []
        return ", ".join(told)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One case, once."""

    case: Case
    round: int
    figures: Figures
    wrong: tuple[str, ...]
    """What the journal and the plugin did not agree about."""


def medians(measured: Sequence[Measurement]) -> list[dict[str, object]]:
    """For each case the median of every figure over the rounds."""
    return [
        {"case": str(case), **{name: median(_values(measured, case, name)) for name in _FORMATS}}
        for case in _cases(measured)
    ]


def ratios(measured: Sequence[Measurement]) -> list[dict[str, object]]:
    """Each case / the case that it is to be compared with, within one round: the median, the least and the most."""
    told: list[dict[str, object]] = []
    for case in _cases(measured):
        plain = replace(case, destinations=1, lanes=1, paused=0)
        shortest = replace(plain, pending=min(each.pending for each in _cases(measured)))
        beside = shortest if case == plain else plain
        if beside != case and beside in _cases(measured):
            names = {name: _ratio(measured, case, beside, name) for name in _RATIOS}
            told.append({"case": str(case), "beside": str(beside), **names})
    return told


def as_text(measured: Sequence[Measurement]) -> str:
    """The medians, the ratios, and whatever went wrong."""
    titles = ["case", *(title for title, _ in _FORMATS.values())]
    rows = [
        [each["case"], *(shown.format(each[name]) for name, (_, shown) in _FORMATS.items())]
        for each in medians(measured)
    ]
    told = table([titles, *rows])
    rows = [
        [f"{each['case']} / {each['beside']}", *(spread(each[name]) for name in _RATIOS)] for each in ratios(measured)
    ]
    told += ["", *table([["ratio", *_RATIOS.values()], *rows])]
    wrong = [f"round {each.round}, {each.case}: {line}" for each in measured for line in each.wrong]
    return "\n".join([*told, *(f"BROKEN: {line}" for line in wrong)])


def _cases(measured: Sequence[Measurement]) -> list[Case]:
    return list(dict.fromkeys(each.case for each in measured))


def _values(measured: Sequence[Measurement], case: Case, name: str) -> list[float]:
    return [_value(each.figures, name) for each in measured if each.case == case]


def _value(figures: Figures, name: str) -> float:
    return figures.bridge_cpu + figures.hosts_cpu if name == "cpu" else float(getattr(figures, name))


def _ratio(measured: Sequence[Measurement], case: Case, beside: Case, name: str) -> tuple[float, float, float] | None:
    pairs = zip(_values(measured, case, name), _values(measured, beside, name), strict=True)
    found = [ours / theirs for ours, theirs in pairs if theirs and not math.isnan(ours / theirs)]
    return (median(found), min(found), max(found)) if found else None
