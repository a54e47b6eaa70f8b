"""Whoever wants to know how attempts end is told, and can neither hold up nor spoil a delivery."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from serving import alive, delivery, install_plugin, sample, served, until

from glycanbridge import hookimpl, observers
from glycanbridge.delivery import Claim, Ended, Outcome, Result, Settlement, State
from glycanbridge.destinations import Destination
from glycanbridge.hosts import CLOSE_S
from glycanbridge.hosts.forks import Forks
from glycanbridge.plugins import Plugin
from glycanbridge.settings import DestinationSettings, RetrySettings

COUNTER = '''
import os
import time

from pydantic import BaseModel

from glycanbridge import LocalPath, hookimpl


class CounterSettings(BaseModel, extra="forbid"):
    file: LocalPath
    mode: str = "count"


class Counter:
    """Adds a line for each attempt that has ended."""

    Settings = CounterSettings

    def __init__(self, settings):
        if settings.mode == "sour":
            raise KeyError("patient_123")
        self.settings = settings

    @hookimpl
    def on_delivery_settled(self, event):
        told = event.data
        with open(self.settings.file, "a", encoding="utf-8") as file:
            file.write(f"{told.destination} {told.outcome} {told.state} {os.getpid()}\\n")
        if self.settings.mode == "hang":
            time.sleep(3600)
        if self.settings.mode == "die":
            os._exit(7)
        if self.settings.mode == "fail":
            raise ValueError("patient_123")
'''


class Listener:
    """Remembers what it is told, once it may."""

    def __init__(self) -> None:
        self.told = []
        self.may = threading.Event()
        self.may.set()

    @hookimpl
    def on_delivery_settled(self, event):
        self.may.wait(30)
        self.told.append(event.data.delivery_id)


def listening(listener: object, **settings) -> Destination:
    """A destination that is told, in a thread of this process."""
    return Destination(
        name="counter",
        settings=DestinationSettings(**{"plugin": "listener", "isolation": "thread"} | settings),
        retry=RetrySettings(tries=1, schedule_s=()),
        folder=Path(),
        plugin=Plugin("listener", type(listener), RetrySettings, ("delivery-settled",)),
        make=lambda: listener,
    )


def ended(number: int = 1) -> Ended:
    """A delivery that was made."""
    claim = Claim(delivery=delivery(sample(), event_id=f"e{number}"), row=number, step=1)
    return Ended(claim=claim, outcome=Outcome(result=Result.DELIVERED), settlement=Settlement(state=State.DELIVERED),
                 took_ms=1)  # fmt: skip


@pytest.fixture
def observe():
    """Opens observers over destinations, and stops them in the end."""
    opened, forks = [], Forks()

    def observe(*destinations: Destination) -> observers.Observers:
        opened.append(observers.open_observers(destinations, forks=forks))
        opened[-1].start()
        return opened[-1]

    yield observe
    for each in opened:
        each.stop()
    forks.close()


def lines(serving) -> list[list[str]]:
    """What the counter has written."""
    file = serving.folder / "counted.txt"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def set_up(serving, mode="count", recorder="take", **more) -> None:
    """A bridge with a recorder, and a counter that watches it."""
    install_plugin(serving.packages, "counter", COUNTER)
    serving.configure({
        "ehr": {"plugin": "recorder", "settings": {"file": "taken.txt", "mode": recorder}},
        "counter": {"plugin": "counter", "settings": {"file": "counted.txt", "mode": mode}} | more,
    })  # fmt: skip


@pytest.mark.parametrize(
    ("recorder", "told"),
    [("take", ["ehr", "delivered", "delivered"]), ("permanent", ["ehr", "permanent", "dead"]),
     ("wait", ["ehr", "temporary", "pending"])],
)  # fmt: skip
def test_every_attempt_is_told_as_it_ended(serving, recorder, told):
    """In a process of the observer's own, and never as a delivery: nothing of it stands in the journal."""
    set_up(serving, recorder=recorder)
    assert "\ndelivery-settled -> counter\n" in serving.run("check").stdout
    with served(serving):
        serving.post(sample())
        until(lambda: lines(serving))
        pid = int(lines(serving)[0][3])
        assert lines(serving)[0][:3] == told
        assert pid != serving.process.pid
        assert [row["destination"] for row in serving.rows("deliveries", "list")] == ["ehr"]


@pytest.mark.parametrize("mode", ["hang", "die", "fail", "sour"])
def test_a_broken_observer_holds_up_no_delivery(serving, mode):
    """It hangs, dies, raises, cannot be made: each event is delivered, the bridge stops in order, no value is told."""
    set_up(serving, mode, timeout_s=0.5)
    with served(serving):
        for number in range(3):
            assert serving.post(sample(timestamp=number)).told["status"] == "accepted"
        until(lambda: {row["state"] for row in serving.rows("deliveries", "list")} == {"delivered"})
        if mode != "sour":
            until(lambda: len(lines(serving)) >= 3)
        until(lambda: "not observed" in serving.log.read_text() or "does not start" in serving.log.read_text())
        assert serving.stop() == 0
    assert "patient_123" not in serving.log.read_text()


def test_an_observer_whose_process_is_killed_gets_another(serving):
    """It misses what it was told just then, at the most."""
    set_up(serving)
    with served(serving):
        serving.post(sample(timestamp=1))
        until(lambda: lines(serving))
        killed = int(lines(serving)[0][3])
        os.kill(killed, signal.SIGKILL)
        until(lambda: not alive(killed))
        serving.post(sample(timestamp=2))
        until(lambda: len(lines(serving)) == 2)
    assert lines(serving)[0][3] != lines(serving)[1][3]


def test_what_waits_is_told_before_the_bridge_stops(observe):
    """A count that is short by a few after each restart is none."""
    listener = Listener()
    listener.may.clear()
    observing = observe(listening(listener))
    for number in range(100):
        observing.tell(ended(number))
    listener.may.set()
    observing.stop()

    assert listener.told == [f"e{number}:a" for number in range(100)]


def test_it_is_told_of_the_practices_that_it_takes(observe):
    """What happens to another practice's results is no business of it."""
    listener, other = Listener(), Listener()
    observing = observe(listening(listener, practices=("practice_67890",)), listening(other, practices=("another",)))
    observing.tell(ended())
    observing.stop()

    assert (len(listener.told), other.told) == (1, [])


@pytest.mark.parametrize("settings", [{"enabled": False}, {"events": ("report-ready",)}])
def test_one_that_does_not_take_such_events_is_not_told(observe, settings):
    """Switched off is switched off."""
    listener = Listener()
    observing = observe(listening(listener, **settings))
    observing.tell(ended())
    observing.stop()

    assert listener.told == []


def test_more_than_it_can_take_is_dropped_and_the_log_says_how_many(observe, monkeypatch, caplog):
    """The bridge's memory is for deliveries."""
    monkeypatch.setattr(observers, "MOST_WAITING", 3)
    caplog.set_level(logging.WARNING)
    listener = Listener()
    listener.may.clear()
    observing = observe(listening(listener))
    observing.tell(ended(0))
    until(lambda: not observing._observers[0]._waiting)
    for number in range(1, 11):
        observing.tell(ended(number))
    listener.may.set()
    observing.stop()

    assert listener.told == ["e0:a", "e8:a", "e9:a", "e10:a"]
    told = [record.getMessage() for record in caplog.records]
    assert "settled deliveries were not told to an observer: 7" in told


def test_an_observer_that_hangs_is_left_behind_at_the_stop(observe, monkeypatch, caplog):
    """With a word about what it was not told."""
    monkeypatch.setattr(observers, "LAST_WORDS_S", 0.1)
    listener = Listener()
    listener.may.clear()
    observing = observe(listening(listener))
    observing.tell(ended(0))
    until(lambda: not observing._observers[0]._waiting)
    observing.tell(ended(1))
    observing.stop()
    listener.may.set()

    assert "not told to an observer: 1" in caplog.text


def test_several_observers_that_hang_do_not_add_up_at_the_stop(serving):
    """Whoever stops the bridge waits for a moment, and then kills it."""
    install_plugin(serving.packages, "counter", COUNTER)
    hanging = {
        f"counter{number}": {"plugin": "counter", "settings": {"file": f"{number}.txt", "mode": "hang"}}
        for number in range(4)
    }
    serving.configure({"ehr": {"plugin": "recorder", "settings": {"file": "taken.txt"}}, **hanging})
    with served(serving):
        serving.post(sample())
        until(lambda: all((serving.folder / f"{number}.txt").exists() for number in range(4)))
        began = time.monotonic()
        assert serving.stop() == 0
        took_s = time.monotonic() - began
    assert "does not start" not in serving.log.read_text()
    assert took_s < 3 * (observers.LAST_WORDS_S + CLOSE_S)


class Closing:
    """Writes down what it is asked, in turn."""

    def __init__(self) -> None:
        self.said = []
        self.may = threading.Event()

    @hookimpl
    def on_delivery_settled(self, event):
        self.said.append(f"began {event.data.delivery_id}")
        self.may.wait(30)

    @hookimpl
    def close(self):
        self.said.append("closed")
        self.may.set()


def test_an_instance_that_was_closed_is_not_called_again(observe, monkeypatch):
    """With `isolation: thread` its thread goes on for as long as the bridge takes to stop."""
    monkeypatch.setattr(observers, "LAST_WORDS_S", 0.1)
    plugin = Closing()
    observing = observe(listening(plugin, timeout_s=3))
    for number in range(5):
        observing.tell(ended(number))
    until(lambda: plugin.said)
    observing.stop()
    observing._observers[0]._thread.join(10)

    assert plugin.said.index("closed") == len(plugin.said) - 1


def test_what_waits_holds_no_bodies(observe):
    """10,000 of the largest would be 10 GB, for one observer that hangs."""
    listener = Listener()
    listener.may.clear()
    observing = observe(listening(listener))
    for number in range(10):
        claim = Claim(delivery=delivery(sample(x="x" * 1_000_000), event_id=f"e{number}"), row=number, step=1)
        outcome, settlement = Outcome(result=Result.DELIVERED), Settlement(state=State.DELIVERED)
        observing.tell(Ended(claim=claim, outcome=outcome, settlement=settlement, took_ms=1))
    held = sum(len(each.body) for each in observing._observers[0]._waiting)
    listener.may.set()

    assert held < 10_000


def test_an_attempt_that_cannot_be_told_of_is_none_the_worse(observe, caplog, monkeypatch):
    """Whoever is told must spoil no delivery, whatever stands in it."""
    monkeypatch.setattr(observers, "settled", lambda *_, **__: 1 / 0)
    listener = Listener()
    observing = observe(listening(listener))
    observing.tell(ended())

    assert "an attempt cannot be told of: ZeroDivisionError at" in caplog.text
