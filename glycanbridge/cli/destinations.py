"""`glycanbridge destinations`: what is owed where, what holds it up, and pausing."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click
from click.core import ParameterSource

from glycanbridge.cli.choices import reason_option, who
from glycanbridge.cli.options import config_option, json_option
from glycanbridge.cli.tables import iso, show_rows
from glycanbridge.destinations import Destination, open_destinations
from glycanbridge.journal import Owed, Standing
from glycanbridge.journals import open_by_hand, open_questions
from glycanbridge.settings import read_settings


@click.group(invoke_without_command=True)
@config_option
@json_option
@click.pass_context
def command(ctx: click.Context, config: Path, *, as_json: bool) -> None:
    """Show what is owed where, also to destinations that are no longer in bridge.yaml; pause and resume them."""
    if ctx.invoked_subcommand is None:
        _show(config, as_json=as_json)
    elif any(ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in ("config", "as_json")):
        raise click.UsageError(f"write the options after {ctx.invoked_subcommand!r}, not before it")


@command.command("list")
@config_option
@json_option
def list_destinations(config: Path, *, as_json: bool) -> None:
    """Show what is owed where, and what holds it up."""
    _show(config, as_json=as_json)


@command.command("pause")
@click.argument("name")
@config_option
@reason_option
def pause(name: str, config: Path, *, reason: str) -> None:
    """Deliver nothing more to a destination until it is resumed, also after a restart. It keeps what it is owed."""
    settings, _ = read_settings(config)
    with closing(open_by_hand(settings.journal, make=True)) as journal:
        if name not in settings.destinations and name not in {each.destination for each in journal.owed()}:
            raise click.ClickException(f"there is no destination {name!r}; `glycanbridge destinations` shows them")
        journal.pause(name, who=who(), reason=reason)
    click.echo(f"{name} is paused; `glycanbridge destinations resume {name}` lets it go on", err=True)


@command.command("resume")
@click.argument("name")
@config_option
def resume(name: str, config: Path) -> None:
    """Let a paused destination go on, and try one at once that was left alone because it failed."""
    with closing(open_by_hand(read_settings(config)[0].journal)) as journal:
        standing = journal.standings().get(name, Standing())
        if standing.paused_at is None and standing.circuit.open_since is None:
            raise click.ClickException(
                f"{name!r} is neither paused nor failing; `glycanbridge destinations` shows them"
            )
        journal.resume(name, who=who())
    click.echo(f"{name} goes on", err=True)


def _show(config: Path, *, as_json: bool) -> None:
    settings, source = read_settings(config)
    with closing(open_questions(settings.journal)) as questions:
        owed = {each.destination: each for each in questions.owed()}
        standings = questions.standings()
    destinations, _ = open_destinations(settings, source)
    rows = []
    for name in [*destinations, *(gone for gone in owed if gone not in destinations)]:
        row, told = owed.get(name) or Owed(destination=name), destinations.get(name)
        held_up = hindrance(told, standings.get(name))
        rows.append(
            {
                "destination": name,
                "plugin": told.settings.plugin if told else None,
                "runs": f"no: {held_up}" if held_up else "yes",
                "pending": row.pending,
                "running": row.running,
                "held": row.held,
                "dead": row.dead,
                "oldest_due_at": iso(row.oldest_due_at),
            }
        )
    columns = ("destination", "plugin", "runs", "pending", "running", "held", "dead", "oldest_due_at")
    show_rows(rows, as_json=as_json, columns=columns, nothing="no destinations")


def hindrance(destination: Destination | None, standing: Standing | None) -> str | None:
    """Everything that keeps what a destination is owed waiting; `None` if nothing does."""
    told = []
    if destination is None:
        told.append("not in bridge.yaml")
    elif destination.hindrance is not None:
        told.append(destination.hindrance)
    if standing is not None and standing.paused_at is not None:
        told.append(f"paused by {standing.paused_by} since {iso(standing.paused_at)}: {standing.reason}")
    if standing is not None and standing.circuit.open_since is not None:
        since, again = iso(standing.circuit.open_since), iso(standing.circuit.probe_at)
        told.append(f"fails since {since}, tried again at {again}")
    return "; ".join(told) or None
