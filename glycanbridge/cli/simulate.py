"""`glycanbridge simulate`: a GlycanAge to rehearse against, with weeks of invented events, its API, or a load."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from glycanbridge.cli.options import Moment, Number, config_option, json_option
from glycanbridge.cli.own_receiver import own_url, secret_file_option, secret_in
from glycanbridge.cli.simulating import serve_api, simulated
from glycanbridge.cli.tables import show_row
from glycanbridge.errors import SettingsError
from glycanbridge.settings import read_settings
from glycanbridge.simulator.api import EMAIL, TOKEN
from glycanbridge.simulator.lives import MOST_KITS, WEEK_MS
from glycanbridge.simulator.load import FASTEST_PER_S, LONGEST_S, MOST_CONNECTIONS, Load, run_load
from glycanbridge.simulator.posting import Poster
from glycanbridge.simulator.sender import BACK_OFF_S
from glycanbridge.simulator.story import KNOWN_TYPES, PRACTICE, Story, story

NEAR = 0.95
"""A load that reaches less than this of its rate is said not to have reached it."""
FIRST_URL = "http://127.0.0.1:8080/webhooks/glycanage"
"""Where a bridge is that `glycanbridge init` has made."""


class _Waits(click.ParamType[tuple[float, ...]]):
    """Seconds with commas between them, at most three: GlycanAge retries "up to 3 times"."""

    name = "seconds,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        try:
            waits = tuple(float(each) for each in value.split(",") if each.strip())
        except ValueError:
            waits = (-1.0,)
        if len(waits) > 3 or any(not 0 <= each <= 86_400 for each in waits):
            self.fail(f"{value!r}: write at most three waits in seconds, such as 1,5,25", param, ctx)
        return waits


class _Listen(click.ParamType[tuple[str, int]]):
    """`[HOST:]PORT` on loopback."""

    name = "[host:]port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        host, _, port = value.rpartition(":")
        host = host.strip("[]") or "127.0.0.1"
        if not port.isascii() or not port.isdigit() or int(port) > 65535:
            self.fail(f"{value!r}: write a port such as 8090, or 127.0.0.1:8090", param, ctx)
        if not _is_loopback(host):
            self.fail(f"{value!r}: the simulator serves this machine alone: write 127.0.0.1:{port}", param, ctx)
        return host, int(port)


_OPTIONS: Sequence[Callable[[Any], Any]] = [
    config_option,
    click.option("--kits", type=click.IntRange(1, MOST_KITS), default=10, show_default=True,
                 help="So many kits; with fewer than four, not every trouble."),
    click.option("--weeks", type=click.IntRange(1, 52), default=6, show_default=True, help="Over so many weeks."),
    click.option("--seed", type=int, default=1, show_default=True, help="Another number, another story."),
    click.option("--begin", type=Moment(), help="When the story begins: a date; by default it ends now."),
    click.option("--practice", "practices", multiple=True, default=(PRACTICE,), show_default=True, help="Repeatable."),
    click.option("--only", type=click.Choice(KNOWN_TYPES), multiple=True, help="Only this event type; repeatable."),
    click.option("--clean", is_flag=True, help="No repeats, nothing late, out of order, stuck, unknown or forged."),
    click.option("--speed", type=Number(0, min_open=True), help="So many times as fast as real time; "
                 "by default as fast as the bridge answers."),
    click.option("--back-off", "back_off_s", type=_Waits(), default=BACK_OFF_S, help="Real seconds before each "
                 "retry, whatever --speed is; by default 1,5,25."),
    click.option("--to", metavar="URL", help="Where to post; by default the receiver in bridge.yaml."),
    secret_file_option,
    click.option("--api", "listen", type=_Listen(), help="Serve GlycanAge's API on loopback, wait for a webhook to be "
                 "registered there, and send the story to it; one that is approved later gets one more event."),
    click.option("--email", default=EMAIL, show_default=True, help="With --api: the account's e-mail address."),
    click.option("--token", default=TOKEN, show_default=True, help="With --api: the account's token."),
    click.option("--approve-after", "approve_after_s", type=Number(0), default=3.0, show_default=True,
                 help="With --api: seconds until a webhook is approved."),
    click.option("--load", is_flag=True, help="No story, but many events at a steady rate."),
    click.option("--rate", type=Number(0, FASTEST_PER_S, min_open=True), default=50.0, show_default=True,
                 help="With --load: events a second."),
    click.option("--seconds", type=Number(0, LONGEST_S, min_open=True), default=10.0, show_default=True,
                 help="With --load: for so long."),
    click.option("--connections", type=click.IntRange(1, MOST_CONNECTIONS), default=8, show_default=True,
                 help="With --load: over so many connections."),
    click.option("--yes", is_flag=True, help="With --load: also to another machine than this one."),
    json_option,
]  # fmt: skip


def _with_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command
@_with_options
def command(**told: Any) -> None:
    """Be a GlycanAge to rehearse against: everything it sends is invented.

    Sends some weeks in the life of some kits to the receiver of bridge.yaml, with all that GlycanAge may do: repeats,
    events out of order and late, an unknown type, and forged ones. What is not answered 200 comes again up to three
    times. Prints what was answered; exit 0 only if every event was answered as it should be.

    The bridge takes these events for real and delivers them: use a bridge.yaml that is for rehearsing.
    """
    if told["listen"] is not None and (told["load"] or told["to"] or told["secret_file"]):
        raise click.UsageError("--api sends to whatever is registered there: leave out --to, --secret-file and --load")
    if told["load"]:
        fine = _load(told)
    elif told["listen"] is not None:
        fine = serve_api(_story(told), told, receiver_url=_to_register(told["config"]))
    else:
        url, secret = _target(told)
        fine = simulated(_story(told), told, url=url, secret=secret)
    click.get_current_context().exit(0 if fine else 1)


def _story(told: Mapping[str, Any]) -> Story:
    begin_ms = told["begin"]
    if begin_ms is None:
        begin_ms = int(time.time() * 1000) - told["weeks"] * WEEK_MS
    shape = {name: told[name] for name in ("seed", "kits", "weeks", "practices", "clean")}
    whole = story(begin_ms=begin_ms, **shape)
    return whole.only(told["only"]) if told["only"] else whole


def _to_register(config: Path) -> str:
    """The receiver's address, or what it is in a new bridge.yaml: somebody may begin with the API."""
    try:
        return own_url(read_settings(config)[0].receiver)
    except (SettingsError, click.UsageError):
        return FIRST_URL


def _target(told: Mapping[str, Any]) -> tuple[str, str]:
    """Where to post, and the secret to sign with; `bridge.yaml` is read for what is not told."""
    url, file = told["to"], told["secret_file"]
    secret = None if file is None else secret_in(file)
    if url is None or secret is None:
        settings, _ = read_settings(told["config"])
        url = url or own_url(settings.receiver)
        secret = secret or settings.receiver.secrets[0].get_secret_value()
    try:
        Poster(url)
    except ValueError as error:
        raise click.UsageError(f"--to {error}") from None
    return url, secret


def _load(told: Mapping[str, Any]) -> bool:
    url, secret = _target(told)
    host = urlsplit(url).hostname or ""
    if not _is_loopback(host) and not told["yes"]:
        raise click.UsageError(f"{host} is not this machine, and each event becomes a real one there: add --yes")
    told_load = {name: told[name] for name in ("seconds", "connections")}
    load = Load(url=url, secret=secret, per_s=told["rate"], practice=told["practices"][0], **told_load)
    click.echo(f"sending {load.per_s:g} events/s for {load.seconds:g} s to {url}", err=True)
    row = run_load(load, begin_ms=int(time.time() * 1000))
    errors = row["errors"]
    shown = row if told["as_json"] else {**row, "errors": "; ".join(f"{errors[why]} x {why}" for why in errors) or None}
    show_row(shown, as_json=told["as_json"])
    if row["reached_per_s"] < NEAR * load.per_s:
        click.echo(
            f"only {row['reached_per_s']:g} of {load.per_s:g} events/s: the bridge, this machine "
            "or the simulator itself is the limit",
            err=True,
        )
    return not errors


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
