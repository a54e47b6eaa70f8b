"""Many calls take turns in one thread: while one of them waits for another thread, the next one goes on.

A request waits for the journal's commit. With a thread of its own for each request, handing it there and back costs
more than everything else that is done for it, and the threads fight for the GIL meanwhile. In turns, a whole round of
requests goes to the journal with one hand-over, and comes back with one. What is called need not know of it: the same
code runs in a thread of its own, where waiting is waiting.

It stands on greenlet: a call that waits is put aside with its stack as it is, and taken up again later.
"""

from __future__ import annotations

from _thread import allocate_lock
from collections import deque
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any, Protocol, TypeVar, cast

from greenlet import getcurrent, greenlet

T = TypeVar("T")

MOST_IDLE = 64
"""So many turns are kept for later calls: to make a new one takes longer than to verify and parse an event."""
ASIDE_S = 8.0
"""How long a call waits for what was put aside: GlycanAge gives up on a request after 10 seconds."""
LOOKED_EVERY_S = 0.5
"""How soon it is seen that a wait has lasted too long."""


class Task(Protocol):
    """What another thread is given to do."""

    def service(self) -> None:
        """Do it; it raises nothing."""

    def cancel(self) -> None:
        """It will not be done."""


class Turns:
    """The turns of one thread; nobody else may call its methods."""

    def __init__(self, *, wake: Callable[[], None], aside: Callable[[Task], None]) -> None:
        """`wake`, called from any thread, makes this one call `go_on` soon; `aside` lets another thread do a task."""
        self.wake = wake
        self.aside = aside
        self.over: deque[Waiting] = deque()
        """Filled by other threads: what a turn waited for and need wait for no longer."""
        self.gathered: dict[Callable[[list[Any]], object], list[Any]] = {}
        self._waiting: dict[Waiting, tuple[_Turn, float]] = {}
        self._idle: list[_Turn] = []
        self._look_at = 0.0

    def begin(self, call: Callable[[], None]) -> None:
        """Make a call, which must not raise; returns when it has ended, or when it first waits."""
        turn = self._idle.pop() if self._idle else _Turn(self)
        turn.switch(call)

    def hand_over(self) -> None:
        """Give to other threads what the calls of this round have for them."""
        gathered, self.gathered = self.gathered, {}
        for put, items in gathered.items():
            put(items)

    def go_on(self) -> None:
        """Take up every call whose wait is over, or has lasted too long."""
        while self.over:
            self._take_up(self.over.popleft(), in_time=True)
        now = monotonic()
        if self._waiting and now >= self._look_at:
            self._look_at = now + LOOKED_EVERY_S
            for each in [each for each, (_, deadline) in self._waiting.items() if deadline < now]:
                self._take_up(each, in_time=False)

    def close(self) -> None:
        """End all turns: a call that still waits is ended where it is."""
        for turn in [*(turn for turn, _ in self._waiting.values()), *self._idle]:
            turn.throw()
        self._waiting.clear()
        self._idle.clear()

    def _take_up(self, waiting: Waiting, *, in_time: bool) -> None:
        turn, _ = self._waiting.pop(waiting, (None, 0))
        if turn is not None:  # else it came too late, and nobody waits
            turn.switch(in_time)

    def rest(self, turn: _Turn) -> bool:
        """Whether a turn whose call has ended is kept for another one."""
        if len(self._idle) >= MOST_IDLE:
            return False
        self._idle.append(turn)
        return True

    def put_off(self, turn: _Turn, waiting: Waiting, timeout_s: float) -> None:
        """A turn is about to wait."""
        self._waiting[waiting] = (turn, monotonic() + timeout_s)


class _Turn(greenlet):
    """One call after the other, each of which may wait."""

    def __init__(self, turns: Turns) -> None:
        super().__init__()
        self.turns = turns
        self._thread = getcurrent()

    def run(self, call: Callable[[], None]) -> None:
        call()
        while self.turns.rest(self):
            call = self._thread.switch()
            call()

    def wait(self, waiting: Waiting, timeout_s: float) -> bool:
        self.turns.put_off(self, waiting, timeout_s)
        return bool(self._thread.switch())


class Waiting:
    """What a call waits for: made by the call, ended by another thread."""

    __slots__ = ("lock", "turn")

    def __init__(self) -> None:
        self.turn = _turn()
        """Whose turn it is that waits; `None` if it is a thread, which waits for `lock`."""
        if self.turn is None:
            self.lock = allocate_lock()
            self.lock.acquire()

    def wait(self, timeout_s: float) -> bool:
        """Return when it is over; `False` if that is not within `timeout_s`."""
        if self.turn is None:
            return self.lock.acquire(timeout=timeout_s)
        return self.turn.wait(self, timeout_s)

    @staticmethod
    def end(waits: Iterable[Waiting]) -> None:
        """These are over: whoever waits goes on, and each thread that has turns among them is woken once."""
        woken = set()
        for each in waits:
            if each.turn is None:
                each.lock.release()
            else:
                each.turn.turns.over.append(each)
                woken.add(each.turn.turns)
        for turns in woken:
            turns.wake()


def hand_over(put: Callable[[list[T]], object], item: T) -> None:
    """Give `item` to another thread by `put`, in a list: in a turn together with all others of the round."""
    turn = _turn()
    if turn is None:
        put([item])
    else:
        turn.turns.gathered.setdefault(put, []).append(item)


def aside(call: Callable[[], T]) -> T:
    """What `call` returns or raises; in a turn another thread makes it, because it takes long, and others go on.

    Raises `TimeoutError` after `ASIDE_S`: it may still be made, if it had begun.
    """
    turn = _turn()
    if turn is None:
        return call()
    task = _Aside(call)
    turn.turns.aside(task)
    if not task.wait(ASIDE_S):
        task.abandoned = True
        raise TimeoutError(f"what was put aside took longer than {ASIDE_S:g} s")
    if task.error is not None:
        raise task.error
    return cast(T, task.result)


class _Aside(Waiting):
    __slots__ = ("abandoned", "call", "error", "result")

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__()
        self.call = call
        self.abandoned = False
        self.result: Any = None
        self.error: BaseException | None = None

    def service(self) -> None:
        if self.abandoned:
            return
        try:
            self.result = self.call()
        except BaseException as error:
            self.error = error
        self.end([self])

    def cancel(self) -> None:
        """The server has stopped, and nobody waits."""


def _turn() -> _Turn | None:
    running = getcurrent()
    return running if isinstance(running, _Turn) else None
