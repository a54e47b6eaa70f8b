"""`glycanbridge destinations run`: a command that a destination's plugin has brought along."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from glycanbridge.attempt import Attempts
from glycanbridge.cli.options import config_option
from glycanbridge.destinations import open_destinations
from glycanbridge.errors import told_to_people
from glycanbridge.hookspecs import Command
from glycanbridge.settings import read_settings


@click.command("run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("name")
@click.argument("arguments", metavar="[COMMAND [ARGS]...]", nargs=-1, type=click.UNPROCESSED)
@config_option
def command(name: str, arguments: Sequence[str], config: Path) -> None:
    """Run a command that the destination's plugin has brought along, with its own ARGS; without one, list them all."""
    with _attempts(name, config) as attempts:
        known = {str(each.name): each for each in _commands(name, attempts)}
        if not arguments:
            for each in known.values():
                click.echo(f"{each.name}  {' '.join((each.help or '').split())}".rstrip())
            click.echo(f"{name}: {len(known)} commands of its plugin", err=True)
        elif arguments[0] in known:
            chosen, *rest = arguments
            _run(known[chosen], rest, f"glycanbridge destinations run {name} {chosen}")
        else:
            told = ", ".join(known) or "none"
            raise click.UsageError(f"{name!r} has no command {arguments[0]!r}; it has: {told}")


@contextmanager
def _attempts(name: str, config: Path) -> Iterator[Attempts]:
    """An instance of the destination's plugin, closed in the end."""
    settings, source = read_settings(config)
    destinations, _ = open_destinations(settings, source)
    if name not in destinations:
        raise click.UsageError(f"there is no destination {name!r}; `glycanbridge destinations` shows them")
    try:
        attempts = destinations[name].attempts()
    except BaseException as error:
        raise click.ClickException(f"{name}: its plugin cannot be made: {told_to_people(error)}") from error
    try:
        yield attempts
    finally:
        attempts.close()


def _commands(name: str, attempts: Attempts) -> list[Command]:
    try:
        commands = list(attempts.commands())
    except BaseException as error:
        raise click.ClickException(f"{name}: its plugin's commands() failed: {told_to_people(error)}") from error
    for each in commands:
        if not (isinstance(getattr(each, "name", None), str) and callable(getattr(each, "main", None))):
            raise click.ClickException(f"{name}: its plugin's commands() holds a {type(each).__name__}, no command")
    return commands


def _run(chosen: Command, arguments: Sequence[str], name: str) -> None:
    try:
        chosen.main(arguments, prog_name=name)
    except Exception as error:  # its text may quote a patient, and a traceback helps nobody here
        raise click.ClickException(f"{name}: {told_to_people(error)}") from error
