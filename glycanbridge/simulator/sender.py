"""Sends a story as GlycanAge does: one 200 within ten seconds, else up to three retries, and then it is forgotten.

"We'll retry failed deliveries up to 3 times with exponential backoff", says the vendor's page, and not how long it
waits; so the waits are told. What is sent in vain does not hold back what comes after it.
"""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from glycanbridge.simulator.expecting import Expectations
from glycanbridge.simulator.posting import Answer
from glycanbridge.simulator.story import Sending

BACK_OFF_S = (1.0, 5.0, 25.0)
"""The waits before the retries, as many as there are of them; GlycanAge's own are not known."""

LONGEST_SLEEP_S = 3600.0
"""A longer wait is slept in pieces: the system does not know one of centuries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What became of a sending in the end."""

    sending: Sending
    answers: tuple[Answer, ...]
    """All that came back, the last one last."""
    fits: bool
    """Whether the last one is what the bridge ought to answer."""

    @property
    def outcome(self) -> str:
        """`accepted`, `duplicate`, `quarantined`, `refused_401` (as it should be), or `lost`."""
        last = self.answers[-1]
        if last.status == 200:
            return last.became or "accepted"
        return "refused_401" if self.fits else "lost"

    @property
    def trouble(self) -> str:
        """What is wrong with it, in a line; empty if nothing is."""
        if self.fits:
            return ""
        sending, last = self.sending, self.answers[-1]
        twist = f", {sending.twist}" if sending.twist else ""
        came = last.error or f"{last.status} {last.became}".rstrip()
        times = "" if len(self.answers) == 1 else f" the last of {len(self.answers)} times"
        return f"{sending.type} of {sending.about}{twist}: expected {sending.expected}, came{times}: {came}"


class _Again(NamedTuple):
    due_s: float
    order: int
    sending: Sending
    answers: tuple[Answer, ...]


class Sender:
    """Sends what it is given, once, in the order of its moments."""

    def __init__(
        self,
        sendings: Sequence[Sending],
        *,
        post: Callable[[Sending], Answer],
        back_off_s: Sequence[float] = BACK_OFF_S,
        speed: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """`speed`: so many times as fast as real time; without it each is sent when the one before it is answered.

        The waits before retries are real seconds all the same: a bridge that is started again takes its time.
        """
        self._firsts = deque(sorted(sendings, key=lambda each: each.at_ms))
        self._begin_ms = self._firsts[0].at_ms if self._firsts else 0
        self._again: list[_Again] = []
        self._order = itertools.count()
        self._post, self._clock, self._sleep = post, clock, sleep
        self._speed = speed
        self._back_off_s = back_off_s
        self._expectations = Expectations()

    @property
    def left(self) -> int:
        """How many have not come to their end."""
        return len(self._firsts) + len(self._again)

    def run(self) -> Iterator[Fate]:
        """Send all of it; each fate as soon as it is known."""
        begun_s = self._clock()
        while self.left:
            now_s = self._clock()
            first_s = begun_s + self._after_s(self._firsts[0]) if self._firsts else math.inf
            again_s = self._again[0].due_s if self._again else math.inf
            if min(first_s, again_s) > now_s:
                self._sleep(min(min(first_s, again_s) - now_s, LONGEST_SLEEP_S))
                continue
            if again_s <= now_s:
                _, _, sending, answers = heapq.heappop(self._again)
            else:
                sending, answers = self._firsts.popleft(), ()
            fate = self._send(sending, answers)
            if fate is not None:
                yield fate

    def _after_s(self, sending: Sending) -> float:
        return 0.0 if self._speed is None else (sending.at_ms - self._begin_ms) / 1000 / self._speed

    def _send(self, sending: Sending, before: tuple[Answer, ...]) -> Fate | None:
        """Send it once; its fate, if it is not to be sent again."""
        answer = self._post(sending)
        answers = (*before, answer)
        fits = self._expectations.fits(sending, answer)
        if not fits and answer.status != 200 and len(before) < len(self._back_off_s):
            due_s = self._clock() + self._back_off_s[len(before)]
            heapq.heappush(self._again, _Again(due_s, next(self._order), sending, answers))
            return None
        return Fate(sending=sending, answers=answers, fits=fits)
