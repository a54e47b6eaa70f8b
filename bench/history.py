"""`python -m bench.history`: is everything as fast after ten million events as after ten thousand?

Makes a journal of each (`bench.past`), asks both the same (`bench.asked`), and lets the bridge work with both
(`bench.bridging`), in turns. Exit 1 if an answer is wrong; speed never fails.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections import defaultdict
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median

from bench import asked, bridging, past
from bench.folder import Folder, folder, sync_ms
from bench.processes import ended
from bench.report import machine, table
from glycanbridge.journals import open_questions

SHORT = 10_000
Measured = dict[str, dict[int, list[float]]]
"""For each thing that is measured, and each number of events, a figure of each round."""


class History:
    """A short and a long past, and what was measured with them."""

    def __init__(self, made: dict[int, Folder]) -> None:
        self._made = made
        self.measured: Measured = defaultdict(lambda: defaultdict(list))
        self.wrong: list[str] = []
        for count, each in made.items():
            began = time.perf_counter()
            past.make(each.journal, count)
            shutil.copy(each.journal, self._kept(count)) if count == SHORT else None
            print(f"{count:,} events made in {time.perf_counter() - began:.0f} s", file=sys.stderr)
            self._note(count, {"the file, for each event: bytes": each.journal.stat().st_size / count})

    def ask(self) -> None:
        """Every question once, of both, over a connection of its own, as a command asks it."""
        of_each = [asked.questions(made.journal, count) for count, made in self._made.items()]
        for same in zip(*of_each, strict=True):
            for (count, made), question in zip(self._made.items(), same, strict=True):
                with closing(open_questions(f"sqlite:///{made.journal}")) as questions:
                    began = time.perf_counter()
                    rows = len(question.ask(questions))
                    self._note(count, {f"{question.name}: ms": (time.perf_counter() - began) * 1000})
                if rows != question.rows:
                    self.wrong.append(f"{count:,} events: {question.name}: {rows} rows, not {question.rows}")

    def start(self) -> None:
        """Start the bridge on both."""
        for count, made in self._made.items():
            self._note(count, bridging.start(made))

    def work(self, *, number: int, events: int) -> None:
        """Record and deliver so many. The short past is laid anew each time: else it would soon be none."""
        for count, made in self._made.items():
            if count == SHORT:
                for each in made.journal.parent.glob("journal.db*"):
                    each.unlink()
                shutil.copy(self._kept(count), made.journal)
            first = 2 * past.KITS + number * events  # kits that are not in it yet
            self._note(count, bridging.accept(made.journal, first=first, count=events, wrong=self.wrong.append))
            self._note(count, bridging.deliver(made.journal, count=events // 2, wrong=self.wrong.append))

    def _kept(self, count: int) -> Path:
        return self._made[count].journal.with_name("kept.db")

    def _note(self, count: int, figures: dict[str, float]) -> None:
        for name, value in figures.items():
            self.measured[name][count].append(value)


def as_text(measured: Measured) -> str:
    """The medians, and the ratio of the long past to the short one."""
    rows = []
    for name, each in measured.items():
        short, long = (median(values) for values in each.values())
        rows.append([name, f"{short:,.2f}", f"{long:,.2f}", f"{long / short:.2f}"])
    counts = next(iter(measured.values()))
    return "\n".join(table([["", *(f"{count:,} events" for count in counts), "ratio"], *rows]))


def _run(told: argparse.Namespace) -> int:
    disk_sync_ms = sync_ms(told.folder)
    with ExitStack() as stack:
        counts = (SHORT, told.events)
        history = History({each: stack.enter_context(folder(told.folder, destinations=0)) for each in counts})
        for _ in range(told.rounds):
            history.start()
            for _ in range(3):
                history.ask()
        for number in range(told.rounds):
            history.work(number=number, events=told.record)
    told_of_machine = machine(disk_sync_ms)
    print(", ".join(f"{name} {value}" for name, value in told_of_machine.items()))
    print(f"{told.rounds} rounds; medians\n")
    print(as_text(history.measured))
    for each in history.wrong:
        print(f"BROKEN {each}")
    if told.json is not None:
        figures = {"machine": told_of_machine, "measured": history.measured, "wrong": history.wrong}
        told.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 1 if history.wrong else 0


def main() -> int:
    """The exit status: 0; 1 if an answer was wrong; 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m bench.history", description=__doc__)
    add = parser.add_argument
    add("--events", type=int, default=10_000_000, metavar="N", help="in the long past, 20000 at least (10000000)")
    add("--rounds", type=int, default=5, metavar="N", help="each of both (5)")
    add(
        "--record",
        type=int,
        default=8_000,
        metavar="N",
        help="new events in each round: enough for several checkpoints (8000)",
    )
    add("--folder", type=Path, metavar="DIR", help="where to make the journals: 0.7 kB for each event")
    add("--json", type=Path, metavar="FILE", help="write all figures there, too")
    arguments = parser.parse_args()
    return ended(lambda: _run(arguments))


if __name__ == "__main__":
    sys.exit(main())
