"""`glycanbridge init`: a new bridge's files."""

from __future__ import annotations

import os
import secrets
from importlib import resources
from pathlib import Path

import click

from glycanbridge.cli.options import config_option


@click.command
@config_option
def command(config: Path) -> None:
    """Write what is missing and never overwrite: bridge.yaml, var/ and var/webhook-secret beside it."""
    template = resources.files("glycanbridge") / "bridge.yaml"
    folder = config.absolute().parent
    folder.mkdir(parents=True, exist_ok=True)
    _write_new(config, template.read_text("utf-8"), 0o600)  # people write tokens into it
    _make_private(folder / "var")
    _write_new(folder / "var" / "webhook-secret", secrets.token_urlsafe(48) + "\n", 0o600)


def _make_private(directory: Path) -> None:
    if directory.is_dir():
        click.echo(f"kept     {directory}", err=True)
        return
    directory.mkdir(mode=0o700)
    click.echo(f"written  {directory}", err=True)


def _write_new(file: Path, text: str, mode: int) -> None:
    try:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        click.echo(f"kept     {file}", err=True)
        return
    with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as opened:
        opened.write(text)
    click.echo(f"written  {file}", err=True)
