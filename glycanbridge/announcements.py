"""What the bridge tells of its own deliveries: which of them it has given up, and how each attempt has ended.

A delivery's end is an event like GlycanAge's: journaled in the commit that ends it, owed to every other destination
that takes it, delivered at least once. How an attempt ended is told once, from memory.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from glycanbridge.attempt import kept_text
from glycanbridge.bridge_events import parse_kept
from glycanbridge.delivery import Claim, Clock, Delivery, Ended, State, wall_clock
from glycanbridge.destinations import Destinations
from glycanbridge.errors import ParseError
from glycanbridge.event_types import BRIDGE_EVENT_TYPES, DELIVERY_DEAD, DELIVERY_SETTLED
from glycanbridge.identity import event_id
from glycanbridge.journal import NewEvent

log = logging.getLogger(__name__)


class Announcer:
    """Tells what becomes of deliveries: the log, whom it is owed to, and `tell`, which returns at once."""

    def __init__(
        self,
        destinations: Destinations,
        *,
        clock: Clock = wall_clock,
        tell: Callable[[Ended], None] = lambda _ended: None,
    ) -> None:
        self._destinations = destinations
        self._clock = clock
        self._tell = tell

    def settled(self, ended: Ended, *, kept: bool) -> None:
        """An attempt has been settled; or not (`kept`), because its lease was lost."""
        if not kept:
            log.warning("outcome dropped: the lease was lost", extra=ended.told)
            return
        if ended.settlement.state is not State.DELIVERED:
            log.warning("attempt failed: %s", ended.settlement.state, extra=ended.told)
        self._tell(ended)

    def deaths(self, ended: Iterable[Ended]) -> dict[int, NewEvent]:
        """The events to be recorded with those of the attempts that end a delivery, by the rows of their claims."""
        told = {each.claim.row: self._death(each) for each in ended if each.settlement.state is State.DEAD}
        return {row: event for row, event in told.items() if event is not None}

    def _death(self, ended: Ended) -> NewEvent | None:
        """`None` if nobody takes it, or what was given up tells of an end itself: none ever causes one of its kind."""
        delivery, now = ended.claim.delivery, self._clock()
        if delivery.event_type in BRIDGE_EVENT_TYPES:
            return None
        told = {
            "plugin": self._destinations[delivery.destination].settings.plugin,
            "attempts": delivery.attempt,
            "reason": kept_text(ended.outcome.error or ""),
            "receivedAt": _milliseconds(delivery.received_at),
        }
        body = _body(DELIVERY_DEAD, ended.claim, told, now)
        event = parse_kept(body)
        practice_id = event.practice_id or None  # of a damaged event nobody knows: then all are told who take alarms
        owed_to: dict[str, tuple[str, ...]] = {
            name: ()
            for name, each in self._destinations.items()
            if name != delivery.destination and each.takes(DELIVERY_DEAD, practice_id)
        }
        return NewEvent(event=event, id=event_id(body), body=body, owed_to=owed_to) if owed_to else None


def settled(ended: Ended, *, now: int) -> Delivery:
    """How an attempt ended, as it is told (`now`, in milliseconds); its destination is still that of the attempt."""
    delivery, outcome = ended.claim.delivery, ended.outcome
    told = {
        "attempt": delivery.attempt,
        "outcome": outcome.result,
        "state": ended.settlement.state,
        "error": outcome.error and kept_text(outcome.error),
        "receipt": outcome.receipt and kept_text(outcome.receipt),
        "tookMs": ended.took_ms,
    }
    return replace(
        delivery,
        id=f"{delivery.id}:{delivery.attempt}",
        event_type=DELIVERY_SETTLED,
        attempt=1,
        received_at=datetime.fromtimestamp(now / 1000, UTC),
        body=_body(DELIVERY_SETTLED, ended.claim, told, now),
    )


def told_to(told: Delivery, name: str) -> Delivery:
    """The same as a destination of this name is told it."""
    return replace(told, id=f"{told.id}:{name}", destination=name)


def _body(event_type: str, claim: Claim, told: dict[str, Any], now: int) -> bytes:
    delivery = claim.delivery
    practice_id, kit_code = _whose(claim)
    about = {
        "deliveryId": delivery.id,
        "eventId": delivery.event_id,
        "eventType": delivery.event_type,
        "destination": delivery.destination,
        "practiceId": practice_id,
        "kitCode": kit_code,
    }
    return json.dumps({"type": event_type, "timestamp": now, "data": about | told}).encode()


def _whose(claim: Claim) -> tuple[str, str | None]:
    """The practice and the kit of the event; nothing of one that is damaged: another's may stand there now."""
    try:
        event = parse_kept(claim.delivery.body) if claim.whole else None
    except ParseError:  # kept by a version that understood it
        event = None
    return ("", None) if event is None else (event.practice_id, next(iter(event.kit_codes), None))


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
