"""What the bridge ought to answer: the first of an event is accepted, each repeat of it a duplicate.

Which of two is the first is decided by the sending, not by the story: an original that nobody answered may come after
its repeat. And where an answer was lost, nobody knows whether the event was kept, so that both words are right.
"""

from __future__ import annotations

from glycanbridge.simulator.posting import Answer
from glycanbridge.simulator.story import Sending


class Expectations:
    """Remembers which events have been taken, and holds each answer against it."""

    def __init__(self) -> None:
        self._taken: dict[int, bool] = {}
        """By the event's number: whether it is taken for sure, or only perhaps."""

    def fits(self, sending: Sending, answer: Answer) -> bool:
        """Whether this is what ought to be answered; to be asked once for each answer, as they come."""
        if sending.expected == "401":
            return answer.status == 401
        if answer.status != 200:
            if answer.status is None or answer.status >= 500:
                self._taken.setdefault(sending.number, False)
            return False
        if sending.expected == "quarantined":
            return answer.became in {"quarantined", ""}
        right = {None: {"accepted"}, True: {"duplicate"}, False: {"accepted", "duplicate"}}
        before = self._taken.get(sending.number)
        self._taken[sending.number] = True
        return answer.became in right[before] | {""}  # another program than the bridge need not say it
