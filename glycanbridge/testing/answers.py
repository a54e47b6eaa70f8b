"""What a peer answers: what it is told to say, or a fault."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from threading import Lock
from typing import Generic, Self, TypeVar

Asked = TypeVar("Asked")
Said = TypeVar("Said")


class Fault(StrEnum):
    """How a peer misbehaves instead of answering."""

    HANG = "hang"
    """It says nothing, for as long as it lives."""
    RESET = "reset"
    """The connection is reset, without an answer."""
    RESET_MIDWAY = "reset midway"
    """The connection is reset in the middle of the answer."""
    CLOSE = "close"
    """The connection is closed in order, without an answer."""
    CLOSE_MIDWAY = "close midway"
    """The connection is closed in order, in the middle of the answer."""
    GARBAGE = "garbage"
    """What comes is no answer in any language."""
    DRIP = "drip"
    """The answer begins, comes a byte now and then, and never ends."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; `Content-Length` is added. `headers` are sent as they stand."""

    status: int = 200
    body: str | bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    then: Fault | None = None
    """What comes after it: the connection stays open unless told otherwise."""
    raw: bytes | None = None
    """These bytes, instead of all of that."""

    @classmethod
    def redirect(cls, to: str, status: int = 302) -> Self:
        """A redirect to a URL."""
        return cls(status, headers={"Location": to})

    @property
    def content(self) -> bytes:
        """The body as bytes, UTF-8."""
        return self.body.encode() if isinstance(self.body, str) else self.body


class Script(Generic[Asked, Said]):
    """What is said in turn: one thing each time, the last one for ever after."""

    def __init__(self, *steps: Said | Callable[[Asked], Said]) -> None:
        if not steps:
            raise ValueError("say what to answer: at least one thing")
        self._steps = deque(steps)
        self._lock = Lock()

    def next(self, asked: Asked) -> Said:
        """What is said this time."""
        with self._lock:
            step = self._steps.popleft() if len(self._steps) > 1 else self._steps[0]
        return step(asked) if callable(step) else step
