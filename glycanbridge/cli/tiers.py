"""`glycanbridge plugins check`: at which tier a plugin stands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from glycanbridge.bridge_yaml import BridgeYaml
from glycanbridge.cli.options import config_option, json_option
from glycanbridge.cli.tables import show_rows
from glycanbridge.errors import PluginError
from glycanbridge.places import files_in
from glycanbridge.plugins import InstalledPlugin, installed_plugins, usable_plugin
from glycanbridge.tiers import Evidence, Judged, Standing, State, Tier, judge


@click.command("check")
@click.argument("name")
@click.option(
    "--source",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="The folder with its pyproject.toml and tests; default: the one that pip installed it from.",
)
@click.option(
    "--at-least",
    type=click.Choice([each.value for each in Tier]),
    default=Tier.BRONZE.value,
    show_default=True,
    help="Exit with 1 below this tier.",
)
@click.option("--without-tests", is_flag=True, help="Run neither its tests nor mypy: those rules are not known then.")
@click.option(
    "--within-s",
    type=click.FloatRange(1, 86_400),
    default=600,
    show_default=True,
    help="Seconds that its tests, and mypy, may take each.",
)
@config_option
@json_option
def command(
    name: str, config: Path, source: Path | None, *, at_least: str, without_tests: bool, within_s: float, as_json: bool
) -> None:
    """Say at which tier the plugin NAME stands, which rules it keeps, and what the next tier asks for.

    Its tests are run, in its source, by pytest, and mypy over its code, each in a process of its own: run it on plugins
    that you trust. What cannot be looked at is "not known", and does not count as kept.
    """
    found = _found(name, config)
    standing = judge(Evidence.of(found, source_folder=source, run=not without_tests, within_s=within_s))
    if as_json:
        click.echo(json.dumps(_told(found, standing)))
    else:
        _show(found, standing)
    if not standing.reaches(Tier(at_least)):
        click.get_current_context().exit(1)


def _found(name: str, config: Path) -> InstalledPlugin:
    """The plugin there is of this name, be it usable or not. Raises `PluginError` if there is none."""
    files = files_in(BridgeYaml(config))
    found = installed_plugins([name], files=files, rehearse=True)
    if len(found) != 1:
        usable_plugin(name, found, files=files)  # it says which there are
        raise PluginError(f"there are several plugins {name!r}")
    return found[0]


def _told(found: InstalledPlugin, standing: Standing) -> dict[str, Any]:
    return {
        "name": found.name,
        "package": found.origin,
        "tier": standing.tier,
        "next": standing.next,
        "rules": [_row(each) | {"output": each.verdict.output or None} for each in standing.judged],
    }


def _row(each: Judged) -> dict[str, Any]:
    rule, verdict = each.rule, each.verdict
    return {"tier": rule.tier, "rule": rule.name, "asks": rule.asks, "state": verdict.state, "told": verdict.told}


def _show(found: InstalledPlugin, standing: Standing) -> None:
    rows = [_row(each) for each in standing.judged]
    show_rows(rows, as_json=False, columns=("tier", "rule", "state", "told"), nothing="")
    click.echo(f"{found.name} ({found.origin}): {standing.tier or 'no tier yet'}")
    if standing.next is not None:
        click.echo(f"For {standing.next}:")
        for each in standing.missing(standing.next):
            unknown = "not known: " if each.verdict.state is State.NOT_KNOWN else ""
            click.echo(f"  {each.rule.name}: {unknown}{each.verdict.told}")
    for each in standing.judged:
        if each.verdict.output:
            click.echo(f"The last lines of {each.rule.name}:\n{each.verdict.output}", err=True)
