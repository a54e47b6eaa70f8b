"""Each destination's own `check()`, which talks to its far side without sending anything; one that hangs is left.

Each is asked in a process of its own, where the system has forks: a plugin that ends its process must not take along
what the doctor has found.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from functools import partial
from typing import NamedTuple

from glycanbridge.destinations import Destination
from glycanbridge.doctor.asking import Hung, within
from glycanbridge.doctor.facts import Facts
from glycanbridge.doctor.findings import Finding, ok, problem
from glycanbridge.errors import told_to_people
from glycanbridge.rehearsal import killed_by

LONGEST_TEXT = 1000
"""So many characters of what a plugin says are told; a pipe holds them all."""


class _Said(NamedTuple):
    fine: bool
    told: str


class _Ended(Exception):
    """The plugin has ended its process, or did not come back in it; the text says how."""


def far_sides(facts: Facts) -> Iterator[Finding]:
    """What each plugin finds, all of them asked at once."""
    running = {each.name: each for each in facts.configured.destinations.values() if each.runs}
    limits_s = {name: min(facts.machine.patience_s, each.settings.timeout_s) for name, each in running.items()}
    told: dict[str, _Said | BaseException] = {**_in_processes(running, limits_s)}
    told |= within(limits_s, {name: partial(_ask, each) for name, each in running.items() if name not in told})
    for name in running:
        yield _found(name, told[name], limits_s[name])


def _found(name: str, told: _Said | BaseException, limit_s: float) -> Finding:
    if isinstance(told, _Said) and told.fine:
        return ok("destinations.check", name, told.told)
    if isinstance(told, _Said):
        do = f"mend it, `glycanbridge check --online` tries again; then `glycanbridge destinations resume {name}`"
        return problem("destinations.check", name, told.told, do)
    why = f"does not come back within {limit_s:g} s" if isinstance(told, Hung) else str(told)
    if "ends the process" in why:
        do = "a fault of the plugin's or of a library: look for a newer version, `glycanbridge plugins list`"
        return problem("destinations.check", name, f"check() {why}", do)
    do = "its far side hangs, or a firewall drops what is sent to it: look at its address in bridge.yaml"
    return problem("destinations.hangs", name, f"check() {why}", do)


def _in_processes(running: Mapping[str, Destination], limits_s: Mapping[str, float]) -> dict[str, _Said | _Ended]:
    """What those say, or how they end, that could be asked in a process of their own."""
    pipes = [os.pipe() for _ in running]
    try:
        asked = [partial(_write, each, end) for each, (_, end) in zip(running.values(), pipes, strict=True)]
        told: dict[str, _Said | _Ended] = {}
        for name, ended, (begin, _) in zip(
            running, killed_by(asked, within_s=[limits_s[name] for name in running]), pipes, strict=True
        ):
            os.set_blocking(begin, False)  # whoever was left behind by a plugin may hold the other end
            if ended is not None:
                told[name] = _Ended(ended)
            else:
                try:
                    told[name] = _Said(*json.loads(os.read(begin, 65_536)))
                except (BlockingIOError, ValueError):  # there are no forks here
                    continue
        return told
    finally:
        for each in pipes:
            os.close(each[0])
            os.close(each[1])


def _write(destination: Destination, end: int) -> None:
    os.write(end, json.dumps(_ask(destination)).encode())


def _ask(destination: Destination) -> _Said:
    try:
        attempts = destination.attempts()
        try:
            found = attempts.check()
        finally:
            attempts.close()
    except BaseException as error:
        return _Said(fine=False, told=told_to_people(error)[:LONGEST_TEXT])
    return _Said(fine=True, told=str(found or "the plugin has nothing to check")[:LONGEST_TEXT])
