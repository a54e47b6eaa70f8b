"""One request over the wire, and the answer as far as it is needed: never a second one, and never to another place.

No redirect is followed, no proxy is taken from the environment, no cookie is kept. It is known whether anything was
sent, so that an attempt that never reached the far side is not taken for one whose answer was lost.
"""

from __future__ import annotations

import logging
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import httpx2

from glycanbridge import DestinationError
from glycanbridge_http.address import Address, ProxyAddress
from glycanbridge_http.requests import Outgoing
from glycanbridge_http.settings import HttpSettings
from glycanbridge_http.unanswered import unanswered, unreachable

LARGEST_ANSWER_BYTES = 65_536
"""Of an answer that are looked at."""
_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity", "Connection": "close"}
"""Each request has a connection of its own: one that is used again may be closed by the far side in that very moment,
and nobody would know whether the event was taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer. The body is as much of it as was waited for, and may quote anything."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class _Reached(Exception):
    """There is a connection, and that is all that was asked."""


class _Trail:
    """How far a request has come, in httpcore's own words."""

    def __init__(self, *, only_connect: bool = False) -> None:
        self.sent = False
        self._only_connect = only_connect

    def __call__(self, step: str, told: Mapping[str, Any]) -> None:
        if step.endswith("send_request_headers.started") and told["request"].method != b"CONNECT":
            if self._only_connect:
                raise _Reached
            self.sent = True


class FarSide:
    """The far side of one destination. It may be used by several threads at once."""

    def __init__(self, settings: HttpSettings) -> None:
        self._address = Address.of(settings.url)
        self._proxy = None if settings.proxy is None else ProxyAddress.of(settings.proxy)
        self._connect_timeout_s = settings.connect_timeout_s
        self._read_timeout_s = settings.read_timeout_s
        for name in ("httpx2", "httpcore2"):  # they tell URLs and headers, which are secrets
            logging.getLogger(name).setLevel(logging.WARNING)
        proxy = None if self._proxy is None else httpx2.Proxy(self._proxy.origin, auth=self._proxy.auth)
        self._transport = httpx2.HTTPTransport(
            verify=ssl.create_default_context(cafile=settings.ca_file),
            trust_env=False,
            proxy=proxy,
            limits=httpx2.Limits(max_keepalive_connections=0),  # see _HEADERS
        )

    @property
    def place(self) -> str:
        """The host, for errors: never the path, which may be a secret."""
        return str(self._address)

    @property
    def tls(self) -> bool:
        """Whether it is spoken to encrypted."""
        return self._address.tls

    @property
    def way(self) -> str:
        """The host, and what lies on the way to it."""
        how = "" if self._address.tls else ", NOT encrypted"
        return f"{self._address}{how}{f' through {self._proxy}' if self._proxy else ''}"

    def send(self, outgoing: Outgoing) -> Answer:
        """The answer, whatever its status. Raises `TemporaryError` or `DestinationError` without one."""
        return self._ask(outgoing, _Trail())

    def reach(self, outgoing: Outgoing) -> None:
        """See that there is a way, and a certificate that is trusted; nothing is sent. Raises as `send`."""
        try:
            self._ask(outgoing, _Trail(only_connect=True))
        except _Reached:
            return

    def close(self) -> None:
        """Let go of connections. May be called twice."""
        self._transport.close()

    def _addresses(self) -> int:
        """How many addresses the host has, at least 1: each is tried in turn, and all share `connect_timeout_s`."""
        first = self._proxy or self._address
        try:
            return len(socket.getaddrinfo(first.host.strip("[]"), first.port, type=socket.SOCK_STREAM)) or 1
        except UnicodeError:
            raise _no_host(first) from None
        except OSError as error:
            raise unreachable(error, to=self.place, first=str(first), timeout_s=self._connect_timeout_s) from None

    def _ask(self, outgoing: Outgoing, trail: _Trail) -> Answer:
        limits = {"connect": self._connect_timeout_s / self._addresses(), "pool": self._connect_timeout_s}
        limits |= dict.fromkeys(("read", "write"), self._read_timeout_s)
        headers = httpx2.Headers(_HEADERS)
        headers.update(outgoing.headers)  # whatever their capitals
        until_s = monotonic() + self._connect_timeout_s + self._read_timeout_s
        try:
            request = httpx2.Request(
                outgoing.method,
                outgoing.url,
                headers=headers,
                content=outgoing.body or None,
                extensions={"timeout": limits, "trace": trail},
            )
            response = self._transport.handle_request(request)
        except (httpx2.InvalidURL, UnicodeError):
            raise _no_host(self._address) from None
        except httpx2.TransportError as error:
            if trail.sent:
                raise unanswered(error, self.place, self._read_timeout_s) from None
            raise unreachable(
                error, to=self.place, first=str(self._proxy or self._address), timeout_s=self._connect_timeout_s
            ) from None
        try:
            limits["read"] = max(0.01, until_s - monotonic())
            return Answer(status=response.status_code, headers=response.headers, body=_body(response, until_s))
        except httpx2.TransportError as error:
            raise unanswered(error, self.place, self._read_timeout_s) from None
        finally:
            response.close()


def _no_host(address: Address | ProxyAddress) -> DestinationError:
    see_to = "url" if isinstance(address, Address) else "proxy"
    return DestinationError(f"{address} can be no host's name: see to {see_to}. Nothing was sent")


def _body(response: httpx2.Response, until_s: float) -> bytes:
    """As much of an answer's body as comes in time and is small: who goes on talking has said what counts, the status.

    Raises what httpx does if it breaks off: half an answer is none.
    """
    body = bytearray()
    end = threading.Timer(max(0, until_s - monotonic()), _hang_up, [response.extensions["network_stream"]])
    end.daemon = True
    end.start()  # a time limit is one read's, and each letter begins another
    try:
        for chunk in response.stream:  # type: ignore[union-attr] # a transport's stream is one to be read here
            body += chunk
            if len(body) > LARGEST_ANSWER_BYTES or monotonic() > until_s:
                break
    except httpx2.TransportError as error:
        if not isinstance(error, httpx2.TimeoutException) and monotonic() < until_s:
            raise
    finally:
        end.cancel()
    return bytes(body)


def _hang_up(stream: Any) -> None:
    """End whatever is being read."""
    with suppress(OSError):
        socket.socket.shutdown(
            stream.get_extra_info("socket"), socket.SHUT_RD
        )  # an SSLSocket's own would end TLS first
