"""The command `glycanbridge`: one file for each group of commands, imported when one of them is called.

The table below is all that `glycanbridge --help` needs: a command's file, and with it falcon, pydantic and apsw, is
imported only when the command runs.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, cast

import click

from glycanbridge.errors import GlycanBridgeError, JournalUnusable, SettingsError

WRONG_CONFIGURATION = 78
"""The exit code that says a restart does not help (EX_CONFIG of sysexits.h)."""

COMMANDS = {
    "demo": ("demo.command", "Show a whole bridge at work, with invented events: nothing leaves this machine."),
    "init": ("init.command", "Write what is missing: bridge.yaml, var/ and the webhook's secret."),
    "check": ("check.command", "Say what bridge.yaml does, or everything that is wrong with it."),
    "serve": ("serve.command", "Receive GlycanAge's events and deliver them."),
    "send": ("send.command", "Post a signed sample event, as GlycanAge would."),
    "simulate": ("simulate.command", "Be a GlycanAge to rehearse against: weeks of events, its API, or a load."),
    "mailbox": ("mailbox.command", "Be a mail server to rehearse against: keep each mail as a file, and send none on."),
    "webhooks": ("webhooks.command", "Register this bridge at GlycanAge; list, delete, change the secret."),
    "events": ("events.command", "Look at the events in the journal, and deliver past ones again."),
    "reconcile": ("reconcile.command", "Compare what GlycanAge has with the journal; make the events that never came."),
    "deliveries": ("deliveries.command", "Look at what is owed, delivered or dead, and decide about it."),
    "destinations": ("destinations.command", "Show what is owed where; pause and resume."),
    "dead-letters": ("dead_letters.command", "Look at what was given up or not understood, and send it again."),
    "db": ("db.command", "Look after the journal's file: check it, back it up."),
    "plugins": ("plugins.command", "Look at the plugins there are, and begin one of your own."),
    "doctor": ("doctor.command", "Say what is wrong with this bridge, and what to do about it."),
    "verify": ("verify.command", "Say which secret a body is signed with, or why its signature does not fit."),
    "schema": ("schema.command", "Print the JSON Schema of bridge.yaml."),
}
"""Where each command is, and what it does, in the order of their use."""


class Commands(click.Group):
    """Commands, some of which are imported only when they are called: those in `table`, by name.

    For each it says where it is, `file.function`, and what it does, for the help.
    """

    def __init__(self, *arguments: Any, table: Mapping[str, tuple[str, str]], **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The names, in the order of their use."""
        return [*self.commands, *self.table]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, imported if it is one of the table's."""
        if cmd_name not in self.table:
            return super().get_command(ctx, cmd_name)
        module, _, name = self.table[cmd_name][0].partition(".")
        return cast("click.Command", getattr(importlib.import_module(f"glycanbridge.cli.{module}"), name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """What is here, and the table itself, without importing what is in it."""
        here = [(name, each.get_short_help_str(limit=200)) for name, each in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl([*here, *((name, does) for name, (_, does) in self.table.items())])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; one of our own errors ends in its line on stderr and an exit code."""
        try:
            return super().invoke(ctx)
        except (SettingsError, JournalUnusable) as error:
            click.echo(str(error), err=True)
            ctx.exit(WRONG_CONFIGURATION)
        except GlycanBridgeError as error:
            click.echo(str(error), err=True)
            ctx.exit(1)


@click.group(
    cls=Commands,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(package_name="glycanbridge")
def main() -> None:
    """Hand GlycanAge's laboratory events to a clinic's own systems, and never lose one."""
