"""What an event is told with: a title, and a line for each of its values that may be told. A pure function."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from glycanbridge import Delivery, Event, Personal

TITLES = {
    "order-status-changed": "Order changed",
    "assignment-status-changed": "Assignment changed",
    "kit-received": "Kit received at the laboratory",
    "report-ready": "Report ready",
    "delivery-dead": "A delivery was given up",
}
MOST_SETS = 20
LONGEST_VALUE = 200


def message_of(event: Event, delivery: Delivery, personal: Personal) -> tuple[str, str]:
    """The title and the text that an event is told with: a line for each of its values that may be told."""
    lines = []
    for name, value in personal.told(event).items():
        if name == "sets":
            lines += [f"Kit: {', '.join(map(_shown, each.values()))}" for each in value[:MOST_SETS]]
            lines += [f"and {len(value) - MOST_SETS} more kits"] if len(value) > MOST_SETS else []
        elif value is not None:
            lines.append(f"{name.replace('_', ' ').capitalize()}: {_shown(value)}")
    command = "deliveries show" if event.type == "delivery-dead" else "events show"
    known_by = event.data.delivery_id if event.type == "delivery-dead" else delivery.event_id[:12]
    return TITLES[event.type], "\n".join([*lines, f"glycanbridge {command} {known_by}"])


def _shown(value: Any) -> str:
    """A value on one line, without what nobody can see."""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M} UTC"
    text = " ".join("".join(each if each.isprintable() else " " for each in str(value)).split())
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"
