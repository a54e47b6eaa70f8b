"""The journal against a model in plain Python: whatever is done in whatever order, both must say the same.

Hypothesis makes up the stories and shortens those that go wrong. The model is in `journal_model.py`.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import hypothesis.strategies as st
import pytest
from conftest import HandClock
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule
from journal_model import Model
from test_journal import DEAD, DELIVERED, RETRY, claimed, new_event, ordered, settle

from glycanbridge.circuit import Brake
from glycanbridge.delivery import Claim, Outcome, Result, Settlement, State
from glycanbridge.journal import Filter, NewEvent, Replay, Terms
from glycanbridge.journals.sqlite import SqliteJournal

DESTINATIONS = ("a", "b")
UNKNOWN = Outcome(result=Result.UNKNOWN, error="timed out")
ENDS = {
    "delivered": DELIVERED,
    "again in a minute": RETRY,
    "again at once, uncounted": (RETRY[0], Settlement(state=State.PENDING, wait_s=0, counts=False)),
    "permanent": DEAD,
    "unknown, again in a minute": (UNKNOWN, RETRY[1]),
    "unknown, held": (UNKNOWN, Settlement(state=State.PENDING)),
}
NEVER_OPEN = Brake(failures=0)
TERMS = {
    "plain": Terms(lease_s=60, brake=NEVER_OPEN),
    "held": Terms(lease_s=60, brake=NEVER_OPEN, holds_unknown=True),
    "counted": Terms(lease_s=30, brake=NEVER_OPEN, unknown_counts=True),
}
TURNS_S = (0.001, 1, 29.999, 30, 60, 600)
"""All turns of a story are less than a day: what is due for longer may change places when the clock is set."""
DAY_S, HALF_A_YEAR_S = 86_400, 16_000_000

destinations = st.sampled_from(DESTINATIONS)
timestamps, later_timestamps = st.integers(0, 3), st.integers(2, 5)
ends = st.sampled_from(sorted(ENDS))
kits = st.sampled_from([("K1",), (), ("K1",), ("K2",), ("K1", "K2")])


class JournalMachine(RuleBasedStateMachine):
    """What a bridge, its lanes, a person at another terminal and the world can do to a journal."""

    events, claims = Bundle("events"), Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = HandClock()
        self.model = Model(self.clock.steady)
        self.opened: list[SqliteJournal] = []
        self.journal = self.open(serves=True)
        self.command = self.open(serves=False)  # a person's, at another terminal
        self.recorded: list[NewEvent] = []

    def open(self, *, serves: bool) -> SqliteJournal:
        """One more process that opens the file."""
        path = Path(self.folder.name) / "journal.db"
        self.opened.append(SqliteJournal(path, clock=self.clock, steady=self.clock.steady, serves=serves))
        self.opened[-1]._database.execute(
            "PRAGMA synchronous = OFF"
        )  # no power is lost here: a story takes half as long
        return self.opened[-1]

    @initialize(target=events, several=st.lists(st.tuples(later_timestamps, kits), min_size=2, max_size=5))
    def something_is_owed(self, several):
        """Every story begins with work for the lanes."""
        return multiple(*(self.keep(timestamp, keys, DESTINATIONS) for timestamp, keys in several))

    @rule(
        target=events,
        timestamp=timestamps,
        keys=kits,
        owed_to=st.sampled_from([DESTINATIONS, DESTINATIONS, ("a",), ()]),
    )
    def record(self, timestamp, keys, owed_to):
        """Events come late and early, for anybody or nobody."""
        return self.keep(timestamp, keys, owed_to)

    def keep(self, timestamp: int, keys: tuple[str, ...], owed_to: Iterable[str]) -> tuple[NewEvent, tuple[str, ...]]:
        """Record a new event, twice, as after an answer that got lost; it has the same keys wherever it goes."""
        sample = new_event(timestamp=timestamp, data={"reportId": str(len(self.recorded))})
        event = NewEvent(event=sample.event, id=sample.id, body=sample.body, owed_to=dict.fromkeys(owed_to, keys))
        assert [self.journal.record(event).duplicate for _ in range(2)] == [False, True]
        self.recorded.append(event)
        for destination in owed_to:
            self.model.owe(event, destination, keys)
        self.model.put_in_order()
        return event, keys

    @rule(target=claims, destination=destinations, limit=st.integers(1, 5), terms=st.sampled_from(sorted(TERMS)))
    def claim(self, destination, limit, terms):
        """A lane takes what the model says, and nothing else."""
        return multiple(*self.take(destination, limit, TERMS[terms]))

    def take(self, destination: str, limit: int, terms: Terms) -> list[Claim]:
        """Claim, and compare."""
        expected = self.model.claim(destination, limit, terms)
        claims = self.journal.claim(destination, limit=limit, terms=terms)
        told = [(each.delivery.id, each.delivery.attempt, each.step) for each in claims]
        assert told == [(each.id, each.attempt, each.step) for each in expected]
        for claim in claims:
            token = claim.delivery.id, claim.delivery.attempt
            self.model.in_hand[token] = claim, int(terms.lease_s * 1000)
        return claims

    def end(self, claim: Claim, how: str) -> None:
        """Settle, and compare."""
        assert settle(self.journal, claim, *ENDS[how], terms=TERMS["plain"]) is self.model.settle(claim, *ENDS[how])

    @rule(claim=consumes(claims), how=ends)
    def settle(self, claim, how):
        """An attempt ends, perhaps after its lease was lost."""
        self.end(claim, how)

    @rule(claim=claims, how=ends, then=ends)
    def settle_twice(self, claim, how, then):
        """Whoever did not see the commit tells it again; another outcome is none."""
        self.end(claim, how)
        self.end(claim, then)

    @rule(claim=consumes(claims))
    def release(self, claim):
        """A lane stops before it has begun."""
        self.journal.release([claim])
        self.model.release(claim)

    @rule(target=claims, claim=claims, terms=st.sampled_from(sorted(TERMS)), late=st.none() | ends)
    def hang(self, claim, terms, late):
        """A lane hangs until its lease is over and another one comes; then, or later, it may tell how it ended."""
        self.journal.let_go([claim])
        self.model.let_go(claim)
        self.clock.turn(60)
        claims = self.take(claim.delivery.destination, 5, TERMS[terms])
        if late is not None:
            self.end(claim, late)
        return multiple(*claims)

    @rule()
    def renew(self):
        """The keeper's work, a while later."""
        self.clock.turn(20)
        self.journal.renew()
        self.model.renew()

    @rule()
    def crash(self):
        """The process is killed, and the next one starts: nothing is closed but the lock is open."""
        self.journal._database._serving.release()  # as the kernel does
        self.journal = self.open(serves=True)
        self.model.in_hand.clear()
        for destination in DESTINATIONS:
            for each in self.model.of(destination, State.RUNNING):
                each.due_ms = self.model.now()

    @rule(event=events, destination=destinations)
    def replay(self, event, destination):
        """A person wants it delivered, again, or sooner, or there as well."""
        event, keys = event
        each = self.model.deliveries.get(f"{event.id.id}:{destination}")
        moves = each is None or each.state in {State.DELIVERED, State.DEAD} or each.held
        moves |= each is not None and each.state is State.PENDING and (each.due_ms or 0) > self.model.now()
        which = Replay(event_id=event.id.id, destination=destination, order_keys=keys)
        assert self.command.replay([which], who="ana") == moves
        if each is None:
            self.model.owe(event, destination, keys)
        elif moves:
            each.move("replay", self.model.now())
            each.step = 0
        self.model.put_in_order()

    @rule(event=events, destination=destinations, what=st.sampled_from(["confirm", "discard"]))
    def decide(self, event, destination, what):
        """A person knows that it is there, or does not want it."""
        each = self.model.deliveries.get(f"{event[0].id.id}:{destination}")
        may = each is not None and (each.state is State.PENDING or (what == "discard" and each.state is State.DEAD))
        do = getattr(self.command, what)
        assert do(f"{event[0].id.id}:{destination}", who="ana", reason="said so") is may
        if may and each.state is State.PENDING:
            each.move(what)
            self.model.put_in_order()

    @rule(destination=destinations)
    def pause(self, destination):
        """A person stops a destination."""
        self.command.pause(destination, who="ana", reason="said so")
        self.model.paused.add(destination)

    @rule()
    def resume(self):
        """A person lets all of them go on."""
        for destination in DESTINATIONS:
            self.command.resume(destination, who="ana")
        self.model.paused.clear()

    @rule(seconds=st.sampled_from(TURNS_S))
    def time_passes(self, seconds):
        """By both clocks."""
        self.clock.turn(seconds)

    @rule(days=st.sampled_from([-1, 1]))
    def clock_is_set(self, days):
        """By the wall clock alone; in that moment nothing falls due, before or after."""
        self.clock.jump(days * DAY_S)
        self.clock.turn(0.001)

    @invariant()
    def every_delivery_is_there_once_and_as_it_should_be(self):
        """In its state, due when it should be, with the attempts that were made."""
        now = self.model.now()
        for destination in DESTINATIONS:  # each of these lets the serving process look at its clocks, too
            due = [each.due_ms for each in self.model.of(destination, State.PENDING, State.RUNNING)]
            due = [each for each in due if each is not None and destination not in self.model.paused]
            assert self.journal.next_due_in_s(destination) == (max(0, min(due) - now) / 1000 if due else None)

        rows = self.journal.deliveries(Filter(limit=1000))
        assert sorted(row.id for row in rows) == sorted(self.model.deliveries)
        for row in rows:
            each = self.model.deliveries[row.id]
            assert (row.id, row.state, row.attempts, row.held) == (each.id, each.state, each.attempt, each.held)
            left_ms = None if row.due_at is None else max(0, row.due_at - self.clock.ms)
            assert (row.id, left_ms) == (each.id, None if each.due_ms is None else max(0, each.due_ms - now))
            made = [(attempt.number, attempt.outcome) for attempt in self.journal.attempts(row.id)]
            assert (row.id, made) == (each.id, each.attempts)

    def teardown(self) -> None:
        """Whatever happened: within a year everything is delivered."""
        try:
            if sys.exception() is None:
                self.everything_is_delivered_in_the_end()
        finally:
            for journal in self.opened:
                journal.close()
            self.folder.cleanup()

    def everything_is_delivered_in_the_end(self) -> None:
        """Nobody pauses, a person decides about what is held, every lane lets go: nothing is stuck."""
        for claim, _ in list(self.model.in_hand.values()):
            self.journal.let_go([claim])
            self.model.let_go(claim)
        self.resume()
        for destination in DESTINATIONS:
            for each in self.model.of(destination, State.PENDING):
                if each.held:
                    assert self.command.confirm(each.id, who="ana", reason="said so")
                    each.move("confirm")
        self.model.put_in_order()
        assert all(self.journal.record(event).duplicate for event in self.recorded)
        for _ in range(2):
            self.clock.turn(HALF_A_YEAR_S)
            for destination in DESTINATIONS:
                while claims := self.take(destination, 5, TERMS["plain"]):
                    for claim in claims:
                        self.end(claim, "delivered")
        assert {row.state for row in self.journal.deliveries(Filter(limit=1000))} <= {State.DELIVERED, State.DEAD}


@pytest.mark.timeout(400)  # one that goes wrong is shortened for up to five minutes
class TestJournalMachine(JournalMachine.TestCase):
    """The stories."""

    settings = settings(
        max_examples=100, stateful_step_count=40, deadline=None, print_blob=True, report_multiple_bugs=False
    )


def test_a_claim_that_is_over_does_not_let_go_of_the_next_one(journal, clock):
    """Its lane comes late; else the next lane's lease is not renewed, and a third one delivers it beside the second."""
    journal.record(new_event())
    (late,) = journal.claim("a", limit=1, terms=TERMS["plain"])
    journal.let_go([late])
    clock.turn(60)
    (again,) = journal.claim("a", limit=1, terms=TERMS["plain"])

    assert settle(journal, late, *DELIVERED) is False
    clock.turn(40)
    journal.renew()
    clock.turn(40)
    assert journal.claim("a", limit=1, terms=TERMS["plain"]) == []
    assert settle(journal, again, *DELIVERED) is True


def test_what_was_in_order_once_and_is_replayed_without_is_tried_again(journal, clock):
    """Somebody has taken `ordered_by` out of bridge.yaml: a retry must not wait for ever."""
    new = ordered(1, "K1")
    journal.record(new)
    settle(journal, claimed(journal)[0][1], *DEAD)
    assert journal.replay([Replay(event_id=new.id.id, destination="a")], who="ana") == 1
    settle(journal, claimed(journal)[0][1], *RETRY)

    clock.turn(DAY_S)
    assert [timestamp for timestamp, _ in claimed(journal)] == [1]


def test_what_is_held_and_replayed_without_its_keys_does_not_overtake(journal):
    """It stands under its keys still, and an earlier one has come meanwhile."""
    new = ordered(2, "K1")
    journal.record(new)
    ((_, claim),) = claimed(journal)
    journal.record(ordered(1, "K1"))
    settle(journal, claim, *ENDS["unknown, held"])

    assert journal.replay([Replay(event_id=new.id.id, destination="a")], who="ana") == 1
    assert [timestamp for timestamp, _ in claimed(journal)] == [1]


def test_what_a_command_replays_just_after_the_clock_was_set_is_due_now(journal, open_journal_again, clock):
    """The bridge has not looked at the clock since, and must not move what was written by the new time."""
    event_id = journal.record(new_event()).event_id
    settle(journal, journal.claim("a", limit=1, terms=TERMS["plain"])[0], *DEAD)
    clock.jump(DAY_S)

    assert open_journal_again().replay([Replay(event_id=event_id, destination="a")], who="ana") == 1
    assert len(journal.claim("a", limit=1, terms=TERMS["plain"])) == 1
