"""`glycanbridge events`: what GlycanAge told us."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from glycanbridge.cli import Commands
from glycanbridge.cli.deliveries import delivery_row
from glycanbridge.cli.options import config_option, filter_options, json_option, read_places
from glycanbridge.cli.tables import iso, show_row, show_rows
from glycanbridge.identity import short
from glycanbridge.journal import EventRow, Filter, Questions
from glycanbridge.journals import open_questions


@click.group(
    cls=Commands,
    table={
        "replay": ("decisions.replay_events", "Deliver past events again: one by its ID, or those that fit."),
    },
)
def command() -> None:
    """Look at the events in the journal, and deliver past ones again."""


@command.command("list")
@config_option
@json_option
@filter_options
def list_events(config: Path, *, as_json: bool, which: Filter) -> None:
    """List events, the newest first."""
    with closing(open_questions(read_places(config).journal)) as questions:
        rows = [_event_row(each) for each in questions.events(which)]
    if not as_json:
        rows = [row | {"id": short(row["id"])} for row in rows]
    columns: tuple[str, ...] = ("id", "type", "received_at", "practice_id", "kit_code", "state")
    if any(row["flags"] for row in rows):
        columns = (*columns, "flags")
    show_rows(rows, as_json=as_json, columns=columns, nothing="no such events")


@command.command("show")
@click.argument("event_id", metavar="ID")
@config_option
@json_option
def show_event(event_id: str, config: Path, *, as_json: bool) -> None:
    """Show one event whole, with its deliveries; the beginning of its ID is enough. It holds a patient's data."""
    with closing(open_questions(read_places(config).journal)) as questions:
        event = find_event(questions, event_id)
        deliveries = [delivery_row(each) for each in questions.deliveries_of(event.id)]
    data = json.loads(event.body)["data"]
    show_row(_event_row(event) | {"data": data, "deliveries": deliveries}, as_json=as_json)


def find_event(questions: Questions, event_id: str) -> EventRow:
    """The one event whose id is or begins with `event_id`; else a message that says what to do."""
    found = questions.event(event_id)
    if not found:
        raise click.ClickException(
            f"no event has an id that begins {event_id!r}; `glycanbridge events list` shows them"
        )
    if len(found) > 1:
        raise click.ClickException(f"several events have an id that begins {event_id!r}: give more of it")
    return found[0]


def _event_row(event: EventRow) -> dict[str, Any]:
    return {
        "id": event.id,
        "type": event.type,
        "timestamp": iso(event.timestamp),
        "received_at": iso(event.received_at),
        "practice_id": event.practice_id,
        "kit_code": event.kit_code,
        "state": event.state,
        "flags": event.flags,
    }
