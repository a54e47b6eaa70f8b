"""Runs a plugin in a process of its own, started when it is first needed, and anew whenever it had to be ended."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import accumulate
from threading import Lock
from time import monotonic
from typing import Any

from glycanbridge.attempt import kept_text
from glycanbridge.delivery import Delivery, Outcome, ReportSource, Result
from glycanbridge.errors import HostStopped, without_text
from glycanbridge.hosts import CLOSE_S, Made, Stint
from glycanbridge.hosts.child import Child
from glycanbridge.hosts.forks import Forks
from glycanbridge.hosts.messages import HostPlan, made_of, told_of_deliveries
from glycanbridge.hosts.output import Lines
from glycanbridge.hosts.reports import MOST_QUESTIONS, told_of_report

log = logging.getLogger(__name__)

START_S = 30.0
"""How long a plugin may take to be imported and made: no attempt is used up by it."""


AHEAD_BYTES = 65_536
"""What is handed over ahead must fit into the socket: whoever sends more would wait for an attempt to end."""


class _NotReady(Exception):
    """The plugin's instance could not be made, and nothing was handed to it."""


class ProcessHost:
    """A host in a process; `timeout_s` is for an attempt, `start_s` for the process to make the plugin's instance."""

    def __init__(
        self,
        *,
        plan: HostPlan,
        timeout_s: float,
        forks: Forks,
        start_s: float = START_S,
        reports: ReportSource | None = None,
    ) -> None:
        """`reports`: where report files come from, if the `plan` says that they can be asked for."""
        self._plan = plan
        self._reports = reports
        self._start_s = start_s
        self._timeout_s = timeout_s
        self._forks = forks
        self._lines = Lines(plan.destination)
        self._calling = Lock()
        self._child: Child | None = None
        self._closed = False

    def start(self) -> str | None:
        """Start the process, unless it runs; why the plugin cannot be made in it, if so."""
        with self._calling:
            try:
                self._ready()
            except _NotReady as reason:
                return kept_text(str(reason))
            return None

    def deliver(self, deliveries: Sequence[Delivery]) -> list[Made]:
        """Make attempts in turn; a process that hangs, dies or talks nonsense is ended, and the next has a new one.

        Raises `HostStopped` if the bridge has ended it, because it stops.
        """
        with self._calling:
            try:
                child = self._ready()
            except _NotReady as reason:
                return [Made(Outcome(result=Result.TEMPORARY, error=kept_text(str(reason))), 0.0)]
            made, began = list[Made](), monotonic()
            try:
                for each in self._made(child, deliveries):
                    made.append(each)
                    began = monotonic()
            except Exception as error:
                if self._forks.closed:
                    raise HostStopped("the bridge stops") from error
                told = self._ended_by(error, f"no answer within {self._timeout_s:g} s")
                # It makes them one by one and answers each: whatever is behind the first unanswered one was not begun.
                made.append(Made(Outcome(result=Result.UNKNOWN, error=told), monotonic() - began))
            return made

    def _made(self, child: Child, deliveries: Sequence[Delivery]) -> Iterator[Made]:
        """The attempts, as they are made. What is handed over ahead saves both sides the waiting for each other."""
        stint, left = Stint(), list(deliveries)
        while left and not stint.over:
            ahead, left = _ahead(left)
            child.tell(*told_of_deliveries(ahead), deadline=monotonic() + self._timeout_s)
            for delivery in ahead:
                told = self._answered(child, delivery)
                yield stint.counted(made_of(told))
                if told.get("last"):
                    self._end()
                    return
                if told.get("over"):  # its own word: it may make more of this message than our time would have had
                    return

    def _answered(self, child: Child, delivery: Delivery) -> dict[str, Any]:
        """The outcome of an attempt, as it was sent. To fetch a report that it asks for takes none of its time."""
        deadline = monotonic() + self._timeout_s
        told = child.answer(deadline=deadline)
        for _ in range(MOST_QUESTIONS):
            if self._reports is None or "report" not in told:
                break
            began = monotonic()
            message = told_of_report(delivery, self._reports)
            deadline += monotonic() - began
            child.tell(*message, deadline=deadline)
            told = child.answer(deadline=deadline)
        return told

    def close(self) -> None:
        """Let the plugin close, within `CLOSE_S`; then its process is ended, also in the middle of an attempt."""
        deadline = monotonic() + CLOSE_S
        self._closed = True
        if not self._calling.acquire(timeout=CLOSE_S):
            if (child := self._child) is not None:
                child.kill()  # and the attempt that is running finds it dead
            return
        try:
            child, self._child = self._child, None
            if child is not None:
                self._close(child, deadline)
        finally:
            self._calling.release()

    def trouble(self) -> str | None:
        """There is none that a new process would not mend."""
        return None

    def _ready(self) -> Child:
        if self._closed:
            raise _NotReady("the bridge is stopping")
        if self._child is not None and self._child.gone():
            how = self._end()
            log.warning("the plugin's process died between two attempts: %s", how, extra=self._where)
        if self._child is not None:
            return self._child
        try:
            child = self._child = self._forks.start(self._plan, self._lines)
            told = child.answer(deadline=monotonic() + self._start_s)
        except Exception as error:
            raise _NotReady(self._ended_by(error, f"not ready within {self._start_s:g} s")) from error
        if "ready" not in told:
            self._end()
            raise _NotReady(told.get("unusable", "the plugin's process could not be started"))
        return child

    def _close(self, child: Child, deadline: float) -> None:
        try:
            child.tell({"close": True}, deadline=deadline)
            child.answer(deadline=deadline)
        except TimeoutError:
            log.error("the plugin does not close; its process is ended", extra=self._where)  # noqa: TRY400 (no traceback)
        except (EOFError, ValueError):
            pass  # there is no answer: it has ended itself
        child.end()

    @property
    def _where(self) -> dict[str, str]:
        return {"destination": self._plan.destination}

    def _ended_by(self, error: Exception, late: str) -> str:
        """End the process because of `error`; what is to be said of it, `late` if it took too long."""
        how = self._end()
        if isinstance(error, TimeoutError):
            return f"{late}: the plugin's process was ended"
        if isinstance(error, EOFError):
            return f"the plugin's process died: {how}"
        if isinstance(error, ValueError):
            return f"the plugin's process sent what is no answer ({error}): it was ended"
        why = str(error) if isinstance(error, OSError) else without_text(error)  # the system's own words: no file left
        return f"the plugin's process cannot be started: {why}"

    def _end(self) -> str:
        child, self._child = self._child, None
        return child.end() if child is not None else "it could not be started"


def _ahead(deliveries: list[Delivery]) -> tuple[list[Delivery], list[Delivery]]:
    """As many as may be handed over at once, and the others."""
    sizes_bytes = accumulate(len(each.body) for each in deliveries)
    fit = max(1, sum(size <= AHEAD_BYTES for size in sizes_bytes))
    return deliveries[:fit], deliveries[fit:]
