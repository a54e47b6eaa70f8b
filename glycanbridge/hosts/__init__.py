r"""Where a lane's plugin runs: in a process of its own (`process`), or in a thread of the bridge (`thread`).

A lane has one host, and calls it one delivery at a time. Whatever the plugin does, the call comes back in about the
time that it was given, with an outcome.

```
bridge: process.ProcessHost -> forks.Forks -> child.Child    host's process: inside.run -> Attempts -> plugin
                                   |               \-------- messages ------------/
                                fork server        \-------- what it prints: output
```
"""

from __future__ import annotations

from typing import Protocol

from glycanbridge.delivery import Delivery, Outcome

CLOSE_S = 2.0
"""How long a plugin may take to close."""


class Host(Protocol):
    """What a lane needs of the place where its plugin runs."""

    def start(self) -> str | None:
        """Get ready for a delivery, unless it is; why the plugin cannot be made, if so: then claim nothing."""

    def deliver(self, delivery: Delivery) -> Outcome:
        """Make one attempt; it comes back within about `timeout_s`, with an outcome.

        Raises `HostStopped` if the bridge has ended it, because it stops.
        """

    def close(self) -> None:
        """Let the plugin close, within `CLOSE_S`; nothing of it runs afterwards, if it can be ended at all."""

    def trouble(self) -> str | None:
        """Why it must not be called any more, if so."""
