"""Is every event that was answered 200 in the journal, with every delivery that is owed?"""

from __future__ import annotations

import json
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

from bench.events import report_id
from glycanbridge.journal import Filter
from glycanbridge.journals import open_questions


def missing(journal: Path, accepted: Collection[int], *, destinations: int) -> list[str]:
    """What does not agree between the journal and the numbers of the events answered 200, a line each.

    Asked over a connection of its own, which sees only what was committed.
    """
    with closing(open_questions(f"sqlite:///{journal}")) as questions:
        bodies = [each.body for each in questions.events(Filter(limit=2 * len(accepted) + 1000))]
        owed = questions.owed()
    events = {json.loads(body)["data"]["reportId"] for body in bodies}
    expected = {report_id(number) for number in accepted}
    told = []
    if expected - events:
        told.append(f"{len(expected - events)} events were answered 200 and are not in the journal")
    if events - expected or len(bodies) != len(events):
        told.append(f"the journal holds {len(bodies)} events, {len(accepted)} were answered 200")
    if expected and len(owed) != destinations:
        told.append(f"{len(owed)} destinations are owed events, not {destinations}")
    told += [
        f"{each.destination} is owed {each.pending} deliveries of {len(bodies)} events"
        for each in owed
        if each.pending != len(bodies) or each.running or each.dead
    ]
    return told
