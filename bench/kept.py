"""Is every event that was answered 200 in the journal, with every delivery that is owed?"""

from __future__ import annotations

import json
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

import apsw

from bench.events import report_id

_BODIES = "SELECT body FROM events"
_INCOMPLETE = "SELECT count(*) FROM events e WHERE (SELECT count(*) FROM deliveries d WHERE d.event = e.id) <> ?"
_DEAD = "SELECT count(*) FROM deliveries WHERE state = 'dead'"


def missing(journal: Path, accepted: Collection[int], *, destinations: int) -> list[str]:
    """What does not agree between the journal and the numbers of the events answered 200, a line each.

    Asked over a connection of its own, which sees only what was committed.
    """
    with closing(apsw.Connection(str(journal), flags=apsw.SQLITE_OPEN_READONLY)) as reader:
        ids = [json.loads(body)["data"]["reportId"] for (body,) in reader.execute(_BODIES)]
        incomplete = reader.execute(_INCOMPLETE, (destinations,)).get
        dead = reader.execute(_DEAD).get
    events, expected = set(ids), {report_id(number) for number in accepted}
    told = []
    if expected - events:
        told.append(f"{len(expected - events)} events were answered 200 and are not in the journal")
    if events - expected or len(ids) != len(events):
        told.append(f"the journal holds {len(ids)} events, {len(expected)} were answered 200")
    if incomplete:
        told.append(f"{incomplete} events do not have {destinations} deliveries")
    if dead:
        told.append(f"{dead} deliveries are dead")
    return told
