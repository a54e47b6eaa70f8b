"""`python -m bench`: measure, print a table, exit 1 if an event that was answered 200 is not in the journal."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from types import FrameType

from bench.folder import sync_ms
from bench.processes import Failed, cores
from bench.report import as_json, as_text
from bench.rounds import Measurement, Plan, measurements


def main() -> int:
    """The exit status: 0; 1 if something was lost or did not run; 130 after Ctrl-C."""
    arguments = _parser().parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, interrupt)
    try:
        return _run(_plan(arguments), arguments.json)
    except Failed as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _run(plan: Plan, json_file: Path | None) -> int:
    disk_sync_ms = sync_ms(plan.within)
    measured: list[Measurement] = []
    for each in measurements(plan):
        measured.append(each)
        told = f"{each.server}, {each.connections} connections: {each.events_per_s:,.0f} events/s"
        print(f"round {each.round} of {plan.rounds}, {told}", file=sys.stderr)
    print(as_text(plan, measured, disk_sync_ms))
    if json_file is not None:
        json_file.write_text(json.dumps(as_json(plan, measured, disk_sync_ms), indent=2) + "\n", encoding="utf-8")
    return 1 if any(each.missing or not each.events for each in measured) else 0


def _plan(arguments: argparse.Namespace) -> Plan:
    return Plan(
        connections=arguments.connections,
        rounds=arguments.rounds,
        seconds=arguments.seconds,
        most_requests=arguments.most_requests,
        destinations=arguments.destinations,
        cores=cores(free=arguments.free),
        within=arguments.folder,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    add = parser.add_argument
    add("--connections", type=_counts, default=(16, 64), metavar="N,N", help="keep-alive connections (16,64)")
    add("--rounds", type=_count, default=3, metavar="N", help="each bare, then ours (3)")
    add("--seconds", type=float, default=3.0, metavar="S", help="for each measurement (3)")
    add("--most-requests", type=_count, default=60_000, metavar="N", help="end a measurement after so many (60000)")
    add("--destinations", type=int, default=4, metavar="N", help="that are owed every event (4)")
    add(
        "--free", action="store_true", help="let the system choose the cores; else one for the server, one for the load"
    )
    add("--folder", type=Path, metavar="DIR", help="where to make the journals: the disk that is measured")
    add("--json", type=Path, metavar="FILE", help="write all figures there, too")
    return parser


def _count(text: str) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)


def _counts(text: str) -> tuple[int, ...]:
    return tuple(_count(each) for each in text.split(","))


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """A signal handler: end as after Ctrl-C, so that every subprocess is ended and every folder removed."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
