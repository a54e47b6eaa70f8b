"""A journal with a long past: filled by straight SQL with events that were delivered years ago.

The rows are those that the bridge would write: bodies that GlycanAge could have signed, with their real ids and
digests, each owed to one destination and delivered at its first attempt. Few are of another kind, and as many in a long
past as in a short one: so only what is settled differs between the two.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from hashlib import sha256
from importlib import resources
from pathlib import Path

import apsw

from bench import backlog
from glycanbridge.delivery import wall_clock
from glycanbridge.identity import EventId

FEW = 100
"""So many are dead, and so many pending, evenly over the years; a fifth as many are about orders."""
GONE = 1_000
"""The first ones were owed to a destination that is there no more: `gone`; all others to `ehr`."""
APART_MS = 9_500
"""An event in so many milliseconds: ten million of them in three years."""
KITS = 1_000_000_007
LAST = 20
"""One in so many comes when the indexes are there: one that was just made has only full pages, which each event would
split; after years they are partly full."""

_EVENT = """
INSERT INTO events (id, key, type, timestamp, received_at, practice_id, kit_code, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_DELIVERIES = """
INSERT INTO deliveries (id, event, destination, state, attempt, step, due_at, receipt, last_error, letter, finished_at)
SELECT id, id, iif(id > :gone, 'ehr', 'gone'), state, state <> 'pending', state <> 'pending',
       iif(state = 'pending', received_at, NULL), iif(state = 'delivered', 'taken', NULL),
       iif(state = 'dead', 'no such patient', NULL), iif(state = 'dead', 'written', NULL),
       iif(state = 'pending', NULL, received_at + 40)
FROM (SELECT id, received_at, CASE id % :apart WHEN 1 THEN 'dead' WHEN 2 THEN 'pending' ELSE 'delivered' END AS state
      FROM events NOT INDEXED WHERE id > :after)
"""
_ATTEMPTS = """
INSERT INTO attempts
SELECT id, 1, finished_at - 20, 20, iif(state = 'dead', 'permanent', 'delivered'), last_error, receipt
FROM deliveries NOT INDEXED WHERE id > :after AND attempt = 1
"""
_INDEXES = """
SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name IN ('events', 'deliveries') AND sql IS NOT NULL
"""


def make(journal: Path, count: int) -> None:
    """A journal of so many events, the last of them received just now."""
    backlog.make(journal)
    first_ms = wall_clock() - count * APART_MS
    with closing(apsw.Connection(str(journal))) as connection:
        for pragma in ("journal_mode = DELETE", "journal_mode = OFF", "synchronous = OFF", "cache_size = -800000"):
            connection.execute(f"PRAGMA {pragma}")
        indexes = list(connection.execute(_INDEXES))
        for name, _ in indexes:  # made when most is there, sorted: else each event would read and write its own page
            connection.execute(f"DROP INDEX {name}")
        most = count - count // LAST
        _fill(connection, range(most), count, first_ms)
        for _, sql in indexes:
            connection.execute(sql)
        _fill(connection, range(most, count), count, first_ms)
    backlog.sync(journal)


def event(number: int, at_ms: int, *, orders_apart: int = 0) -> tuple[str, str | None, bytes, EventId]:
    """Event `number`: its type, its kit, its body and what identifies it."""
    kind = "kit-received" if number % 2 else "report-ready"
    if orders_apart and number % orders_apart == 3:
        kind = "order-status-changed"
    kit = f"KIT{number // 2 * 48_271 % KITS:09}"
    body, canonical = (
        text.replace("@kit", kit).replace("@number", f"{number:08}").replace("1693123200000", str(at_ms)).encode()
        for text in _texts(kind)
    )
    digest = sha256(canonical).digest()
    return kind, None if kind == "order-status-changed" else kit, body, EventId(digest.hex(), digest.hex(), digest)


def _fill(connection: apsw.Connection, numbers: range, count: int, first_ms: int) -> None:
    after = {"after": numbers.start}
    with connection:
        connection.executemany(_EVENT, _events(numbers, count // (FEW // 5), first_ms))
        connection.execute(_DELIVERIES, {"gone": GONE, "apart": count // FEW, **after})
        connection.execute(_ATTEMPTS, after)


def _events(numbers: range, orders_apart: int, first_ms: int) -> Iterator[tuple[object, ...]]:
    for number in numbers:
        at_ms = first_ms + number * APART_MS
        kind, kit, body, identity = event(number, at_ms, orders_apart=orders_apart)
        yield number + 1, identity.digest, kind, at_ms, at_ms + 30, "practice_67890", kit, body


@cache
def _texts(kind: str) -> tuple[str, str]:
    """The vendor's sample of a type as it is sent, and in canonical form; its kit and its number are to be put in."""
    sample = json.loads((resources.files("glycanbridge") / "samples" / f"{kind}.json").read_bytes())
    data = sample["data"]
    ours = {"kitCode": "@kit", "reportId": "report_@number", "testId": "test_@number", "orderId": "order_@number"}
    sample["data"] = data | {name: value for name, value in ours.items() if name in data}
    return json.dumps(sample, separators=(",", ":")), json.dumps(sample, separators=(",", ":"), sort_keys=True)
