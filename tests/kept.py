"""Is everything that was answered 200 still there, and all that is there whole? Looked at as the next start would."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import apsw
from serving import Answer, Serving, sample

from glycanbridge.dead_letters import DeadLetters
from glycanbridge.errors import DeadLetterError, GlycanBridgeError
from glycanbridge.identity import event_id
from glycanbridge.journal import Filter
from glycanbridge.journals.opening import open_journal


class Sender:
    """Sends events, each another one, and keeps the books."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._numbers = itertools.count()
        self.bodies: dict[str, bytes] = {}
        self.kept: dict[str, str] = {}

    def send(self) -> Answer:
        """Post the next event."""
        body = sample(timestamp=next(self._numbers), data={"note": "x" * 1000})
        self.bodies[event_id(body).id] = body
        answer = self._serving.post(body)
        if answer.status == 200:
            self.kept[answer.told["id"]] = answer.told["status"]
        return answer

    def send_many(self, count: int) -> list[int]:
        """Post so many events, four at a time; their answers' statuses."""
        with ThreadPoolExecutor(4) as threads:
            return [answer.status for answer in threads.map(lambda _: self.send(), range(count))]

    def lost(self) -> list[str]:
        """What is missing or broken, now that the server is gone."""
        return damage(self._serving.folder / "var", self.kept, self.bodies)


def damage(var: Path, promised: dict[str, str], bodies: dict[str, bytes]) -> list[str]:
    """What is missing of what was `promised` (ids and statuses), and what is broken: a line each.

    `bodies` are all that were sent, by their ids. Every event must have one delivery.
    """
    kept, journal = {}, var / "journal.db"
    try:
        with closing(open_journal(f"sqlite:///{journal}")) as opened:
            kept = {event.id: event.body for event in opened.events(Filter(limit=100_000))}
            owed = [delivery.event_id for delivery in opened.deliveries(Filter(limit=100_000))]
        with closing(apsw.Connection(str(journal))) as connection:
            told = [] if connection.pragma("integrity_check") == "ok" else ["the journal is corrupt"]
        told += [] if sorted(owed) == sorted(kept) else ["an event without its delivery"]
    except (GlycanBridgeError, apsw.Error) as error:
        told = [f"the journal cannot be opened: {error}"]
    for letter in DeadLetters(var / "dead-letters").letters():
        if isinstance(letter, DeadLetterError):
            told.append(str(letter))
        else:
            kept[letter.id] = letter.body
    told += [f"{status} {each} is lost" for each, status in promised.items() if each not in kept]
    return told + [f"{each} is not what was sent" for each, body in kept.items() if bodies.get(each) != body]
