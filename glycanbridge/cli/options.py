"""What the commands have in common: `-c`, the filters of lists, and what a look needs of `bridge.yaml`."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from glycanbridge.bridge_yaml import BridgeYaml
from glycanbridge.delivery import State
from glycanbridge.event_types import DELIVERY_DEAD, EVENT_TYPES
from glycanbridge.journal import Filter
from glycanbridge.places import Places, places_in

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


class Number(click.FloatRange):
    """A number in a range that can be counted with: neither `nan`, which is in every range, nor `inf`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is no number that can be counted with", param, ctx)
        return number


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


_FILTERS = {
    "type": click.option("--type", type=click.Choice((*EVENT_TYPES, DELIVERY_DEAD)), help="Of this event type."),
    "destination": click.option("--destination", help="Owed to this destination."),
    "state": click.option("--state", type=click.Choice([each.value for each in State]), help="With a delivery in it."),
    "held": click.option("--held", is_flag=True, help="Only deliveries that wait for a person's decision."),
    "kit": click.option("--kit", help="Of this kit code."),
    "since": click.option("--since", type=Moment(), help="Received at or after: a date, a time, or 3d, 12h, 30m ago."),
    "until": click.option("--until", type=Moment(), help="Received before: a date, a time, or 3d, 12h, 30m ago."),
    "limit": click.option(
        "--limit", type=click.IntRange(1, 10_000_000), default=50, show_default=True, help="At most so many."
    ),
}


def filter_options(command: F) -> F:
    """The filters of lists, handed to the command as one `which: Filter`."""
    return _with_filter(command, _FILTERS)


def choice_options(command: F) -> F:
    """The filters of actions on many: those of lists, and no limit that would leave some out unnoticed."""
    return _with_filter(command, {name: option for name, option in _FILTERS.items() if name != "limit"})


def _with_filter(command: F, options: Mapping[str, Callable[[F], F]]) -> F:
    @functools.wraps(command)
    def with_filter(**told: Any) -> Any:
        values = {name: told.pop(name) for name in options}
        values["state"] = State(values["state"]) if values["state"] else None
        return command(which=Filter(**values), **told)

    decorated = cast("F", with_filter)
    for option in reversed(list(options.values())):
        decorated = option(decorated)
    return decorated


def read_places(config: Path) -> Places:
    """Where the journal and the dead letters are, as `config` names them; whatever else is wrong in it is passed over.

    Raises `SettingsError`.
    """
    return places_in(BridgeYaml(config))
