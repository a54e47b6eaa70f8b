"""`glycanbridge schema`: what an editor needs to check bridge.yaml as it is written."""

from __future__ import annotations

import json
from pathlib import Path

import click

from glycanbridge.bridge_yaml import BridgeYaml
from glycanbridge.cli.options import config_option
from glycanbridge.places import files_in
from glycanbridge.plugins import installed_plugins
from glycanbridge.problems import schema_of
from glycanbridge.settings import json_schema


@click.command
@config_option
def command(config: Path) -> None:
    """Print the JSON Schema of bridge.yaml, the settings of the installed plugins included.

    Save it beside the file, `glycanbridge schema > bridge.schema.json`: editors find it by the file's first line.
    """
    installed = installed_plugins(files=files_in(BridgeYaml(config)), rehearse=True)
    for each in installed:
        if each.plugin is None:
            click.echo(f"left out: {each.name}: {each.error}", err=True)
    models = {each.name: each.plugin.model for each in installed if each.plugin is not None}
    for name in [name for name, model in models.items() if schema_of(model) is None]:
        click.echo(f"left out: {name}: its settings have no JSON Schema", err=True)
        del models[name]
    click.echo(json.dumps(json_schema(models), indent=2))
