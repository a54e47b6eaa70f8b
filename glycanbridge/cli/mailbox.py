"""`glycanbridge mailbox`: a mail server for rehearsals, which keeps each mail as a file and sends none on."""

from __future__ import annotations

import os
import time
from contextlib import closing
from pathlib import Path

import click

from glycanbridge.cli.stopping import sigterm_as_ctrl_c
from glycanbridge.demo.mails import MailCatcher

PORT = 8025


@click.command
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="0 is any free one.")
def command(folder: Path, port: int) -> None:
    """Be a mail server to rehearse against: keep each mail as a file in FOLDER, and send none on.

    Listens on 127.0.0.1 alone, without encryption or a login: in bridge.yaml `host: 127.0.0.1`, `port: 8025`,
    `security: plain`. Prints a line when it is ready and one for each mail, with its file and to whom it is, until
    Ctrl-C. Mail programs open the files, 0001.eml and so on; what is in FOLDER already is left alone.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise click.ClickException(f"{folder}: {error.strerror}") from None
    with sigterm_as_ctrl_c():
        try:
            with closing(_opened(folder, port)) as mails:
                click.echo(f"listening on 127.0.0.1:{mails.port}, mails are kept in {folder}")
                while True:
                    time.sleep(3600)
        except KeyboardInterrupt:
            click.echo("stopped", err=True)


def _opened(folder: Path, port: int) -> MailCatcher:
    try:
        return MailCatcher(folder, port=port, told=_tell)
    except OSError as error:
        raise click.ClickException(
            f"127.0.0.1:{port}: {os.strerror(error.errno or 0)}; name another port with --port, and in bridge.yaml"
        ) from None


def _tell(file: Path, recipients: tuple[str, ...]) -> None:
    to = ", ".join(recipients)
    click.echo(f"{file} to {''.join(each if each.isprintable() else '?' for each in to)}")
