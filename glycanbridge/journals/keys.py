"""What an event is kept under in a database: a hash as its 32 bytes, a sender's id as it is.

In letters a hash would be twice as long, and the index over it twice as large.
"""

from __future__ import annotations

import re

_HASH = re.compile("[0-9a-f]{64}")
_BEGINNING = re.compile("[0-9a-f]{0,64}")


def key_of(event_id: str) -> str | bytes:
    """The key of the event with this id. No sender's id looks like a hash: see `events.event_id`."""
    return bytes.fromhex(event_id) if _HASH.fullmatch(event_id) else event_id


def keys_from(beginning: str) -> tuple[list[str], dict[str, object]]:
    """The conditions, any of which holds, and their values for the keys of ids that begin with `beginning`."""
    conditions = ["e.key >= :first AND e.key < :last"]
    values: dict[str, object] = {"first": beginning, "last": beginning + "\U0010ffff"}
    if _BEGINNING.fullmatch(beginning):
        values |= {"least": bytes.fromhex(f"{beginning:0<64}"), "most": bytes.fromhex(f"{beginning:f<64}")}
        conditions.append("e.key BETWEEN :least AND :most")
    return conditions, values
