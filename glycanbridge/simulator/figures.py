"""What came of a story or a load, in numbers: one row for each event type, and percentiles of the answers' times."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from glycanbridge.simulator.sender import Fate
from glycanbridge.simulator.story import KNOWN_TYPES

COLUMNS = ("sent", "accepted", "duplicate", "quarantined", "refused_401", "retried", "lost", "unexpected")


def rows(fates: Iterable[Fate]) -> list[dict[str, Any]]:
    """A row for each event type, in the order of a kit's life, and one for all of them."""
    by_type: dict[str, list[Fate]] = {}
    every = list(fates)
    for fate in every:
        by_type.setdefault(fate.sending.type, []).append(fate)
    told = [_row(name, by_type[name]) for name in KNOWN_TYPES if name in by_type]
    return [*told, _row("all", every)] if told else []


def _row(name: str, fates: Sequence[Fate]) -> dict[str, Any]:
    counts = dict.fromkeys(COLUMNS, 0)
    counts["sent"] = len(fates)
    for fate in fates:
        counts[fate.outcome] += 1
        counts["retried"] += len(fate.answers) - 1
        counts["unexpected"] += not fate.fits
    took_ms = sorted(each.took_ms for fate in fates for each in fate.answers if each.status is not None)
    return {"type": name, **counts, "p50_ms": percentile(took_ms, 50), "p99_ms": percentile(took_ms, 99)}


def percentile(ascending: Sequence[float], share: float) -> float | None:
    """The value that `share` per cent are not above (nearest rank), rounded; `None` of nothing."""
    if not ascending:
        return None
    return round(ascending[max(0, math.ceil(len(ascending) * share / 100) - 1)], 2)
