"""Calls that take turns in one thread, and the same calls in threads of their own."""

from __future__ import annotations

import threading
from queue import SimpleQueue

import pytest
from serving import until

from glycanbridge import turns as rooms
from glycanbridge.turns import Turns, Waiting, aside, hand_over


class Loop:
    """The turns of this thread, and what was done to others by them."""

    def __init__(self) -> None:
        self.wakes = 0
        self.aside = []
        self.turns = Turns(wake=self.wake, aside=self.aside.append)

    def wake(self) -> None:
        self.wakes += 1


@pytest.fixture
def loop():
    """A loop; nobody waits in it any more at the end."""
    loop = Loop()
    yield loop
    loop.turns.close()


def test_a_call_that_waits_lets_the_next_one_go_on(loop):
    """And is taken up where it was, once what it waits for is over; all are woken by one call."""
    waits, told = [], []

    def call(number):
        waiting = Waiting()
        waits.append(waiting)
        told.append(f"{number} begins")
        told.append(f"{number} {waiting.wait(10)}")

    for number in range(3):
        loop.turns.begin(lambda number=number: call(number))
    assert told == ["0 begins", "1 begins", "2 begins"]
    threading.Thread(target=Waiting.end, args=([waits[2], waits[0]],)).start()
    until(lambda: loop.wakes)
    loop.turns.go_on()

    assert told[3:] == ["2 True", "0 True"]
    assert loop.wakes == 1


def test_what_a_round_has_to_give_is_given_at_once(loop):
    """One hand-over for all, in their order; what is given by a thread of its own goes alone."""
    queue = SimpleQueue()
    for number in range(3):
        loop.turns.begin(lambda number=number: hand_over(queue.put, number))
    assert queue.empty()
    loop.turns.hand_over()
    loop.turns.hand_over()
    hand_over(queue.put, 3)

    assert [queue.get_nowait() for _ in range(queue.qsize())] == [[0, 1, 2], [3]]


def test_a_wait_that_lasts_too_long_ends(loop, monkeypatch):
    """With `False`; when it is over after all, nobody is disturbed."""
    now, ended, waits = [1000.0], [], []
    monkeypatch.setattr(rooms, "monotonic", lambda: now[0])

    def call():
        waits.append(Waiting())
        ended.append(waits[-1].wait(5))

    loop.turns.begin(call)
    loop.turns.go_on()
    now[0] += 4.9
    loop.turns.go_on()
    assert ended == []
    now[0] += 0.6
    loop.turns.go_on()
    assert ended == [False]
    Waiting.end(waits)
    loop.turns.go_on()
    assert ended == [False]


def test_a_turn_is_used_again(loop, monkeypatch):
    """To make one costs as much as verifying an event; but no more are kept than a busy hour needs."""
    monkeypatch.setattr(rooms, "MOST_IDLE", 2)
    ran, waits = [], []

    def call():
        ran.append(rooms.getcurrent())
        waits.append(Waiting())
        waits[-1].wait(10)

    for _ in range(2):
        for _ in range(3):
            loop.turns.begin(call)
        Waiting.end(waits)
        loop.turns.go_on()
        waits.clear()

    assert len(set(ran)) == 4
    assert [each.dead for each in ran] == [False, False, True, False, False, True]


def test_what_takes_long_is_done_by_another_thread(loop):
    """Its result comes back, or what it raised."""
    told = []

    def fails():
        raise ValueError("no")

    def call():
        told.append(aside(lambda: 42))
        with pytest.raises(ValueError, match="no"):
            aside(fails)
        told.append("raised")

    loop.turns.begin(call)
    for _ in range(2):
        assert len(loop.aside) == 1
        threading.Thread(target=loop.aside.pop().service).start()
        until(lambda: loop.turns.over)
        loop.turns.go_on()

    assert told == [42, "raised"]


def test_what_was_put_aside_and_takes_too_long_is_given_up(loop, monkeypatch):
    """A disk that hangs must not hold requests for ever; what had not begun by then is not begun any more."""
    now, told, made = [1000.0], [], []
    monkeypatch.setattr(rooms, "monotonic", lambda: now[0])

    def call():
        with pytest.raises(TimeoutError):
            aside(lambda: made.append("made"))
        told.append("given up")

    loop.turns.begin(call)
    now[0] += rooms.ASIDE_S + 1
    loop.turns.go_on()
    loop.aside.pop().service()
    loop.turns.go_on()

    assert (told, made) == (["given up"], [])


def test_in_a_thread_of_its_own_waiting_is_waiting():
    """The same code, without turns."""
    waiting = Waiting()
    assert not waiting.wait(0)
    threading.Thread(target=Waiting.end, args=([waiting],)).start()
    assert waiting.wait(10)
    assert aside(lambda: 42) == 42


def test_what_still_waits_at_the_end_never_goes_on():
    """It is ended where it is, and what it holds is let go."""
    loop, told = Loop(), []

    def call():
        try:
            Waiting().wait(10)
            told.append("went on")
        finally:
            told.append("let go")

    loop.turns.begin(call)
    loop.turns.close()

    assert told == ["let go"]
