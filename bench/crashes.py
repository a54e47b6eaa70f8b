"""`python -m bench.crashes`: kill the server again and again under load, then compare what was told with what came.

Each life of the server ends by SIGKILL, some moments after it listens or has first answered. After the last one it is
left alone until it owes nothing. Exit 1 if an event that was answered 200 did not come to every destination, or if
anything else of what `bench.promise` says was broken.
"""

from __future__ import annotations

import argparse
import random
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.folder import Folder, folder, install
from bench.load import ANSWER_S
from bench.processes import Failed, Process, ended, serving
from bench.promise import Attempt, Counts, broken, counted, unexplained, unrest
from bench.receipts import received
from bench.senders import Senders
from glycanbridge.delivery import State
from glycanbridge.journal import Filter
from glycanbridge.journals import open_questions
from glycanbridge.lanes import LARGEST_BATCH

HOLDS_MS = {"fast": 0, "slow": 2}
"""The destinations, and how long each takes before, and again after, it writes its receipt."""
CONNECTIONS = 4
LANES = 2
LIVES_S = (0.020, 0.250)
"""The shortest and the longest life under load, counted from a beginning: see `_begin`."""
PAUSES_S = (0.0, 0.05)
"""Between two events of one connection: in every second life or so the lanes have room to catch up."""
STUCK_S = 90.0
"""When nothing at all is settled for so long in the end, something hangs: the longest wait of a rescue is 60 s."""

_DESTINATION = """\
  {name}:
    plugin: receipts
    lanes: {lanes}
    retry:
      schedule_s: [{waits}]
    settings:
      file: {name}.txt
      before_ms: {before_ms}
      after_ms: {after_ms}
"""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be done to the server."""

    kills: int
    seed: int
    """Of the moments of the kills; what the server was doing just then is its own affair."""
    after_kill: Callable[[Path], None] = lambda _journal: None
    """What is done to the journal between two lives: nothing, unless somebody doubts that a loss would be seen."""
    within: Path | None = None
    """Where the temporary folder is made; `None`: the system's place."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What came of it."""

    kills: int
    seconds: float
    """All of it, the last rest too."""
    deliveries_per_s: float
    cut_off: int
    """Attempts that were in flight at a kill."""
    counts: dict[str, Counts]
    """By destination."""
    broken: list[str]
    """What of the promise was not kept, a line each."""


def crash(plan: Plan) -> Report:
    """Kill and restart as planned, let the server come to rest, compare. Raises `Failed` if it does not run or rest."""
    rng, started = random.Random(plan.seed), time.monotonic()
    with folder(plan.within, destinations=0) as made:
        environ = _equip(made)
        senders = Senders(connections=CONNECTIONS, secret=made.secret.read_text(encoding="utf-8"))
        in_flight: set[Attempt] = set()
        for _ in range(plan.kills):
            with _served(made, environ) as (process, url):
                senders.start(url, pause_s=rng.choice(PAUSES_S))
                _begin(rng.choice(("listens", "answers", "delivers")), senders, made)
                time.sleep(rng.uniform(*LIVES_S))
                process.kill()
                if process.wait() != -signal.SIGKILL:
                    raise Failed(f"the server ended by itself\n{made.errors.read_text(encoding='utf-8')}")
            senders.join()
            in_flight |= _running(made.journal)
            plan.after_kill(made.journal)
        with _served(made, environ):
            _rest(made.journal)
        return _report(plan, made, senders, in_flight, seconds=time.monotonic() - started)


def as_text(report: Report) -> str:
    """A table, and what was broken."""
    rows = [("destination", *Counts._fields), *((name, *map(str, each)) for name, each in report.counts.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    told = f"{report.kills} kills cut off {report.cut_off} attempts"
    took = f"{report.seconds:.1f} s, {report.deliveries_per_s:.0f} deliveries/s"
    return "\n".join([*lines, f"{told}; {took}", *(f"BROKEN: {each}" for each in report.broken)])


def _equip(made: Folder) -> dict[str, str]:
    """Install the plugin, add the destinations; the environment to serve in."""
    waits = ", ".join(["0.1"] * 99)  # nothing is to be given up, however often it is cut off
    with made.bridge_yaml.open("a", encoding="utf-8") as file:
        file.write("destinations:\n")
        for name, each_ms in HOLDS_MS.items():
            file.write(_DESTINATION.format(name=name, lanes=LANES, waits=waits, before_ms=each_ms, after_ms=each_ms))
    return install(made, "receipts", "bench.receipts:Receipts")


@contextmanager
def _served(made: Folder, environ: dict[str, str]) -> Iterator[tuple[Process, str]]:
    arguments = ("serve", "-c", str(made.bridge_yaml))
    with serving("glycanbridge", arguments, core=None, errors=made.errors, environ=environ) as served:
        yield served


def _begin(what: str, senders: Senders, made: Folder) -> None:
    """Return when the server listens, has first answered, or has first delivered: plugins' processes take a moment."""
    if what == "answers":
        senders.answered.wait(ANSWER_S)
    if what == "delivers":
        before, started = _receipts_bytes(made), time.monotonic()
        while _receipts_bytes(made) == before and time.monotonic() - started < ANSWER_S:
            time.sleep(0.005)


def _receipts_bytes(made: Folder) -> int:
    files = [made.bridge_yaml.with_name(f"{name}.txt") for name in HOLDS_MS]
    return sum(file.stat().st_size for file in files if file.exists())


def _running(journal: Path) -> set[Attempt]:
    """The attempts that the journal of a dead server holds as running."""
    with closing(open_questions(f"sqlite:///{journal}")) as questions:
        return {(each.id, each.attempts) for each in questions.deliveries(Filter(state=State.RUNNING, limit=1_000_000))}


def _rest(journal: Path) -> None:
    """Return when nothing is owed any more, but for what is dead."""
    with closing(open_questions(f"sqlite:///{journal}")) as questions:
        left, changed = -1, time.monotonic()
        while left:
            now_left = sum(each.pending + each.running for each in questions.owed())
            if now_left != left:
                left, changed = now_left, time.monotonic()
            elif time.monotonic() - changed > STUCK_S:
                raise Failed(f"{left} deliveries hang")
            time.sleep(0.05)


def _report(plan: Plan, made: Folder, senders: Senders, in_flight: set[Attempt], *, seconds: float) -> Report:
    receipts = {name: received(made.bridge_yaml.with_name(f"{name}.txt")) for name in HOLDS_MS}
    counts = {
        name: counted(senders.attempted, senders.acknowledged, [each.report_id for each in got])
        for name, got in receipts.items()
    }
    told = unrest(made.journal, destinations=len(HOLDS_MS))
    with closing(open_questions(f"sqlite:///{made.journal}")) as questions:
        for name, got in receipts.items():
            repeated = unexplained(got, questions.attempts, in_flight)
            found = broken(counts[name], repeated, most_repeats=plan.kills * LANES * LARGEST_BATCH)
            told += [f"{name}: {each}" for each in found]
    return Report(
        kills=plan.kills,
        seconds=seconds,
        deliveries_per_s=sum(map(len, receipts.values())) / seconds,
        cut_off=len(in_flight),
        counts=counts,
        broken=told,
    )


def main() -> int:
    """The exit status: 0; 1 if the promise was broken or the server did not run; 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m bench.crashes", description=__doc__)
    parser.add_argument("--kills", type=int, default=100, metavar="N", help="(100)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), metavar="N", help="as printed before")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where to make the journal")
    arguments = parser.parse_args()
    print(f"--kills {arguments.kills} --seed {arguments.seed}")
    return ended(lambda: _run(Plan(kills=arguments.kills, seed=arguments.seed, within=arguments.folder)))


def _run(plan: Plan) -> int:
    report = crash(plan)
    print(as_text(report))
    return 1 if report.broken else 0


if __name__ == "__main__":
    sys.exit(main())
