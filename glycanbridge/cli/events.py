"""`glycanbridge events`: what GlycanAge told us."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from glycanbridge.cli.choices import check_choice, make_again, replay_options
from glycanbridge.cli.deliveries import delivery_row
from glycanbridge.cli.options import config_option, filter_options, json_option, read_settings
from glycanbridge.cli.tables import iso, short, show_row, show_rows
from glycanbridge.destinations import open_destinations
from glycanbridge.journal import EventRow, Filter, Questions
from glycanbridge.journals import open_by_hand, open_questions
from glycanbridge.replays import chosen_events, replay_of


@click.group
def command() -> None:
    """Look at the events in the journal, and deliver past ones again."""


@command.command("list")
@config_option
@json_option
@filter_options
def list_events(config: Path, *, as_json: bool, which: Filter) -> None:
    """List events, the newest first."""
    with closing(open_questions(read_settings(config)[0].journal)) as questions:
        rows = [_event_row(each) for each in questions.events(which)]
    if not as_json:
        rows = [row | {"id": short(row["id"])} for row in rows]
    columns = ("id", "type", "received_at", "practice_id", "kit_code", "state")
    show_rows(rows, as_json=as_json, columns=columns, nothing="no such events")


@command.command("show")
@click.argument("event_id", metavar="ID")
@config_option
@json_option
def show_event(event_id: str, config: Path, *, as_json: bool) -> None:
    """Show one event whole, with its deliveries; the beginning of its ID is enough. It holds a patient's data."""
    with closing(open_questions(read_settings(config)[0].journal)) as questions:
        event = find_event(questions, event_id)
        deliveries = [delivery_row(each) for each in questions.deliveries_of(event.id)]
    data = json.loads(event.body)["data"]
    show_row(_event_row(event) | {"flags": event.flags, "data": data, "deliveries": deliveries}, as_json=as_json)


@command.command("replay")
@replay_options
def replay_events(
    one: str | None, config: Path, *, which: Filter, all_of_them: bool, per_s: float | None, yes: bool
) -> None:
    """Deliver past events again: one by its ID, or those that fit. What was delivered before keeps its history.

    --destination is where they are to go: also one that was added later, and was owed none of them. Without it they
    go to every destination that takes them. A destination's `events` and `practices` hold as ever.
    """
    check_choice(one, replace(which, destination=None), all_of_them=all_of_them)  # where to is no choice of what
    settings, source = read_settings(config)
    destinations, _ = open_destinations(settings, source)
    if which.destination not in {None, *destinations}:
        known = ", ".join(destinations) or "none"
        raise click.UsageError(f"--destination {which.destination}: bridge.yaml has {known}")
    names = [name for name in destinations if which.destination in {None, name}]
    with closing(open_by_hand(settings.journal)) as journal:
        if one is None:
            chosen = chosen_events(which, names, questions=journal, destinations=destinations)
        else:
            event = find_event(journal, one)
            takers = [name for name in names if destinations[name].takes(event.type, event.practice_id)]
            chosen = [replay_of(event, name, destinations) for name in takers]
        events, to = len({each.event_id for each in chosen}), sorted({each.destination for each in chosen})
        told = f"deliveries of {events} events to {', '.join(to) or 'nobody'}"
        make_again(journal, chosen, told, yes=yes or one is not None, per_s=per_s)


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
    }
