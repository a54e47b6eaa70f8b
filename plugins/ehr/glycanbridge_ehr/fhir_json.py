"""FHIR's JSON, in which 45.20 stays 45.20: numbers are decimals, never binary floats."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any


def written(value: object) -> bytes:
    """A resource as it goes over the wire; the same resource gives the same bytes."""
    return _text(value).encode()


def read(text: bytes) -> dict[str, Any]:
    """What came over the wire. Raises `ValueError` if it is no JSON object."""
    try:
        found = json.loads(text, parse_float=Decimal)
    except RecursionError:
        raise ValueError("expected JSON of some depth") from None
    if not isinstance(found, dict):
        raise ValueError("expected a JSON object")  # noqa: TRY004 (as for any other text that is none)
    return found


def _text(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(name)}:{_text(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_text, value)) + "]"
    return f"{value:f}" if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False)
