"""An outcome on its way to the disk: sent at once, waited for later, insisted on while the journal is in trouble.

An outcome that is not written down is an attempt made twice.
"""

from __future__ import annotations

import logging
import threading
from functools import partial

from glycanbridge.delivery import Claim, Outcome, Settlement, State
from glycanbridge.errors import JournalUnavailable
from glycanbridge.journal import Journal, Terms
from glycanbridge.retry import insist

log = logging.getLogger(__name__)


class Settling:
    """One attempt's outcome, given to the journal and not yet known to be on disk."""

    def __init__(
        self,
        journal: Journal,
        claim: Claim,
        outcome: Outcome,
        settlement: Settlement,
        *,
        took_s: float,
        terms: Terms,
        letter: bool,
    ) -> None:
        self.claim = claim
        self._settlement = settlement
        took_ms = int(took_s * 1000)
        self._send = partial(journal.settle, claim, outcome, settlement, took_ms=took_ms, terms=terms, letter=letter)
        self._sent = [self._send()]
        delivery = claim.delivery
        self._told = {"delivery": delivery.id, "attempt": delivery.attempt, "took_ms": took_ms, "error": outcome.error}

    def wait(self, *, until: threading.Event) -> State | None:
        """Return when it is on disk: the delivery's state; `None` if the lease was lost, and with it the outcome.

        Raises `JournalUnavailable` if the journal could not take it `until` we are told to stop.
        """
        if not insist(self._on_disk, on=JournalUnavailable, until=until):
            log.warning("outcome dropped: the lease was lost", extra=self._told)
            return None
        if self._settlement.state is not State.DELIVERED:
            log.warning("attempt failed: %s", self._settlement.state, extra=self._told)
        return self._settlement.state

    def _on_disk(self) -> bool:
        """Wait for what was sent, or send it once more."""
        return (self._sent.pop() if self._sent else self._send())()
