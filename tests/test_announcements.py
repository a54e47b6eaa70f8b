"""The bridge's own events: a delivery that was given up is told to every other destination that takes it, for good."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace

import pytest
from conftest import Taker, make_destination, make_lane
from serving import SECRET, delivery, sample

from glycanbridge import DeliveryDead, PermanentError, Personal, TemporaryError, hookimpl
from glycanbridge.announcements import Announcer, settled, told_to
from glycanbridge.bridge import Bridge
from glycanbridge.bridge_events import parse_kept
from glycanbridge.delivery import Claim, Ended, Outcome, Result, Settlement, State
from glycanbridge.destinations import Destination, Destinations
from glycanbridge.errors import ParseError
from glycanbridge.events import parse
from glycanbridge.journal import Filter, Terms
from glycanbridge.journals.sqlite import SqliteJournal
from glycanbridge.plugins import Plugin
from glycanbridge.replays import chosen_events, replay_letter
from glycanbridge.settings import DestinationSettings, RetrySettings
from glycanbridge.signature import sign


class Alarm(Taker):
    """Takes what was given up, and reports, too."""

    @hookimpl
    def on_delivery_dead(self, event, delivery):
        return self._take(event, delivery)


def alarm_at(name: str, alarm: Alarm, **settings) -> Destination:
    """A destination that is told what was given up."""
    types = ("report-ready", "delivery-dead")
    return Destination(
        name=name,
        settings=DestinationSettings(**{"plugin": "alarm", "isolation": "thread"} | settings),
        retry=RetrySettings(tries=1, schedule_s=(5,)),
        folder=None,
        plugin=Plugin("alarm", Alarm, RetrySettings, types),
        make=lambda: alarm,
    )


def claim_of(body: bytes) -> Claim:
    """A claim of a delivery to `ehr`, as no journal has made it."""
    return Claim(delivery=replace(delivery(body), destination="ehr"), row=1, step=1)


@pytest.fixture
def given_up(journal, dead_letters, clock, taker):
    """Makes a bridge in which `ehr` gives a report up, with the destinations given beside it."""
    taker.raises = PermanentError("no such patient")

    def given_up(*others: Destination, body: bytes | None = None) -> Bridge:
        destinations = Destinations([make_destination("ehr", taker), *others])
        bridge = Bridge(secrets=[SECRET], journal=journal, destinations=destinations, dead_letters=dead_letters,
                        announcer=Announcer(destinations, clock=clock))  # fmt: skip
        body = sample() if body is None else body
        bridge.accept(body, sign(body, SECRET))
        bridge.deliver_next(make_lane(destinations["ehr"]))
        return bridge

    return given_up


def run(bridge: Bridge, name: str) -> None:
    """Make everything that is due for a destination."""
    lane = make_lane(bridge.destinations[name])
    while bridge.deliver_next(lane):
        pass


def test_what_is_given_up_is_told_to_another_destination(given_up, journal, clock):
    """As an event of its own, with what a person needs to look it up and nothing of the result."""
    alarm = Alarm()
    bridge = given_up(alarm_at("ops", alarm, events=("delivery-dead",)))
    run(bridge, "ops")

    ((event, delivery),) = alarm.taken
    (dead,) = [each for each in journal.deliveries(Filter()) if each.state is State.DEAD]
    assert isinstance(event, DeliveryDead)
    assert (event.data.delivery_id, event.data.destination, event.data.plugin) == (dead.id, "ehr", "taker")
    assert (event.data.event_type, event.data.attempts, event.data.reason) == ("report-ready", 1, "no such patient")
    assert (event.practice_id, event.kit_codes, event.order_keys("kit")) == ("practice_67890", ("KIT001234",), ())
    assert event.timestamp.timestamp() * 1000 == clock()
    assert (delivery.event_type, delivery.attempt) == ("delivery-dead", 1)
    assert "patient_123" not in delivery.body.decode()
    (row,) = journal.events(Filter(type="delivery-dead"))
    assert (row.kit_code, row.state) == ("KIT001234", State.DELIVERED)


def test_it_has_attempts_of_its_own(given_up, journal, clock):
    """Slack may be away just then: it is tried again like any other."""
    alarm = Alarm()
    bridge = given_up(alarm_at("ops", alarm, events=("delivery-dead",)))
    alarm.raises = TemporaryError("away")
    run(bridge, "ops")
    alarm.raises = None
    clock.turn(60)
    run(bridge, "ops")

    assert [delivery.attempt for _, delivery in alarm.taken] == [1, 2]
    (row,) = journal.deliveries(Filter(type="delivery-dead"))
    assert (row.state, row.attempts) == (State.DELIVERED, 2)


def test_the_end_of_such_a_delivery_causes_no_other(given_up, journal, dead_letters):
    """Two broken alarms must not tell each other of their ends for ever."""
    first, second = Alarm(), Alarm()
    first.raises = second.raises = PermanentError("broken")
    bridge = given_up(*(alarm_at(name, each, events=("delivery-dead",)) for name, each in
                        (("one", first), ("two", second))))  # fmt: skip
    for _ in range(3):
        run(bridge, "one")
        run(bridge, "two")

    assert (len(first.taken), len(second.taken)) == (1, 1)
    assert len(journal.events(Filter())) == 2
    assert len(list(dead_letters.letters())) == 3


def test_a_destination_is_not_told_of_its_own_end(given_up, journal):
    """It has just shown that it takes nothing."""
    alarm = Alarm()
    alarm.raises = PermanentError("broken")
    bridge = given_up(alarm_at("ops", alarm))
    run(bridge, "ops")

    told = [(event.type, getattr(event.data, "destination", None)) for event, _ in alarm.taken]
    assert sorted(told, key=str) == [("delivery-dead", "ehr"), ("report-ready", None)]
    assert len(journal.events(Filter(type="delivery-dead"))) == 1


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"practices": ("practice_67890",)}, 1), ({"practices": ("another",)}, 0), ({"events": ("report-ready",)}, 0)],
)
def test_it_reaches_only_who_takes_the_practice_and_the_type(given_up, journal, settings, told):
    """What is told of one practice is no business of another's; and where nobody takes it, nothing is kept."""
    given_up(alarm_at("ops", Alarm(), **settings))

    assert len(journal.events(Filter(type="delivery-dead"))) == told


def test_an_order_has_no_kit_and_is_told_all_the_same(given_up, journal, taker):
    """Whatever it was about."""
    taker.on_order_status_changed = None  # the plugin has no hook for it: a permanent error
    ehr = make_destination("ehr", taker, events=("order-status-changed",))
    alarm = Alarm()
    given_up(ehr, alarm_at("ops", alarm, events=("delivery-dead",)), body=sample("order-status-changed"))

    (row,) = journal.events(Filter(type="delivery-dead"))
    assert (row.kit_code, json.loads(row.body)["data"]["kitCode"]) == (None, None)


def test_what_is_damaged_is_told_without_what_cannot_be_read(journal, clock, taker):
    """A disk has flipped a bit in it: then there is neither practice nor kit, and still an alarm."""
    destinations = Destinations([make_destination("ehr", taker), alarm_at("ops", Alarm(), events=("delivery-dead",))])
    claim = claim_of(b"{")
    ended = Ended(claim=claim, outcome=Outcome(result=Result.PERMANENT, error="damaged"),
                  settlement=Settlement(state=State.DEAD), took_ms=1)  # fmt: skip

    (told,) = Announcer(destinations, clock=clock).deaths([ended]).values()

    assert (told.event.practice_id, told.event.kit_codes, set(told.owed_to)) == ("", (), {"ops"})


def test_it_is_kept_in_the_commit_that_ends_the_delivery(given_up, journal, taker, clock):
    """And only if the lease held: an outcome that comes too late tells nothing."""
    bridge = given_up(alarm_at("ops", Alarm(), events=("delivery-dead",)))
    body = sample(timestamp=1)
    bridge.accept(body, sign(body, SECRET))
    (claim,) = journal.claim("ehr", limit=1, terms=Terms(lease_s=1))
    ended = Ended(claim=claim, outcome=Outcome(result=Result.PERMANENT, error="x"),
                  settlement=Settlement(state=State.DEAD), took_ms=1)  # fmt: skip
    deaths = Announcer(bridge.destinations, clock=clock).deaths([ended])
    journal.let_go([claim])
    clock.turn(5)
    journal.claim("ehr", limit=1, terms=Terms())

    assert journal.settle([ended], terms=Terms(), deaths=deaths) == [False]
    assert len(journal.events(Filter(type="delivery-dead"))) == 1


def test_neither_is_kept_without_the_other(given_up, journal, clock):
    """If the event cannot be recorded, the delivery has not died yet either."""
    bridge = given_up(alarm_at("ops", Alarm(), events=("delivery-dead",)))
    body = sample(timestamp=1)
    bridge.accept(body, sign(body, SECRET))
    (claim,) = journal.claim("ehr", limit=1, terms=Terms())
    ended = Ended(claim=claim, outcome=Outcome(result=Result.PERMANENT, error="x"),
                  settlement=Settlement(state=State.DEAD), took_ms=1)  # fmt: skip
    (told,) = Announcer(bridge.destinations, clock=clock).deaths([ended]).values()

    with pytest.raises(TypeError):
        journal.settle([ended], terms=Terms(), deaths={claim.row: replace(told, owed_to={object(): ()})})

    (row,) = journal.deliveries(Filter(state=State.RUNNING))
    assert row.id == claim.delivery.id
    assert len(journal.events(Filter(type="delivery-dead"))) == 1


def test_a_settlement_that_is_told_twice_is_one_event(given_up, journal, clock):
    """Its commit was not seen, and so it is made again."""
    bridge = given_up(alarm_at("ops", Alarm(), events=("delivery-dead",)))
    body = sample(timestamp=1)
    bridge.accept(body, sign(body, SECRET))
    (claim,) = journal.claim("ehr", limit=1, terms=Terms())
    ended = Ended(claim=claim, outcome=Outcome(result=Result.PERMANENT, error="x"),
                  settlement=Settlement(state=State.DEAD), took_ms=1)  # fmt: skip
    deaths = Announcer(bridge.destinations, clock=clock).deaths([ended])

    assert journal.settle([ended], terms=Terms(), deaths=deaths) == [True]
    assert journal.settle([ended], terms=Terms(), deaths=deaths) == [True]
    assert len(journal.events(Filter(type="delivery-dead"))) == 2


def test_glycanage_cannot_send_one():
    """What is signed and says that it is one is not understood, like any other unknown type."""
    body = json.dumps({"type": "delivery-dead", "timestamp": 1, "data": {}}).encode()

    with pytest.raises(ParseError, match="unknown event type 'delivery-dead'"):
        parse(body)


def test_past_alarms_are_replayed_only_by_name(given_up, journal):
    """Whoever gives a new destination the past means results."""
    bridge = given_up(alarm_at("ops", Alarm()))
    chosen = {
        wanted: chosen_events(Filter(type=wanted), ["ops"], questions=journal, destinations=bridge.destinations)
        for wanted in (None, "delivery-dead")
    }

    types = {row.id: row.type for row in journal.events(Filter())}
    assert [types[each.event_id] for each in chosen[None]] == ["report-ready"]
    assert [types[each.event_id] for each in chosen["delivery-dead"]] == ["delivery-dead"]


@pytest.mark.parametrize(("personal", "kit", "reason"), [("none", "…1234", None), ("ids", "KIT001234", "no X"),
                                                          ("full", "KIT001234", "no X")])  # fmt: skip
def test_what_may_be_told_of_it_outside(personal, kit, reason):
    """What somebody else's far side has said is free text, and may hold more than it should."""
    told = {"deliveryId": "e:a", "eventId": "e", "eventType": "report-ready", "destination": "a", "practiceId": "p"}
    told |= {"kitCode": "KIT001234", "plugin": "x", "attempts": 2, "reason": "no X", "receivedAt": 0}
    event = parse_kept(json.dumps({"type": "delivery-dead", "timestamp": 1, "data": told}).encode())

    allowed = Personal(personal).told(event)

    assert (allowed["kit_code"], allowed.get("reason"), allowed["destination"]) == (kit, reason, "a")


def test_how_an_attempt_ended_is_told_with_what_follows(clock):
    """For whoever counts or mirrors: in the same words as the journal."""
    outcome = Outcome(result=Result.TEMPORARY, error="away", receipt=None)
    ended = Ended(claim=claim_of(sample()), outcome=outcome, settlement=Settlement(state=State.PENDING, wait_s=5),
                  took_ms=12)  # fmt: skip

    told = told_to(settled(ended, now=clock()), "counter")
    event = parse_kept(told.body)

    assert (told.destination, told.id, told.event_type) == ("counter", "e1:a:1:counter", "delivery-settled")
    assert (event.type, event.data.outcome, event.data.state, event.data.error) == (
        "delivery-settled", "temporary", "pending", "away",
    )  # fmt: skip
    assert (event.data.took_ms, event.data.receipt, event.practice_id) == (12, None, "practice_67890")


def dead(body: bytes, **claimed: object) -> Ended:
    """A delivery of a body to `ehr` that was given up."""
    outcome = Outcome(result=Result.PERMANENT, error="damaged")
    settlement = Settlement(state=State.DEAD)
    return Ended(claim=replace(claim_of(body), **claimed), outcome=outcome, settlement=settlement, took_ms=1)


@pytest.mark.parametrize("body", [b"{", sample(data={"practiceId": "practice_1"})])
def test_of_a_damaged_event_all_who_take_alarms_are_told_and_nothing_of_whose_it_was(clock, taker, body):
    """A flipped bit may make another's name of it; with an alarm for each practice nobody else would hear of it."""
    mine, other = (
        alarm_at(name, Alarm(), events=("delivery-dead",), practices=(name.replace("-", "_"),))
        for name in ("practice-67890", "practice-1")
    )
    announcer = Announcer(Destinations([make_destination("ehr", taker), mine, other]), clock=clock)

    (told,) = announcer.deaths([dead(body, whole=False)]).values()

    assert set(told.owed_to) == {"practice-67890", "practice-1"}
    assert (told.event.practice_id, told.event.kit_codes) == ("", ())


def test_a_replayed_alarm_is_not_told_to_whoever_gave_up(given_up, journal):
    """`events replay --type delivery-dead` goes to everybody who takes it, but the alarm is about one of them."""
    alarm, second = Alarm(), Alarm()
    alarm.raises = PermanentError("broken")
    bridge = given_up(alarm_at("ops", alarm), alarm_at("phone", second, events=("delivery-dead",)))
    run(bridge, "ops")
    alarms = {row.id: parse_kept(row.body).data.destination for row in journal.events(Filter(type="delivery-dead"))}

    chosen = chosen_events(
        Filter(type="delivery-dead"), ["ops", "phone"], questions=journal, destinations=bridge.destinations
    )

    assert sorted((alarms[each.event_id], each.destination) for each in chosen) == [
        ("ehr", "ops"), ("ehr", "phone"), ("ops", "phone"),
    ]  # fmt: skip


def test_an_alarm_whose_journal_was_lost_is_sent_again_from_its_letter(given_up, dead_letters, tmp_path, clock):
    """A dead letter holds everything, of the bridge's own events too."""
    alarm = Alarm()
    alarm.raises = PermanentError("broken")
    bridge = given_up(alarm_at("ops", alarm, events=("delivery-dead",)))
    run(bridge, "ops")
    (letter,) = [each for each in dead_letters.letters() if each.destination == "ops"]
    with closing(SqliteJournal(tmp_path / "again.db", clock=clock, steady=clock.steady)) as again:
        told = replay_letter(
            letter, journal=again, destinations=bridge.destinations, dead_letters=dead_letters, who="me"
        )

        assert told == "is due now"
        assert [row.type for row in again.events(Filter())] == ["delivery-dead"]


@pytest.mark.parametrize("error", ["\ud800", "a\x00b", "x" * 4096, ""])
def test_whatever_was_said_last_a_death_is_told(clock, taker, error):
    """Otherwise the delivery would never be settled, and its attempt be made for ever."""
    ops = alarm_at("ops", Alarm(), events=("delivery-dead",))
    announcer = Announcer(Destinations([make_destination("ehr", taker), ops]), clock=clock)
    outcome = Outcome(result=Result.PERMANENT, error=error)

    assert announcer.deaths([replace(dead(sample()), outcome=outcome)])
