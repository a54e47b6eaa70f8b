"""Group commit: one thread writes, and everything that waits when it is free goes into one commit.

A disk sync costs the same for one event as for sixty. So whoever has something to write puts it into a queue and waits
on a ticket; the writer takes all that is there, commits once, and lets everyone go. There is no timer: while one
commit runs, the next group gathers by itself.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

from glycanbridge.errors import JournalUnavailable, without_text
from glycanbridge.turns import Waiting, hand_over

T = TypeVar("T")
log = logging.getLogger(__name__)

LARGEST_GROUP = 256
WAIT_S = 8.0
"""How long a caller waits for its commit: GlycanAge gives up on a request after 10 seconds."""


IDLE_S = 1.0


class Transaction(Protocol):
    """What the writer needs of a database connection."""

    def begin(self) -> None:
        """Start a transaction that may write."""

    def commit(self) -> None:
        """Return when everything since `begin` is on disk."""

    def rollback(self) -> None:
        """Undo everything since `begin`."""

    def is_outage(self, error: Exception) -> bool:
        """Whether the database as a whole cannot write now, so that no part of a group could be committed alone."""

    def raised(self, error: Exception) -> bool:
        """Whether the database raised it, for whatever reason."""


class _Ticket(Waiting):
    """One caller's work and, once the wait is over, its result or error. (A `Future` costs 12 to 18 us more.)"""

    __slots__ = ("abandoned", "error", "result", "work")

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__()
        self.work = work
        self.result: Any = None
        self.error: Exception | None = None
        self.abandoned = False


class Writer:
    """The thread through which everything that writes must go."""

    def __init__(
        self,
        transaction: Transaction,
        *,
        after_commit: Callable[[], None],
        when_idle: Callable[[], None] = lambda: None,
        wait_s: float = WAIT_S,
    ) -> None:
        """`after_commit` is called after each commit, `when_idle` about once a second while there is none."""
        self._transaction = transaction
        self._after_commit = after_commit
        self._when_idle = when_idle
        self._wait_s = wait_s
        self._queue: queue.SimpleQueue[list[_Ticket] | None] = queue.SimpleQueue()
        self._left: deque[_Ticket] = deque()
        """Taken from the queue, and of a later group."""
        self._last_came = False
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="journal-writer", daemon=True)
        self._thread.start()

    def run(self, work: Callable[[], T]) -> T:
        """What `work` returns, once the commit that holds what it wrote is on disk.

        `work` runs in the writer's thread, and may run a second time if its group's first commit failed. Raises
        `JournalUnavailable` if it cannot be committed now, and whatever `work` raised.
        """
        if self._closing:
            raise JournalUnavailable("the journal is closed")
        ticket = _Ticket(work)
        hand_over(self._queue.put, ticket)
        if not ticket.wait(self._wait_s):
            ticket.abandoned = True
            raise JournalUnavailable(f"the journal did not commit within {self._wait_s:g} s")
        if ticket.error is not None:
            raise ticket.error
        return cast(T, ticket.result)

    def close(self) -> None:
        """Commit what waits, then end the thread."""
        self._closing = True
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while self._left or not self._last_came:
            group = self._next_group()
            if group and not self._commit(group):
                for ticket in group:  # one of them spoils it for all: each on its own
                    self._commit([ticket])
            _Ticket.end(group)
            try:
                (self._after_commit if group else self._when_idle)()
            except Exception as error:  # whoever listens must not end the only thread that writes
                log.error("a listener of the journal failed: %s", without_text(error))  # noqa: TRY400

    def _next_group(self) -> list[_Ticket]:
        """The tickets that wait, after a while none; `LARGEST_GROUP` at the most, the others are next."""
        try:
            while len(self._left) < LARGEST_GROUP and not self._last_came:
                tickets = self._queue.get_nowait() if self._left else self._queue.get(timeout=IDLE_S)
                self._left += tickets or ()
                self._last_came = tickets is None
        except queue.Empty:
            pass
        group = [self._left.popleft() for _ in range(min(len(self._left), LARGEST_GROUP))]
        return [each for each in group if not each.abandoned]

    def _commit(self, group: list[_Ticket]) -> bool:
        """Whether the group was dealt with: committed, or every ticket of it has its error."""
        try:
            self._transaction.begin()
            for ticket in group:
                ticket.error = None
                ticket.result = ticket.work()
            self._transaction.commit()
        except Exception as error:
            self._undo()
            outage = self._transaction.is_outage(error)
            if len(group) > 1 and not outage:
                return False
            unavailable = outage or self._transaction.raised(error)
            for ticket in group:
                ticket.error = JournalUnavailable(f"the journal cannot write: {error}") if unavailable else error
        return True

    def _undo(self) -> None:
        try:
            self._transaction.rollback()
        except Exception as error:
            log.error("a transaction could not be rolled back: %s", without_text(error))  # noqa: TRY400
