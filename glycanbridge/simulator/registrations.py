"""Webhooks as GlycanAge keeps them: registered with five fields, pending until somebody approves them, deleted.

The page documents `POST /webhooks {name, description, url, events, secret}`, says that a secret has 32 characters or
more and that a webhook must be "approved by GlycanAge team"; what it refuses and in which words is made up here.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from glycanbridge.event_types import EVENT_TYPES
from glycanbridge.glycanage_settings import LOOPBACK

SHORTEST_SECRET = 32


class Refused(Exception):
    """A registration that is not taken; `status` is the answer's."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A webhook that somebody has registered."""

    id: str
    name: str
    description: str
    url: str
    events: tuple[str, ...]
    secret: str = field(repr=False)
    registered_s: float
    """When, by the registrations' clock."""


class Registrations:
    """The webhooks there are. Any thread may use it."""

    def __init__(self, *, approve_after_s: float | None, clock: Callable[[], float]) -> None:
        """`approve_after_s`: so long after a registration it is approved; `None`: only by `approve`."""
        self._approve_after_s, self._clock = approve_after_s, clock
        self._kept: dict[str, Registration] = {}
        self._by_hand: set[str] = set()
        self._numbers = itertools.count(10_001)
        self._lock = threading.Lock()

    def add(self, told: object) -> Registration:
        """Take a registration in. Raises `Refused`: 422 for what is wrong with it, 409 if there is such a one."""
        wanted = _checked(told)
        with self._lock:
            if any((each.url, each.name) == (wanted["url"], wanted["name"]) for each in self._kept.values()):
                raise Refused(409, "a webhook with this name and url is registered already")
            made = Registration(id=f"webhook_{next(self._numbers)}", registered_s=self._clock(), **wanted)
            self._kept[made.id] = made
        return made

    def remove(self, registration_id: str) -> bool:
        """Forget one; `False` if there is none of this id."""
        with self._lock:
            return self._kept.pop(registration_id, None) is not None

    def approve(self, registration_id: str) -> None:
        """Approve one now."""
        self._by_hand.add(registration_id)

    def is_approved(self, registration: Registration) -> bool:
        """Whether events are sent to it."""
        waited_s = self._clock() - registration.registered_s
        in_time = self._approve_after_s is not None and waited_s >= self._approve_after_s
        return in_time or registration.id in self._by_hand

    def every(self) -> tuple[Registration, ...]:
        """All of them, the oldest first."""
        with self._lock:
            return tuple(self._kept.values())

    def approved(self) -> tuple[Registration, ...]:
        """Those that events are sent to, the oldest first."""
        return tuple(each for each in self.every() if self.is_approved(each))

    def told(self, registration: Registration, *, pending: bool = False) -> dict[str, Any]:
        """What is told of one: everything but its secret."""
        return {
            "id": registration.id,
            "name": registration.name,
            "description": registration.description,
            "url": registration.url,
            "events": list(registration.events),
            "status": "approved" if self.is_approved(registration) and not pending else "pending",
        }


def _checked(told: object) -> dict[str, Any]:
    if not isinstance(told, dict):
        raise Refused(422, "expected an object with name, description, url, events and secret")
    for name in ("name", "description", "url", "secret"):
        if not isinstance(told.get(name), str) or not told[name].strip():
            raise Refused(422, f"{name}: expected text")
    if not _can_be_posted_to(told["url"]):
        raise Refused(422, "url: expected https://HOST/PATH, or http on this machine")
    events = told.get("events")
    if not isinstance(events, list) or not events or any(each not in EVENT_TYPES for each in events):
        raise Refused(422, f"events: expected a list of {', '.join(EVENT_TYPES)}")
    if len(told["secret"]) < SHORTEST_SECRET:
        raise Refused(422, f"secret: expected {SHORTEST_SECRET} characters or more")
    wanted = {name: told[name] for name in ("name", "description", "url", "secret")}
    return {**wanted, "events": tuple(dict.fromkeys(events))}


def _can_be_posted_to(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    if port == 0 or not parts.hostname:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
