"""Connections that post one event after the other until the server dies, and remember what they were told."""

from __future__ import annotations

import itertools
import json
import threading
import time
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

from bench.events import body, report_id
from bench.load import ANSWER_S, loopback
from bench.processes import Failed
from glycanbridge.signature import HEADER, sign


class Senders:
    """Some senders, each a thread with a connection of its own for each life of the server.

    As GlycanAge would, they send again what was not answered; but only every second event of these, so that there are
    also events whose fate nobody asks for.
    """

    def __init__(self, *, connections: int, secret: str) -> None:
        self.attempted: set[str] = set()
        """The `reportId` of every event of which at least the sending was begun."""
        self.acknowledged: set[str] = set()
        """Of these, the ones that were answered 200."""
        self.answered = threading.Event()
        """Whether anything was answered in this life of the server."""
        self._connections = connections
        self._secret = secret
        self._numbers = itertools.count()
        self._again: list[int] = []
        self._odd: list[str] = []
        self._threads: list[threading.Thread] = []

    def start(self, url: str, *, pause_s: float) -> None:
        """Send to `url`, which must be on this machine, until the server does not answer any more.

        Each sender pauses after each answer.
        """
        self.answered.clear()
        self._threads = [
            threading.Thread(target=self._send, args=(url, pause_s), name=f"sender-{number}", daemon=True)
            for number in range(self._connections)
        ]
        for each in self._threads:
            each.start()

    def join(self) -> None:
        """Wait for the end of all, after the server's. Raises `Failed` if an answer was no answer to an event."""
        for each in self._threads:
            each.join()
        if self._odd:
            raise Failed(f"an event was answered {self._odd[0]}")

    def _send(self, url: str, pause_s: float) -> None:
        host, port = loopback(url)
        connection = HTTPConnection(host, port, timeout=ANSWER_S)
        try:
            while not self._odd:
                number = self._next()
                try:
                    self._post(connection, urlsplit(url).path, number)
                except (OSError, HTTPException):
                    if number % 2:
                        self._again.append(number)
                    return
                time.sleep(pause_s)
        finally:
            connection.close()

    def _next(self) -> int:
        try:
            return self._again.pop()
        except IndexError:
            return next(self._numbers)

    def _post(self, connection: HTTPConnection, path: str, number: int) -> None:
        content = body(number)
        self.attempted.add(report_id(number))
        connection.request("POST", path, content, {HEADER: sign(content, self._secret)})
        answer = connection.getresponse()
        if answer.status == 200:  # it counts from here, even if the rest of the answer does not come
            self.acknowledged.add(report_id(number))
        told = answer.read()
        if answer.status != 200 or json.loads(told)["status"] not in ("accepted", "duplicate"):
            self._odd.append(f"{answer.status} {told.decode(errors='replace')}")
        self.answered.set()
