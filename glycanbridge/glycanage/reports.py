"""Report files: each is fetched from GlycanAge once, for all destinations that want it, and kept on the disk.

The vendor's page says of a report that it "is available for download" at a relative `reportUrl`, and neither what comes
nor for how long. So whatever is no whole PDF is refused, and waited for: a person can mend a setting meanwhile, and
GlycanAge its report.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from secrets import token_hex
from threading import Lock

from glycanbridge.delivery import Clock, Delivery, wall_clock
from glycanbridge.disk import make_folder, sync
from glycanbridge.errors import GlycanAgeError, NotYetError, PermanentError
from glycanbridge.events import ReportReady, parse
from glycanbridge.glycanage.addresses import report_url
from glycanbridge.glycanage.answers import Answer
from glycanbridge.glycanage.api import Api
from glycanbridge.glycanage_settings import GlycanAgeSettings, ReportSettings
from glycanbridge.retry import with_tries

log = logging.getLogger(__name__)

TRIES = 2
REMEMBERED_S = 20.0
"""For so long a failure is told again without asking: four destinations are one question."""
SHORTEST_WAIT_S, LONGEST_WAIT_S = 30.0, 3600.0
_ANY = ""
"""In place of a file's name: nobody answered in time, nor would for another file, and each would wait as long."""
_LOCKS = 32
"""Two reports share one now and then, and then one waits for the other."""
_OURS = re.compile(r"[0-9a-f]{64}\.pdf(\.[0-9a-f]{8})?")
"""Also one that a crash left half written; a folder may hold other people's files."""
_TRAILER_BYTES = 1024
"""Where a PDF's end must stand: within its last kilobyte (ISO 32000-1, Annex H, 3.4.4, note 18)."""


class Reports:
    """The report files of one account. It may be used by several threads at once."""

    def __init__(
        self,
        settings: GlycanAgeSettings,
        *,
        clock: Clock = wall_clock,
        seconds: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`clock` tells how long an event is waited for, `seconds` how long a failure is remembered."""
        self._settings = settings
        self._own = settings.reports
        self._clock, self._seconds, self._sleep = clock, seconds, sleep
        self._lock = Lock()
        self._fetching = [Lock() for _ in range(_LOCKS)]
        self._failed: dict[str, tuple[float, GlycanAgeError]] = {}
        self._api: Api | None = None

    def file_of(self, delivery: Delivery) -> bytes:
        """The report file of a delivery's event. Raises as `Delivery.report` says."""
        url = self._url(delivery)
        # Of all that the event is: an id may be the sender's, and another event's in another journal or account.
        told = b"\n".join((delivery.event_id.encode(), url.encode(), delivery.body))
        name = hashlib.sha256(told).hexdigest()
        file = self._own.directory / f"{name}.pdf"
        try:
            with self._fetching[int(name, 16) % len(self._fetching)]:
                kept = self._kept(file)
                return self._fetched(url, file, delivery) if kept is None else kept
        except GlycanAgeError as error:
            raise _missing(error, delivery, now_s=self._clock() / 1000, give_up_h=self._own.give_up_h) from None

    def tidy(self) -> None:
        """Remove what nobody has asked for in `keep_days`."""
        oldest_s = self._clock() / 1000 - timedelta(days=self._own.keep_days).total_seconds()
        for file in [*self._own.directory.glob("*.pdf*")]:
            try:
                if _OURS.fullmatch(file.name) and file.stat().st_mtime < oldest_s:
                    file.unlink(missing_ok=True)
            except OSError as error:
                log.warning("an old report in %s stays: %s", self._own.directory, error.strerror)

    def close(self) -> None:
        """Let go of connections."""
        if self._api is not None:
            self._api.close()

    def _url(self, delivery: Delivery) -> str:
        event = parse(delivery.body)
        if not isinstance(event, ReportReady):
            raise PermanentError(f"there is no report of a {delivery.event_type} event")
        try:
            return report_url(self._settings.base_url, event.data.report_url)
        except ValueError as error:
            raise PermanentError(f"the report cannot be fetched: {error}") from None

    def _kept(self, file: Path) -> bytes | None:
        try:
            content = file.read_bytes()
        except OSError:
            return None
        with suppress(OSError):  # it can be read all the same
            self._touch(file)
        return content if _trouble_with(content) is None else None

    def _fetched(self, url: str, file: Path, delivery: Delivery) -> bytes:
        self._raise_again(file.name)
        try:
            content = with_tries(lambda: self._ask(url), tries=TRIES, sleep=self._sleep)
        except GlycanAgeError as error:
            now_s = self._seconds()
            with self._lock:  # other reports fail at the same time
                recent = {name: told for name, told in self._failed.items() if now_s - told[0] < REMEMBERED_S}
                self._failed = recent | {_ANY if error.late else file.name: (now_s, error)}
            raise
        log.info("fetched a report of %d bytes", len(content), extra={"event": delivery.event_id})
        self._keep(content, file)
        return content

    def _raise_again(self, name: str) -> None:
        """Raise what was raised a moment ago for this file; or for any, if GlycanAge did not answer in time."""
        for failed_s, error in (self._failed[each] for each in (name, _ANY) if each in self._failed):
            if self._seconds() - failed_s < REMEMBERED_S:
                raise error

    def _ask(self, url: str) -> bytes:
        with self._lock:
            if self._api is None:
                self._api = Api(self._settings)
        answer = self._api.file(url, accept=self._own.accept, largest_bytes=self._own.max_bytes)
        trouble = _trouble_with(answer.body)
        if trouble is not None:
            raise GlycanAgeError(f"the report: {trouble}; {_came(answer)}: see glycanage.reports.accept")
        return answer.body

    def _keep(self, content: bytes, file: Path) -> None:
        """Keep it. Without room on the disk it is fetched again for the next one, and that is all."""
        partial = file.with_name(f"{file.name}.{token_hex(4)}")
        try:
            make_folder(file.parent)
            handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as opened:
                opened.write(content)
            self._touch(partial)
            sync(partial)
            partial.replace(file)
        except OSError as error:
            log.warning("a report cannot be kept in %s: %s", file.parent, error.strerror)
            with suppress(OSError):
                partial.unlink(missing_ok=True)

    def _touch(self, file: Path) -> None:
        """It was asked for now."""
        os.utime(file, (self._clock() / 1000,) * 2)


class NoReports:
    """What a bridge has that knows no account: nothing, and who asks waits until a person has mended that."""

    def __init__(self, *, clock: Clock = wall_clock) -> None:
        self._clock = clock

    def file_of(self, delivery: Delivery) -> bytes:
        """Raises `NotYetError`, and `PermanentError` in the end."""
        error = GlycanAgeError("the report: there is no `glycanage:` in bridge.yaml, which says where reports are")
        raise _missing(
            error, delivery, now_s=self._clock() / 1000, give_up_h=ReportSettings.model_fields["give_up_h"].default
        )

    def tidy(self) -> None:
        """There is nothing."""

    def close(self) -> None:
        """There is nothing."""


def open_reports(settings: GlycanAgeSettings | None) -> Reports | NoReports:
    """The report files of the account in `bridge.yaml`, if there is one. Nobody is asked yet."""
    return NoReports() if settings is None else Reports(settings)


def _missing(
    error: GlycanAgeError, delivery: Delivery, *, now_s: float, give_up_h: float
) -> NotYetError | PermanentError:
    """What follows for a delivery: it waits, ever longer, until it has waited for long enough."""
    waited_s = max(0.0, now_s - delivery.received_at.timestamp())
    if waited_s >= give_up_h * 3600:
        return PermanentError(f"{error}; it was waited for {give_up_h:g} h (glycanage.reports.give_up_h)")
    wait_s = min(max(waited_s / 4, SHORTEST_WAIT_S), LONGEST_WAIT_S)
    return NotYetError(str(error), retry_after_s=max(wait_s, error.retry_after_s or 0.0))


def _trouble_with(content: bytes) -> str | None:
    """Why this is no whole PDF, if so."""
    if not content.startswith(b"%PDF-"):
        return "it is no PDF"
    if b"%%EOF" not in content[-_TRAILER_BYTES:]:
        return "it is cut off, its end is missing"
    return None


def _came(answer: Answer) -> str:
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    known = {"application/json", "text/html", "text/plain", "application/pdf", "application/octet-stream"}
    return f"{len(answer.body):,} bytes came, as {kind if kind in known else 'something else'}"
