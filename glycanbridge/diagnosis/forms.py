"""What a diagnosis is made of: remarks, and the forms that a secret or a body may have had at the sender's side."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Remark(NamedTuple):
    """One mistake: a fixed word for programs, what is so, and what to do. It holds nothing of a secret or a body."""

    kind: str
    told: str
    do: str = ""


class Form(NamedTuple):
    """Bytes that may have been used instead of ours, and the remark that this would be; `None`: they are ours."""

    value: bytes
    remark: Remark | None = None


def without_repeats(forms: Iterable[Form]) -> list[Form]:
    """Each value once, with its first remark."""
    found: dict[bytes, Form] = {}
    for each in forms:
        found.setdefault(each.value, each)
    return list(found.values())
