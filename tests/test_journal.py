"""What every journal must do: one suite for all of them."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from serving import sample

from glycanbridge.circuit import Brake, Circuit
from glycanbridge.delivery import Claim, Ended, Outcome, Result, Settlement, State
from glycanbridge.errors import JournalUnavailable
from glycanbridge.events import parse
from glycanbridge.identity import event_id
from glycanbridge.journal import Filter, NewEvent, Replay, Terms

DELIVERED = Outcome(result=Result.DELIVERED, receipt="taken"), Settlement(state=State.DELIVERED)
RETRY = Outcome(result=Result.TEMPORARY, error="away"), Settlement(state=State.PENDING, wait_s=60)
DEAD = Outcome(result=Result.PERMANENT, error="no such patient"), Settlement(state=State.DEAD)
UNKNOWN = Outcome(result=Result.UNKNOWN, error="timed out"), Settlement(state=State.PENDING, wait_s=60)


TERMS = Terms(lease_s=60)


def settle(journal, claim: Claim, outcome: Outcome, settlement: Settlement, *, took_ms=1, **more) -> bool:
    """Settle a claim and wait until it is on disk."""
    terms = more.pop("terms", TERMS)
    more = {"letter": True} | more
    (kept,) = journal.settle(
        [Ended(claim=claim, outcome=outcome, settlement=settlement, took_ms=took_ms, **more)], terms=terms
    )
    return kept


def new_event(event_type="report-ready", *, owed_to=("a",), **changes) -> NewEvent:
    """A sample event, owed to `a` unless told otherwise."""
    body = sample(event_type, **changes)
    return NewEvent(event=parse(body), id=event_id(body), body=body, owed_to=dict.fromkeys(owed_to, ()))


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


def test_what_is_to_be_told_of_an_event_is_kept_with_it(journal):
    """Also where its id was another event's, which is told besides; a duplicate changes nothing of it."""
    first = new_event(id="e1")
    journal.record(replace(first, flags="reconciled"))
    journal.record(first)
    journal.record(replace(new_event(id="e1", data={"glycanAge": "46"}), flags="reconciled"))

    assert [row.flags for row in journal.events(Filter())] == ["reconciled id-conflict", "reconciled"]


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

    first, second = journal.claim("a", limit=2, terms=TERMS)

    assert [parse(each.delivery.body).timestamp.microsecond for each in (first, second)] == [0, 1000]
    delivery = first.delivery
    assert (delivery.destination, delivery.attempt, delivery.event_type) == ("a", 1, "report-ready")
    assert delivery.id == f"{delivery.event_id}:a"
    assert len(journal.claim("a", limit=9, terms=TERMS)) == 1
    assert journal.claim("a", limit=9, terms=TERMS) == []
    assert journal.claim("nobody", limit=9, terms=TERMS) == []


def test_a_delivered_one_keeps_its_receipt_and_is_never_claimed_again(journal, clock):
    """With its attempt: when it began, and how long it took."""
    journal.record(new_event())
    (claim,) = journal.claim("a", limit=1, terms=TERMS)
    clock.turn(2)

    assert settle(journal, claim, *DELIVERED, took_ms=1500)
    clock.turn(10**6)

    (row,) = journal.deliveries(Filter())
    (attempt,) = journal.attempts(claim.delivery.id)
    assert (row.state, row.attempts, row.due_at, row.receipt, row.last_error) == ("delivered", 1, None, "taken", None)
    assert (attempt.number, attempt.started_at, attempt.duration_ms) == (1, clock.ms - 10**9 - 1500, 1500)
    assert (attempt.outcome, attempt.receipt, attempt.error) == ("delivered", "taken", None)
    assert journal.claim("a", limit=1, terms=TERMS) == []


def test_one_that_waits_is_claimed_when_it_falls_due_and_not_before(journal, clock):
    """Its next attempt has the next number."""
    journal.record(new_event())
    (claim,) = journal.claim("a", limit=1, terms=TERMS)
    settle(journal, claim, *RETRY)

    assert journal.next_due_in_s("a") == 60
    clock.turn(59.999)
    assert journal.claim("a", limit=1, terms=TERMS) == []
    clock.turn(0.001)
    assert [each.delivery.attempt for each in journal.claim("a", limit=1, terms=TERMS)] == [2]


def test_a_dead_one_stays_and_is_told(journal):
    """With its reason."""
    journal.record(new_event())
    (claim,) = journal.claim("a", limit=1, terms=TERMS)
    settle(journal, claim, *DEAD)

    (row,) = journal.deliveries(Filter(state=State.DEAD))
    assert (row.last_error, row.due_at) == ("no such patient", None)
    assert (journal.next_due_in_s("a"), journal.claim("a", limit=1, terms=TERMS)) == (None, [])


def test_what_a_dead_process_left_behind_is_claimed_when_its_lease_ends(journal, open_journal_again, clock):
    """By the ordinary claim, in whatever process; the attempt that was cut off is journaled as what it is."""
    journal.record(new_event())
    (cut_off,) = journal.claim("a", limit=1, terms=TERMS)
    began = clock.ms

    assert journal.next_due_in_s("a") == 60
    clock.turn(60)
    (rescued,) = open_journal_again().claim("a", limit=1, terms=TERMS)
    assert (rescued.delivery.attempt, rescued.step) == (2, 1)
    (attempt,) = journal.attempts(cut_off.delivery.id)
    assert (attempt.number, attempt.outcome, attempt.started_at, attempt.duration_ms) == (1, "unknown", began, None)
    assert "not known whether the destination has it" in attempt.error
    assert journal.deliveries(Filter())[0].last_error == attempt.error


def test_an_outcome_that_comes_after_its_lease_was_lost_changes_nothing(journal, open_journal_again, clock):
    """The attempt is the fencing token; the second claim's outcome counts."""
    journal.record(new_event())
    other = open_journal_again()
    (late,) = journal.claim("a", limit=1, terms=TERMS)
    clock.turn(60)
    (again,) = other.claim("a", limit=1, terms=TERMS)

    assert settle(journal, late, *DELIVERED) is False
    assert settle(journal, late, *UNKNOWN) is False  # also if it says what the rescue has said for it
    assert [each.outcome for each in journal.attempts(late.delivery.id)] == ["unknown"]
    assert settle(other, again, *DEAD) is True
    assert settle(journal, again, *DELIVERED) is False
    assert journal.deliveries(Filter())[0].state is State.DEAD


def test_an_outcome_that_is_told_twice_is_kept_once(journal):
    """The first commit may have come through without anybody seeing it."""
    journal.record(new_event())
    (claim,) = journal.claim("a", limit=1, terms=TERMS)

    assert settle(journal, claim, *DELIVERED)
    assert settle(journal, claim, *DELIVERED)
    assert len(journal.attempts(claim.delivery.id)) == 1


def test_a_lease_that_is_renewed_is_not_rescued(journal, open_journal_again, clock):
    """For as long as it is renewed; what was let go is renewed no longer."""
    journal.record(new_event())
    (claim,) = journal.claim("a", limit=1, terms=TERMS)
    other = open_journal_again()
    for _ in range(5):
        clock.turn(40)
        journal.renew()
        assert other.claim("a", limit=1, terms=TERMS) == []

    journal.let_go([claim])
    clock.turn(40)
    journal.renew()
    clock.turn(20)
    assert len(other.claim("a", limit=1, terms=TERMS)) == 1


def test_a_lane_that_lost_its_lease_renews_and_releases_nothing_of_the_next_one(journal, open_journal_again, clock):
    """Else a lane that comes back late gives away what another one is at."""
    journal.record(new_event())
    (late,) = journal.claim("a", limit=1, terms=TERMS)
    clock.turn(60)
    other = open_journal_again()
    (again,) = other.claim("a", limit=1, terms=TERMS)
    clock.turn(30)

    journal.renew()
    assert other.next_due_in_s("a") == 30
    journal.release([late])
    assert settle(other, again, *DELIVERED) is True


def test_what_is_settled_is_renewed_no_longer_also_before_its_lane_knows(journal):
    """Its lane waits for the commit: meanwhile it must neither wait longer nor keep other leases from being renewed."""
    for number in range(2):
        journal.record(new_event(timestamp=number))
    first, second = journal.claim("a", limit=2, terms=TERMS)
    soon = RETRY[0], Settlement(state=State.PENDING, wait_s=5)
    for claim, settled in ((first, DELIVERED), (second, soon)):
        settle(journal, claim, *settled)
        journal._mine[claim.row] = claim, TERMS  # as while its lane still waits for the commit

    journal.renew()

    assert journal.next_due_in_s("a") == 5


def test_letting_go_of_a_claim_does_not_let_go_of_the_next_one_of_the_same_delivery(journal, clock):
    """Another lane may have it by the time that the first one learns that its outcome is on the disk."""
    journal.record(new_event())
    (claim,) = journal.claim("a", limit=1, terms=TERMS)
    settle(journal, claim, RETRY[0], Settlement(state=State.PENDING, wait_s=0))
    assert len(journal.claim("a", limit=1, terms=TERMS)) == 1

    journal.let_go([claim])
    clock.turn(40)
    journal.renew()

    assert journal.next_due_in_s("a") == 60


def test_what_was_said_last_stays_known(journal):
    """A failed replay does not take the receipt away, nor a success the error before it: both are asked for later."""
    which = [Replay(event_id=journal.record(new_event()).event_id, destination="a")]
    told = []
    for settled in (DELIVERED, RETRY, (Outcome(result=Result.DELIVERED), DELIVERED[1])):
        (claim,) = journal.claim("a", limit=1, terms=TERMS)
        settle(journal, claim, *settled)
        (row,) = journal.deliveries(Filter())
        told.append((row.receipt, row.last_error))
        journal.replay(which, who="ana")

    assert told == [("taken", None), ("taken", "away"), ("taken", "away")]
    assert [each.number for each in journal.attempts(claim.delivery.id)] == [1, 2, 3]


def test_what_is_overdue_is_due_now_and_not_before_now(journal, clock):
    """A lane that cannot work pauses its destination when there is something to do: it asks whether that is 0."""
    journal.record(new_event())
    clock.turn(10)

    assert journal.next_due_in_s("a") == 0


def test_a_process_that_slept_longer_than_its_leases_does_not_rescue_from_itself(journal, clock):
    """Stopped and continued, or on a laptop that was shut: its own lanes still hold what they hold."""
    journal.record(new_event())
    (claim,) = journal.claim("a", limit=1, terms=TERMS)
    clock.turn(3600)

    assert journal.claim("a", limit=1, terms=TERMS) == []
    assert journal.next_due_in_s("a") == 60
    assert settle(journal, claim, *DELIVERED)


def test_an_attempt_that_was_cut_off_counts_where_the_plugin_may_have_done_it(journal, open_journal_again, clock):
    """In a thread of the bridge a plugin can end the process: then it must come to an end, and others wait less."""
    terms = Terms(lease_s=1, unknown_counts=True)
    journal.record(new_event())
    other, steps, waits = open_journal_again(), [], []
    for _ in range(8):
        (claim,) = journal.claim("a", limit=1, terms=terms)
        journal.let_go([claim])
        steps.append(claim.step)
        clock.turn(1)
        if not other.claim("a", limit=0, terms=terms):  # rescues, and takes none
            waits.append(other.next_due_in_s("a"))
            clock.turn(waits[-1])

    assert (steps, waits) == ([1, 2, 3, 4, 5, 6, 7, 8], [0, 1, 3, 7, 15, 31, 60, 60])


def test_a_batch_that_was_cut_off_counts_for_nobody_and_each_of_it_is_then_claimed_alone(
    journal, open_journal_again, clock
):
    """One of them may have ended the process, and its neighbours must not die of it: the next time it is known."""
    terms, other = Terms(lease_s=1, unknown_counts=True), open_journal_again()
    for number in range(4):
        journal.record(new_event(timestamp=number))
    journal.let_go(journal.claim("a", limit=3, terms=terms))
    clock.turn(1)

    claims = [other.claim("a", limit=9, terms=terms) for _ in range(4)]
    told = [[(each.step, each.cut_off) for each in together] for together in claims]
    assert told == [[(1, False)], [(1, True)], [(1, True)], [(1, True)]]

    other.let_go([each for together in claims for each in together])
    clock.turn(1)
    assert journal.claim("a", limit=9, terms=terms)[0].step == 2


def test_what_a_person_must_decide_about_waits_until_he_does(journal, open_journal_again, clock):
    """For a far side where a repeat hurts: nothing is claimed, and both answers are possible."""
    terms = Terms(lease_s=1, holds_unknown=True)
    for number in range(2):
        journal.record(new_event(timestamp=number))
    claims = journal.claim("a", limit=2, terms=terms)
    clock.turn(1)
    other = open_journal_again()

    assert other.claim("a", limit=2, terms=terms) == []
    assert [(row.state, row.held, row.due_at) for row in other.deliveries(Filter())] == [("pending", True, None)] * 2
    assert (other.next_due_in_s("a"), other.owed()[0].held) == (None, 2)

    sent, lost = (each.delivery for each in claims)
    assert other.confirm(sent.id, who="ana", reason="the EHR has it")
    assert other.replay([Replay(event_id=lost.event_id, destination="a")], who="ana") == 1
    assert [each.delivery.id for each in other.claim("a", limit=2, terms=terms)] == [lost.id]
    assert [(done.who, done.what, done.reason) for done in other.history(sent.id)] == [
        ("ana", "confirm", "the EHR has it")
    ]
    assert other.confirm(sent.id, who="ana", reason="again") is False


def test_what_is_held_can_be_discarded(journal, open_journal_again, clock):
    """The other answer to the same question: nobody wants it any more."""
    terms = Terms(lease_s=1, holds_unknown=True)
    journal.record(new_event())
    (claim,) = journal.claim("a", limit=1, terms=terms)
    clock.turn(1)
    other = open_journal_again()
    assert other.claim("a", limit=1, terms=terms) == []

    assert other.discard(claim.delivery.id, who="ana", reason="moved away")
    assert [(row.state, row.held) for row in other.deliveries(Filter())] == [("dead", False)]


def test_what_was_not_begun_is_put_back_as_it_was(journal):
    """No attempt, no step; it is due at once, and its number is not used up."""
    journal.record(new_event())
    (claim,) = journal.claim("a", limit=1, terms=TERMS)

    journal.release([claim])

    (again,) = journal.claim("a", limit=1, terms=TERMS)
    assert (again.delivery.attempt, again.step) == (1, 1)
    assert journal.attempts(claim.delivery.id) == []


def test_a_paused_destination_is_claimed_nothing_and_keeps_what_it_is_owed(journal):
    """Also what comes meanwhile; others go on."""
    journal.pause("a", who="ana", reason="the EHR moves")
    journal.record(new_event(owed_to=("a", "b")))

    assert (journal.claim("a", limit=9, terms=TERMS), journal.next_due_in_s("a")) == ([], None)
    assert len(journal.claim("b", limit=9, terms=TERMS)) == 1
    standing = journal.standings()["a"]
    assert (standing.paused_by, standing.reason) == ("ana", "the EHR moves")

    journal.resume("a", who="ana")
    assert len(journal.claim("a", limit=9, terms=TERMS)) == 1
    assert journal.standings()["a"].paused_at is None
    assert [done.what for done in journal.history("a")] == ["pause", "resume"]


def test_whoever_paused_a_destination_last_is_the_one_who_is_told(journal):
    """He is the one to ask."""
    journal.pause("a", who="ana", reason="the EHR moves")
    journal.pause("a", who="bob", reason="it moves back")

    standing = journal.standings()["a"]
    assert (standing.paused_by, standing.reason) == ("bob", "it moves back")


BRAKE = Terms(lease_s=60, brake=Brake(failures=3, first_wait_s=30, longest_wait_s=100))


def fail(journal, *, due=1) -> list[Claim]:
    """Claim what is to be had, and fail at all of it."""
    claims = journal.claim("a", limit=9, terms=BRAKE)
    assert len(claims) == due
    for claim in claims:
        settlement = Settlement(state=State.PENDING, wait_s=5, counts=claim.counts)
        settle(journal, claim, RETRY[0], settlement, terms=BRAKE)
    return claims


def test_a_destination_that_fails_again_and_again_is_left_alone_and_probed(journal, clock):
    """Its deliveries wait, and none of the waiting or probing counts against them; each probe is another one."""
    for number in range(5):
        journal.record(new_event(timestamp=number))
        clock.turn(0.001)
    fail(journal, due=5)  # three in a row open it; the other two were under way
    assert journal.standings()["a"].circuit.open_since == clock.ms

    probed, waits = [], []
    for _ in range(5):
        waits.append(journal.next_due_in_s("a"))
        clock.turn(waits[-1] - 0.001)
        assert journal.claim("a", limit=9, terms=BRAKE) == []
        clock.turn(0.001)
        probed += fail(journal)
    assert [30 <= wait <= 33 for wait in waits[:1]] == [True]
    assert [60 <= wait <= 63 for wait in waits[1:2]] == [True]
    assert all(100 <= wait <= 103 for wait in waits[2:])
    assert len({claim.delivery.id for claim in probed}) == 5
    assert {claim.step for claim in probed} == {2}


def test_a_circuit_closes_one_delivery_after_the_other(journal, clock):
    """What returns on Monday is not flooded: as many must succeed, alone, as had to fail."""
    for number in range(9):
        journal.record(new_event(timestamp=number))
    fail(journal, due=9)
    clock.turn(3600)
    for missing in (2, 1, 0):
        (claim,) = journal.claim("a", limit=9, terms=BRAKE)
        assert claim.probe
        assert journal.claim("a", limit=9, terms=BRAKE) == []
        settle(journal, claim, *DELIVERED, terms=BRAKE)
        assert journal.standings()["a"].circuit.failures == missing

    assert journal.standings()["a"].circuit == Circuit(answered_at=clock.ms)
    assert len(journal.claim("a", limit=9, terms=BRAKE)) == 6


def test_one_that_fails_while_others_get_through_is_at_fault_itself(journal, clock):
    """Else a single bad delivery of a small clinic would be probed for ever, and never be a dead letter."""
    journal.record(new_event(timestamp=0))
    counted = []
    for number in range(1, 9):
        (bad,) = fail(journal)
        counted.append((bad.probe, bad.counts, bad.step))
        if number in {5, 6}:  # another one comes by, and gets through
            clock.turn(1)
            journal.record(new_event(timestamp=number))
            clock.turn(200)
            (good,) = journal.claim("a", limit=9, terms=BRAKE)
            assert good.delivery.id != bad.delivery.id
            settle(journal, good, *DELIVERED, terms=BRAKE)
        clock.turn(200)

    probes = [(True, False, 4)] * 2
    assert counted == [
        (False, True, 1),
        (False, True, 2),
        (False, True, 3),
        *probes,
        (True, True, 4),
        (True, True, 5),
        (True, False, 6),
    ]


def test_a_probe_that_never_ended_is_followed_by_another(journal, open_journal_again, clock):
    """The process may die in it."""
    for number in range(4):
        journal.record(new_event(timestamp=number))
    fail(journal, due=4)
    clock.turn(40)
    journal.let_go(journal.claim("a", limit=9, terms=BRAKE))
    other = open_journal_again()

    assert other.claim("a", limit=9, terms=BRAKE) == []
    clock.turn(60)
    assert len(other.claim("a", limit=9, terms=BRAKE)) == 1


def test_a_probe_is_made_as_soon_as_there_is_something_to_make_it_with(journal, clock):
    """Having looked in vain is no probe: what comes next does not wait for it."""
    for number in range(3):
        journal.record(new_event(timestamp=number))
    later = RETRY[0], Settlement(state=State.PENDING, wait_s=3600)
    for claim in journal.claim("a", limit=9, terms=BRAKE):
        settle(journal, claim, *later, terms=BRAKE)
    clock.turn(40)
    assert journal.claim("a", limit=9, terms=BRAKE) == []

    journal.record(new_event(timestamp=3))

    assert [claim.probe for claim in journal.claim("a", limit=9, terms=BRAKE)] == [True]


def test_a_circuit_waits_as_long_as_it_was_to_when_the_clock_is_set(journal, clock):
    """Else a clock set back by a day leaves a destination alone for a day."""
    for number in range(3):
        journal.record(new_event(timestamp=number))
    fail(journal, due=3)
    opened_at, wait_s = clock.ms, journal.next_due_in_s("a")

    clock.jump(-86_400)

    assert journal.next_due_in_s("a") == wait_s
    assert journal.standings()["a"].circuit.open_since == opened_at - 86_400_000


def test_a_success_that_moves_the_circuit_wakes_the_other_lanes(journal, clock):
    """They would sleep until their own next look, and the destination would come back lane by lane."""
    for number in range(3):
        journal.record(new_event(timestamp=number))
    fail(journal, due=3)
    clock.turn(40)
    (claim,) = journal.claim("a", limit=9, terms=BRAKE)
    told = []
    journal.on_due(told.append)

    settle(journal, claim, *DELIVERED, terms=BRAKE)
    journal.probe()

    assert told == [frozenset({"a"})]


def test_resuming_tries_an_open_circuit_at_once(journal, clock):
    """A person knows that the far side is back."""
    for number in range(3):
        journal.record(new_event(timestamp=number))
    fail(journal, due=3)
    clock.turn(10)
    assert journal.claim("a", limit=9, terms=BRAKE) == []

    journal.resume("a", who="ana")

    assert len(journal.claim("a", limit=9, terms=BRAKE)) == 1


def ordered(timestamp: int, *keys: str) -> NewEvent:
    """An event that is owed to `a` in the order of its keys."""
    new = new_event(timestamp=timestamp, data={"reportId": f"{timestamp} {keys}"})
    return NewEvent(event=new.event, id=new.id, body=new.body, owed_to={"a": keys})


def claimed(journal, *, limit=9) -> list[tuple[int, Claim]]:
    """What can be claimed, by its timestamp."""
    claims = journal.claim("a", limit=limit, terms=TERMS)
    return [(parse(each.delivery.body).timestamp.microsecond // 1000, each) for each in claims]


def test_events_of_one_kit_are_delivered_in_the_order_of_their_timestamps_one_at_a_time(journal, clock):
    """Whatever the order in which they came; other kits do not wait for them."""
    for timestamp, key in ((3, "K1"), (1, "K1"), (2, "K1"), (5, "K2")):
        journal.record(ordered(timestamp, key))
        clock.turn(1)

    made = []
    while claims := claimed(journal):
        made.append([timestamp for timestamp, _ in claims])
        for _, claim in claims:
            settle(journal, claim, *(DEAD if len(made) == 2 else DELIVERED))

    assert made == [[1, 5], [2], [3]]


def test_followers_wait_for_one_that_waits_and_one_that_comes_late_is_not_late(journal, clock):
    """A retry holds its followers; an earlier event that comes meanwhile goes before it."""
    journal.record(ordered(2, "K1"))
    journal.record(ordered(3, "K1"))
    ((_, second),) = claimed(journal)
    journal.record(ordered(1, "K1"))
    assert claimed(journal) == []  # nothing overtakes what runs
    settle(journal, second, *RETRY)

    ((first, claim),) = claimed(journal)
    assert first == 1
    settle(journal, claim, *DELIVERED)
    ((next_one, claim),) = claimed(journal)
    assert next_one == 2
    journal.release([claim])
    assert [timestamp for timestamp, _ in claimed(journal)] == [2]


@pytest.mark.parametrize("how", ["released", "rescued"])
def test_one_that_is_put_back_lets_an_earlier_one_that_came_meanwhile_go_first(journal, clock, how):
    """It stood before all others only while it ran."""
    journal.record(ordered(2, "K1"))
    ((_, claim),) = claimed(journal)
    journal.record(ordered(1, "K1"))

    if how == "released":
        journal.release([claim])
    else:
        journal.let_go([claim])
        clock.turn(60)

    assert [timestamp for timestamp, _ in claimed(journal)] == [1]


def test_events_of_one_moment_are_delivered_one_after_the_other(journal):
    """In the order in which they came, and none is left behind: neither by one that ran nor by one that is gone."""
    for keys in (("K1",), ("K1", "K2"), ("K1", "K3")):
        journal.record(ordered(1, *keys))
    first = journal.deliveries(Filter())[-1]

    assert journal.discard(first.id, who="ana", reason="a test")
    for _ in range(2):
        ((_, claim),) = claimed(journal)
        settle(journal, claim, *DELIVERED)
    assert claimed(journal) == []


def test_each_destination_keeps_an_order_of_its_own(journal):
    """One that is away must not hold up what its neighbour is owed of the same kit."""
    for timestamp in (1, 2):
        new = ordered(timestamp, "K1")
        journal.record(NewEvent(event=new.event, id=new.id, body=new.body, owed_to={"a": ("K1",), "b": ("K1",)}))
    (first,) = journal.claim("b", limit=9, terms=TERMS)

    assert [timestamp for timestamp, _ in claimed(journal)] == [1]
    settle(journal, first, *DELIVERED)
    assert len(journal.claim("b", limit=9, terms=TERMS)) == 1


def test_whoever_waits_for_one_of_his_kit_is_told_when_it_is_settled(journal):
    """Its turn has come at once, not at the lane's next look."""
    for timestamp in (1, 2):
        journal.record(ordered(timestamp, "K1"))
    ((_, claim),) = claimed(journal)
    told = []
    journal.on_due(told.append)

    settle(journal, claim, *DELIVERED)
    journal.probe()

    assert told == [frozenset({"a"})]


def test_one_that_is_held_holds_its_followers_until_a_person_decides(journal, open_journal_again, clock):
    """Else a later state of the kit would get there first."""
    terms = Terms(lease_s=1, holds_unknown=True)
    for timestamp in (1, 2):
        journal.record(ordered(timestamp, "K1"))
    (claim,) = journal.claim("a", limit=9, terms=terms)
    clock.turn(1)
    other = open_journal_again()

    assert other.claim("a", limit=9, terms=terms) == []
    assert other.confirm(claim.delivery.id, who="ana", reason="the EHR has it")
    assert [timestamp for timestamp, _ in claimed(other)] == [2]


def test_an_assignment_of_several_kits_waits_for_all_of_them(journal):
    """And each of them for it."""
    journal.record(ordered(1, "K1"))
    journal.record(ordered(2, "K2"))
    journal.record(ordered(3, "K1", "K2"))
    journal.record(ordered(4, "K2"))
    (one, first), (two, second) = claimed(journal)
    assert (one, two) == (1, 2)

    settle(journal, first, *DELIVERED)
    assert claimed(journal) == []
    settle(journal, second, *DELIVERED)
    ((three, third),) = claimed(journal)
    assert three == 3
    settle(journal, third, *DELIVERED)
    assert [timestamp for timestamp, _ in claimed(journal)] == [4]


def test_what_is_replayed_takes_its_place_in_the_order(journal):
    """Before the later ones that still wait, behind the one that runs; a discarded one lets the others go."""
    new = ordered(1, "K1")
    journal.record(new)
    settle(journal, claimed(journal)[0][1], *DEAD)
    for timestamp in (2, 3):
        journal.record(ordered(timestamp, "K1"))
    replay = Replay(event_id=new.id.id, destination="a", order_keys=("K1",))

    assert journal.replay([replay], who="ana") == 1
    ((one, claim),) = claimed(journal)
    assert one == 1
    settle(journal, claim, *DEAD)
    waiting = {row.id for row in journal.deliveries(Filter(state=State.PENDING)) if row.due_at is None}
    assert len(waiting) == 1
    (due,) = {row.id for row in journal.deliveries(Filter(state=State.PENDING))} - waiting
    assert journal.discard(due, who="ana", reason="not wanted")
    assert [timestamp for timestamp, _ in claimed(journal)] == [3]


@pytest.mark.parametrize("keys", [(), ("K1",)])
def test_one_that_is_replayed_while_it_waits_still_lets_the_next_one_go(journal, keys):
    """Also when its destination is not ordered any more, and it only has the keys that it had."""
    new = ordered(1, "K1")
    journal.record(new)
    journal.record(ordered(2, "K1"))
    settle(journal, claimed(journal)[0][1], *RETRY)

    assert journal.replay([Replay(event_id=new.id.id, destination="a", order_keys=keys)], who="ana") == 1
    ((one, claim),) = claimed(journal)
    settle(journal, claim, *DELIVERED)

    assert (one, [timestamp for timestamp, _ in claimed(journal)]) == (1, [2])


def test_a_replay_goes_by_the_timestamps_of_the_events_not_by_when_they_came(journal):
    """As the first time."""
    which = []
    for timestamp in (2, 1):
        new = ordered(timestamp, "K1")
        journal.record(new)
        settle(journal, claimed(journal)[0][1], *DELIVERED)
        which.append(Replay(event_id=new.id.id, destination="a", order_keys=("K1",)))

    assert journal.replay(which, who="ana") == 2
    assert [timestamp for timestamp, _ in claimed(journal)] == [1]


@pytest.mark.parametrize("days", [-1, 1, -400, 400])
def test_leases_and_waits_survive_a_clock_that_is_set(journal, open_journal_again, clock, days):
    """What was to come in a minute comes in a minute, and a lease ends no earlier and no later."""
    for number in range(3):
        journal.record(new_event(timestamp=number))
    first, second, third = journal.claim("a", limit=3, terms=TERMS)
    settle(journal, first, *RETRY)
    journal.let_go([second])
    clock.turn(10)
    clock.jump(days * 86_400)

    assert journal.claim("a", limit=3, terms=TERMS) == []
    assert journal.next_due_in_s("a") == 50
    clock.turn(49.999)
    assert journal.claim("a", limit=3, terms=TERMS) == []
    clock.turn(0.001)
    due = {each.delivery.id for each in journal.claim("a", limit=3, terms=TERMS)}
    assert due == {first.delivery.id, second.delivery.id}
    assert journal.attempts(second.delivery.id)[0].started_at == clock.ms - 60_000
    assert settle(journal, third, *DELIVERED)


def test_what_is_due_stays_due_when_the_clock_is_set_back(journal, clock):
    """Also what came in the hour that comes twice."""
    journal.record(new_event())
    clock.turn(5)
    clock.jump(-3600)

    assert len(journal.claim("a", limit=1, terms=TERMS)) == 1


def test_a_clock_that_was_set_back_while_nothing_ran_holds_nothing_up(journal, open_journal_again, clock):
    """A start sees that the time was later already."""
    journal.record(new_event())
    (claim,) = journal.claim("a", limit=1, terms=TERMS)
    settle(journal, claim, *RETRY)
    journal.close()
    clock.jump(-86_400)

    again = open_journal_again(serves=True)

    assert 0 <= again.next_due_in_s("a") <= 70


def test_a_replay_makes_each_delivery_due_once_more_and_only_once(journal, clock):
    """Dead, delivered and never owed alike; what is due or running already is left alone. Two operators do no harm."""
    events = [journal.record(new_event(timestamp=number)).event_id for number in range(4)]
    claims = journal.claim("a", limit=3, terms=TERMS)
    settle(journal, claims[0], *DEAD)
    settle(journal, claims[1], *DELIVERED)
    which = [Replay(event_id=each, destination="a") for each in events]
    which += [Replay(event_id=events[0], destination="later"), Replay(event_id="nobody", destination="a")]

    assert journal.replay(which, who="ana") == 3
    assert journal.replay(which, who="bob") == 0
    again = journal.claim("a", limit=9, terms=TERMS)
    assert [(each.delivery.id, each.step, each.has_letter) for each in again] == [
        (f"{events[0]}:a", 1, True), (f"{events[1]}:a", 1, False), (f"{events[3]}:a", 1, False)
    ]  # fmt: skip
    assert [each.delivery.attempt for each in again] == [2, 2, 1]
    assert len(journal.claim("later", limit=9, terms=TERMS)) == 1
    assert [each.outcome for each in journal.attempts(f"{events[0]}:a")] == ["permanent"]


def test_a_replay_can_be_spread_over_time(journal, clock):
    """So many per second: a far side is not flooded."""
    events = [journal.record(new_event(timestamp=number, owed_to=())).event_id for number in range(500)]

    assert journal.replay([Replay(event_id=each, destination="a") for each in events], who="ana", per_s=2) == 500
    due = sorted(row.due_at - clock.ms for row in journal.deliveries(Filter(limit=1000)))
    assert (due[0], due[1], due[2]) == (0, 500, 1000)
    assert 245_000 <= due[-1] <= 249_500


def test_one_that_waits_need_not_wait_any_longer(journal):
    """A person knows that the far side is back; its schedule starts anew."""
    event_id = journal.record(new_event()).event_id
    settle(journal, journal.claim("a", limit=1, terms=TERMS)[0], *RETRY)

    assert journal.replay([Replay(event_id=event_id, destination="a")], who="ana") == 1
    assert [each.step for each in journal.claim("a", limit=1, terms=TERMS)] == [1]


def test_a_dead_letter_that_is_still_to_be_written_is_remembered(journal):
    """Until it is, or until the delivery lives again."""
    for number in range(2):
        journal.record(new_event(timestamp=number))
    first, second = journal.claim("a", limit=2, terms=TERMS)
    settle(journal, first, *DEAD, letter=False)
    settle(journal, second, *DEAD, letter=True)

    (owed,) = journal.owed_letters()
    assert (owed.delivery, owed.reason) == (first.delivery, "no such patient")
    journal.letter_written(owed.delivery)
    assert journal.owed_letters() == []


def test_it_is_known_whether_there_is_a_dead_letter(journal):
    """Until it is delivered, also through failures; one put back by hand counts. Else a file is left behind."""
    which = Replay(event_id=journal.record(new_event()).event_id, destination="a")
    from_letter = replace(which, has_letter=True)
    settle(journal, journal.claim("a", limit=1, terms=TERMS)[0], *DEAD, letter=False)
    told = []
    for replay, settled in ((from_letter, RETRY), (which, DELIVERED), (which, DELIVERED)):
        journal.replay([replay], who="ana")
        (claim,) = journal.claim("a", limit=1, terms=TERMS)
        told.append(claim.has_letter)
        settle(journal, claim, *settled)
    journal.replay([replace(from_letter, destination="later")], who="ana")

    assert told == [True, True, False]
    assert [each.has_letter for each in journal.claim("later", limit=1, terms=TERMS)] == [True]


def test_one_that_is_discarded_is_dead_for_good_and_says_who_and_why(journal):
    """Pending or dead, not running or delivered."""
    for number in range(2):
        journal.record(new_event(timestamp=number))
    (claim,) = journal.claim("a", limit=1, terms=TERMS)
    waiting = next(row.id for row in journal.deliveries(Filter()) if row.state is State.PENDING)

    assert journal.discard(waiting, who="ana", reason="a test order")
    assert journal.discard(claim.delivery.id, who="ana", reason="it runs") is False
    (row,) = journal.deliveries(Filter(state=State.DEAD))
    assert (row.id, row.last_error) == (waiting, "discarded by ana: a test order")
    assert journal.owed_letters() == []
    assert [(done.what, done.about) for done in journal.history(waiting)] == [("discard", waiting)]
    settle(journal, claim, *DEAD, letter=False)
    assert journal.discard(claim.delivery.id, who="ana", reason="nor this one")
    assert journal.owed_letters() == []


def test_every_event_can_be_gone_through_whatever_there_is(journal):
    """In pages, the oldest first, by the same filters; nobody keeps a snapshot meanwhile."""
    for number in range(1200):
        journal.record(new_event("kit-received" if number % 2 else "report-ready", timestamp=number))

    pages = list(journal.pages(Filter(type="kit-received", limit=1)))

    assert [len(page) for page in pages] == [500, 100]
    assert [row.timestamp for page in pages for row in page] == list(range(1, 1200, 2))


def test_whoever_waits_learns_of_what_another_process_wrote(journal, open_journal_again):
    """Say of a replay by a command: within a second or so."""
    told = threading.Event()
    journal.on_due(lambda due: told.set() if due is None else None)

    open_journal_again().record(new_event())

    assert told.wait(20)


def test_events_and_deliveries_are_found_by_what_is_asked(journal, clock):
    """Each filter alone, newest first."""
    kits = [{"patientId": "p", "kitCode": code, "product": "regular"} for code in ("KIT1", "KIT2", "KIT3")]
    journal.record(new_event("assignment-status-changed", data={"sets": kits}))
    clock.turn(10)
    middle = clock.ms
    journal.record(new_event("kit-received", data={"kitCode": "KIT2"}, owed_to=("a", "b")))
    clock.turn(10)
    journal.record(new_event("order-status-changed", owed_to=()))
    settle(journal, journal.claim("b", limit=1, terms=TERMS)[0], *DEAD)

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
    first, second, _ = journal.claim("a", limit=3, terms=TERMS)
    settle(journal, first, *DELIVERED)
    settle(journal, second, *DEAD)

    a, b = journal.owed()

    assert (a.destination, a.pending, a.running, a.dead, a.oldest_due_at) == ("a", 1, 1, 1, began)
    assert (b.destination, b.pending, b.running, b.dead) == ("b", 4, 0, 0)
    journal.claim("b", limit=4, terms=TERMS)
    assert journal.owed()[1].oldest_due_at is None  # the end of a lease is no such time


def test_an_event_shows_the_state_that_needs_a_look_first(journal):
    """A dead delivery before any other, then what runs, then what waits."""
    journal.record(new_event(owed_to=("a", "b", "c")))

    shown = [journal.events(Filter())[0].state]
    (first,) = journal.claim("b", limit=1, terms=TERMS)
    shown.append(journal.events(Filter())[0].state)
    settle(journal, first, *DEAD)
    journal.claim("c", limit=1, terms=TERMS)
    shown.append(journal.events(Filter())[0].state)

    assert shown == ["pending", "running", "dead"]


def test_a_busy_journal_looks_for_what_others_wrote_and_wakes_nobody_for_nothing(
    journal, open_journal_again, monkeypatch
):
    """It may never be idle; and a lane that is woken asks the journal, which is work for all of them."""
    monkeypatch.setattr("glycanbridge.journals.sqlite.LOOKED_EVERY_S", 0)
    other, told = open_journal_again(), []
    journal.on_due(told.append)

    for _ in range(3):
        journal.probe()
    assert told == []
    other.record(new_event())
    for _ in range(3):
        journal.probe()
    assert told == [None]


def test_whoever_asked_is_told_what_new_deliveries_are_for(journal):
    """After the commit, once for a group; a duplicate wakes nobody."""
    told = []
    journal.on_due(told.append)

    journal.record(new_event(owed_to=("a", "b")))
    journal.record(new_event(owed_to=("a", "b")))
    journal.record(new_event("order-status-changed", owed_to=()))
    journal.probe()

    assert told == [frozenset({"a", "b"})]


def test_whoever_asked_is_told_what_a_person_let_go_on(journal):
    """A replay and a resumed destination need no other look at the clock."""
    event_id = journal.record(new_event(owed_to=())).event_id
    told = []
    journal.on_due(told.append)

    journal.replay([Replay(event_id=event_id, destination="a")], who="ana")
    journal.resume("b", who="ana")
    journal.probe()

    assert told == [frozenset({"a"}), frozenset({"b"})]


def test_a_listener_that_fails_does_not_stop_the_journal(journal):
    """It is the only thread that writes."""
    journal.on_due(lambda due: due.not_there)

    journal.record(new_event())

    assert journal.record(new_event("kit-received")).duplicate is False


def test_a_closed_journal_says_so(journal):
    """It loses nothing silently."""
    journal.record(new_event())
    journal.close()

    with pytest.raises(JournalUnavailable, match="is closed"):  # at once
        journal.record(new_event("kit-received"))


@pytest.mark.parametrize("seconds", [-3, 3])
def test_a_small_step_of_the_clock_is_followed_once(journal, clock, seconds):
    """Also just after the clocks were noted: one that was followed again in every commit would park everything."""
    journal.record(new_event(owed_to=("a", "b")))
    settle(journal, journal.claim("a", limit=1, terms=TERMS)[0], *RETRY)
    clock.turn(1)
    clock.jump(seconds)
    for number in range(1, 6):
        journal.record(new_event(timestamp=number, owed_to=("b",)))
        clock.turn(0.5)

    assert journal.next_due_in_s("a") == 60 - 1 - 2.5
    assert len(journal.claim("b", limit=9, terms=TERMS)) == 6


def test_a_replay_of_what_has_changed_since_it_was_chosen_leaves_it_alone(journal):
    """Two operators at once, or one while the bridge delivers: nothing is delivered twice because of it."""
    event_id = journal.record(new_event()).event_id
    (claim,) = journal.claim("a", limit=1, terms=TERMS)
    settle(journal, claim, *DEAD)
    chosen = Replay(event_id=event_id, destination="a", chosen=(State.DEAD, 1))
    assert journal.replay([chosen], who="ana") == 1
    settle(journal, journal.claim("a", limit=1, terms=TERMS)[0], *DELIVERED)

    assert journal.replay([chosen], who="bob") == 0
    assert journal.replay([Replay(event_id=event_id, destination="a")], who="ana") == 1


def test_two_that_are_at_fault_themselves_do_not_keep_a_healthy_destination_closed(journal, clock):
    """Each comes to its end, and others go on at once."""
    for number in range(2):
        journal.record(new_event(timestamp=number))
    for _ in range(3):
        for claim in journal.claim("a", limit=9, terms=BRAKE):
            settle(
                journal, claim, RETRY[0], Settlement(state=State.PENDING, wait_s=5, counts=claim.counts), terms=BRAKE
            )
        clock.turn(200)
    assert journal.standings()["a"].circuit.open_since is not None
    steps, waits = [], []
    for number in range(10, 20):
        journal.record(new_event(timestamp=number))
        waits.append(journal.next_due_in_s("a"))
        clock.turn(waits[-1])
        while claims := journal.claim("a", limit=9, terms=BRAKE):
            for claim in claims:
                good = parse(claim.delivery.body).timestamp.microsecond >= 10_000
                how = DELIVERED if good else (RETRY[0], Settlement(state=State.PENDING, wait_s=5, counts=claim.counts))
                settle(journal, claim, *how, terms=BRAKE)
                steps += [] if good else [claim.step]
        clock.turn(200)

    assert max(steps) > 8
    assert sum(waits[2:]) == 0


def test_what_a_stop_cuts_off_is_journaled_and_has_lost_nothing(journal, open_journal_again):
    """Nobody died: it is due again at its old step, or held; an outcome that comes yet changes nothing."""
    for number in range(2):
        journal.record(new_event(timestamp=number, owed_to=("a", "b")))
    (claim,) = journal.claim("a", limit=1, terms=Terms(unknown_counts=True))
    journal.claim("b", limit=1, terms=Terms(holds_unknown=True))

    journal.stop()

    assert settle(journal, claim, *DELIVERED) is False
    assert [each.outcome for each in journal.attempts(claim.delivery.id)] == ["unknown"]
    again = {each.delivery.id: each.step for each in journal.claim("a", limit=9, terms=TERMS)}
    assert again[claim.delivery.id] == 1
    assert [row.destination for row in journal.deliveries(Filter(held=True))] == ["b"]


def test_what_is_put_back_keeps_its_place(journal, clock):
    """Else the rest of a batch would go behind a backlog of a million each time that one fails."""
    for number in range(4):
        journal.record(new_event(timestamp=number))
        clock.turn(1)
    first, second = journal.claim("a", limit=2, terms=TERMS)

    journal.release([second, first])

    assert [timestamp for timestamp, _ in claimed(journal)] == [0, 1, 2, 3]


def test_what_was_running_for_a_destination_without_lanes_can_be_rescued(journal, open_journal_again, clock):
    """Removed from bridge.yaml, or paused: a person must be able to discard it."""
    journal.record(new_event())
    journal.claim("a", limit=1, terms=Terms(lease_s=1))
    journal.pause("a", who="ana", reason="gone")
    clock.turn(1)
    other = open_journal_again()

    assert other.claim("a", limit=0, terms=TERMS) == []
    (row,) = other.deliveries(Filter())
    assert row.state is State.PENDING
    assert other.discard(row.id, who="ana", reason="gone")
    assert (other.owed(), other.deliveries(Filter())[0].discarded) == ([], True)
