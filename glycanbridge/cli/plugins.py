"""`glycanbridge plugins`: what is installed."""

from __future__ import annotations

import click

from glycanbridge.cli.options import config_option, json_option
from glycanbridge.cli.tables import show_rows
from glycanbridge.plugins import installed_plugins


@click.group
def command() -> None:
    """Look at the installed plugins."""


@command.command("list")
@config_option
@json_option
def list_plugins(config: object, *, as_json: bool) -> None:  # noqa: ARG001 (every command takes -c)
    """List the installed plugins: where each comes from, what it can be sent, or why it cannot be used."""
    rows = [
        {
            "name": each.name,
            "package": f"{each.distribution} {each.version}".strip(),
            "events": ", ".join(each.plugin.event_types) if each.plugin else None,
            "error": each.error,
        }
        for each in installed_plugins()
    ]
    show_rows(rows, as_json=as_json, columns=("name", "package", "events", "error"), nothing="no plugins are installed")
