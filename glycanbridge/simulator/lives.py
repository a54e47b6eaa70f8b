"""What happens to invented kits over some weeks, told as GlycanAge tells it: order, assignment, arrival, report. Pure.

Ids have the form of the vendor's samples ("order_12345", "KIT001234"), ages are strings ("45.2", also "44"), and all of
it is invented. Tokens pay for most assignments, a bank transfer for the others.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

CENTS_A_KIT = 15_000
WEEK_MS = 7 * 86_400_000
MOST_KITS = 1000
"""For so many there are ids enough that no two are alike."""
_SET_SIZES = (1, 2, 3)
_STUCK = 0.3
"""The share of the story after which a kit arrives that stays: in six weeks it has waited for four in the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """Something that happened: an event before it is sent."""

    at_ms: int
    """When, in epoch milliseconds: the event's timestamp."""
    about: str
    """The order, the assignment or the kit."""
    type: str
    data: dict[str, Any]
    twist: str = ""
    """What is odd about it, if anything is: `re-issued`, `same millisecond`."""


@dataclass(slots=True, kw_only=True)
class _Kit:
    """A kit's life; its moments are shares of the whole story."""

    ids: dict[str, str]
    received: float
    reported: float | None
    reissued: float | None = None
    age: int
    younger_by: float
    whole_years: bool
    twist: str = ""


def lives(
    rng: random.Random, *, kits: int, practices: Sequence[str], begin_ms: int, weeks: int, clean: bool
) -> list[Happening]:
    """All that happens, in order; the last of it at the end of the weeks.

    Unless it is `clean`: with two kits or more the last one is stuck in the laboratory, with three or more two reports
    are of the same millisecond, and one report is issued again under a new id.
    """
    assignments = _assignments(rng, kits, practices)
    every = [kit for sets in assignments for kit in sets]
    if not clean:
        _trouble(every)
    last = max(moment for kit in every for moment in (kit.received, kit.reported, kit.reissued) if moment is not None)
    span_ms = weeks * WEEK_MS
    clock = _Clock(begin_ms, span_ms / last)
    told = [each for practice in practices for each in _order(rng, clock, practice, every)]
    told += [each for sets in assignments for each in _assignment(rng, clock, sets)]
    numbers = iter(rng.sample(range(10_000, 100_000), 2 * kits))
    told += [each for kit in every for each in _kit(clock, kit, numbers)]
    return sorted(told, key=lambda each: each.at_ms)


@dataclass(frozen=True, slots=True)
class _Clock:
    begin_ms: int
    whole_ms: float

    def at(self, share: float) -> int:
        return self.begin_ms + round(share * self.whole_ms)


def _assignments(rng: random.Random, kits: int, practices: Sequence[str]) -> list[list[_Kit]]:
    """Kits in assignments of one to three, the practices in turn."""
    codes = rng.sample(range(1_000, 1_000_000), kits)
    patients, tests = rng.sample(range(100, 100_000), kits), rng.sample(range(10_000, 100_000), kits)
    numbers = iter(rng.sample(range(10_000, 100_000), kits))
    made: list[list[_Kit]] = []
    left = list(range(kits))
    while left:
        size = rng.choice(_SET_SIZES)
        sets, left = left[:size], left[size:]
        shared = {
            "practiceId": practices[len(made) % len(practices)],
            "assignmentId": f"assignment_{next(numbers)}",
        }
        made.append([])
        for index in sets:
            ids = {"testId": f"test_{tests[index]}", "kitCode": f"KIT{codes[index]:06}"}
            ids |= {"patientId": f"patient_{patients[index]}", **shared}
            received = rng.uniform(0.35, 0.55)
            made[-1].append(
                _Kit(
                    ids=ids,
                    received=received,
                    reported=received + rng.uniform(0.25, 0.38),
                    age=rng.randint(35, 79),
                    younger_by=rng.uniform(-9, 12),
                    whole_years=index % 4 == 1,
                )
            )
    return made


def _trouble(every: list[_Kit]) -> None:
    if len(every) >= 2:
        every[-1].reported, every[-1].received = None, _STUCK
    if len(every) >= 3:
        first, second = every[0], every[1]
        first.received = min(first.received, second.received)
        first.reported = second.reported
        first.twist = second.twist = "same millisecond"
        first.reissued = (first.reported or 0) + 0.05


def _order(rng: random.Random, clock: _Clock, practice: str, every: Sequence[_Kit]) -> Iterator[Happening]:
    kits = sum(kit.ids["practiceId"] == practice for kit in every)
    if not kits:
        return
    order = f"order_{rng.randrange(10_000, 100_000)}"
    moments = (rng.uniform(0, 0.02), rng.uniform(0.03, 0.06))
    for share, before, after in zip(moments, ("pending", "approved"), ("approved", "paid"), strict=True):
        data = {
            "orderId": order,
            "orderType": "bulk-order",
            "previousStatus": before,
            "currentStatus": after,
            "practiceId": practice,
            "numberOfKits": kits,
            "amount": kits * CENTS_A_KIT,
            "currency": "USD",
        }
        yield Happening(at_ms=clock.at(share), about=order, type="order-status-changed", data=data)


def _assignment(rng: random.Random, clock: _Clock, sets: Sequence[_Kit]) -> Iterator[Happening]:
    by_token = rng.random() < 0.7
    ids = sets[0].ids
    steps = [(rng.uniform(0.08, 0.25), "pending", "approved")]
    if not by_token:
        steps.append((steps[0][0] + rng.uniform(0.02, 0.05), "approved", "paid"))
    for share, before, after in steps:
        data = {
            "assignmentId": ids["assignmentId"],
            "previousStatus": before,
            "currentStatus": after,
            "practiceId": ids["practiceId"],
            "paymentType": "token" if by_token else "bank-transfer",
            "amount": None if by_token else len(sets) * CENTS_A_KIT,
            "currency": "USD",
            "sets": [
                {"patientId": kit.ids["patientId"], "kitCode": kit.ids["kitCode"], "product": "regular"} for kit in sets
            ],
        }
        about = ids["assignmentId"]
        yield Happening(at_ms=clock.at(share), about=about, type="assignment-status-changed", data=data)


def _kit(clock: _Clock, kit: _Kit, numbers: Iterator[int]) -> Iterator[Happening]:
    at_ms, about = clock.at(kit.received), kit.ids["kitCode"]
    data = {**kit.ids, "receivedAt": at_ms - 3_200_000, "status": "inAnalysis"}
    yield Happening(at_ms=at_ms, about=about, type="kit-received", data=data)
    if kit.reported is not None:
        yield _report(clock.at(kit.reported), kit, next(numbers), twist=kit.twist)
    if kit.reissued is not None:
        kit.younger_by += 1.3
        yield _report(clock.at(kit.reissued), kit, next(numbers), twist="re-issued")


def _report(at_ms: int, kit: _Kit, number: int, *, twist: str) -> Happening:
    years = kit.age - kit.younger_by
    data = {
        "reportId": f"report_{number}",
        **kit.ids,
        "glycanAge": f"{years:.0f}" if kit.whole_years else f"{years:.1f}",
        "chronologicalAge": str(kit.age),
        "reportUrl": f"/reports/report_{number}",
        "createdOn": at_ms - 200_000,
    }
    return Happening(at_ms=at_ms, about=kit.ids["kitCode"], type="report-ready", data=data, twist=twist)
