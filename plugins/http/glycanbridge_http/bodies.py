"""What a request says of an event: the event as JSON, the body as it was signed, or what a template makes of it. Pure.

Only what `personal` allows is known to a template.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import escape
from typing import Any, NoReturn
from urllib.parse import quote_plus

from glycanbridge import Delivery, Event, Personal
from glycanbridge_http.templates import Escape, Template, TemplateFault, as_text, in_json, in_json_bare, to_json

_NOT_IN_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""XML 1.0 cannot write them at all, not even escaped."""
Body = Callable[[Event, Delivery], bytes]
"""Makes the body of a request. Raises `TemplateFault`."""


def values(event: Event, delivery: Delivery, personal: Personal) -> dict[str, dict[str, Any]]:
    """What a template is told, by name: nothing that `personal` does not allow is in it."""
    told = {"type": event.type, "timestamp": event.timestamp, "data": _plain(personal.told(event))}
    names = ("id", "event_id", "event_type", "destination", "attempt", "received_at")
    return {"event": told, "delivery": {name: getattr(delivery, name) for name in names}}


def as_signed(_event: Event, delivery: Delivery) -> bytes:
    """The event exactly as GlycanAge signed it."""
    return delivery.body


def as_told(personal: Personal) -> Body:
    """The event as JSON, in as much as `personal` allows: the same in every attempt."""

    def body(event: Event, delivery: Delivery) -> bytes:
        told = values(event, delivery, personal)["event"]
        ids = {"event_id": delivery.event_id, "delivery_id": delivery.id}
        return to_json({"type": told["type"], "timestamp": told["timestamp"], **ids, "data": told["data"]}).encode()

    return body


def from_template(source: str, *, content_type: str, personal: Personal) -> Body:
    """What a template makes of an event. Raises `TemplateFault` if it cannot be compiled."""
    is_json, is_lines, is_xml = (each(content_type) for each in (_is_json, _is_lines, _is_xml))
    template = Template(source, escape=_escape_for(content_type), bare=in_json_bare if is_json else None)

    def body(event: Event, delivery: Delivery) -> bytes:
        made = template.render(values(event, delivery, personal))
        if is_json:
            for each in filter(str.strip, made.split("\n")) if is_lines else [made]:
                _look_at_json(each)
        if is_xml and _NOT_IN_XML.search(made):
            raise TemplateFault(None, "it makes a sign that XML has not (a control character, or half of a pair)")
        try:
            return made.encode()
        except UnicodeEncodeError:
            raise TemplateFault(None, "it makes a sign that is none (half of a pair)") from None

    return body


def _plain(value: Any) -> Any:
    """A value of types that a template may know: an `Age` is text."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, str) else value


def _is_json(content_type: str) -> bool:
    """Whether it is JSON, under whatever name: `text/json` and `application/x-ndjson`, too."""
    return "json" in _kind(content_type)


def _is_lines(content_type: str) -> bool:
    """Whether each line is JSON of its own."""
    return re.search(r"ndjson|jsonl|json-?lines", _kind(content_type)) is not None


def _is_xml(content_type: str) -> bool:
    return _kind(content_type).endswith(("/xml", "+xml"))


def _escape_for(content_type: str) -> Escape:
    """How a value is written in this kind of text, so that it stays a value."""
    if _is_json(content_type):
        return in_json
    if _kind(content_type) == "application/x-www-form-urlencoded":
        return lambda value: quote_plus(as_text(value))
    if _is_xml(content_type) or _kind(content_type).endswith("/html"):
        return lambda value: escape(as_text(value))
    return as_text


def _kind(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _look_at_json(made: str) -> None:
    """Raise `TemplateFault` if a template's text is not JSON, with a line of that text and no word of it."""
    try:
        json.loads(made, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        at = f"line {error.lineno}, column {error.colno} of what it makes"
        raise TemplateFault(None, f"it makes no valid JSON ({at}: {error.msg})") from None
    except (ValueError, RecursionError) as error:
        raise TemplateFault(None, f"it makes no valid JSON ({type(error).__name__})") from None


def _no_constant(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")
