"""Hands an event to a plugin's hook exactly as a lane does, and tells what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from glycanbridge.attempt import Attempts
from glycanbridge.delivery import Delivery, Outcome, Result, Scope
from glycanbridge.errors import DeliveryError, DestinationError, NotYetError, PermanentError, TemporaryError
from glycanbridge.events import Event
from glycanbridge.testing.samples import sample_delivery

_BY_SCOPE: dict[Scope | None, type[DeliveryError]] = {
    None: TemporaryError,
    Scope.DELIVERY: NotYetError,
    Scope.DESTINATION: DestinationError,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempted:
    """What an attempt ended in, as the bridge sees it: delivered, with a receipt or none, or one of the four errors."""

    receipt: str | None = None
    error: type[DeliveryError] | None = None
    """`TemporaryError`, `NotYetError`, `DestinationError` or `PermanentError`; `None`: delivered."""
    text: str | None = None
    """What the journal keeps of the error."""
    retry_after_s: float | None = None
    unknown: bool = False
    """The answer was lost: nobody knows whether the far side has it."""
    raised: BaseException | None = field(default=None, compare=False)
    """What the hook raised. If it is none of the four errors, it counts as temporary, and has a traceback."""

    @property
    def delivered(self) -> bool:
        """Whether the far side has it."""
        return self.error is None


def deliver(
    plugin: object,
    event: str | bytes | Event | Delivery = "report-ready",
    *,
    attempt: int = 1,
    tries: int = 1,
    destination: str = "test",
    received_at: datetime | None = None,
    report: bytes | DeliveryError | None = None,
) -> Attempted:
    """Hand an event to the plugin's hook, as a lane does; whatever the hook does, it ends in an outcome.

    The event may be a type (the sample of it), a body, an `Event`, or a `Delivery`, which has all the rest. Unlike in a
    bridge there is one quick try, unless `tries` says otherwise. `report` is what `delivery.report()` gives or raises.
    """
    delivery = event
    if not isinstance(delivery, Delivery):
        told: dict[str, Any] = {"attempt": attempt, "destination": destination, "received_at": received_at}
        delivery = sample_delivery(delivery, report=report, **told)
    return attempted_with(plugin, delivery, tries=tries)


def attempted_with(plugin: object, delivery: Delivery, *, tries: int) -> Attempted:
    """What an attempt at a delivery ended in."""
    attempts = _Watched(plugin, tries=tries)
    return _told(attempts.deliver(delivery), attempts.raised)


class _HookResult(Protocol):
    @property
    def exception(self) -> BaseException | None: ...


class _Watched(Attempts):
    """Attempts that also keep what the hook raised last: the bridge forgets it, and a test wants to see it."""

    def __init__(self, instance: object, *, tries: int) -> None:
        super().__init__(instance, tries=tries)
        self.raised: BaseException | None = None
        self._manager.add_hookcall_monitoring(_before, self._after)

    def _after(self, ended: _HookResult, _name: str, _hooks: Sequence[object], _told: Mapping[str, object]) -> None:
        self.raised = ended.exception


def _before(_name: str, _hooks: Sequence[object], _told: Mapping[str, object]) -> None:
    pass


def _told(outcome: Outcome, raised: BaseException | None) -> Attempted:
    if outcome.result is Result.DELIVERED:
        return Attempted(receipt=outcome.receipt)
    error = PermanentError if outcome.result is Result.PERMANENT else _BY_SCOPE[outcome.scope]
    return Attempted(
        error=error,
        text=outcome.error,
        retry_after_s=outcome.retry_after_s,
        unknown=outcome.result is Result.UNKNOWN,
        raised=raised,
    )
