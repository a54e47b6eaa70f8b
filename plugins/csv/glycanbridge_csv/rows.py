"""An event as the rows of a file: what may be told of it, by column."""

from __future__ import annotations

from typing import Any

from glycanbridge import Delivery, Event, Personal

Row = dict[str, Any]
"""Values by the names of their columns; more than a file has, and none of those that it may not have."""

_MOMENTS: dict[str, dict[str, tuple[str, ...]]] = {
    "kit-received": {"received_at": ("kit_received_at", "kit_received_at_local")},  # `received_at` is the bridge's
    "report-ready": {"created_on": ("created_on_local",)},
}
"""The columns that a moment of an event's data stands in, besides one of its own name."""


def rows_of(event: Event, delivery: Delivery, personal: Personal) -> list[Row]:
    """A row; for an assignment one for each of its sets, and one for an assignment without any.

    Only declared fields are in it: what GlycanAge may add some day must not fill a column of another meaning.
    """
    told = personal.told(event)
    for moment, names in _MOMENTS.get(event.type, {}).items():
        told |= dict.fromkeys(names, told.get(moment))
    shared = {
        "delivery_id": delivery.id,
        "event_id": delivery.event_id,
        "event_type": event.type,
        "timestamp": event.timestamp,
        "local_time": event.timestamp,
        "local_date": event.timestamp,
        "received_at": delivery.received_at,
    }
    if "sets" not in told:
        return [told | shared]
    sets = told["sets"]
    shared["sets"] = len(sets)
    return [told | each | shared | {"set_number": number} for number, each in enumerate(sets, 1)] or [told | shared]
