"""Keeps a destination's deliveries of the same kit (or assignment, or order) in the order of their events' timestamps.

Each open delivery stands under each of its keys, sorted. Only the first under all of its keys may be due; the others
wait without a due time, as data, and are let go when the one before them is settled: nobody looks for blockers while
claiming. A running one stands before all others, whenever they come. All of it runs within the journal's transactions.
"""

from __future__ import annotations

from collections.abc import Iterable

from glycanbridge.journals.database import Database

_RUNNING = -(1 << 62)

_ADD = "INSERT OR IGNORE INTO order_keys VALUES (:destination, :key, :order_at, :delivery)"
_MOVE = "UPDATE order_keys SET order_at = ? WHERE delivery = ?"
_TIMESTAMP = "SELECT e.timestamp FROM deliveries d JOIN events e ON e.id = d.event WHERE d.id = ?"
_FIRST = """
SELECT h.delivery FROM order_keys h WHERE h.destination = k.destination AND h.order_key = k.order_key
ORDER BY h.order_at, h.delivery LIMIT 1
"""
_FIRSTS = f"SELECT DISTINCT ({_FIRST}) FROM order_keys k WHERE k.delivery = ?"  # noqa: S608 (no values in it)
_NEXTS = """
SELECT DISTINCT (
    SELECT n.delivery FROM order_keys n WHERE n.destination = k.destination AND n.order_key = k.order_key
    AND (n.order_at, n.delivery) > (k.order_at, k.delivery) ORDER BY n.order_at, n.delivery LIMIT 1
) FROM order_keys k WHERE k.delivery = ?
"""
_LET_GO = "UPDATE deliveries SET due_at = ? WHERE id = ? AND state = 'pending' AND due_at IS NULL AND held = 0"
_STOP = "UPDATE deliveries SET due_at = NULL WHERE id = ? AND state = 'pending'"


class Order:
    """Decides which of the ordered deliveries may be due."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, delivery: int, *, destination: str, keys: Iterable[str], order_at: int, now: int) -> None:
        """Put a pending delivery in its places; it waits if another one comes first, and others wait for it."""
        rows = [{"destination": destination, "key": key, "order_at": order_at, "delivery": delivery} for key in keys]
        self._database.executemany(_ADD, rows)
        self._look_at([delivery, *self._rows(_NEXTS, delivery)], now)

    def claimed(self, delivery: int) -> None:
        """It runs: nothing overtakes it."""
        self._database.execute(_MOVE, (_RUNNING, delivery))

    def put_back(self, delivery: int, now: int) -> None:
        """It is pending again, in its old place: one that came meanwhile may have to go first."""
        timestamp = self._database.execute(_TIMESTAMP, (delivery,)).get
        self._database.execute(_MOVE, (timestamp, delivery))
        self._look_at([delivery, *self._rows(_FIRSTS, delivery)], now)

    def settled(self, delivery: int, now: int) -> None:
        """It is delivered or dead: those behind it may go."""
        nexts = self._rows(_NEXTS, delivery)
        self._database.execute("DELETE FROM order_keys WHERE delivery = ?", (delivery,))
        self._look_at(nexts, now)

    def _look_at(self, deliveries: Iterable[int], now: int) -> None:
        for each in dict.fromkeys(deliveries):
            if self._rows(_FIRSTS, each) in ([], [each]):  # none: it has no keys any more
                self._database.execute(_LET_GO, (now, each))
            else:
                self._database.execute(_STOP, (each,))

    def _rows(self, sql: str, delivery: int) -> list[int]:
        return [row for (row,) in self._database.execute(sql, (delivery,)) if row is not None]
