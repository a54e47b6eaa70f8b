r"""Where a lane's plugin runs: in a process of its own (`process`), or in a thread of the bridge (`thread`).

A lane has one host, and hands it one batch at a time. Whatever the plugin does, each attempt ends in about the time
that it was given, with an outcome.

```
bridge: process.ProcessHost -> forks.Forks -> child.Child    host's process: inside.run -> Attempts -> plugin
                                   |               \-------- messages ------------/
                                fork server        \-------- what it prints: output
```
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from glycanbridge.delivery import Delivery, Outcome

BATCH_S = 0.1
"""How long the attempts of a batch may take together: outcomes wait for those behind them, and so do other lanes."""
CLOSE_S = 2.0
"""How long a plugin may take to close."""


class Made(NamedTuple):
    """An attempt that was made."""

    outcome: Outcome
    took_s: float


class Stint:
    """A host's stint: it makes one attempt after another, and ends with one that fails, or when `BATCH_S` are over."""

    def __init__(self, *, seconds: Callable[[], float] = time.monotonic) -> None:
        """`seconds` tells how long attempts take."""
        self.over = False
        """What is left of the batch is not begun any more."""
        self._seconds = seconds
        self._took_s = 0.0

    def make(self, attempt: Callable[[Delivery], Outcome], delivery: Delivery) -> Made:
        """Make the next attempt."""
        began = self._seconds()
        outcome = attempt(delivery)
        return self.counted(Made(outcome, self._seconds() - began))

    def counted(self, made: Made) -> Made:
        """One that was made elsewhere."""
        self._took_s += made.took_s
        self.over = made.outcome.failed or self._took_s > BATCH_S
        return made


class Host(Protocol):
    """What a lane needs of the place where its plugin runs."""

    def start(self) -> str | None:
        """Get ready for a delivery, unless it is; why the plugin cannot be made, if so: then claim nothing."""

    def deliver(self, deliveries: Sequence[Delivery]) -> list[Made]:
        """Make attempts in turn, each within about `timeout_s`; those that are missing in the end were not begun.

        Raises `HostStopped` if the bridge has ended it, because it stops.
        """

    def close(self) -> None:
        """Let the plugin close, within `CLOSE_S`; nothing of it runs afterwards, if it can be ended at all."""

    def trouble(self) -> str | None:
        """Why it must not be called any more, if so."""
