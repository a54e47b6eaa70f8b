"""Sends again what a person chooses: dead letters, past events, single deliveries. The bridge itself need not run.

Whatever is chosen becomes deliveries in the journal, which a serving bridge makes like any other. So nothing here is
lost halfway, and doing it twice does no harm.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from glycanbridge.bridge_events import parse_kept
from glycanbridge.dead_letters import DeadLetter, DeadLetters
from glycanbridge.delivery import State
from glycanbridge.destinations import Destinations
from glycanbridge.errors import DeadLetterError
from glycanbridge.event_types import BRIDGE_EVENT_TYPES, DELIVERY_DEAD
from glycanbridge.events import parse
from glycanbridge.identity import event_id
from glycanbridge.journal import DeliveryRow, EventRow, Filter, Journal, NewEvent, Questions, Replay


def replay_letter(
    letter: DeadLetter, *, journal: Journal, destinations: Destinations, dead_letters: DeadLetters, who: str
) -> str:
    """Send one dead letter again; what became of it, in a few words.

    A delivery becomes pending, also if the journal was lost: then its event is recorded from the letter. Its
    file goes when it has been delivered. A quarantined body becomes an ordinary event, and its file goes at once.

    Raises `ParseError` if the body is (still) not understood, `DeadLetterError` if it is not the body of its event, or
    the file cannot be removed, `JournalUnavailable` if the journal cannot take it now. The letter is left then.
    """
    if letter.kind == "quarantine":
        return _understand(letter, journal=journal, destinations=destinations, dead_letters=dead_letters, who=who)
    destination = letter.destination or ""
    kept_as = _event_of(letter, journal)
    rows = {row.destination: row for row in journal.deliveries_of(kept_as)}
    row = rows.get(destination)
    if row is not None and row.state is State.DELIVERED:
        dead_letters.remove(letter.id, received_at=letter.received_at)
        return "was delivered already; the file is removed"
    again = _replay(kept_as, letter.body, destination, destinations, was=row, has_letter=True)
    if not journal.replay([again], who=who):
        return "is due or running already; its file goes once it is delivered"
    if kept_as != letter.event_id:  # its id was another event's in the journal that was lost
        dead_letters.remove(letter.id, received_at=letter.received_at)
    return "is due now" if destination in destinations else f"waits: {destination} is not in bridge.yaml"


def discard_letter(letter: DeadLetter, *, journal: Journal, dead_letters: DeadLetters, who: str, reason: str) -> None:
    """Remove a dead letter for good; the journal remembers who did it, and why.

    Raises `DeadLetterError` if the file cannot be removed, `JournalUnavailable` if the journal cannot take it now.
    """
    delivery_id = f"{letter.event_id}:{letter.destination}"
    if not journal.discard(delivery_id, who=who, reason=reason):  # a body that is no event, or a journal that is new
        journal.note(who=who, what="discard", about=letter.id, reason=reason)
    dead_letters.remove(letter.id, received_at=letter.received_at)


def chosen_deliveries(which: Filter, *, questions: Questions, destinations: Destinations) -> list[Replay]:
    """The deliveries that fit, to be made again: the dead ones, unless the filter names another state.

    What a person has discarded is not among them.
    """
    state = which.state or State.DEAD
    return [
        _replay(event.id, event.body, row.destination, destinations, was=row)
        for page in questions.pages(replace(which, state=state))
        for event in page
        for row in questions.deliveries_of(event.id)
        if row.state is state and which.destination in {None, row.destination} and not row.discarded
    ]


def chosen_events(
    which: Filter, names: Sequence[str], *, questions: Questions, destinations: Destinations
) -> list[Replay]:
    """The events that fit, to be delivered (again) to each of the destinations named that takes them.

    The bridge's own are among them only if the filter names their type: a past alarm is no result.
    """
    return [
        _replay(event.id, event.body, name, destinations)
        for page in questions.pages(replace(which, destination=None))
        for event in page
        if which.type is not None or event.type not in BRIDGE_EVENT_TYPES
        for name in takers(event, names, destinations)
    ]


def takers(event: EventRow, names: Sequence[str], destinations: Destinations) -> list[str]:
    """Which of the destinations named take an event; of an alarm, all but the one that it is about."""
    gave_up = json.loads(event.body)["data"]["destination"] if event.type == DELIVERY_DEAD else None
    return [name for name in names if name != gave_up and destinations[name].takes(event.type, event.practice_id)]


def replay_of(
    event: EventRow, destination: str, destinations: Destinations, *, was: DeliveryRow | None = None
) -> Replay:
    """One event to one destination; `was`: the delivery that a person has in mind, as it was seen."""
    return _replay(event.id, event.body, destination, destinations, was=was)


def _understand(
    letter: DeadLetter, *, journal: Journal, destinations: Destinations, dead_letters: DeadLetters, who: str
) -> str:
    event = parse(letter.body)
    owed_to = destinations.owed(event)
    recorded = journal.record(
        NewEvent(
            event=event, id=event_id(letter.body), body=letter.body, owed_to=owed_to, received_at=_received(letter)
        )
    )
    journal.note(who=who, what="replay", about=letter.id, reason=f"it is the event {recorded.event_id}")
    dead_letters.remove(letter.id, received_at=letter.received_at)
    if recorded.duplicate:
        return f"is the event {recorded.event_id}, which was there already"
    return f"is the event {recorded.event_id}, owed to {', '.join(owed_to) or 'nobody'}"


def is_event_of(letter: DeadLetter, questions: Questions) -> bool:
    """Whether the journal's event of this id is the one in the letter, and not another one that was given the id."""
    rows = [row for row in questions.event(letter.event_id or "") if row.id == letter.event_id]
    return any(event_id(row.body).digest == event_id(letter.body).digest for row in rows)


def _event_of(letter: DeadLetter, journal: Journal) -> str:
    """The id under which the journal keeps the letter's event; it is recorded anew if the journal was lost."""
    identity = event_id(letter.body)
    if letter.event_id not in {identity.id, identity.hash}:
        raise DeadLetterError(f"dead letter {letter.id}: its body is not that of the event {letter.event_id}")
    if is_event_of(letter, journal):
        return letter.event_id or ""
    event = parse_kept(letter.body)
    new = NewEvent(event=event, id=identity, body=letter.body, owed_to={}, received_at=_received(letter))
    return journal.record(new).event_id


def _replay(
    kept_as: str,
    body: bytes,
    name: str,
    destinations: Destinations,
    *,
    was: DeliveryRow | None = None,
    has_letter: bool = False,
) -> Replay:
    destination = destinations.get(name)
    ordered = destination is not None and destination.settings.ordered_by is not None
    keys = destination.order_keys(parse_kept(body)) if destination is not None and ordered else ()
    chosen = None if was is None else (was.state, was.attempts)
    return Replay(event_id=kept_as, destination=name, order_keys=keys, has_letter=has_letter, chosen=chosen)


def _received(letter: DeadLetter) -> int:
    return int(datetime.fromisoformat(letter.received_at).timestamp() * 1000)
