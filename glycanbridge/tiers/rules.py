"""The rules of each tier, as a table; `docs/plugins/publishing.md` shows the same one.

Each is decided by what is really there. Where nobody can look, it is "not known", and that does not count as kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from glycanbridge.tiers import bronze, gold, platinum, silver
from glycanbridge.tiers.evidence import Evidence
from glycanbridge.tiers.verdicts import Verdict


class Tier(StrEnum):
    """How far a plugin can be relied on."""

    BRONZE = "bronze"
    """It installs, and is tested."""
    SILVER = "silver"
    """It says what it does, also when it fails."""
    GOLD = "gold"
    """It can be looked after, and a repeat does no harm."""
    PLATINUM = "platinum"
    """Strict types, and tests with what the far side has really said."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Something that a tier asks for: what it asks is told by the docstring of the function that looks."""

    tier: Tier
    look: Callable[[Evidence], Verdict]

    @property
    def name(self) -> str:
        """What it is called."""
        return self.look.__name__.replace("_", "-")

    @property
    def asks(self) -> str:
        """What it asks for, in a sentence."""
        return (self.look.__doc__ or "").strip()


RULES = (
    Rule(Tier.BRONZE, bronze.loads),
    Rule(Tier.BRONZE, bronze.contract),
    Rule(Tier.BRONZE, bronze.settings),
    Rule(Tier.BRONZE, bronze.package),
    Rule(Tier.BRONZE, bronze.tests),
    Rule(Tier.SILVER, silver.settings_table),
    Rule(Tier.SILVER, silver.failure_table),
    Rule(Tier.SILVER, silver.what_leaves),
    Rule(Tier.SILVER, silver.repeats),
    Rule(Tier.SILVER, silver.tells),
    Rule(Tier.SILVER, silver.contract_suite),
    Rule(Tier.GOLD, gold.check),
    Rule(Tier.GOLD, gold.idempotency_key),
    Rule(Tier.GOLD, gold.errors),
    Rule(Tier.GOLD, gold.changes),
    Rule(Tier.PLATINUM, platinum.py_typed),
    Rule(Tier.PLATINUM, platinum.strict_types),
    Rule(Tier.PLATINUM, platinum.samples),
)
"""Every rule, in the order of the tiers."""
