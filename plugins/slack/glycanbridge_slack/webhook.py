"""The way to Slack: one POST on a connection of its own, each failure told by how far it came.

The body and the headers are slack_sdk's `WebhookClient`'s; the transport is ours, because the SDK's follows redirects,
takes its proxy from the environment, waits `timeout` anew for each address of a host, and reads answers without end.
"""

from __future__ import annotations

import errno
import logging
import re
import socket
import ssl
from base64 import b64encode
from collections.abc import Mapping
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection, IncompleteRead
from time import monotonic
from typing import Any
from urllib.request import Request

from slack_sdk.webhook import WebhookClient, WebhookResponse

from glycanbridge import DestinationError, TemporaryError
from glycanbridge_slack.settings import ProxyAddress, SlackSettings, WebhookAddress

LARGEST_ANSWER_BYTES = 65_536
"""Slack's are a word."""
_NOWHERE = "http://nowhere.invalid:9"
"""The SDK's own proxy: were its transport ever to be used again, nothing would leave."""
_SILENT = logging.Logger("glycanbridge_slack", level=logging.CRITICAL + 1)  # noqa: LOG001 (see below)
"""The SDK's logger: at DEBUG it logs the webhook and the message. It is nobody's child, so nobody can turn it on."""


class Webhook(WebhookClient):
    """The webhook of one destination. It may be used by several threads at once: a request shares only constants."""

    def __init__(self, settings: SlackSettings) -> None:
        url = settings.webhook_url.get_secret_value()
        super().__init__(url, proxy=_NOWHERE, logger=_SILENT, retry_handlers=[])  # its handlers sleep
        self._address = WebhookAddress.of(settings.webhook_url)
        self._proxy = None if settings.proxy is None else ProxyAddress.of(settings.proxy)
        self._connect_timeout_s = settings.connect_timeout_s
        self._read_timeout_s = settings.read_timeout_s
        # made once: reading the system's certificates costs more than a request
        self._tls = ssl.create_default_context(cafile=settings.ca_file) if self._address.tls else None

    @property
    def place(self) -> str:
        """The host, for errors: never the path, which is the secret."""
        return str(self._address)

    @property
    def way(self) -> str:
        """The host, and what lies on the way to it."""
        return f"{self._address} through {self._proxy}" if self._proxy else str(self._address)

    def post(self, message: Mapping[str, Any]) -> WebhookResponse:
        """The answer to a message, whatever its status. Raises `TemporaryError` or `DestinationError` without one.

        There are never quick tries: a webhook takes about one message a second, and one whose answer was lost may be
        there already.
        """
        return self.send_dict(dict(message))

    def _perform_http_request_internal(self, url: str, req: Request) -> WebhookResponse:
        """The SDK's own place for the transport."""
        with closing(self._connected()) as connection:
            try:
                connection.sock.settimeout(self._read_timeout_s)
                connection.request("POST", self._address.path, req.data, dict(req.header_items()))
                return _answer(connection, url)
            except (OSError, HTTPException) as error:
                raise _unanswered(error, self.place, self._read_timeout_s) from None

    def _connected(self) -> HTTPConnection:
        """A connection to Slack, through the proxy if there is one, ready for the request."""
        to, timeout_s = self._address, self._connect_timeout_s
        first: WebhookAddress | ProxyAddress = self._proxy or to
        host = first.host.strip("[]")
        connection = (
            HTTPConnection(host, first.port, timeout=timeout_s)
            if self._tls is None
            else HTTPSConnection(host, first.port, timeout=timeout_s, context=self._tls)
        )
        connection._create_connection = _connect_within  # type: ignore[attr-defined] # noqa: SLF001 (its only door)
        if self._proxy:
            connection.set_tunnel(to.host, to.port, _proof(self._proxy))
        try:
            connection.connect()
        except (OSError, HTTPException) as error:
            connection.close()
            raise _unreachable(error, to=str(to), first=str(first), timeout_s=timeout_s) from None
        return connection


def _connect_within(address: tuple[str, int], timeout_s: float, _source: object = None) -> socket.socket:
    """As `socket.create_connection`, but all addresses of the host share the time; what is left is for TLS."""
    deadline = monotonic() + timeout_s
    found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
    for left, (family, kind, protocol, _, where) in zip(range(len(found), 0, -1), found, strict=True):
        connecting = socket.socket(family, kind, protocol)
        try:
            connecting.settimeout(max(0.001, (deadline - monotonic()) / left))
            connecting.connect(where)
            connecting.settimeout(max(0.001, deadline - monotonic()))
        except OSError:
            connecting.close()
            if left == 1:
                raise
        else:
            return connecting
    raise OSError(errno.EHOSTUNREACH, "the host has no address")


def _answer(connection: HTTPConnection, url: str) -> WebhookResponse:
    """The whole answer, or as much of it as could be Slack's."""
    with connection.getresponse() as response:
        body = response.read(LARGEST_ANSWER_BYTES)
        if response.length and len(body) < LARGEST_ANSWER_BYTES:
            raise IncompleteRead(body)
        headers = {name.lower(): value for name, value in response.getheaders()}
        text = body.decode("utf-8", "replace")
        return WebhookResponse(url=url, status_code=response.status, body=text, headers=headers)


def _proof(proxy: ProxyAddress) -> dict[str, str]:
    """The header that tells a proxy who asks, where it wants to know."""
    if proxy.user is None:
        return {}
    return {"Proxy-Authorization": "Basic " + b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()}


def _unreachable(error: Exception, *, to: str, first: str, timeout_s: float) -> TemporaryError | DestinationError:
    """Why there is no connection to `to`, by way of `first`. Nothing was sent."""
    refused = re.match(r"Tunnel connection failed: ([0-9]{3})", str(error))
    if refused and refused[1] < "500":
        told = "see to proxy, its user and password, and to what it lets through"
        return DestinationError(f"{first} refused the way to {to} with {refused[1]}: {told}")
    if isinstance(error, ssl.SSLCertVerificationError):
        told = "nothing was sent; if a proxy of yours looks into TLS, name its certificate in ca_file"
        return DestinationError(f"the certificate of {to} is not trusted ({error.verify_message}): {told}")
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
        return DestinationError(f"{to} speaks no TLS that can be trusted ({error.reason}): something stands between")
    if refused:
        why = f"there is no way to {to} now ({refused[1]})"
    elif isinstance(error, TimeoutError):
        why = f"no connection within {timeout_s:g} s; does a firewall stand between?"
    elif isinstance(error, socket.gaierror):
        why = "its name cannot be resolved; see to this machine's DNS"
    else:
        why = getattr(error, "strerror", None) or type(error).__name__
    return TemporaryError(f"{first}: {why}", retry_after_s=0)


def _unanswered(error: Exception, place: str, timeout_s: float) -> TemporaryError:
    """Why there is no answer, though the request, or a part of it, was sent."""
    late = isinstance(error, TimeoutError)
    why = (
        f"did not answer within {timeout_s:g} s"
        if late
        else f"broke off before it had answered ({type(error).__name__})"
    )
    return TemporaryError(f"{place} {why}: the message may be there already", unknown=True)
