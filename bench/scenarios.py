"""What is measured: the cases of each scenario, each of which is measured once in every round."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from bench.measures import Bench, Figures, Outcome
from bench.processes import Failed

BARE, OURS = "bare", "ours-4"
PEERS = ("express", "express-durable", "webhook", "hookrelay")
SIZES = (16, 64)
CROWD = (*SIZES, 256, 900)
PACE = 0.62
"""Of the rate of recording alone: what is sent while delivering, when it is not as much as possible."""
COMMANDS = (
    "--help",
    "check",
    "events list",
    "events show",
    "deliveries list",
    "destinations",
    "dead-letters list",
    "plugins list",
    "schema",
)


@dataclass(frozen=True, kw_only=True)
class UnderLoad:
    """A server under load."""

    server: str
    connections: int
    pinned: bool = False
    slow_disk: bool = False
    pace: float = 0
    """Of the rate at which this round's ours-4 recorded, with as many connections; 0: as fast as it answers."""

    def __str__(self) -> str:
        told = [self.server, f"{self.connections} connections", "pinned" if self.pinned else "free"]
        told += ["8 ms a sync"] if self.slow_disk else []
        told += [f"paced at {self.pace:.2f}"] if self.pace else []
        return ", ".join(told)

    def measured(self, bench: Bench, before: dict[Case, Figures]) -> Outcome:
        """Measure it; `before`: what this round has measured already. Raises `Failed` if it does not run."""
        alone = before.get(UnderLoad(server=OURS, connections=self.connections), {}).get("events_per_s") or 0
        if self.pace and not alone:
            raise Failed("there is no rate to be paced by")
        return bench.under_load(
            self.server,
            connections=self.connections,
            pinned=self.pinned,
            slow_disk=self.slow_disk,
            per_s=self.pace * alone,
        )


@dataclass(frozen=True)
class AtRest:
    """The bridge with nothing to do."""

    def __str__(self) -> str:
        return "at rest"

    def measured(self, bench: Bench, _before: dict[Case, Figures]) -> Outcome:
        """Measure it."""
        return bench.at_rest()


@dataclass(frozen=True)
class Command:
    """A command of the bridge."""

    words: str

    def __str__(self) -> str:
        return self.words

    def measured(self, bench: Bench, _before: dict[Case, Figures]) -> Outcome:
        """Measure it."""
        return bench.command(self.words)


Case = UnderLoad | AtRest | Command


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One case, once."""

    case: Case
    round: int
    figures: Figures
    troubles: tuple[str, ...]
    failed: bool


def _both() -> Iterator[Case]:
    yield UnderLoad(server=OURS, connections=64)
    for isolation in ("thread", "process"):
        for pace in (0, PACE):
            yield UnderLoad(server=f"{OURS}-{isolation}", connections=64, pace=pace)


SCENARIOS: dict[str, tuple[Case, ...]] = {
    "in": tuple(
        UnderLoad(server=server, connections=size, pinned=pinned)
        for pinned in (True, False)
        for size in SIZES
        for server in (BARE, "bare-tuned", OURS, *PEERS)
    ),
    "fan-out": tuple(
        UnderLoad(server=server, connections=64, pinned=True) for server in (BARE, "ours-0", "ours-1", OURS, "ours-10")
    ),
    "crowd": tuple(UnderLoad(server=server, connections=size) for size in CROWD for server in (BARE, OURS)),
    "both": tuple(_both()),
    "slow-disk": (UnderLoad(server=OURS, connections=32, slow_disk=True),),
    "idle": (AtRest(),),
    "commands": tuple(map(Command, COMMANDS)),
}


def cases(scenarios: Iterable[str], *, without: Collection[str], pinned: bool) -> list[Case]:
    """The cases of these scenarios, each once: none of the servers `without`; what is pinned only if that can be."""

    def possible(case: Case) -> bool:
        return not isinstance(case, UnderLoad) or (case.server not in without and case.pinned <= pinned)

    found = dict.fromkeys(case for name in scenarios for case in SCENARIOS[name])
    return list(filter(possible, found))


def measurements(bench: Bench, measured: Iterable[Case], *, rounds: int) -> Iterator[Measurement]:
    """Every case in every round, as it is measured; what does not run is told, and the others are measured."""
    for number in range(1, rounds + 1):
        before: dict[Case, Figures] = {}
        for case in measured:
            try:
                outcome = case.measured(bench, before)
            except Failed as error:
                outcome = Outcome({}, [str(error)], failed=True)
            before[case] = outcome.figures
            yield Measurement(
                case=case,
                round=number,
                figures=outcome.figures,
                troubles=tuple(outcome.troubles),
                failed=outcome.failed,
            )
