"""What a person decides about an SQLite journal's deliveries and destinations: replay, confirm, discard, pause, resume.

Runs in the writer's thread, in transactions. Each of them leaves a line in the history.
"""

from __future__ import annotations

from collections.abc import Sequence

from glycanbridge.journal import Replay
from glycanbridge.journals.database import Database
from glycanbridge.journals.keys import key_of
from glycanbridge.journals.order import Order
from glycanbridge.journals.timekeeper import Timekeeper

_REPLAY = """
INSERT INTO deliveries (event, destination, due_at, ordered, letter)
SELECT id, :destination, :due_at, :ordered, CASE WHEN :has_letter THEN 'written' END
FROM events WHERE key = :key
ON CONFLICT (event, destination) DO UPDATE
SET state = 'pending', due_at = :due_at, step = 0, held = 0, finished_at = NULL,
    letter = CASE WHEN letter = 'written' OR :has_letter THEN 'written' END, ordered = max(ordered, :ordered)
WHERE (state IN ('delivered', 'dead') OR (state = 'pending' AND (held OR due_at > :due_at)))
  AND (:state IS NULL OR (state = :state AND attempt = :attempt))
RETURNING id, (SELECT timestamp FROM events WHERE key = :key)
"""
_FIND = """
SELECT d.id, d.ordered FROM deliveries d JOIN events e ON e.id = d.event
WHERE e.key = ? AND d.destination = ? AND d.state = ?
"""
_CONFIRM = "UPDATE deliveries SET state = 'delivered', due_at = NULL, held = 0, finished_at = ? WHERE id = ?"
_DISCARD = """
UPDATE deliveries SET state = 'dead', due_at = NULL, held = 0, letter = 'discarded', finished_at = ?, last_error = ?
WHERE id = ?
"""
_PAUSE = """
INSERT INTO destinations (name, paused_at, paused_by, reason) VALUES (:name, :now, :who, :reason)
ON CONFLICT (name) DO UPDATE SET paused_at = :now, paused_by = :who, reason = :reason
"""
_RESUME = """
UPDATE destinations SET paused_at = NULL, paused_by = NULL, reason = NULL,
                        probe_at = CASE WHEN open_since IS NOT NULL THEN ? END
WHERE name = ?
"""


class Deciding:
    """Carries out what a person decided."""

    def __init__(self, database: Database, timekeeper: Timekeeper, order: Order) -> None:
        self._database = database
        self._timekeeper = timekeeper
        self._order = order

    def replay(self, which: Sequence[Replay], *, who: str, starts_in_ms: int, every_ms: float) -> int:
        """See `Journal.replay`; the first one is due in `starts_in_ms`, each other one `every_ms` later."""
        moved = 0
        for each in which:
            due_at = self._timekeeper.now + starts_in_ms + int(moved * every_ms)
            state, attempt = each.chosen or (None, None)
            values = {
                "key": key_of(each.event_id),
                "destination": each.destination,
                "due_at": due_at,
                "ordered": bool(each.order_keys),
                "has_letter": each.has_letter,
                "state": state,
                "attempt": attempt,
            }
            for delivery, timestamp in list(self._database.execute(_REPLAY, values)):
                moved += 1
                self.note(who=who, what="replay", about=f"{each.event_id}:{each.destination}", reason=None)
                places = {"destination": each.destination, "keys": each.order_keys, "order_at": timestamp}
                self._order.add(delivery, **places, now=due_at)  # without keys too: it may still have its old ones
        return moved

    def confirm(self, event_id: str, destination: str, *, who: str, reason: str) -> bool:
        """See `Journal.confirm`."""
        now = self._timekeeper.now
        for delivery, ordered in list(self._database.execute(_FIND, (key_of(event_id), destination, "pending"))):
            self._database.execute(_CONFIRM, (now, delivery))
            self._ended(delivery, ordered, who=who, what="confirm", about=f"{event_id}:{destination}", reason=reason)
            return True
        return False

    def discard(self, event_id: str, destination: str, *, who: str, reason: str) -> bool:
        """See `Journal.discard`."""
        now = self._timekeeper.now
        for state in ("pending", "dead"):
            for delivery, ordered in list(self._database.execute(_FIND, (key_of(event_id), destination, state))):
                self._database.execute(_DISCARD, (now, f"discarded by {who}: {reason}", delivery))
                self._ended(
                    delivery, ordered, who=who, what="discard", about=f"{event_id}:{destination}", reason=reason
                )
                return True
        return False

    def pause(self, destination: str, *, who: str, reason: str) -> None:
        """See `Journal.pause`."""
        values = {"name": destination, "now": self._timekeeper.now, "who": who, "reason": reason}
        self._database.execute(_PAUSE, values)
        self.note(who=who, what="pause", about=destination, reason=reason)

    def resume(self, destination: str, *, who: str) -> None:
        """See `Journal.resume`."""
        self._database.execute(_RESUME, (self._timekeeper.now, destination))
        self.note(who=who, what="resume", about=destination, reason=None)

    def letter_written(self, event_id: str, destination: str) -> None:
        """See `Journal.letter_written`."""
        for delivery, _ in list(self._database.execute(_FIND, (key_of(event_id), destination, "dead"))):
            self._database.execute(
                "UPDATE deliveries SET letter = 'written' WHERE id = ? AND letter = 'owed'", (delivery,)
            )

    def note(self, *, who: str, what: str, about: str, reason: str | None) -> None:
        """Keep in mind who did what to which, and why."""
        values = (self._timekeeper.now, who, what, about, reason)
        self._database.execute("INSERT INTO history (at, who, what, about, reason) VALUES (?, ?, ?, ?, ?)", values)

    def _ended(self, delivery: int, ordered: int, *, who: str, what: str, about: str, reason: str) -> None:
        if ordered:
            self._order.settled(delivery, self._timekeeper.now)
        self.note(who=who, what=what, about=about, reason=reason)
