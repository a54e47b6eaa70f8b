"""The API fails on purpose: what its next answers are instead of the right ones."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import falcon


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An answer that is none of the documented ones."""

    status: int = 503
    content: bytes = json.dumps({"message": "Simulated failure"}).encode()
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    hangs: bool = False
    """It comes only when the simulator ends."""


HTML = Failure(status=200, content=b"<!doctype html><title>Sign in</title>", headers={"Content-Type": "text/html"})
"""A page where JSON is expected, as of a proxy that wants a password."""
HANG = Failure(hangs=True)
"""No answer."""


def redirect(url: str, status: int = 302) -> Failure:
    """Sends whoever asks somewhere else."""
    return Failure(status=status, content=b"", headers={"Location": url})


class Failures:
    """Falcon's middleware: gives the failures that it was told to give, one for each request, then none."""

    def __init__(self) -> None:
        self.next: deque[Failure] = deque()
        self.over = threading.Event()
        """Ends whatever hangs."""

    def process_request(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Answer the request with a failure, if one is due."""
        try:
            failure = self.next.popleft()
        except IndexError:
            return
        if failure.hangs:
            self.over.wait()
        resp.status = falcon.code_to_http_status(failure.status)
        resp.data = failure.content
        resp.set_headers(dict(failure.headers))
        resp.complete = True
