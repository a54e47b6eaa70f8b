"""The command `preview`: what would be sent for an event, shown and not sent."""

from __future__ import annotations

import re
from collections.abc import Callable

import click

from glycanbridge import Delivery, DestinationError, Event, PermanentError
from glycanbridge_http.requests import Outgoing
from glycanbridge_http.samples import KNOWN, sample

_SHOWN = {"content-type", "user-agent"}
"""Headers in which no secret stands; besides them the delivery's id, under whatever name, and the time."""

Make = Callable[[Event, Delivery], Outgoing]


def preview_of(make: Make, *, idempotency_header: str | None) -> click.Command:
    """The command, for the requests that `make` makes."""
    open_to_all = _SHOWN | {"webhook-id", "webhook-timestamp", (idempotency_header or "").lower()}

    @click.command("preview")
    @click.argument("event_type", metavar="[TYPE]", type=click.Choice(KNOWN), default="report-ready")
    @click.option("--secrets", is_flag=True, help="Show the whole URL and the headers' values too.")
    def preview(event_type: str, *, secrets: bool) -> None:
        """Show the request for a sample event, its body whole; nothing is sent."""
        try:
            outgoing = make(*sample(event_type))
        except (PermanentError, DestinationError) as error:
            raise click.ClickException(str(error)) from None
        url = outgoing.url if secrets else _masked(outgoing.url)
        click.echo(f"{outgoing.method} {url}")
        for name, value in outgoing.headers.items():
            click.echo(f"{name}: {value if secrets or name.lower() in open_to_all else '***'}")
        click.echo()
        click.echo(outgoing.body.decode("utf-8", "replace"))

    return preview


def _masked(url: str) -> str:
    """Scheme and host: whoever knows the rest of a webhook can send there."""
    return re.sub(r"(?<=[^/:])/.+", "/***", url, count=1)
