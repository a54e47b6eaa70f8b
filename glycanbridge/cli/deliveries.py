"""`glycanbridge deliveries`: what is owed, delivered or dead."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from glycanbridge.cli.choices import (
    check_choice,
    confirm,
    make_again,
    one_or_many,
    reason_option,
    replay_options,
    who,
    yes_option,
)
from glycanbridge.cli.options import choice_options, config_option, filter_options, json_option, read_settings
from glycanbridge.cli.tables import iso, short, show_row, show_rows
from glycanbridge.dead_letters import DeadLetters, letter_of
from glycanbridge.delivery import State
from glycanbridge.destinations import open_destinations
from glycanbridge.journal import AttemptRow, DeliveryRow, Filter, Journal, Questions, Replay
from glycanbridge.journals import open_by_hand, open_questions
from glycanbridge.replays import chosen_deliveries, replay_of


@click.group
def command() -> None:
    """Look at what is owed, delivered or dead, and decide about it."""


@command.command("list")
@config_option
@json_option
@filter_options
def list_deliveries(config: Path, *, as_json: bool, which: Filter) -> None:
    """List deliveries, the newest first."""
    with closing(open_questions(read_settings(config)[0].journal)) as questions:
        rows = [delivery_row(each) for each in questions.deliveries(which)]
    if not as_json:
        rows = [row | {"id": f"{short(row['event_id'])}:{row['destination']}"} for row in rows]
    columns = ("id", "event_type", "state", "attempts", "due_at", "last_error")
    show_rows(rows, as_json=as_json, columns=columns, nothing="no such deliveries")


@command.command("show")
@click.argument("delivery_id", metavar="ID")
@config_option
@json_option
def show_delivery(delivery_id: str, config: Path, *, as_json: bool) -> None:
    """Show one delivery with its attempts. Its ID is EVENT:DESTINATION; the beginning of the event's id is enough."""
    with closing(open_questions(read_settings(config)[0].journal)) as questions:
        row = find_delivery(questions, delivery_id)
        attempts = [_attempt_row(each) for each in questions.attempts(row.id)]
        history = [asdict(each) | {"at": iso(each.at)} for each in questions.history(row.id)]
    told = delivery_row(row)
    more: dict[str, Any] = {"attempts": attempts} if as_json else {"tried": attempts}
    show_row({**told, **more, "history": history}, as_json=as_json)


@command.command("replay")
@replay_options
def replay_deliveries(
    one: str | None, config: Path, *, which: Filter, all_of_them: bool, per_s: float | None, yes: bool
) -> None:
    """Make deliveries again, now, with their whole schedule before them: one by its ID, or those that fit.

    Dead ones, unless --state says otherwise: `pending` ones need not wait any longer. Their history stays.
    """
    check_choice(one, which, all_of_them=all_of_them)
    with _chosen(one, config, which) as (journal, _, chosen):
        make_again(journal, chosen, "deliveries", yes=yes or one is not None, per_s=per_s)


@command.command("confirm")
@click.argument("delivery_id", metavar="ID")
@config_option
@reason_option
def confirm_delivery(delivery_id: str, config: Path, *, reason: str) -> None:
    """Say that the destination has a pending delivery: for one whose attempt was cut off, and that is held."""
    with closing(open_by_hand(read_settings(config)[0].journal)) as journal:
        row = find_delivery(journal, delivery_id)
        if not journal.confirm(row.id, who=who(), reason=reason):
            raise click.ClickException(f"{row.id} is {row.state}: only a pending delivery can be confirmed")
    click.echo(f"{row.id} counts as delivered", err=True)


@command.command("discard")
@one_or_many
@config_option
@choice_options
@reason_option
@yes_option
def discard_deliveries(one: str | None, config: Path, *, which: Filter, reason: str, yes: bool) -> None:
    """Give up deliveries for good: one by its ID, or those that fit: pending ones, unless --state says dead.

    They stay in the journal as dead, with who and why; there is no dead letter of them.
    """
    check_choice(one, which)
    which = which if which.state or one is not None else replace(which, state=State.PENDING)
    with _chosen(one, config, which) as (journal, letters, chosen):
        confirm(len(chosen), "deliveries", yes=yes or one is not None)
        ids = [f"{each.event_id}:{each.destination}" for each in chosen]
        gone = [each for each in ids if journal.discard(each, who=who(), reason=reason)]
        for each in gone:
            letters.remove(letter_of(each))
    click.echo(f"{len(gone)} discarded; {len(chosen) - len(gone)} could not be: running or delivered", err=True)


@contextmanager
def _chosen(one: str | None, config: Path, which: Filter) -> Iterator[tuple[Journal, DeadLetters, list[Replay]]]:
    """The journal, the dead letters, and the one delivery with this ID or all that fit."""
    settings, source = read_settings(config)
    destinations, _ = open_destinations(settings, source)
    with closing(open_by_hand(settings.journal)) as journal:
        if one is None:
            chosen = chosen_deliveries(which, questions=journal, destinations=destinations)
        else:
            row = find_delivery(journal, one)
            chosen = [replay_of(journal.event(row.event_id)[0], row.destination, destinations, was=row)]
        yield journal, DeadLetters(settings.dead_letters), chosen


def find_delivery(questions: Questions, delivery_id: str) -> DeliveryRow:
    """The one delivery with this id, EVENT:DESTINATION; the beginning of the event's id is enough.

    The event alone is enough, too, if it is owed to one destination. Else a message that says what to do.
    """
    event_id, colon, destination = delivery_id.rpartition(":")
    if not colon:
        event_id, destination = delivery_id, ""
    found = questions.event(event_id) if event_id else []
    rows = [
        each for event in found for each in questions.deliveries_of(event.id) if destination in {"", each.destination}
    ]
    if len(rows) != 1:
        many = "several deliveries have" if rows else "no delivery has"
        raise click.ClickException(f"{many} the id {delivery_id!r}; `glycanbridge deliveries list` shows them")
    return rows[0]


def delivery_row(delivery: DeliveryRow) -> dict[str, Any]:
    """A delivery as it is shown: its times in ISO 8601."""
    return asdict(delivery) | {"due_at": iso(delivery.due_at)}


def _attempt_row(attempt: AttemptRow) -> dict[str, Any]:
    return asdict(attempt) | {"started_at": iso(attempt.started_at)}
