"""A journal with a backlog: filled by straight SQL, looked at while it is served, and compared with what was taken.

Through the receiver a million events would take ten minutes. The rows are those that it would write: bodies that
GlycanAge could have signed, with their real ids and digests.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import apsw

from bench.events import body
from bench.noop import Taken
from glycanbridge.delivery import wall_clock
from glycanbridge.identity import EventId, event_id
from glycanbridge.journals.keys import key_of
from glycanbridge.journals.opening import open_journal

_EVENT = """
INSERT INTO events (id, key, own_digest, type, timestamp, received_at, practice_id, kit_code, body)
SELECT ?1, ?2, ?3, 'report-ready', ?5 ->> 'timestamp', ?4, ?5 ->> '$.data.practiceId', ?5 ->> '$.data.kitCode', ?6
"""
_DELIVERY = "INSERT INTO deliveries (event, destination, due_at) VALUES (?, ?, ?)"
_PAUSE = "INSERT INTO destinations (name, paused_at, paused_by, reason) VALUES (?, 0, 'bench', 'it waits')"
_SETTLED = "SELECT event - 1 FROM deliveries WHERE destination = ? AND state = 'delivered'"
_ODD = """
SELECT count(*) FROM deliveries d
WHERE destination = ?
AND concat_ws(' ', state, attempt, (SELECT group_concat(outcome) FROM attempts a WHERE a.delivery = d.id))
    NOT IN ('pending 0', 'delivered 1 delivered')
"""
_ALL = "SELECT count(*) FROM deliveries WHERE destination = ?"
_IN_HAND = "SELECT count(*) FROM deliveries WHERE state = 'running'"
_COMMITS = struct.Struct("=8xI")


def make(journal: Path) -> None:
    """An empty journal."""
    open_journal(f"sqlite:///{journal}").close()


def add(journal: Path, *, first: int, count: int, owed_to: Sequence[str]) -> None:
    """Add so many events, numbered from `first`, each owed to every destination and due now, in one commit."""
    now, numbers = wall_clock(), range(first, first + count)
    with closing(_connect(journal)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(_EVENT, _events(numbers, now))
        for name in owed_to:
            connection.executemany(_DELIVERY, ((number + 1, name, now) for number in numbers))
        connection.execute("COMMIT")
    sync(journal)


def sync(journal: Path) -> None:
    """Put it on the disk: else the system would write it out while we measure."""
    with journal.open("rb") as file:
        os.fsync(file.fileno())


def pause(journal: Path, destination: str) -> None:
    """Pause a destination, as a person would."""
    with closing(_connect(journal)) as connection:
        connection.execute(_PAUSE, (destination,))


def commits(journal: Path) -> int:
    """How many commits the bridge that serves from the journal has made, each of them a disk sync.

    Read from the index of SQLite's write-ahead log (its `iChange`, in the file format's description): exact, and it
    costs the bridge nothing.
    """
    with journal.with_name(f"{journal.name}-shm").open("rb") as file:
        (count,) = _COMMITS.unpack(file.read(_COMMITS.size))
    return int(count)


def in_hand(reader: apsw.Connection) -> int:
    """How many deliveries all lanes together have claimed and not yet settled. A cheap look."""
    return int(reader.execute(_IN_HAND).get)


def wrong(journal: Path, taken: Mapping[str, Taken], *, owed: int) -> list[str]:
    """What does not agree between the journal at rest and what the destinations took of so many events, a line each."""
    told = []
    with closing(apsw.Connection(str(journal), flags=apsw.SQLITE_OPEN_READONLY)) as reader:
        for name, each in taken.items():
            times = each.times()
            settled = {number for (number,) in reader.execute(_SETTLED, (name,))}
            counts = {
                "were taken and not settled": len(times.keys() - settled),
                "were settled and not taken": len(settled - times.keys()),
                "were taken more than once": sum(count > 1 for count in times.values()),
                "are neither settled by one attempt nor untouched": reader.execute(_ODD, (name,)).get,
                "are missing": owed - reader.execute(_ALL, (name,)).get,
            }
            told += [f"{name}: {count} deliveries {what}" for what, count in counts.items() if count]
    return told


def _events(numbers: Sequence[int], now: int) -> Iterator[tuple[object, ...]]:
    for number in numbers:
        content = body(number)
        identity: EventId = event_id(content)
        yield number + 1, key_of(identity.id), None, now, content.decode(), content


def _connect(journal: Path) -> apsw.Connection:
    connection = apsw.Connection(str(journal), flags=apsw.SQLITE_OPEN_READWRITE)
    connection.set_busy_timeout(10_000)
    connection.execute("PRAGMA synchronous = OFF")  # `add` syncs once, in the end
    connection.execute("PRAGMA cache_size = -400000")
    return connection
