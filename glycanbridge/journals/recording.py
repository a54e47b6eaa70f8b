"""The way into an SQLite journal: an event with a delivery for each destination that is owed it.

Runs in the writer's thread, in transactions.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from functools import lru_cache

from glycanbridge.journal import NewEvent, Recorded
from glycanbridge.journals.database import Database
from glycanbridge.journals.keys import key_of
from glycanbridge.journals.order import Order
from glycanbridge.journals.questions import EPOCH
from glycanbridge.journals.timekeeper import Timekeeper

_INSERT_EVENT = """
INSERT INTO events (key, own_digest, type, timestamp, received_at, practice_id, kit_code, flags, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING
"""
_INSERT_KIT = "INSERT INTO event_kits VALUES (?, ?)"
_INSERT_DELIVERIES = "INSERT INTO deliveries (event, destination, due_at) SELECT ?, value, ? FROM json_each(?)"
"""All at once: each statement that is run costs as much as a row."""
_INSERT_ORDERED = "INSERT INTO deliveries (event, destination, due_at, ordered) VALUES (?, ?, ?, 1) RETURNING id"


class Recording:
    """Keeps new events."""

    def __init__(self, database: Database, timekeeper: Timekeeper, order: Order) -> None:
        self._database = database
        self._timekeeper = timekeeper
        self._order = order

    def record(self, new: NewEvent) -> Recorded:
        """See `Journal.record`."""
        for kept_as, flags in ((new.id.id, new.flags), (new.id.hash, f"{new.flags} id-conflict".lstrip())):
            row = self._insert(new, kept_as, flags)
            if row is not None:
                break
            digest = self._database.execute("SELECT digest FROM events WHERE key = ?", (key_of(kept_as),)).get
            if digest == new.id.digest:
                return Recorded(kept_as, duplicate=True)
        for kit in new.event.kit_codes[1:]:
            self._database.execute(_INSERT_KIT, (kit, row))
        now = self._timekeeper.now
        unordered = tuple(destination for destination, keys in new.owed_to.items() if not keys)
        if unordered:
            self._database.execute(_INSERT_DELIVERIES, (row, now, _array(unordered)))
        for destination, keys in new.owed_to.items():
            if keys:
                delivery = int(self._database.execute(_INSERT_ORDERED, (row, destination, now)).get)
                order_at = _milliseconds(new.event.timestamp)
                self._order.add(delivery, destination=destination, keys=keys, order_at=order_at, now=now)
        return Recorded(kept_as, duplicate=False)

    def _insert(self, new: NewEvent, kept_as: str, flags: str) -> int | None:
        event, key = new.event, key_of(kept_as)
        own_digest = None if key == new.id.digest else new.id.digest
        received_at = self._timekeeper.now if new.received_at is None else new.received_at
        kit = next(iter(event.kit_codes), None)
        timestamp = _milliseconds(event.timestamp)
        values = (key, own_digest, event.type, timestamp, received_at, event.practice_id, kit, flags, new.body)
        self._database.execute(_INSERT_EVENT, values)
        return self._database.inserted()


@lru_cache
def _array(names: tuple[str, ...]) -> str:
    """The names as SQLite takes them. Most events are owed to the same destinations."""
    return json.dumps(names)


def _milliseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(milliseconds=1)
