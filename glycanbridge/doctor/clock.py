"""The clock of this machine, held against the newest event, GlycanAge's clock, and the year of this program."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial

from glycanbridge.doctor.asking import Seen, look, way_out, within
from glycanbridge.doctor.facts import Facts
from glycanbridge.doctor.findings import Finding, note, ok, problem, warning
from glycanbridge.errors import JournalError, JournalMissing
from glycanbridge.event_types import EVENT_TYPES
from glycanbridge.journal import EventRow, Filter
from glycanbridge.journals import open_questions

RELEASED = datetime(2026, 1, 1, tzinfo=UTC)
"""No clock can be right that is before this."""
ODD_S, WRONG_S = 30.0, 300.0
SILENT_DAYS = 14
_SET = "set it: `timedatectl set-ntp true` on most Linux systems; the bridge moves what waits by as much"
_ABOUT = "this machine's clock"


def clock(facts: Facts) -> Iterator[Finding]:
    """The clock, as far as it can be told without asking anybody."""
    now_ms = facts.machine.clock()
    if now_ms < RELEASED.timestamp() * 1000:
        yield problem("clock.year", _ABOUT, f"it says {_date(now_ms)}, which is before this program was made", _SET)
    try:
        newest = newest_event(facts)
    except JournalError:  # the journal's own finding tells it
        return
    if newest is None:
        return
    ahead_s = (max(newest.timestamp, newest.received_at) - now_ms) / 1000
    if ahead_s > ODD_S:
        told = f"the newest event is {_span(ahead_s)} in its future: the clock was put back, or is behind"
        finding = problem if ahead_s > WRONG_S else warning
        yield finding("clock.events", _ABOUT, told, _SET)
    else:
        yield ok("clock.events", _ABOUT, f"{_date(now_ms)}, later than the newest event")


def clock_of_glycanage(facts: Facts) -> Iterator[Finding]:
    """The clock, held against the Date header of GlycanAge's API; no credentials are sent."""
    api = facts.glycanage
    if api is None:
        return
    asked = partial(look, api.base_url, timeout_s=api.timeout_s, ca_file=api.ca_file, proxy=way_out(api))
    seen = within({"date": 2 * api.timeout_s}, {"date": asked})["date"]
    try:
        theirs = parsedate_to_datetime(seen.headers["date"]).timestamp() if isinstance(seen, Seen) else None
    except (KeyError, ValueError):
        theirs = None
    if theirs is None:
        yield note("clock.glycanage", _ABOUT, "GlycanAge gave no date to compare it with")
        return
    apart_s = facts.machine.clock() / 1000 - theirs
    told = f"it is {_span(abs(apart_s))} {'ahead of' if apart_s > 0 else 'behind'} GlycanAge's"
    if abs(apart_s) > WRONG_S:
        yield problem("clock.glycanage", _ABOUT, told, _SET)
    elif abs(apart_s) > ODD_S:
        yield warning("clock.glycanage", _ABOUT, told, _SET)
    else:
        yield ok("clock.glycanage", _ABOUT, "as GlycanAge's")


def last_event(facts: Facts) -> Iterator[Finding]:
    """How long nothing has come."""
    about = "the last event"
    try:
        newest = newest_event(facts)
    except JournalError:  # the journal's own finding tells it
        return
    if facts.places is None:
        return
    if newest is None:
        do = "GlycanAge sends nothing before it has approved the webhook; `glycanbridge send report-ready` is a trial"
        yield note("events.last", about, "none has come yet", do)
        return
    days = (facts.machine.clock() - newest.received_at) / 86_400_000
    told = f"{newest.type}, {_span(max(days, 0) * 86_400)} ago"
    if days > SILENT_DAYS:
        do = (
            "look whether the webhook is still registered and approved: `glycanbridge doctor --online`, "
            "`glycanbridge webhooks list`"
        )
        yield warning("events.last", about, told, do)
    else:
        yield ok("events.last", about, told)


def newest_event(facts: Facts) -> EventRow | None:
    """The event of GlycanAge's that came last; `None` if there is none. Raises `JournalError` if it cannot be read."""
    if facts.places is None:
        return None
    try:
        with closing(open_questions(facts.places.journal)) as questions:
            rows = [row for each in EVENT_TYPES for row in questions.events(Filter(type=each, limit=1))]
    except JournalMissing:
        return None
    return max(rows, key=lambda row: row.received_at, default=None)


def _date(moment_ms: int) -> str:
    return datetime.fromtimestamp(moment_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _span(seconds: float) -> str:
    for unit, size_s in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size_s:
            return f"{seconds / size_s:.0f} {unit}"
    return f"{seconds:.0f} seconds"
