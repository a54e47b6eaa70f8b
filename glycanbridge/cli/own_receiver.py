"""Where this bridge's own receiver is, as seen from the same machine."""

from __future__ import annotations

import click

from glycanbridge.settings import ReceiverSettings


def own_url(receiver: ReceiverSettings) -> str:
    """The address to post to. Raises `click.UsageError` if `bridge.yaml` leaves the port open."""
    if receiver.port == 0:
        raise click.UsageError("receiver.listen has port 0: name the address that `serve` printed with --to URL")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(receiver.host, receiver.host)  # noqa: S104 (any = ourselves)
    return f"http://{f'[{host}]' if ':' in host else host}:{receiver.port}{receiver.path}"
