"""Sends one message after the other over MLLP, TCP with or without TLS, and reads what the receiver says to it.

A message counts as taken only by an acknowledgement that names it. Whatever else happens on a connection ends it, so
that what comes late is never taken for the answer to the next message.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from glycanbridge import TemporaryError
from glycanbridge_ehr.hl7 import Message
from glycanbridge_ehr.hl7_acks import Ack, ack_in
from glycanbridge_ehr.mllp_tls import refused, tls_context
from glycanbridge_ehr.settings_hl7 import MllpSettings

START, END = b"\x0b", b"\x1c\x0d"
LARGEST_ANSWER_BYTES = 65_536
"""An acknowledgement has some hundred bytes; what is larger is none."""
_AGAIN_S = 5
"""Before a message of unknown outcome is sent again: no quick try follows, which could flood a slow receiver."""
_LISTEN_S = 1.0
_GONE = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)
"""What sending or reading raises once the other end has closed."""


class Closed(Exception):
    """The receiver closed the connection without a word."""


class MllpClient:
    """One connection to one receiver, made when it is needed. Safe to use from several threads: they take turns."""

    def __init__(
        self,
        settings: MllpSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._sleep = sleep
        self._where = f"{settings.host}:{settings.port}"
        self._turn = threading.Lock()
        self._connection: socket.socket | None = None
        self._idle: threading.Timer | None = None
        self._done_at: float | None = None

    def exchange(self, message: Message, *, leaving: Callable[[], None]) -> Ack:
        """Send a message; the acknowledgement that names it. `leaving` is called before its first byte leaves.

        Raises `TemporaryError`, one that is `unknown` where the receiver may have the message, or
        `DestinationError` if the receiver's TLS and ours do not agree.
        """
        deadline = self._clock() + self._settings.longest_send_s
        if not self._turn.acquire(timeout=self._settings.connect_timeout_s + self._settings.pause_s):
            told = f"{self._where} has not acknowledged the message before; this one was not sent"
            raise TemporaryError(told, retry_after_s=_AGAIN_S)
        try:
            self._pause()
            try:
                return self._exchange(message, deadline, leaving)
            except Closed:
                told = f"{self._where} closed the connection without an acknowledgement"
                raise TemporaryError(told, retry_after_s=_AGAIN_S, unknown=True) from None
            finally:
                self._done_at = self._clock()
                self._close_when_idle()
        finally:
            self._turn.release()

    def check(self) -> str:
        """Connect, and send nothing. Raises as `exchange` does."""
        connection = self._connect()
        try:
            connection.settimeout(min(_LISTEN_S, self._settings.ack_timeout_s))
            told = "without TLS"
            if isinstance(connection, ssl.SSLSocket):
                until = (connection.getpeercert() or {}).get("notAfter", "?")
                told = f"{connection.version()}, its certificate is good until {until}"
            with suppress(TimeoutError):  # a receiver that wants none of us (TLS 1.3: no certificate) says so only now
                connection.recv(1)
                raise TemporaryError(f"{self._where} takes the connection, and closes it or speaks out of turn")
        except _GONE:
            raise TemporaryError(f"{self._where} takes the connection, and breaks it off") from None
        except ssl.SSLError as error:
            raise refused(self._where, error) from None
        finally:
            connection.close()
        return f"{self._where} takes connections ({told}); nothing was sent"

    def close(self) -> None:
        """Let go of the connection. May be called twice."""
        with self._turn:
            self._stop_waiting()
            self._drop()

    def _exchange(self, message: Message, deadline: float, leaving: Callable[[], None]) -> Ack:
        self._stop_waiting()
        kept = self._quiet_connection()
        if kept is not None:
            with suppress(Closed):  # while it was idle: the same bytes once more, on a new one
                return self._over(kept, message, deadline, leaving)
        return self._over(self._connect(), message, deadline, leaving)

    def _over(self, connection: socket.socket, message: Message, deadline: float, leaving: Callable[[], None]) -> Ack:
        """Exchange on this connection, and keep it only if nothing but the right acknowledgement came."""
        self._connection = connection
        clean = False
        try:
            leaving()
            answer, rest = self._talk(connection, message, deadline)
            ack = ack_in(answer, control_id=message.control_id)
            clean = not rest and self._settings.idle_close_s > 0
        except ValueError:
            told = f"{self._where} did not acknowledge this message but something else"
            raise TemporaryError(told, retry_after_s=_AGAIN_S, unknown=True) from None
        except TimeoutError:
            told = f"{self._where} sent no acknowledgement within {self._settings.ack_timeout_s:g} s (ack_timeout_s)"
            raise TemporaryError(told, retry_after_s=_AGAIN_S, unknown=True) from None
        finally:
            if not clean:
                self._drop()
        return ack

    def _talk(self, connection: socket.socket, message: Message, deadline: float) -> tuple[bytes, bytes]:
        """Send, and read one frame; what is in it, and what came after it."""
        deadline = min(deadline, self._clock() + self._settings.ack_timeout_s)
        try:
            with suppress(*_GONE):  # what it said before it closed can still be read
                _send(connection, START + message.data + END, lambda: self._left_s(deadline))
            return self._read(connection, deadline)
        except _GONE:
            raise Closed from None
        except ssl.SSLError as error:
            raise refused(self._where, error) from None
        except TimeoutError:
            raise
        except OSError as error:
            told = f"{self._where}: {error.strerror or type(error).__name__}"
            raise TemporaryError(told, retry_after_s=_AGAIN_S, unknown=True) from None

    def _read(self, connection: socket.socket, deadline: float) -> tuple[bytes, bytes]:
        data = b""
        while True:
            begin = data.find(START)
            end = data.find(END, begin + 1) if begin >= 0 else -1
            if end >= 0:
                return data[begin + 1 : end], data[end + len(END) :]
            if len(data) > LARGEST_ANSWER_BYTES:
                raise ValueError("without end")
            connection.settimeout(self._left_s(deadline))
            more = connection.recv(4096)
            if not more and data:
                raise ValueError("half an answer")
            if not more:
                raise Closed
            data += more

    def _connect(self) -> socket.socket:
        """A new connection, with the receiver's certificate verified unless `tls: false` says otherwise."""
        settings = self._settings
        context = tls_context(settings) if settings.tls else None
        deadline = self._clock() + settings.connect_timeout_s
        try:
            connection = socket.create_connection((settings.host, settings.port), timeout=settings.connect_timeout_s)
        except TimeoutError:
            told = f"{self._where} did not answer within {settings.connect_timeout_s:g} s; nothing was sent"
            raise TemporaryError(told, retry_after_s=_AGAIN_S) from None
        except OSError as error:
            told = f"{self._where}: {error.strerror or type(error).__name__}; nothing was sent"
            # Only a refusal comes at once: three quick tries of a name server that is away would outlast the attempt.
            again_s = None if isinstance(error, ConnectionRefusedError) else _AGAIN_S
            raise TemporaryError(told, retry_after_s=again_s) from None
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            return self._secured(connection, context, deadline) if context else connection
        except BaseException:
            connection.close()
            raise

    def _secured(self, connection: socket.socket, context: ssl.SSLContext, deadline: float) -> socket.socket:
        try:
            connection.settimeout(self._left_s(deadline))
            return context.wrap_socket(connection, server_hostname=self._settings.server_name or self._settings.host)
        except ssl.SSLEOFError:
            told = f"{self._where} broke off the TLS handshake; nothing was sent"
            raise TemporaryError(told, retry_after_s=_AGAIN_S) from None
        except (ssl.SSLError, ssl.CertificateError) as error:
            raise refused(self._where, error) from None
        except OSError as error:
            told = f"{self._where}: {error.strerror or type(error).__name__} in the TLS handshake; nothing was sent"
            raise TemporaryError(told, retry_after_s=_AGAIN_S) from None

    def _quiet_connection(self) -> socket.socket | None:
        """The connection that was kept, if it stands and nothing came on it since: that would be a late answer."""
        if self._connection is None:
            return None
        self._connection.settimeout(0)
        try:
            self._connection.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return self._connection
        except OSError:
            pass
        self._drop()
        return None

    def _pause(self) -> None:
        if self._done_at is not None and self._settings.pause_s:
            self._sleep(max(0.0, self._done_at + self._settings.pause_s - self._clock()))

    def _left_s(self, deadline: float) -> float:
        left_s = deadline - self._clock()
        if left_s <= 0:
            raise TimeoutError
        return left_s

    def _close_when_idle(self) -> None:
        if self._connection is not None:
            self._idle = threading.Timer(self._settings.idle_close_s, self.close)
            self._idle.daemon = True
            self._idle.start()

    def _stop_waiting(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _send(connection: socket.socket, data: bytes, left_s: Callable[[], float]) -> None:
    """All of it, within the time left in all: TLS would begin anew with every piece."""
    rest = memoryview(data)
    while rest:
        connection.settimeout(left_s())
        rest = rest[connection.send(rest[:65_536]) :]
