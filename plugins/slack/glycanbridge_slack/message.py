"""What a message says: an event as Slack's blocks, within Slack's limits and without any markup. A pure function.

Every value stands in a plain_text object, in which Slack knows no bold, links or mentions, with `&`, `<` and `>`
escaped as Slack asks for. The notification's text is a fixed sentence: it goes to lock screens and e-mails.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any
from zoneinfo import ZoneInfo

from slack_sdk.models.blocks import Block, ContextBlock, HeaderBlock, PlainTextObject, SectionBlock

from glycanbridge import DeliveryDead, Event, Personal

TITLES = {
    "order-status-changed": "Order status changed",
    "assignment-status-changed": "Assignment status changed",
    "kit-received": "Kit received at the laboratory",
    "report-ready": "Report ready",
    "delivery-dead": "Delivery given up",
}
"""Header and notification of a message, by event type."""
LONGEST_VALUE = 200
"""Characters of a value, escaped. Slack takes 2,000 in a field, and about 12,000 in all blocks together."""
LONGEST_IN_A_SET = 40
MOST_SETS = 20
"""Of an assignment, shown: with `LONGEST_IN_A_SET` they fit into the 3,000 characters of a section."""
FIELDS_IN_A_SECTION = 10
SHORT_ID = 12
"""Letters shown of an event's id that is a hash: `glycanbridge events show` takes the beginning of an id."""
_ELSEWHERE = {"previous_status", "currency", "sets", "event_id", "delivery_id"}
"""Fields that are told with another one, or as the reference."""
_LABELS = {
    "amount": "Amount",
    "current_status": "Status",
    "glycan_age": "GlycanAge",
    "number_of_kits": "Kits",
    "received_at": "Received",
    "created_on": "Created",
    "report_url": "Report",
    "event_type": "What",
}
"""Where the field's own name would not do."""


def message_of(event: Event, event_id: str, *, personal: Personal, zone: ZoneInfo) -> dict[str, Any]:
    """The body of the request: a notification's text and blocks, with what `personal` allows."""
    told = personal.told(event)
    fields = [_plain(f"{label}\n{value}") for label, value in _facts(told, zone)]
    pages = [fields[start : start + FIELDS_IN_A_SECTION] for start in range(0, len(fields), FIELDS_IN_A_SECTION)]
    blocks: list[Block] = [HeaderBlock(text=_plain(TITLES[event.type])), *(SectionBlock(fields=page) for page in pages)]
    if "sets" in told:
        blocks.append(SectionBlock(text=_plain(_sets(told["sets"]))))
    reference = f"{_moment(event.timestamp, zone)}\n{_reference(event, event_id)}"
    blocks.append(ContextBlock(elements=[_plain(reference)]))
    quiet = {"unfurl_links": False, "unfurl_media": False, "link_names": False}
    return {"text": TITLES[event.type], "blocks": blocks, **quiet}


def _reference(event: Event, event_id: str) -> str:
    """What to look up on the bridge's machine: the event, or the delivery that was given up."""
    if isinstance(event, DeliveryDead):
        return f"Delivery {shown(short(event.data.event_id))}:{event.data.destination}"
    return f"Event {shown(short(event_id))}"


def short(event_id: str) -> str:
    """An event's id as people see it: the beginning of a hash, and all of an id of the sender's."""
    is_hash = len(event_id) == 64 and set(event_id) <= set("0123456789abcdef")
    return event_id[:SHORT_ID] if is_hash else event_id


def shown(value: object, limit: int = LONGEST_VALUE) -> str:
    """A value as Slack may have it: one line, escaped, at most `limit` characters and cut visibly.

    What cannot be seen (line ends, signs that turn the direction of writing, lone surrogates) becomes a space.
    """
    text = "".join(each if each.isprintable() else " " for each in str(value)[: limit + 1]).strip()
    whole = escape(text, quote=False)
    if len(whole) <= limit and len(str(value)) <= limit:
        return whole or "-"
    cut = ""
    for each in text:
        if len(cut) + len(escape(each, quote=False)) >= limit:
            break
        cut += escape(each, quote=False)
    return f"{cut}…"


def _facts(told: Mapping[str, Any], zone: ZoneInfo) -> list[tuple[str, str]]:
    """Labels and values, in the order of the event's fields; what is not there is left out."""
    facts = []
    for name, value in told.items():
        if value is None or name in _ELSEWHERE:
            continue
        if name == "current_status":
            fact = " → ".join(shown(each) for each in (told["previous_status"], value) if each is not None)
        elif name == "amount":
            fact = shown(_money(value, told["currency"]))
        elif isinstance(value, datetime):
            fact = _moment(value, zone)
        else:
            fact = shown(value)
        facts.append((_LABELS.get(name, name.replace("_", " ").capitalize()), fact))
    return facts


def _sets(sets: Sequence[Mapping[str, Any]]) -> str:
    """A line for each of the first sets, and how many more there are."""
    lines = [" · ".join(shown(value, LONGEST_IN_A_SET) for value in each.values()) for each in sets[:MOST_SETS]]
    more = [f"… and {len(sets) - MOST_SETS} more"] if len(sets) > MOST_SETS else []
    return "\n".join([f"Kits: {len(sets)}", *lines, *more])


def _money(amount: int, currency: str | None) -> str:
    """`25000`, `USD` -> `250.00 USD`: GlycanAge tells amounts in cents."""
    whole, cents = divmod(abs(amount), 100)
    return f"{'-' if amount < 0 else ''}{whole}.{cents:02} {currency or ''}"


def _moment(moment: datetime, zone: ZoneInfo) -> str:
    try:
        local = moment.astimezone(zone)
    except OverflowError:  # the first or the last day that there is
        return f"{moment:%Y-%m-%d %H:%M} UTC"
    return f"{local:%Y-%m-%d %H:%M} {zone.key}"


def _plain(text: str) -> PlainTextObject:
    return PlainTextObject(text=text, emoji=False)
