"""What a journal's deliveries should be like, whatever was done: `test_journal_machine.py` compares the two.

It knows one clock, the steady one, and one rule of order, looked at for all deliveries after every move. The journal
gets there with due times in wall time, and by looking only where something may have changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import takewhile

from glycanbridge.delivery import TRANSITIONS, Claim, Outcome, Settlement, State
from glycanbridge.journal import NewEvent, Terms


@dataclass(slots=True, kw_only=True)
class Expected:
    """One delivery as it should be."""

    id: str
    destination: str
    timestamp: int
    number: int
    keys: tuple[str, ...]
    due_ms: int | None
    """By the steady clock; the end of the lease while it runs."""
    state: State = State.PENDING
    attempt: int = 0
    step: int = 0
    held: bool = False
    was_due_ms: int | None = None
    claimed_ms: int | None = None
    attempts: list[tuple[int, str]] = field(default_factory=list)
    cut_off: set[int] = field(default_factory=set)

    def move(self, what: str, due_ms: int | None = None, *, held: bool = False) -> None:
        """Go to the next state; a `KeyError` if there is no such move."""
        self.state, self.due_ms, self.held = TRANSITIONS[self.state, what], due_ms, held

    def goes_before(self, other: Expected) -> bool:
        """Whether the other one must wait for this one: it runs, or its event is the earlier one."""
        is_open = self.state in {State.PENDING, State.RUNNING}
        is_rival = self.destination == other.destination and not set(self.keys).isdisjoint(other.keys)
        earlier = (self.timestamp, self.number) < (other.timestamp, other.number)
        return is_open and is_rival and self is not other and (self.state is State.RUNNING or earlier)


class Model:
    """All deliveries as they should be, what is paused, and what the serving process has in hand."""

    def __init__(self, now: Callable[[], int]) -> None:
        self.now = now
        self.deliveries: dict[str, Expected] = {}
        self.paused: set[str] = set()
        self.in_hand: dict[tuple[str, int], tuple[Claim, int]] = {}

    def of(self, destination: str, *states: State) -> list[Expected]:
        """A destination's deliveries in these states."""
        return [each for each in self.deliveries.values() if each.destination == destination and each.state in states]

    def owe(self, event: NewEvent, destination: str, keys: tuple[str, ...]) -> None:
        """One more delivery, due now."""
        name, timestamp = f"{event.id.id}:{destination}", event.event.timestamp.microsecond
        places = {"destination": destination, "timestamp": timestamp, "number": len(self.deliveries), "keys": keys}
        self.deliveries[name] = Expected(id=name, due_ms=self.now(), **places)

    def running(self, claim: Claim) -> Expected | None:
        """The delivery of a claim, if it is still this claim that it runs for."""
        each = self.deliveries[claim.delivery.id]
        return each if each.state is State.RUNNING and each.attempt == claim.delivery.attempt else None

    def claim(self, destination: str, limit: int, terms: Terms) -> list[Expected]:
        """What is to be claimed now, the longest due first."""
        self.rescue(destination, terms)
        if destination in self.paused:
            return []
        pending = self.of(destination, State.PENDING)
        due = [each for each in pending if each.due_ms is not None and each.due_ms <= self.now()]
        due = sorted(due, key=lambda each: (each.due_ms, each.number))[:limit]
        if terms.unknown_counts:  # one that was cut off is claimed alone
            before = list(takewhile(lambda each: each.attempt not in each.cut_off, due))
            due = before or due[:1]
        for each in due:
            each.claimed_ms = self.now()
            each.was_due_ms = each.due_ms
            each.move("claim", self.now() + int(terms.lease_s * 1000))
            each.attempt, each.step = each.attempt + 1, each.step + 1
        return due

    def rescue(self, destination: str, terms: Terms) -> None:
        """Take what was left behind, and renew what is merely late."""
        running = self.of(destination, State.RUNNING)
        together = Counter(each.claimed_ms for each in running if each.due_ms <= self.now())
        for each in running:
            _, lease_ms = self.in_hand.get((each.id, each.attempt), (None, None))
            if each.due_ms > self.now():
                continue
            if lease_ms is not None:
                each.due_ms = self.now() + lease_ms
                continue
            each.attempts.append((each.attempt, "unknown"))
            each.cut_off.add(each.attempt)
            was_alone = together[each.claimed_ms] == 1 or each.attempt - 1 in each.cut_off
            counts = terms.unknown_counts and was_alone
            wait_s = min(60, 2 ** min(each.step - 1, 6) - 1) if counts else 0
            each.step -= not counts
            if terms.holds_unknown:
                each.move("hold", held=True)
            else:
                each.move("rescue", self.now() + 1000 * wait_s)
        self.put_in_order()

    def settle(self, claim: Claim, outcome: Outcome, settlement: Settlement) -> bool:
        """An attempt ends; whether its outcome is kept, now or since it was told the first time."""
        each, number = self.deliveries[claim.delivery.id], claim.delivery.attempt
        if self.running(claim):
            each.attempts.append((number, outcome.result))
            each.step -= not settlement.counts
            waits, what = settlement.wait_s is not None, {State.DELIVERED: "deliver", State.DEAD: "give up"}
            due_ms = self.now() + int(settlement.wait_s * 1000) if waits else None
            held = settlement.state is State.PENDING and not waits
            each.move(what.get(settlement.state, "hold" if held else "retry"), due_ms, held=held)
            self.put_in_order()
        self.let_go(claim)
        return (number, outcome.result) in each.attempts and number not in each.cut_off

    def release(self, claim: Claim) -> None:
        """It has not begun."""
        if each := self.running(claim):
            each.attempt, each.step = each.attempt - 1, each.step - 1
            each.move("release", each.was_due_ms)
            self.put_in_order()
        self.let_go(claim)

    def let_go(self, claim: Claim) -> None:
        """It is not in the serving process's hands any more."""
        self.in_hand.pop((claim.delivery.id, claim.delivery.attempt), None)

    def renew(self) -> None:
        """What is in hand lasts as long again."""
        for claim, lease_ms in self.in_hand.values():
            if each := self.running(claim):
                each.due_ms = self.now() + lease_ms

    def put_in_order(self) -> None:
        """Whoever must wait for another one is not due; whoever need not wait any longer is due now."""
        for each in self.deliveries.values():
            if each.state is State.PENDING and not each.held:
                if any(other.goes_before(each) for other in self.deliveries.values()):
                    each.due_ms = None
                elif each.due_ms is None:
                    each.due_ms = self.now()
