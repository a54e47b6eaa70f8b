"""Turns what an event holds into text that people read: their language's dates and money, and no control characters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_time, get_datetime_format
from babel.numbers import format_currency, get_currency_precision

LONGEST_VALUE = 500
"""Characters of a value that a mail shows: no id is longer, and a mail is for people to read."""

_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters, among them CR, LF, VT and NEL
    "\u2028\u2029"  # line and paragraph separator
    "\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069"  # what turns the direction of the text around it
    "\ud800-\udfff]"  # halves of a character
)


def clean(text: str) -> str:
    """The text in one line: no line end or control character can begin a header, or a line that nobody wrote."""
    text = _UNSEEN.sub(" ", text[: LONGEST_VALUE + 1])
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


@dataclass(frozen=True)
class Words:
    """How a clinic writes: its language and its time zone."""

    locale: Locale
    zone: ZoneInfo

    def moment(self, at: datetime) -> str:
        """A day and a time, such as `27. kolovoza 2023. 10:00`."""
        local = self._local(at)
        pattern = str(get_datetime_format("long", locale=self.locale)).replace("'", "")
        return pattern.replace("{1}", self.day(at)).replace("{0}", format_time(local, "short", locale=self.locale))

    def day(self, at: datetime) -> str:
        """A day, such as `27. kolovoza 2023.`."""
        return format_date(self._local(at).date(), "long", locale=self.locale)

    def money(self, amount: int, currency: str | None) -> str:
        """An amount "in cents". Where it is not plain what a hundredth of the currency is, the number as it came."""
        if currency is None:
            return str(amount)
        if currency not in self.locale.currencies or get_currency_precision(currency) != 2:
            return f"{amount} (in the smallest unit of {clean(currency)})"
        return format_currency(Decimal(amount) / 100, currency, locale=self.locale)

    def shown(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """The same fields, with values as they are shown: text, whole numbers, `None`, and an assignment's sets."""
        shown = {name: self._value(value) for name, value in told.items()}
        if shown.get("amount") is not None:
            shown["amount"] = self.money(shown["amount"], told.get("currency"))
        return shown

    def _value(self, value: object) -> Any:
        if isinstance(value, datetime):
            return self.moment(value)
        if isinstance(value, list):
            return [self.shown(each) for each in value]
        return clean(str(value)) if isinstance(value, str) else value

    def _local(self, at: datetime) -> datetime:
        try:
            return at.astimezone(self.zone)
        except OverflowError:  # the first or the last day that there is
            return at
