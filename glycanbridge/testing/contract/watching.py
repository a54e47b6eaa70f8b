"""Hears all that is logged or printed, and finds in it what must not be there."""

from __future__ import annotations

import base64
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote, unquote, urlsplit

from pydantic import BaseModel, Secret, SecretBytes, SecretStr

from glycanbridge.events import Event

SHORTEST = 4
"""Characters: what is shorter stands everywhere by chance."""
_FOR_URLS = str.maketrans("+/", "-_")
_EVERY_RECORD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_PERSONAL = {
    *("patientId", "testId", "reportId", "assignmentId", "reportUrl", "kitCode"),
    *("glycanAge", "chronologicalAge", "patientName"),
}
"""The fields of a sample, and of what the suite adds to it, whose values nobody may read in a log."""


class Captured(Protocol):
    """What pytest's capture fixtures give."""

    @property
    def out(self) -> str:
        """Printed to stdout."""

    @property
    def err(self) -> str:
        """Printed to stderr."""


class Capture(Protocol):
    """pytest's `capfd`."""

    def readouterr(self) -> Captured:
        """What was printed since it was read last."""


class Heard:
    """What could be read somewhere, and where."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def add(self, where: str, text: object) -> None:
        """Something that could be read."""
        if text is not None:
            self.told.append((where, str(text)))


class _Handler(logging.Handler):
    def __init__(self, heard: Heard) -> None:
        super().__init__(level=1)
        self._heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        extra = {name: value for name, value in vars(record).items() if name not in _EVERY_RECORD}
        self._heard.add(f"the log ({record.name}, {record.levelname})", f"{self.format(record)} {extra or ''}")


@contextmanager
def listen(capture: Capture) -> Iterator[Heard]:
    """Hears everything that is logged, at any level, printed, and warned of."""
    heard = Heard()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with _listen_to_logs_and_prints(heard, capture):
            yield heard
    for each in warned:
        heard.add("a warning", each.message)


@contextmanager
def _listen_to_logs_and_prints(heard: Heard, capture: Capture) -> Iterator[None]:
    root = logging.getLogger()
    handler = _Handler(heard)
    deaf = [
        each for each in root.manager.loggerDict.values() if isinstance(each, logging.Logger) and not each.propagate
    ]
    level = root.level
    capture.readouterr()
    root.setLevel(1)
    for each in [root, *deaf]:
        each.addHandler(handler)
    try:
        yield
    finally:
        for each in [root, *deaf]:
            each.removeHandler(handler)
        root.setLevel(level)
        printed = capture.readouterr()
        heard.add("what was printed", printed.out)
        heard.add("what was printed to stderr", printed.err)


class Leak(NamedTuple):
    """Something that stands where it must not."""

    what: str
    where: str
    text: str

    def __str__(self) -> str:
        shown = self.text if len(self.text) <= 500 else f"{self.text[:500]}..."
        return f"{self.what} stands in {self.where}: {shown}"


class Needles:
    """What must not be found, by name; each in every form in which it may be written."""

    def __init__(self, values: Mapping[str, str]) -> None:
        """Raises `ValueError` for a value that is too short to be looked for."""
        self.values = {name: value for name, value in values.items() if value}
        for name, value in self.values.items():
            if len(value) < SHORTEST:
                raise ValueError(f"{name} is too short to be looked for: take a longer one in this test")
        self._forms = {name: _forms(value) for name, value in self.values.items()}

    def found_in(self, heard: Heard) -> list[Leak]:
        """Everything that must not be there."""
        return [
            Leak(name, where, text)
            for where, text in heard.told
            for name, forms in self._forms.items()
            if any(form in text for form in forms)
        ]

    def check(self, heard: Heard) -> None:
        """Raises `AssertionError` if anything was found."""
        __tracebackhide__ = True
        leaks = self.found_in(heard)
        if leaks:
            raise AssertionError("\n".join(dict.fromkeys(map(str, leaks))))


def secrets_in(value: object, name: str = "settings") -> dict[str, str]:
    """Every secret in a settings model, however deep: what it is called, and its text."""
    if isinstance(value, Secret | SecretStr | SecretBytes):
        told = value.get_secret_value()
        return {name: told.decode("latin-1") if isinstance(told, bytes) else str(told)}
    inner: Iterator[tuple[str, Any]] = iter(())
    if isinstance(value, BaseModel):
        inner = ((f"{name}.{field}", getattr(value, field)) for field in type(value).model_fields)
    elif isinstance(value, Mapping):
        inner = ((f"{name}[{key!r}]", each) for key, each in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        inner = ((f"{name}[{number}]", each) for number, each in enumerate(value))
    found: dict[str, str] = {}
    for inner_name, each in inner:
        found |= secrets_in(each, inner_name)
    return found


def patients_in(event: Event) -> dict[str, str]:
    """The values in an event that are a patient's, if they are long enough to be looked for."""
    found: dict[str, str] = {}

    def look(name: str, value: object) -> None:
        if isinstance(value, Mapping):
            for key, each in value.items():
                look(str(key), each)
        elif isinstance(value, list | tuple):
            for each in value:
                look(name, each)
        elif name in _PERSONAL and len(str(value)) >= SHORTEST:
            found[f"data.{name}"] = str(value)

    look("data", event.data.model_dump(by_alias=True))
    return found


def _forms(value: str) -> set[str]:
    forms = {value, quote(value, safe=""), quote(value), json.dumps(value)[1:-1], repr(value)[1:-1]}
    forms |= _in_base64(value.encode())
    if "://" in value:
        try:
            parts = urlsplit(value)
        except ValueError:
            return forms
        of_url = {parts.path, parts.query, parts.password or "", unquote(parts.password or "")}
        forms |= {each for each in of_url if len(each) >= 2 * SHORTEST}
    return forms


def _in_base64(value: bytes) -> set[str]:
    """How it is written alone, and in the middle of something else, such as a user and a password together."""
    alone = base64.b64encode(value).decode().rstrip("=")
    forms = {alone}
    for before, mixed in ((0, 0), (1, 2), (2, 3)):  # bytes that stand before it; characters that they have a part in
        text = base64.b64encode(bytes(before) + value).decode().rstrip("=")
        whole = text[mixed:] if (before + len(value)) % 3 == 0 else text[mixed:-1]
        forms |= {whole} if len(whole) >= 2 * SHORTEST else set()
    return forms | {each.translate(_FOR_URLS) for each in forms}
