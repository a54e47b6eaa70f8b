"""What the bridge itself does with a journal that has a past: it starts, records events, claims and settles."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from bench.folder import Folder
from bench.past import event
from bench.processes import memory_mb, serving
from glycanbridge.delivery import Claim, Ended, Outcome, Result, Settlement, State, steady_clock, wall_clock
from glycanbridge.events import parse
from glycanbridge.journal import Filter, NewEvent, Terms
from glycanbridge.journals import open_questions
from glycanbridge.journals.database import Database
from glycanbridge.journals.opening import open_journal
from glycanbridge.journals.order import Order
from glycanbridge.journals.recording import Recording
from glycanbridge.journals.timekeeper import Timekeeper

GROUP = 16
BATCH = 64
Figures = dict[str, float]


def start(made: Folder) -> Figures:
    """From the command `serve` until it listens, and the most memory that it held."""
    began = time.perf_counter()
    with serving("glycanbridge", ("serve", "-c", str(made.bridge_yaml)), core=None, errors=made.errors) as (process, _):
        took_ms = (time.perf_counter() - began) * 1000
        return {"serve, until it listens: ms": took_ms, "memory of serve: MB": memory_mb(process.pid) or 0.0}


def accept(journal: Path, *, first: int, count: int, wrong: Callable[[str], None]) -> Figures:
    """Record so many new events, numbered from `first`, in groups."""
    new = [_new(number) for number in range(first, first + count)]
    database = Database(journal, clock=wall_clock, serves=False)
    timekeeper = Timekeeper(database, wall=wall_clock, steady=steady_clock)
    recording, groups, since = Recording(database, timekeeper, Order(database)), [], wall_clock()
    with closing(database):
        began, cpu = time.perf_counter(), time.process_time()
        for at in range(0, count, GROUP):
            group = time.perf_counter()
            database.begin()
            timekeeper.begin()
            for each in new[at : at + GROUP]:
                recording.record(each)
            database.commit()
            groups.append(time.perf_counter() - group)
        cpu, took = time.process_time() - cpu, time.perf_counter() - began
    with closing(open_questions(f"sqlite:///{journal}")) as questions:
        kept = {each.id for each in questions.events(Filter(since=since, limit=2 * count))}
    if kept != {each.id.id for each in new}:
        wrong(f"{len(kept)} of {count} events were recorded")
    return {
        "accept an event: CPU us": cpu / count * 1e6,
        "accept an event: us": took / count * 1e6,
        "accept a group of 16, the slowest in a hundred: ms": sorted(groups)[-len(groups) // 100 - 1] * 1000,
    }


def deliver(journal: Path, *, count: int, wrong: Callable[[str], None]) -> Figures:
    """Claim and settle so many deliveries, in batches."""
    settled, terms = 0, Terms()
    with closing(open_journal(f"sqlite:///{journal}")) as opened:
        cpu = time.process_time()
        for _ in range(count // BATCH):
            claims = opened.claim("ehr", limit=BATCH, terms=terms)
            settled += sum(opened.settle([_delivered(each) for each in claims], terms=terms))
        cpu = time.process_time() - cpu
    if settled != count // BATCH * BATCH:
        wrong(f"{settled} of {count} deliveries were claimed and settled")
    return {"claim and settle a delivery: CPU us": cpu / settled * 1e6}


def _delivered(claim: Claim) -> Ended:
    outcome, settlement = Outcome(result=Result.DELIVERED), Settlement(state=State.DELIVERED)
    return Ended(claim=claim, outcome=outcome, settlement=settlement, took_ms=1)


def _new(number: int) -> NewEvent:
    _, _, body, identity = event(number, wall_clock())
    return NewEvent(event=parse(body), id=identity, body=body, owed_to={"ehr": ()})
