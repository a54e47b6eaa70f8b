"""The whole system in two methods: `accept` takes an event in, `deliver_next` hands one on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

from glycanbridge.dead_letters import DeadLetters
from glycanbridge.delivery import Claim, Delivery, Outcome, State
from glycanbridge.destinations import Destination, Destinations
from glycanbridge.errors import DeadLetterError, ParseError
from glycanbridge.events import event_id, parse
from glycanbridge.journal import Journal, NewEvent
from glycanbridge.lanes import Lane
from glycanbridge.settling import Settling
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

    def deliver_next(self, lane: Lane) -> bool:
        """Make the lane's next attempts, at what its destination has been owed longest; `False` if nothing is due.

        A batch is claimed in one commit. Each outcome is on its way to the disk while the next attempt is made, and all
        of them are there when this returns. The first failure ends the batch: the rest is put back as it was.
        """
        claims = self.journal.claim(lane.destination.name, limit=lane.batch, terms=lane.destination.terms)
        settling: list[Settling] = []
        try:
            for claim in claims:
                outcome = lane.deliver(claim)
                settling.append(self._settle(lane, claim, outcome))
                if outcome.result.failed or lane.stopping.is_set():
                    break
            self.journal.release(claims[len(settling) :])
            for each in settling:
                if each.wait(until=lane.stopping) is State.DELIVERED and each.claim.has_letter:
                    self._dead_letters.remove_of(each.claim.delivery)
        finally:
            self.journal.let_go(claims)
        return bool(claims)

    def _settle(self, lane: Lane, claim: Claim, outcome: Outcome) -> Settling:
        """Send an outcome on its way to the disk; the dead letter of a dead one is there before."""
        settlement = lane.destination.settlement(claim, outcome)
        letter = settlement.state is State.DEAD and self._bury(lane.destination, claim.delivery, outcome)
        return Settling(
            self.journal, claim, outcome, settlement, took_s=lane.took_s, terms=lane.destination.terms, letter=letter
        )

    def _bury(self, destination: Destination, delivery: Delivery, outcome: Outcome) -> bool:
        try:
            self._dead_letters.bury(delivery, plugin=destination.settings.plugin, reason=outcome.error or "")
        except DeadLetterError as error:  # the delivery stays in the journal as dead, and the file is written later
            log.error(str(error), extra={"delivery": delivery.id})  # noqa: TRY400
            return False
        return True
