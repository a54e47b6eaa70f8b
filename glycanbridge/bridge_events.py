"""The bridge's own events: that a delivery was given up, that an attempt has ended; and every event as it is kept.

They reach plugins through hooks like GlycanAge's. Whoever reads what comes from outside uses `events.parse`, which
knows none of them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from glycanbridge.event_types import OrderedBy
from glycanbridge.events import (
    AssignmentStatusChanged,
    Event,
    EventModel,
    KitReceived,
    OrderStatusChanged,
    ReportReady,
    Timestamp,
    understood,
)


class _AboutDelivery(EventModel):
    """What is told of a delivery: neither a result, nor whose it is."""

    delivery_id: str
    """`EVENT_ID:DESTINATION`; `glycanbridge deliveries show` takes it."""
    event_id: str
    event_type: str
    destination: str
    """The name in `bridge.yaml` of the destination that it was owed to."""
    practice_id: str
    """The practice of its event."""
    kit_code: str | None
    """The (first) kit of its event; `None` for an order."""


class DeadDelivery(_AboutDelivery):
    """The data of a delivery that was given up."""

    plugin: str
    attempts: int
    reason: str
    """What was said of the last attempt."""
    received_at: Timestamp
    """When the bridge received the event that was not delivered."""


class SettledDelivery(_AboutDelivery):
    """The data of an attempt that has ended, and of what follows for its delivery."""

    attempt: int
    """Counts from 1."""
    outcome: str
    """`delivered`, `temporary`, `permanent` or `unknown`."""
    state: str
    """The delivery's state from now on: `delivered`, `pending` (tried again, or held for a person) or `dead`."""
    error: str | None
    receipt: str | None
    took_ms: int


class BridgeEvent(Event):
    """What the bridge's own events share."""

    @property
    def kit_codes(self) -> tuple[str, ...]:
        """The kit of the delivery that it is about, if it has one."""
        return () if self.data.kit_code is None else (self.data.kit_code,)

    def order_keys(self, by: OrderedBy) -> tuple[str, ...]:  # noqa: ARG002
        """None: an alarm waits for nothing."""
        return ()


class DeliveryDead(BridgeEvent):
    """The bridge has given a delivery up: there is a dead letter of it, and a person must look."""

    type: Literal["delivery-dead"]
    data: DeadDelivery


class DeliverySettled(BridgeEvent):
    """An attempt at a delivery has ended: delivered, to be made again, or given up."""

    type: Literal["delivery-settled"]
    data: SettledDelivery


_Kept = Annotated[
    OrderStatusChanged | AssignmentStatusChanged | KitReceived | ReportReady | DeliveryDead | DeliverySettled,
    Field(discriminator="type"),
]
_ADAPTER: TypeAdapter[Event] = TypeAdapter(_Kept, config=ConfigDict(defer_build=True))


def build_kept_models() -> None:
    """Get ready for `parse_kept` at full speed; else the first one does it."""
    _ADAPTER.rebuild()


def parse_kept(body: bytes) -> Event:
    """The event in a body that the bridge has kept or made: GlycanAge's, or one of its own. Raises `ParseError`."""
    return understood(_ADAPTER, body)
