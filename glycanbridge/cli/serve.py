"""`glycanbridge serve`: receiver and lanes in one process."""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from pathlib import Path

import click

from glycanbridge.cli.options import config_option
from glycanbridge.logs import set_up_logs
from glycanbridge.server import Server
from glycanbridge.settings import read_settings


@click.command
@config_option
def command(config: Path) -> None:
    """Receive GlycanAge's events and deliver them.

    Prints one line, `listening on http://...`, when it is ready. SIGTERM or SIGINT (Ctrl-C) stops it in order, a
    second one at once. Logs go to stderr.
    """
    settings, source = read_settings(config)
    os.umask(0o077)  # every file that is written from here on holds patients' data
    set_up_logs()
    stdout = sys.stdout
    with redirect_stdout(sys.stderr):  # what a plugin prints must not stand beside our one line
        server = Server(settings, source)
        server.run(lambda: click.echo(f"listening on {server.url}", file=stdout))
