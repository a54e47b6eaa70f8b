"""The way out of an SQLite journal: claim, rescue, settle, release, renew.

A claim bumps `attempt`, and every later write names it: a lane that comes back after its lease was lost changes
nothing. Runs in the writer's thread, in transactions.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import astuple, replace
from datetime import timedelta
from typing import Any

from glycanbridge.circuit import Circuit
from glycanbridge.delivery import Claim, Delivery, Ended, Scope, State
from glycanbridge.journal import Terms
from glycanbridge.journals.database import Database
from glycanbridge.journals.order import Order
from glycanbridge.journals.questions import EPOCH, circuit_of
from glycanbridge.journals.timekeeper import Timekeeper

log = logging.getLogger(__name__)
LONGEST_RESCUE_WAIT_MS = 60_000

CUT_OFF = "cut off: the process ended in the middle, and it is not known whether the destination has it"

_Due = tuple[Any, ...]
_DUE = """
SELECT d.id, d.attempt, d.step, d.ordered, d.letter = 'written', e.event_id, e.type, e.received_at, e.body,
       e.digest
FROM deliveries d JOIN events e ON e.id = d.event
WHERE d.destination = ? AND d.state = 'pending' AND d.due_at <= ? ORDER BY d.due_at, d.id LIMIT ?
"""
_LEASE = """
UPDATE deliveries SET state = 'running', attempt = attempt + 1, step = step + 1, due_at = ?, was_due_at = due_at,
                      claimed_at = ?, lease_owner = ?
WHERE id = ?
"""
_EXPIRED = """
SELECT id, attempt, step, ordered, claimed_at FROM deliveries
WHERE destination = ? AND state = 'running' AND due_at <= ?
"""
_MINE = "SELECT id, step, ordered FROM deliveries WHERE id = ? AND state = 'running' AND attempt = ?"
_CUT_OFF = """
INSERT INTO attempts SELECT id, attempt, claimed_at, NULL, 'unknown', :error, NULL FROM deliveries WHERE id = :row
"""
_RESCUE = """
UPDATE deliveries SET state = 'pending', due_at = :due_at, held = :held, step = step - :uncounted, claimed_at = NULL,
                      lease_owner = NULL, last_error = :error
WHERE id = :row
"""
_SETTLE = """
UPDATE deliveries
SET state = ?, due_at = ?, held = ?, step = step - ?, finished_at = ?, letter = ?, claimed_at = NULL,
    lease_owner = NULL, last_error = coalesce(?, last_error), receipt = coalesce(?, receipt)
WHERE id = ? AND state = 'running' AND attempt = ?
RETURNING id, attempt, ordered
"""
_RELEASE = """
UPDATE deliveries SET state = 'pending', due_at = was_due_at, attempt = attempt - 1, step = step - 1, claimed_at = NULL,
                      lease_owner = NULL
WHERE id = :row AND state = 'running' AND attempt = :attempt
RETURNING ordered
"""
_RENEW = "UPDATE deliveries SET due_at = ? WHERE id = ? AND state = 'running' AND attempt = ?"
_ENDED = "SELECT outcome FROM attempts WHERE delivery = ? AND attempt = ? AND duration_ms IS NOT NULL"
_BEGAN = "SELECT started_at FROM attempts WHERE delivery = ? AND attempt = ?"
_WAS_CUT_OFF = "SELECT duration_ms IS NULL FROM attempts WHERE delivery = ? AND attempt = ?"
_INSERT_ATTEMPT = "INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?)"
_STANDING = "SELECT paused_at, failures, open_since, probe_at, answered_at FROM destinations WHERE name = ?"
_KEEP_CIRCUIT = """
INSERT INTO destinations (name, failures, open_since, probe_at, answered_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET failures = excluded.failures, open_since = excluded.open_since,
                                 probe_at = excluded.probe_at, answered_at = excluded.answered_at
"""
_TAKE_OVER = "UPDATE deliveries SET due_at = ? WHERE state = 'running'"
_NEXT_DUE = """
SELECT min(due_at) FROM (SELECT min(due_at) AS due_at FROM deliveries WHERE destination = :name AND state = 'pending'
                         AND due_at IS NOT NULL
               UNION ALL SELECT min(due_at) FROM deliveries WHERE destination = :name AND state = 'running')
"""


class Delivering:
    """Moves deliveries from pending to running and on."""

    def __init__(self, database: Database, timekeeper: Timekeeper, order: Order, *, owner: str, due: set[str]) -> None:
        """`due`: where destinations are put that something has fallen due for."""
        self._due = due
        self._database = database
        self._timekeeper = timekeeper
        self._order = order
        self._owner = owner

    def take_over(self) -> None:
        """Nobody else delivers from this journal: whatever is running was left by a dead process, and is due."""
        self._database.execute(_TAKE_OVER, (self._timekeeper.now,))
        left_behind = self._database.changes()
        if left_behind:
            log.warning("attempts were cut off when the last process ended: %d", left_behind)

    def claim(
        self, destination: str, limit: int, terms: Terms, mine: dict[int, tuple[Claim, Terms]]
    ) -> list[tuple[Claim, bytes]]:
        """See `Journal.claim`; each with its body's digest.

        `mine`: what this process has in hand, which is not to be rescued from itself.
        """
        now = self._timekeeper.now
        self._rescue(destination, terms, mine)
        paused, circuit = self._standing(destination)
        if paused or (circuit.probe_at or 0) > now:
            return []
        probe = circuit.open_since is not None
        due = list(self._database.execute(_DUE, (destination, now, min(limit, 1) if probe else limit)))
        cut_off = {row for row, attempt, *_ in due if terms.unknown_counts and self._was_cut_off(row, attempt)}
        due = _apart(due, cut_off)
        lease_end = now + int(terms.lease_s * 1000)
        self._database.executemany(_LEASE, [(lease_end, now, self._owner, row[0]) for row in due])
        if probe and due:  # nobody else probes meanwhile
            self._keep(destination, replace(circuit, probe_at=lease_end))
        claims = []
        for row, attempt, step, ordered, has_letter, event_id, event_type, received_at, body, digest in due:
            if ordered:
                self._order.claimed(row)
            delivery = Delivery(
                id=f"{event_id}:{destination}",
                event_id=event_id,
                event_type=event_type,
                destination=destination,
                attempt=attempt + 1,
                received_at=EPOCH + timedelta(milliseconds=received_at),
                body=body,
            )
            outlived = attempt > 0 and self._answered_since(row, attempt, circuit)
            told = {"probe": probe, "counts": outlived or not probe, "outlived": outlived, "cut_off": row in cut_off}
            told |= {"has_letter": bool(has_letter), "alone": outlived and not circuit.failures}
            claims.append((Claim(delivery=delivery, row=row, step=step + 1, **told), digest))
        return claims

    def settle(self, ended: Sequence[Ended], terms: Terms) -> list[bool]:
        """See `Journal.settle`. Each kind of row is written for all of them at once: that is what a delivery costs."""
        now = self._timekeeper.now
        settled = self._database.executemany(_SETTLE, [_settled(each, now) for each in ended])
        ordered = {(row, attempt): bool(is_ordered) for row, attempt, is_ordered in settled}
        kept = [each for each in ended if _token(each) in ordered]
        self._database.executemany(_INSERT_ATTEMPT, [_attempt(each, now) for each in kept])
        for each in kept:
            if ordered[_token(each)]:
                waits = each.settlement.state is State.PENDING
                (self._order.put_back if waits else self._order.settled)(each.claim.row, now)
                self._due.add(each.claim.delivery.destination)
        for name in {each.claim.delivery.destination for each in kept}:
            self._look_at(name, [each for each in kept if each.claim.delivery.destination == name], terms)
        return [_token(each) in ordered or self._settled_before(each) for each in ended]

    def release(self, claims: Iterable[Claim]) -> None:
        """See `Journal.release`."""
        now = self._timekeeper.now
        for claim in claims:
            values = {"row": claim.row, "attempt": claim.delivery.attempt}
            ordered = self._database.execute(_RELEASE, values).get
            if ordered:
                self._order.put_back(claim.row, now)
            self._due.add(claim.delivery.destination)

    def renew(self, mine: Iterable[tuple[Claim, Terms]]) -> None:
        """Make the lease of each claim last as long as its terms say, from now."""
        now = self._timekeeper.now
        rows = [(now + int(terms.lease_s * 1000), claim.row, claim.delivery.attempt) for claim, terms in mine]
        self._database.executemany(_RENEW, rows)

    def next_due_in_s(self, destination: str) -> float | None:
        """See `Journal.next_due_in_s`."""
        paused, circuit = self._standing(destination)
        due_at: int | None = self._database.execute(_NEXT_DUE, {"name": destination}).get
        if paused or due_at is None:
            return None
        return max(0, max(due_at, circuit.probe_at or 0) - self._timekeeper.now) / 1000

    def _rescue(self, destination: str, terms: Terms, mine: dict[int, tuple[Claim, Terms]]) -> None:
        now = self._timekeeper.now
        expired = list(self._database.execute(_EXPIRED, (destination, now)))
        self.renew([mine[row] for row, *_ in expired if row in mine])  # we slept, and so did whoever renews
        together = Counter(claimed_at for *_, claimed_at in expired)
        for row, attempt, step, ordered, claimed_at in expired:
            if row not in mine:
                # Of several that were claimed together nobody knows which it was; from now on each is claimed alone.
                was_alone = together[claimed_at] == 1 or self._was_cut_off(row, attempt - 1)
                self._cut_off(row, step, ordered, holds=terms.holds_unknown, counts=terms.unknown_counts and was_alone)
                log.warning("an attempt was cut off", extra={"destination": destination, "held": terms.holds_unknown})

    def stop(self, mine: Iterable[tuple[Claim, Terms]]) -> None:
        """See `Journal.stop`."""
        for claim, terms in mine:
            for row, step, ordered in list(self._database.execute(_MINE, (claim.row, claim.delivery.attempt))):
                self._cut_off(row, step, ordered, holds=terms.holds_unknown, counts=False)

    def _cut_off(self, row: int, step: int, ordered: int, *, holds: bool, counts: bool) -> None:
        """Journal an attempt that nobody knows the end of, and make the delivery due again, or leave it to a person."""
        now = self._timekeeper.now
        wait_ms = min(LONGEST_RESCUE_WAIT_MS, ((1 << min(step - 1, 6)) - 1) * 1000) if counts else 0
        values = {
            "due_at": None if holds else now + wait_ms,
            "held": holds,
            "uncounted": not counts,
            "error": CUT_OFF,
            "row": row,
        }
        self._database.execute(_CUT_OFF, {"error": CUT_OFF, "row": row})
        self._database.execute(_RESCUE, values)
        if ordered:
            self._order.put_back(row, now)

    def _standing(self, destination: str) -> tuple[bool, Circuit]:
        for paused_at, *circuit in self._database.execute(_STANDING, (destination,)):
            return paused_at is not None, circuit_of(*circuit)
        return False, Circuit()

    def _answered_since(self, row: int, attempt: int, circuit: Circuit) -> bool:
        """Whether another delivery got through since this attempt failed: then it is not the destination's fault."""
        began = self._database.execute(_BEGAN, (row, attempt)).get
        return began is not None and circuit.answered_at is not None and circuit.answered_at > began

    def _was_cut_off(self, row: int, attempt: int) -> bool:
        return attempt > 0 and bool(self._database.execute(_WAS_CUT_OFF, (row, attempt)).get)

    def _settled_before(self, ended: Ended) -> bool:
        """Whether it is told a second time: its commit was not seen."""
        outcome = self._database.execute(_ENDED, _token(ended)).get
        return bool(outcome == ended.outcome.result)

    def _look_at(self, destination: str, ended: Iterable[Ended], terms: Terms) -> None:
        """Let the destination's circuit know how its attempts ended."""
        _, first = self._standing(destination)
        before, now = first, self._timekeeper.now
        for each in ended:
            claim, outcome = each.claim, each.outcome
            if outcome.scope is Scope.DESTINATION and claim.alone:
                outcome = replace(outcome, scope=None)  # so it is one failure; if the next one says so too, it is true
            if outcome.failed and claim.probe and claim.outlived and outcome.scope is None:
                # its own fault: others have got through meanwhile
                after = replace(before, probe_at=before.open_since and now)
            else:
                after = before.after(outcome, brake=terms.brake, probe=claim.probe, now=now)
            if before.open_since is None and after.open_since is not None:
                why = {"destination": destination, "error": outcome.error}
                log.error("the destination is left alone, and what it is owed waits", extra=why)
            elif before.open_since is not None and after.open_since is None:
                log.warning("the destination answers again", extra={"destination": destination})
            before = after
        if before != first:
            self._keep(destination, before)
            self._due.add(destination)

    def _keep(self, destination: str, circuit: Circuit) -> None:
        self._database.execute(_KEEP_CIRCUIT, (destination, *astuple(circuit)))


def _apart(due: list[_Due], cut_off: set[int]) -> list[_Due]:
    """What may be claimed together. One that was cut off is claimed alone: the next time it is known which it was."""
    first = next((number for number, (row, *_) in enumerate(due) if row in cut_off), len(due))
    return due[: max(1, first)]


def _token(ended: Ended) -> tuple[int, int]:
    """The claim that an attempt was made under, as the journal names it."""
    return ended.claim.row, ended.claim.delivery.attempt


def _settled(ended: Ended, now: int) -> tuple[object, ...]:
    """The values of `_SETTLE`."""
    outcome, settlement = ended.outcome, ended.settlement
    waits, wait_s = settlement.state is State.PENDING, settlement.wait_s
    return (
        settlement.state,
        None if wait_s is None else now + int(wait_s * 1000),
        waits and wait_s is None,
        not settlement.counts,
        None if waits else now,
        _letter(ended),
        outcome.error,
        outcome.receipt,
        *_token(ended),
    )


def _attempt(ended: Ended, now: int) -> tuple[object, ...]:
    """The values of `_INSERT_ATTEMPT`."""
    outcome, took_ms = ended.outcome, ended.took_ms
    return *_token(ended), now - took_ms, took_ms, outcome.result, outcome.error, outcome.receipt


def _letter(ended: Ended) -> str | None:
    """Whether there is a dead letter, or should be one."""
    if ended.settlement.state is State.DEAD:
        return "written" if ended.letter else "owed"
    return "written" if ended.claim.has_letter and ended.settlement.state is State.PENDING else None
