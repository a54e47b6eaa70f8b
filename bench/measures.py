"""One measurement of each kind: a server under load, the bridge at rest, the CPU time of a command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bench import backlog, kept
from bench.folder import folder
from bench.load import Answers, Load
from bench.processes import ROOT, Cores, Failed, memory_mb, tree_cpu_s, tree_memory_mb
from bench.servers import Serving, served, with_noop

Figures = dict[str, float | None]
"""By name; `None` where the system does not tell."""
FREE = Cores(None, None)
EVENTS = 1_000
"""In the journal that the commands are asked about."""
DESTINATIONS = 4
SETTLE_S = 2.0
"""How long the bridge is left alone before it counts as resting: plugins' processes take a moment."""


class Outcome(NamedTuple):
    """What was measured, and everything that should not have been."""

    figures: Figures
    troubles: list[str]
    failed: bool
    """Whether the journal does not hold what was answered 200, or it did not run."""


class _Reading(NamedTuple):
    """What counts up while a server is under load."""

    at_s: float
    cpu_s: float
    taken: int


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What all measurements share."""

    load: Load
    secret: str
    slow_sync: Path
    cores: Cores
    """For what is pinned."""
    within: Path | None
    """Where the temporary folders are made; `None`: the system's place."""
    seconds: float
    """For each measurement under load."""
    idle_s: float

    def under_load(
        self, server: str, *, connections: int, pinned: bool, slow_disk: bool = False, per_s: float = 0
    ) -> Outcome:
        """A server under load, in a new process; `per_s`: requests that are due each second (0: no pause)."""
        cores = self.cores if pinned else FREE
        preload = self.slow_sync if slow_disk else None
        with served(server, secret=self.secret, core=cores.server, within=self.within, preload=preload) as serving:
            if serving.taken:
                time.sleep(SETTLE_S)
            readings: list[_Reading] = []
            answers = self.load.answers(
                serving.url,
                connections=connections,
                seconds=self.seconds,
                per_s=per_s,
                core=cores.load,
                errors=serving.made.errors,
                at_start=lambda: readings.append(_reading(serving)),
            )
            readings.append(_reading(serving))
            figures = _figures(answers, *readings) | {"memory_mb": memory_mb(serving.process.pid)}
            if not serving.taken:
                figures["deliveries_per_s"] = None
            return _outcome(serving, answers, figures)

    def at_rest(self) -> Outcome:
        """The bridge with four destinations in processes of their own and nothing to do."""
        began_s = time.perf_counter()
        with served("ours-4-process", secret=self.secret, core=None, within=self.within) as serving:
            ready_s, pid = time.perf_counter() - began_s, serving.process.pid
            time.sleep(SETTLE_S)
            before = _reading(serving)
            time.sleep(self.idle_s)
            after = _reading(serving)
            figures: Figures = {
                "ready_s": ready_s,
                "idle_percent": 100 * (after.cpu_s - before.cpu_s) / (after.at_s - before.at_s),
                "memory_mb": memory_mb(pid),
                "tree_mb": tree_memory_mb(pid),
            }
            return Outcome(figures, [], failed=False)

    def command(self, words: str) -> Outcome:
        """One of the bridge's commands, in a folder with a small journal."""
        with folder(self.within, destinations=0, secret=self.secret) as made:
            environ, taken = with_noop(made, "process", DESTINATIONS)
            backlog.make(made.journal)
            backlog.add(made.journal, first=0, count=EVENTS, owed_to=list(taken))
            environ["GLYCANBRIDGE_CONFIG"] = str(made.bridge_yaml)
            arguments = words.split()
            if words == "events show":
                listed, _ = _run(["events", "list", "--limit", "1", "--json"], environ)
                arguments.append(json.loads(listed)["id"])
            _, cpu_s = _run(arguments, environ)
            return Outcome({"cpu_s": cpu_s}, [], failed=False)


def _run(arguments: Sequence[str], environ: Mapping[str, str]) -> tuple[str, float]:
    """What a command of the bridge prints, and its CPU seconds, user and system."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        command = [sys.executable, "-m", "glycanbridge", *arguments]
        with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=output, stderr=subprocess.STDOUT) as process:
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        told = output.read()
    if process.returncode:
        raise Failed(f"glycanbridge {' '.join(arguments)} ended with {process.returncode}\n{told}")
    return told, used.ru_utime + used.ru_stime


def _reading(serving: Serving) -> _Reading:
    return _Reading(time.monotonic(), tree_cpu_s(serving.process.pid), sum(map(len, serving.taken)))


def _figures(answers: Answers, before: _Reading, after: _Reading) -> Figures:
    measured = answers.events_per_s * (after.at_s - before.at_s)
    return {
        "events_per_s": answers.events_per_s,
        "p50_ms": answers.p50_ms,
        "p99_ms": answers.p99_ms,
        "worst_ms": answers.worst_ms,
        "cpu_s_per_1000": (after.cpu_s - before.cpu_s) / measured * 1000 if measured and after.cpu_s else None,
        "load_busy": answers.busy,
        "deliveries_per_s": (after.taken - before.taken) / (after.at_s - before.at_s),
    }


def _outcome(serving: Serving, answers: Answers, figures: Figures) -> Outcome:
    troubles = []
    if answers.other_statuses:
        troubles.append(f"answered otherwise than 200: {answers.other_statuses}")
    if answers.unanswered:
        troubles.append(f"{answers.unanswered} requests were not answered")
    if serving.destinations is None:
        return Outcome(figures, troubles, failed=False)
    lost = kept.missing(serving.made.journal, answers.accepted, destinations=serving.destinations)
    if not answers.accepted:
        lost.append("no event was answered 200")
    return Outcome(figures, troubles + lost, failed=bool(lost))
