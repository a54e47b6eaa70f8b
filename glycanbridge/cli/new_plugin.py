"""`glycanbridge plugins new`: a plugin of one's own to begin with."""

from __future__ import annotations

import shlex
from importlib.metadata import entry_points
from pathlib import Path

import click

from glycanbridge.hookspecs import GROUP
from glycanbridge.new_plugin import NewPlugin


@click.command("new")
@click.argument("name")
@click.option(
    "--dir",
    "within",
    type=click.Path(path_type=Path, file_okay=False),
    default=".",
    help="Where its folder is made; default: here.",
)
def command(name: str, within: Path) -> None:
    """Write a whole plugin package, glycanbridge-NAME, which works, is tested, and is yours to change.

    It posts each event as JSON to a web service. NAME is what `plugin:` in bridge.yaml will say: lower-case letters,
    digits and '-'. Nothing is ever overwritten.
    """
    plugin = NewPlugin.of(name)
    for path in plugin.write(within):
        click.echo(f"written  {path}")
    if name in {each.name for each in entry_points(group=GROUP)}:
        click.echo(f"warning: a plugin {name!r} is installed already; of two with one name neither is used", err=True)
    folder = (within / plugin.package).as_posix()
    local = folder if folder.startswith(("/", "..")) or ":" in folder else f"./{folder}"
    click.echo("Next, in the environment that GlycanBridge is installed in:")
    click.echo(f'  pip install -e "{local}[test]"')
    click.echo(f"  python -m pytest {shlex.quote(folder)}")
    click.echo(f"  glycanbridge plugins check {name}")
