"""What a person sends again: dead letters, also without a journal, past events, deliveries."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from conftest import Taker, make_destination, make_lane
from serving import SECRET, sample
from test_journal import DELIVERED, TERMS, settle

from glycanbridge import PermanentError
from glycanbridge.delivery import State
from glycanbridge.destinations import Destinations
from glycanbridge.errors import DeadLetterError, ParseError
from glycanbridge.journal import Filter
from glycanbridge.replays import chosen_deliveries, chosen_events, discard_letter, is_event_of, replay_letter
from glycanbridge.signature import sign


@pytest.fixture
def lose_journal(tmp_path, clock):
    """Takes a bridge's journal away and gives it a new one."""
    opened = []

    def lose(bridge):
        bridge.journal.close()
        for file in tmp_path.glob("journal.db*"):
            file.unlink()
        bridge.journal = type(bridge.journal)(tmp_path / "journal.db", clock=clock, steady=clock.steady)
        opened.append(bridge.journal)
        return bridge.journal

    yield lose
    for journal in opened:
        journal.close()


def accept(bridge, event_type="report-ready", **changes) -> None:
    """Hand a sample event to the bridge."""
    body = sample(event_type, **changes)
    bridge.accept(body, sign(body, SECRET))


@pytest.fixture
def dead(make_bridge, dead_letters):
    """A bridge with one dead delivery and its dead letter; the plugin is well again."""
    taker = Taker()
    taker.raises = PermanentError("no such patient")
    destination = make_destination("a", taker)
    bridge, lane = make_bridge(destination), make_lane(destination)
    bridge.accept(sample(), sign(sample(), SECRET))
    bridge.deliver_next(lane)
    taker.raises = None
    (letter,) = dead_letters.letters()
    return bridge, lane, letter


def replay(letter, bridge, dead_letters, *, journal=None) -> str:
    """Send a dead letter again."""
    journal = journal or bridge.journal
    return replay_letter(
        letter, journal=journal, destinations=bridge.destinations, dead_letters=dead_letters, who="ana"
    )


def test_a_dead_letter_is_delivered_and_then_its_file_goes(dead, dead_letters):
    """Not before; and a second replay finds that it was delivered."""
    bridge, lane, letter = dead

    assert replay(letter, bridge, dead_letters) == "is due now"
    assert len(list(dead_letters.letters())) == 1
    bridge.deliver_next(lane)

    assert list(dead_letters.letters()) == []
    (row,) = bridge.journal.deliveries(Filter())
    assert (row.state, row.attempts) == (State.DELIVERED, 2)
    dead_letters._write(letter)
    assert "delivered already" in replay(letter, bridge, dead_letters)
    assert list(dead_letters.letters()) == []
    assert bridge.deliver_next(lane) is False


def test_one_that_dies_again_has_the_same_letter(dead, dead_letters):
    """With what was said last."""
    bridge, _, letter = dead
    replay(letter, bridge, dead_letters)
    taker = Taker()
    taker.raises = PermanentError("still no such patient")
    bridge.deliver_next(make_lane(make_destination("a", taker)))

    (again,) = dead_letters.letters()
    assert (again.id, again.reason, again.attempts) == (letter.id, "still no such patient", 2)


def test_a_dead_letter_is_enough_when_the_journal_is_gone(dead, dead_letters, tmp_path, clock):
    """The event is recorded from it, as it was received, and owed to that destination alone."""
    bridge, lane, letter = dead
    bridge.journal.close()
    for file in tmp_path.glob("journal.db*"):
        file.unlink()
    clock.turn(1000)
    journal = type(bridge.journal)(tmp_path / "journal.db", clock=clock, steady=clock.steady)
    bridge.journal = journal
    bridge.destinations = Destinations([lane.destination, make_destination("b", Taker())])

    assert replay(letter, bridge, dead_letters) == "is due now"
    (event,) = journal.events(Filter())
    assert (event.id, event.received_at, event.body) == (letter.event_id, clock.ms - 1_000_000, sample())
    assert [row.destination for row in journal.deliveries(Filter())] == ["a"]
    bridge.deliver_next(lane)

    assert list(dead_letters.letters()) == []
    journal.close()


def test_a_letter_of_an_id_that_two_events_had_is_delivered_under_what_is_free_now(
    make_bridge, dead_letters, lose_journal
):
    """The second one was kept under its hash, and the new journal knows no first one: nothing is left of the file."""
    taker = Taker()
    destination = make_destination("a", taker)
    bridge, lane = make_bridge(destination), make_lane(destination)
    accept(bridge, id="evt_1")
    bridge.deliver_next(lane)
    taker.raises = PermanentError("no such patient")
    accept(bridge, id="evt_1", data={"reportId": "r2"})
    bridge.deliver_next(lane)
    taker.raises = None
    (letter,) = dead_letters.letters()
    journal = lose_journal(bridge)

    assert replay(letter, bridge, dead_letters) == "is due now"
    bridge.deliver_next(lane)

    assert [row.id for row in journal.deliveries(Filter(state=State.DELIVERED))] == ["evt_1:a"]
    assert taker.taken[-1][0].data.report_id == "r2"
    assert list(dead_letters.letters()) == []


def test_an_event_whose_id_only_begins_alike_is_another_one(make_bridge, dead_letters, lose_journal):
    """`evt_1` is not there because `evt_10` is."""
    taker = Taker()
    taker.raises = PermanentError("no such patient")
    destination = make_destination("a", taker)
    bridge = make_bridge(destination)
    accept(bridge, id="evt_1")
    bridge.deliver_next(make_lane(destination))
    (letter,) = dead_letters.letters()
    journal = lose_journal(bridge)
    accept(bridge, id="evt_10", data={"reportId": "r2"})

    assert replay(letter, bridge, dead_letters) == "is due now"
    assert {row.id for row in journal.deliveries(Filter())} == {"evt_1:a", "evt_10:a"}


def test_a_body_that_was_changed_by_hand_is_not_sent(dead, dead_letters, tmp_path, clock):
    """A report of somebody else under this one's name must reach nobody."""
    bridge, _, _ = dead
    (file,) = dead_letters.directory.iterdir()
    told = json.loads(file.read_text())
    file.write_text(json.dumps(told | {"body": told["body"].replace("patient_123", "patient_124"), "event_id": "e9"}))
    (changed,) = dead_letters.letters()

    with pytest.raises(DeadLetterError, match="its body is not that of the event e9"):
        replay(changed, bridge, dead_letters)
    assert len(bridge.journal.events(Filter())) == 1


def test_a_letter_whose_destination_is_gone_waits_for_it(dead, dead_letters):
    """It is owed, and says so."""
    bridge, _, letter = dead
    bridge.destinations = Destinations([])

    assert replay(letter, bridge, dead_letters) == "waits: a is not in bridge.yaml"
    assert bridge.journal.deliveries(Filter())[0].state is State.PENDING


def test_a_quarantined_body_becomes_an_ordinary_event_once_it_is_understood(
    make_bridge, dead_letters, monkeypatch, clock
):
    """After an upgrade, say; owed to whoever takes it, as if it had been understood when it came."""
    bridge = make_bridge(make_destination("a", Taker()))
    with monkeypatch.context() as patch:

        def not_yet(_body):
            raise ParseError("unknown event type")

        patch.setattr("glycanbridge.bridge.parse", not_yet)
        bridge.accept(sample(), sign(sample(), SECRET))
    (letter,) = dead_letters.letters()
    came_at = clock.ms
    clock.turn(86_400)

    told = replay(letter, bridge, dead_letters)

    (event,) = bridge.journal.events(Filter())
    assert told == f"is the event {event.id}, owed to a"
    assert list(dead_letters.letters()) == []
    assert event.received_at == came_at
    assert [(done.who, done.what) for done in bridge.journal.history(letter.id)] == [("ana", "replay")]
    dead_letters._write(letter)
    assert "was there already" in replay(letter, bridge, dead_letters)


def test_one_that_is_still_not_understood_stays(make_bridge, dead_letters):
    """Untouched."""
    bridge = make_bridge()
    bridge.accept(b"[]", sign(b"[]", SECRET))
    (letter,) = dead_letters.letters()

    with pytest.raises(ParseError):
        replay(letter, bridge, dead_letters)
    assert list(dead_letters.letters()) == [letter]


def test_a_discarded_letter_is_gone_and_it_is_known_who_did_it(dead, dead_letters):
    """Both kinds; the delivery stays dead, and its letter is not written again."""
    bridge, _, _ = dead
    bridge.accept(b"[]", sign(b"[]", SECRET))

    for each in list(dead_letters.letters()):
        discard_letter(each, journal=bridge.journal, dead_letters=dead_letters, who="ana", reason="a test")

    assert list(dead_letters.letters()) == []
    (row,) = bridge.journal.deliveries(Filter())
    assert (row.state, row.last_error) == (State.DEAD, "discarded by ana: a test")
    assert bridge.journal.owed_letters() == []
    assert [done.reason for done in bridge.journal.history(row.id)] == ["a test"]


def test_what_is_discarded_is_in_the_history_once_also_when_its_delivery_is_gone(dead, dead_letters, lose_journal):
    """With the delivery where there is one, else with the letter."""
    bridge, _, letter = dead
    by_whom = {"dead_letters": dead_letters, "who": "ana", "reason": "a test"}
    discard_letter(letter, journal=bridge.journal, **by_whom)
    assert [done.what for done in bridge.journal.history(f"{letter.event_id}:a")] == ["discard"]
    assert bridge.journal.history(letter.id) == []

    journal = lose_journal(bridge)
    discard_letter(letter, journal=journal, **by_whom)
    assert [(done.who, done.what) for done in journal.history(letter.id)] == [("ana", "discard")]


def test_a_destination_that_came_later_is_given_the_past_that_it_takes(make_bridge, clock):
    """Its events and practices hold as ever: nothing reaches the wrong place."""
    bridge = make_bridge()
    for number, event_type in enumerate(("kit-received", "report-ready", "order-status-changed")):
        for practice in ("p1", "p2"):
            body = sample(event_type, timestamp=number, data={"practiceId": practice})
            bridge.accept(body, sign(body, SECRET))
        clock.turn(60)
    late = Destinations([make_destination("late", Taker(), practices=("p2",)), make_destination("b", Taker())])

    def chosen(**which) -> list[str]:
        which |= {"destination": "late"}
        found = chosen_events(Filter(**which), ["late"], questions=bridge.journal, destinations=late)
        types = {row.id: row.type for row in bridge.journal.events(Filter())}
        return [types[each.event_id] for each in found]

    assert chosen() == ["kit-received", "report-ready"]
    assert chosen(type="report-ready") == chosen(since=clock.ms - 120_000) == ["report-ready"]
    everything = chosen_events(Filter(), ["late", "b"], questions=bridge.journal, destinations=late)
    assert len(everything) == 6
    assert bridge.journal.replay(everything, who="ana") == 6
    assert {row.destination for row in bridge.journal.deliveries(Filter())} == {"late", "b"}


def test_dead_deliveries_are_chosen_unless_another_state_is_asked_for(dead):
    """By destination, and by what the event is."""
    bridge, _, _ = dead

    def chosen(**which) -> int:
        return len(chosen_deliveries(Filter(**which), questions=bridge.journal, destinations=bridge.destinations))

    assert (chosen(), chosen(destination="a"), chosen(kit="KIT001234"), chosen(type="report-ready")) == (1, 1, 1, 1)
    assert (chosen(destination="b"), chosen(kit="K"), chosen(state=State.PENDING)) == (0, 0, 0)


def test_what_a_person_discarded_is_not_among_what_is_replayed(dead):
    """Unless it is named: he said that nobody wants it."""
    bridge, _, letter = dead
    bridge.journal.discard(f"{letter.event_id}:a", who="ana", reason="a test")

    assert chosen_deliveries(Filter(), questions=bridge.journal, destinations=bridge.destinations) == []


def test_a_letter_of_another_event_of_the_same_id_is_kept_and_sent(make_bridge, dead_letters):
    """A sender's id may come twice: what is in the letter must not pass for what is in the journal."""
    bridge = make_bridge(make_destination("a", Taker()))
    old, new = sample(id="evt-1", data={"reportId": "old"}), sample(id="evt-1", data={"reportId": "new"})
    bridge.accept(old, sign(old, SECRET))
    (claim,) = bridge.journal.claim("a", limit=1, terms=TERMS)
    letter = dead_letters.bury(claim.delivery, plugin="taker", reason="away")
    other_letter = replace(letter, body=new)
    settle(bridge.journal, claim, *DELIVERED)

    assert not is_event_of(other_letter, bridge.journal)
    assert is_event_of(letter, bridge.journal)
    assert replay(other_letter, bridge, dead_letters) == "is due now"
    assert [json.loads(row.body)["data"]["reportId"] for row in bridge.journal.events(Filter())] == ["new", "old"]


def test_of_one_event_only_the_deliveries_that_fit_are_chosen(make_bridge):
    """Its neighbours have it already, or are not meant; each with what keeps it in order."""
    broken = Taker()
    broken.raises = PermanentError("no such patient")
    destinations = [make_destination(name, broken, ordered_by="kit") for name in ("a", "b")]
    bridge = make_bridge(*destinations, make_destination("c", Taker()))
    accept(bridge)
    for destination in bridge.destinations.values():
        bridge.deliver_next(make_lane(destination))

    def chosen(**which) -> list[tuple[str, tuple[str, ...]]]:
        found = chosen_deliveries(Filter(**which), questions=bridge.journal, destinations=bridge.destinations)
        return [(each.destination, each.order_keys) for each in found]

    assert chosen() == [("a", ("KIT001234",)), ("b", ("KIT001234",))]
    assert chosen(destination="b") == [("b", ("KIT001234",))]
    assert chosen(state=State.DELIVERED) == [("c", ())]


def test_a_letter_whose_delivery_runs_or_is_due_is_left_alone_and_that_is_said(dead, dead_letters):
    """Two operators, or one and the bridge: nobody is told that something happened that did not."""
    bridge, lane, letter = dead
    assert replay(letter, bridge, dead_letters) == "is due now"
    assert replay(letter, bridge, dead_letters).startswith("is due or running already")
    (claim,) = bridge.journal.claim("a", limit=1, terms=TERMS)

    assert replay(letter, bridge, dead_letters).startswith("is due or running already")
    bridge.journal.release([claim])
    bridge.deliver_next(lane)
    assert list(dead_letters.letters()) == []
