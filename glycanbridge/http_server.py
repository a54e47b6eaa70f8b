"""HTTP on waitress, with what waitress leaves open: a deadline for each request, strict framing, JSON errors, a drain.

It leans on classes of waitress 3.0 that subclassing is the only way to: `tests/test_http_server.py` holds it to them.
"""

from __future__ import annotations

import json
import logging
import re
import select
import socket
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask, ThreadedTaskDispatcher
from waitress.utilities import Error, RequestEntityTooLarge

from glycanbridge.errors import ListenError, without_text

log = logging.getLogger(__name__)

THREADS = 16
"""Requests answered at once: each waits for the journal's next commit, and four would starve the group."""
CONNECTIONS = 1000 if hasattr(select, "poll") else 450
"""Where there is no poll, as on Windows, select() fails beyond 512, and would take the server with it."""
CROWDED_DEADLINE_S = 1.0
"""When all connections are taken, whoever keeps us waiting for so long makes room: GlycanAge waits ten seconds."""
DRAIN_S = 5.0


class HttpServer:
    """Serves a WSGI application on one address until it is told to stop, then lets running requests end."""

    def __init__(
        self,
        app: Callable[..., Any],
        *,
        listening: socket.socket,
        max_body_bytes: int,
        request_deadline_s: float,
    ) -> None:
        """`listening` is bound already (see `bind`); nothing is accepted before `run`."""
        self._stopping = False
        self._listening = listening
        self._map: dict[int, Any] = {}
        self._dispatcher = ThreadedTaskDispatcher()
        # It warns for each request that waits for a thread: in a burst that is every one, and the log fills the disk.
        self._dispatcher.queue_logger.setLevel(logging.ERROR)
        adjustments = _adjustments(listening, max_body_bytes)
        address = (listening.family, listening.type, listening.proto, listening.getsockname())
        self._dispatcher.set_thread_count(adjustments.threads)
        self._server = _Server(
            app,
            self._map,
            _start=False,
            _sock=listening,
            dispatcher=self._dispatcher,
            adj=adjustments,
            sockinfo=address,
            bind_socket=False,
        )
        self._server.request_deadline_s = request_deadline_s

    def run(self, on_listening: Callable[[], None]) -> None:
        """Accept and serve; returns after `stop`, when running requests have been answered (`DRAIN_S` at most)."""
        self._server.accept_connections()
        on_listening()
        while not self._stopping:
            self._turn()
        self._server.del_channel()  # the trigger stays: it wakes the loop for answers
        self._listening.close()
        deadline = time.monotonic() + DRAIN_S
        while self._busy() and time.monotonic() < deadline:
            self._turn(0.1)
        self.close()

    def stop(self) -> None:
        """Take no new connection and let `run` end. May be called from a signal handler or another thread."""
        if not self._stopping:
            self._stopping = True
            self._server.pull_trigger()

    def close(self) -> None:
        """Let go of every socket and thread; `run` ends with it."""
        self._dispatcher.shutdown(timeout=1)
        wasyncore.close_all(self._map)

    def _turn(self, timeout_s: float = 1.0) -> None:
        wasyncore.loop(timeout=timeout_s, use_poll=self._server.adj.asyncore_use_poll, map=self._map, count=1)

    def _busy(self) -> bool:
        """Whether a request is running or half received, or an answer half sent; idle connections are let go."""
        channels = list(self._server.active_channels.values())
        return any(each.requests or each.request is not None or each.total_outbufs_len for each in channels)


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to the address, not listening yet. Raises `ListenError`, say when another program has the port."""
    try:
        return _bind(host, port)
    except OSError as error:
        raise ListenError(f"{host}:{port} cannot be listened on: {error.strerror}") from None


def _bind(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    bound = socket.socket(family, kind, protocol)
    try:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows: SO_REUSEADDR would let two bridges share the port
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def _adjustments(listening: socket.socket, max_body_bytes: int) -> Adjustments:
    with warnings.catch_warnings():
        # With the default of 1 each worker thread sends for itself and fights for the GIL at every send: on two cores
        # 64 connections then get a thirteenth of the throughput. The setting is deprecated without a replacement.
        warnings.filterwarnings("ignore", "send_bytes", DeprecationWarning)
        return Adjustments(
            sockets=[listening],
            threads=THREADS,
            send_bytes=4096,
            connection_limit=CONNECTIONS,
            asyncore_use_poll=hasattr(select, "poll"),  # select() ends at file descriptor 1024
            cleanup_interval=1,
            channel_timeout=3600,  # our own deadline comes first, see `_Server.maintenance`
            channel_request_lookahead=0,
            max_request_header_size=16_384,
            max_request_body_size=max_body_bytes + 1,  # waitress refuses what is equal, too
            inbuf_overflow=2 * max_body_bytes,  # else a large body lies in a temporary file, in clear
            clear_untrusted_proxy_headers=True,
            log_socket_errors=False,
            expose_tracebacks=False,
            ident=None,
        )


class _Parser(HTTPRequestParser):
    """Refuses what two readers could frame in two ways, the ground of request smuggling (RFC 9112, 6.3)."""

    def parse_header(self, header_plus: bytes) -> None:
        try:
            super().parse_header(header_plus)
        except ValueError:  # an address with half a bracket, a length of 5,000 digits: waitress lets them through
            raise ParsingError("The request line or a header cannot be read") from None
        encodings = re.findall(rb"\r\ntransfer-encoding:([^\r]*)", header_plus, re.IGNORECASE)
        if len(encodings) > 1 or b"," in b"".join(encodings) or (encodings and "CONTENT_LENGTH" in self.headers):
            raise ParsingError("Transfer-Encoding twice, or beside Content-Length")
        if self.version not in {"1.0", "1.1"}:
            raise ParsingError("Not HTTP/1")
        if self.content_length >= self.adj.max_request_body_size:
            self.expect_continue = False  # it gets its 413, and no invitation to send the body first


class _JsonError(Error):
    """An error of waitress's own parser in our form, without naming who made it."""

    def __init__(self, error: Error) -> None:
        super().__init__("")
        self.code, self.reason = error.code, error.reason

    def to_response(self, ident: str | None = None) -> tuple[str, list[tuple[str, str]], bytes]:  # noqa: ARG002
        body = json.dumps({"title": self.reason, "description": self.reason}).encode()
        return f"{self.code} {self.reason}", [("Content-Type", "application/json")], body


class _ErrorTask(ErrorTask):
    def execute(self) -> None:
        self.channel.lingers = isinstance(self.request.error, RequestEntityTooLarge)
        self.request.error = _JsonError(self.request.error)
        super().execute()


class _Channel(HTTPChannel):
    """One connection; knows when its request began, and waits for a sender to read why it was cut short."""

    parser_class = _Parser
    error_task_class = _ErrorTask
    lingers = False
    lingering = False

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.began_at = time.monotonic()
        """Since when we wait for the sender: for a request, for the rest of one, or for it to read our answer."""

    def received(self, data: bytes) -> bool:
        if self.request is None:
            data = data.lstrip(b"\r\n")  # empty lines before a request are passed over (RFC 9112, 2.2): no activity
            if not data:
                return False
            self.began_at = time.monotonic()
        return bool(super().received(data))

    def service(self) -> None:
        super().service()
        self.began_at = time.monotonic()

    def overdue(self, deadline_s: float) -> bool:
        return not self.requests and time.monotonic() - self.began_at > deadline_s

    def handle_error(self) -> None:
        """An exception of waitress's own ends the connection; its text may be what a stranger sent."""
        error = sys.exc_info()[1]
        log.error("a connection was dropped: %s", without_text(error) if error else "unknown")
        self.handle_close()

    # A sender in the middle of a body that is too large gets a reset instead of the 413 if we just close: so we send
    # the answer, end our side, read on and throw away until the sender has closed, or its deadline has come.

    def handle_write(self) -> None:
        if not (self.lingers and self.close_when_flushed) or self.will_close:
            super().handle_write()
            return
        self._flush_exception(self._flush_some)
        if not self.total_outbufs_len and self.socket is not None:
            self.socket.shutdown(socket.SHUT_WR)
            self.close_when_flushed, self.lingering = False, True

    def readable(self) -> bool:
        return self.lingering or bool(super().readable())

    def handle_read(self) -> None:
        if not self.lingering:
            super().handle_read()
        elif not self.recv(65_536):
            self.will_close = True


class _Server(TcpWSGIServer):
    channel_class = _Channel
    request_deadline_s = 10.0

    def maintenance(self, now: float) -> None:  # noqa: ARG002 (the wall clock's)
        """Once a second: let go of connections that keep us waiting, silent, idle or trickling; sooner in a crowd."""
        crowded = len(self._map) >= self.adj.connection_limit
        deadline_s = min(CROWDED_DEADLINE_S, self.request_deadline_s) if crowded else self.request_deadline_s
        for channel in list(self.active_channels.values()):
            if channel.overdue(deadline_s):
                channel.will_close = True
