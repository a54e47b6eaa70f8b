"""How a person chooses one thing or many, and what every action on many does: say how many, and wait for a yes."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from glycanbridge.cli.options import choice_options, config_option
from glycanbridge.journal import Filter, Journal, Replay

F = TypeVar("F", bound=Callable[..., Any])

yes_option = click.option("--yes", is_flag=True, help="Do it, instead of saying how many there are.")
reason_option = click.option("--reason", required=True, help="Why: kept with your name.")
one_or_many = click.argument("one", metavar="[ID]", required=False)


def check_choice(one: str | None, which: Filter, *, all_of_them: bool = False) -> None:
    """See that a person named one thing, or said which of many; nothing at all is no choice."""
    chosen = which != Filter()
    if one is not None and (chosen or all_of_them):
        raise click.UsageError("name one ID, or choose many by filters: not both")
    if one is None and not chosen and not all_of_them:
        raise click.UsageError("name an ID, choose by filters such as --destination NAME, or say --all")


def confirm(count: int, what: str, *, yes: bool) -> None:
    """Say how many it is about; end here, with exit 1, unless the person has said yes."""
    click.echo(f"{count} {what}", err=True)
    if not yes:
        raise click.ClickException("nothing was done: say --yes to do it")


def who() -> str:
    """The name of whoever runs the command, as the system knows it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}" if hasattr(os, "getuid") else "unknown"


def replay_options(command: F) -> F:
    """The options of every command that makes deliveries again."""
    for option in (
        yes_option,
        click.option("--per-second", "per_s", type=click.FloatRange(min=0.001), help="Spread them: so many a second."),
        click.option("--all", "all_of_them", is_flag=True, help="Every one there is."),
        choice_options,
        config_option,
        one_or_many,
    ):
        command = option(command)
    return command


def make_again(journal: Journal, chosen: Sequence[Replay], what: str, *, yes: bool, per_s: float | None) -> None:
    """Make the chosen deliveries again, after a yes, and say how many they were."""
    confirm(len(chosen), what, yes=yes)
    moved = journal.replay(chosen, who=who(), per_s=per_s)
    click.echo(f"{moved} to be made; {len(chosen) - moved} were due or running already", err=True)
