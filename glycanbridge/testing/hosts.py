"""Calls a plugin where the lane is: no process, no thread, no time limit. For tests that are about something else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from glycanbridge.delivery import Delivery, ReportSource
from glycanbridge.destinations import Destination
from glycanbridge.hosts import Made, Stint
from glycanbridge.lanes import Lane


class DirectHost:
    """Calls the plugin in the lane's own thread; `seconds` tells how long its attempts take."""

    def __init__(
        self,
        destination: Destination,
        seconds: Callable[[], float] = time.monotonic,
        reports: ReportSource | None = None,
    ) -> None:
        """Raises whatever the plugin raises when it is made. `reports` gives report files."""
        self._reports = reports
        self._attempts = destination.attempts()
        self._seconds = seconds
        self.plugin = self._attempts.instance
        self.stopping = threading.Event()
        self.made = 0
        """Attempts so far."""

    def deliver(self, deliveries: Sequence[Delivery]) -> list[Made]:
        """Make attempts in turn, until one fails."""
        stint, made = Stint(seconds=self._seconds), []
        for each in deliveries:
            made.append(
                stint.make(self._attempts.deliver, each if self._reports is None else each.with_reports(self._reports))
            )
            if stint.over or self.stopping.is_set():
                break
        self.made += len(made)
        return made

    def observe(self, told: Delivery) -> None:
        """Tell the plugin how an attempt ended; whatever it makes of that spoils nothing."""
        self._attempts.deliver(told)

    def start(self) -> str | None:
        """It is always ready."""
        return None

    def trouble(self) -> str | None:
        """There is none."""
        return None

    def close(self) -> None:
        """Let the plugin let go of what it holds."""
        self._attempts.close()


def direct_lane(host: DirectHost, destination: Destination) -> Lane:
    """The only lane of a destination."""
    return Lane(destination, host, number=1, stopping=host.stopping)
