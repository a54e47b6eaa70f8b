"""Compares GlycanAge's list with the journal every few hours, and makes the events that never came.

A thread of its own, where `glycanage.reconcile_every_h` says so; a bridge without it has none. It is never in the way:
it begins minutes after the start, halts between pages, and whatever fails is one line in the log and a later try.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from contextlib import closing

from glycanbridge.delivery import Clock, wall_clock
from glycanbridge.destinations import Destinations
from glycanbridge.errors import GlycanAgeError, JournalError, without_text
from glycanbridge.glycanage.api import Api
from glycanbridge.glycanage_settings import GlycanAgeSettings, ListSettings
from glycanbridge.journal import Filter, Journal
from glycanbridge.reconciling.comparing import Comparison, compare
from glycanbridge.reconciling.listing import listed
from glycanbridge.reconciling.making import keep
from glycanbridge.reconciling.rows import REPORTS, Row, read_instant

log = logging.getLogger(__name__)

FIRST_WAIT_S = (120.0, 600.0)
"""After the start, between these: bridges that were started together must not all ask at once."""
LONGEST_WAIT_AFTER_FAILURE_S = 3600.0
GRACE_MS = 3_600_000
"""A younger report is left for later: GlycanAge may still be about to tell it, for the first time or once more."""
BEFORE_THE_FIRST_MS = 7 * 86_400_000
"""What is older than this when the first event comes was there before the bridge: nobody wants the results of years at
once, and as news. `glycanbridge reconcile --api` makes them for who does."""
NAP_S = 0.01
"""Between two pages, of the list or of the journal: receiving and delivering go first."""
STOP_S = 1.0


class Reconciler:
    """Compares every so many hours, if it is told to."""

    def __init__(
        self,
        settings: GlycanAgeSettings | None,
        *,
        journal: Journal,
        destinations: Destinations,
        clock: Clock = wall_clock,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        """`wait`: waits so many seconds, or until it is to stop, and tells whether it is."""
        self._settings = settings
        self._journal, self._destinations = journal, destinations
        self._clock = clock
        self._stopping = threading.Event()
        self._wait = wait or self._stopping.wait
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Let it run, if `glycanage.reconcile_every_h` is set."""
        if self._settings is not None and self._settings.reconcile_every_h is not None:
            self._thread = threading.Thread(
                target=self._run, args=(self._settings.reconcile_every_h * 3600,), name="reconciler", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """Let it end, soon: what it has not made yet, the next start makes."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(STOP_S)

    def reconcile(self, settings: GlycanAgeSettings, listing: ListSettings) -> Comparison:
        """Compare once, and make what is missing.

        What contradicts the journal is left to a person. Raises `GlycanAgeError` and `JournalUnavailable`.
        """
        with closing(Api(settings)) as api:
            since, until = self._begin(), self._clock() - GRACE_MS
            every = listed(api, listing, REPORTS, pause=self._pause)
            rows = (each for each in every if not _may_be_after(each, until))
            found = compare(
                rows,
                kind=REPORTS,
                journal=self._journal,
                since=since,
                until=until,
                pause=self._pause,
                clock=self._clock,
            )
        for made in found.missing:
            self._pause()
            if not keep(made, journal=self._journal, destinations=self._destinations).duplicate:
                log.warning("made the event of a report that GlycanAge never told", extra={"event_id": made.id})
        contradicting, incomplete = found.count("contradicts"), found.count("incomplete")
        if contradicting or incomplete:
            log.warning(
                "%d reports that GlycanAge lists contradict what the journal holds, and %d lack something: "
                "none of them was made, and `glycanbridge reconcile --api` shows them",
                contradicting,
                incomplete,
            )
        log.info("compared with GlycanAge's list: %d reports held, %d missing", found.held, len(found.missing))
        return found

    def _begin(self) -> int:
        """From when on what is missing is made: nothing is while no event has come at all."""
        first = next((page[0] for page in self._journal.pages(Filter())), None)
        return self._clock() if first is None else first.received_at - BEFORE_THE_FIRST_MS  # it may tell of years ago

    def _run(self, every_s: float) -> None:
        wait_s = random.uniform(*FIRST_WAIT_S)  # noqa: S311 (no secret)
        while not self._wait(wait_s):
            done = self._whatever_happens()
            wait_s = every_s if done else min(every_s, LONGEST_WAIT_AFTER_FAILURE_S)
            wait_s *= random.uniform(0.95, 1.05)  # noqa: S311

    def _whatever_happens(self) -> bool:
        """Whether it was compared."""
        settings = self._settings
        if settings is None or settings.report_list is None:  # `reconcile_every_h` is not taken without
            return True
        try:
            self.reconcile(settings, settings.report_list)
        except _StopsError:
            return False
        except (GlycanAgeError, JournalError) as error:
            if not self._stopping.is_set():
                log.warning("not compared with GlycanAge's list, which is done later: %s", error)
            return False
        except Exception as error:
            log.error("not compared with GlycanAge's list, which is done later: %s", without_text(error))  # noqa: TRY400
            return False
        return True

    def _pause(self) -> None:
        if self._stopping.wait(NAP_S):
            raise _StopsError


def _may_be_after(row: Row, ms: int) -> bool:
    """Whether it may have come to be after this: a day, or a time in a zone that nobody has told, is not exact."""
    at = read_instant(row.values.get(REPORTS.at))
    return at is not None and at.over_ms > ms


class _StopsError(Exception):
    """The bridge stops: what is not done is left."""
