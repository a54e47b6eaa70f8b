"""`python -m bench`: the bridge beside its peers, and how near it is to what is promised; 1 if an event was lost."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.folder import PATH, sync_ms
from bench.load import Load, compiled
from bench.measures import Bench
from bench.processes import Cores, cores, ended
from bench.report import as_json, as_text, first_figure, machine
from bench.scenarios import PEERS, SCENARIOS, Measurement, cases, measurements
from bench.servers import lacks

SLOW_SYNC_US = 8_000
SLOW_SYNC_FLAGS = ("-shared", "-fPIC", f"-DDELAY_US={SLOW_SYNC_US}", "-ldl")


def main() -> int:
    """The exit status: 0; 1 if something was lost or did not run; 130 after Ctrl-C."""
    arguments = _parser().parse_args()
    return ended(lambda: _run(arguments))


def _run(arguments: argparse.Namespace) -> int:
    missing = {peer: what for peer in PEERS if (what := lacks(peer)) is not None}
    pinning = cores()
    chosen = cases(arguments.scenarios, without=missing, pinned=pinning.pinned)
    told_of_machine = machine(sync_ms(arguments.folder))
    measured: list[Measurement] = []
    with _bench(arguments, pinning) as bench:
        for each in measurements(bench, chosen, rounds=arguments.rounds):
            measured.append(each)
            told = [f"round {each.round} of {arguments.rounds}, {each.case}", *first_figure(each), *each.troubles]
            print("; ".join(told), file=sys.stderr)
    print(", ".join(f"{name} {value}" for name, value in told_of_machine.items()))
    print(f"{arguments.rounds} rounds, {arguments.seconds:g} s for each load; medians")
    for peer, what in missing.items():
        print(f"{peer} is left out: it needs {what}")
    if not pinning.pinned:
        print("whatever is pinned is left out: it needs two cores, and a system that can pin")
    print(f"\n{as_text(measured)}")
    if arguments.json is not None:
        told_all = {"machine": told_of_machine, "left_out": missing, **as_json(measured)}
        arguments.json.write_text(json.dumps(told_all, indent=2) + "\n", encoding="utf-8")
    return 1 if any(each.failed for each in measured) else 0


@contextmanager
def _bench(arguments: argparse.Namespace, pinning: Cores) -> Iterator[Bench]:
    """What all measurements share, compiled and built in a temporary folder."""
    secret = secrets.token_urlsafe(32)
    with tempfile.TemporaryDirectory(prefix="glycanbridge-bench-") as name:
        into = Path(name)
        yield Bench(
            load=Load(into, secret=secret, requests=arguments.most_requests, path=PATH),
            secret=secret,
            slow_sync=compiled("slow_sync.c", into / "slow_sync.so", *SLOW_SYNC_FLAGS),
            cores=pinning,
            within=arguments.folder,
            seconds=arguments.seconds,
            idle_s=arguments.idle_seconds,
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    add = parser.add_argument
    add(
        "scenarios",
        nargs="*",
        type=_scenario,
        default=list(SCENARIOS),
        metavar="SCENARIO",
        help=f"of {', '.join(SCENARIOS)} (all)",
    )
    add("--rounds", type=_count, default=3, metavar="N", help="each over all cases (3)")
    add("--seconds", type=float, default=1.5, metavar="S", help="for each load (1.5)")
    add("--idle-seconds", type=float, default=10.0, metavar="S", help="to watch the bridge at rest (10)")
    add("--most-requests", type=_count, default=60_000, metavar="N", help="end a load after so many (60000)")
    add("--folder", type=Path, metavar="DIR", help="where to make the journals: the disk that is measured")
    add("--json", type=Path, metavar="FILE", help="write all figures there, too")
    return parser


def _scenario(text: str) -> str:
    if text not in SCENARIOS:
        raise ValueError
    return text


def _count(text: str) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
