"""`glycanbridge deliveries`: what is owed, delivered or dead."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from glycanbridge.cli.options import config_option, filter_options, json_option, read_settings
from glycanbridge.cli.tables import iso, short, show_row, show_rows
from glycanbridge.journal import AttemptRow, DeliveryRow, Filter
from glycanbridge.journals import open_questions


@click.group
def command() -> None:
    """Look at what is owed, delivered or dead."""


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
    event_id, colon, destination = delivery_id.rpartition(":")
    if not colon:  # the event alone is enough, if it is owed to one destination
        event_id, destination = delivery_id, ""
    with closing(open_questions(read_settings(config)[0].journal)) as questions:
        found = questions.event(event_id) if event_id else []
        rows = [
            each
            for event in found
            for each in questions.deliveries_of(event.id)
            if destination in {"", each.destination}
        ]
        if len(rows) != 1:
            many = "several deliveries have" if rows else "no delivery has"
            raise click.ClickException(f"{many} the id {delivery_id!r}; `glycanbridge deliveries list` shows them")
        attempts = [_attempt_row(each) for each in questions.attempts(rows[0].id)]
    row = delivery_row(rows[0])
    show_row({**row, "attempts": attempts} if as_json else {**row, "tried": attempts}, as_json=as_json)


def delivery_row(delivery: DeliveryRow) -> dict[str, Any]:
    """A delivery as it is shown: its times in ISO 8601."""
    return asdict(delivery) | {"due_at": iso(delivery.due_at)}


def _attempt_row(attempt: AttemptRow) -> dict[str, Any]:
    return asdict(attempt) | {"started_at": iso(attempt.started_at)}
