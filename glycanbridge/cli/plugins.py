"""`glycanbridge plugins`: what there is, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from glycanbridge.bridge_yaml import BridgeYaml
from glycanbridge.cli import Commands
from glycanbridge.cli.options import config_option, json_option
from glycanbridge.cli.tables import LONGEST_CELL, show_rows
from glycanbridge.places import files_in
from glycanbridge.plugins import InstalledPlugin, installed_plugins, misnamed_in_environment

TABLE = {
    "check": ("tiers.command", "Say at which tier a plugin stands, and what the next one asks for."),
    "new": ("new_plugin.command", "Write a whole plugin package, to be changed into what you need."),
}


@click.group(cls=Commands, table=TABLE)
def command() -> None:
    """Look at the plugins there are, and begin one of your own."""


@command.command("list")
@config_option
@json_option
def list_plugins(config: Path, *, as_json: bool) -> None:
    """List the plugins there are: where each comes from, what it can be sent, or why it cannot be used.

    Those are the installed ones, and the files that bridge.yaml names. Each is imported, in another process first.
    """
    installed = installed_plugins(files=files_in(BridgeYaml(config)), rehearse=True)
    rows = [_row(each) for each in installed]
    show_rows(rows, as_json=as_json, columns=("name", "package", "events", "error"), nothing="there are no plugins")
    for line in misnamed_in_environment(installed):
        click.echo(line, err=True)
    if not as_json:
        for row in rows:
            told = [row["error"]] if len(row["error"] or "") > LONGEST_CELL else []  # the table has cut it off
            for line in [*told, *row["warnings"]]:
                click.echo(f"{row['name']}: {line}", err=True)


def _row(each: InstalledPlugin) -> dict[str, Any]:
    plugin = each.plugin
    return {
        "name": each.name,
        "package": each.origin,
        "contract": plugin.contract if plugin else None,
        "events": ", ".join(plugin.event_types) if plugin else None,
        "warnings": list(plugin.warnings) if plugin else [],
        "error": each.error,
    }
