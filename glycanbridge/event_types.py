"""What is known of every event without its model: its type, what it is about, what it can be kept in order by."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, Protocol, get_args

EventType = Literal["order-status-changed", "assignment-status-changed", "kit-received", "report-ready"]
EVENT_TYPES: tuple[str, ...] = get_args(EventType)
"""GlycanAge's event types, in the order of a kit's life."""

DELIVERY_DEAD, DELIVERY_SETTLED = "delivery-dead", "delivery-settled"
BridgeEventType = Literal["delivery-dead", "delivery-settled"]
BRIDGE_EVENT_TYPES: tuple[str, ...] = get_args(BridgeEventType)
"""What the bridge itself tells its destinations; nothing of it ever comes from outside."""
AnyEventType = Literal[EventType, BridgeEventType]

OrderedBy = Literal["kit", "assignment", "order"]
"""By what deliveries can be kept in order."""


class EventFacts(Protocol):
    """What a journal keeps of an event besides its body; `events.Event` has all of it."""

    @property
    def type(self) -> str:
        """One of `EVENT_TYPES`, or `DELIVERY_DEAD`."""

    @property
    def timestamp(self) -> datetime:
        """When it happened, by GlycanAge's clock."""

    @property
    def practice_id(self) -> str:
        """The practice that it belongs to."""

    @property
    def kit_codes(self) -> tuple[str, ...]:
        """The kits that it is about."""
