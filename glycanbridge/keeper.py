"""Looks after what lanes hold and leave behind: leases, dead letters that could not be written, old report files.

It also notes in the journal which secrets the bridge takes and which have signed, out of every request's way.
One thread, which sleeps nearly always.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

from glycanbridge.dead_letters import DeadLetter, DeadLetters
from glycanbridge.delivery import State
from glycanbridge.destinations import Destinations
from glycanbridge.errors import DeadLetterError, JournalUnavailable, without_text
from glycanbridge.glycanage.notes import SecretNotes
from glycanbridge.glycanage.reports import NoReports, Reports
from glycanbridge.journal import Journal
from glycanbridge.replays import is_event_of

log = logging.getLogger(__name__)

LETTERS_EVERY_S = 30.0
TIDY_EVERY_S = 3600.0
LONGEST_NAP_S = 20.0
STOP_S = 5.0
"""Reading very many dead letters must not keep the bridge from stopping."""


class Keeper:
    """Keeps leases alive, the directory of dead letters in step with the journal, and what is noted of secrets."""

    def __init__(
        self,
        *,
        journal: Journal,
        destinations: Destinations,
        dead_letters: DeadLetters,
        reports: Reports | NoReports | None = None,
        notes: SecretNotes | None = None,
    ) -> None:
        self._journal = journal
        self._destinations = destinations
        self._dead_letters = dead_letters
        self._reports = reports
        self._tidying: threading.Thread | None = None
        self._notes = notes
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)

    def start(self) -> None:
        """Let it run."""
        self._thread.start()

    def stop(self) -> None:
        """Let it end. Leases are renewed no longer: stop the lanes first."""
        self._stopping.set()
        self._thread.join(STOP_S)

    def write_owed_letters(self) -> None:
        """Write the dead letters that could not be written when their deliveries died, as far as that can be done."""
        while owed_letters := self._journal.owed_letters():
            for owed in owed_letters:
                destination = self._destinations.get(owed.delivery.destination)
                plugin = destination.settings.plugin if destination else ""
                self._dead_letters.bury(owed.delivery, plugin=plugin, reason=owed.reason)
                self._journal.letter_written(owed.delivery)

    def remove_settled_letters(self) -> None:
        """Remove the dead letters of what was delivered after all, just before the process was killed."""
        for letter in self._dead_letters.letters():
            if self._stopping.is_set():
                return
            if isinstance(letter, DeadLetter) and letter.event_id is not None and self._was_delivered(letter):
                self._dead_letters.remove(letter.id, received_at=letter.received_at)

    def note_secrets(self) -> None:
        """Note which secrets are taken, and which have signed, as far as that is news."""
        if self._notes is not None:
            self._notes.write()

    def _was_delivered(self, letter: DeadLetter) -> bool:
        rows = self._journal.deliveries_of(letter.event_id or "")
        delivered = any(row.destination == letter.destination and row.state is State.DELIVERED for row in rows)
        return delivered and is_event_of(letter, self._journal)

    def _run(self) -> None:
        shortest_lease_s = min((each.terms.lease_s for each in self._destinations.values()), default=LONGEST_NAP_S)
        nap_s = min(shortest_lease_s / 3, LONGEST_NAP_S)
        letters_at = tidy_at = time.monotonic()
        self._whatever_happens(self.note_secrets)
        self._whatever_happens(self.remove_settled_letters)
        while not self._stopping.is_set():
            self._whatever_happens(self._journal.renew)
            self._whatever_happens(self.note_secrets)
            if time.monotonic() >= letters_at:
                self._whatever_happens(self.write_owed_letters)
                letters_at = time.monotonic() + LETTERS_EVERY_S
            if self._reports is not None and time.monotonic() >= tidy_at:
                self._tidy(self._reports)
                tidy_at = time.monotonic() + TIDY_EVERY_S
            self._stopping.wait(nap_s)
        self._whatever_happens(self.note_secrets)  # an event may come once a week

    def _tidy(self, reports: Reports | NoReports) -> None:
        """Beside all else: reports may lie on a network disk that hangs, and leases must be renewed all the same."""
        if self._tidying is None or not self._tidying.is_alive():
            work = partial(self._whatever_happens, reports.tidy)
            self._tidying = threading.Thread(target=work, name="tidy", daemon=True)
            self._tidying.start()

    def _whatever_happens(self, work: Callable[[], None]) -> None:
        try:
            work()
        except (DeadLetterError, JournalUnavailable) as error:
            log.warning("looked after later: %s", error)
        except Exception as error:
            log.error("the keeper failed and goes on: %s", without_text(error))  # noqa: TRY400
