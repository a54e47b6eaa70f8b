"""The whole system in two methods: `accept` takes an event in, `deliver_next` hands one on."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from glycanbridge.dead_letters import DeadLetters
from glycanbridge.delivery import Delivery, Outcome, State, settle
from glycanbridge.destinations import Destination, Destinations
from glycanbridge.errors import DeadLetterError, JournalUnavailable, ParseError
from glycanbridge.events import event_id, parse
from glycanbridge.journal import Journal, NewEvent
from glycanbridge.retry import insist
from glycanbridge.signature import verify

log = logging.getLogger(__name__)


class Accepted(NamedTuple):
    """What became of a signed body: `accepted`, `duplicate` or `quarantined`, and the id it is kept under."""

    status: str
    id: str


class Bridge:
    """GlycanAge on one side, the destinations on the other, the journal in between."""

    def __init__(
        self,
        *,
        secrets: Sequence[str],
        journal: Journal,
        destinations: Destinations,
        dead_letters: DeadLetters,
    ) -> None:
        self.journal = journal
        self.destinations = destinations
        self._secrets = secrets
        self._dead_letters = dead_letters

    def accept(self, body: bytes, signature: str | None) -> Accepted:
        """Keep a signed body for good: once this returns, GlycanAge may forget it.

        Raises `SignatureError` if it is not GlycanAge's, `JournalUnavailable` or `DeadLetterError` if it cannot be
        kept now; then nothing of it was kept.
        """
        verify(body, signature, self._secrets)
        try:
            event, identity = parse(body), event_id(body)
        except ParseError as error:
            return Accepted("quarantined", self._dead_letters.quarantine(body, reason=str(error)).id)
        owed_to = self.destinations.owed(event)
        recorded = self.journal.record(NewEvent(event=event, id=identity, body=body, owed_to=owed_to))
        return Accepted("duplicate" if recorded.duplicate else "accepted", recorded.event_id)

    def deliver_next(self, destination: Destination) -> bool:
        """Make one attempt at the delivery that `destination` has been owed longest; `False` if none is due."""
        due = self.journal.claim(destination.name, limit=1, lease_s=destination.lease_s)
        for delivery in due:
            started = time.monotonic()
            outcome = destination.deliver(delivery)
            settlement = settle(outcome, destination.wait_s(delivery.attempt))
            if settlement.state is State.DEAD:
                self._bury(destination, delivery, outcome)
            took_ms = int((time.monotonic() - started) * 1000)
            told = {"delivery": delivery.id, "attempt": delivery.attempt, "took_ms": took_ms, "error": outcome.error}
            # An outcome that is not written down is an attempt made twice: insist, as long as the claim holds.
            keep = partial(self.journal.settle, delivery, outcome, settlement, took_ms=took_ms)
            if not insist(keep, on=JournalUnavailable, for_s=destination.lease_s):
                log.warning("outcome dropped: the lease was lost", extra=told)
            elif settlement.state is not State.DELIVERED:
                log.warning("attempt failed: %s", settlement.state, extra=told)
        return bool(due)

    def _bury(self, destination: Destination, delivery: Delivery, outcome: Outcome) -> None:
        try:
            self._dead_letters.bury(delivery, plugin=destination.settings.plugin, reason=outcome.error or "")
        except DeadLetterError as error:  # the delivery stays in the journal as dead, body and all
            log.error(str(error), extra={"delivery": delivery.id})  # noqa: TRY400
