"""One more event for a webhook that is approved when the story is told: without one nobody would see that it works."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from glycanbridge.simulator.lives import WEEK_MS
from glycanbridge.simulator.story import Sending, story


def one_more(events: Collection[str], *, now_ms: int, practices: Sequence[str]) -> Sending:
    """A kit's arrival within the week before `now_ms`, or the first of `events`, where that is none of them.

    It is new: another kit than any of a story's that began at another millisecond.
    """
    life = story(seed=now_ms, begin_ms=now_ms - WEEK_MS, kits=1, weeks=1, practices=practices, clean=True)
    wanted = [each for each in life.sendings if each.type in events]
    return next((each for each in wanted if each.type == "kit-received"), wanted[0])
