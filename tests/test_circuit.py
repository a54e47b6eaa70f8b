"""The circuit: opens after failures in a row, grows its waits, closes step by step."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from glycanbridge.circuit import Brake, Circuit
from glycanbridge.delivery import Outcome, Result, Scope

BRAKE = Brake(failures=3, first_wait_s=10, longest_wait_s=40)


def after(circuit: Circuit, *results: Result, probe=False, now=1000) -> Circuit:
    """The circuit after these results, all at one time."""
    for result in results:
        circuit = circuit.after(Outcome(result=result), brake=BRAKE, probe=probe, now=now)
    return circuit


def test_it_opens_after_so_many_failures_in_a_row():
    """A success in between begins the count anew; an unknown outcome is a failure, a permanent one is an answer."""
    two = after(Circuit(), Result.TEMPORARY, Result.UNKNOWN)

    assert (two.failures, two.open_since) == (2, None)
    assert after(two, Result.TEMPORARY).open_since == 1000
    for answer in (Result.DELIVERED, Result.PERMANENT):
        assert after(two, answer) == Circuit(answered_at=1000)


def test_what_goes_well_as_ever_changes_nothing():
    """Else each delivery of each destination would cost a write more; and the first success is what is asked for."""
    well = after(Circuit(), Result.TEMPORARY, Result.DELIVERED)

    assert after(well, Result.DELIVERED, Result.PERMANENT, now=9000) == well


def test_what_was_under_way_when_it_opened_changes_nothing():
    """Else a destination of many lanes would wait for an hour at once."""
    opened = after(Circuit(), *[Result.TEMPORARY] * 3)

    assert after(opened, Result.TEMPORARY) == opened


def test_each_probe_that_fails_doubles_the_wait_up_to_a_limit():
    """Since when it is open stays as it was."""
    circuit, waits = after(Circuit(), *[Result.TEMPORARY] * 3), []
    for now in range(2000, 7000, 1000):
        circuit = after(circuit, Result.TEMPORARY, probe=True, now=now)
        waits.append((circuit.probe_at - now) / 1000)

    assert circuit.open_since == 1000
    for wait, least in zip(waits, (20, 40, 40, 40, 40), strict=True):
        assert least <= wait <= least + 1


def test_it_closes_after_as_many_successes_as_it_had_failures_to_open():
    """One after the other; a failure on the way opens it again at once."""
    circuit = after(after(Circuit(), *[Result.TEMPORARY] * 3), *[Result.TEMPORARY] * 9, probe=True)

    closing = after(circuit, Result.DELIVERED, probe=True, now=5000)
    assert (closing.failures, closing.probe_at, closing.open_since) == (2, 5000, 1000)
    assert after(closing, Result.TEMPORARY, probe=True, now=6000).probe_at > 6000 + 9000
    assert after(closing, Result.DELIVERED, Result.DELIVERED, probe=True) == Circuit(answered_at=1000)


def test_a_failure_while_it_closes_leaves_it_open_and_is_probed_again_at_once():
    """One that is open always has a next probe: else it would be left alone for good."""
    opened = after(Circuit(), *[Result.TEMPORARY] * 3)
    closing = after(opened, Result.DELIVERED, Result.DELIVERED, probe=True, now=5000)

    failed = after(closing, Result.TEMPORARY, probe=True, now=6000)

    assert (failed.failures, failed.open_since, failed.probe_at) == (2, 1000, 6000)


def test_a_destination_that_takes_nothing_is_left_alone_at_once_for_as_long_as_it_asks():
    """A wrong password is wrong for everyone: no second delivery need find out. One success shows that it is mended."""
    refused = Outcome(result=Result.TEMPORARY, scope=Scope.DESTINATION, retry_after_s=300)
    circuit = Circuit().after(refused, brake=BRAKE, probe=False, now=1000)

    assert (circuit.open_since, circuit.probe_at) == (1000, 301_000)
    again = circuit.after(refused, brake=BRAKE, probe=True, now=301_000)
    assert (again.open_since, again.probe_at) == (1000, 601_000)
    assert after(again, Result.DELIVERED, probe=True, now=9000) == Circuit(answered_at=9000)
    for asked_s, waits_s in ((None, 10), (0.0, 10), (1e9, 3600)):
        outcome = Outcome(result=Result.TEMPORARY, scope=Scope.DESTINATION, retry_after_s=asked_s)
        assert Circuit().after(outcome, brake=BRAKE, probe=False, now=0).probe_at == waits_s * 1000


def test_one_that_cannot_be_taken_yet_says_nothing_of_its_destination():
    """It may not even have been sent: it neither opens nor closes anything, and the next probe is made at once."""
    not_yet = Outcome(result=Result.TEMPORARY, scope=Scope.DELIVERY)
    two, opened = after(Circuit(), *[Result.TEMPORARY] * 2), after(Circuit(), *[Result.TEMPORARY] * 3)

    assert two.after(not_yet, brake=BRAKE, probe=False, now=2000) == two
    assert opened.after(not_yet, brake=BRAKE, probe=False, now=2000) == opened
    probed = opened.after(not_yet, brake=BRAKE, probe=True, now=2000)
    assert (probed.failures, probed.open_since, probed.probe_at) == (3, 1000, 2000)


@pytest.mark.parametrize("scope", [None, *Scope])
@pytest.mark.parametrize("result", list(Result))
def test_one_that_is_switched_off_never_opens(result, scope):
    """For far sides that must be tried whatever happens."""
    circuit = Circuit()
    for _ in range(100):
        circuit = circuit.after(Outcome(result=result, scope=scope), brake=Brake(failures=0), probe=False, now=1)

    assert circuit.open_since is None


brakes = st.builds(Brake, failures=st.integers(0, 5), first_wait_s=st.floats(1, 60), longest_wait_s=st.floats(60, 900))
outcomes = st.one_of(
    st.builds(Outcome, result=st.sampled_from(Result)),
    st.builds(Outcome, result=st.just(Result.TEMPORARY), scope=st.sampled_from(Scope)),
)
attempts = st.tuples(outcomes, st.booleans(), st.integers(0, 10**6))


@given(brakes, st.lists(attempts, max_size=30))
def test_a_circuit_opens_only_by_failures_and_closes_by_successes(brake, story):
    """Whatever the story: a destination that is back is never left alone for good."""
    circuit, now = Circuit(), 1_700_000_000_000
    for outcome, may_probe, passed_ms in story:
        now += passed_ms
        before, probe = circuit, may_probe and circuit.open_since is not None
        circuit = before.after(outcome, brake=brake, probe=probe, now=now)

        assert circuit.failures >= 0
        assert (circuit.open_since is None) == (circuit.probe_at is None)
        if before.open_since is None:
            at_once = outcome.scope is Scope.DESTINATION
            opens = outcome.failed and brake.failures and (at_once or brake.failures <= before.failures + 1)
            assert (circuit.open_since is not None) == bool(opens)
        if circuit.open_since is not None and outcome.failed and (probe or before.open_since is None):
            assert circuit.probe_at > now or circuit.failures < brake.failures  # it was closing: once more, at once
        if before.open_since is not None and outcome.failed and not probe:
            assert circuit == before  # it was under way when the circuit opened
        if outcome.scope is Scope.DELIVERY:
            assert (circuit.failures, circuit.open_since) == (before.failures, before.open_since)
        elif not outcome.failed:
            assert circuit.failures < max(1, before.failures)

    for _ in range(max(1, brake.failures)):
        circuit = circuit.after(Outcome(result=Result.DELIVERED), brake=brake, probe=True, now=now)
    assert (circuit.failures, circuit.open_since) == (0, None)
