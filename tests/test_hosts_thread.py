"""Hosts in a thread: an attempt that hangs is given up, and the lane goes on, up to a point."""

from __future__ import annotations

import threading

import pytest
from serving import delivery, until

from glycanbridge.delivery import Delivery, Outcome, Result
from glycanbridge.hosts.thread import MOST_LEFT_BEHIND, LeftBehind, ThreadHost


class Thread:
    """A thread host around a call that waits for its gate when it is told to."""

    def __init__(self, timeout_s: float = 0.05) -> None:
        self.gate = threading.Event()
        self.left_behind = LeftBehind()
        self.stopping = threading.Event()
        self.threads = []
        self.timeout_s = timeout_s

    def host(self) -> ThreadHost:
        return ThreadHost(
            call=self.call, timeout_s=self.timeout_s, left_behind=self.left_behind, stopping=self.stopping
        )

    def call(self, delivery) -> Outcome:
        self.threads.append(threading.current_thread())
        if delivery.event_id == "hang":
            self.gate.wait(60)
        if delivery.event_id == "raise":
            raise SystemExit("KIT001234")
        return Outcome(result=Result.DELIVERED, receipt=delivery.event_id)


def deliver(host: ThreadHost, handed: Delivery) -> Outcome:
    """One attempt."""
    ((outcome, _),) = host.deliver([handed])
    return outcome


@pytest.fixture
def thread():
    """Thread hosts whose hanging calls are let go in the end."""
    thread = Thread()
    yield thread
    thread.gate.set()
    for each in thread.threads:
        each.join(0.01)


def test_a_thread_makes_one_attempt_after_another(thread):
    """In a thread of its own, which stays, until it is closed."""
    thread.timeout_s = 60
    host = thread.host()

    outcomes = [deliver(host, delivery(event_id=each)) for each in ("one", "raise", "two")]
    host.close()

    assert [each.receipt for each in outcomes] == ["one", None, "two"]
    assert outcomes[1].result is Result.TEMPORARY
    assert outcomes[1].error.startswith("SystemExit at")
    assert len(set(thread.threads)) == 1
    assert not thread.threads[0].is_alive()
    assert thread.threads[0] is not threading.current_thread()


def test_an_attempt_that_hangs_in_a_thread_is_given_up_and_its_late_outcome_only_logged(thread, caplog):
    """The next call has a new thread, and its own outcome."""
    host = thread.host()

    given_up = deliver(host, delivery(event_id="hang"))
    host._timeout_s = 60
    following = deliver(host, delivery(event_id="two"))

    assert given_up.result is Result.UNKNOWN
    assert given_up.error == "no answer within 0.05 s: the thread is left behind"
    assert following.receipt == "two"
    assert thread.left_behind.count() == 1
    thread.gate.set()
    until(lambda: "has ended after all: delivered" in caplog.text)
    assert thread.left_behind.count() == 0
    assert deliver(host, delivery(event_id="three")).receipt == "three"


def test_too_many_threads_that_hang_stop_the_destination_until_they_come_back(thread):
    """They cannot be ended, and each holds memory and perhaps a connection. All lanes of a destination count."""
    lanes = [thread.host(), thread.host()]
    for number in range(MOST_LEFT_BEHIND):
        assert lanes[number % 2].trouble() is None
        deliver(lanes[number % 2], delivery(event_id="hang"))

    trouble = "8 attempts hang in threads that cannot be ended; mend the plugin, or use isolation: process"
    assert {each.trouble() for each in lanes} == {trouble}
    assert deliver(lanes[0], delivery()) == Outcome(result=Result.TEMPORARY, error=trouble)
    assert len(thread.threads) == MOST_LEFT_BEHIND
    thread.gate.set()
    until(lambda: lanes[0].trouble() is None)
    assert deliver(thread.host(), delivery()).result is Result.DELIVERED


def test_closing_waits_for_no_thread_that_hangs(thread):
    """It was left behind already."""
    host = thread.host()
    deliver(host, delivery(event_id="hang"))

    host.close()

    assert thread.threads[0].is_alive()


def test_a_batch_is_made_in_turn_and_one_that_hangs_leaves_the_rest_unbegun(thread, caplog):
    """Also once it comes back: they have been put back, and are another batch's by then."""
    host = thread.host()

    made = host.deliver([delivery(event_id=each) for each in ("one", "two", "hang", "four")])

    assert [each.outcome.result for each in made] == [Result.DELIVERED, Result.DELIVERED, Result.UNKNOWN]
    assert len(thread.threads) == 3
    thread.gate.set()
    until(lambda: "has ended after all" in caplog.text)
    thread.threads[0].join(20)
    assert len(thread.threads) == 3


def test_once_the_bridge_stops_no_other_of_the_batch_is_begun(thread):
    """The one that runs comes to its end."""
    thread.timeout_s = 60
    thread.stopping.set()

    assert len(thread.host().deliver([delivery(), delivery()])) == 1
