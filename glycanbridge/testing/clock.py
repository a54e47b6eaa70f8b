"""A clock that stands still until a test turns it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class HandClock:
    """A wall clock that stands still until it is turned, and the steady clock beside it.

    It begins on 14 November 2023, at 22:13:20 UTC.
    """

    def __init__(self) -> None:
        self.ms = 1_700_000_000_000
        """Milliseconds since the epoch."""
        self._set_by_ms = 0

    def __call__(self) -> int:
        """The time in milliseconds since the epoch."""
        return self.ms

    @property
    def now(self) -> datetime:
        """The moment it shows, in UTC."""
        return _EPOCH + timedelta(milliseconds=self.ms)

    def steady(self) -> int:
        """What only ever runs forward, in milliseconds."""
        return self.ms - self._set_by_ms

    def turn(self, seconds: float) -> None:
        """Let time pass."""
        self.ms += round(seconds * 1000)

    def jump(self, seconds: float) -> None:
        """Set the wall clock: no time passes."""
        self.ms += round(seconds * 1000)
        self._set_by_ms += round(seconds * 1000)
