"""What the bridge and a host's process say to each other: JSON in frames over a socket, a body beside it as it is.

Never pickle: what a plugin's process sends is not trusted. All that can come of it is an `Outcome` or a `ValueError`.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from glycanbridge.attempt import LONGEST_TEXT, kept_text
from glycanbridge.delivery import Delivery, Outcome, Result, Scope
from glycanbridge.hosts import Made

LARGEST_ANSWER_BYTES = 65_536
"""More than the longest text in JSON's longest spelling, `\\ud83d\\ude00` for each character."""
LONGEST_S = 1e9
"""Longer than any attempt takes, and what every journal can keep."""
_SIZES = struct.Struct(">II")
_CHUNK_BYTES, _LARGEST_CHUNK_BYTES = 65_536, 1_048_576
_OUTCOME = ("result", "receipt", "error", "retry_after_s", "scope")
_RESULTS = tuple(Result)


Message = tuple[dict[str, Any], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPlan:
    """All that a host's process must know to make its plugin's instance."""

    destination: str
    plugin: str
    """The plugin's name."""
    plugin_file: Path | None = None
    """Where it is, if it is a file of the clinic's own."""
    settings: Mapping[str, Any] = field(repr=False)
    """The plugin's own, as they stand in `bridge.yaml`, with secrets: they travel by pipe, never in arguments."""
    folder: Path
    """The folder of `bridge.yaml`, which relative paths are taken from."""
    tries: int
    memory_mb: int | None = None
    """How much memory the plugin may have besides what the host itself needs; `None`: as much as there is."""
    reports: bool = False
    """Whether the bridge can be asked for report files."""


def send(to: socket.socket, told: Mapping[str, object], body: bytes = b"", *, deadline: float | None = None) -> None:
    """Send one message. Raises `EOFError` if nobody is there any more, `TimeoutError` at the deadline."""
    text = json.dumps(told).encode()
    to.settimeout(_left_s(deadline))
    try:
        to.sendall(b"".join((_SIZES.pack(len(text), len(body)), text, body)))
    except TimeoutError:
        raise
    except OSError as error:
        raise EOFError from error


class Inbox:
    """What comes through a socket, as messages: many at a time, if whoever takes them out comes late."""

    def __init__(self, source: socket.socket, *, largest_bytes: int | None = None) -> None:
        self._source = source
        self._largest_bytes = largest_bytes
        self._data = bytearray()
        self._at = 0
        self._missing_bytes = 0

    def message(self) -> Message | None:
        """The next one, if it has come. Raises `ValueError` if it is no message."""
        start = self._at + _SIZES.size
        if len(self._data) < start:
            return None
        text_bytes, body_bytes = _SIZES.unpack_from(self._data, self._at)
        if self._largest_bytes is not None and text_bytes + body_bytes > self._largest_bytes:
            raise ValueError("too long")
        middle, end = start + text_bytes, start + text_bytes + body_bytes
        self._missing_bytes = end - len(self._data)
        if self._missing_bytes > 0:
            return None
        self._at = end
        try:
            told = json.loads(self._data[start:middle].decode())
        except RecursionError as error:
            raise ValueError("too deep") from error
        if not isinstance(told, dict):
            raise ValueError("not an object")  # noqa: TRY004 (it is about what was sent)
        return told, bytes(memoryview(self._data)[middle:end])

    def fill(self) -> None:
        """Take what has come, or wait for it. Raises `EOFError` if nothing will come any more."""
        try:
            more = self._source.recv(min(max(_CHUNK_BYTES, self._missing_bytes), _LARGEST_CHUNK_BYTES))
        except TimeoutError:
            raise
        except OSError as error:
            raise EOFError from error
        if not more:
            raise EOFError
        del self._data[: self._at]
        self._at = 0
        self._data += more  # in place: to put a large message together anew with each piece takes minutes


def told_of_deliveries(deliveries: Sequence[Delivery]) -> Message:
    """Deliveries as they are sent: what is known of each, and all bodies one behind the other."""
    told = [
        (
            each.id,
            each.event_id,
            each.event_type,
            each.destination,
            each.attempt,
            each.received_at.isoformat(),
            len(each.body),
        )
        for each in deliveries
    ]
    return {"deliveries": told}, b"".join(each.body for each in deliveries)


def deliveries_of(told: dict[str, Any], body: bytes) -> Iterator[Delivery]:
    """The deliveries that were sent."""
    start = 0
    for delivery_id, event_id, event_type, destination, attempt, received_at, size_bytes in told["deliveries"]:
        yield Delivery(
            id=delivery_id,
            event_id=event_id,
            event_type=event_type,
            destination=destination,
            attempt=attempt,
            received_at=datetime.fromisoformat(received_at),
            body=body[start : start + size_bytes],
        )
        start += size_bytes


def told_of_made(made: Made) -> dict[str, object]:
    """An attempt as it is sent: what there is to say."""
    told = {"took_s": made.took_s, **{name: getattr(made.outcome, name) for name in _OUTCOME}}
    return {name: value for name, value in told.items() if value is not None}


def made_of(told: dict[str, Any]) -> Made:
    """The attempt that was sent. Raises `ValueError` unless it is one in every respect."""
    result, wait_s, took_s = told.get("result"), told.get("retry_after_s"), told.get("took_s", 0.0)
    if result not in _RESULTS:
        raise ValueError("no result")
    if not (wait_s is None or _is_time(wait_s)):
        raise ValueError("no time to wait")
    if not (_is_time(took_s) and took_s < LONGEST_S):
        raise ValueError("no time that it took")
    receipt, error = _text(told.get("receipt")), _text(told.get("error"))
    scope = None if told.get("scope") is None else Scope(told["scope"])
    outcome = Outcome(result=Result(result), receipt=receipt, error=error, retry_after_s=wait_s, scope=scope)
    return Made(outcome, took_s)


def _is_time(told: object) -> bool:
    return type(told) in (int, float) and told >= 0  # type: ignore[operator]


def _text(told: object) -> str | None:
    if told is None:
        return None
    if not isinstance(told, str) or len(told) > LONGEST_TEXT:
        raise ValueError("no text")
    return kept_text(told)


def _left_s(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.001, deadline - time.monotonic())  # 0 would mean: do not wait at all
