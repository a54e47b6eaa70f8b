"""What the bridge and a host's process say to each other: JSON in frames over a socket, a body beside it as it is.

Never pickle: what a plugin's process sends is not trusted. All that can come of it is an `Outcome` or a `ValueError`.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from glycanbridge.attempt import LONGEST_TEXT, kept_text
from glycanbridge.delivery import Delivery, Outcome, Result

LARGEST_ANSWER_BYTES = 65_536
"""More than the longest text in JSON's longest spelling, `\\ud83d\\ude00` for each character."""
_SIZES = struct.Struct(">II")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPlan:
    """All that a host's process must know to make its plugin's instance."""

    destination: str
    plugin: str
    """The name of the plugin's entry point."""
    settings: Mapping[str, Any] = field(repr=False)
    """The plugin's own, as they stand in `bridge.yaml`, with secrets: they travel by pipe, never in arguments."""
    folder: Path
    """The folder of `bridge.yaml`, which relative paths are taken from."""
    tries: int
    memory_mb: int | None = None
    """How much memory the plugin may have besides what the host itself needs; `None`: as much as there is."""


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


def receive(
    source: socket.socket, *, deadline: float | None = None, largest_bytes: int | None = None
) -> tuple[dict[str, Any], bytes]:
    """One message. Raises `EOFError`, `TimeoutError` at the deadline, `ValueError` if it is no message."""
    text_bytes, body_bytes = _SIZES.unpack(_read(source, _SIZES.size, deadline))
    if largest_bytes is not None and text_bytes + body_bytes > largest_bytes:
        raise ValueError("too long")
    text, body = _read(source, text_bytes, deadline), _read(source, body_bytes, deadline)
    try:
        told = json.loads(text.decode())
    except RecursionError as error:
        raise ValueError("too deep") from error
    if not isinstance(told, dict):
        raise ValueError("not an object")  # noqa: TRY004 (it is about what was sent)
    return told, body


def told_of_delivery(delivery: Delivery) -> dict[str, object]:
    """A delivery without its body."""
    return {
        "id": delivery.id,
        "event_id": delivery.event_id,
        "event_type": delivery.event_type,
        "destination": delivery.destination,
        "attempt": delivery.attempt,
        "received_at": delivery.received_at.isoformat(),
    }


def delivery_of(told: dict[str, Any], body: bytes) -> Delivery:
    """The delivery that was sent."""
    return Delivery(**told | {"received_at": datetime.fromisoformat(told["received_at"]), "body": body})


def told_of_outcome(outcome: Outcome) -> dict[str, object]:
    """An outcome as it is sent."""
    return {
        "result": outcome.result,
        "receipt": outcome.receipt,
        "error": outcome.error,
        "retry_after_s": outcome.retry_after_s,
    }


def outcome_of(told: dict[str, Any]) -> Outcome:
    """The outcome that was sent. Raises `ValueError` unless it is one in every respect."""
    result, wait_s = told.get("result"), told.get("retry_after_s")
    if result not in (Result.DELIVERED, Result.TEMPORARY, Result.PERMANENT):
        raise ValueError("no result")
    if not (wait_s is None or (type(wait_s) in (int, float) and wait_s >= 0)):
        raise ValueError("no time to wait")
    receipt, error = _text(told.get("receipt")), _text(told.get("error"))
    return Outcome(result=Result(result), receipt=receipt, error=error, retry_after_s=wait_s)


def _text(told: object) -> str | None:
    if told is None:
        return None
    if not isinstance(told, str) or len(told) > LONGEST_TEXT:
        raise ValueError("no text")
    return kept_text(told)


def _read(source: socket.socket, size_bytes: int, deadline: float | None) -> bytes:
    data = bytearray(size_bytes)
    left = memoryview(data)
    while left:
        source.settimeout(_left_s(deadline))
        try:
            got_bytes = source.recv_into(left)
        except TimeoutError:
            raise
        except OSError as error:
            raise EOFError from error
        if not got_bytes:
            raise EOFError
        left = left[got_bytes:]
    return bytes(data)


def _left_s(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.001, deadline - time.monotonic())  # 0 would mean: do not wait at all
