"""The command `glycanbridge`: one file for each group of commands, imported when one of them is called.

The table below is all that `glycanbridge --help` needs: a command's file, and with it falcon, pydantic and apsw, is
imported only when the command runs.
"""

from __future__ import annotations

import importlib
from typing import Any, ClassVar, cast

import click

from glycanbridge.errors import GlycanBridgeError, JournalUnusable, SettingsError

WRONG_CONFIGURATION = 78
"""The exit code that says a restart does not help (EX_CONFIG of sysexits.h)."""


class Commands(click.Group):
    """The commands, by the file that each is in."""

    TABLE: ClassVar[dict[str, str]] = {
        "init": "Write what is missing: bridge.yaml, var/ and the webhook's secret.",
        "check": "Say what bridge.yaml does, or everything that is wrong with it.",
        "serve": "Receive GlycanAge's events and deliver them.",
        "send": "Post a signed sample event, as GlycanAge would.",
        "events": "Look at the events in the journal, and deliver past ones again.",
        "deliveries": "Look at what is owed, delivered or dead, and decide about it.",
        "destinations": "Show what is owed where; pause and resume.",
        "dead-letters": "Look at what was given up or not understood, and send it again.",
        "db": "Look after the journal's file: check it, back it up.",
        "plugins": "Look at the installed plugins.",
        "schema": "Print the JSON Schema of bridge.yaml.",
    }

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The names, in the order of their use."""
        return list(self.TABLE)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command `NAME` is `command` in the file of its name."""
        if cmd_name not in self.TABLE:
            return None
        module = importlib.import_module(f"glycanbridge.cli.{cmd_name.replace('-', '_')}")
        return cast("click.Command", module.command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The table itself, without importing what is in it."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.TABLE.items()))

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


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="glycanbridge")
def main() -> None:
    """Hand GlycanAge's laboratory events to a clinic's own systems, and never lose one."""
