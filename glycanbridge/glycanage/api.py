"""One request to GlycanAge's API, with all its limits: its time, its size, its host.

HTTP Basic with e-mail and token, as the vendor's page has it ("Authorization: Basic {base64_encoded_email:token}"). The
credentials are sent to the configured host alone: no proxy is taken from the environment, and a redirect is followed
only where it is asked for, and only to the same host.
"""

from __future__ import annotations

import base64
import json
import logging
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any, Self
from urllib.parse import urlsplit

import httpx2

from glycanbridge.errors import GlycanAgeError
from glycanbridge.glycanage.addresses import joined, next_url
from glycanbridge.glycanage.answers import Answer, refused, unreachable
from glycanbridge.glycanage_settings import LOOPBACK, GlycanAgeSettings

LARGEST_JSON_BYTES = 10_485_760
"""Of an answer in JSON: a page of a list, or all registrations."""
MOST_REDIRECTS = 3


class Api:
    """GlycanAge's API for one account. It may be used by several threads at once; close it in the end."""

    def __init__(self, settings: GlycanAgeSettings) -> None:
        """Raises `GlycanAgeError` if the proxy or the authorities' file cannot be used."""
        for name in ("httpx2", "httpcore2"):  # they tell URLs
            logging.getLogger(name).setLevel(logging.WARNING)
        self._base_url, self._timeout_s = settings.base_url, settings.timeout_s
        pair = f"{settings.email}:{settings.token.get_secret_value()}"
        encoded = base64.b64encode(pair.encode()).decode("ascii")
        self._hidden = (settings.token.get_secret_value(), encoded)
        self._authorization = f"Basic {encoded}"
        here = urlsplit(self._base_url).hostname in LOOPBACK  # its http would tell a proxy elsewhere all in clear
        try:
            self._transport = httpx2.HTTPTransport(
                verify=ssl.create_default_context(cafile=settings.ca_file),
                trust_env=False,
                proxy=None if settings.proxy is None or here else httpx2.Proxy(settings.proxy.get_secret_value()),
                limits=httpx2.Limits(max_keepalive_connections=0),  # one that is used again may be closed just then
            )
        except (OSError, ssl.SSLError) as error:
            raise GlycanAgeError(
                f"glycanage.ca_file: {settings.ca_file}: {error.strerror or 'no certificates'}"
            ) from None
        except (ValueError, ImportError, httpx2.InvalidURL):  # SOCKS would take one more package
            raise GlycanAgeError(
                "glycanage.proxy: expected http://HOST:PORT or http://USER:PASSWORD@HOST:PORT"
            ) from None

    @property
    def base_url(self) -> str:
        """Where it is."""
        return self._base_url

    def call(self, method: str, path: str, told: Mapping[str, object] | None = None) -> Any:
        """What a call answers, read as JSON; `None` for an empty answer. Raises `GlycanAgeError`."""
        url = joined(self._base_url, path)
        return self._json(method, url, told, to=f"{method} {url}")

    def page(self, url: str) -> Any:
        """A page of a list, by its whole URL. Raises `GlycanAgeError`, and `ValueError` for another host."""
        url = next_url(self._base_url, url)
        return self._json("GET", url, None, to=f"GET {url.partition('?')[0]}")

    def file(self, url: str, *, accept: str, largest_bytes: int) -> Answer:
        """A file by its whole URL, redirects within the same host followed. Raises `GlycanAgeError`.

        The texts of its errors hold neither the address nor what was said: both may name a patient.
        """
        until_s = monotonic() + self._timeout_s
        for _ in range(MOST_REDIRECTS + 1):
            answer = self._ask("GET", url, accept=accept, until_s=until_s, largest_bytes=largest_bytes, to="the report")
            if not 300 <= answer.status < 400:
                return _wanted(answer, to="the report", quote=False)
            try:
                url = next_url(self._base_url, answer.headers.get("location", ""))
            except ValueError as error:
                raise GlycanAgeError(f"the report: answered {answer.status}: {error}", status=answer.status) from None
        raise GlycanAgeError(
            f"the report: answered {answer.status} more than {MOST_REDIRECTS} times", status=answer.status
        )

    def close(self) -> None:
        """Let go of connections."""
        self._transport.close()

    def _json(self, method: str, url: str, told: Mapping[str, object] | None, *, to: str) -> Any:
        content = None if told is None else json.dumps(told).encode()
        limits: dict[str, Any] = {"until_s": monotonic() + self._timeout_s, "largest_bytes": LARGEST_JSON_BYTES}
        answer = self._ask(method, url, accept="application/json", content=content, to=to, **limits)
        secret = str((told or {}).get("secret", ""))
        _wanted(answer, to=to, quote=True, hidden=(*self._hidden, secret))
        return answer.json(to=to) if answer.body.strip() else None

    def _ask(
        self,
        method: str,
        url: str,
        *,
        accept: str,
        until_s: float,
        largest_bytes: int,
        to: str,
        content: bytes | None = None,
    ) -> Answer:
        headers = {
            "Authorization": self._authorization,
            "Accept": accept,
            "Accept-Encoding": "identity",
            "Connection": "close",
        }
        if content is not None:
            headers["Content-Type"] = "application/json"
        left_s = max(0.01, until_s - monotonic())
        limits = dict.fromkeys(("connect", "read", "write", "pool"), left_s)
        try:
            with _Deadline(until_s) as deadline:
                extensions = {"timeout": limits, "trace": deadline.trace}
                request = httpx2.Request(method, url, headers=headers, content=content, extensions=extensions)
                response = self._transport.handle_request(request)
                body = _body(response, to=to, largest_bytes=largest_bytes, until_s=until_s)
        except httpx2.TransportError as error:
            late = isinstance(error, httpx2.TimeoutException) or monotonic() >= until_s
            raise unreachable(error, to=to, timeout_s=self._timeout_s, late=late) from None
        except httpx2.InvalidURL:
            raise GlycanAgeError(f"{to}: this address cannot be asked") from None
        return Answer(status=response.status_code, headers=response.headers, body=body)


def _wanted(answer: Answer, *, to: str, quote: bool, hidden: Sequence[str] = ()) -> Answer:
    if 200 <= answer.status < 300:
        return answer
    raise refused(answer.status, answer.headers, answer.body, to=to, quote=quote, hidden=hidden)


def _body(response: httpx2.Response, *, to: str, largest_bytes: int, until_s: float) -> bytes:
    body = bytearray()
    try:
        for chunk in response.stream:  # type: ignore[union-attr] # a transport's stream is one to be read here
            body += chunk
            if len(body) > largest_bytes:
                raise GlycanAgeError(f"{to}: it is larger than {largest_bytes:,} bytes", status=response.status_code)
    finally:
        response.close()
    if monotonic() >= until_s:  # where the end of the connection is the end of the body, being cut off looks whole
        raise httpx2.ReadTimeout("the time was over")
    return bytes(body)


class _Deadline:
    """Ends a request when its time is over: a limit of the library's is one read's, and each byte begins another.

    It holds the connection by a descriptor of its own from the moment that it is made, so that head and body alike may
    come drop by drop, with TLS or without.
    """

    def __init__(self, until_s: float) -> None:
        self._until_s = until_s
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None
        self._timer = threading.Timer(max(0, until_s - monotonic()), self._hang_up)
        self._timer.daemon = True

    def trace(self, name: str, info: Mapping[str, Any]) -> None:
        """Told by the library of each of its steps."""
        if name == "connection.connect_tcp.complete":
            with self._lock:
                self._connection = info["return_value"].get_extra_info("socket").dup()
            if monotonic() >= self._until_s:
                self._hang_up()

    def _hang_up(self) -> None:
        with self._lock, suppress(OSError):
            if self._connection is not None:
                self._connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
