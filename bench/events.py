"""Distinct report-ready events: their bodies, and whole HTTP requests, signed and ready to send."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from glycanbridge.signature import HEADER, sign

_HEAD = (
    "POST {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: bench\r\nAccept: */*\r\n"
    "Content-Type: application/json\r\nContent-Length: {length}\r\n" + HEADER + ": {signature}\r\n\r\n"
)


def report_id(number: int) -> str:
    """The `reportId` of event `number`."""
    return f"report_{number:08}"


def number_of(report_id: str) -> int:
    """The number of the event with this `reportId`."""
    return int(report_id.removeprefix("report_"))


def body(number: int) -> bytes:
    """Event `number`: the vendor's sample with a timestamp and `reportId` of its own."""
    sample = _sample()
    data = sample["data"] | {"reportId": report_id(number)}
    return json.dumps(
        sample | {"timestamp": sample["timestamp"] + number, "data": data}, separators=(",", ":")
    ).encode()


def signed_requests(count: int, *, host: str, path: str, secret: str) -> list[bytes]:
    """Requests with the events 0 to `count` - 1."""
    requests = []
    for content in map(body, range(count)):
        head = _HEAD.format(path=path, host=host, length=len(content), signature=sign(content, secret))
        requests.append(head.encode() + content)
    return requests


@cache
def _sample() -> dict[str, Any]:
    text = (resources.files("glycanbridge") / "samples" / "report-ready.json").read_bytes()
    sample: dict[str, Any] = json.loads(text)
    return sample
