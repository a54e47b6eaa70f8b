"""Distinct report-ready events as whole HTTP requests, signed and ready to send."""

from __future__ import annotations

import json
from importlib import resources

from glycanbridge.signature import HEADER, sign

_HEAD = (
    "POST {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: bench\r\nAccept: */*\r\n"
    "Content-Type: application/json\r\nContent-Length: {length}\r\n" + HEADER + ": {signature}\r\n\r\n"
)


def report_id(number: int) -> str:
    """The `reportId` of event `number`."""
    return f"report_{number:08}"


def signed_requests(count: int, *, host: str, path: str, secret: str) -> list[bytes]:
    """Requests 0 to `count` - 1: the vendor's sample, each with a timestamp and `reportId` of its own."""
    sample = resources.files("glycanbridge") / "samples" / "report-ready.json"
    event = json.loads(sample.read_bytes())
    first = event["timestamp"]
    requests = []
    for number in range(count):
        event["timestamp"] = first + number
        event["data"]["reportId"] = report_id(number)
        body = json.dumps(event, separators=(",", ":")).encode()
        head = _HEAD.format(path=path, host=host, length=len(body), signature=sign(body, secret))
        requests.append(head.encode() + body)
    return requests
