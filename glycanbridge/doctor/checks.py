"""The table of all checks, and the way to run them: one that fails is a finding, and never holds back the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from glycanbridge.doctor.clock import clock, clock_of_glycanage, last_event
from glycanbridge.doctor.deliveries import dead_letters, deliveries, outdated
from glycanbridge.doctor.facts import Facts
from glycanbridge.doctor.far_sides import far_sides
from glycanbridge.doctor.files import files
from glycanbridge.doctor.findings import Finding, note, ok, problem, warning
from glycanbridge.doctor.journal import journal
from glycanbridge.doctor.public_url import public_path, public_url
from glycanbridge.doctor.receiver import receiver
from glycanbridge.doctor.registration import registration
from glycanbridge.doctor.secrecy import secret_files, secrets
from glycanbridge.doctor.storage import network_drive, room
from glycanbridge.errors import told_to_people
from glycanbridge.settings import warnings


class Check(NamedTuple):
    """One thing to look at."""

    name: str
    look: Callable[[Facts], Iterator[Finding]]
    online: bool = False
    """It asks somebody over the network."""


def configuration(facts: Facts) -> Iterator[Finding]:
    """Everything that is wrong with bridge.yaml, or unwise in it."""
    found = facts.configured
    for each in found.problems:
        place = f"{each.file}:{each.line}:{each.column}"
        told = f"{each.path}: {each.message}" if each.path else each.message
        yield problem("configuration", place, told, "correct it; `glycanbridge check` shows whether it is right")
    for line in warnings(found.settings) if found.settings else ():
        if not line.startswith("receiver.secrets"):  # the secrets' own findings tell those
            yield warning("configuration.unwise", str(facts.source.file), line, "correct it in bridge.yaml")
    if not found.problems:
        yield ok(
            "configuration",
            str(facts.source.file),
            f"it can be used; destinations: {', '.join(found.destinations) or 'none'}",
        )


CHECKS = (
    Check("configuration", configuration),
    Check("secrets", secrets),
    Check("secret-files", secret_files),
    Check("files", files),
    Check("clock", clock),
    Check("room", room),
    Check("network-drive", network_drive),
    Check("journal", journal),
    Check("receiver", receiver),
    Check("public-path", public_path),
    Check("deliveries", deliveries),
    Check("dead-letters", dead_letters),
    Check("plugins", outdated),
    Check("last-event", last_event),
    Check("far-sides", far_sides, online=True),
    Check("registration", registration, online=True),
    Check("clock-of-glycanage", clock_of_glycanage, online=True),
    Check("public-url", public_url, online=True),
)
"""All there are, in the order in which they are told."""


def examine(facts: Facts, *, online: bool) -> Iterator[Finding]:
    """What all checks find, each as soon as it is known."""
    for each in CHECKS:
        if online or not each.online:
            yield from _findings(each, facts)
    if not online:
        told = "neither the destinations' far sides nor GlycanAge nor the public address were asked"
        yield note("online", "the network", told, "`glycanbridge doctor --online`")


def _findings(check: Check, facts: Facts) -> Iterator[Finding]:
    try:
        yield from check.look(facts)
    except PermissionError:
        do = "run `glycanbridge doctor` as the user that the bridge runs as"
        yield warning(f"{check.name}.failed", check.name, "this user may not look at it", do)
    except Exception as error:
        do = "look at it by hand; if it is a fault of GlycanBridge's, tell its makers this line"
        yield warning(f"{check.name}.failed", check.name, f"it could not be looked at: {told_to_people(error)}", do)
