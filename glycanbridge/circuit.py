"""A destination that fails again and again is left alone as a whole, and asked now and then whether it is back.

An EHR that is away for a weekend would otherwise use up every delivery's attempts, and be flooded when it returns. So
after some failures in a row, of whatever deliveries, its circuit opens: what it is owed waits, and the waiting does not
count. From time to time one delivery is tried, a *probe*, each time another one. Once a probe succeeds the circuit
closes step by step: one delivery after the other until as many have succeeded as had to fail, then all lanes.

A delivery that fails while others get through is at fault itself: its attempts count, so that it comes to its end.

A destination that takes nothing at all (`DestinationError`: a wrong password, a refused certificate) is left alone at
once, for as long as it asks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from glycanbridge.delivery import SHORTEST_WAIT_S, Outcome, Scope
from glycanbridge.retry import growing_wait_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Brake:
    """When a destination's circuit opens, and how long it waits between probes."""

    failures: int = 5
    """So many failures in a row open it; 0: it never opens."""
    first_wait_s: float = 30.0
    longest_wait_s: float = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """How a destination has been doing. Times are milliseconds since the epoch."""

    failures: int = 0
    """In a row; while the circuit closes, how many successes are missing."""
    open_since: int | None = None
    """`None`: it is closed, and every lane works."""
    probe_at: int | None = None
    """While it is open, when the next probe may be made."""
    answered_at: int | None = None
    """When a delivery got through, for the first time after the last failure."""

    @property
    def comes_back(self) -> bool:
        """It is open, and the last attempt got through: one delivery at a time goes, until `failures` more have."""
        return self.open_since is not None and self.answered_at is not None and self.answered_at == self.probe_at

    def after(self, outcome: Outcome, *, brake: Brake, probe: bool, now: int) -> Circuit:
        """The circuit after an attempt ended in `outcome` at `now`."""
        if outcome.scope is Scope.DELIVERY:  # nothing is known of the destination: it may not even have been asked
            return replace(self, probe_at=self.open_since and now) if probe else self
        if not outcome.failed:  # also "no such patient": somebody is there
            return self._answered(brake, now)
        if self.open_since is not None and not probe:  # it was under way when the circuit opened
            return self
        failures = self.failures + 1
        if outcome.scope is Scope.DESTINATION and brake.failures:
            wait_s = max(outcome.asked_s or brake.first_wait_s, SHORTEST_WAIT_S)
            failures = self.failures or 1  # however often it says so, one success shows that it is mended
        elif 0 < brake.failures <= failures:
            number = failures - brake.failures + 1
            wait_s = growing_wait_s(number, first_s=brake.first_wait_s, longest_s=brake.longest_wait_s)
        else:
            return replace(self, failures=failures, probe_at=self.open_since and now)
        return replace(self, failures=failures, open_since=self.open_since or now, probe_at=now + int(wait_s * 1000))

    def _answered(self, brake: Brake, now: int) -> Circuit:
        if not self.failures:
            return self
        left = 0 if self.open_since is None else min(self.failures, brake.failures) - 1
        if left <= 0:
            return Circuit(answered_at=now)
        return Circuit(failures=left, open_since=self.open_since, probe_at=now, answered_at=now)
