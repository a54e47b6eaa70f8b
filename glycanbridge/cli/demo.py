"""`glycanbridge demo`: a whole bridge to look at, with invented events."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from glycanbridge.cli.options import Number
from glycanbridge.demo.show import Demo, Wish
from glycanbridge.simulator.lives import MOST_KITS


@click.command
@click.option("--kits", type=click.IntRange(1, MOST_KITS), default=10, show_default=True, help="So many kits.")
@click.option("--seconds", type=Number(1, 3600), default=20.0, show_default=True, help="For so long.")
@click.option("--seed", type=int, default=1, show_default=True, help="Another number, another story.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="An empty folder to do it in; by "
              "default a new one among the temporary files.")  # fmt: skip
@click.option("--once", is_flag=True, help="End when the story is told.")
def command(**wish: object) -> None:
    """Show a whole bridge at work: six weeks of ten kits in twenty seconds, everything invented.

    Starts a simulated GlycanAge, a bridge with a CSV export and e-mail, and a mail server that keeps its mails as
    files; registers, sends, and prints what came, what went where and what waits. Nothing leaves this machine, and no
    bridge of yours is touched. Ctrl-C ends it; exit 0 if everything went as it should.
    """
    stdout = sys.stdout  # the demo's own goes into the bridge's log, as what plugins print does
    demo = Demo(Wish(program=_typed(), **wish), lambda line: click.echo(line, file=stdout))  # type: ignore[arg-type]
    demo.run()
    click.get_current_context().exit(0 if demo.fine else 1)


def _typed() -> str:
    """How this program is called from any folder, since another terminal begins elsewhere: `/opt/bin/glycanbridge`."""
    called = Path(sys.argv[0])
    return shlex.quote(str(called.absolute())) if called.stem == "glycanbridge" else "glycanbridge"
