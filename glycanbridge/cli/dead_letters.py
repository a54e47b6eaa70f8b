"""`glycanbridge dead-letters`: what was given up or not understood."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from glycanbridge.cli.choices import check_choice, confirm, one_or_many, reason_option, who, yes_option
from glycanbridge.cli.options import choice_options, config_option, filter_options, json_option, read_settings
from glycanbridge.cli.tables import show_row, show_rows
from glycanbridge.dead_letters import DeadLetter, DeadLetters
from glycanbridge.delivery import State
from glycanbridge.destinations import open_destinations
from glycanbridge.errors import DeadLetterError, ParseError
from glycanbridge.events import parse
from glycanbridge.journal import Filter
from glycanbridge.journals import open_by_hand
from glycanbridge.replays import discard_letter, replay_letter


@click.group
def command() -> None:
    """Look at what was given up or not understood, send it again, or discard it."""


@command.command("list")
@config_option
@json_option
@filter_options
def list_letters(config: Path, *, as_json: bool, which: Filter) -> None:
    """List dead letters, the newest first. A damaged file is told on stderr."""
    rows = [_row(letter) for letter in _chosen(DeadLetters(read_settings(config)[0].dead_letters), which)]
    columns = ("id", "kind", "destination", "reason", "died_at", "attempts")
    show_rows(rows[: -which.limit - 1 : -1], as_json=as_json, columns=columns, nothing="no dead letters")


@command.command("show")
@click.argument("letter_id", metavar="ID")
@config_option
@json_option
def show_letter(letter_id: str, config: Path, *, as_json: bool) -> None:
    """Show one dead letter whole; the beginning of its ID is enough. It holds a patient's data."""
    letter = DeadLetters(read_settings(config)[0].dead_letters).load(letter_id)
    more = {"plugin": letter.plugin, "received_at": letter.received_at}
    show_row(_row(letter) | more | {"body": letter.body.decode("utf-8", "backslashreplace")}, as_json=as_json)


@command.command("replay")
@one_or_many
@config_option
@choice_options
@click.option("--all", "all_of_them", is_flag=True, help="Every dead letter.")
@yes_option
def replay_letters(one: str | None, config: Path, *, which: Filter, all_of_them: bool, yes: bool) -> None:
    """Send dead letters again: one by its ID, or those that fit. Also files put back by hand.

    A delivery is due now, and its file goes once it is delivered. A body that was not understood is read again, and
    becomes an ordinary event if it is understood now.
    """
    check_choice(one, which, all_of_them=all_of_them)
    settings, source = read_settings(config)
    destinations, _ = open_destinations(settings, source)
    letters = DeadLetters(settings.dead_letters)
    chosen = _chosen(letters, which) if one is None else [letters.load(one)]
    confirm(len(chosen), "dead letters", yes=yes or one is not None)
    left = 0
    with closing(open_by_hand(settings.journal, make=True)) as journal:
        for letter in chosen:
            try:
                told = replay_letter(
                    letter, journal=journal, destinations=destinations, dead_letters=letters, who=who()
                )
            except (ParseError, DeadLetterError) as error:
                left += 1
                told = f"left as it is: {error}"
            click.echo(f"{letter.id[:12]} {told}")
    click.get_current_context().exit(1 if left else 0)


@command.command("discard")
@one_or_many
@config_option
@choice_options
@reason_option
@yes_option
def discard_letters(one: str | None, config: Path, *, which: Filter, reason: str, yes: bool) -> None:
    """Remove dead letters for good: one by its ID, or those that fit. The journal remembers who and why."""
    check_choice(one, which)
    settings, _ = read_settings(config)
    letters = DeadLetters(settings.dead_letters)
    chosen = _chosen(letters, which) if one is None else [letters.load(one)]
    confirm(len(chosen), "dead letters", yes=yes or one is not None)
    with closing(open_by_hand(settings.journal, make=True)) as journal:
        for letter in chosen:
            discard_letter(letter, journal=journal, dead_letters=letters, who=who(), reason=reason)
    click.echo(f"{len(chosen)} discarded by {who()}: {reason}", err=True)


def _chosen(letters: DeadLetters, which: Filter) -> list[DeadLetter]:
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
        and ((which.type is None and which.kit is None) or _is_about(letter.body, which))
    )


def _is_about(body: bytes, which: Filter) -> bool:
    try:
        event = parse(body)
    except ParseError:  # what is not understood is of no type and of no kit
        return False
    return which.type in {None, event.type} and (which.kit is None or which.kit in event.kit_codes)


def _row(letter: DeadLetter) -> dict[str, Any]:
    names = ("id", "kind", "event_id", "destination", "reason", "died_at", "attempts")
    told = asdict(letter)
    return {name: told[name] for name in names}
