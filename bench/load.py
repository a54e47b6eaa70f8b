"""The load, a process of its own: keep-alive connections to a receiver on this machine, one request out on each.

`python -m bench.load URL SECRET_FILE CONNECTIONS SECONDS MOST_REQUESTS` prints what `Answers` holds, as JSON. Every
request is built and signed before the clock starts, so that the load is not the limit; `busy` tells how near it came.
"""

from __future__ import annotations

import gc
import ipaddress
import json
import re
import selectors
import socket
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from bench.events import signed_requests

ANSWER_S = 15.0
"""How long to wait for an answer: longer than a receiver may take for one."""
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What came back."""

    accepted: list[int]
    """The numbers of the events that were answered 200, those of the first, unmeasured turn too."""
    events_per_s: float
    p50_ms: float
    p99_ms: float
    worst_ms: float
    other_statuses: dict[str, int]
    """How many answers had another status than 200, by status."""
    unanswered: int
    busy: float
    """The share of the time that the load itself was computing; near 1, the load was the limit."""


class _Connection:
    __slots__ = ("buffer", "number", "sent_at_ns", "socket")

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=ANSWER_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.number = 0
        self.sent_at_ns = 0


class Load:
    """Open connections, and what their requests were answered."""

    def __init__(self, address: tuple[str, int], requests: list[bytes], *, connections: int) -> None:
        self._requests = requests
        self._next = 0
        self._waiting = 0
        self._lost = 0
        self._accepted: list[int] = []
        self._latencies_ns: list[int] = []
        self._others: Counter[int] = Counter()
        self._selector = selectors.DefaultSelector()
        self._connections = [_Connection(address) for _ in range(connections)]
        for each in self._connections:
            self._selector.register(each.socket, selectors.EVENT_READ, each)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _type: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self._selector.close()
        for each in self._connections:
            each.socket.close()

    def measure(self, seconds: float) -> Answers:
        """Send for so many seconds, or until all requests are sent, and take the last answers.

        One request on each connection goes before, unmeasured: it meets a receiver that is still getting warm.
        """
        self._drive(seconds, upto=min(len(self._connections), len(self._requests)))
        self._latencies_ns.clear()
        started, started_cpu = time.perf_counter(), time.process_time()
        self._drive(seconds, upto=len(self._requests))
        took_s, took_cpu_s = time.perf_counter() - started, time.process_time() - started_cpu
        latencies_ms = sorted(each / 1e6 for each in self._latencies_ns) or [0.0]
        return Answers(
            accepted=self._accepted,
            events_per_s=len(self._latencies_ns) / took_s,
            p50_ms=latencies_ms[len(latencies_ms) // 2],
            p99_ms=latencies_ms[len(latencies_ms) * 99 // 100],
            worst_ms=latencies_ms[-1],
            other_statuses={str(status): count for status, count in sorted(self._others.items())},
            unanswered=self._lost + self._waiting,
            busy=took_cpu_s / took_s,
        )

    def _drive(self, seconds: float, *, upto: int) -> None:
        """Keep every connection waiting for an answer until the time is over or request `upto` would be next."""
        until_ns = time.perf_counter_ns() + int(seconds * 1e9)
        for connection in self._connections[: upto - self._next]:
            self._send(connection)
        while self._waiting:
            ready = self._selector.select(ANSWER_S)
            if not ready:
                return
            for key, _ in ready:
                if self._answered(key.data) and self._next < upto and time.perf_counter_ns() < until_ns:
                    self._send(key.data)

    def _send(self, connection: _Connection) -> None:
        request = self._requests[self._next]
        connection.number = self._next
        connection.sent_at_ns = time.perf_counter_ns()
        self._next += 1
        self._waiting += 1
        connection.socket.sendall(request)

    def _answered(self, connection: _Connection) -> bool:
        """Read what there is; whether the answer is whole."""
        came = _received(connection.socket)
        if not came:
            self._selector.unregister(connection.socket)
            self._connections.remove(connection)
            connection.socket.close()
            self._waiting -= 1
            self._lost += 1
            return False
        connection.buffer += came
        head, found, body = connection.buffer.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not found or (length and len(body) < int(length[1])):
            return False
        now_ns = time.perf_counter_ns()
        connection.buffer = b""
        self._waiting -= 1
        status = int(head[9:12])
        if status == 200:
            self._accepted.append(connection.number)
            self._latencies_ns.append(now_ns - connection.sent_at_ns)
        else:
            self._others[status] += 1
        return True


def _received(connection: socket.socket) -> bytes:
    """What has come; nothing if the receiver has closed or reset the connection."""
    try:
        return connection.recv(65_536)
    except ConnectionError:
        return b""


def loopback(url: str) -> tuple[str, int]:
    """Host and port of `url`. Raises `ValueError` for any address but one of this machine's own loopback."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not ipaddress.ip_address(parts.hostname or "").is_loopback:
        raise ValueError(f"{url}: the load goes to this machine's loopback address alone")
    return str(parts.hostname), parts.port or 80


def main() -> None:
    url, secret_file, connections, seconds, most = sys.argv[1:]
    address = loopback(url)
    secret = Path(secret_file).read_text(encoding="utf-8")
    parts = urlsplit(url)
    requests = signed_requests(int(most), host=parts.netloc, path=parts.path, secret=secret)
    gc.disable()  # a pause of the load's own must not look like the receiver's
    with Load(address, requests, connections=int(connections)) as load:
        print(json.dumps(asdict(load.measure(float(seconds)))))


if __name__ == "__main__":
    main()
