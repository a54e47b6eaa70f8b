"""Each destination's own `check()`, which talks to its far side without sending anything; one that hangs is left.

Each is asked in a process of its own, where the system has forks: a plugin that ends its process must not take along
what the doctor has found.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Literal, NamedTuple

from glycanbridge.destinations import Destination
from glycanbridge.doctor.asking import within
from glycanbridge.doctor.facts import Facts
from glycanbridge.doctor.findings import Finding, ok, problem
from glycanbridge.errors import GlycanBridgeError, without_text
from glycanbridge.rehearsal import killed_by

LONGEST_TEXT = 1000
"""So many characters of what a plugin says are told; a pipe holds them all."""


class Asked(NamedTuple):
    """What became of a question."""

    how: Literal["fine", "failed", "ended", "hangs"]
    """`ended`: the plugin has ended its process; `hangs`: it did not come back in time."""
    told: str
    """What `check()` says, or what is wrong."""


def far_sides(facts: Facts) -> Iterator[Finding]:
    """What each plugin finds, all of them asked at once."""
    running = [each for each in facts.configured.destinations.values() if each.runs]
    for name, (how, told) in asked(running, facts.machine.patience_s).items():
        if how == "fine":
            yield ok("destinations.check", name, told)
        elif how == "failed":
            do = f"mend it, `glycanbridge check --online` tries again; then `glycanbridge destinations resume {name}`"
            yield problem("destinations.check", name, told, do)
        elif how == "ended":
            do = "a fault of the plugin's or of a library: look for a newer version, `glycanbridge plugins list`"
            yield problem("destinations.check", name, told, do)
        else:
            do = "its far side hangs, or a firewall drops what is sent to it: look at its address in bridge.yaml"
            yield problem("destinations.hangs", name, told, do)


def asked(destinations: Sequence[Destination], patience_s: float) -> dict[str, Asked]:
    """What each destination's `check()` says, by its name; none takes longer than `timeout_s` or `patience_s`."""
    limits_s = {each.name: min(patience_s, each.settings.timeout_s) for each in destinations}
    told: dict[str, Asked] = _in_processes(destinations, limits_s)
    left = {each.name: partial(_ask, each) for each in destinations if each.name not in told}
    for name, found in within(limits_s, left).items():  # `_ask` raises nothing
        told[name] = found if isinstance(found, Asked) else _late(limits_s[name])
    return {each.name: told[each.name] for each in destinations}


def _late(limit_s: float) -> Asked:
    return Asked("hangs", f"check() does not come back within {limit_s:g} s")


def _in_processes(destinations: Sequence[Destination], limits_s: Mapping[str, float]) -> dict[str, Asked]:
    """What those say, or how they end, that could be asked in a process of their own."""
    pipes = [os.pipe() for _ in destinations]
    told: dict[str, Asked] = {}
    try:
        asked = [partial(_write, each, end) for each, (_, end) in zip(destinations, pipes, strict=True)]
        ends = killed_by(asked, within_s=[limits_s[each.name] for each in destinations])
        for each, ended, (begin, _) in zip(destinations, ends, pipes, strict=True):
            os.set_blocking(begin, False)  # whoever was left behind by a plugin may hold the other end
            if ended is not None:
                late = ended.startswith("does not come back")
                told[each.name] = _late(limits_s[each.name]) if late else Asked("ended", f"check() {ended}")
            else:
                with suppress(BlockingIOError, ValueError):  # there are no forks here
                    told[each.name] = Asked(*json.loads(os.read(begin, 65_536)))
    finally:
        for begin, end in pipes:
            os.close(begin)
            os.close(end)
    return told


def _write(destination: Destination, end: int) -> None:
    os.write(end, json.dumps(_ask(destination)).encode())


def _ask(destination: Destination) -> Asked:
    try:
        attempts = destination.attempts()
        try:
            found = attempts.check()
        finally:
            attempts.close()
    except GlycanBridgeError as error:
        return Asked("failed", str(error)[:LONGEST_TEXT])
    except BaseException as error:
        return Asked("failed", f"check() failed: {without_text(error)}"[:LONGEST_TEXT])
    return Asked("fine", str(found or "the plugin has nothing to check")[:LONGEST_TEXT])
