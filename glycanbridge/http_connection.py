"""One connection of the HTTP server: strict framing, errors in JSON, and a last word that reaches the sender."""

from __future__ import annotations

import json
import logging
import re
import socket
import sys
import time
from typing import Any

from waitress.buffers import OverflowableBuffer
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.receiver import FixedStreamReceiver
from waitress.task import ErrorTask
from waitress.utilities import Error, RequestEntityTooLarge

from glycanbridge.errors import without_text

log = logging.getLogger(__name__)


_PLAIN_HEAD = re.compile(
    r"(POST (/[\w/.-]*) HTTP/1\.1)\r\n((?:[A-Za-z][A-Za-z0-9-]*: [!-~](?:[ -~]*[!-~])?\r\n)+)\r\n", re.ASCII
)
_PLAIN_LINE = re.compile(r"([^:]+): (.+)\r\n")
_PLAIN_LENGTH = re.compile("[1-9][0-9]{0,8}")
_NOT_PLAIN = {"CONNECTION", "EXPECT", "TRANSFER_ENCODING"}


class _Parser(HTTPRequestParser):
    """Refuses what two readers could frame in two ways, the ground of request smuggling (RFC 9112, 6.3)."""

    def parse_header(self, header_plus: bytes) -> None:
        if self._is_plain(header_plus):
            return
        try:
            super().parse_header(header_plus)
        except ValueError:  # an address with half a bracket, a length of 5,000 digits: waitress lets them through
            raise ParsingError("The request line or a header cannot be read") from None
        encodings = re.findall(rb"\r\ntransfer-encoding:([^\r]*)", header_plus.lower())
        if len(encodings) > 1 or b"," in b"".join(encodings) or (encodings and "CONTENT_LENGTH" in self.headers):
            raise ParsingError("Transfer-Encoding twice, or beside Content-Length")
        if self.version not in {"1.0", "1.1"}:
            raise ParsingError("Not HTTP/1")
        if self.content_length >= self.adj.max_request_body_size:
            self.expect_continue = False  # it gets its 413, and no invitation to send the body first

    def _is_plain(self, head: bytes) -> bool:
        """Take in the head of a request of the usual form; `False` for any other, which waitress is to look at.

        waitress looks at each character of each line by several patterns, a tenth of all that a request costs. What is
        taken in here comes out as waitress would have it: a test holds the two against each other.
        """
        plain = _PLAIN_HEAD.fullmatch(head.decode("latin-1"))
        if plain is None:
            return False
        lines = [(name.upper().replace("-", "_"), value) for name, value in _PLAIN_LINE.findall(plain[3])]
        headers = dict(lines)
        length = _PLAIN_LENGTH.fullmatch(headers.get("CONTENT_LENGTH", ""))
        if length is None or len(headers) < len(lines) or not _NOT_PLAIN.isdisjoint(headers):
            return False
        self.first_line, self.headers, self.request_uri = plain[1].encode(), headers, plain[2]
        self.command, self.version, self.path = "POST", "1.1", plain[2]
        self.proxy_scheme = self.proxy_netloc = self.query = self.fragment = ""
        self.url_scheme = self.adj.url_scheme
        self.content_length = int(length[0])
        buffer = OverflowableBuffer(self.adj.inbuf_overflow)
        self.body_rcv = FixedStreamReceiver(self.content_length, buffer)  # type: ignore[assignment]
        return True


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


class Connection(HTTPChannel):
    """One connection; knows when its request began, and waits for a sender to read why it was cut short."""

    parser_class = _Parser
    error_task_class = _ErrorTask
    lingers = False
    lingering = False
    _pieces: list[bytes] | None = None

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.began_at = time.monotonic()
        """Since when we wait for the sender: for a request, for the rest of one, or for it to read our answer."""

    def received(self, data: bytes) -> bool:
        """Take in what has come."""
        if self.request is None:
            data = data.lstrip(b"\r\n")  # empty lines before a request are passed over (RFC 9112, 2.2): no activity
            if not data:
                return False
            self.began_at = time.monotonic()
        return bool(super().received(data))

    def service(self) -> None:
        """Answer one request."""
        super().service()
        self.began_at = time.monotonic()

    def answer(self) -> None:
        """Answer what has come and send the answer, in the loop's own thread and in one piece.

        waitress would lay the pieces into a buffer, and send it in the next turn of its loop.
        """
        try:
            self._pieces = []
            self.service()
            pieces, self._pieces = self._pieces, None
            if self.connected:
                self._send_all(b"".join(pieces))
        except (Exception, SystemExit):
            self.handle_error()

    def write_soon(self, data: bytes) -> int:
        """A piece of an answer."""
        if self._pieces is None:
            return int(super().write_soon(data))
        self._pieces.append(data)
        return len(data)

    def send_continue(self) -> None:
        """Invite the sender to send a body; behind the answer that is about to be sent, if there is one."""
        if self._pieces is None or self.request is None:
            super().send_continue()
            return
        self.request.expect_continue = self.request.completed = False
        self.sent_continue = True
        self._pieces.append(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _send_all(self, data: bytes) -> None:
        if not self.total_outbufs_len:
            data = data[self.send(data) :]
        if not self.connected:
            return
        if data:  # the sender does not read as fast as we answer
            super().write_soon(data)
        if self.close_when_flushed or self.will_close:
            self.handle_write()

    def overdue(self, deadline_s: float) -> bool:
        """Whether it has kept us waiting too long."""
        return not self.requests and time.monotonic() - self.began_at > deadline_s

    def handle_error(self) -> None:
        """An exception of waitress's own ends the connection; its text may be what a stranger sent."""
        error = sys.exc_info()[1]
        log.error("a connection was dropped: %s", without_text(error) if error else "unknown")
        self.handle_close()

    # A sender in the middle of a body that is too large gets a reset instead of the 413 if we just close: so we send
    # the answer, end our side, read on and throw away until the sender has closed, or its deadline has come.

    def handle_write(self) -> None:
        """Send what there is to send."""
        if not (self.lingers and self.close_when_flushed) or self.will_close:
            super().handle_write()
            return
        self._flush_exception(self._flush_some)
        if not self.total_outbufs_len and self.socket is not None:
            self.socket.shutdown(socket.SHUT_WR)
            self.close_when_flushed, self.lingering = False, True

    def readable(self) -> bool:
        """Whether we listen to the sender now."""
        return self.lingering or bool(super().readable())

    def handle_read(self) -> None:
        """Read what there is."""
        if not self.lingering:
            super().handle_read()
        elif not self.recv(65_536):
            self.will_close = True
