"""What all peers have in common: a port on loopback, a thread for each connection, and a clean end."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from glycanbridge.testing.answers import Fault

_PATIENCE_S = 30.0
"""How long a connection may be silent: a client that was forgotten must not keep a thread for ever."""
_DRIP_EVERY_S = 0.05
_RESET = struct.pack("ii", 1, 0)


class Gone(Exception):
    """A connection has come to its end."""


class Peer:
    """Listens on 127.0.0.1, on any free port, until it is closed. Use it in a `with`, or close it."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, implicit: bool = True, port: int = 0) -> None:
        """`implicit`: with `tls`, speak it from the first byte. `port`: 0 is any free one."""
        self.connections = 0
        """How many there have been."""
        self._tls = tls
        self._implicit = tls is not None and implicit
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", port), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, name=f"peer-{self.port}", daemon=True)
        self._accepting.start()

    def talk(self, connection: socket.socket, number: int) -> None:
        """What is done with a connection, the `number`-th; each kind of peer has its own."""
        raise NotImplementedError

    def close(self) -> None:
        """End every connection, and listen no more. Nothing is left of it; closing it twice is harmless."""
        self._over.set()
        with self._lock:
            for connection in [self._listener, *self._open]:
                with suppress(OSError):
                    socket.socket.shutdown(
                        connection, socket.SHUT_RDWR
                    )  # TLS's own would take the ground from its thread
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            pass  # where a shutdown does not wake who accepts
        self._accepting.join()
        self._listener.close()
        for each in self._threads:
            each.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if self._over.is_set():
                    connection.close()
                    return
                self.connections += 1
                self._open.add(connection)
                thread = threading.Thread(target=self._serve, args=(connection, self.connections), daemon=True)
                self._threads = [each for each in self._threads if each.is_alive()]
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            connection.settimeout(_PATIENCE_S)
            if self._implicit:
                connection = self.secured(connection)
            self.talk(connection, number)
        except (OSError, ValueError, Gone):
            pass  # a client that goes away in the middle is no news
        finally:
            self.let_go(connection)

    def secured(self, connection: socket.socket) -> socket.socket:
        """The connection with TLS, from here on; `let_go` of it in the end. Raises `OSError` or `Gone` without one."""
        with self._lock:
            if self._tls is None or self._over.is_set():
                raise Gone
            self._open.discard(connection)
            secure = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            self._open.add(secure)
        try:
            secure.do_handshake()
        except BaseException:
            self.let_go(secure)
            raise
        return secure

    def let_go(self, connection: socket.socket) -> None:
        """Close a connection."""
        with self._lock:
            self._open.discard(connection)
            connection.close()

    def misbehave(self, connection: socket.socket, fault: Fault, *, half: bytes) -> None:
        """Do what the fault says, and end the connection. `half`: the beginning of an answer. Raises `Gone`."""
        if fault is Fault.HANG:
            self._over.wait()
        if fault in {Fault.RESET_MIDWAY, Fault.CLOSE_MIDWAY, Fault.DRIP}:
            connection.sendall(half)
        if fault is Fault.GARBAGE:
            connection.sendall(b"\x00\xff\x16\x03 what is this?\r\n\r\n")
        while fault is Fault.DRIP and not self._over.wait(_DRIP_EVERY_S):
            connection.sendall(b".")
        if fault in {Fault.RESET, Fault.RESET_MIDWAY}:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        raise Gone
