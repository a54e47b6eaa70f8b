"""`python -m bench.deliveries`: how many deliveries a second, with a short and with a long backlog in the journal?

The bridge is `glycanbridge serve`, as a user runs it, with an installed plugin that does nothing (`bench.noop`). Exit 1
if a delivery that the plugin took was not settled exactly once, or the other way round; speed never fails.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import backlog
from bench.deliveries_report import Case, Measurement, as_text, medians, ratios
from bench.folder import Folder, folder, install, sync_ms
from bench.lives import Figures, Life
from bench.noop import Taken
from bench.processes import ended, serving
from bench.report import machine

_DESTINATION = """\
  {name}:
    plugin: noop
    isolation: {isolation}
    lanes: {lanes}
    settings:
      counts: {name}.counts
"""
PAUSED = "paused"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be measured."""

    cases: tuple[Case, ...]
    """In each round, one after the other: so a noisy neighbour hits all."""
    deliveries: int
    """How many to measure, of all destinations together."""
    rounds: int
    spoil: Callable[[Path], None] = lambda _journal: None
    """What is done to the journal after each life: nothing, unless somebody doubts that a loss would be seen."""
    within: Path | None = None
    """Where the temporary folders are made; `None`: the system's place."""


def cases(short: int, middling: int, long: int) -> tuple[Case, ...]:
    """What is measured, for three backlogs."""
    return (
        *(Case(pending=each, isolation="process") for each in (short, middling, long)),
        *(Case(pending=each, isolation="thread") for each in (short, middling, long)),
        Case(pending=middling, destinations=4),
        Case(pending=middling, lanes=4),
        Case(pending=short, paused=long),
    )


class Backlog:
    """A folder with a journal, which is filled anew as it is delivered: cases that need the same one share it."""

    def __init__(self, made: Folder, *, destinations: int, paused: int) -> None:
        self.made = made
        self.environ = install(made, "noop", "bench.noop:Noop")
        self._base = made.bridge_yaml.read_text(encoding="utf-8")
        self._added = 0
        self._paused = paused
        self._names = [f"noop-{number}" for number in range(1, destinations + 1)]
        files = {name: made.bridge_yaml.with_name(f"{name}.counts") for name in [*self._names, PAUSED]}
        self.taken = {name: Taken(file, first=paused) for name, file in files.items() if name != PAUSED}
        backlog.make(made.journal)
        if paused:
            Taken(files[PAUSED], first=0)
            backlog.add(made.journal, first=0, count=paused, owed_to=[PAUSED])
            backlog.pause(made.journal, PAUSED)

    def configure(self, case: Case) -> None:
        """Write `bridge.yaml`."""
        names = [*self._names, *([PAUSED] if self._paused else [])]
        told = [_DESTINATION.format(name=name, isolation=case.isolation, lanes=case.lanes) for name in names]
        self.made.bridge_yaml.write_text(f"{self._base}destinations:\n{''.join(told)}", encoding="utf-8")

    def fill_up(self, pending: int) -> None:
        """Add events until each destination is owed so many at least."""
        missing = pending - self._added + max(map(len, self.taken.values()))
        if missing > 0:
            backlog.add(self.made.journal, first=self._paused + self._added, count=missing, owed_to=self._names)
            self._added += missing

    def wrong(self) -> list[str]:
        """What the journal at rest and the plugin do not agree about, a line each."""
        return backlog.wrong(self.made.journal, self.taken, owed=self._added)


def measurements(plan: Plan) -> Iterator[Measurement]:
    """Every measurement of the plan, as it is made. Raises `Failed` if the bridge does not run or deliver."""
    with ExitStack() as stack:
        backlogs: dict[tuple[int, int, int], Backlog] = {}
        for number in range(1, plan.rounds + 1):
            for case in plan.cases:
                key = (case.pending, case.destinations, case.paused)
                if key not in backlogs:
                    made = stack.enter_context(folder(plan.within, destinations=0))
                    backlogs[key] = Backlog(made, destinations=case.destinations, paused=case.paused)
                figures = _measure(plan, case, backlogs[key])
                plan.spoil(backlogs[key].made.journal)
                yield Measurement(case=case, round=number, figures=figures, wrong=tuple(backlogs[key].wrong()))


def _measure(plan: Plan, case: Case, filled: Backlog) -> Figures:
    """One life of the bridge. A short backlog is filled up again and again; what is at its ends does not count."""
    filled.configure(case)
    filled.fill_up(case.pending)
    arguments, made = ("serve", "-c", str(filled.made.bridge_yaml)), filled.made
    with serving("glycanbridge", arguments, core=None, errors=made.errors, environ=filled.environ) as (process, _url):
        return Life(process, made, filled.taken.values()).measured(
            plan.deliveries, pending=case.pending, fill_up=lambda: filled.fill_up(case.pending)
        )


def _run(plan: Plan, json_file: Path | None) -> int:
    disk_sync_ms = sync_ms(plan.within)
    measured: list[Measurement] = []
    for each in measurements(plan):
        measured.append(each)
        told = f"{each.case}: {each.figures.deliveries_per_s:,.0f} deliveries/s"
        print(f"round {each.round} of {plan.rounds}, {told}", file=sys.stderr)
    told_of_machine = machine(disk_sync_ms)
    print(", ".join(f"{name} {value}" for name, value in told_of_machine.items()))
    print(f"{plan.rounds} rounds of {plan.deliveries:,} deliveries; medians\n")
    print(as_text(measured))
    if json_file is not None:
        told_all = {
            "machine": told_of_machine,
            "medians": medians(measured),
            "ratios": ratios(measured),
            "measurements": [asdict(each) for each in measured],
        }
        json_file.write_text(json.dumps(told_all, indent=2) + "\n", encoding="utf-8")
    return 1 if any(each.wrong for each in measured) else 0


def main() -> int:
    """The exit status: 0; 1 if a delivery was not settled exactly once, or none was made; 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m bench.deliveries", description=__doc__)
    add, sizes = parser.add_argument, (1_000, 100_000, 1_000_000)
    add("--pending", type=int, nargs=3, default=sizes, metavar="N", help="three backlogs (1000 100000 1000000)")
    add("--deliveries", type=int, default=10_000, metavar="N", help="to measure, of each backlog (10000)")
    add("--rounds", type=int, default=3, metavar="N", help="each over all cases (3)")
    add("--folder", type=Path, metavar="DIR", help="where to make the journals: the disk that is measured")
    add("--json", type=Path, metavar="FILE", help="write all figures there, too")
    told = parser.parse_args()
    measured = cases(*told.pending)
    plan = Plan(cases=measured, deliveries=told.deliveries, rounds=told.rounds, within=told.folder)
    return ended(lambda: _run(plan, told.json))


if __name__ == "__main__":
    sys.exit(main())
