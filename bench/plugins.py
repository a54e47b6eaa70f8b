"""`python -m bench.plugins`: how many deliveries a second does each plugin make, and what does one cost?

The bridge is `glycanbridge serve`, as a user runs it, with one destination of one lane; the far side is a plain sink in
a process of its own on this machine (`bench.sinks`), so what is measured is the plugin. Exit 1 if a sink has not taken
every delivery; speed never fails.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import apsw

from bench import backlog
from bench.folder import Folder, folder, install, sync_ms
from bench.noop import Taken
from bench.processes import Failed, Process, announced, cpu_s, descendants, ended, memory_mb, running, serving
from bench.report import machine, spread, table

_DELIVERED = "SELECT count(*) FROM deliveries WHERE state = 'delivered'"
STUCK_S = 60.0
LOOK_S = 0.005


@dataclass(frozen=True, kw_only=True)
class Case:
    """A plugin, its settings, and its far side."""

    name: str
    plugin: str
    settings: str
    """What stands in its braces; `PORT` is the sink's."""
    sink: str | None = None


_EHR = "practices: [practice_67890], patients: patients.csv"
CASES = (
    Case(name="noop", plugin="noop", settings="counts: counts"),
    Case(name="csv", plugin="csv", settings="directory: exports"),
    Case(
        name="email",
        plugin="email",
        settings="host: 127.0.0.1, port: PORT, security: plain, sender: bridge@clinic.example, to: [a@clinic.example]",
        sink="smtp",
    ),
    Case(name="slack", plugin="slack", settings="webhook_url: 'http://127.0.0.1:PORT/services/T0/B0/x'", sink="slack"),
    Case(name="http", plugin="http", settings="url: 'http://127.0.0.1:PORT/in', read_timeout_s: 5", sink="slack"),
    Case(name="ehr, fhir", plugin="ehr", settings=_EHR + ", fhir: {url: 'http://127.0.0.1:PORT/fhir'}", sink="fhir"),
    Case(
        name="ehr, mllp", plugin="ehr", settings=_EHR + ", mllp: {host: 127.0.0.1, port: PORT, tls: false}", sink="mllp"
    ),
    Case(name="ehr, drop", plugin="ehr", settings=_EHR + ", drop: {directory: drop}"),
)
PATIENTS = "patient_id,ehr_id,family,given,birth_date,sex\npatient_123,4711,Doe,Zoe,1981-04-12,F\n"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One case, once."""

    case: str
    round: int
    deliveries_per_s: float
    ms_each: float
    bridge_cpu_ms: float
    """CPU milliseconds of the bridge's process for a delivery."""
    plugin_cpu_ms: float
    """Of the plugin's process."""
    plugin_mb: float
    """The most memory that the plugin's process held."""
    grown_mb: float
    """By how much that grew after the first tenth: what a delivery leaves behind."""
    wrong: str | None
    """What the far side did not take."""


def measurements(cases: Sequence[Case], *, deliveries: int, rounds: int, within: Path | None) -> Iterator[Measurement]:
    """Every case in every round, as it is measured. Raises `Failed` if the bridge does not run or deliver."""
    for number in range(1, rounds + 1):
        for case in cases:
            with folder(within, destinations=0) as made:
                yield _measured(case, number, made, deliveries)


def _measured(case: Case, number: int, made: Folder, deliveries: int) -> Measurement:
    counted = made.journal.with_name("counted")
    made.journal.with_name("patients.csv").write_text(PATIENTS, encoding="utf-8")
    made.journal.with_name("drop").mkdir()
    Taken(made.journal.with_name("counts"), first=0)
    environ = install(made, "noop", "bench.noop:Noop")
    backlog.make(made.journal)
    backlog.add(made.journal, first=0, count=deliveries, owed_to=["it"])
    with _sink(case, counted, made.errors) as port:
        settings = case.settings.replace("PORT", port)
        with made.bridge_yaml.open("a", encoding="utf-8") as file:
            file.write(f"destinations:\n  it:\n    plugin: {case.plugin}\n    settings: {{{settings}}}\n")
        arguments = ("serve", "-c", str(made.bridge_yaml))
        with serving("glycanbridge", arguments, core=None, errors=made.errors, environ=environ) as (process, _):
            figures = _figures(process, made, deliveries)
    taken = int(counted.read_text(encoding="ascii")) if case.sink else deliveries
    wrong = None if taken == deliveries else f"the far side took {taken} of {deliveries} deliveries"
    return Measurement(case=case.name, round=number, wrong=wrong, **figures)


@contextmanager
def _sink(case: Case, counted: Path, errors: Path) -> Iterator[str]:
    if case.sink is None:
        yield ""
        return
    with running("bench.sinks", case.sink, str(counted), core=None, errors=errors) as process:
        yield announced(process, errors=errors)


def _figures(process: Process, made: Folder, deliveries: int) -> dict[str, float]:
    """What the deliveries took, but for the first tenth: until then things are opened and compiled."""
    with closing(apsw.Connection(str(made.journal), flags=apsw.SQLITE_OPEN_READONLY)) as reader:
        begun = _until(process, made, reader, deliveries // 10)
        hosts = descendants(process.pid)
        before_mb, before_s, cpus_s = _most_mb(hosts), time.monotonic(), _cpus_s(process.pid, hosts)
        done = _until(process, made, reader, deliveries)
        spent_s = time.monotonic() - before_s
        bridge_s, plugin_s = (after - before for after, before in zip(_cpus_s(process.pid, hosts), cpus_s, strict=True))
        most_mb = _most_mb(hosts)
    count = (done - begun) or math.nan  # so few that all were made before the first look: nothing was measured
    return {
        "deliveries_per_s": count / spent_s,
        "ms_each": spent_s / count * 1000,
        "bridge_cpu_ms": bridge_s / count * 1000,
        "plugin_cpu_ms": plugin_s / count * 1000,
        "plugin_mb": most_mb,
        "grown_mb": most_mb - before_mb,
    }


def _until(process: Process, made: Folder, reader: apsw.Connection, wanted: int) -> int:
    delivered, changed_s = -1, time.monotonic()
    while delivered < wanted:
        time.sleep(LOOK_S)
        before, delivered = delivered, int(reader.execute(_DELIVERED).get)
        if delivered != before:
            changed_s = time.monotonic()
        elif time.monotonic() - changed_s > STUCK_S or process.poll() is not None:
            raise Failed(f"no more deliveries after {delivered}\n{made.errors.read_text(encoding='utf-8')}")
    return delivered


def _most_mb(hosts: Sequence[int]) -> float:
    """Of the largest of them, which is the plugin's: the others are the fork server, and what multiprocessing needs."""
    return max((memory_mb(each) or 0.0 for each in hosts), default=0.0)


def _cpus_s(bridge: int, hosts: Sequence[int]) -> tuple[float, float]:
    return cpu_s(bridge) or 0.0, sum(cpu_s(each) or 0.0 for each in hosts)


_FORMATS = {
    "deliveries_per_s": ("deliveries/s", "{:,.0f}"),
    "ms_each": ("ms each", "{:.2f}"),
    "bridge_cpu_ms": ("CPU ms each: bridge", "{:.2f}"),
    "plugin_cpu_ms": ("plugin", "{:.2f}"),
    "plugin_mb": ("its memory MB", "{:.1f}"),
    "grown_mb": ("grown by", "{:.1f}"),
}


def as_text(measured: Sequence[Measurement]) -> str:
    """Medians, the plugin's CPU beside that of one that does nothing, and whatever went wrong."""
    cases = list(dict.fromkeys(each.case for each in measured))
    rows = [["", *(title for title, _ in _FORMATS.values()), "all CPU / noop's"]]
    for case in cases:
        own = [each for each in measured if each.case == case]
        figures = [shown.format(median(getattr(each, name) for each in own)) for name, (_, shown) in _FORMATS.items()]
        rows.append([case, *figures, spread(_beside(measured, case))])
    wrong = [f"BROKEN: round {each.round}, {each.case}: {each.wrong}" for each in measured if each.wrong]
    return "\n".join([*table(rows), *wrong])


def _beside(measured: Sequence[Measurement], case: str) -> tuple[float, float, float] | None:
    cpu = {(each.case, each.round): each.bridge_cpu_ms + each.plugin_cpu_ms for each in measured}
    rounds = {number for _, number in cpu}
    found = [cpu[case, each] / noop for each in rounds if (noop := cpu.get(("noop", each)))]
    return (median(found), min(found), max(found)) if found else None


def _run(cases: Sequence[Case], told: argparse.Namespace) -> int:
    measured = []
    for each in measurements(cases, deliveries=told.deliveries, rounds=told.rounds, within=told.folder):
        measured.append(each)
        print(
            f"round {each.round} of {told.rounds}, {each.case}: {each.deliveries_per_s:,.0f} deliveries/s",
            file=sys.stderr,
        )
    told_of_machine = machine(sync_ms(told.folder))
    print(", ".join(f"{name} {value}" for name, value in told_of_machine.items()))
    print(f"{told.rounds} rounds of {told.deliveries:,} deliveries; medians\n\n{as_text(measured)}")
    if told.json is not None:
        all_told = {"machine": told_of_machine, "measurements": [asdict(each) for each in measured]}
        told.json.write_text(json.dumps(all_told, indent=2) + "\n", encoding="utf-8")
    return 1 if any(each.wrong for each in measured) else 0


def main() -> int:
    """The exit status: 0; 1 if a far side did not take everything; 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m bench.plugins", description=__doc__)
    add = parser.add_argument
    add(
        "names",
        nargs="*",
        metavar="NAME",
        help="of plugins (all); noop does nothing, and is what others are held against",
    )
    add("--deliveries", type=int, default=1_000, metavar="N", help="of each plugin in each round (1000)")
    add("--rounds", type=int, default=3, metavar="N", help="each over all plugins (3)")
    add("--folder", type=Path, metavar="DIR", help="where to make the journals: the disk that is measured")
    add("--json", type=Path, metavar="FILE", help="write all figures there, too")
    told = parser.parse_args()
    chosen = [each for each in CASES if not told.names or each.plugin in told.names]
    return ended(lambda: _run(chosen, told))


if __name__ == "__main__":
    sys.exit(main())
