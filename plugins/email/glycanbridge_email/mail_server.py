"""Sends mails over a connection that is kept while one follows another, and tells each failure for what it is about."""

from __future__ import annotations

import smtplib
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from threading import Lock

from glycanbridge import DestinationError, TemporaryError
from glycanbridge_email.mails import Mail
from glycanbridge_email.replies import LAST_STEP, MENDED_S, SOON_S, Reply, refusal
from glycanbridge_email.session import Errand, Session
from glycanbridge_email.settings import EmailSettings

IDLE_S = 30.0
"""How long a connection is kept without a mail: servers close idle ones, and count them."""
BLIP_S = 1.0
"""What failed within this time may be tried again at once; after more, a quick try would not fit into the attempt."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a mail. Without `reply` nobody has it."""

    reply: Reply | None
    """The server's word that those who are not `refused` have it."""
    refused: Mapping[str, Reply]
    """Who was refused, and how."""


class MailServer:
    """A clinic's mail server. For several threads at once: each mail has a connection to itself."""

    def __init__(self, settings: EmailSettings, *, seconds: Callable[[], float] = time.monotonic) -> None:
        """`seconds` tells how long a connection has been idle."""
        self._settings = settings
        self._seconds = seconds
        self._idle: list[tuple[Session, float]] = []
        self._lock = Lock()

    def send(self, mail: Mail, to: Sequence[str]) -> Sent:
        """Send a mail to these, in one transaction.

        Who is refused is told by the result; whatever else fails, by `TemporaryError`, `DestinationError` or
        `PermanentError`, and then nobody has it, or nobody knows whether they do.
        """
        errand = Errand(self._settings.mail_timeout_s)
        with self._told(errand), self._session(errand) as session:
            return self._transaction(session, mail, to)

    def check(self) -> str:
        """Connect, encrypt and log in, without naming a sender or a recipient. Raises as `send`."""
        errand = Errand(self._settings.mail_timeout_s)
        with self._told(errand):
            session = self._new(errand)
            try:
                self._ask(session, "NOOP", session.noop)
                login = "takes the login" if self._settings.username else "wants no login so far"
                return f"{self._settings.server} answers ({session.encryption}) and {login}; nothing was sent"
            finally:
                session.leave()

    def close(self) -> None:
        """Let go of the connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for session, _ in idle:
            session.leave()

    def _transaction(self, session: Session, mail: Mail, to: Sequence[str]) -> Sent:
        options = [f"SIZE={len(mail.content)}"] if session.has_extn("size") else []
        self._ask(session, "MAIL", lambda: session.mail(self._settings.sender, options))
        session.errand.step = "RCPT"
        refused = {}
        for address in to:
            reply = Reply.of(*session.rcpt(address))
            if reply.is_about_everything or not reply.is_smtp:
                raise refusal(self._settings.server, "RCPT", reply)
            if not reply.is_yes:
                refused[address] = reply
        if len(refused) == len(to):
            return Sent(None, refused)
        return Sent(self._ask(session, "DATA", lambda: session.data(mail.content)), refused)

    def _ask(self, session: Session, step: str, ask: Callable[[], tuple[int, bytes]]) -> Reply:
        session.errand.step = step
        reply = Reply.of(*ask())
        if not reply.is_yes:
            raise refusal(self._settings.server, session.errand.step, reply)
        return reply

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """What certificates are held against: always, and always with the host's name."""
        tls = ssl.create_default_context(cafile=self._settings.ca_file)
        tls.minimum_version = ssl.TLSVersion.TLSv1_2
        return tls

    @contextmanager
    def _session(self, errand: Errand) -> Iterator[Session]:
        session = self._kept(errand) or self._new(errand)
        try:
            yield session
        except BaseException:
            session.leave()
            raise
        with self._lock:
            self._idle.append((session, self._seconds()))

    def _kept(self, errand: Errand) -> Session | None:
        """A connection that is still good; those that the server has left are dropped without a word."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                session, since = self._idle.pop()
            session.errand = errand
            try:
                if self._seconds() - since < IDLE_S and session.rset()[0] == 250:
                    return session
            except (OSError, smtplib.SMTPException):
                pass
            session.leave()

    def _new(self, errand: Errand) -> Session:
        return Session(self._settings, lambda: self._tls, errand)

    @contextmanager
    def _told(self, errand: Errand) -> Iterator[None]:
        """Tell what goes wrong for what it is about, by the server's name, the step and numbers alone."""
        try:
            yield
        except smtplib.SMTPResponseException as error:
            reply = Reply.of(error.smtp_code, error.smtp_error)
            raise refusal(self._settings.server, errand.step, reply) from None
        except (OSError, smtplib.SMTPException) as error:
            raise failure(self._settings.server, errand, error) from None


def failure(server: str, errand: Errand, error: Exception) -> Exception:
    """The error to raise when an errand ended without the server's word."""
    cause = error.__context__ if isinstance(error, smtplib.SMTPServerDisconnected) else error
    if isinstance(error, ssl.SSLCertVerificationError):
        told = f"{server}: its certificate is not taken: {error.verify_message}; see that `host` is the name in it and"
        told += " that this machine's clock is right, and set `ca_file` for an authority of your own"
        return DestinationError(told, retry_after_s=MENDED_S)
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        told = f"{server}: no TLS: {error.reason}; see that `port` and `security` go together: 587 is starttls, 465 tls"
        return DestinationError(told, retry_after_s=MENDED_S)
    if isinstance(error, socket.gaierror):
        told = f"{server}: the host's name is not known; see that `host` is right, and that this machine has DNS"
        return DestinationError(told, retry_after_s=SOON_S)
    if isinstance(cause, TimeoutError):
        told = f"{server}: no answer at {errand.step} in time"
        if errand.step == "the greeting":
            told += "; if it speaks TLS from the first byte, as on port 465, set `security: tls`"
    elif errand.step == "connecting":
        told = f"{server}: {error.strerror or type(error).__name__}" if isinstance(error, OSError) else f"{server}"
        told += "; see that the mail server runs, and that this machine may reach it"
    else:
        told = f"{server} closed the connection at {errand.step}"
    if errand.step == LAST_STEP:
        told += "; nobody knows whether it has the mail, which is sent again under the same Message-ID"
    blip = errand.took_s < BLIP_S and errand.step != LAST_STEP and not isinstance(cause, TimeoutError)
    return TemporaryError(told, retry_after_s=None if blip else SOON_S, unknown=errand.step == LAST_STEP)
