"""`glycanbridge doctor`: everything that is wrong with this bridge, and what to do about it.

What is well comes first and problems last: they stand at the bottom of the terminal, where they are seen without
scrolling, however many lines were told before.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from glycanbridge.bridge_yaml import BridgeYaml
from glycanbridge.cli import WRONG_CONFIGURATION
from glycanbridge.cli.options import config_option, json_option
from glycanbridge.doctor.checks import examine
from glycanbridge.doctor.facts import gather
from glycanbridge.doctor.findings import Finding, Level

MARKS = {Level.OK: "ok", Level.NOTE: "-", Level.WARNING: "!", Level.PROBLEM: "X"}


@click.command
@config_option
@click.option("--online/--offline", help="Also ask GlycanAge, the public address and the destinations' far sides.")
@json_option
def command(config: Path, *, online: bool, as_json: bool) -> None:
    """Look at everything that may be wrong with this bridge, and say what to do; nothing is changed.

    Exit 0 if there is no problem, 1 if there is one, 78 if bridge.yaml cannot be used.
    """
    facts = gather(BridgeYaml(config))
    order = list(Level)
    found = sorted(examine(facts, online=online), key=lambda each: order.index(each.level))
    for each in found:
        if as_json:
            click.echo(json.dumps(asdict(each)))
        else:
            _show(each)
    if not as_json:
        click.echo(_summary(found))
    code = 1 if any(each.level is Level.PROBLEM for each in found) else 0
    code = WRONG_CONFIGURATION if facts.configured.problems else code
    if any(each.id == "destinations.hangs" for each in found):
        sys.stdout.flush()
        os._exit(code)  # Python would wait for threads that such a plugin has started
    click.get_current_context().exit(code)


def _show(finding: Finding) -> None:
    click.echo(_plain(f"{MARKS[finding.level]:<3} {finding.id}: {finding.about}: {finding.found}"))
    if finding.do:
        click.echo(_plain(f"      {finding.do}"))


def _summary(found: Sequence[Finding]) -> str:
    counted = Counter(each.level for each in found)
    return f"problems: {counted[Level.PROBLEM]}, warnings: {counted[Level.WARNING]}, ok: {counted[Level.OK]}"


def _plain(line: str) -> str:
    """What could steer a terminal is shown as a question mark."""
    return "".join(character if character.isprintable() else "?" for character in line)
