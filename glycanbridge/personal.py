"""What of an event may be told outside: `none`, `ids` or `full`.

A payload identifies a patient together with a result. Mail and chat rooms are no places for that, so what leaves is
chosen for each destination, field by field; a field that nobody has thought about counts as personal.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import BaseModel

from glycanbridge.events import Event

_ANYBODYS = {
    *("order_id", "order_type", "previous_status", "current_status", "practice_id", "number_of_kits", "amount"),
    *("currency", "payment_type", "product", "received_at", "status", "created_on"),
    *("delivery_id", "event_id", "event_type", "destination", "plugin", "attempts", "attempt", "outcome", "state"),
    "took_ms",
}
"""What says nothing about a patient."""
_IDS = {
    *("patient_id", "test_id", "report_id", "assignment_id", "report_url", "kit_code"),
    *("reason", "error", "receipt"),
}
"""What points at a patient for whoever has GlycanAge's or the clinic's records. (A report's URL ends in its id.) What a
plugin or a far side has said is free text: no patient's value should be in it, but nobody can know."""
KEPT_LETTERS = 4
"""Of a masked kit code."""


class Personal(StrEnum):
    """How much of a patient may be told; a field of a plugin's settings model."""

    NONE = "none"
    """No ids of a patient's, no ages, of a kit code its last four letters."""
    IDS = "ids"
    """Ids and kit codes, no ages."""
    FULL = "full"
    """Everything."""

    def told(self, event: Event) -> dict[str, Any]:
        """What may be told of the event's data: its fields by name, in their order, with their values as they are.

        What may not be told is left out. The `sets` of an assignment are a list of such mappings. Fields that GlycanAge
        may add some day are never in it.
        """
        return self._of(event.data)

    def _of(self, data: BaseModel) -> dict[str, Any]:
        told: dict[str, Any] = {}
        for name in type(data).model_fields:
            value = getattr(data, name)
            if name == "sets":
                told[name] = [self._of(each) for each in value]
            elif self is Personal.FULL or name in _ANYBODYS or (self is Personal.IDS and name in _IDS):
                told[name] = value
            elif name == "kit_code":
                told[name] = None if value is None else masked(value)  # a dead delivery of an order's has none
        return told


def masked(kit_code: str) -> str:
    """A kit code of which only the last four letters can be read; none of one that has no more than those."""
    kept = kit_code[-KEPT_LETTERS:] if len(kit_code) > KEPT_LETTERS else ""
    return f"…{kept}"
