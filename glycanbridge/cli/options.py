"""What the commands have in common: `-c`, the filters of lists, and the reading of `bridge.yaml`."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import click

from glycanbridge.bridge_yaml import BridgeYaml
from glycanbridge.delivery import State
from glycanbridge.events import EVENT_TYPES
from glycanbridge.journal import Filter
from glycanbridge.settings import Settings, load

F = TypeVar("F", bound=Callable[..., Any])

config_option = click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path),
    default="bridge.yaml",
    envvar="GLYCANBRIDGE_CONFIG",
    show_default=True,
    show_envvar=True,
    help="The bridge.yaml to use.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object a line, and nothing else.")


class Moment(click.ParamType[int]):
    """A moment as people write it, in milliseconds since the epoch: `2026-11-24`, `2026-11-24T18:00`, `3d`, `12h`."""

    name = "time"
    _ago = re.compile(r"([0-9]+)([dhm])")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """An ISO date or time (UTC unless it says otherwise), or how long ago: days, hours, minutes."""
        if isinstance(value, int):
            return value
        ago = self._ago.fullmatch(value)
        try:
            if ago:
                unit = {"d": "days", "h": "hours", "m": "minutes"}[ago[2]]
                moment = datetime.now(UTC) - timedelta(**{unit: int(ago[1])})
            else:
                moment = datetime.fromisoformat(value)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no time: write 2026-11-24, 2026-11-24T18:00, or 3d, 12h, 30m ago", param, ctx)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def filter_options(command: F) -> F:
    """The filters of lists, handed to the command as one `which: Filter`."""

    @functools.wraps(command)
    def with_filter(**told: Any) -> Any:
        names = ("type", "destination", "state", "kit", "since", "until", "limit")
        values = {name: told.pop(name) for name in names}
        values["state"] = State(values["state"]) if values["state"] else None
        return command(which=Filter(**values), **told)

    for option in (
        click.option(
            "--limit", type=click.IntRange(1, 10_000_000), default=50, show_default=True, help="At most so many."
        ),
        click.option("--until", type=Moment(), help="Received before: a date, a time, or 3d, 12h, 30m ago."),
        click.option("--since", type=Moment(), help="Received at or after: a date, a time, or 3d, 12h, 30m ago."),
        click.option("--kit", help="Of this kit code."),
        click.option("--state", type=click.Choice([each.value for each in State]), help="With a delivery in it."),
        click.option("--destination", help="Owed to this destination."),
        click.option("--type", type=click.Choice(EVENT_TYPES), help="Of this event type."),
    ):
        with_filter = option(with_filter)
    return with_filter  # type: ignore[return-value]


def read_settings(config: Path) -> tuple[Settings, BridgeYaml]:
    """The settings in `config`, and the file they came from. Raises `SettingsError` with every problem in it."""
    source = BridgeYaml(config)
    return load(source), source
