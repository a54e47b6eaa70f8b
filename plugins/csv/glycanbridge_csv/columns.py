"""Which columns a file has: those that there are for its event type, that were chosen, and that may be told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

from glycanbridge import AssignmentStatusChanged, Event, KitReceived, OrderStatusChanged, Personal, ReportReady

# fmt: off
SharedColumn = Literal["delivery_id", "event_id", "event_type", "timestamp", "local_time", "received_at"]
OrderColumn = Literal[
    SharedColumn, "order_id", "order_type", "previous_status", "current_status", "practice_id", "number_of_kits",
    "amount", "currency", "local_date",
]
AssignmentColumn = Literal[
    SharedColumn, "assignment_id", "previous_status", "current_status", "practice_id", "payment_type", "amount",
    "currency", "set_number", "sets", "patient_id", "kit_code", "product", "local_date",
]
KitColumn = Literal[
    SharedColumn, "kit_code", "test_id", "patient_id", "practice_id", "assignment_id", "kit_received_at",
    "kit_received_at_local", "status", "local_date",
]
ReportColumn = Literal[
    SharedColumn, "report_id", "test_id", "kit_code", "patient_id", "practice_id", "assignment_id", "glycan_age",
    "chronological_age", "report_url", "created_on", "created_on_local", "local_date",
]
# fmt: on
COLUMNS: dict[str, list[str]] = {
    "order-status-changed": list(get_args(OrderColumn)),
    "assignment-status-changed": list(get_args(AssignmentColumn)),
    "kit-received": list(get_args(KitColumn)),
    "report-ready": list(get_args(ReportColumn)),
}
"""Every column of each event type's files, in the order that they have unless others are chosen."""
ENDS = ("local_date", "timestamp", "received_at")
"""What the last column of a file may be. Never empty and of a fixed length, such a cell shows that its row is whole."""
_KEYS = ("delivery_id", "set_number")
"""What tells a row from every other; only assignments have sets."""
_FIELDS = {
    "set_number": "sets",
    "kit_received_at": "received_at",
    "kit_received_at_local": "received_at",
    "created_on_local": "created_on",
}
"""Which field of the event's data a column is made of, where it has another name."""
_EVENTS: dict[str, type[Event]] = {
    "order-status-changed": OrderStatusChanged,
    "assignment-status-changed": AssignmentStatusChanged,
    "kit-received": KitReceived,
    "report-ready": ReportReady,
}


def keys(columns: Sequence[str]) -> list[int]:
    """Where in a row stands what tells it from every other."""
    return [columns.index(name) for name in _KEYS if name in columns]


def tellable(event_type: str, personal: Personal) -> list[str]:
    """The columns of an event type that may be there."""
    told = _told(event_type, personal)
    always = {*get_args(SharedColumn), "local_date"}
    return [name for name in COLUMNS[event_type] if name in always or _FIELDS.get(name, name) in told]


def layout(event_type: str, chosen: Sequence[str] | None, personal: Personal) -> list[str]:
    """The columns of an event type's files, in their order: all that may be told, or those that were chosen.

    What a file needs and nobody chose stands behind them: what tells its rows from one another, and an end that shows
    whether a row is whole. Raises `ValueError` if everything that could be such an end was put elsewhere.
    """
    if chosen is None:
        return tellable(event_type, personal)
    columns = [*chosen, *(name for name in _KEYS if name in COLUMNS[event_type] and name not in chosen)]
    if columns[-1] in ENDS:
        return columns
    for end in ENDS:
        if end not in columns:
            return [*columns, end]
    raise ValueError(f"expected delivery_id in it, and one of {', '.join(ENDS)} as the last")


def _told(event_type: str, personal: Personal) -> set[str]:
    """The fields that may be told: the bridge's own rule, asked about an event that has nothing in it."""
    model: Any = _EVENTS[event_type]
    told = personal.told(model.model_construct(data=_blank(model.model_fields["data"].annotation)))
    return {*told, *(name for each in told.get("sets", ()) for name in each)}


def _blank(model: Any) -> object:
    fields: dict[str, Any] = dict.fromkeys(model.model_fields, "")
    if "sets" in fields:
        fields["sets"] = (_blank(get_args(model.model_fields["sets"].annotation)[0]),)
    return model.model_construct(**fields)
