"""`glycanbridge destinations`: what is owed where, and pausing: a person who pauses is in a hurry."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import cast

import click
from click.core import ParameterSource

from glycanbridge.bridge_yaml import BridgeYaml
from glycanbridge.cli import Commands
from glycanbridge.cli.choices import reason_option, who
from glycanbridge.cli.options import config_option, json_option, read_places
from glycanbridge.journal import Standing
from glycanbridge.journals.opening import open_by_hand
from glycanbridge.places import destinations_in, places_in

TABLE = {
    "list": ("standing.list_destinations", "Show what is owed where, and what holds it up."),
    "run": ("run.command", "Run a command that the destination's plugin has brought along."),
}


@click.group(cls=Commands, table=TABLE, invoke_without_command=True)
@config_option
@json_option
@click.pass_context
def command(ctx: click.Context, config: Path, *, as_json: bool) -> None:
    """Show what is owed where, also to destinations that are no longer in bridge.yaml; pause and resume them."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(cast("click.Command", command.get_command(ctx, "list")), config=config, as_json=as_json)
    elif any(ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in ("config", "as_json")):
        raise click.UsageError(f"write the options after {ctx.invoked_subcommand!r}, not before it")


@command.command("pause")
@click.argument("name")
@config_option
@reason_option
def pause(name: str, config: Path, *, reason: str) -> None:
    """Deliver nothing more to a destination until it is resumed, also after a restart. It keeps what it is owed."""
    source = BridgeYaml(config)
    with closing(open_by_hand(places_in(source).journal, make=True)) as journal:
        if name not in {*destinations_in(source), *(each.destination for each in journal.owed())}:
            raise click.ClickException(f"there is no destination {name!r}; `glycanbridge destinations` shows them")
        journal.pause(name, who=who(), reason=reason)
    click.echo(f"{name} is paused; `glycanbridge destinations resume {name}` lets it go on", err=True)


@command.command("resume")
@click.argument("name")
@config_option
def resume(name: str, config: Path) -> None:
    """Let a paused destination go on, and try one at once that was left alone because it failed."""
    with closing(open_by_hand(read_places(config).journal)) as journal:
        standing = journal.standings().get(name, Standing())
        if standing.paused_at is None and standing.circuit.open_since is None:
            raise click.ClickException(
                f"{name!r} is neither paused nor failing; `glycanbridge destinations` shows them"
            )
        journal.resume(name, who=who())
    click.echo(f"{name} goes on", err=True)
