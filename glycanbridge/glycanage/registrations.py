"""What is registered at GlycanAge, read from whatever its API lists: the shape of that answer is not documented.

So nothing is expected but a list of objects, plain or within an object, and each value is looked for under its likely
names. What GlycanAge says is somebody else's text: it is shown cut and without what could steer a terminal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from glycanbridge.errors import GlycanAgeError

LONGEST_TEXT = 300
_LISTS = ("webhooks", "data", "items", "results", "content", "records")
_OTHER_LISTS = ("errors", "error", "warnings", "messages", "details", "links")
"""An empty one is no news that nothing is registered."""
_ONE = ("webhook", "data", "item", "result")
_IDS = ("id", "webhookId", "webhook_id", "_id", "uuid")
_STATUSES = ("status", "state", "approvalStatus", "approval_status")
_APPROVED = ("approved", "isApproved", "is_approved")
_WORKS = ("active", "isActive", "is_active", "enabled", "isEnabled")
_YES = {"approved", "active", "enabled", "live", "verified", "accepted"}
_NO = {
    "pending", "rejected", "declined", "refused", "denied", "inactive", "disabled", "deactivated", "new", "created",
    "draft", "requested", "submitted", "suspended", "paused", "stopped", "blocked", "revoked", "expired", "cancelled",
    "canceled", "failed", "closed", "archived", "deleted", "removed",
}  # fmt: skip
_WAITS = re.compile("pending|review|await|waiting")
_NAMED = re.compile(r"\(secret ([0-9a-f]{8})\)")
_DEFAULT_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A webhook as GlycanAge lists it."""

    id: str | None
    """`None` if there is none that can be read: then it cannot be deleted from here."""
    name: str
    url: str
    events: tuple[str, ...]
    """Empty if they are not told."""
    status: str | None
    """In GlycanAge's words; `None` if it is not told."""
    approved: bool | None
    """`None` if that cannot be told from what is listed."""

    @property
    def fingerprint(self) -> str | None:
        """The fingerprint of the secret in its name, if `register` has named it."""
        found = _NAMED.search(self.name)
        return found[1] if found else None

    @property
    def standing(self) -> str:
        """Its status in a word or two."""
        approved = {True: "approved", False: "not approved", None: "status unknown"}[self.approved]
        return self.status or approved

    def is_at(self, url: str | None) -> bool:
        """Whether its URL is this one; the writing of the host does not matter, nor does a slash at the end."""
        return url is not None and _same(self.url) == _same(url)


def named(webhook_name: str, fingerprint: str) -> str:
    """The name of a registration, by which its secret can be told later."""
    return f"{webhook_name} (secret {fingerprint})"


def read_all(told: Any, *, to: str) -> list[Registration]:
    """All registrations in an answer. Raises `GlycanAgeError` if there is no list in it."""
    listed = _list_in(told)
    if listed is None or not all(isinstance(each, dict) for each in listed):
        raise GlycanAgeError(f"{to}: it answered {_shape(told)}, and a list of webhooks was expected")
    return [_registration(each) for each in listed]


def read_one(told: Any) -> Registration | None:
    """The registration in the answer to a POST; `None` if there is none with an id."""
    for name in _ONE * 2:  # one within another
        if isinstance(told, dict) and _first(told, _IDS) is None and isinstance(told.get(name), dict):
            told = told[name]
    if not isinstance(told, dict):
        return None
    registration = _registration(told)
    return registration if registration.id is not None else None


def path_of(webhook_id: str) -> str:
    """The path of a registration, its id escaped. Raises `GlycanAgeError` for an id that would be another path."""
    if not _is_id(webhook_id):
        raise GlycanAgeError(f"{shown(webhook_id) or 'nothing'!r} is no id of a webhook: `webhooks list` shows them")
    return f"/webhooks/{''.join(each if _PLAIN.fullmatch(each) else _escaped(each) for each in webhook_id)}"


def shown(text: str) -> str:
    """Somebody else's text as it may be shown: cut, and in printable signs."""
    return "".join(each if each.isprintable() else "?" for each in text)[:LONGEST_TEXT]


_PLAIN = re.compile(r"[A-Za-z0-9_~.-]")


def _escaped(sign: str) -> str:
    return "".join(f"%{each:02X}" for each in sign.encode())


def _is_id(text: str) -> bool:
    odd = any(not each.isprintable() or each in "/\\" for each in text) or ".." in text or text == "."
    return 0 < len(text) <= 200 and not odd


def _list_in(told: Any) -> Sequence[Any] | None:
    """The list that the answer is, or the one in it: under a likely name, or the only one there."""
    if isinstance(told, list):
        return told
    if not isinstance(told, dict):
        return None
    for name in _LISTS:
        inner = told.get(name)
        if isinstance(inner, list):
            return inner
        if isinstance(inner, dict) and isinstance(inner.get(name), list | dict):
            return _list_in(inner)
    within = [each for name, each in told.items() if isinstance(each, list) and name not in _OTHER_LISTS]
    if len(within) == 1:
        return within[0]
    inner = told.get("data")
    return _list_in(inner) if isinstance(inner, dict) else None


def _registration(told: Mapping[str, Any]) -> Registration:
    number = _first(told, _IDS)
    webhook_id = str(number) if number is not None else ""
    status, approved = _status_in(told)
    return Registration(
        id=webhook_id if _is_id(webhook_id) else None,
        name=_text(told.get("name")),
        url=_text(_first(told, ("url", "endpoint", "targetUrl", "callbackUrl"))),
        events=_events_in(_first_of_any(told, ("events", "eventTypes", "event_types"))),
        status=status,
        approved=approved,
    )


def _status_in(told: Mapping[str, Any]) -> tuple[str | None, bool | None]:
    status = _text(_first(told, _STATUSES)) or None
    if any(told.get(name) is False for name in _WORKS):  # approved once, and nothing comes from it
        return status or "not active", False
    if "approvedAt" in told and not any(name in told for name in _APPROVED):
        return status, told["approvedAt"] is not None
    for name in _APPROVED:
        if isinstance(told.get(name), bool):
            return status, told[name]
    word = re.sub(r"[^a-z]", "", (status or "").lower())
    if word in _YES or word in _NO or word.startswith(("not", "un")) or _WAITS.search(word):
        return status, word in _YES
    for name in _WORKS:
        if isinstance(told.get(name), bool):
            return status or ("active" if told[name] else "not active"), told[name]
    return status, None


def _events_in(told: Any) -> tuple[str, ...]:
    if isinstance(told, str):
        return (_text(told),)
    if not isinstance(told, list):
        return ()
    names = [_first(each, ("type", "name", "event", "id")) if isinstance(each, dict) else each for each in told]
    return tuple(_text(each) for each in names if isinstance(each, str))


def _first(told: Mapping[str, Any], names: Sequence[str]) -> str | int | None:
    """The first text or number under one of the names."""
    values = (told.get(name) for name in names)
    return next((each for each in values if isinstance(each, str | int) and not isinstance(each, bool)), None)


def _first_of_any(told: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((told[name] for name in names if told.get(name) is not None), None)


def _text(value: Any) -> str:
    return shown(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _shape(told: Any) -> str:
    if isinstance(told, dict):
        names = ", ".join(sorted(shown(each)[:30] for each in told)[:6])
        return f"an object with {names}" if names else "an empty object"
    if told is None:
        return "nothing"
    return "a list of other things" if isinstance(told, list) else "a single value"


def _same(url: str) -> tuple[object, ...]:
    try:
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return (url,)
    return parts.scheme, parts.hostname, port, parts.path.rstrip("/"), parts.query
