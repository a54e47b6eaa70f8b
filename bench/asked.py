"""What people and the bridge ask of a journal with a past (`bench.past`), and how many rows each answer must have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bench.past import APART_MS, FEW
from glycanbridge.delivery import State
from glycanbridge.journal import Filter, Questions
from glycanbridge.journals import open_questions

SHORT_MS = 200_000
LISTED = Filter().limit


@dataclass(frozen=True)
class Question:
    """A question, in the words of the command that asks it, and how many rows its answer has."""

    name: str
    ask: Callable[[Questions], Sequence[object]]
    rows: int


def questions(journal: Path, count: int) -> list[Question]:
    """What is asked of a journal with so many events, none of which was added since it was made."""
    with closing(open_questions(f"sqlite:///{journal}")) as asked:
        newest = asked.events(Filter(limit=1))[0]
        middle = next(asked.pages(Filter(since=newest.received_at - count // 2 * APART_MS, limit=1)))[1]
    in_short = SHORT_MS // APART_MS + 1
    first_ms = newest.received_at - (count - 1) * APART_MS
    both = (
        ("", Filter(), LISTED),
        ("--since", Filter(since=newest.received_at - SHORT_MS), in_short),
        ("--until", Filter(until=first_ms + SHORT_MS), in_short),
        ("--type, a rare one", Filter(type="order-status-changed"), FEW // 5),
        ("--type, one that never came", Filter(type="assignment-status-changed"), 0),
        ("--state dead", Filter(state=State.DEAD), LISTED),
        ("--state pending", Filter(state=State.PENDING), LISTED),
        ("--state pending --since", Filter(state=State.PENDING, since=newest.received_at + 1), 0),
        ("--destination ehr", Filter(destination="ehr"), LISTED),
        ("--destination, a former one", Filter(destination="gone"), LISTED),
        ("--destination, an unknown one", Filter(destination="nobody"), 0),
        ("--kit", Filter(kit=middle.kit_code), 2),
    )
    return [
        *(Question(f"events list {words}".strip(), _events(which), rows)
          for words, which, rows in both),
        Question("events show ID", lambda asked: [*asked.event(middle.id[:12]), *asked.deliveries_of(middle.id)], 2),
        *(Question(f"deliveries list {words}".strip(), _deliveries(which), rows)
          for words, which, rows in both),
        Question("deliveries show ID", lambda asked: asked.attempts(f"{middle.id}:ehr"), 1),
        Question("deliveries replay, the dead", lambda asked: next(asked.pages(Filter(state=State.DEAD))), FEW),
        Question("destinations", lambda asked: asked.owed(), 2),
    ]  # fmt: skip


def _events(which: Filter) -> Callable[[Questions], Sequence[object]]:
    return lambda asked: asked.events(which)


def _deliveries(which: Filter) -> Callable[[Questions], Sequence[object]]:
    return lambda asked: asked.deliveries(which)
