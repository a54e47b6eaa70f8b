"""What every journal can do: the durable record of events, deliveries and attempts.

A journal answers `record` only when the event and its deliveries are on disk. One conformance suite
(`tests/test_journal.py`) holds every implementation in `journals/` to what is written here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from glycanbridge.circuit import Brake, Circuit
from glycanbridge.delivery import Claim, Delivery, Ended, State
from glycanbridge.event_types import EventFacts
from glycanbridge.identity import EventId


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """An event that is to be recorded."""

    event: EventFacts
    id: EventId
    body: bytes
    """The event exactly as it was signed."""
    owed_to: Mapping[str, tuple[str, ...]]
    """The destinations that are owed it, each with the keys under which it keeps deliveries in order (most: none)."""
    received_at: int | None = None
    """Milliseconds since the epoch; `None`: now."""
    flags: str = ""
    """What is to be told of it wherever it is listed: words with a blank between them."""


NO_DEATHS: Mapping[int, NewEvent] = {}


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a new event: the id it is kept under, and whether it was there before."""

    event_id: str
    duplicate: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a destination's deliveries are to be claimed and settled."""

    lease_s: float = 60.0
    """How long a claim holds without being renewed."""
    brake: Brake = field(default_factory=Brake)
    holds_unknown: bool = False
    """An attempt that was cut off waits for a person, instead of being made again."""
    unknown_counts: bool = False
    """An attempt that was cut off moves the delivery along its schedule: it may be what killed the process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """An event that is to be delivered to a destination, be it again, now instead of later, or for the first time."""

    event_id: str
    destination: str
    order_keys: tuple[str, ...] = ()
    has_letter: bool = False
    """There is a dead letter of it, which goes when it has been delivered."""
    chosen: tuple[State, int] | None = None
    """The state and the number of attempts in which it was chosen: if they are others by now, it is left alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a destination stands. Times are milliseconds since the epoch."""

    paused_at: int | None = None
    paused_by: str | None = None
    reason: str | None = None
    circuit: Circuit = field(default_factory=Circuit)
    trouble: str | None = None
    """While its circuit is open, what was told of the attempt that failed last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """Something that a person did, or the bridge in a person's place: `what` to `about`, and why."""

    at: int
    who: str
    what: str
    about: str
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OwedLetter:
    """A dead delivery whose dead letter could not be written yet."""

    delivery: Delivery
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which rows to list; `None` is any. Times are milliseconds since the epoch, of reception; newest rows first."""

    type: str | None = None
    destination: str | None = None
    state: State | None = None
    held: bool = False
    """Only what waits for a person's decision."""
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
    """Words with a blank between them: `id-conflict` if its sender's id was another event's already, `reconciled` if
    GlycanAge never sent it and it was made from a list of what GlycanAge has."""
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
    """When it may be claimed; the end of the lease while it runs; `None` once it is settled for good, and while it
    waits for a person or for another delivery."""
    last_error: str | None
    receipt: str | None
    held: bool = False
    """It is not known whether the destination has it, and a person must decide."""
    discarded: bool = False
    """A person did not want it any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRow:
    """One attempt of a delivery."""

    number: int
    started_at: int
    duration_ms: int | None
    """`None` if it was cut off."""
    outcome: str
    error: str | None
    receipt: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """What one destination is owed: how many deliveries in each open state, and since when the oldest is due."""

    destination: str
    pending: int = 0
    running: int = 0
    dead: int = 0
    """Without those that a person has discarded."""
    held: int = 0
    """Of the pending ones, those that a person must decide about."""
    oldest_due_at: int | None = None


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

    def pages(self, which: Filter) -> Iterator[list[EventRow]]:
        """Every event that fits (whatever `limit` says), the oldest first, some hundred at a time."""

    def owed(self) -> list[Owed]:
        """What each destination is owed; one that is owed nothing is left out."""

    def standings(self) -> dict[str, Standing]:
        """How each destination stands that is paused or has failed lately."""

    def history(self, about: str) -> list[Done]:
        """What was done about a destination, a delivery or a dead letter, the first thing first."""

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

    def claim(self, destination: str, *, limit: int, terms: Terms) -> list[Claim]:
        """Take up to `limit` due deliveries of a destination, the longest due first; none if it is paused.

        While its circuit is open that is none until a probe is due, and then one. What a dead process left running is
        rescued first: its attempt is journaled as `unknown`, and it is due again or waits for a person.
        """

    def settle(self, ended: Sequence[Ended], *, terms: Terms, deaths: Mapping[int, NewEvent] = NO_DEATHS) -> list[bool]:
        """Journal attempts that end now, in one commit, and put each delivery into its next state.

        `deaths`: the events that tell of those that were given up, by the rows of their claims; each is recorded in the
        same commit.

        For each, `False` if its lease was lost (it was rescued, and perhaps claimed anew): then nothing was changed. To
        settle the same ones again, after a commit that was not seen, changes nothing either, and is `True`.
        """

    def release(self, claims: Sequence[Claim]) -> None:
        """Put back claims whose attempts have not begun, as they were: nothing is journaled, nothing counts."""

    def let_go(self, claims: Sequence[Claim]) -> None:
        """Renew these no longer: if they are not settled, they are rescued when their leases end."""

    def renew(self) -> None:
        """Make the leases of all claims that were handed out, and neither settled nor let go, last as long again."""

    def stop(self) -> None:
        """Journal what is still in hand as cut off, though nothing died: the bridge stops in the middle of it.

        It is due again, and has lost no attempt; or it waits for a person. An outcome that comes yet changes nothing.
        """

    def next_due_in_s(self, destination: str) -> float | None:
        """How long until `claim` may find something; `None` if the destination is owed nothing or is paused."""

    def on_due(self, callback: Callable[[frozenset[str] | None], None]) -> None:
        """Call `callback` with the destinations that something fell due for, once per group of commits.

        With `None` when another process has written to the journal: any destination may have something due.
        """

    def replay(self, which: Sequence[Replay], *, who: str, per_s: float | None = None) -> int:
        """Make deliveries due now, or so many per second; how many there were to move or to make.

        A dead or delivered one becomes pending with its whole schedule before it, one that waits need not wait any
        longer, one that never was is made; a running one, and one that is due, is left alone.
        """

    def confirm(self, delivery_id: str, *, who: str, reason: str) -> bool:
        """A person knows that the destination has a pending delivery; `False` if it is not pending."""

    def discard(self, delivery_id: str, *, who: str, reason: str) -> bool:
        """A person does not want a pending or dead delivery any more; `False` if it is neither."""

    def pause(self, destination: str, *, who: str, reason: str) -> None:
        """Claim nothing for the destination until it is resumed."""

    def resume(self, destination: str, *, who: str) -> None:
        """End a pause, and try an open circuit at once."""

    def note(self, *, who: str, what: str, about: str, reason: str | None) -> None:
        """Keep in mind what a person did outside the journal."""

    def owed_letters(self) -> list[OwedLetter]:
        """Some of the dead deliveries whose dead letters are still to be written."""

    def letter_written(self, delivery: Delivery) -> None:
        """The dead letter of a dead delivery has been written."""

    def probe(self) -> None:
        """Return if the journal takes writes just now, shown by a real one."""

    def close(self) -> None:
        """Commit what waits and close. The journal cannot be used afterwards."""
