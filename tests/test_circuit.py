"""The circuit: opens after failures in a row, grows its waits, closes step by step."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from glycanbridge.circuit import Brake, Circuit
from glycanbridge.delivery import Result

BRAKE = Brake(failures=3, first_wait_s=10, longest_wait_s=40)


def after(circuit: Circuit, *results: Result, probe=False, now=1000) -> Circuit:
    """The circuit after these results, all at one time."""
    for result in results:
        circuit = circuit.after(result, brake=BRAKE, probe=probe, now=now)
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


@pytest.mark.parametrize("result", list(Result))
def test_one_that_is_switched_off_never_opens(result):
    """For far sides that must be tried whatever happens."""
    circuit = Circuit()
    for _ in range(100):
        circuit = circuit.after(result, brake=Brake(failures=0), probe=False, now=1)

    assert circuit.open_since is None


brakes = st.builds(Brake, failures=st.integers(0, 5), first_wait_s=st.floats(1, 60), longest_wait_s=st.floats(60, 900))
attempts = st.tuples(st.sampled_from(Result), st.booleans(), st.integers(0, 10**6))


@given(brakes, st.lists(attempts, max_size=30))
def test_a_circuit_opens_only_by_failures_and_closes_by_successes(brake, story):
    """Whatever the story: a destination that is back is never left alone for good."""
    circuit, now = Circuit(), 1_700_000_000_000
    for result, may_probe, passed_ms in story:
        now += passed_ms
        before, probe = circuit, may_probe and circuit.open_since is not None
        circuit = before.after(result, brake=brake, probe=probe, now=now)

        assert circuit.failures >= 0
        assert (circuit.open_since is None) == (circuit.probe_at is None)
        if before.open_since is None:
            opens = result.failed and 0 < brake.failures <= before.failures + 1
            assert (circuit.open_since is not None) == opens
        if circuit.open_since is not None and result.failed and (probe or before.open_since is None):
            assert circuit.probe_at > now or circuit.failures < brake.failures  # it was closing: once more, at once
        if before.open_since is not None and result.failed and not probe:
            assert circuit == before  # it was under way when the circuit opened
        if not result.failed:
            assert circuit.failures < max(1, before.failures)

    for _ in range(max(1, brake.failures)):
        circuit = circuit.after(Result.DELIVERED, brake=brake, probe=True, now=now)
    assert (circuit.failures, circuit.open_since) == (0, None)
