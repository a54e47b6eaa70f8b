"""`glycanbridge check`: what `serve` would do, without serving."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NoReturn

import click

from glycanbridge.bridge_yaml import BridgeYaml
from glycanbridge.cli import WRONG_CONFIGURATION
from glycanbridge.cli.options import config_option
from glycanbridge.cli.standing import hindrance
from glycanbridge.destinations import Destination, Destinations
from glycanbridge.doctor.configuration import configured
from glycanbridge.doctor.far_sides import asked
from glycanbridge.errors import JournalMissing, JournalUnavailable, Problem
from glycanbridge.event_types import DELIVERY_DEAD, DELIVERY_SETTLED, EVENT_TYPES
from glycanbridge.journal import Owed
from glycanbridge.journals import open_questions
from glycanbridge.settings import Settings, warnings

PATIENCE_S = 30.0
"""How long a far side may take, at the most; its destination's `timeout_s`, if that is less."""


@click.command
@config_option
@click.option("--online", is_flag=True, help="Also let each plugin talk to its far side, without sending anything.")
def command(config: Path, *, online: bool) -> None:
    """Say what bridge.yaml does, or everything that is wrong with it, a line each."""
    settings, destinations, leaves, problems = configured(BridgeYaml(config))
    if problems or settings is None:
        _fail(problems)
    _show(settings, destinations)
    for name, told in leaves.items():
        click.echo(f"{name}: {told}")
    if online:
        _ask_far_sides(destinations)


def _fail(problems: list[Problem]) -> NoReturn:
    for problem in problems:
        click.echo(str(problem))
    click.get_current_context().exit(WRONG_CONFIGURATION)


def _show(settings: Settings, destinations: Destinations) -> None:
    click.echo(f"receiver      http://{settings.receiver.listen}{settings.receiver.path}")
    click.echo(f"journal       {settings.journal}{_state_of_journal(settings)}")
    click.echo(f"dead letters  {settings.dead_letters}")
    if settings.glycanage is not None:
        click.echo(f"glycanage     {settings.glycanage.base_url} as {settings.glycanage.email}")
    for event_type in EVENT_TYPES:
        takers = [_taker(each) for each in destinations.values() if each.takes(event_type)]
        click.echo(f"{event_type} -> {', '.join(takers) or 'nobody: it is kept in the journal alone'}")
    alarmed, counting = (
        ", ".join(_taker(each) for each in destinations.values() if each.takes(event_type))
        for event_type in (DELIVERY_DEAD, DELIVERY_SETTLED)
    )
    click.echo(f"{DELIVERY_DEAD} -> {alarmed or 'nobody: no destination tells when another one gives up'}")
    if counting:
        click.echo(f"{DELIVERY_SETTLED} -> {counting}")
    for line in _waiting(settings, destinations):
        click.echo(line)
    outdated = [f"destinations.{each.name}: {line}" for each in destinations.values() for line in each.outdated]
    for line in [*warnings(settings), *outdated]:
        click.echo(f"warning: {line}")


def _waiting(settings: Settings, destinations: Destinations) -> Iterator[str]:
    """What is owed and waits, and why."""
    try:
        with closing(open_questions(settings.journal)) as questions:
            owed, standings = {each.destination: each for each in questions.owed()}, questions.standings()
    except (JournalMissing, JournalUnavailable):
        owed, standings = {}, {}
    for name in [*destinations, *(gone for gone in owed if gone not in destinations)]:
        row, held_up = owed.get(name, Owed(destination=name)), hindrance(destinations.get(name), standings.get(name))
        if held_up and (row.pending or name in destinations):
            takes = _takes(destinations.get(name))
            yield f"{name} waits, and takes {takes}: {held_up}; it is owed {row.pending} deliveries"
        if row.held:
            yield f"{name}: {row.held} deliveries wait for a person; `glycanbridge deliveries list --state pending`"
        if row.dead:
            yield f"{name}: {row.dead} deliveries are dead; `glycanbridge dead-letters list --destination {name}`"


def _takes(destination: Destination | None) -> str:
    return "nothing new" if destination is None or not destination.enabled else "what is new"


def _state_of_journal(settings: Settings) -> str:
    try:
        open_questions(settings.journal).close()
    except (JournalMissing, JournalUnavailable) as error:
        return f" ({error})"
    return ""


def _taker(destination: Destination) -> str:
    practices = destination.settings.practices
    return f"{destination.name} ({', '.join(practices)})" if practices else destination.name


def _ask_far_sides(destinations: Destinations) -> None:
    """Say what each finds; leave with 1 if one does not, whatever a plugin's threads still wait for."""
    found = asked([each for each in destinations.values() if each.error is None], PATIENCE_S)
    for name, (_, told) in found.items():
        click.echo(f"{name}: {told}")
    if any(how == "hangs" for how, _ in found.values()):
        sys.stdout.flush()
        os._exit(1)
    if any(how != "fine" for how, _ in found.values()):
        click.get_current_context().exit(1)
