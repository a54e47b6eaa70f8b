"""Medians and goals of the measurements: as tables for people, as plain values for machines."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from statistics import median

import apsw

from bench.goals import goals
from bench.scenarios import AtRest, Case, Command, Measurement, UnderLoad

FORMATS = {
    "events_per_s": ("events/s", "{:,.0f}"),
    "p50_ms": ("p50 ms", "{:.2f}"),
    "p99_ms": ("p99 ms", "{:.2f}"),
    "worst_ms": ("worst ms", "{:.1f}"),
    "cpu_s_per_1000": ("CPU s/1,000", "{:.3f}"),
    "memory_mb": ("memory MB", "{:.1f}"),
    "load_busy": ("load busy", "{:.0%}"),
    "deliveries_per_s": ("deliveries/s", "{:,.0f}"),
    "ready_s": ("ready s", "{:.2f}"),
    "idle_percent": ("CPU %", "{:.2f}"),
    "tree_mb": ("with its processes MB", "{:.1f}"),
    "cpu_s": ("CPU s", "{:.3f}"),
}
"""How each figure is called and shown."""


def machine(sync_ms: float) -> dict[str, object]:
    """What a reader must know of the machine, by its properties: neither its name nor a path."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return {
        "cores": affinity or os.cpu_count(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
        "sqlite": apsw.sqlite_lib_version(),
        "disk_sync_ms": round(sync_ms, 3),
        **{name: version(name) for name in ("falcon", "waitress")},
    }


def as_json(measured: Sequence[Measurement]) -> dict[str, object]:
    """All there is to tell."""
    return {
        "medians": [{"case": str(case)} | _medians(measured, case) for case in _cases(measured)],
        "goals": [
            {
                "goal": str(goal),
                "figure": goal.figure,
                "at_least": goal.at_least,
                "at_most": goal.at_most,
                **reached._asdict(),
                "met": goal.met(reached.median),
            }
            for goal in goals()
            if (reached := goal.reached(measured)) is not None
        ],
        "measurements": [asdict(each) | {"case": str(each.case)} for each in measured],
    }


def as_text(measured: Sequence[Measurement]) -> str:
    """A table of medians for each kind of case, the goals, and whatever went wrong."""
    told: list[str] = []
    for kind in (UnderLoad, AtRest, Command):
        told += _figures(measured, kind)
    told += table([["goal", "figure", "promised", "reached", ""], *_goals(measured)])
    told += [f"\nround {each.round}, {each.case}: {line}" for each in measured for line in each.troubles]
    return "\n".join(told)


def _figures(measured: Sequence[Measurement], kind: type[Case]) -> list[str]:
    medians = {case: _medians(measured, case) for case in _cases(measured) if isinstance(case, kind)}
    names = [name for name in FORMATS if any(each.get(name) is not None for each in medians.values())]
    rows = [[str(case), *(_shown(name, each.get(name)) for name in names)] for case, each in medians.items()]
    return [*table([["", *(FORMATS[name][0] for name in names)], *rows]), ""] if rows else []


def _goals(measured: Sequence[Measurement]) -> Iterable[list[str]]:
    for goal in goals():
        reached = goal.reached(measured)
        if reached is not None:
            bound = f"at least {goal.at_least:,}" if goal.at_least is not None else f"at most {goal.at_most:,}"
            name = FORMATS[goal.figure][0]
            shown = spread(reached, FORMATS[goal.figure][1] if goal.over is None else "{:.2f}")
            yield [str(goal), name, bound, shown, "met" if goal.met(reached.median) else "not met"]


def _cases(measured: Iterable[Measurement]) -> list[Case]:
    return list(dict.fromkeys(each.case for each in measured))


def _medians(measured: Iterable[Measurement], case: Case) -> dict[str, float | None]:
    rounds = [each.figures for each in measured if each.case == case]
    known = {name: [value for each in rounds if (value := each.get(name)) is not None] for name in FORMATS}
    return {name: median(values) if values else None for name, values in known.items()}


def first_figure(measured: Measurement) -> list[str]:
    """The most telling one, for whoever waits; nothing if it did not run."""
    return [f"{FORMATS[name][0]} {_shown(name, value)}" for name, value in list(measured.figures.items())[:1]]


def _shown(name: str, value: float | None) -> str:
    return "-" if value is None else FORMATS[name][1].format(value)


def spread(ratio: object, shown: str = "{:.2f}") -> str:
    """A ratio's median and, in brackets, the least and the most of it."""
    if not isinstance(ratio, tuple):
        return "-"
    return f"{shown} ({shown}-{shown})".format(*ratio)


def table(rows: Sequence[Sequence[object]]) -> list[str]:
    """Rows of cells as lines: the first column to the left, the others to the right."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    return [
        "  ".join(cell.ljust(width) if not index else cell.rjust(width) for index, (cell, width) in enumerate(cells))
        for cells in (list(zip(row, widths, strict=True)) for row in texts)
    ]
