"""The way into an SQLite journal: an event with a delivery for each destination that is owed it.

Runs in the writer's thread, in transactions.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from glycanbridge.journal import NewEvent, Recorded
from glycanbridge.journals.database import Database
from glycanbridge.journals.order import Order
from glycanbridge.journals.questions import EPOCH
from glycanbridge.journals.timekeeper import Timekeeper

_INSERT_EVENT = """
INSERT INTO events (event_id, digest, type, timestamp, received_at, practice_id, kit_code, flags, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (event_id) DO NOTHING RETURNING id
"""
_INSERT_DELIVERY = "INSERT INTO deliveries (event, destination, due_at) VALUES (?, ?, ?)"
_INSERT_ORDERED = "INSERT INTO deliveries (event, destination, due_at, ordered) VALUES (?, ?, ?, 1) RETURNING id"


class Recording:
    """Keeps new events."""

    def __init__(self, database: Database, timekeeper: Timekeeper, order: Order) -> None:
        self._database = database
        self._timekeeper = timekeeper
        self._order = order

    def record(self, new: NewEvent) -> Recorded:
        """See `Journal.record`."""
        for kept_as, flags in ((new.id.id, ""), (new.id.hash, "id-conflict")):
            row = self._insert(new, kept_as, flags)
            if row is not None:
                break
            digest = self._database.execute("SELECT digest FROM events WHERE event_id = ?", (kept_as,)).get
            if digest == new.id.digest:
                return Recorded(kept_as, duplicate=True)
        more_kits = [(kit, row) for kit in new.event.kit_codes[1:]]
        self._database.executemany("INSERT INTO event_kits VALUES (?, ?)", more_kits)
        now = self._timekeeper.now
        unordered = [(row, destination, now) for destination, keys in new.owed_to.items() if not keys]
        self._database.executemany(_INSERT_DELIVERY, unordered)
        for destination, keys in new.owed_to.items():
            if keys:
                delivery = int(self._database.execute(_INSERT_ORDERED, (row, destination, now)).get)
                order_at = _milliseconds(new.event.timestamp)
                self._order.add(delivery, destination=destination, keys=keys, order_at=order_at, now=now)
        return Recorded(kept_as, duplicate=False)

    def _insert(self, new: NewEvent, kept_as: str, flags: str) -> int | None:
        event = new.event
        received_at = self._timekeeper.now if new.received_at is None else new.received_at
        kit = next(iter(event.kit_codes), None)
        timestamp = _milliseconds(event.timestamp)
        values = (kept_as, new.id.digest, event.type, timestamp, received_at, event.practice_id, kit, flags, new.body)
        row: int | None = self._database.execute(_INSERT_EVENT, values).get
        return row


def _milliseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(milliseconds=1)
