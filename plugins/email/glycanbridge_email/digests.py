"""One mail a day for each practice: deliveries wait in the state file, and are sent together when it is time.

A delivery writes itself down and waits (`NotYetError`). The first that comes when its digest is due freezes the
practice's waiting entries under one Message-ID and sends them; whoever comes later finds them sent, and has the same
receipt. What is frozen is sent again as it is until it is known to be sent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from filelock import FileLock, Timeout

from glycanbridge import Delivery, Event, NotYetError
from glycanbridge_email.letters import DIGEST, Letter, Letters
from glycanbridge_email.mails import message_id
from glycanbridge_email.post import Clock, Post
from glycanbridge_email.settings import DigestSettings, EmailSettings
from glycanbridge_email.state import Changes, Digest, Entry, State, unwritable
from glycanbridge_email.views import in_body, of_digest, of_digests_subject

GATHER_S = 60.0
"""How long a late one waits for others that are late too, so that they go out together."""
FRESH_S = 2 * 3600.0
"""Whatever waits comes at least every hour. What has not is not frozen: it was discarded, or comes again soon."""
ANOTHER_SENDS_S = 5.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """When digests go out."""

    at: time
    days: frozenset[int]
    """As Python counts them: Monday is 0."""
    zone: ZoneInfo

    def next_after(self, moment: datetime) -> datetime:
        """The first time after `moment` (in UTC)."""
        first = moment.astimezone(self.zone).date()
        days = (first + timedelta(days=number) for number in range(9))
        times = (
            datetime.combine(day, self.at, self.zone).astimezone(UTC) for day in days if day.weekday() in self.days
        )
        return next(each for each in times if each > moment)


class Digests:
    """The digests of one destination."""

    def __init__(
        self,
        settings: EmailSettings,
        digest: DigestSettings,
        *,
        state: State,
        letters: Letters,
        post: Post,
        clock: Clock,
    ) -> None:
        self._settings, self._state, self._letters, self._post, self._clock = settings, state, letters, post, clock
        self._words = settings.words
        self._schedule = Schedule(digest.time, digest.days, self._words.zone)
        self._told_as = f"{settings.personal} {settings.locale} {settings.time_zone}"
        self._due_by = f"{digest.at} {sorted(digest.days)} {settings.time_zone}"

    def deliver(self, event: Event, delivery: Delivery) -> str:
        """The receipt of the digest that told of the event. Raises `NotYetError` until then, and as `Post.send`."""
        self._post.recipients_of(event.practice_id)
        with self._state.change() as changes:
            entry = self._written(changes, self._entry(event, delivery), delivery.received_at)
            digest = None if entry.digest is None else changes.digest(entry.digest)
        if digest is not None and digest.receipt is not None:
            return digest.receipt
        if digest is None and entry.due_ms > self._now_ms:
            due = datetime.fromtimestamp(entry.due_ms / 1000, self._words.zone)
            told = f"waits for the digest of {due:%Y-%m-%d %H:%M} {self._settings.time_zone}"
            raise NotYetError(told, retry_after_s=(entry.due_ms - self._now_ms) / 1000 + 1)
        return _alone(self._settings.state / "digest.lock", lambda: self._send(entry))

    @property
    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    def _entry(self, event: Event, delivery: Delivery) -> Entry:
        return Entry(
            delivery_id=delivery.id,
            destination=delivery.destination,
            practice_id=event.practice_id,
            told_as=self._told_as,
            due_by=self._due_by,
            due_ms=0,
            seen_ms=self._now_ms,
            order_ms=round(event.timestamp.timestamp() * 1000),
            told=in_body(event, self._settings.personal, self._words)["event"],
        )

    def _written(self, changes: Changes, new: Entry, received_at: datetime) -> Entry:
        """Write an entry down as it is now; it, with the digest that it is in, or when it is due."""
        old = changes.entry(new.delivery_id)
        digest = None if old is None or old.digest is None else changes.digest(old.digest)
        if digest is not None and digest.receipt is None and digest.told_as != self._told_as:
            changes.thaw(digest)  # it would tell what may not be told any more
            old = digest = None
        if old is not None and digest is not None:
            entry = replace(old, seen_ms=new.seen_ms)
        elif old is not None and self._is_fresh(old):
            entry = replace(new, due_ms=old.due_ms)
        else:
            entry = replace(new, due_ms=self._due_ms(changes, new, received_at))
        changes.write(entry)
        return entry

    def _is_fresh(self, entry: Entry) -> bool:
        same = (entry.told_as, entry.due_by) == (self._told_as, self._due_by)
        return same and self._now_ms - entry.seen_ms <= FRESH_S * 1000

    def _due_ms(self, changes: Changes, entry: Entry, received_at: datetime) -> int:
        """At the first time after it was received, and after the practice's last digest; else when the late ones go."""
        start_ms = max(
            received_at.timestamp() * 1000, changes.last_frozen_ms(entry.destination, entry.practice_id) or 0
        )
        due = self._schedule.next_after(datetime.fromtimestamp(start_ms / 1000, UTC))
        due_ms, now_ms = round(due.timestamp() * 1000), self._now_ms
        if due_ms > now_ms:
            return due_ms
        latest_ms = now_ms + round(GATHER_S * 1000)
        waiting = (
            each.due_ms for each in changes.waiting(entry.destination, entry.practice_id) if self._is_fresh(each)
        )
        return min((each for each in waiting if now_ms < each < latest_ms), default=latest_ms)

    def _send(self, entry: Entry) -> str:
        with self._state.change() as changes:
            digest = self._frozen(changes, entry)
            entries = changes.entries_of(digest.message_id)
        if digest.receipt is not None:
            return digest.receipt
        at = datetime.fromtimestamp(digest.frozen_ms / 1000, UTC)
        letter = self._letter(entries, at)
        receipt = self._post.send(letter, practice_id=entry.practice_id, name=digest.message_id, at=at)
        with self._state.change() as changes:
            changes.sent(digest, receipt)
        return receipt

    def _frozen(self, changes: Changes, entry: Entry) -> Digest:
        """The digest that the entry is in: with all that waits with it, if that is decided now."""
        now = changes.entry(entry.delivery_id)
        if now is None:  # somebody took the file away a moment ago
            changes.write(now := replace(entry, digest=None))
        if now.digest is not None:
            return changes.digest(now.digest)
        changes.forget_old(self._now_ms)
        entries = [each for each in changes.waiting(now.destination, now.practice_id) if self._is_fresh(each)]
        key = " ".join([str(self._now_ms), *(each.delivery_id for each in entries)])
        name = message_id(key, self._settings.sender)
        changes.freeze(entries, message_id=name, now_ms=self._now_ms)
        return changes.digest(name)

    def _letter(self, entries: list[Entry], at: datetime) -> Letter:
        practice_id, events = entries[0].practice_id, [each.told for each in entries]
        return self._letters.letter(
            DIGEST,
            subject=of_digests_subject(len(events), practice_id, at, self._words),
            body=of_digest(events, practice_id, at, self._words),
        )


def _alone(lock: Path, send: Callable[[], str]) -> str:
    """What `send` returns, while no other lane or process sends a digest: two would send the same."""
    held = FileLock(lock, mode=0o600)
    try:
        held.acquire(timeout=0)
    except Timeout:
        raise NotYetError("another lane sends a digest", retry_after_s=ANOTHER_SENDS_S) from None
    except OSError as error:
        raise unwritable(lock, error) from None
    try:
        return send()
    finally:
        held.release()
