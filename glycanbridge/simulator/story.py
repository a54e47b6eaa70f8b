"""A story: what GlycanAge sends over some weeks, byte for byte, and all that the page lets it do. Pure, seeded.

"Events may occasionally be delivered more than once", order is promised nowhere, and unknown types may come. So, beside
whole lives, a story has repeats (byte for byte, and with other white space), events out of order, a late one, an
unknown type, and requests that somebody else has signed. Of everything it says what the bridge ought to answer.
"""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from glycanbridge.event_types import EVENT_TYPES
from glycanbridge.signature import sign
from glycanbridge.simulator.lives import WEEK_MS, Happening, lives

Expected = Literal["accepted", "duplicate", "quarantined", "401"]
Signature = Literal["right", "wrong", "missing"]

PRACTICE = "practice_67890"
UNKNOWN_TYPE = "kit-rejected"
"""A type that the vendor's page does not have, and might one day."""
FORGED_AGE = "19.9"
"""The result in the report that is forged; nobody in a story is so young."""
_MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """One request of GlycanAge's, before it is sent."""

    at_ms: int
    """When it is sent first, in simulated epoch milliseconds."""
    number: int
    """Which event it is, counted in the story; a repeat has the number of what it repeats."""
    type: str
    about: str
    """The order, the assignment or the kit."""
    body: bytes
    expected: Expected = "accepted"
    signature: Signature = "right"
    twist: str = ""
    """What is odd about it: `duplicate`, `other white space`, `out of order`, `late`, `unknown type`, `forged`, ..."""

    @property
    def data(self) -> dict[str, Any]:
        """The event's data."""
        return dict(json.loads(self.body)["data"])

    def signed_with(self, secret: str) -> str | None:
        """The signature that it is sent with, where the webhook has this secret; `None`: with none."""
        if self.signature == "missing":
            return None
        return sign(self.body, secret if self.signature == "right" else f"{secret} of somebody else")


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """All that is sent, in the order of sending."""

    begin_ms: int
    sendings: tuple[Sending, ...]

    def only(self, types: Collection[str]) -> Story:
        """What of it is of these event types."""
        kept = tuple(each for each in self.sendings if each.type in types)
        return replace(self, sendings=kept)


def story(
    *,
    seed: int,
    begin_ms: int,
    kits: int = 10,
    weeks: int = 6,
    practices: Sequence[str] = (PRACTICE,),
    clean: bool = False,
) -> Story:
    """The story of so many kits; the same arguments give the same bytes, and another beginning other ids.

    With four kits or more everything odd is in it; a `clean` one has nothing odd at all.
    """
    rng = random.Random(f"{seed} {begin_ms}")  # noqa: S311 (invented data, and the same each time)
    happenings = lives(rng, kits=kits, practices=practices, begin_ms=begin_ms, weeks=weeks, clean=clean)
    sendings = [_sending(number, each, rng) for number, each in enumerate(happenings)]
    if not clean:
        end_ms = begin_ms + weeks * WEEK_MS
        sendings = _disordered(sendings, end_ms)
        sendings += [*_repeats(sendings, rng), *_strange(sendings, rng)]
    return Story(begin_ms=begin_ms, sendings=tuple(sorted(sendings, key=lambda each: each.at_ms)))


def _sending(number: int, happening: Happening, rng: random.Random) -> Sending:
    event = {"type": happening.type, "timestamp": happening.at_ms, "data": happening.data}
    return Sending(
        at_ms=happening.at_ms + rng.randrange(200, 3_000),
        number=number,
        type=happening.type,
        about=happening.about,
        body=json.dumps(event).encode(),
        twist=happening.twist,
    )


def _disordered(sendings: Sequence[Sending], end_ms: int) -> list[Sending]:
    """The same, with an order's steps swapped, a kit's arrival after its report, and another's arrival at the end."""
    changed = {each.number: each for each in sendings}
    orders = [each for each in sendings if each.type == "order-status-changed"]
    first, second = [each for each in orders if each.about == orders[0].about][:2]
    changed[first.number] = replace(first, at_ms=second.at_ms + 1_000, twist="out of order")
    reports = {each.about: each for each in reversed(sendings) if each.type == "report-ready"}
    arrivals = [each for each in sendings if each.type == "kit-received" and each.about in reports]
    for arrival in arrivals[:1]:
        behind = reports[arrival.about].at_ms + _MINUTE_MS
        changed[arrival.number] = replace(arrival, at_ms=behind, twist="out of order")
    for arrival in arrivals[1:2]:
        changed[arrival.number] = replace(arrival, at_ms=end_ms, twist="late")
    return list(changed.values())


def _repeats(sendings: Sequence[Sending], rng: random.Random) -> Iterator[Sending]:
    """One event in eight comes again, byte for byte and with other white space in turn."""
    again = rng.sample(sendings, max(2, len(sendings) // 8))
    for index, each in enumerate(again):
        at_ms = each.at_ms + rng.randrange(1, 60) * _MINUTE_MS
        if index % 2:
            body = json.dumps(json.loads(each.body), indent=2).encode() + b"\n"
            yield replace(each, at_ms=at_ms, body=body, expected="duplicate", twist="other white space")
        else:
            yield replace(each, at_ms=at_ms, expected="duplicate", twist="duplicate")


def _strange(sendings: Sequence[Sending], rng: random.Random) -> Iterator[Sending]:
    """An event of a type that nobody knows, a forged one, and one that nobody has signed."""
    kits = [each for each in sendings if each.type == "kit-received"]
    reports = [each for each in sendings if each.type == "report-ready"]
    unknown, forged, unsigned = rng.choice(kits), rng.choice(reports), rng.choice(kits)
    body = _altered(unknown, type=UNKNOWN_TYPE, data={"status": "rejected", "reason": "not enough blood"})
    at_ms, number = unknown.at_ms + 30 * _MINUTE_MS, len(sendings)
    odd = replace(unknown, at_ms=at_ms, number=number, type=UNKNOWN_TYPE, body=body, twist="unknown type")
    yield replace(odd, expected="quarantined")
    body = _altered(forged, data={"glycanAge": FORGED_AGE})
    odd = replace(forged, at_ms=forged.at_ms + 5 * _MINUTE_MS, number=number + 1, body=body, twist="forged")
    yield replace(odd, expected="401", signature="wrong")
    body = _altered(unsigned, data={"status": "unsigned"})
    odd = replace(unsigned, at_ms=unsigned.at_ms + 5 * _MINUTE_MS, number=number + 2, body=body, twist="unsigned")
    yield replace(odd, expected="401", signature="missing")


def _altered(sending: Sending, *, data: dict[str, str], **top: str) -> bytes:
    event = json.loads(sending.body) | top
    event["data"] |= data
    return json.dumps(event).encode()


KNOWN_TYPES = (*EVENT_TYPES, UNKNOWN_TYPE)
"""Every type that a story may have."""
