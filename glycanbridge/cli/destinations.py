"""`glycanbridge destinations`: what is owed where."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

from glycanbridge.cli.options import config_option, json_option, read_settings
from glycanbridge.cli.tables import iso, show_rows
from glycanbridge.destinations import open_destinations
from glycanbridge.journal import Owed
from glycanbridge.journals import open_questions


@click.command
@config_option
@json_option
def command(config: Path, *, as_json: bool) -> None:
    """Show what is owed where, also to destinations that are no longer in bridge.yaml."""
    settings, source = read_settings(config)
    with closing(open_questions(settings.journal)) as questions:
        owed = {each.destination: each for each in questions.owed()}
    destinations, _ = open_destinations(settings, source)
    rows = []
    for name in [*destinations, *(gone for gone in owed if gone not in destinations)]:
        row = owed.get(name) or Owed(destination=name, pending=0, running=0, dead=0, oldest_due_at=None)
        told = destinations.get(name)
        rows.append(
            {
                "destination": name,
                "plugin": told.settings.plugin if told else None,
                "runs": told.standing if told else "no: not in bridge.yaml",
                "pending": row.pending,
                "running": row.running,
                "dead": row.dead,
                "oldest_due_at": iso(row.oldest_due_at),
            }
        )
    destinations.close()
    columns = ("destination", "plugin", "runs", "pending", "running", "dead", "oldest_due_at")
    show_rows(rows, as_json=as_json, columns=columns, nothing="no destinations")
