"""One POST as GlycanAge makes it: signed, and with ten seconds for the whole answer."""

from __future__ import annotations

import io
import json
import socket
import ssl
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from time import monotonic
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from glycanbridge.signature import HEADER

LIMIT_S = 10.0
""""Your webhook endpoint should respond with a 200 status code within 10 seconds"."""
LARGEST_ANSWER_BYTES = 65_536


class Answer(NamedTuple):
    """What came back, if anything did."""

    status: int | None
    """`None`: nothing that is an answer; `error` says why."""
    became: str = ""
    """What a bridge says it became: `accepted`, `duplicate`, `quarantined`; empty if it says nothing of it."""
    took_ms: float = 0.0
    error: str = ""


class Poster:
    """Posts to one URL, with a connection for each request, or one that is kept. One thread at a time may use it."""

    def __init__(self, url: str, *, limit_s: float = LIMIT_S, keep_alive: bool = False) -> None:
        """Raises `ValueError` if `url` is no http or https URL."""
        parts, host = _parts(url)
        self.url, self._limit_s, self._keep_alive = url, limit_s, keep_alive
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if parts.scheme == "https":
            tls = ssl.create_default_context()
            self._connection: HTTPConnection = HTTPSConnection(host, parts.port, context=tls)
        else:
            self._connection = HTTPConnection(host, parts.port)

    def post(self, body: bytes, signature: str | None) -> Answer:
        """Send `body` and read the answer; whatever goes wrong is an `Answer` without a status."""
        begun_s = monotonic()
        headers = {"Content-Type": "application/json", "User-Agent": "GlycanAge simulator"}
        if signature is not None:
            headers[HEADER] = signature
        if not self._keep_alive:
            headers["Connection"] = "close"
        try:
            status, content = self._ask(body, headers, begun_s + self._limit_s)
        except (OSError, HTTPException, ValueError) as error:
            self.close()
            return Answer(None, took_ms=(monotonic() - begun_s) * 1000, error=self._why(error))
        took_ms = (monotonic() - begun_s) * 1000
        if not self._keep_alive:
            self.close()
        return Answer(status, became=_became(content), took_ms=took_ms)

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()

    def _ask(self, body: bytes, headers: dict[str, str], until_s: float) -> tuple[int, bytes]:
        connection = self._connection
        connection.timeout = self._limit_s
        if connection.sock is None:
            connection.connect()
        connection.sock.settimeout(max(0.001, until_s - monotonic()))
        connection.request("POST", self._path, body, headers)
        connection.response_class = partial(_response, until_s)  # type: ignore[assignment]
        answer = connection.getresponse()
        content = answer.read(LARGEST_ANSWER_BYTES)
        if answer.length and len(content) < LARGEST_ANSWER_BYTES:
            raise HTTPException("it broke off in the middle of its answer")
        if not answer.isclosed():  # there is more of it, which nobody wants
            connection.close()
        return answer.status, content

    def _why(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"no whole answer within {self._limit_s:g} s"
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
        return str(error) or type(error).__name__


def _parts(url: str) -> tuple[SplitResult, str]:
    try:
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0:
            return parts, parts.hostname
    except ValueError:  # half a bracket, a port of letters
        pass
    raise ValueError(f"{url}: expected http://HOST:PORT/PATH or https://HOST/PATH")


def _response(until_s: float, sock: socket.socket, **more: Any) -> HTTPResponse:
    return HTTPResponse(_Timed(sock, until_s), **more)  # type: ignore[arg-type] # all that it does is `makefile`


class _Timed(io.RawIOBase):
    """Reads a socket until a moment: a socket's own time limit is one read's, and each byte would begin another."""

    def __init__(self, sock: socket.socket, until_s: float) -> None:
        self._socket, self._until_s = sock, until_s
        self._raw = sock.makefile("rb", buffering=0)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What `HTTPResponse` asks of a socket."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """The next bytes. Raises `TimeoutError` when the moment has come."""
        self._socket.settimeout(max(0.001, self._until_s - monotonic()))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        """Let go of it."""
        self._raw.close()
        super().close()


def _became(content: bytes) -> str:
    """What a bridge's answer says; nothing if it is another program's."""
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        return ""
    became = told.get("status") if isinstance(told, dict) else None
    return became if became in {"accepted", "duplicate", "quarantined"} else ""
