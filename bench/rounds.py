"""The measurements: for each round and number of connections the bare server, then ours, each in a new process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench import kept
from bench.folder import Folder, folder
from bench.load import Answers
from bench.processes import Cores, Failed, cpu_s, memory_mb, running, serving

Server = Literal["bare", "ours"]
SERVERS: tuple[Server, ...] = ("bare", "ours")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be measured, and how long."""

    connections: tuple[int, ...]
    rounds: int
    seconds: float
    most_requests: int
    destinations: int
    cores: Cores
    within: Path | None
    """Where the temporary folders are made; `None`: the system's place."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One server under one load, once."""

    server: Server
    connections: int
    round: int
    pinned: bool
    events: int
    """Answered 200."""
    events_per_s: float
    p50_ms: float
    p99_ms: float
    worst_ms: float
    cpu_s_per_1000: float | None
    """CPU seconds of the server for 1,000 events; `None` where the system does not tell."""
    memory_mb: float | None
    """The most memory that the server held; `None` where the system does not tell."""
    load_busy: float
    """The share of the time that the load was computing; near 1, the load was the limit."""
    other_statuses: dict[str, int]
    unanswered: int
    missing: tuple[str, ...]
    """What the journal did not hold that it should."""


def measurements(plan: Plan) -> Iterator[Measurement]:
    """Every measurement of the plan, as it is made. Raises `Failed` if a server or the load does not run."""
    for number in range(1, plan.rounds + 1):
        for connections in plan.connections:
            for server in SERVERS:
                yield _measure(plan, server, connections, number)


def _measure(plan: Plan, server: Server, connections: int, number: int) -> Measurement:
    with folder(plan.within, destinations=plan.destinations) as made:
        ours = ("glycanbridge", ("serve", "-c", str(made.bridge_yaml)))
        module, arguments = ours if server == "ours" else ("bench.bare", ())
        with serving(module, arguments, core=plan.cores.server, errors=made.errors) as (process, url):
            before_s = cpu_s(process.pid)
            answers = _load(plan, url, connections, made)
            after_s, most_mb = cpu_s(process.pid), memory_mb(process.pid)
            missing = (
                kept.missing(made.journal, answers.accepted, destinations=plan.destinations) if server == "ours" else []
            )
    events = len(answers.accepted)
    told = before_s is not None and after_s is not None and events
    return Measurement(
        server=server,
        connections=connections,
        round=number,
        pinned=plan.cores.pinned,
        events=events,
        events_per_s=answers.events_per_s,
        p50_ms=answers.p50_ms,
        p99_ms=answers.p99_ms,
        worst_ms=answers.worst_ms,
        cpu_s_per_1000=((after_s or 0) - (before_s or 0)) / events * 1000 if told else None,
        memory_mb=most_mb,
        load_busy=answers.busy,
        other_statuses=answers.other_statuses,
        unanswered=answers.unanswered,
        missing=tuple(missing),
    )


def _load(plan: Plan, url: str, connections: int, made: Folder) -> Answers:
    arguments = (url, str(made.secret), str(connections), str(plan.seconds), str(plan.most_requests))
    with running("bench.load", *arguments, core=plan.cores.load, errors=made.errors) as process:
        told, _ = process.communicate()
    if process.returncode:
        raise Failed(f"the load ended with {process.returncode}\n{made.errors.read_text(encoding='utf-8')}")
    return Answers(**json.loads(told))
