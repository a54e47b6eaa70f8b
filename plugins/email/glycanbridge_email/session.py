"""One connection to a mail server: smtplib's, within a deadline, and never less encrypted than `security` says."""

from __future__ import annotations

import re
import smtplib
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress

from glycanbridge import DestinationError
from glycanbridge_email.replies import LAST_STEP, MENDED_S
from glycanbridge_email.settings import EmailSettings

LARGEST_ANSWER_BYTES = 65_536
LEAVE_S = 0.5
"""How long the server may take to say goodbye."""
_MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5")
"""What we log in with, within TLS. One of them, once: each try with a wrong password counts against the account."""


class Errand:
    """What is done at the server in one go: how long it may take, and where it stands."""

    def __init__(self, within_s: float, seconds: Callable[[], float] = time.monotonic) -> None:
        """`seconds` tells a time that only runs forward."""
        self.step = "connecting"
        """What the server is asked."""
        self._began, self._within_s, self._seconds = seconds(), within_s, seconds

    @property
    def took_s(self) -> float:
        """How long it has taken so far."""
        return self._seconds() - self._began

    def left_s(self, most_s: float) -> float:
        """How long its next step may take, `most_s` at the most. Raises `TimeoutError` if there is no time left."""
        left = self._within_s - self.took_s
        if left <= 0:
            raise TimeoutError
        return min(left, most_s)


class _Lines:
    """A server's answers, line by line: each whole, none without end, and all within the session's deadline."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._waiting = b""

    def readline(self, limit: int) -> bytes:
        """A whole line; nothing if the server has closed."""
        while b"\n" not in self._waiting:
            chunk = self._session.receive()
            self._waiting += chunk
            if not chunk:  # half a line is no answer: nobody knows what it would have said
                return b""
        line, _, self._waiting = self._waiting.partition(b"\n")
        if len(line) >= limit:  # smtplib would take it for a refusal
            raise OSError("a line without end")
        return line + b"\n"

    def close(self) -> None:
        """Forget what has come."""
        self._waiting = b""


class Session(smtplib.SMTP):
    """A connection that is ready for mails: encrypted and logged in.

    Raises what smtplib, ssl and sockets raise, and `DestinationError` where what `security` says cannot be had.
    """

    def __init__(self, settings: EmailSettings, tls: Callable[[], ssl.SSLContext], errand: Errand) -> None:
        self._settings, self._tls, self.errand = settings, tls, errand
        self._answer_bytes = 0
        super().__init__(settings.host, settings.port_number, local_hostname=settings.helo_name or _own_name())
        try:
            self._get_ready()
        except BaseException:
            self.close()
            raise

    def _get_ready(self) -> None:
        self._say_hello()
        if self._settings.security == "starttls":
            if not self.has_extn("starttls"):
                told = f"{self._settings.server} offers no STARTTLS, and nothing is sent without: see that this is the"
                told += " port for sending (587), and that nobody between strips it; on port 465 set `security: tls`"
                raise DestinationError(told, retry_after_s=MENDED_S)
            self.errand.step = "STARTTLS"
            self.starttls(context=self._tls())
            self._say_hello()
        if self._settings.username is not None and self._settings.password is not None:
            self._log_in(self._settings.username, self._settings.password.get_secret_value())

    def _say_hello(self) -> None:
        self.errand.step = "EHLO"
        code, text = self.ehlo()
        if code >= 500:  # only servers of old know no EHLO
            code, text = self.helo()
        if not 200 <= code <= 299:
            raise smtplib.SMTPHeloError(code, text)

    def _log_in(self, username: str, password: str) -> None:
        self.errand.step = "AUTH"
        offered = self.esmtp_features.get("auth", "").upper().split()
        mechanism = next((each for each in _MECHANISMS if each in offered), None)
        if mechanism is None:
            told = f"{self._settings.server} offers no login that we know ({', '.join(_MECHANISMS)});"
            told += " see that this is the port for sending, or leave `username` and `password` away"
            raise DestinationError(told, retry_after_s=MENDED_S)
        self.user, self.password = username, password
        self.auth(mechanism, getattr(self, f"auth_{mechanism.lower().replace('-', '_')}"))

    @property
    def is_connected(self) -> bool:
        """Whether it has not been closed, as far as is known."""
        return self.sock is not None

    @property
    def encryption(self) -> str:
        """The version of TLS, or that there is none."""
        return (self.sock.version() or "") if isinstance(self.sock, ssl.SSLSocket) else "not encrypted"

    def leave(self) -> None:
        """Close it, with a word of goodbye if the server still listens."""
        with suppress(OSError, smtplib.SMTPException):
            if self.is_connected:
                self.errand = Errand(LEAVE_S)
                self.docmd("QUIT")
        with suppress(OSError):
            self.close()

    def receive(self) -> bytes:
        """Some bytes of an answer; none if the server has closed."""
        if self._answer_bytes > LARGEST_ANSWER_BYTES:
            raise OSError("an answer without end")
        if self.sock is None:
            return b""
        self.sock.settimeout(self.errand.left_s(self._settings.read_timeout_s))
        chunk: bytes = self.sock.recv(4096)
        self._answer_bytes += len(chunk)
        return chunk

    def getreply(self) -> tuple[int, bytes]:
        """The next answer: smtplib's, from lines that come in time."""
        self._answer_bytes = 0
        if self.file is None and self.sock is not None:
            self.file = _Lines(self)  # smtplib drops it at STARTTLS, and what was sent before TLS with it
        return super().getreply()

    def send(self, s: object) -> None:
        """Bytes are a mail, text a command."""
        most_s = self._settings.read_timeout_s
        if isinstance(s, bytes):
            self.errand.step = LAST_STEP
            most_s = self._settings.mail_timeout_s  # with a report file in it, it may be long on its way
        if self.sock is not None:
            self.sock.settimeout(self.errand.left_s(most_s))
        super().send(s)  # type: ignore[arg-type]

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        """Connect to the first of the host's addresses that takes us, all of them within the timeout.

        smtplib's own class for TLS from the first byte hooks in here too.
        """
        del timeout  # smtplib's would count for each address
        patience = Errand(self.errand.left_s(self._settings.connect_timeout_s))
        refused: OSError = OSError("the name has no address")
        for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            try:
                connected = socket.create_connection(
                    (str(address[0]), port), patience.left_s(self._settings.connect_timeout_s)
                )
            except OSError as error:
                refused = error
                continue
            if self._settings.security == "tls":
                self.errand.step = "TLS"
                connected.settimeout(self.errand.left_s(self._settings.read_timeout_s))
                connected = self._tls().wrap_socket(connected, server_hostname=host)
            self.errand.step = "the greeting"
            return connected
        raise refused


def _own_name() -> str:
    name = socket.gethostname()
    return name if re.fullmatch(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", name) else "[127.0.0.1]"
