"""The whole system in two methods: `accept` takes an event in, `deliver_next` hands one on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from glycanbridge.announcements import Announcer
from glycanbridge.dead_letters import DeadLetters
from glycanbridge.delivery import Claim, Delivery, Ended, Outcome, State
from glycanbridge.destinations import Destination, Destinations
from glycanbridge.errors import DeadLetterError, JournalUnavailable, ParseError
from glycanbridge.events import parse
from glycanbridge.hosts import Made
from glycanbridge.identity import event_id
from glycanbridge.journal import Journal, NewEvent
from glycanbridge.lanes import Lane
from glycanbridge.retry import insist
from glycanbridge.signature import Secrets
from glycanbridge.turns import aside

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
        announcer: Announcer | None = None,
    ) -> None:
        self.journal, self.destinations, self._dead_letters = journal, destinations, dead_letters
        self.secrets, self._announcer = Secrets(secrets), announcer or Announcer(destinations)

    def accept(self, body: bytes, signature: str | None) -> Accepted:
        """Keep a signed body for good: once this returns, GlycanAge may forget it.

        Raises `SignatureError` if it is not GlycanAge's, `JournalUnavailable` or `DeadLetterError` if it cannot be
        kept now; then nothing of it was kept.
        """
        self.secrets.verify(body, signature)
        try:
            event, identity = parse(body), event_id(body)
        except ParseError as error:
            quarantine = partial(self._dead_letters.quarantine, body, reason=str(error))
            return Accepted("quarantined", aside(quarantine).id)
        owed_to = self.destinations.owed(event)
        recorded = self.journal.record(NewEvent(event=event, id=identity, body=body, owed_to=owed_to))
        return Accepted("duplicate" if recorded.duplicate else "accepted", recorded.event_id)

    def deliver_next(self, lane: Lane) -> bool:
        """Make the lane's next attempts, at what its destination has been owed longest; `False` if nothing is due.

        A batch is claimed in one commit and settled in one. A failure ends it, and the rest is put back.
        """
        destination = lane.destination
        claims = self.journal.claim(destination.name, limit=lane.batch, terms=destination.terms)
        try:
            ended = [self._ended(destination, claim, made) for claim, made in lane.deliver(claims)]
            # An outcome that is not written down is an attempt made twice: insist, until we are told to stop.
            settle = partial(self.journal.settle, ended, terms=destination.terms, deaths=self._announcer.deaths(ended))
            kept = insist(settle, on=JournalUnavailable, until=lane.stopping)
            begun = {each.claim.row for each in ended}
            self.journal.release([each for each in claims if each.row not in begun])
            for each, is_kept in zip(ended, kept, strict=True):
                self._announcer.settled(each, kept=is_kept)
                if is_kept and each.claim.has_letter and each.settlement.state is State.DELIVERED:
                    self._dead_letters.remove_of(each.claim.delivery)
        finally:
            self.journal.let_go(claims)
        return bool(claims)

    def _ended(self, destination: Destination, claim: Claim, made: Made) -> Ended:
        """What follows from an attempt; the dead letter of one that dies of it is there before the journal knows."""
        outcome, took_ms = made.outcome, int(made.took_s * 1000)
        settlement = destination.settlement(claim, outcome)
        letter = settlement.state is State.DEAD and self._bury(destination, claim.delivery, outcome)
        return Ended(claim=claim, outcome=outcome, settlement=settlement, took_ms=took_ms, letter=letter)

    def _bury(self, destination: Destination, delivery: Delivery, outcome: Outcome) -> bool:
        try:
            self._dead_letters.bury(delivery, plugin=destination.settings.plugin, reason=outcome.error or "")
        except DeadLetterError as error:  # the delivery stays in the journal as dead, and the file is written later
            log.error(str(error), extra={"delivery": delivery.id})  # noqa: TRY400
            return False
        return True
