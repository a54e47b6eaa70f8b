"""Which event is which: what makes an event itself, whatever its white space and order of keys.

Neither pydantic nor the models of the events are needed for that, so whoever only looks at a journal need not wait for
them.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, NamedTuple, NoReturn

from glycanbridge.errors import ParseError


class EventId(NamedTuple):
    """What makes an event itself."""

    id: str
    """The sender's `id` where there is a usable one, else `hash`."""
    hash: str
    """SHA-256 of the canonical JSON of the whole event, in hex: the name it takes if `id` is already another's."""
    digest: bytes
    """SHA-256 of what must be equal for an event with the same `id` to be a duplicate (32 bytes)."""


_SENDERS_ID = re.compile(r"(?![0-9a-f]{64}$)[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}", re.ASCII)  # never like a hash of ours


def event_id(body: bytes) -> EventId:
    """What identifies the event in `body`, whatever its white space and order of keys.

    The vendor sends no `id`, and its sample key, type and timestamp, drops the second of two reports released in one
    millisecond. So an event is its content: SHA-256 over canonical JSON (sorted keys, no white space, ASCII; whole
    numbers exactly, others as IEEE doubles; 44 and 44.0 are two). With an `id` of the sender's, `type` and
    `data` are what must agree. An `id` that is not a plain name of at most 128 characters is ignored.

    Raises `ParseError` for JSON that two readers could read in two ways: a key twice, NaN, a number beyond a double.
    """
    try:
        event = _STRICT.decode(body.decode())
        whole = _canonical_sha256(event)
        sender = event.get("id")
        if type(sender) is int:
            sender = str(sender)
        if isinstance(sender, str) and _SENDERS_ID.fullmatch(sender):
            told = _canonical_sha256({"type": event["type"], "data": event["data"]})
            return EventId(sender, whole.hex(), told)
    except (ValueError, RecursionError, KeyError, AttributeError) as error:
        raise ParseError(f"not JSON: {type(error).__name__}") from None
    return EventId(whole.hex(), whole.hex(), whole)


def short(an_id: str) -> str:
    """Enough of an event's id to name it: a hash is cut, and every command takes the beginning of an id."""
    return an_id[:12] if len(an_id) == 64 else an_id


def is_whole(body: bytes, digest: bytes) -> bool:
    """Whether a body is still what `digest` (see `EventId`) was taken of: a disk may flip a bit, a kit code another."""
    try:
        event = json.loads(body.decode())  # leniently: what `event_id` refuses has another digest than what it took
        return _canonical_sha256(event) == digest or event_id(body).digest == digest
    except (ValueError, RecursionError, ParseError):
        return False


def _canonical_sha256(value: object) -> bytes:
    return hashlib.sha256(_CANONICAL.encode(value).encode()).digest()


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    event = dict(pairs)
    if len(event) != len(pairs):
        raise ParseError("a key stands twice in one object")
    return event


def _not_a_number(_name: str) -> NoReturn:
    raise ParseError("NaN and Infinity are not JSON")


def _finite_float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ParseError("a number is beyond the range of a double")
    return value


_STRICT = json.JSONDecoder(object_pairs_hook=_unique_keys, parse_constant=_not_a_number, parse_float=_finite_float)
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
