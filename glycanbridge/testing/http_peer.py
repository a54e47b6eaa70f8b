"""An HTTP server on loopback that keeps what it is asked, and answers or misbehaves as it is told."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPException, HTTPMessage, parse_headers
from io import BufferedReader
from typing import Any

from glycanbridge.testing.answers import Answer, Fault, Script
from glycanbridge.testing.listening import Gone, Peer

_LONGEST_LINE_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request as it came, whole."""

    method: str
    path: str
    """With its query."""
    headers: HTTPMessage = field(compare=False)
    """By name, in any case: `headers["content-type"]`; `None` for one that did not come."""
    body: bytes
    connection: int = field(default=0, compare=False)
    """Which connection it came on, counted from 1."""

    @property
    def json(self) -> Any:
        """The body, read as JSON. Raises `ValueError`."""
        return json.loads(self.body)

    @property
    def key(self) -> object:
        """What must be equal for it to be the same request once more."""
        return self.method, self.path, self.body

    @property
    def whole(self) -> bytes:
        """All of it that says something, as bytes: method, path, headers, body."""
        lines = [f"{self.method} {self.path}", *(f"{name}: {value}" for name, value in self.headers.items()), "", ""]
        return "\n".join(lines).encode("latin-1", "replace") + self.body


HttpAnswer = Answer | Fault | Callable[[HttpRequest], "Answer | Fault"]
"""What a peer is told to do with a request: to answer, to misbehave, or what a function of the request says."""


class HttpPeer(Peer):
    """An HTTP/1.1 server on 127.0.0.1 that answers each request as it is told, with TLS if it is given a context.

    ```
    with HttpPeer(Answer(200, "ok")) as peer:
        peer.answer(Answer(429, headers={"Retry-After": "7"}), Fault.RESET, Answer(201))
        ...  # the plugin posts to peer.url
        assert peer.requests[0].json == {...}
    ```
    """

    def __init__(self, *answers: HttpAnswer, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        """`answers`: how it answers while it is well, in turn, the last one for ever after; default: an empty 200.

        `port`: any free one, unless a far side that was away is to come back where it was.
        """
        self.requests: list[HttpRequest] = []
        """All that came whole, in order; each stands here before it is answered."""
        self._well: tuple[HttpAnswer, ...] = answers or (Answer(),)
        self.be_well()
        super().__init__(tls=tls, port=port)

    @property
    def taken(self) -> list[HttpRequest]:
        """What it was given: its requests."""
        return self.requests

    @property
    def url(self) -> str:
        """Its address, without a path."""
        return f"http{'' if self._tls is None else 's'}://127.0.0.1:{self.port}"

    def answer(self, *answers: HttpAnswer) -> None:
        """From now on answer so: one request after the other, and all further ones like the last."""
        self._script: Script[HttpRequest, Answer | Fault] = Script(*answers)

    def be_well(self) -> None:
        """Answer again as it was told when it was made."""
        self.answer(*self._well)

    def talk(self, connection: socket.socket, number: int) -> None:
        """Answer one request after the other."""
        with connection.makefile("rb") as lines:
            while True:
                try:
                    request = _read(connection, lines, number)
                except (ValueError, HTTPException):  # TLS, for example
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                    return
                self.requests.append(request)
                answer = self._script.next(request)
                if isinstance(answer, Fault):
                    self.misbehave(connection, answer, half=b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{")
                else:
                    connection.sendall(_written(answer, to=request) if answer.raw is None else answer.raw)
                    if answer.then is not None:
                        self.misbehave(connection, answer.then, half=b"")
                if (request.headers.get("Connection") or "").lower() == "close":
                    return


def _read(connection: socket.socket, lines: BufferedReader, number: int) -> HttpRequest:
    """The next request. Raises `Gone` if there is none, `ValueError` if it is not HTTP."""
    begun = lines.peek(1)
    if not begun:
        raise Gone
    if not begun[:1].isalpha():  # a line may never come
        raise ValueError("not HTTP")
    method, path, _version = lines.readline(_LONGEST_LINE_BYTES).decode("latin-1").split()
    headers = parse_headers(lines)
    if (headers.get("Expect") or "").lower() == "100-continue":
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    if (headers.get("Transfer-Encoding") or "").lower() == "chunked":
        body = _chunks(lines)
    else:
        length = int(headers.get("Content-Length") or 0)
        body = lines.read(length)
        if len(body) < length:
            raise Gone
    return HttpRequest(method=method, path=path, headers=headers, body=body, connection=number)


def _chunks(lines: BufferedReader) -> bytes:
    body = b""
    while size := int(lines.readline(_LONGEST_LINE_BYTES).partition(b";")[0], 16):
        body += lines.read(size)
        lines.readline()
    while lines.readline(_LONGEST_LINE_BYTES).strip():  # trailers
        pass
    return body


def _written(answer: Answer, *, to: HttpRequest) -> bytes:
    known = {each.value: each.phrase for each in HTTPStatus}
    headers: Mapping[str, str] = {"Content-Length": str(len(answer.content)), **answer.headers}
    head = [f"HTTP/1.1 {answer.status} {known.get(answer.status, 'Unknown')}"]
    head += [f"{name}: {value}" for name, value in headers.items()]
    content = b"" if to.method == "HEAD" or answer.status in {204, 304} else answer.content
    return "\r\n".join([*head, "", ""]).encode("latin-1") + content
