"""Was the promise kept? What a sender was told beside what each destination received and what the journal says.

The promise: what was answered 200 is delivered to every destination at least once; what was never sent is not; and what
is delivered once more was being delivered when the process was killed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import apsw

from bench.receipts import Receipt
from glycanbridge.journal import AttemptRow
from glycanbridge.journals import open_questions

_INCOMPLETE = "SELECT count(*) FROM events e WHERE (SELECT count(*) FROM deliveries d WHERE d.event = e.id) <> ?"


Attempt = tuple[str, int]
"""One attempt: the delivery's id, and the attempt's number."""


class Counts(NamedTuple):
    """One destination's, as Jepsen counts a queue: distinct events, but for `duplicated`."""

    attempted: int
    """That a sender at least began to send."""
    acknowledged: int
    """Answered 200: accepted, or a duplicate."""
    ok: int
    """Sent and delivered."""
    lost: int
    """Acknowledged, and not delivered."""
    unexpected: int
    """Delivered, and never sent."""
    duplicated: int
    """Deliveries beyond the first of an event."""
    recovered: int
    """Delivered, though no sender was told that they would be."""


def counted(attempted: AbstractSet[str], acknowledged: AbstractSet[str], received: Iterable[str]) -> Counts:
    """The seven counts, from the events' ids; one in `received` for each time that it was delivered."""
    times = Counter(received)
    ok = times.keys() & attempted
    return Counts(
        attempted=len(attempted),
        acknowledged=len(acknowledged),
        ok=len(ok),
        lost=len(acknowledged - ok),
        unexpected=len(times.keys() - attempted),
        duplicated=sum(times[each] - 1 for each in ok),
        recovered=len(ok - acknowledged),
    )


def cut_off(attempts: Sequence[AttemptRow]) -> int:
    """How many attempts at a delivery came to no end: journaled as `unknown`, or only a gap in the numbers."""
    ended = [each for each in attempts if each.outcome != "unknown"]
    return max((each.number for each in attempts), default=0) - len(ended)


def unexplained(
    received: Iterable[Receipt], attempts: Callable[[str], Sequence[AttemptRow]], in_flight: AbstractSet[Attempt]
) -> list[str]:
    """The deliveries, by id, that were made once more, and not because of a kill.

    All receipts but one must be of attempts that were in flight at a kill, and the journal must have seen so many end
    without an outcome.
    """
    made: defaultdict[str, list[int]] = defaultdict(list)
    for each in received:
        made[each.delivery_id].append(each.attempt)
    return [
        delivery_id
        for delivery_id, numbers in made.items()
        if len(numbers) > 1
        and (
            len([each for each in numbers if (delivery_id, each) not in in_flight]) > 1
            or len(numbers) - 1 > cut_off(attempts(delivery_id))
        )
    ]


def broken(counts: Counts, repeated: Sequence[str], *, most_repeats: int) -> list[str]:
    """What of the promise one destination's counts break, a line each.

    `repeated`: what `unexplained` found; `most_repeats`: all that the kills can explain.
    """
    told = []
    if counts.lost:
        told.append(f"{counts.lost} events were answered 200 and not delivered")
    if counts.unexpected:
        told.append(f"{counts.unexpected} events were delivered and never sent")
    if repeated:
        told.append(f"{len(repeated)} deliveries were repeated without having been cut off, such as {repeated[0]}")
    if counts.duplicated > most_repeats:
        told.append(f"{counts.duplicated} repeats, and the kills explain {most_repeats} at the most")
    return told


def unrest(journal: Path, *, destinations: int) -> list[str]:
    """What is wrong with a journal that has come to rest, a line each."""
    with closing(apsw.Connection(str(journal), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        integrity = str(connection.execute("PRAGMA integrity_check(1)").get)
        incomplete = connection.execute(_INCOMPLETE, (destinations,)).get
    with closing(open_questions(f"sqlite:///{journal}")) as questions:
        owed = questions.owed()
    told = [] if integrity == "ok" else [f"integrity_check: {integrity}"]
    if incomplete:
        told.append(f"{incomplete} events do not have their {destinations} deliveries")
    return told + [
        f"{each.destination}: {each.pending} pending, {each.running} running, {each.dead} dead" for each in owed
    ]
