"""Each destination's own `check()`, which talks to its far side without sending anything; one that hangs is left."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from glycanbridge.destinations import Destination
from glycanbridge.doctor.asking import Hung, within
from glycanbridge.doctor.facts import Facts
from glycanbridge.doctor.findings import Finding, ok, problem
from glycanbridge.errors import told_to_people


def far_sides(facts: Facts) -> Iterator[Finding]:
    """What each plugin finds, all of them asked at once."""
    running = [each for each in facts.configured.destinations.values() if each.runs]
    limits_s = {each.name: min(facts.machine.patience_s, each.settings.timeout_s) for each in running}
    told = within(limits_s, {each.name: partial(_check, each) for each in running})
    for name, found in told.items():
        if isinstance(found, Hung):
            why = f"check() does not come back within {limits_s[name]:g} s"
            do = "its far side hangs, or a firewall drops what is sent to it: look at its address in bridge.yaml"
            yield problem("destinations.hangs", name, why, do)
        elif isinstance(found, BaseException):
            do = f"mend it, `glycanbridge check --online` tries again; then `glycanbridge destinations resume {name}`"
            yield problem("destinations.check", name, told_to_people(found), do)
        else:
            yield ok("destinations.check", name, found or "the plugin has nothing to check")


def _check(destination: Destination) -> str | None:
    attempts = destination.attempts()
    try:
        return attempts.check()
    finally:
        attempts.close()
