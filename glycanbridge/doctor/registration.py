"""Is the receiver registered at GlycanAge, approved, and for all that the destinations take?

The answer of `GET /webhooks` is not documented: it is read with patience, and what it does not tell is unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

from glycanbridge.doctor.facts import Facts
from glycanbridge.doctor.findings import Finding, note, ok, problem, warning
from glycanbridge.errors import GlycanAgeError
from glycanbridge.event_types import EVENT_TYPES
from glycanbridge.glycanage.api import Api
from glycanbridge.glycanage.registrations import Registration, read_all
from glycanbridge.settings import secrets_in
from glycanbridge.signature import fingerprint

_ABOUT = "the webhook at GlycanAge"
_ASK = "ask GlycanAge's team to approve it (support, with the webhook's name); nothing is sent before"

_NEWER = "is there a newer GlycanBridge, which knows it?"


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
        yield finding(
            "glycanage.api", facts.glycanage.base_url, str(error), "then again: `glycanbridge doctor --online`"
        )
        return
    yield ok("glycanage.api", facts.glycanage.base_url, "it knows this e-mail address with this token")
    try:
        listed = [] if answer is None else read_all(answer, to="GET /webhooks")
    except GlycanAgeError as error:
        yield note("glycanage.registration", _ABOUT, f"its list has a form that is not known here: {error}", _NEWER)
        return
    if facts.glycanage.public_url is None:
        told = f"{len(listed)} are registered; which one is ours is not known without glycanage.public_url"
        yield note("glycanage.registration", _ABOUT, told, "add `public_url:` to `glycanage:` in bridge.yaml")
    else:
        yield from _registered(facts, facts.glycanage.public_url, listed)


def _registered(facts: Facts, url: str, listed: Sequence[Registration]) -> Iterator[Finding]:
    ours = [each for each in listed if each.is_at(url)]
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
    yield from _secrets(facts, ours)
    yield from _events(facts, ours)


def _approval(ours: Sequence[Registration]) -> Finding:
    if any(each.approved for each in ours):
        return ok("glycanage.approval", _ABOUT, "approved")
    for each in ours:
        if each.approved is False:
            return problem("glycanage.approval", _ABOUT, f"not approved: its status is {each.standing!r}", _ASK)
    status = next((f" (its status is {each.status!r})" for each in ours if each.status), "")
    told = f"GlycanAge's answer does not tell whether it is approved{status}"
    return note("glycanage.approval", _ABOUT, told, _ASK)


def _secrets(facts: Facts, ours: Sequence[Registration]) -> Iterator[Finding]:
    """Whether what GlycanAge signs with is known here; as far as the names tell, which `webhooks register` gives."""
    known = {fingerprint(each) for each in secrets_in(facts.source).values()}
    strange = [each for each in ours if each.approved is not False and each.fingerprint not in {None, *known}]
    for each in strange:
        told = (
            f"{each.id} was registered with the secret {each.fingerprint}, which is not in bridge.yaml: events get 401"
        )
        again = f"`glycanbridge webhooks register --again`, then `glycanbridge webhooks delete {each.id}`"
        do = f"put that secret's file back into receiver.secrets and restart the bridge; or {again}"
        yield problem("glycanage.secret", _ABOUT, told, do)


def _events(facts: Facts, ours: Sequence[Registration]) -> Iterator[Finding]:
    registered = {event for each in ours for event in each.events}
    if not registered:
        return
    wanted = [each for each in EVENT_TYPES if any(one.takes(each) for one in facts.configured.destinations.values())]
    missing = [each for each in wanted if each not in registered]
    if missing:
        told = f"destinations take {', '.join(missing)}, and it is not registered for that"
        do = (
            "correct `glycanage.events` in bridge.yaml, then `glycanbridge webhooks register --again`, and "
            "`glycanbridge webhooks delete` of the old one, once the new one is approved"
        )
        yield problem("glycanage.events", _ABOUT, told, do)
    else:
        yield ok("glycanage.events", _ABOUT, "registered for all that the destinations take")
