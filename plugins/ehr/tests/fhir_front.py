"""A door before a FHIR server: tells what came through it, byte for byte, and does harm as networks and servers do."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qs

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}


@dataclass(frozen=True)
class Received:
    """A request as it came."""

    method: str
    path: str
    """With its query, as it stood on the wire."""
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes

    @property
    def json(self) -> object:
        """The JSON in it."""
        return json.loads(self.body)

    @property
    def form(self) -> dict[str, str]:
        """The form in it."""
        return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}


@dataclass(frozen=True)
class Answer:
    """What a server answers."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


Ask = Callable[[Received], Answer]
"""Hands a request to the server behind the door."""
Fault = Callable[[Received, Ask], Answer | None]
"""What is done with a request: an answer, or `None` to cut the connection without one."""


def answers(status: int, body: bytes | str | dict | list = b"", **headers: str) -> Fault:
    """An answer of the door's own; the server never hears of the request. `retry_after` is the header `Retry-After`."""
    if isinstance(body, (dict, list)):
        body, headers = json.dumps(body), {"content_type": "application/fhir+json"} | headers
    body = body.encode() if isinstance(body, str) else body
    answer = Answer(status, body, tuple((name.replace("_", "-"), value) for name, value in headers.items()))
    return lambda request, ask: answer


def lost(request: Received, ask: Ask) -> None:
    """The server does what it was asked, and its answer never arrives."""
    ask(request)


def reset(request: Received, ask: Ask) -> None:
    """The connection is reset before the server hears of the request."""


def half(request: Received, ask: Ask) -> Answer:
    """The server does what it was asked, and the second half of its answer never arrives."""
    answer = ask(request)
    told = (*answer.headers, ("Content-Length", str(len(answer.body))))
    return Answer(answer.status, answer.body[: len(answer.body) // 2], told)


def held(until: threading.Event) -> Fault:
    """The server is asked only once `until` is set; then everything is as ever. Set it before the test ends."""

    def hold(request: Received, ask: Ask) -> Answer:
        until.wait(60)
        return ask(request)

    return hold


@dataclass
class _Rule:
    fault: Fault
    times: int | None
    method: str | None
    path: str


class Front:
    """The door: an HTTP server on 127.0.0.1, before the server that listens on `behind_port`.

    Where there is none, `answering` answers; nothing else does than 404.
    """

    def __init__(
        self,
        *,
        behind_port: int | None = None,
        answering: Ask = lambda _: Answer(404),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.behind_port = behind_port
        self._answering = answering
        self.received: list[Received] = []
        """Every request that came, in order; also those that were ill-treated."""
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()
        self._server = _Server(self, tls)
        self.port = self._server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def will(self, *faults: Fault, times: int | None = 1, method: str | None = None, path: str = "") -> None:
        """Do these to the next requests of `method` whose path contains `path`: one after another, each `times` often.

        `times=None`: to all of them, until `be_well`.
        """
        with self._lock:
            self._rules += [_Rule(fault, times, method, path) for fault in faults]

    def be_well(self) -> None:
        """Forget every fault and what was received."""
        with self._lock:
            self._rules.clear()
            self.received.clear()

    def asked(self, method: str | None = None, path: str = "") -> list[Received]:
        """What was received of `method`, with `path` in its path."""
        with self._lock:
            return [each for each in self.received if method in (None, each.method) and path in each.path]

    def close(self) -> None:
        """Stop listening; every connection is cut."""
        self._server.shutdown()
        self._server.cut()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def take(self, request: Received) -> Answer | None:
        """What is answered to a request."""
        with self._lock:
            self.received.append(request)
            fault = self._next_fault(request)
        return fault(request, self.ask) if fault else self.ask(request)

    def ask(self, request: Received) -> Answer:
        """Hand a request to the server behind."""
        if self.behind_port is None:
            return self._answering(request)
        connection = http.client.HTTPConnection("127.0.0.1", self.behind_port, timeout=60)
        try:
            headers = {name: value for name, value in request.headers.items() if name not in _HOP_BY_HOP}
            connection.request(request.method, request.path, body=request.body or None, headers=headers)
            came = connection.getresponse()
            told = [(name, value) for name, value in came.getheaders() if name.lower() not in _HOP_BY_HOP]
            return Answer(came.status, came.read(), tuple(told))
        finally:
            connection.close()

    def _next_fault(self, request: Received) -> Fault | None:
        for rule in self._rules:
            if rule.method in (None, request.method) and rule.path in request.path:
                if rule.times is not None:
                    rule.times -= 1
                    if rule.times <= 0:
                        self._rules.remove(rule)
                return rule.fault
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, front: Front, tls: ssl.SSLContext | None) -> None:
        self.front = front
        self._tls = tls
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def get_request(self) -> tuple[socket.socket, object]:
        connection, address = super().get_request()
        if self._tls:
            connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: socket.socket) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def cut(self) -> None:
        """End every connection, also those that a client keeps for later."""
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def handle_error(self, request: socket.socket, client_address: object) -> None:
        """A client that goes away, or that does not like our certificate, is what tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def _handle(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        answer = self.server.front.take(Received(self.command, self.path, headers, body))
        self.close_connection = answer is None or self.close_connection
        if answer is None:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            self._tell(answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815 (http.server's names)

    def _tell(self, answer: Answer) -> None:
        self.send_response_only(answer.status)
        names = {name.lower() for name, _ in answer.headers}
        for name, value in answer.headers:
            self.send_header(name, value)
        if "content-length" not in names:
            self.send_header("Content-Length", str(len(answer.body)))
        else:
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Say nothing."""
