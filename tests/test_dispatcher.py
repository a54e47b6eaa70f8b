"""The lanes: woken by what is recorded, waiting for what falls due, going on whatever happens."""

from __future__ import annotations

import threading

import pytest
from conftest import Taker, make_destination
from serving import SECRET, sample, until

from glycanbridge import TemporaryError, dispatcher, hookimpl
from glycanbridge.bridge import Bridge
from glycanbridge.delivery import State
from glycanbridge.destinations import Destinations
from glycanbridge.dispatcher import Dispatcher
from glycanbridge.errors import JournalUnavailable
from glycanbridge.hosts.forks import Forks
from glycanbridge.hosts.thread import ThreadHost
from glycanbridge.journal import Filter
from glycanbridge.journals.sqlite import SqliteJournal
from glycanbridge.signature import sign


@pytest.fixture
def run(tmp_path, dead_letters):
    """Starts lanes over a journal that goes by the real clock; stops them at the end."""
    started = []

    def start(*destinations):
        journal = SqliteJournal(tmp_path / "journal.db")
        bridge = Bridge(
            secrets=[SECRET], journal=journal, destinations=Destinations(destinations), dead_letters=dead_letters
        )
        lanes = Dispatcher(bridge, Forks())
        started.append((lanes, journal))
        lanes.start()
        return bridge, lanes

    yield start
    for lanes, journal in started:
        lanes.stop(5)
        journal.close()


def accept(bridge, **changes) -> None:
    """Hand a sample event to the bridge."""
    body = sample(**changes)
    bridge.accept(body, sign(body, SECRET))


def test_what_is_recorded_is_delivered_at_once(run, taker):
    """The lane sleeps until it is woken: no polling interval lies in between."""
    bridge, _ = run(make_destination("a", taker))

    for number in range(20):
        accept(bridge, timestamp=number)
        until(lambda number=number: len(taker.taken) == number + 1, timeout_s=5)

    assert {row.state for row in bridge.journal.deliveries(Filter())} <= {State.DELIVERED, State.RUNNING}


def test_one_that_waits_is_delivered_when_it_falls_due(run, taker):
    """Without anything new being recorded."""
    taker.raises = TemporaryError("away")
    bridge, _ = run(make_destination("a", taker, schedule_s=(0.2, 0.2)))
    accept(bridge)

    until(lambda: bridge.journal.deliveries(Filter())[0].state is State.DEAD)

    assert len(taker.taken) == 3


def test_a_destination_has_as_many_deliveries_in_flight_as_it_has_lanes(run):
    """Three lanes meet at a barrier; two would never get past it."""
    barrier = threading.Barrier(3, timeout=10)

    class Meeting(Taker):
        def _take(self, event, delivery):
            barrier.wait()
            return super()._take(event, delivery)

    meeting = Meeting()
    bridge, _ = run(make_destination("a", meeting, lanes=3))
    for number in range(3):
        accept(bridge, timestamp=number)

    until(lambda: len(meeting.taken) == 3)


def test_a_slow_destination_does_not_hold_back_its_neighbour(run, taker):
    """Its lane is its own."""
    gate = threading.Event()

    class Slow(Taker):
        def _take(self, event, delivery):
            gate.wait(20)
            return super()._take(event, delivery)

    bridge, _ = run(make_destination("slow", Slow()), make_destination("fast", taker))
    accept(bridge)
    until(lambda: len(taker.taken) == 1)

    assert not gate.is_set()
    gate.set()


def test_a_destination_that_does_not_run_keeps_what_it_is_owed(run, taker, caplog):
    """It has no lane, and nobody to be woken."""
    broken = make_destination("broken", taker)
    broken.error = "its plugin is gone"
    bridge, lanes = run(broken, make_destination("a", taker))
    accept(bridge)
    until(lambda: len(taker.taken) == 1)

    assert lanes.alive()
    states = {row.destination: row.state for row in bridge.journal.deliveries(Filter())}
    assert states["broken"] is State.PENDING
    bridge.journal.probe()
    assert caplog.records == []


def test_a_lane_goes_on_after_trouble(run, taker, monkeypatch):
    """With the journal, or with anything else."""
    monkeypatch.setattr(dispatcher, "TROUBLE_SLEEP_S", 0.01)
    trouble = [JournalUnavailable("the disk is full"), ValueError("a fault of the program's"), SystemExit(1)]
    deliver_next = Bridge.deliver_next

    def deliver_or_fail(self, lane):
        if trouble:
            raise trouble.pop()
        return deliver_next(self, lane)

    monkeypatch.setattr(Bridge, "deliver_next", deliver_or_fail)
    bridge, lanes = run(make_destination("a", taker))
    accept(bridge)

    until(lambda: len(taker.taken) == 1)
    assert (trouble, lanes.alive()) == ([], True)


def test_stopping_waits_for_the_running_attempt_and_takes_nothing_new(run):
    """What was claimed is settled; what waits stays for the next start."""
    began, gate = threading.Event(), threading.Event()

    class Slow(Taker):
        def _take(self, event, delivery):
            began.set()
            gate.wait(20)
            return super()._take(event, delivery)

    slow = Slow()
    bridge, lanes = run(make_destination("a", slow))
    accept(bridge, timestamp=1)
    accept(bridge, timestamp=2)
    began.wait(10)

    assert lanes.stop(0.05) is False
    gate.set()
    assert lanes.stop(10) is True
    assert len(slow.taken) == 1
    assert sorted(row.state for row in bridge.journal.deliveries(Filter())) == [State.DELIVERED, State.PENDING]


def test_an_idle_lane_sleeps_for_long(run, taker, monkeypatch):
    """Nothing is polled: with nothing to do it waits for the bell, or a minute."""
    waits = []
    wait = dispatcher._Bell.wait

    def remember(bell, rings, timeout_s):
        waits.append(timeout_s)
        wait(bell, rings, timeout_s)

    monkeypatch.setattr(dispatcher._Bell, "wait", remember)
    bridge, lanes = run(make_destination("a", taker, schedule_s=(3600,)))
    until(lambda: waits)
    assert waits == [dispatcher.LONGEST_SLEEP_S]

    taker.raises = TemporaryError("away")
    accept(bridge)
    until(lambda: taker.taken and len(waits) > 1)
    assert max(waits) == dispatcher.LONGEST_SLEEP_S  # also if what it is owed is due in an hour
    assert lanes.stop(10) is True  # it is woken for that


def test_a_lane_that_has_ended_is_noticed(run, taker, monkeypatch):
    """Readiness asks: a bridge of which half is dead must not seem well."""
    goes_on = Dispatcher._run

    def ends_for_b(self, lane):
        if lane.destination.name == "a":
            goes_on(self, lane)

    monkeypatch.setattr(Dispatcher, "_run", ends_for_b)
    _, lanes = run(make_destination("a", taker), make_destination("b", taker))

    until(lambda: not lanes.alive())


def test_a_lane_starts_its_host_at_once_and_closes_its_plugin_at_the_end(run, monkeypatch):
    """The first delivery need not wait for a process, and the plugin lets go of what it holds."""
    told = []

    class Closing(Taker):
        @hookimpl
        def close(self):
            told.append("closed")

    monkeypatch.setattr(ThreadHost, "start", lambda _host: told.append("started"))
    bridge, lanes = run(make_destination("a", Closing()))
    until(lambda: told)
    accept(bridge)
    until(lambda: bridge.journal.deliveries(Filter())[0].state is State.DELIVERED)

    assert lanes.stop(10) is True
    assert (set(told[:-1]), told[-1]) == ({"started"}, "closed")


def test_a_destination_whose_host_is_in_trouble_is_paused_once_something_is_owed(run, taker, monkeypatch):
    """Not before: a pause is a person's to end, and nothing may ever come."""
    monkeypatch.setattr(ThreadHost, "trouble", lambda _host: "its calls hang")
    waited, wait = [], dispatcher._Bell.wait
    monkeypatch.setattr(dispatcher._Bell, "wait", lambda bell, *how: (waited.append(how), wait(bell, *how)))
    bridge, _ = run(make_destination("a", taker))
    until(lambda: waited)
    assert bridge.journal.standings() == {}

    accept(bridge)
    until(bridge.journal.standings)

    assert bridge.journal.standings()["a"].reason == "its calls hang"
    assert taker.taken == []


def test_a_plugin_that_does_not_start_costs_no_attempts(run, taker, monkeypatch, caplog):
    """What is owed waits until it does; that is in the log, and `check` says the same."""
    monkeypatch.setattr(dispatcher, "START_AGAIN_S", 0.01)
    trouble = ["the plugin cannot be made: ImportError"] * 3
    monkeypatch.setattr(ThreadHost, "start", lambda _host: trouble.pop() if trouble else None)
    bridge, _ = run(make_destination("a", taker, schedule_s=()))
    accept(bridge)

    until(lambda: len(taker.taken) == 1)
    until(lambda: bridge.journal.deliveries(Filter())[0].state is State.DELIVERED)
    assert bridge.journal.deliveries(Filter())[0].attempts == 1
    assert caplog.text.count("the plugin does not start") == 3
