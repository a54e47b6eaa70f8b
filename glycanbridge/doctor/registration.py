"""Is the receiver registered at GlycanAge, approved, and for all that the destinations take?

The answer of `GET /webhooks` is not documented: it is read with patience, and what it does not tell is unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

from glycanbridge.doctor.facts import Facts
from glycanbridge.doctor.findings import Finding, note, ok, problem, warning
from glycanbridge.errors import GlycanAgeError
from glycanbridge.event_types import EVENT_TYPES
from glycanbridge.glycanage.api import Api

_URLS = ("url", "endpoint", "callbackUrl", "targetUrl")
_STATUSES = ("status", "state", "approvalStatus")
_SWITCHES = ("approved", "isApproved", "active", "isActive", "enabled")
_GOOD = {"approved", "active", "enabled", "live", "verified"}
_BAD = {"pending", "rejected", "declined", "disabled", "inactive", "suspended", "revoked", "failed", "created"}
_ABOUT = "the webhook at GlycanAge"
_AGAIN = "mend `glycanage:` in bridge.yaml, or the way out of your network; then again: `glycanbridge doctor --online`"
_ASK = "ask GlycanAge's team to approve it (support, with the webhook's name); nothing is sent before"


def registration(facts: Facts) -> Iterator[Finding]:
    """What GlycanAge knows of us."""
    if facts.glycanage is None:
        told = "`glycanage:` is not in bridge.yaml, so GlycanAge cannot be asked whether it is registered and approved"
        yield note(
            "glycanage.registration", _ABOUT, told, "add `glycanage:` with base_url, email, token and public_url"
        )
        return
    try:
        with closing(Api(facts.glycanage)) as api:
            answer = api.call("GET", "/webhooks")
    except GlycanAgeError as error:
        finding = warning if error.temporary else problem
        yield finding("glycanage.api", facts.glycanage.base_url, str(error), _AGAIN)
        return
    yield ok("glycanage.api", facts.glycanage.base_url, "it knows this e-mail address with this token")
    listed = webhooks_in(answer)
    if listed is None:
        told = "its list of webhooks has a form that is not known here"
        yield note("glycanage.registration", _ABOUT, told, "`glycanbridge webhooks list` shows it")
    elif facts.glycanage.public_url is None:
        told = f"{len(listed)} are registered; which one is ours is not known without glycanage.public_url"
        yield note("glycanage.registration", _ABOUT, told, "add `public_url:` to `glycanage:` in bridge.yaml")
    else:
        yield from _registered(facts, facts.glycanage.public_url, listed)


def webhooks_in(answer: Any) -> list[Mapping[str, Any]] | None:
    """The registrations in an answer, wherever the list stands in it; `None` if there is none that could be it."""
    found = [answer] if isinstance(answer, list) else []
    if isinstance(answer, dict):
        found = [each for each in answer.values() if isinstance(each, list)]
        inner = [each for each in answer.values() if isinstance(each, dict)]
        found += [each for one in inner for each in one.values() if isinstance(each, list)]
    if not found and answer is None:
        return []
    lists = [each for each in found if all(isinstance(one, dict) for one in each)]
    return lists[0] if lists else None


def _registered(facts: Facts, url: str, listed: list[Mapping[str, Any]]) -> Iterator[Finding]:
    ours = [each for each in listed if url.rstrip("/") in {str(each.get(name)).rstrip("/") for name in _URLS}]
    if not ours:
        told = f"none of {len(listed)} registrations is for {url}: GlycanAge sends nothing here"
        yield problem("glycanage.registration", _ABOUT, told, "`glycanbridge webhooks register`")
        return
    if len(ours) > 1:
        told = f"{len(ours)} registrations are for {url}: each event may come so many times"
        do = "`glycanbridge webhooks list`, then `glycanbridge webhooks delete` of the old ones"
        yield warning("glycanage.registration", _ABOUT, told, do)
    else:
        yield ok("glycanage.registration", _ABOUT, f"registered for {url}")
    yield _approval(ours)
    yield from _events(facts, ours)


def _approval(ours: list[Mapping[str, Any]]) -> Finding:
    told = [word for each in ours if (word := _status(each)) is not None]
    if any(word in _GOOD for word in told):
        return ok("glycanage.approval", _ABOUT, "approved")
    if any(word in _BAD for word in told):
        word = next(word for word in told if word in _BAD)
        return problem("glycanage.approval", _ABOUT, f"not approved: its status is {word!r}", _ASK)
    return note("glycanage.approval", _ABOUT, "GlycanAge's answer does not tell whether it is approved", _ASK)


def _status(webhook: Mapping[str, Any]) -> str | None:
    """The word for its status, in lower case; `None` if there is none that we know."""
    for name in _STATUSES:
        if isinstance(webhook.get(name), str) and webhook[name].lower() in _GOOD | _BAD:
            return str(webhook[name]).lower()
    switches = [webhook[name] for name in _SWITCHES if isinstance(webhook.get(name), bool)]
    if switches:
        return "approved" if all(switches) else "pending"
    return None


def _events(facts: Facts, ours: list[Mapping[str, Any]]) -> Iterator[Finding]:
    lists = [each["events"] for each in ours if isinstance(each.get("events"), list)]
    if not lists:
        return
    registered = {each for events in lists for each in events if isinstance(each, str)}
    wanted = [each for each in EVENT_TYPES if any(one.takes(each) for one in facts.configured.destinations.values())]
    missing = [each for each in wanted if each not in registered]
    if missing:
        told = f"destinations take {', '.join(missing)}, and it is not registered for that"
        do = "correct `glycanage.events` in bridge.yaml, then `glycanbridge webhooks register`"
        yield problem("glycanage.events", _ABOUT, told, do)
    else:
        yield ok("glycanage.events", _ABOUT, "registered for all that the destinations take")
