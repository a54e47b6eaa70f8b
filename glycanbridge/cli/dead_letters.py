"""`glycanbridge dead-letters`: what was given up or not understood."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from glycanbridge.bridge_events import parse_kept
from glycanbridge.cli import Commands
from glycanbridge.cli.options import config_option, filter_options, json_option, read_places
from glycanbridge.cli.tables import show_row, show_rows
from glycanbridge.dead_letters import DeadLetter, DeadLetters
from glycanbridge.delivery import State
from glycanbridge.errors import ParseError
from glycanbridge.events import parse
from glycanbridge.journal import Filter


@click.group(
    cls=Commands,
    table={
        "replay": ("decisions.replay_letters", "Send dead letters again: one by its ID, or those that fit."),
        "discard": ("decisions.discard_letters", "Remove dead letters for good."),
    },
)
def command() -> None:
    """Look at what was given up or not understood, send it again, or discard it."""


@command.command("list")
@config_option
@json_option
@filter_options
def list_letters(config: Path, *, as_json: bool, which: Filter) -> None:
    """List dead letters, the newest first. A damaged file is told on stderr."""
    rows = [_row(letter) for letter in chosen_letters(DeadLetters(read_places(config).dead_letters), which)]
    columns = ("id", "kind", "destination", "reason", "died_at", "attempts")
    show_rows(rows[: -which.limit - 1 : -1], as_json=as_json, columns=columns, nothing="no dead letters")


@command.command("show")
@click.argument("letter_id", metavar="ID")
@config_option
@json_option
def show_letter(letter_id: str, config: Path, *, as_json: bool) -> None:
    """Show one dead letter whole; the beginning of its ID is enough. It holds a patient's data."""
    letter = DeadLetters(read_places(config).dead_letters).load(letter_id)
    more = {"plugin": letter.plugin, "received_at": letter.received_at}
    show_row(_row(letter) | more | {"body": letter.body.decode("utf-8", "backslashreplace")}, as_json=as_json)


def chosen_letters(letters: DeadLetters, which: Filter) -> list[DeadLetter]:
    """The dead letters that fit, the oldest first; a damaged file is told on stderr and passed over."""
    chosen = []
    for letter in letters.letters():
        if not isinstance(letter, DeadLetter):
            click.echo(str(letter), err=True)
        elif _fits(letter, which):
            chosen.append(letter)
    return chosen


def _fits(letter: DeadLetter, which: Filter) -> bool:
    received_at = int(datetime.fromisoformat(letter.received_at).timestamp() * 1000)
    return (
        which.destination in {None, letter.destination}
        and which.state in {None, State.DEAD}
        and (which.since is None or received_at >= which.since)
        and (which.until is None or received_at < which.until)
        and ((which.type is None and which.kit is None) or _is_about(letter, which))
    )


def _is_about(letter: DeadLetter, which: Filter) -> bool:
    try:
        event = (parse if letter.kind == "quarantine" else parse_kept)(letter.body)
    except ParseError:  # what is not understood is of no type and of no kit
        return False
    return which.type in {None, event.type} and (which.kit is None or which.kit in event.kit_codes)


def _row(letter: DeadLetter) -> dict[str, Any]:
    names = ("id", "kind", "event_id", "destination", "reason", "died_at", "attempts")
    told = asdict(letter)
    return {name: told[name] for name in names}
