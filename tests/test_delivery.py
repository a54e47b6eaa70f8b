"""The life of a delivery: the table, and what follows from an outcome."""

from __future__ import annotations

import pytest

from glycanbridge.delivery import LONGEST_RETRY_AFTER_S, TRANSITIONS, Outcome, Result, Scope, Settlement, State, settle


def test_a_delivered_one_is_settled_for_good():
    """Whatever the schedule has left."""
    assert settle(Outcome(result=Result.DELIVERED), 5) == Settlement(state=State.DELIVERED)


def test_a_permanent_failure_is_dead_at_once():
    """It can never succeed."""
    assert settle(Outcome(result=Result.PERMANENT), 5) == Settlement(state=State.DEAD)


def test_a_temporary_failure_waits_as_the_schedule_says():
    """And is dead when the schedule has no wait left."""
    outcome = Outcome(result=Result.TEMPORARY)

    assert settle(outcome, 60) == Settlement(state=State.PENDING, wait_s=60)
    assert settle(outcome, 0) == Settlement(state=State.PENDING, wait_s=0)
    assert settle(outcome, None) == Settlement(state=State.DEAD)


@pytest.mark.parametrize(
    ("asked_s", "wait_s"), [(None, 60), (10, 60), (90, 90), (10**9, LONGEST_RETRY_AFTER_S), (float("inf"), 3600)]
)
def test_a_far_side_that_asks_for_time_gets_it_within_reason(asked_s, wait_s):
    """Never less than the schedule, never more than an hour."""
    outcome = Outcome(result=Result.TEMPORARY, retry_after_s=asked_s)

    assert settle(outcome, 60).wait_s == wait_s


@pytest.mark.parametrize(("left_alone", "schedules_s", "wait_s"), [(True, 5, 5), (True, 86_400, 300), (False, 5, 300)])
def test_what_is_owed_to_one_that_takes_nothing_is_due_as_soon_as_that_is_mended(left_alone, schedules_s, wait_s):
    """Its circuit holds it back; where it has none, each delivery waits as long as was asked."""
    outcome = Outcome(result=Result.TEMPORARY, retry_after_s=300, scope=Scope.DESTINATION)

    assert settle(outcome, schedules_s, left_alone=left_alone).wait_s == wait_s


def test_one_that_cannot_be_taken_yet_is_looked_at_when_it_asked_to_be():
    """Not a day later, though it is late in its schedule; and never again and again without a pause."""
    for asked_s, wait_s in ((60, 60), (0, 1), (None, 86_400), (10**9, LONGEST_RETRY_AFTER_S)):
        outcome = Outcome(result=Result.TEMPORARY, retry_after_s=asked_s, scope=Scope.DELIVERY)
        assert settle(outcome, 86_400).wait_s == wait_s


def test_an_attempt_may_be_one_that_does_not_count():
    """It only shows that the destination is still away."""
    settlement = settle(Outcome(result=Result.TEMPORARY), 60, counts=False)

    assert settlement == Settlement(state=State.PENDING, wait_s=60, counts=False)


def test_an_unknown_outcome_is_made_again_or_left_to_a_person():
    """As the destination wants it; never taken for delivered."""
    outcome = Outcome(result=Result.UNKNOWN)

    assert settle(outcome, 60) == Settlement(state=State.PENDING, wait_s=60)
    assert settle(outcome, None) == Settlement(state=State.DEAD)
    assert settle(outcome, 60, holds_unknown=True) == Settlement(state=State.PENDING, wait_s=None)


def test_every_settlement_is_a_move_of_the_table():
    """A settlement starts from running; only a person takes a delivery out of delivered or dead."""
    moves = {to for (start, _), to in TRANSITIONS.items() if start is State.RUNNING}
    outcomes = [Outcome(result=result) for result in Result]

    assert {settle(outcome, wait_s).state for outcome in outcomes for wait_s in (1, None)} <= moves
    assert {what for start, what in TRANSITIONS if start in {State.DELIVERED, State.DEAD}} == {"replay"}
