"""`glycanbridge db`: the journal's file: check it, back it up while serving, bring it up to date, make it smaller."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click

from glycanbridge.cli.options import config_option, read_places
from glycanbridge.journals.opening import open_file


@click.group
def command() -> None:
    """Look after the journal's file."""


@command.command("check")
@config_option
def check(config: Path) -> None:
    """Read the whole journal and say what is damaged in it; exit 1 if anything is. Also while serving."""
    with closing(open_file(read_places(config).journal)) as file:
        problems = file.check()
        for problem in problems:
            click.echo(problem)
        if problems:
            raise click.ClickException(f"{file.path} is damaged: see docs/operations.md, 'The journal is damaged'")
        click.echo(f"{file.path}: whole; {file.counted()}")


@command.command("backup")
@click.argument("target", metavar="FILE", type=click.Path(path_type=Path))
@config_option
def backup(target: Path, config: Path) -> None:
    """Copy the journal to FILE, as it is at one moment, also while serving. It holds patients' data (mode 0600)."""
    with closing(open_file(read_places(config).journal)) as file:
        file.back_up(target)
        click.echo(f"{target}: {file.counted()}", err=True)


@command.command("migrate")
@config_option
def migrate(config: Path) -> None:
    """Bring the journal up to date, as `serve` does by itself; a copy of the old one is left beside it."""
    with closing(open_file(read_places(config).journal)) as file:
        before, after = file.migrate()
        click.echo(f"{file.path}: version {before} -> {after}" if before != after else f"{file.path}: version {after}")


@command.command("vacuum")
@config_option
def vacuum(config: Path) -> None:
    """Give the room of what was deleted back to the disk. The bridge must not be serving."""
    with closing(open_file(read_places(config).journal)) as file:
        before, after = file.vacuum()
        click.echo(f"{file.path}: {before:,} -> {after:,} bytes")
