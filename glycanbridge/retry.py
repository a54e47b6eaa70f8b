"""When to try again: tenacity's one home.

Two clocks, two words. A *try* is a quick one, in memory, within one attempt: a blip is gone before anybody sees it. An
*attempt* is journaled and survives a restart; the schedule says how long to wait before the next one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import tenacity

from glycanbridge.errors import DestinationError, GlycanAgeError, NotYetError, PermanentError, TemporaryError

T = TypeVar("T")

JITTER = 0.1
"""Waits are stretched by up to this share, so that what failed together does not come back together."""


def _worth_another_try(error: BaseException) -> bool:
    if isinstance(error, GlycanAgeError):
        return error.temporary and error.retry_after_s is None
    asked_to_wait = isinstance(error, TemporaryError) and (error.retry_after_s is not None or error.unknown)
    known = isinstance(error, PermanentError | NotYetError | DestinationError)
    return isinstance(error, Exception) and not known and not asked_to_wait


def with_tries(call: Callable[[], T], *, tries: int, sleep: Callable[[float], None] = time.sleep) -> T:
    """What `call` returns, trying up to `tries` times within a few seconds (waits of about 0.1, 0.2, 0.4 s, ...).

    Raises what the last try raised: at once for a `PermanentError`, `NotYetError` or `DestinationError`, for a
    `TemporaryError` with `retry_after_s` (the far side knows better) or one that is `unknown` (it may have it), and for
    whatever is not an `Exception`, such as `SystemExit`.
    """

    def retrying() -> tenacity.Retrying:
        return tenacity.Retrying(
            stop=tenacity.stop_after_attempt(tries),
            wait=tenacity.wait_exponential_jitter(multiplier=0.1, max=2, jitter=0.1),
            retry=tenacity.retry_if_exception(_worth_another_try),
            sleep=sleep,
            reraise=True,
        )

    return _plainly_first(call, retrying)


def insist(call: Callable[[], T], *, on: type[Exception], until: threading.Event, every_s: float = 1.0) -> T:
    """What `call` returns, called again every `every_s` while it raises `on`; that comes out once `until` is set."""

    def retrying() -> tenacity.Retrying:
        return tenacity.Retrying(
            stop=tenacity.stop_when_event_set(until),
            wait=tenacity.wait_fixed(every_s),
            sleep=tenacity.sleep_using_event(until),
            retry=tenacity.retry_if_exception_type(on),
            reraise=True,
        )

    return _plainly_first(call, retrying)


def _plainly_first(call: Callable[[], T], retrying: Callable[[], tenacity.Retrying]) -> T:
    """What `call` returns. Only if it fails is it tenacity's, which costs more than all else about a delivery."""
    try:
        return call()
    except BaseException as error:
        failed = iter([error])

    def first_fail_as_before() -> T:
        for error in failed:
            raise error
        return call()

    return retrying()(first_fail_as_before)


def growing_wait_s(number: int, *, first_s: float, longest_s: float) -> float:
    """The wait before probe `number` (counts from 1): doubled each time, `longest_s` at the most, with jitter."""
    wait = tenacity.wait_exponential(multiplier=first_s, max=longest_s) + tenacity.wait_random(0, first_s * JITTER)
    return wait(_state(number))


class Schedule:
    """The waits between a delivery's attempts, in seconds: `Schedule([5, 60])` allows three attempts."""

    def __init__(self, waits_s: Sequence[float]) -> None:
        self._attempts = len(waits_s) + 1
        waits = [tenacity.wait_fixed(each) + tenacity.wait_random(0, each * JITTER) for each in waits_s]
        self._wait = tenacity.wait_chain(*waits) if waits else tenacity.wait_none()

    def wait_s(self, step: int, *, again: bool = False) -> float | None:
        """The wait after attempt `step` (counts from 1) has failed, with jitter; `None` when it was the last.

        `again`: the attempt does not count, so after the last one the longest wait is made once more.
        """
        if step >= self._attempts and not again:
            return None
        return self._wait(_state(step))

    def allows(self, step: int) -> bool:
        """Whether there is an attempt of this number at all."""
        return step <= self._attempts


def _state(number: int) -> tenacity.RetryCallState:
    """What tenacity's strategies want to see of a call that was made so many times."""
    state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
    state.attempt_number = number
    return state
