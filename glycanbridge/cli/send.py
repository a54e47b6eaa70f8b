"""`glycanbridge send`: a signed sample event, as GlycanAge would post it."""

from __future__ import annotations

import http.client
import json
import socket
import time
from contextlib import closing
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from glycanbridge.cli.options import config_option
from glycanbridge.cli.own_receiver import own_url, secret_file_option, signing_secret
from glycanbridge.event_types import EVENT_TYPES
from glycanbridge.settings import read_settings
from glycanbridge.signature import HEADER, sign

LONGEST_SHOWN = 200
"""Characters of somebody else's page."""
UNSIGNED = (
    "it takes another secret than bridge.yaml has now: restart the bridge if the file was changed; "
    "if something stands between, `glycanbridge doctor` and docs/troubleshooting.md"
)


@click.command
@click.argument("event_type", metavar="TYPE", type=click.Choice(EVENT_TYPES))
@config_option
@click.option("--to", metavar="URL", help="Where to post it; by default the address in bridge.yaml.")
@click.option("--set", "changes", metavar="PATH=VALUE", multiple=True, help="Change a value: data.kitCode=KIT000001.")
@click.option("--id", "event_id", help="Give the event an id of the sender's.")
@secret_file_option
@click.option("--bad-signature", is_flag=True, help="Sign it with a wrong secret.")
def command(  # noqa: PLR0917 (click names them)
    event_type: str,
    config: Path,
    to: str | None,
    changes: tuple[str, ...],
    event_id: str | None,
    secret_file: Path | None,
    bad_signature: bool,  # noqa: FBT001
) -> None:
    """Post a signed sample event of TYPE and print the answer; exit 0 only for a 200.

    It is a new event each time, since its timestamp is now; `--set timestamp=1693123200000` repeats one.
    """
    settings, _ = read_settings(config)
    event = json.loads((resources.files("glycanbridge") / "samples" / f"{event_type}.json").read_bytes())
    event["timestamp"] = int(time.time() * 1000)
    if event_id is not None:
        event["id"] = event_id
    for change in changes:
        _change(event, change)
    body = json.dumps(event).encode()
    secret = signing_secret(secret_file, settings.receiver)
    signature = sign(body, secret + "wrong" if bad_signature else secret)
    taken = _post(to or own_url(settings.receiver), body, signature)
    click.get_current_context().exit(0 if taken else 1)


def _change(event: dict[str, Any], change: str) -> None:
    path, equals, text = change.partition("=")
    *outer, last = path.split(".")
    place: Any = event
    try:
        for name in outer:
            place = place[int(name)] if isinstance(place, list) else place[name]
        before = place.get(last)
    except (LookupError, ValueError, AttributeError, TypeError):
        equals = ""
    if not equals:
        raise click.UsageError(f"--set {change}: write PATH=VALUE with a path in the sample, such as data.kitCode=K1")
    place[last] = text if isinstance(before, str) else _json_or_text(text)


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _post(url: str, body: bytes, signature: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise click.UsageError(f"--to {url}: this is no URL") from None
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    started = time.monotonic()
    try:
        with closing(kind(parts.hostname or "", parts.port, timeout=10)) as connection:
            connection.request("POST", parts.path or "/", body, {"Content-Type": "application/json", HEADER: signature})
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", "replace")
    except socket.gaierror:
        raise click.ClickException(
            f"{url}: its name cannot be resolved; see to the URL, or to this machine's DNS"
        ) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise click.ClickException(f"{url} does not answer ({error}); does `glycanbridge serve` run?") from None
    took_ms = (time.monotonic() - started) * 1000
    ours = text.startswith("{")
    click.echo(f"{answer.status} {text if ours else ' '.join(text.split())[:LONGEST_SHOWN]}")
    click.echo(f"answered in {took_ms:.0f} ms by {url}", err=True)
    if not ours:
        click.echo(
            "that is no answer of a GlycanBridge's: another program has this address, or stands before it", err=True
        )
    elif answer.status == 401:
        click.echo(UNSIGNED, err=True)
    return ours and answer.status == 200
