"""`glycanbridge deliveries`: what is owed, delivered or dead."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from glycanbridge.cli import Commands
from glycanbridge.cli.options import config_option, filter_options, json_option, read_places
from glycanbridge.cli.tables import iso, show_row, show_rows
from glycanbridge.identity import short
from glycanbridge.journal import AttemptRow, DeliveryRow, Filter, Questions
from glycanbridge.journals import open_questions


@click.group(
    cls=Commands,
    table={
        "replay": ("decisions.replay_deliveries", "Make deliveries again, now, with their whole schedule before them."),
        "confirm": ("decisions.confirm_delivery", "Say that the destination has a pending delivery."),
        "discard": ("decisions.discard_deliveries", "Give up deliveries for good."),
    },
)
def command() -> None:
    """Look at what is owed, delivered or dead, and decide about it."""


@command.command("list")
@config_option
@json_option
@filter_options
def list_deliveries(config: Path, *, as_json: bool, which: Filter) -> None:
    """List deliveries, the newest first."""
    with closing(open_questions(read_places(config).journal)) as questions:
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
    with closing(open_questions(read_places(config).journal)) as questions:
        row = find_delivery(questions, delivery_id)
        attempts = [_attempt_row(each) for each in questions.attempts(row.id)]
        history = [asdict(each) | {"at": iso(each.at)} for each in questions.history(row.id)]
    told = delivery_row(row)
    more: dict[str, Any] = {"attempts": attempts} if as_json else {"tried": attempts}
    show_row({**told, **more, "history": history}, as_json=as_json)


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
