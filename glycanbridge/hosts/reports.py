"""How a plugin in a process of its own gets a report file: it asks the bridge, which alone has the credentials.

The question and its answer travel over the host's socket, between a delivery and its outcome.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from threading import Lock

from glycanbridge.attempt import OUT_OF_MEMORY, kept_seconds, kept_text
from glycanbridge.delivery import Delivery, Outcome, ReportSource
from glycanbridge.errors import NotYetError, PermanentError, without_text
from glycanbridge.hosts.messages import Inbox, Message, send

log = logging.getLogger(__name__)

MOST_QUESTIONS = 4
"""In one attempt, of a plugin's process that asks again and again."""


def told_of_report(delivery: Delivery, source: ReportSource) -> Message:
    """What the bridge answers: the file, or why there is none."""
    try:
        return {"report": "here"}, source(delivery)
    except PermanentError as error:
        return {"report": "never", "why": kept_text(str(error))}, b""
    except NotYetError as error:
        told = {"report": "not yet", "why": kept_text(str(error)), "retry_after_s": kept_seconds(error.retry_after_s)}
        return told, b""
    except Exception as error:
        log.error("a report could not be had: %s", without_text(error), extra={"delivery": delivery.id})  # noqa: TRY400
        return {"report": "not yet", "why": f"it could not be had: {type(error).__name__}", "retry_after_s": 300.0}, b""


class Asking:
    """The plugin's side of it, in the host's process. A thread that outlives its attempt gets nothing any more.

    The bridge is asked once in an attempt, and the attempt ends no sooner than its answer has come: a plugin's own
    alarm may raise while it is waited for, and what is left lying would be taken for the next delivery's report.
    """

    def __init__(self, talk: socket.socket, inbox: Inbox) -> None:
        self._talk = talk
        self._inbox = inbox
        self._lock = Lock()
        self._delivery_id: str | None = None
        self._answer: Message | None = None
        self._waits = False

    def during(self, attempt: Callable[[Delivery], Outcome]) -> Callable[[Delivery], Outcome]:
        """An attempt that may ask while it runs."""

        def asking(delivery: Delivery) -> Outcome:
            with self._lock:
                self._delivery_id, self._answer = delivery.id, None
            outcome = attempt(delivery.with_reports(self._ask))
            with self._lock:
                if self._waits and outcome is not OUT_OF_MEMORY:  # then there is no room for it, and the process ends
                    self._answered()
                self._delivery_id, self._answer = None, None
            return outcome

        return asking

    def _ask(self, delivery: Delivery) -> bytes:
        with self._lock:
            if delivery.id != self._delivery_id:
                raise PermanentError("the report was asked for when the attempt had ended")
            if self._answer is None:
                if not self._waits:
                    self._waits = True
                    send(self._talk, {"report": delivery.id})
                self._answer = self._answered()
            return _file_in(self._answer)

    def _answered(self) -> Message:
        while (message := self._inbox.message()) is None:
            self._inbox.fill()
        self._waits = False
        return message


def _file_in(answer: Message) -> bytes:
    told, file = answer
    if told["report"] == "here":
        return file
    if told["report"] == "never":
        raise PermanentError(told["why"])
    raise NotYetError(told["why"], retry_after_s=told["retry_after_s"])
