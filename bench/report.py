"""Medians and ratios of the measurements: as a table for people, as JSON for machines."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from statistics import median

import apsw

from bench.rounds import SERVERS, Measurement, Plan

FIGURES = ("events_per_s", "p50_ms", "p99_ms", "worst_ms", "cpu_s_per_1000", "memory_mb", "load_busy")
RATIOS = ("events_per_s", "p50_ms", "p99_ms", "cpu_s_per_1000", "memory_mb")
_FORMATS: dict[str, tuple[str, str]] = {
    "events_per_s": ("events/s", "{:,.0f}"),
    "p50_ms": ("p50 ms", "{:.2f}"),
    "p99_ms": ("p99 ms", "{:.2f}"),
    "worst_ms": ("worst ms", "{:.1f}"),
    "cpu_s_per_1000": ("CPU s/1,000", "{:.3f}"),
    "memory_mb": ("memory MB", "{:.1f}"),
    "load_busy": ("load busy", "{:.0%}"),
}
Figures = dict[str, float | None]


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


def medians(measured: Sequence[Measurement]) -> list[dict[str, object]]:
    """For each server and number of connections the median of every figure over the rounds."""
    return [
        {"server": server, "connections": connections, **_figures(measured, server, connections)}
        for connections in _connections(measured)
        for server in SERVERS
    ]


def ratios(measured: Sequence[Measurement]) -> list[dict[str, object]]:
    """For each number of connections and figure: ours / bare within one round, the median, the least and the most."""
    return [
        {"connections": connections, **{name: _ratio(measured, connections, name) for name in RATIOS}}
        for connections in _connections(measured)
    ]


def as_json(plan: Plan, measured: Sequence[Measurement], sync_ms: float) -> dict[str, object]:
    """All there is to tell."""
    return {
        "machine": machine(sync_ms),
        "plan": {
            "connections": plan.connections,
            "rounds": plan.rounds,
            "seconds": plan.seconds,
            "most_requests": plan.most_requests,
            "destinations": plan.destinations,
            "pinned": plan.cores.pinned,
        },
        "medians": medians(measured),
        "ratios": ratios(measured),
        "measurements": [asdict(each) for each in measured],
    }


def as_text(plan: Plan, measured: Sequence[Measurement], sync_ms: float) -> str:
    """The table of medians, the ratios, and whatever went wrong."""
    where = "pinned" if plan.cores.pinned else "free"
    told = [", ".join(f"{name} {value}" for name, value in machine(sync_ms).items())]
    told.append(f"{plan.rounds} rounds of {plan.seconds:g} s, {plan.destinations} destinations; medians")
    titles = ["server", "connections", "cores", *(_FORMATS[name][0] for name in FIGURES)]
    rows = [
        [each["server"], each["connections"], where, *(_shown(name, each[name]) for name in FIGURES)]
        for each in medians(measured)
    ]
    told += ["", *table([titles, *rows])]
    titles = ["ours / bare", "connections", *(_FORMATS[name][0] for name in RATIOS)]
    rows = [["", each["connections"], *(spread(each[name]) for name in RATIOS)] for each in ratios(measured)]
    told += ["", *table([titles, *rows])]
    return "\n".join([*told, *(f"\n{line}" for line in troubles(measured))])


def troubles(measured: Iterable[Measurement]) -> list[str]:
    """Everything that should not have been, a line each."""
    told = []
    for each in measured:
        where = f"round {each.round}, {each.server}, {each.connections} connections"
        if each.other_statuses:
            told.append(f"{where}: answered otherwise than 200: {each.other_statuses}")
        if each.unanswered:
            told.append(f"{where}: {each.unanswered} requests were not answered")
        told += [f"{where}: {line}" for line in each.missing]
    if any(each.memory_mb is None for each in measured):
        told.append("CPU and memory are left out: this system has no /proc")
    return told


def _connections(measured: Iterable[Measurement]) -> list[int]:
    return list(dict.fromkeys(each.connections for each in measured))


def _figures(measured: Iterable[Measurement], server: str, connections: int) -> Figures:
    rounds = [each for each in measured if (each.server, each.connections) == (server, connections)]
    return {name: _over([getattr(each, name) for each in rounds], median) for name in FIGURES}


def _over(values: Sequence[float | None], rule: Callable[[list[float]], float]) -> float | None:
    known = [value for value in values if value is not None]
    return rule(known) if known else None


def _ratio(measured: Iterable[Measurement], connections: int, name: str) -> tuple[float, float, float] | None:
    by_round: dict[int, dict[str, float | None]] = {}
    for each in measured:
        if each.connections == connections:
            by_round.setdefault(each.round, {})[each.server] = getattr(each, name)
    found = [ours / bare for pair in by_round.values() if (ours := pair.get("ours")) and (bare := pair.get("bare"))]
    return (median(found), min(found), max(found)) if found else None


def _shown(name: str, value: object) -> str:
    return "-" if value is None else _FORMATS[name][1].format(value)


def spread(ratio: object) -> str:
    """A ratio's median and, in brackets, the least and the most of it."""
    if not isinstance(ratio, tuple):
        return "-"
    middle, least, most = ratio
    return f"{middle:.2f} ({least:.2f}-{most:.2f})"


def table(rows: Sequence[Sequence[object]]) -> list[str]:
    """Rows of cells as lines: the first column to the left, the others to the right."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    return [
        "  ".join(cell.ljust(width) if not index else cell.rjust(width) for index, (cell, width) in enumerate(cells))
        for cells in (list(zip(row, widths, strict=True)) for row in texts)
    ]
