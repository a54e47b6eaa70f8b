"""At which tier a plugin stands, bronze to platinum, and what each rule that it does not keep asks for.

`rules` is the table, `evidence` what is really there to decide them by, `readme`, `code` and `runs` how it is seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile

from glycanbridge.tiers.evidence import Evidence
from glycanbridge.tiers.rules import RULES, Rule, Tier
from glycanbridge.tiers.verdicts import State, Verdict

__all__ = ["RULES", "Evidence", "Judged", "Rule", "Standing", "State", "Tier", "Verdict", "judge"]


@dataclass(frozen=True, slots=True)
class Judged:
    """A rule, and what was found."""

    rule: Rule
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Standing:
    """What became of every rule."""

    judged: tuple[Judged, ...]

    @property
    def tier(self) -> Tier | None:
        """The highest tier of which, and of those below it, every rule is kept; what is not known is not kept."""
        kept = list(takewhile(lambda tier: not self.missing(tier), Tier))
        return kept[-1] if kept else None

    @property
    def next(self) -> Tier | None:
        """The tier above."""
        return next((tier for tier in Tier if self.missing(tier)), None)

    def missing(self, tier: Tier) -> list[Judged]:
        """The rules of this tier alone that are not kept."""
        return [each for each in self.judged if each.rule.tier is tier and each.verdict.state is not State.MET]

    def reaches(self, tier: Tier) -> bool:
        """Whether it stands at this tier or above."""
        return self.tier is not None and list(Tier).index(self.tier) >= list(Tier).index(tier)


def judge(evidence: Evidence) -> Standing:
    """Hold a plugin against every rule, in the table's order."""
    return Standing(tuple(Judged(rule, rule.look(evidence)) for rule in RULES))
