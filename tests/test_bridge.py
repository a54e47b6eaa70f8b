"""The whole system in two methods, over a real journal and a clock that is turned by hand."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

import hypothesis.strategies as st
import pytest
from conftest import HandClock, Taker, make_destination, make_lane
from hypothesis import HealthCheck, given, settings
from serving import SECRET, sample

from glycanbridge import DestinationError, NotYetError, PermanentError, TemporaryError
from glycanbridge.bridge import Bridge
from glycanbridge.dead_letters import DeadLetters
from glycanbridge.delivery import State
from glycanbridge.destinations import Destinations
from glycanbridge.errors import DeadLetterError, JournalUnavailable, SignatureError
from glycanbridge.journal import Filter, Standing
from glycanbridge.journals.sqlite import SqliteJournal
from glycanbridge.signature import sign


def accept(bridge, body: bytes):
    """Hand a body to the bridge as GlycanAge would."""
    return bridge.accept(body, sign(body, SECRET))


def test_an_event_goes_from_body_to_plugin(make_bridge, taker, dead_letters):
    """Kept first, delivered after; once, and no dead letter is left."""
    destination = make_destination("a", taker)
    bridge, lane = make_bridge(destination), make_lane(destination)

    accepted = accept(bridge, sample())
    assert accepted.status == "accepted"
    assert taker.taken == []

    assert bridge.deliver_next(lane) is True
    assert bridge.deliver_next(lane) is False
    ((event, delivery),) = taker.taken
    assert (event.data.report_id, delivery.id, delivery.attempt) == ("report_78901", f"{accepted.id}:a", 1)
    assert [row.state for row in bridge.journal.deliveries(Filter())] == [State.DELIVERED]
    assert list(dead_letters.letters()) == []


def test_a_strangers_body_leaves_nothing(make_bridge, dead_letters):
    """Neither in the journal nor among the dead letters."""
    bridge = make_bridge()

    with pytest.raises(SignatureError):
        bridge.accept(sample(), sign(sample(), "another secret"))
    with pytest.raises(SignatureError):
        bridge.accept(b"not even JSON", None)

    assert bridge.journal.events(Filter()) == []
    assert list(dead_letters.letters()) == []


def test_a_signed_body_that_is_no_event_is_quarantined(make_bridge, dead_letters):
    """It is GlycanAge's, so it is kept; the journal knows nothing of it."""
    bridge = make_bridge()

    accepted = accept(bridge, sample(type="report-withdrawn"))

    (letter,) = dead_letters.letters()
    assert accepted == ("quarantined", letter.id)
    assert (letter.kind, letter.body) == ("quarantine", sample(type="report-withdrawn"))
    assert letter.reason == "unknown event type 'report-withdrawn'"
    assert bridge.journal.events(Filter()) == []


def test_what_cannot_be_quarantined_is_not_accepted(make_bridge, dead_letters):
    """GlycanAge will send it again."""
    dead_letters.directory.write_text("a file in the directory's place")

    with pytest.raises(DeadLetterError):
        accept(make_bridge(), b"[]")


def test_what_cannot_be_recorded_is_not_accepted(make_bridge):
    """GlycanAge will send it again."""
    bridge = make_bridge()
    bridge.journal.close()

    with pytest.raises(JournalUnavailable):
        accept(bridge, sample())


def test_a_failing_destination_does_not_hold_back_its_neighbour(make_bridge, taker):
    """Each delivery is its own."""
    failing = Taker()
    failing.raises = SystemExit(1)
    bad, good = make_destination("bad", failing), make_destination("good", taker)
    bridge = make_bridge(bad, good)
    accept(bridge, sample())

    bridge.deliver_next(make_lane(bad))
    bridge.deliver_next(make_lane(good))

    states = {row.destination: row.state for row in bridge.journal.deliveries(Filter())}
    assert states == {"bad": State.PENDING, "good": State.DELIVERED}


def test_a_temporary_failure_is_tried_again_by_the_schedule_until_it_is_dead(make_bridge, taker, clock, dead_letters):
    """Attempts 1, 2, 3 with waits of about 5 and 60 seconds; then a dead letter with the last reason."""
    taker.raises = TemporaryError("the EHR is away")
    destination = make_destination("a", taker, schedule_s=(5, 60))
    bridge, lane = make_bridge(destination), make_lane(destination)
    accepted = accept(bridge, sample())

    made = []
    for _ in range(200):
        made += [clock.ms] * bridge.deliver_next(lane)
        clock.turn(1)

    waits = [(later - earlier) / 1000 for earlier, later in pairwise(made)]
    assert len(made) == 3
    assert 5 <= waits[0] <= 7
    assert 60 <= waits[1] <= 67
    attempts = bridge.journal.attempts(f"{accepted.id}:a")
    assert [(each.number, each.outcome, each.error) for each in attempts] == [
        (number, "temporary", "the EHR is away") for number in (1, 2, 3)
    ]
    (letter,) = dead_letters.letters()
    assert (letter.kind, letter.destination, letter.plugin, letter.attempts) == ("delivery", "a", "taker", 3)
    assert (letter.event_id, letter.reason, letter.body) == (accepted.id, "the EHR is away", sample())
    assert bridge.journal.deliveries(Filter())[0].state is State.DEAD


def test_a_permanent_failure_is_dead_at_once(make_bridge, taker, dead_letters):
    """One attempt, one dead letter."""
    taker.raises = PermanentError("no such patient")
    destination = make_destination("a", taker)
    bridge, lane = make_bridge(destination), make_lane(destination)
    accept(bridge, sample())

    bridge.deliver_next(lane)

    assert [letter.reason for letter in dead_letters.letters()] == ["no such patient"]
    assert bridge.journal.next_due_in_s("a") is None


def test_a_dead_letter_that_cannot_be_written_leaves_the_delivery_dead_in_the_journal(make_bridge, taker, dead_letters):
    """Body and all: nothing is lost, and the lane goes on."""
    dead_letters.directory.write_text("a file in the directory's place")
    taker.raises = PermanentError("no such patient")
    destination = make_destination("a", taker)
    bridge, lane = make_bridge(destination), make_lane(destination)
    accept(bridge, sample())

    assert bridge.deliver_next(lane)

    assert bridge.journal.deliveries(Filter())[0].state is State.DEAD
    assert bridge.journal.events(Filter())[0].body == sample()


def test_an_outcome_is_written_down_as_soon_as_the_journal_is_back(make_bridge, taker, monkeypatch):
    """Else a delivery that was made would be made again, or be called dead."""
    destination = make_destination("a", taker)
    bridge, lane = make_bridge(destination), make_lane(destination)
    accept(bridge, sample())
    settle, trouble = bridge.journal.settle, [JournalUnavailable("the disk is full")] * 3

    def settle_or_fail(*arguments, **more):
        if trouble:
            raise trouble.pop()
        return settle(*arguments, **more)

    monkeypatch.setattr(bridge.journal, "settle", settle_or_fail)
    monkeypatch.setattr(lane.stopping, "wait", lambda timeout: None)
    bridge.deliver_next(lane)

    assert [row.state for row in bridge.journal.deliveries(Filter())] == [State.DELIVERED]
    assert (len(taker.taken), trouble) == (1, [])


def test_what_a_lane_cannot_settle_is_somebodys_again_when_its_lease_ends(make_bridge, taker, clock, monkeypatch):
    """It is in nobody's hands, so its lease is renewed no longer."""
    destination = make_destination("a", taker)
    bridge, lane = make_bridge(destination), make_lane(destination)
    accept(bridge, sample())
    with monkeypatch.context() as patch:

        def refuse(*_arguments, **_more):
            lane.stopping.set()
            raise JournalUnavailable("the disk is full")

        patch.setattr(bridge.journal, "settle", refuse)
        with pytest.raises(JournalUnavailable):
            bridge.deliver_next(lane)

    bridge.journal.renew()
    clock.turn(destination.terms.lease_s)

    assert bridge.deliver_next(lane)
    assert [delivery.attempt for _, delivery in taker.taken] == [1, 2]


def test_an_outcome_that_comes_too_late_is_dropped(make_bridge, taker, clock, open_journal_again, caplog):
    """The lease ran out while the plugin was busy, and another process has it now."""
    destination = make_destination("a", taker)
    bridge = make_bridge(destination)
    accept(bridge, sample())
    other_process_has = []

    class Slow(Taker):
        def _take(self, event, delivery):
            clock.turn(destination.terms.lease_s)
            other_process = open_journal_again()
            other_process_has.extend(other_process.claim("a", limit=1, terms=destination.terms))
            return "late"

    bridge.deliver_next(make_lane(make_destination("a", Slow())))

    (row,) = bridge.journal.deliveries(Filter())
    assert (row.state, row.attempts, row.receipt) == (State.RUNNING, 2, None)
    assert [each.delivery.attempt for each in other_process_has] == [2]
    assert "the lease was lost" in caplog.text


def test_a_destination_that_refuses_everything_is_asked_now_and_then_and_nothing_is_used_up(make_bridge, taker, clock):
    """A password that is wrong for a fortnight: each result is there afterwards, and nobody had to replay anything."""
    destination = make_destination("a", taker, schedule_s=(5,))
    bridge, lane = make_bridge(destination), make_lane(destination)
    for number in range(3):
        accept(bridge, sample(timestamp=number))
    taker.raises = DestinationError("the password is wrong", retry_after_s=600)

    for _ in range(14 * 24 * 6):
        while bridge.deliver_next(lane):
            pass
        clock.turn(600)
    assert len(taker.taken) == 14 * 24 * 6
    assert bridge.journal.standings()["a"].trouble == "the password is wrong"
    assert {row.state for row in bridge.journal.deliveries(Filter())} == {State.PENDING}

    taker.raises = None
    while bridge.deliver_next(lane):
        pass
    assert {row.state for row in bridge.journal.deliveries(Filter())} == {State.DELIVERED}


def test_one_that_is_refused_while_others_get_through_holds_nobody_back(make_bridge, clock):
    """A right that is missing for one practice alone: it waits, ever longer, and the destination is not left alone."""

    class Picky(Taker):
        def _take(self, event, delivery):
            self.raises = None if event.timestamp.microsecond else DestinationError("forbidden")
            return super()._take(event, delivery)

    picky = Picky()
    destination = make_destination("a", picky, schedule_s=(5,))
    bridge, lane = make_bridge(destination), make_lane(destination)
    for number in range(100):
        accept(bridge, sample(timestamp=number))
        while bridge.deliver_next(lane):
            clock.turn(0.01)
        if number > 2:
            assert bridge.journal.standings()["a"].circuit.open_since is None
        clock.turn(400)

    states = [row.state for row in bridge.journal.deliveries(Filter(limit=200))]
    assert sorted(states) == [*[State.DELIVERED] * 99, State.PENDING]
    assert 5 <= len(picky.taken) - 99 <= 25


def test_a_destination_that_takes_a_few_at_a_time_is_not_pressed_and_uses_nothing_up(make_bridge, clock):
    """Each has been refused before, and now others get through: that is no fault of theirs, for there are too many."""

    class Limited(Taker):
        room = 0

        def _take(self, event, delivery):
            self.raises = None if self.room > 0 else DestinationError("too many", retry_after_s=60)
            self.room -= 1
            return super()._take(event, delivery)

    limited = Limited()
    destination = make_destination("a", limited, schedule_s=(5, 60, 300))
    bridge, lane = make_bridge(destination), make_lane(destination)
    for number in range(60):
        accept(bridge, sample(timestamp=number))
    asked = []
    for minute in range(600):
        limited.room = 2 if minute > 200 else 0  # away for a while, until each has been tried; then two a minute
        before = len(limited.taken)
        while bridge.deliver_next(lane):
            pass
        asked.append(len(limited.taken) - before)
        clock.turn(61)

    assert max(asked) <= 4
    assert {row.state for row in bridge.journal.deliveries(Filter(limit=100))} == {State.DELIVERED}


@pytest.mark.parametrize(("failures", "schedule_s", "asked_s"), [(0, (), 0), (0, (0,), None), (5, (0,), "0.0001")])
def test_what_never_counts_is_not_made_again_at_once(make_bridge, taker, failures, schedule_s, asked_s):
    """Whatever a far side asks for: nothing else would ever end it."""
    destination = make_destination("a", taker, schedule_s=schedule_s, circuit={"failures": failures})
    bridge, lane = make_bridge(destination), make_lane(destination)
    accept(bridge, sample())
    taker.raises = DestinationError("no", retry_after_s=asked_s)

    assert [bridge.deliver_next(lane) for _ in range(3)] == [True, False, False]


def test_one_that_cannot_be_taken_yet_waits_as_long_as_it_needs_and_stops_nobody(make_bridge, clock):
    """A patient whom the EHR does not know yet, for two weeks; results of others go through meanwhile."""

    class Waiting(Taker):
        known = False

        def _take(self, event, delivery):
            self.raises = None if self.known or event.timestamp.microsecond else NotYetError("no such patient yet")
            return super()._take(event, delivery)

    taker = Waiting()
    destination = make_destination("a", taker, schedule_s=(5,), circuit={"failures": 1})
    bridge, lane = make_bridge(destination), make_lane(destination)
    for number in range(3):
        accept(bridge, sample(timestamp=number))
    for _ in range(14 * 24):
        while bridge.deliver_next(lane):
            pass
        clock.turn(3600)

    states = {row.state: row for row in bridge.journal.deliveries(Filter())}
    assert set(states) == {State.PENDING, State.DELIVERED}
    assert (states[State.PENDING].attempts, states[State.PENDING].last_error) == (14 * 24, "no such patient yet")
    assert bridge.journal.standings().get("a") is None
    taker.known = True
    bridge.deliver_next(lane)
    assert {row.state for row in bridge.journal.deliveries(Filter())} == {State.DELIVERED}


TROUBLES = [
    DestinationError("refused"),
    DestinationError("busy", retry_after_s=7),
    TemporaryError("away"),
    TemporaryError("its answer was lost", unknown=True),
    NotYetError("later"),
    None,
]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.sampled_from(TROUBLES), st.integers(0, 4), st.integers(1, 4000)), max_size=8),
    st.integers(0, 5),
)
def test_whatever_a_destination_has_been_through_it_is_owed_nothing_once_it_is_well(tmp_path, story, failures):
    """No mixture of refusals, outages and waits leaves a delivery behind for good, or a destination left alone."""
    clock, taker = HandClock(), Taker()
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    journal = SqliteJournal(folder / "journal.db", clock=clock, steady=clock.steady)
    destination = make_destination("a", taker, schedule_s=(5,) * 10_000, circuit={"failures": failures})
    letters = DeadLetters(folder / "letters", clock=clock)
    bridge = Bridge(secrets=[SECRET], journal=journal, destinations=Destinations([destination]), dead_letters=letters)
    lane, number = make_lane(destination), 0
    try:
        for taker.raises, events, passed_s in [*story, (None, 1, 0)]:
            for _ in range(events):
                number += 1
                accept(bridge, sample(timestamp=number))
            for _ in range(3):
                while bridge.deliver_next(lane):
                    pass
                clock.turn(passed_s / 3)
        for _ in range(20):  # two waits of an hour at the most, and a circuit that closes step by step
            while bridge.deliver_next(lane):
                pass
            clock.turn(600)
        rows = journal.deliveries(Filter(limit=100))
        assert ([row.state for row in rows], len(rows)) == ([State.DELIVERED] * number, number)
        assert (journal.standings().get("a", Standing()).circuit.probe_at or 0) <= clock()  # the next one goes at once
    finally:
        journal.close()
