"""Which events and deliveries fit a filter, in SQL that does not go through the whole history to find few.

Whatever is rare leads: a kit's events, or what is in one of the states that are few; else the newest are looked through
by type or by time of reception, with an index for either. `INDEXED BY` and `CROSS JOIN` keep SQLite from another plan:
it knows nothing of how many there are.
"""

from __future__ import annotations

from glycanbridge.delivery import State
from glycanbridge.journal import Filter

MANY = 10_000
"""Fewer deliveries in a state are looked through where they are; more of them are met among the newest rows."""
MANY_OF_DESTINATION = 1_500
"""The same for the deliveries of a destination, which are counted for each list of its events."""
EVENT = """
e.event_id, e.type, e.timestamp, e.received_at, e.practice_id, e.kit_code, e.flags, e.body,
(SELECT s.state FROM deliveries s WHERE s.event = e.id ORDER BY
 CASE s.state WHEN 'dead' THEN 0 WHEN 'running' THEN 1 WHEN 'pending' THEN 2 ELSE 3 END LIMIT 1) AS state
"""
DELIVERY = """
e.event_id, e.type, d.destination, d.state, d.attempt, d.due_at, d.last_error, d.receipt, d.held,
d.letter IS 'discarded'
"""
_KIT = "SELECT id FROM events WHERE kit_code = :kit UNION ALL SELECT event FROM event_kits WHERE kit_code = :kit"
_INDEXES = {
    State.PENDING: (("deliveries_due", "state = 'pending' AND due_at IS NOT NULL"),
                    ("deliveries_waiting", "state = 'pending' AND due_at IS NULL")),
    State.RUNNING: (("deliveries_running", "state = 'running'"),),
    State.DELIVERED: (("deliveries_delivered", "state = 'delivered'"),),
    State.DEAD: (("deliveries_dead", "state = 'dead'"),),
}  # fmt: skip
"""The partial indexes over deliveries, and what each holds, sorted by destination."""
_HELD = ("deliveries_waiting", "state = 'pending' AND due_at IS NULL AND held = 1")
"""Most that wait without a due time wait for the one before them, and not for a person."""


class Listing:
    """A filter as SQLite is asked."""

    def __init__(self, which: Filter) -> None:
        self._which = which
        self._state = which.state or (State.PENDING if which.held else None)
        self._of_event = _of_event(which)
        self._of_delivery = _of_delivery(which)
        self.few = False
        """Whether fewer than `MANY` deliveries are what is asked for: see `count`."""
        names = ("type", "destination", "state", "kit", "since", "until", "limit")
        self.values: dict[str, object] = {name: getattr(which, name) for name in names}

    def count(self, *, events: bool) -> tuple[str, int] | None:
        """How many deliveries are in the state, or for events of the destination, that is asked for; from how many on
        they are not few, and counting ends. `None` if neither can be rare.
        """
        if self._state not in {None, State.DELIVERED}:
            most = MANY
        elif events and self._destination_alone:  # whose newest deliveries need not be of its newest events
            most = MANY_OF_DESTINATION
        else:
            return None
        return f"SELECT count(*) FROM ({self._in_state()} LIMIT {most})", most  # noqa: S608 (no values in it)

    def events(self) -> str:
        """The newest events that fit."""
        source, conditions = self._events()
        order = "e.received_at DESC, e.id DESC"
        shown = f"e.id IN ({_select('e.id', source, conditions, order)})"  # else all of a rare state are read whole
        return _select(EVENT, "events e", [shown], order)

    def page(self) -> str:
        """The events that fit and come after `:after`, which was received `:at`: with their rows, oldest first."""
        source, conditions = self._events()
        conditions += ["e.received_at >= :at", "(e.received_at > :at OR e.id > :after)"]
        return _select(f"e.id, {EVENT}", source, conditions, "e.received_at, e.id")

    def deliveries(self) -> str:
        """The newest deliveries that fit."""
        conditions = [*self._of_event, *self._of_delivery]
        source, order = "deliveries d CROSS JOIN events e ON e.id = d.event", "d.id DESC"
        if self._which.kit is not None:
            source = "events e CROSS JOIN deliveries d ON d.event = e.id"
        elif self.few or self._destination_alone:
            conditions.append(f"d.id IN ({self._in_state() if self.few else self._newest()})")
        elif self._of_event:
            source = f"{self._by_index} CROSS JOIN deliveries d ON d.event = e.id"
            order = "e.received_at DESC, d.id DESC"
        return _select(DELIVERY, source, conditions, order)

    @property
    def _destination_alone(self) -> bool:
        return self._which.destination is not None and not self._of_event

    @property
    def _by_index(self) -> str:
        return f"events e INDEXED BY {'events_by_reception' if self._which.type is None else 'events_by_type'}"

    def _events(self) -> tuple[str, list[str]]:
        source, conditions = self._by_index, list(self._of_event)
        if self._which.kit is not None:
            source = "events e"
        elif self.few:
            source = "events e"
            conditions.append(f"e.id IN (SELECT event FROM deliveries WHERE id IN ({self._in_state()}))")  # noqa: S608
        if self._of_delivery:
            met = " AND ".join(["d.event = e.id", *self._of_delivery])
            conditions.append(f"EXISTS (SELECT 1 FROM deliveries d WHERE {met})")  # noqa: S608 (bound)
        return source, conditions

    def _in_state(self) -> str:
        """The deliveries in the state that is asked for, be it of one destination."""
        return " UNION ALL ".join(self._indexed())

    def _newest(self) -> str:
        """The newest ones of one destination in each state that is asked for."""
        some = (f"SELECT id FROM ({each} ORDER BY id DESC LIMIT :limit)" for each in self._indexed())  # noqa: S608
        return " UNION ALL ".join(some)

    def _indexed(self) -> list[str]:
        destination = "" if self._which.destination is None else " AND destination = :destination"
        return [
            f"SELECT id FROM deliveries INDEXED BY {index} WHERE {holds}{destination}"  # noqa: S608 (bound)
            for state in ([self._state] if self._state else State)
            for index, holds in ((_HELD,) if self._which.held else _INDEXES[state])
        ]


def where(conditions: list[str]) -> str:
    """All of them must hold."""
    return f"WHERE {' AND '.join(conditions)}" if conditions else ""


def _select(columns: str, source: str, conditions: list[str], order: str) -> str:
    return f"SELECT {columns} FROM {source} {where(conditions)} ORDER BY {order} LIMIT :limit"  # noqa: S608 (bound)


def _of_event(which: Filter) -> list[str]:
    rules = {
        "e.type = :type": which.type,
        "e.received_at >= :since": which.since,
        "e.received_at < :until": which.until,
        f"e.id IN ({_KIT})": which.kit,
    }
    return [condition for condition, value in rules.items() if value is not None]


def _of_delivery(which: Filter) -> list[str]:
    rules = {"d.destination = :destination": which.destination, "d.state = :state": which.state, "d.held": which.held}
    return [condition for condition, value in rules.items() if value]
