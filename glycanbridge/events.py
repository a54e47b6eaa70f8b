"""GlycanAge's four events, in GlycanAge's own words.

The vendor's page is the only schema there is, so the models are strict about what it shows and open about what it does
not: unknown fields are kept and handed on, status words are text and stay as they came. Whatever cannot be understood
raises `ParseError` and is quarantined, never dropped.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from glycanbridge.errors import ParseError
from glycanbridge.event_types import EVENT_TYPES, OrderedBy

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _from_epoch_ms(value: object) -> datetime:
    if type(value) is not int:  # bool is an int in Python, but `true` is no time
        raise ValueError("expected epoch milliseconds, a whole number")
    try:
        return _EPOCH + timedelta(milliseconds=value)
    except OverflowError:
        raise ValueError("expected epoch milliseconds between the years 1 and 9999") from None


class Age(str):
    """An age in years as GlycanAge wrote it, e.g. `"45.2"` or `"44"`: the text is kept, digits and all."""

    __slots__ = ()

    @property
    def decimal(self) -> Decimal | None:
        """The age as a number; `None` when the text is not a plain decimal number such as `45.2`."""
        if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", self) is None:
            return None
        try:
            return Decimal(self)
        except InvalidOperation:  # more digits than a Decimal takes
            return None


def _age(value: object) -> Age:
    if isinstance(value, str):
        return Age(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Age(value)
    raise ValueError("expected an age, as text or as a number")


Timestamp = Annotated[datetime, BeforeValidator(_from_epoch_ms)]
"""Epoch milliseconds on the wire; an aware datetime in UTC, exact to the millisecond, here."""

Id = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\x00]*$")]
"""An identifier of GlycanAge's. NUL is refused: PostgreSQL's text cannot hold it."""

AgeText = Annotated[Age, BeforeValidator(_age, json_schema_input_type=str | float)]


class EventModel(BaseModel):
    """What the models of all events have in common: how they are read, and that nobody changes them."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="allow",
        alias_generator=to_camel,
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,
        defer_build=True,  # see `build_models`
    )


class OrderStatus(EventModel):
    """The data of an order's change of status. Orders name no kits."""

    order_id: Id
    order_type: str
    """`bulk-order` or `kit-order`, as far as documented."""
    previous_status: str | None = None
    current_status: str
    practice_id: Id
    number_of_kits: int
    amount: int | None = None
    """In minor units of `currency` ("in cents", says the vendor)."""
    currency: str | None = None


class KitSet(EventModel):
    """One kit of an assignment: where kit, patient and product are first seen together."""

    patient_id: Id
    kit_code: Id
    product: str


class AssignmentStatus(EventModel):
    """The data of an assignment's change of status."""

    assignment_id: Id
    previous_status: str | None = None
    current_status: str
    practice_id: Id
    payment_type: str
    """`bank-transfer` or `token`, as far as documented."""
    amount: int | None = None
    """In minor units of `currency`; `None` if paid with tokens."""
    currency: str | None = None
    sets: tuple[KitSet, ...]


class ReceivedKit(EventModel):
    """The data of a kit's arrival at the laboratory."""

    kit_code: Id
    test_id: Id
    patient_id: Id
    practice_id: Id
    assignment_id: Id
    received_at: Timestamp
    status: str


class Report(EventModel):
    """The data of a finished report."""

    report_id: Id
    test_id: Id
    kit_code: Id
    patient_id: Id
    practice_id: Id
    assignment_id: Id
    glycan_age: AgeText
    chronological_age: AgeText
    report_url: str
    """Relative to GlycanAge's API, as it came."""
    created_on: Timestamp


class Event(EventModel):
    """What all events share. A plugin's hook gets one of the children."""

    type: str
    timestamp: Timestamp
    data: Any

    @property
    def practice_id(self) -> str:
        """The practice that the event belongs to: every event names one."""
        return str(self.data.practice_id)

    @property
    def kit_codes(self) -> tuple[str, ...]:
        """The kits that the event is about: none for an order, all of its sets' for an assignment, else one."""
        if isinstance(self.data, AssignmentStatus):
            return tuple(dict.fromkeys(each.kit_code for each in self.data.sets))
        return () if isinstance(self.data, OrderStatus) else (str(self.data.kit_code),)

    def order_keys(self, by: OrderedBy) -> tuple[str, ...]:
        """What the event is about: its kits, its assignment or its order; none if it is not about such a thing."""
        if by == "kit":
            return self.kit_codes
        key = getattr(self.data, f"{by}_id", None)
        return () if key is None else (str(key),)


class OrderStatusChanged(Event):
    """A kit order or bulk order changed its status."""

    type: Literal["order-status-changed"]
    data: OrderStatus


class AssignmentStatusChanged(Event):
    """An assignment changed its status."""

    type: Literal["assignment-status-changed"]
    data: AssignmentStatus


class KitReceived(Event):
    """A kit arrived at GlycanAge's laboratory."""

    type: Literal["kit-received"]
    data: ReceivedKit


class ReportReady(Event):
    """A report is finished and can be downloaded."""

    type: Literal["report-ready"]
    data: Report


AnyEvent = Annotated[
    OrderStatusChanged | AssignmentStatusChanged | KitReceived | ReportReady,
    Field(discriminator="type"),
]
_TYPE = re.compile(r"[A-Za-z][A-Za-z_.-]{0,63}")
"""What may be an event type: it is told in logs and dead letters, so it must be nothing else."""

_ADAPTER: TypeAdapter[Event] = TypeAdapter(AnyEvent, config=ConfigDict(defer_build=True))


def build_models() -> None:
    """Get ready to `parse` at full speed; else the first one does it. Most commands never do."""
    _ADAPTER.rebuild()


def parse(body: bytes) -> Event:
    """GlycanAge's event in `body`, one of `Event`'s children here; one validation, straight from the bytes.

    Raises `ParseError`: not JSON (UTF-8 without BOM), an unknown type, a required field that is missing or of a wrong
    type. The text names the place and the rule, never what stood there.
    """
    return understood(_ADAPTER, body)


def understood(models: TypeAdapter[Event], body: bytes) -> Event:
    """The event in `body`, which is to be one of the `models`. Raises `ParseError`, as `parse` does."""
    try:
        return models.validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        if first["type"] == "union_tag_invalid":
            tag = first["ctx"]["tag"]
            raise ParseError(f"unknown event type {tag!r}" if _TYPE.fullmatch(tag) else "unknown event type") from None
        place = ".".join(str(part) for part in first["loc"] if part not in EVENT_TYPES)
        told = first["msg"].removeprefix("Value error, ")
        raise ParseError(f"{place}: {told}" if place else told) from None
