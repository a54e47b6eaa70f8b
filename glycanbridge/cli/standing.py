"""`glycanbridge destinations list`: what is owed where, and what holds it up."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

from glycanbridge.cli.options import config_option, json_option
from glycanbridge.cli.tables import LONGEST_CELL, iso, show_rows
from glycanbridge.destinations import Destination, open_destinations
from glycanbridge.journal import Owed, Standing
from glycanbridge.journals import open_questions
from glycanbridge.settings import read_settings


@click.command("list")
@config_option
@json_option
def list_destinations(config: Path, *, as_json: bool) -> None:
    """Show what is owed where, and what holds it up."""
    settings, source = read_settings(config)
    with closing(open_questions(settings.journal)) as questions:
        owed = {each.destination: each for each in questions.owed()}
        standings = questions.standings()
    destinations, _ = open_destinations(settings, source)
    rows = []
    for name in [*destinations, *(gone for gone in owed if gone not in destinations)]:
        row, told = owed.get(name) or Owed(destination=name), destinations.get(name)
        held_up = hindrance(told, standings.get(name))
        rows.append(
            {
                "destination": name,
                "plugin": told.settings.plugin if told else None,
                "runs": f"no: {held_up}" if held_up else _pace(standings.get(name)),
                "pending": row.pending,
                "running": row.running,
                "held": row.held,
                "dead": row.dead,
                "oldest_due_at": iso(row.oldest_due_at),
            }
        )
    columns = ("destination", "plugin", "runs", "pending", "running", "held", "dead", "oldest_due_at")
    show_rows(rows, as_json=as_json, columns=columns, nothing="no destinations")
    for each in rows:
        if not as_json and len(str(each["runs"])) > LONGEST_CELL:  # the table has cut off what to do about it
            click.echo(f"{each['destination']} runs: {each['runs']}", err=True)


def hindrance(destination: Destination | None, standing: Standing | None) -> str | None:
    """Everything that keeps what a destination is owed waiting; `None` if nothing does."""
    told = []
    if destination is None:
        told.append("not in bridge.yaml")
    elif destination.hindrance is not None:
        told.append(destination.hindrance)
    if standing is not None and standing.paused_at is not None:
        told.append(f"paused by {standing.paused_by} since {iso(standing.paused_at)}: {standing.reason}")
    if standing is not None and standing.circuit.open_since is not None and not standing.circuit.comes_back:
        since, again, trouble = iso(standing.circuit.open_since), iso(standing.circuit.probe_at), standing.trouble
        told.append(f"fails since {since}, tried again at {again}" + (f": {trouble}" if trouble else ""))
    return "; ".join(told) or None


def _pace(standing: Standing | None) -> str:
    """How a destination goes that nothing holds up."""
    if standing is None or not standing.circuit.comes_back:
        return "yes"
    return f"yes: it is back, and goes one by one until {standing.circuit.failures} more have got through"
