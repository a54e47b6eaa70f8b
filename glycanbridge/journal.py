"""What every journal can do: the durable record of events, deliveries and attempts.

A journal answers `record` only when the event and its deliveries are on disk. One conformance suite
(`tests/test_journal.py`) holds every implementation in `journals/` to what is written here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from glycanbridge.delivery import Delivery, Outcome, Settlement, State
from glycanbridge.events import Event, EventId


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """An event that is to be recorded."""

    event: Event
    id: EventId
    body: bytes
    """The event exactly as it was signed."""
    owed_to: tuple[str, ...]
    """The destinations that are owed it."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a new event: the id it is kept under, and whether it was there before."""

    event_id: str
    duplicate: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which rows to list; `None` is any. Times are milliseconds since the epoch, of reception; newest rows first."""

    type: str | None = None
    destination: str | None = None
    state: State | None = None
    kit: str | None = None
    since: int | None = None
    until: int | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """An event as it is listed. Times are milliseconds since the epoch."""

    id: str
    type: str
    timestamp: int
    received_at: int
    practice_id: str
    kit_code: str | None
    """Its kit; the first one's for an assignment of several; `None` for an order."""
    state: State | None
    """The first of dead, running, pending, delivered that a delivery of it is in; `None` if nobody is owed it."""
    flags: str
    """`id-conflict` if its sender's id was another event's already."""
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRow:
    """A delivery as it is listed. Times are milliseconds since the epoch."""

    id: str
    event_id: str
    event_type: str
    destination: str
    state: State
    attempts: int
    due_at: int | None
    """When it may be claimed; the end of the lease while it runs; `None` once it is settled for good."""
    last_error: str | None
    receipt: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRow:
    """One attempt of a delivery."""

    number: int
    started_at: int
    duration_ms: int
    outcome: str
    error: str | None
    receipt: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """What one destination is owed: how many deliveries in each open state, and since when the oldest is due."""

    destination: str
    pending: int
    running: int
    dead: int
    oldest_due_at: int | None


class Questions(Protocol):
    """What can be asked of a journal, also from outside while a bridge serves from it.

    Every method raises `JournalUnavailable` when the journal cannot be read now.
    """

    def events(self, which: Filter) -> list[EventRow]:
        """The newest events that fit."""

    def event(self, event_id: str) -> list[EventRow]:
        """The event with this id, or the events (two at the most) whose ids begin with it."""

    def deliveries(self, which: Filter) -> list[DeliveryRow]:
        """The newest deliveries that fit."""

    def deliveries_of(self, event_id: str) -> list[DeliveryRow]:
        """Every delivery of one event."""

    def attempts(self, delivery_id: str) -> list[AttemptRow]:
        """Every attempt of one delivery, the first one first."""

    def owed(self) -> list[Owed]:
        """What each destination is owed; one that is owed nothing is left out."""

    def close(self) -> None:
        """Close; nothing can be asked afterwards."""


class Journal(Questions, Protocol):
    """The durable record. Safe to use from many threads.

    Every method raises `JournalUnavailable` when the journal cannot do it now. Nothing of it was kept then, unless it
    merely took too long: then it may yet be done, and asking again is harmless. The same event is a duplicate, and a
    claim that nobody got to see ends with its lease.
    """

    def record(self, event: NewEvent) -> Recorded:
        """Keep the event with a pending delivery for each destination; returns when both are on disk.

        The same id with the same digest is a duplicate, and changes nothing. The same id with another digest is kept
        under its hash, flagged `id-conflict`: losing an event is worse than delivering two.
        """

    def claim(self, destination: str, *, limit: int, lease_s: float) -> list[Delivery]:
        """Take up to `limit` due deliveries of a destination, the longest due first, for `lease_s` seconds.

        Also takes deliveries that were running when their lease ran out: what a dead process left behind.
        """

    def settle(self, delivery: Delivery, outcome: Outcome, settlement: Settlement, *, took_ms: int) -> bool:
        """Journal a claimed delivery's attempt, which took so long and ends now, and put it into its next state.

        `False` if the lease was lost (another claim has bumped the attempt since): then nothing was changed.
        """

    def next_due_in_s(self, destination: str) -> float | None:
        """How long until a delivery of the destination falls due or its lease ends; `None` if it is owed nothing."""

    def on_due(self, callback: Callable[[frozenset[str]], None]) -> None:
        """Call `callback` with the destinations that new deliveries fell due for, once per group of commits."""

    def probe(self) -> None:
        """Return if the journal takes writes just now, shown by a real one."""

    def close(self) -> None:
        """Commit what waits and close. The journal cannot be used afterwards."""
