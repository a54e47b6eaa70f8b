"""HTTP on waitress, with what waitress leaves open: a deadline for each request, strict framing, JSON errors, a drain.

Requests take turns in the loop's own thread (`turns.py`): those that have come in one round of the loop go to the
journal together and come back together. waitress would hand each to a thread and back, which costs more than verifying,
parsing and committing it.

It and `http_connection.py` lean on classes of waitress 3.0 that subclassing is the only way to:
`tests/test_http_server.py` holds it to them. With any other waitress each request has a thread.
"""

from __future__ import annotations

import logging
import select
import socket
import threading
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher

from glycanbridge.errors import ListenError
from glycanbridge.http_connection import Connection
from glycanbridge.turns import Turns

IN_TURNS = version("waitress").startswith("3.0.")
"""Whether requests can take turns: it needs parts of waitress that are not public, unchanged since 2021."""
THREADS = 16
"""For what is put aside; without turns, for requests: each waits for the next commit, and four would starve it."""
CONNECTIONS = 1000 if hasattr(select, "poll") else 450
"""Where there is no poll, as on Windows, select() fails beyond 512, and would take the server with it."""
CROWDED_DEADLINE_S = 1.0
"""When all connections are taken, whoever keeps us waiting for so long makes room: GlycanAge waits ten seconds."""
DRAIN_S = 5.0
LONGEST_TURN_S = 1.0
"""How long the loop may sleep: deadlines are looked at when it turns."""


class HttpServer:
    """Serves a WSGI application on one address until it is told to stop, then lets running requests end."""

    def __init__(
        self,
        app: Callable[..., Any],
        *,
        listening: socket.socket,
        max_body_bytes: int,
        request_deadline_s: float,
        in_turns: bool = IN_TURNS,
    ) -> None:
        """`listening` is bound already (see `bind`); nothing is accepted before `run`."""
        self._stopping = False
        self._closed = False
        self._waking = threading.RLock()  # a signal may come while its own thread holds it
        self._listening = listening
        self._map: dict[int, Any] = {}
        self._threads = ThreadedTaskDispatcher()
        # It warns for each request that waits for a thread: in a burst that is every one, and the log fills the disk.
        self._threads.queue_logger.setLevel(logging.ERROR)
        adjustments = _adjustments(listening, max_body_bytes)
        address = (listening.family, listening.type, listening.proto, listening.getsockname())
        self._threads.set_thread_count(adjustments.threads)
        self._server = _Server(
            app,
            self._map,
            _start=False,
            _sock=listening,
            dispatcher=self._threads,
            adj=adjustments,
            sockinfo=address,
            bind_socket=False,
        )
        self._server.request_deadline_s = request_deadline_s
        if in_turns:
            self._server.turns = Turns(wake=self._wake, aside=self._threads.add_task)

    def run(self, on_listening: Callable[[], None]) -> None:
        """Accept and serve; returns after `stop`, when running requests have been answered (`DRAIN_S` at most)."""
        self._server.loop = threading.get_ident()
        self._server.accept_connections()
        on_listening()
        while not self._stopping:
            self._turn(LONGEST_TURN_S)
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
            self._wake()

    def close(self) -> None:
        """Let go of every socket and thread; `run` ends with it."""
        with self._waking:
            self._closed = True
        if self._server.turns is not None:
            self._server.turns.close()
        self._threads.shutdown(timeout=1)
        wasyncore.close_all(self._map)

    def _turn(self, timeout_s: float) -> None:
        wasyncore.loop(timeout=timeout_s, use_poll=self._server.adj.asyncore_use_poll, map=self._map, count=1)
        self._server.answer()

    def _wake(self) -> None:
        """End the loop's waiting, from any thread; not once it is closed: its pipe's number may be a file's by then."""
        with self._waking:
            if not self._closed:
                self._server.trigger.pull_trigger()

    def _busy(self) -> bool:
        """Whether a request is running or half received, or an answer half sent; idle connections are let go."""
        channels = list(self._server.active_channels.values())
        return any(each.requests or each.request is not None or each.total_outbufs_len for each in channels)


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to the address, not listening yet. Raises `ListenError`, say when another program has the port."""
    try:
        return _bind(host, port)
    except OSError as error:
        raise ListenError(
            f"{host}:{port} cannot be listened on: {error.strerror}; `glycanbridge doctor` says more"
        ) from None


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
            clear_untrusted_proxy_headers=False,  # nobody reads them
            log_socket_errors=False,
            expose_tracebacks=False,
            ident=None,
        )


class _Server(TcpWSGIServer):
    channel_class = Connection
    request_deadline_s = 10.0
    turns: Turns | None = None
    loop: int | None = None
    """The thread that the loop runs in."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        self._complete: list[Connection] = []
        super().__init__(*arguments, **more)

    def add_task(self, channel: Connection) -> None:
        """A request has come whole. waitress would hand it to a thread."""
        if self.turns is None:
            super().add_task(channel)
        else:
            self._complete.append(channel)

    def answer(self) -> None:
        """Go on with what has waited long enough, and begin with what has come whole in this round."""
        if self.turns is None:
            return
        self.turns.go_on()
        while self._complete:
            complete, self._complete = self._complete, []
            for connection in complete:
                self.turns.begin(connection.answer)
        self.turns.hand_over()

    def pull_trigger(self) -> None:
        """Wake the loop, if it is not the loop that asks."""
        if threading.get_ident() != self.loop:
            super().pull_trigger()

    def maintenance(self, now: float) -> None:  # noqa: ARG002 (the wall clock's)
        """Once a second: let go of connections that keep us waiting, silent, idle or trickling; sooner in a crowd."""
        crowded = len(self._map) >= self.adj.connection_limit
        deadline_s = min(CROWDED_DEADLINE_S, self.request_deadline_s) if crowded else self.request_deadline_s
        for channel in list(self.active_channels.values()):
            if channel.overdue(deadline_s):
                channel.will_close = True
