"""Asks the network, bounded in time: one GET without credentials, and calls that may never come back."""

from __future__ import annotations

import base64
import ssl
import threading
from collections.abc import Callable, Mapping
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from time import monotonic
from typing import NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit

from glycanbridge.glycanage_settings import GlycanAgeSettings

T = TypeVar("T")

BEGINNING_BYTES = 4096
"""What of an answer is looked at."""


class Hung(TimeoutError):
    """A call that does not come back."""


class NoAuthorities(OSError):
    """The file of authorities cannot be read, or there is none in it: nobody was asked."""


class Seen(NamedTuple):
    """An answer."""

    status: int
    headers: Mapping[str, str]
    """By name, in lower case."""
    beginning: bytes
    certificate_until_s: float | None
    """When the certificate runs out, in seconds since the epoch."""


def look(url: str, *, timeout_s: float, ca_file: Path | None = None, proxy: str | None = None) -> Seen:
    """What a GET answers, whatever its status; redirects are not followed. `timeout_s` is for each step.

    The authorities in `ca_file` are trusted besides the system's. Raises `OSError` (`ssl.SSLError` is one) and
    `HTTPException`.
    """
    parts = urlsplit(url)
    connection = _connection(url, timeout_s, ca_file, proxy)
    try:
        headers = {"Accept": "*/*", "User-Agent": "glycanbridge doctor", "Connection": "close"}
        connection.request("GET", f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}", headers=headers)
        until_s = _until(connection)
        answer = connection.getresponse()
        told = {name.lower(): value for name, value in answer.getheaders()}
        return Seen(answer.status, told, answer.read1(BEGINNING_BYTES), until_s)
    finally:
        connection.close()


def way_out(api: GlycanAgeSettings) -> str | None:
    """The proxy's address, if there is one; its password may be in it."""
    return None if api.proxy is None else api.proxy.get_secret_value()


def within(limits_s: Mapping[str, float], calls: Mapping[str, Callable[[], T]]) -> dict[str, T | BaseException]:
    """What each call returns or raises, all of them made at once; `Hung` for one that takes longer than its limit."""
    told: dict[str, T | BaseException] = {}

    def make(name: str, call: Callable[[], T]) -> None:
        try:
            told[name] = call()
        except BaseException as error:
            told[name] = error

    threads = {name: threading.Thread(target=make, args=(name, call), daemon=True) for name, call in calls.items()}
    began_s = monotonic()
    for each in threads.values():
        each.start()
    for name, each in threads.items():
        each.join(max(0.0, began_s + limits_s[name] - monotonic()))
        told.setdefault(name, Hung(f"no answer within {limits_s[name]:g} s"))
    return dict(told)


def _connection(url: str, timeout_s: float, ca_file: Path | None, proxy: str | None) -> HTTPConnection:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "https":
        return HTTPConnection(host, parts.port, timeout=timeout_s)
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except OSError as error:
            raise NoAuthorities(f"glycanage.ca_file: {ca_file}: {error.strerror or 'it cannot be read'}") from None
    if proxy is None:
        return HTTPSConnection(host, parts.port, timeout=timeout_s, context=context)
    way = urlsplit(proxy)
    connection = HTTPSConnection(way.hostname or "", way.port or 80, timeout=timeout_s, context=context)
    pair = f"{unquote(way.username or '')}:{unquote(way.password or '')}".encode()
    login = {"Proxy-Authorization": f"Basic {base64.b64encode(pair).decode()}"} if way.username else {}
    connection.set_tunnel(host, parts.port or 443, headers=login)
    return connection


def _until(connection: HTTPConnection) -> float | None:
    """When the certificate that was shown runs out."""
    shown = connection.sock.getpeercert() if isinstance(connection.sock, ssl.SSLSocket) else None
    until = shown.get("notAfter") if shown else None
    return ssl.cert_time_to_seconds(until) if isinstance(until, str) else None
