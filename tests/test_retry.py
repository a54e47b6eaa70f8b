"""When to try again: quick tries within an attempt, and the schedule between attempts."""

from __future__ import annotations

import threading

import pytest

from glycanbridge.errors import PermanentError, TemporaryError
from glycanbridge.retry import JITTER, Schedule, growing_wait_s, insist, with_tries


class Failing:
    """Raises what it is given, one after the other, then returns `done`; counts its calls."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def test_a_blip_is_tried_away():
    """Two failures, then success; the waits between are short and grow."""
    slept, call = [], Failing(OSError(), TemporaryError("blip"))

    assert with_tries(call, tries=3, sleep=slept.append) == "done"
    assert 0.1 <= slept[0] <= 0.2 <= slept[1] <= 0.3


def test_the_last_tries_error_comes_out():
    """Not tenacity's own."""
    call = Failing(OSError("first"), OSError("second"))

    with pytest.raises(OSError, match="second"):
        with_tries(call, tries=2, sleep=lambda _s: None)


@pytest.mark.parametrize(
    "error", [PermanentError("never"), TemporaryError("busy", retry_after_s=30), SystemExit(1), KeyboardInterrupt()]
)
def test_some_errors_are_not_worth_another_try(error):
    """The far side knows better, or it is no failure of the delivery at all."""
    call = Failing(error)

    with pytest.raises(type(error)):
        with_tries(call, tries=5, sleep=lambda _s: None)

    assert call.calls == 1


def test_the_schedule_gives_each_wait_in_turn_with_jitter_and_then_none():
    """Two waits allow three attempts."""
    schedule = Schedule([5, 60])

    assert 5 <= schedule.wait_s(1) <= 5 * (1 + JITTER)
    assert 60 <= schedule.wait_s(2) <= 60 * (1 + JITTER)
    assert schedule.wait_s(3) is None
    assert 60 <= schedule.wait_s(3, again=True) <= 60 * (1 + JITTER)
    assert [schedule.allows(attempt) for attempt in (1, 3, 4)] == [True, True, False]


def test_what_failed_together_does_not_come_back_together():
    """Jitter spreads it."""
    schedule = Schedule([100])

    assert len({schedule.wait_s(1) for _ in range(20)}) > 1


def test_an_empty_schedule_allows_one_attempt():
    """No second one."""
    schedule = Schedule([])

    assert (schedule.allows(1), schedule.wait_s(1), schedule.allows(2)) == (True, None, False)


def test_waits_between_probes_grow_to_a_limit_with_jitter():
    """Doubled each time."""
    waits = [growing_wait_s(number, first_s=10, longest_s=50) for number in (1, 2, 3, 4, 200)]

    for wait, least in zip(waits, (10, 20, 40, 50, 50), strict=True):
        assert least <= wait <= least + 10 * JITTER
    assert len({growing_wait_s(1, first_s=10, longest_s=50) for _ in range(20)}) > 1


def test_insisting_ends_with_success_or_when_it_is_told_to():
    """Whatever else is raised comes out at once."""
    call = Failing(OSError(), OSError())
    assert insist(call, on=OSError, until=threading.Event(), every_s=0) == "done"
    assert call.calls == 3

    stopping = threading.Event()
    stopping.set()
    with pytest.raises(OSError, match="still"):
        insist(Failing(OSError("still")), on=OSError, until=stopping)
    with pytest.raises(ValueError, match="other"):
        insist(Failing(ValueError("other")), on=OSError, until=threading.Event())
