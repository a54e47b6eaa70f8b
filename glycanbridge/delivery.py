"""A delivery is one event owed to one destination: its states, what an attempt can end in, and what follows.

The life of a delivery is the table `TRANSITIONS`; the picture in `docs/architecture.md` is printed from it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from enum import StrEnum
from typing import Self

from glycanbridge.errors import PermanentError

Clock = Callable[[], int]
"""Tells the time in milliseconds since the epoch. Tests bring one that is turned by hand."""


def wall_clock() -> int:
    """The machine's own time, in milliseconds since the epoch. It may be set, and jump."""
    return time.time_ns() // 1_000_000


def steady_clock() -> int:
    """Milliseconds that only ever run forward, whatever the wall clock is set to; also while the machine sleeps."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return (time.monotonic_ns() if boot is None else time.clock_gettime_ns(boot)) // 1_000_000


ReportSource = Callable[["Delivery"], bytes]
"""Gives the report file of a delivery's event. Raises as `Delivery.report`."""

LONGEST_RETRY_AFTER_S = 3600.0
"""How long a far side may make us wait beyond our own schedule: a mistaken Retry-After must not park a result."""
SHORTEST_WAIT_S = 1.0
"""Between two attempts of which none counts, whatever a plugin asks for: nothing else would ever end them."""


class State(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    """Waits until `due_at`."""
    RUNNING = "running"
    """Claimed by a lane; `due_at` is the end of its lease."""
    DELIVERED = "delivered"
    """The destination has it."""
    DEAD = "dead"
    """Given up; a dead letter tells why."""


TRANSITIONS: dict[tuple[State, str], State] = {
    (State.PENDING, "claim"): State.RUNNING,
    (State.RUNNING, "deliver"): State.DELIVERED,
    (State.RUNNING, "retry"): State.PENDING,
    (State.RUNNING, "give up"): State.DEAD,
    (State.RUNNING, "release"): State.PENDING,  # claimed and not begun: the bridge stops, or the one before it failed
    (State.RUNNING, "rescue"): State.PENDING,  # the lease ran out: its process died in the middle
    (State.RUNNING, "hold"): State.PENDING,  # it is not known whether the destination has it, and a person decides
    (State.PENDING, "confirm"): State.DELIVERED,  # a person knows that the destination has it
    (State.PENDING, "discard"): State.DEAD,  # a person does not want it delivered
    (State.PENDING, "replay"): State.PENDING,  # now, whatever it waits for
    (State.DEAD, "replay"): State.PENDING,
    (State.DELIVERED, "replay"): State.PENDING,
}
"""Every move that a delivery can make: (from, by what) -> to. Confirm, discard and replay are a person's."""


class Result(StrEnum):
    """What one attempt ended in."""

    DELIVERED = "delivered"
    TEMPORARY = "temporary"
    PERMANENT = "permanent"
    UNKNOWN = "unknown"
    """It was cut off, by a kill or at its time limit, or the answer was lost: nobody knows whether the destination has
    it."""


class Scope(StrEnum):
    """What a temporary failure is about, where the plugin knows it."""

    DELIVERY = "delivery"
    """This delivery alone cannot be taken yet; nothing is said about the destination."""
    DESTINATION = "destination"
    """The destination takes nothing at all, whatever it is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One event owed to one destination, as a plugin's hook gets it."""

    id: str
    """`EVENT_ID:DESTINATION`: the same in every attempt and after any restart. Send it on as the idempotency key."""
    event_id: str
    event_type: str
    destination: str
    """The destination's name in `bridge.yaml`."""
    attempt: int
    """Counts from 1."""
    received_at: datetime
    """When the bridge received the event (UTC)."""
    body: bytes = field(repr=False)
    """The event exactly as GlycanAge signed it."""
    report_source: ReportSource | None = field(default=None, repr=False, compare=False)
    """Where `report` has its file from; the bridge's own."""

    def report(self) -> bytes:
        """The report file (a PDF) of a `report-ready` event, fetched from GlycanAge once for all destinations.

        Raises `NotYetError` while it cannot be had: let it pass on to wait for the report. Raises `PermanentError` if
        it never will be: an address that is not GlycanAge's, or it was waited for as long as
        `glycanage.reports.give_up_h` says. Catch both to deliver without it; the text says why, and holds nothing of
        the patient's.
        """
        if self.event_type != "report-ready":
            raise PermanentError(f"there is no report of a {self.event_type} event")
        if self.report_source is None:
            raise PermanentError("reports are fetched for deliveries alone, while the bridge serves")
        return self.report_source(self)

    def with_reports(self, source: ReportSource) -> Self:
        """The same one, whose report file comes from there."""

        def asked(delivery: Delivery) -> bytes:  # plugins copy what they get: a function can be, a lock cannot
            return source(delivery)

        return replace(self, report_source=asked)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: object) -> Self:
        return self

    def __getstate__(self) -> list[object]:
        """What another process gets of it: there is nobody to ask there."""
        return [None if each.name == "report_source" else getattr(self, each.name) for each in fields(self)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one attempt ended in, and what the far side or the error said."""

    result: Result
    receipt: str | None = None
    error: str | None = None
    retry_after_s: float | None = None
    scope: Scope | None = None

    @property
    def failed(self) -> bool:
        """Whether the destination could not be reached, as far as we know."""
        return self.result in {Result.TEMPORARY, Result.UNKNOWN} and self.scope is not Scope.DELIVERY

    @property
    def asked_s(self) -> float | None:
        """How long the far side asks us to wait, as far as we follow it."""
        return None if self.retry_after_s is None else min(self.retry_after_s, LONGEST_RETRY_AFTER_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A delivery in a lane's hands: until it is settled or released, or until its lease ends."""

    delivery: Delivery
    row: int
    """The journal's own name for it. With `delivery.attempt`, which each claim bumps, it is the token of the claim."""
    step: int
    """Where it stands in its schedule: its attempts that count, this one included, since it was owed or replayed."""
    probe: bool = False
    """Made to see whether a destination that failed is back."""
    counts: bool = True
    """If the attempt fails, it moves the delivery along its schedule. One that only shows that the destination is still
    away does not."""
    outlived: bool = False
    """Another delivery got through since its last attempt failed: if it fails again, the fault is its own."""
    alone: bool = False
    """And nobody has failed since: if it says again that the destination takes nothing, that is so for it alone."""
    has_letter: bool = False
    """It died before, and there is a dead letter of it."""
    cut_off: bool = False
    """The attempt before it never ended, and may have been what ended the bridge."""
    whole: bool = True
    """The body is what was signed: it was held against the digest that was taken of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What follows from an outcome: the delivery's next state and, if it waits, for how long."""

    state: State
    wait_s: float | None = None
    """`None` for a pending one: it waits for a person."""
    counts: bool = True
    """Whether the attempt moves the delivery along its schedule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """An attempt that has come to its end, and what is to be written down of it."""

    claim: Claim
    outcome: Outcome
    settlement: Settlement
    took_ms: int
    letter: bool = False
    """The dead letter of a dead delivery has been written."""

    @property
    def told(self) -> dict[str, object]:
        """What a log line tells of it."""
        delivery = self.claim.delivery
        return {
            "delivery": delivery.id,
            "attempt": delivery.attempt,
            "took_ms": self.took_ms,
            "error": self.outcome.error,
        }


_DELIVER = Settlement(state=TRANSITIONS[State.RUNNING, "deliver"])


def settle(
    outcome: Outcome,
    wait_s: float | None,
    *,
    counts: bool = True,
    holds_unknown: bool = False,
    left_alone: bool = False,
) -> Settlement:
    """The settlement of a running delivery whose attempt ended in `outcome`.

    `wait_s` is the schedule's wait before the next attempt, `None` when there is none left. A far side that asked for
    more time gets it, up to `LONGEST_RETRY_AFTER_S`. `counts`: see `Claim`. Where `holds_unknown`, an unknown outcome
    waits for a person. `left_alone`: a destination that takes nothing is left alone as a whole, so that none of its
    deliveries need wait for longer than that.
    """
    if outcome.result is Result.DELIVERED:
        return _DELIVER
    if outcome.result is Result.UNKNOWN and holds_unknown:
        return Settlement(state=TRANSITIONS[State.RUNNING, "hold"])
    if outcome.result is Result.PERMANENT or wait_s is None:
        return Settlement(state=TRANSITIONS[State.RUNNING, "give up"])
    asked_s = wait_s if outcome.asked_s is None else outcome.asked_s
    if outcome.scope is Scope.DELIVERY:  # what it waits for has nothing to do with any schedule
        wait_s = max(asked_s, SHORTEST_WAIT_S)
    elif outcome.scope is Scope.DESTINATION and left_alone:
        wait_s = min(wait_s, asked_s)
    else:
        wait_s = max(wait_s, asked_s, 0.0 if counts else SHORTEST_WAIT_S)
    return Settlement(state=TRANSITIONS[State.RUNNING, "retry"], wait_s=wait_s, counts=counts)
