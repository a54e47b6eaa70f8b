"""What is promised of the figures: each goal, and how near the measurements of this run came."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from bench.scenarios import BARE, COMMANDS, CROWD, OURS, PACE, SIZES, AtRest, Case, Command, Measurement, UnderLoad


class Spread(NamedTuple):
    """Of the rounds."""

    median: float
    least: float
    most: float


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A figure of a case, or its ratio to that of another case within a round, and what it is held against."""

    of: Case
    figure: str
    over: Case | None = None
    at_least: float | None = None
    at_most: float | None = None

    def __str__(self) -> str:
        return f"{self.of} / {self.over}" if self.over else str(self.of)

    def reached(self, measured: Sequence[Measurement]) -> Spread | None:
        """The median of the rounds, the least and the most; `None` if it was not measured."""
        ours, theirs = _by_round(measured, self.of, self.figure), _by_round(measured, self.over, self.figure)
        if self.over is None:
            found = list(ours.values())
        else:
            found = [ours[each] / theirs[each] for each in ours if theirs.get(each)]
        return Spread(median(found), min(found), max(found)) if found else None

    def met(self, reached: float) -> bool:
        """Whether that is enough."""
        enough = self.at_least is None or reached >= self.at_least
        return enough and (self.at_most is None or reached <= self.at_most)


def goals() -> Iterator[Goal]:
    """All of them, those of the way in first."""
    rate, p99 = "events_per_s", "p99_ms"
    for connections, share in zip(SIZES, (0.9, 1.0), strict=True):
        ours, bare = (UnderLoad(server=each, connections=connections, pinned=True) for each in (OURS, BARE))
        yield Goal(of=ours, over=bare, figure=rate, at_least=share)
        yield Goal(of=ours, over=bare, figure=p99, at_most=1.5)
    for case in (UnderLoad(server=OURS, connections=each, pinned=pinned) for pinned in (True, False) for each in SIZES):
        for peer, times in (("express", 1.3), ("express-durable", 3.2), ("hookrelay", 15)):
            over = UnderLoad(server=peer, connections=case.connections, pinned=case.pinned)
            yield Goal(of=case, over=over, figure=rate, at_least=times)
        yield Goal(of=case, figure="cpu_s_per_1000", at_most=0.12)
    few = UnderLoad(server=OURS, connections=16)
    for connections in CROWD[1:]:
        yield Goal(of=UnderLoad(server=OURS, connections=connections), over=few, figure=rate, at_least=0.8)
    for isolation, deliveries_per_s in (("thread", 10_000), ("process", 5_000)):
        for pace in (0, PACE):
            both = UnderLoad(server=f"{OURS}-{isolation}", connections=64, pace=pace)
            yield Goal(of=both, over=UnderLoad(server=OURS, connections=64), figure=rate, at_least=0.6)
            yield Goal(of=both, figure="deliveries_per_s", at_least=deliveries_per_s)
            yield Goal(of=both, figure=p99, at_most=25)
    yield Goal(of=UnderLoad(server=OURS, connections=32, slow_disk=True), figure=rate, at_least=1_000)
    for name, most in (("idle_percent", 0.2), ("ready_s", 0.7), ("memory_mb", 80), ("tree_mb", 150)):
        yield Goal(of=AtRest(), figure=name, at_most=most)
    for words in COMMANDS:
        yield Goal(of=Command(words), figure="cpu_s", at_most=0.25)


def _by_round(measured: Sequence[Measurement], case: Case | None, figure: str) -> dict[int, float]:
    values = {each.round: each.figures.get(figure) for each in measured if each.case == case}
    return {number: value for number, value in values.items() if value is not None}
