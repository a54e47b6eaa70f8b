"""What every journal must do: one suite for all of them."""

from __future__ import annotations

import threading

import pytest
from serving import sample

from glycanbridge.delivery import Outcome, Result, Settlement, State
from glycanbridge.errors import JournalUnavailable
from glycanbridge.events import event_id, parse
from glycanbridge.journal import Filter, NewEvent

DELIVERED = Outcome(result=Result.DELIVERED, receipt="taken"), Settlement(state=State.DELIVERED)
RETRY = Outcome(result=Result.TEMPORARY, error="away"), Settlement(state=State.PENDING, wait_s=60)
DEAD = Outcome(result=Result.PERMANENT, error="no such patient"), Settlement(state=State.DEAD)


def new_event(event_type="report-ready", *, owed_to=("a",), **changes) -> NewEvent:
    """A sample event, owed to `a` unless told otherwise."""
    body = sample(event_type, **changes)
    return NewEvent(event=parse(body), id=event_id(body), body=body, owed_to=owed_to)


def test_an_event_is_kept_whole_with_what_it_is_owed_to(journal, clock):
    """Exactly as it was signed, with GlycanAge's time and ours."""
    new = new_event(owed_to=("a", "b"))

    recorded = journal.record(new)
    (row,) = journal.events(Filter())

    assert (recorded.event_id, recorded.duplicate) == (new.id.id, False)
    assert (row.id, row.type, row.timestamp, row.received_at) == (new.id.id, "report-ready", 1693123200000, clock.ms)
    assert (row.practice_id, row.kit_code, row.flags, row.body) == ("practice_67890", "KIT001234", "", new.body)
    assert [each.id for each in journal.deliveries_of(row.id)] == [f"{row.id}:a", f"{row.id}:b"]


def test_a_duplicate_changes_nothing(journal):
    """Also when it would now be owed to others: the first one's deliveries stand."""
    first = journal.record(new_event())

    again = journal.record(new_event(owed_to=("a", "b")))

    assert (again.event_id, again.duplicate) == (first.event_id, True)
    assert len(journal.deliveries(Filter())) == 1


def test_an_id_with_other_content_is_kept_under_its_hash(journal):
    """Losing an event is worse than delivering two; the third time it is a duplicate as well."""
    journal.record(new_event(id="evt_1"))
    other = new_event(id="evt_1", data={"reportId": "r2"})

    kept, again = journal.record(other), journal.record(other)

    assert (kept.event_id, kept.duplicate) == (other.id.hash, False)
    assert (again.event_id, again.duplicate) == (other.id.hash, True)
    assert [row.flags for row in journal.events(Filter())] == ["id-conflict", ""]


def test_many_at_once_are_each_kept_exactly_once(journal):
    """Sixteen threads send the same fifty events: fifty are new, and every one is there."""
    bodies = [new_event(timestamp=number) for number in range(50)]
    recorded = []

    def send() -> None:
        recorded.extend(journal.record(each) for each in bodies)

    threads = [threading.Thread(target=send) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(not each.duplicate for each in recorded) == 50
    assert len(journal.events(Filter(limit=1000))) == len(journal.deliveries(Filter(limit=1000))) == 50


def test_what_is_recorded_is_still_there_in_another_process_view(journal, open_journal_again):
    """A second journal over the same file sees it at once."""
    journal.record(new_event())

    assert len(open_journal_again().events(Filter())) == 1


def test_a_claim_takes_the_longest_due_first_and_no_more_than_asked(journal, clock):
    """And only its own destination's."""
    for number in range(3):
        journal.record(new_event(timestamp=number, owed_to=("a", "b")))
        clock.turn(1)

    first, second = journal.claim("a", limit=2, lease_s=60)

    assert [parse(each.body).timestamp.microsecond for each in (first, second)] == [0, 1000]
    assert (first.destination, first.attempt, first.event_type) == ("a", 1, "report-ready")
    assert first.id == f"{first.event_id}:a"
    assert len(journal.claim("a", limit=9, lease_s=60)) == 1
    assert journal.claim("a", limit=9, lease_s=60) == []
    assert journal.claim("nobody", limit=9, lease_s=60) == []


def test_a_delivered_one_keeps_its_receipt_and_is_never_claimed_again(journal, clock):
    """With its attempt: when it began, and how long it took."""
    journal.record(new_event())
    (delivery,) = journal.claim("a", limit=1, lease_s=60)
    clock.turn(2)

    assert journal.settle(delivery, *DELIVERED, took_ms=1500)
    clock.turn(10**6)

    (row,) = journal.deliveries(Filter())
    (attempt,) = journal.attempts(delivery.id)
    assert (row.state, row.attempts, row.due_at, row.receipt, row.last_error) == ("delivered", 1, None, "taken", None)
    assert (attempt.number, attempt.started_at, attempt.duration_ms) == (1, clock.ms - 10**9 - 1500, 1500)
    assert (attempt.outcome, attempt.receipt, attempt.error) == ("delivered", "taken", None)
    assert journal.claim("a", limit=1, lease_s=60) == []


def test_one_that_waits_is_claimed_when_it_falls_due_and_not_before(journal, clock):
    """Its next attempt has the next number."""
    journal.record(new_event())
    (delivery,) = journal.claim("a", limit=1, lease_s=60)
    journal.settle(delivery, *RETRY, took_ms=1)

    assert journal.next_due_in_s("a") == 60
    clock.turn(59.999)
    assert journal.claim("a", limit=1, lease_s=60) == []
    clock.turn(0.001)
    assert [each.attempt for each in journal.claim("a", limit=1, lease_s=60)] == [2]


def test_a_dead_one_stays_and_is_told(journal):
    """With its reason."""
    journal.record(new_event())
    (delivery,) = journal.claim("a", limit=1, lease_s=60)
    journal.settle(delivery, *DEAD, took_ms=1)

    (row,) = journal.deliveries(Filter(state=State.DEAD))
    assert (row.last_error, row.due_at) == ("no such patient", None)
    assert (journal.next_due_in_s("a"), journal.claim("a", limit=1, lease_s=60)) == (None, [])


def test_what_a_dead_process_left_behind_is_claimed_when_its_lease_ends(journal, open_journal_again, clock):
    """By the ordinary claim, in whatever process."""
    journal.record(new_event())
    journal.claim("a", limit=1, lease_s=60)

    assert journal.next_due_in_s("a") == 60
    clock.turn(60)
    (rescued,) = open_journal_again().claim("a", limit=1, lease_s=60)
    assert rescued.attempt == 2


def test_an_outcome_that_comes_after_its_lease_was_lost_changes_nothing(journal, clock):
    """The attempt is the fencing token; the second claim's outcome counts."""
    journal.record(new_event())
    (late,) = journal.claim("a", limit=1, lease_s=60)
    clock.turn(60)
    (again,) = journal.claim("a", limit=1, lease_s=60)

    assert journal.settle(late, *DELIVERED, took_ms=1) is False
    assert journal.attempts(late.id) == []
    assert journal.settle(again, *DEAD, took_ms=1) is True
    assert journal.settle(again, *DELIVERED, took_ms=1) is False
    assert journal.deliveries(Filter())[0].state is State.DEAD


def test_events_and_deliveries_are_found_by_what_is_asked(journal, clock):
    """Each filter alone, newest first."""
    kits = [{"patientId": "p", "kitCode": code, "product": "regular"} for code in ("KIT1", "KIT2", "KIT3")]
    journal.record(new_event("assignment-status-changed", data={"sets": kits}))
    clock.turn(10)
    middle = clock.ms
    journal.record(new_event("kit-received", data={"kitCode": "KIT2"}, owed_to=("a", "b")))
    clock.turn(10)
    journal.record(new_event("order-status-changed", owed_to=()))
    journal.settle(journal.claim("b", limit=1, lease_s=60)[0], *DEAD, took_ms=1)

    def found(**which) -> list[str]:
        return [row.type for row in journal.events(Filter(**which))]

    assert found() == ["order-status-changed", "kit-received", "assignment-status-changed"]
    assert found(limit=1) == ["order-status-changed"]
    assert found(type="kit-received") == found(destination="b") == found(state=State.DEAD) == ["kit-received"]
    assert found(kit="KIT2") == ["kit-received", "assignment-status-changed"]
    assert found(kit="KIT3") == found(until=middle) == ["assignment-status-changed"]
    assert found(since=middle, until=middle + 1) == ["kit-received"]
    assert [row.state for row in journal.events(Filter())] == [None, "dead", "pending"]
    assert [row.destination for row in journal.deliveries(Filter(kit="KIT2"))] == ["b", "a", "a"]
    assert [row.destination for row in journal.deliveries(Filter(state=State.DEAD))] == ["b"]
    assert [row.event_type for row in journal.deliveries(Filter(destination="a", since=middle))] == ["kit-received"]


def test_an_event_is_found_by_the_beginning_of_its_id(journal):
    """One if only one fits, two if more do, the exact one if there is one."""
    for name in ("evt", "evt-1", "evt-2", "other"):
        journal.record(new_event(id=name, data={"reportId": name}))

    assert [row.id for row in journal.event("o")] == ["other"]
    assert [row.id for row in journal.event("evt-")] == ["evt-1", "evt-2"]
    assert [row.id for row in journal.event("evt")] == ["evt"]
    assert journal.event("nothing") == []


def test_what_is_owed_where_is_told(journal, clock):
    """Delivered ones are owed no more."""
    for number in range(4):
        journal.record(new_event(timestamp=number, owed_to=("a", "b")))
    began = clock.ms
    first, second, _ = journal.claim("a", limit=3, lease_s=60)
    journal.settle(first, *DELIVERED, took_ms=1)
    journal.settle(second, *DEAD, took_ms=1)

    a, b = journal.owed()

    assert (a.destination, a.pending, a.running, a.dead, a.oldest_due_at) == ("a", 1, 1, 1, began)
    assert (b.destination, b.pending, b.running, b.dead) == ("b", 4, 0, 0)


def test_whoever_asked_is_told_what_new_deliveries_are_for(journal):
    """After the commit, once for a group; a duplicate wakes nobody."""
    told = []
    journal.on_due(told.append)

    journal.record(new_event(owed_to=("a", "b")))
    journal.record(new_event(owed_to=("a", "b")))
    journal.record(new_event("order-status-changed", owed_to=()))
    journal.probe()

    assert told == [frozenset({"a", "b"})]


def test_a_listener_that_fails_does_not_stop_the_journal(journal):
    """It is the only thread that writes."""
    journal.on_due(lambda due: due.not_there)

    journal.record(new_event())

    assert journal.record(new_event("kit-received")).duplicate is False


def test_a_closed_journal_says_so(journal):
    """It loses nothing silently."""
    journal.record(new_event())
    journal.close()

    with pytest.raises(JournalUnavailable):
        journal.record(new_event("kit-received"))
