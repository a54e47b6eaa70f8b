"""`glycanbridge webhooks rotate`: the next step to a new secret, and what comes after it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import click

from glycanbridge.cli.choices import who
from glycanbridge.cli.options import config_option, json_option
from glycanbridge.cli.webhooks import journal_of, opened
from glycanbridge.glycanage.rotation import Rotation
from glycanbridge.settings import read_settings


@click.command("rotate")
@config_option
@json_option
@click.option("--yes", is_flag=True, help="In the last step: delete the old webhook and take the old secret out.")
@click.option("--again", is_flag=True, help="Begin another rotation, less than a day after the last one.")
def command(config: Path, *, as_json: bool, yes: bool, again: bool) -> None:
    """Change the secret step by step, with no event lost: run it again and again, each run does the next step.

    A new secret beside the old one; a webhook registered with it; once an event has come that the new one signed, the
    old webhook and the old secret go.
    """
    settings, source = read_settings(config)
    done: list[str] = []
    with opened(settings, source) as webhooks, journal_of(settings) as journal:
        told = Rotation(
            settings=settings,
            source=source,
            journal=journal,
            webhooks=webhooks,
            who=who(),
            say=done.append if as_json else click.echo,
            yes=yes,
            again=again,
        ).run(datetime.now(UTC).date())
    if as_json:
        click.echo(json.dumps({"step": told.step, "done": done, "next": told.next}))
    else:
        click.echo(f"next: {told.next}")
    click.get_current_context().exit(1 if told.stuck else 0)
