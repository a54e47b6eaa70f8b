"""What gold asks for: it can be looked after, and a repeat does no harm."""

from __future__ import annotations

from glycanbridge.tiers import code
from glycanbridge.tiers.evidence import Evidence
from glycanbridge.tiers.verdicts import UNUSABLE, WITHOUT_TESTS, Verdict, met, missing, not_known

REPEATED = "test_the_far_side_can_know_a_repeat"
"""The contract suite's own test of what a repeat looks like."""
KINDS = {"TemporaryError", "DestinationError", "PermanentError", "NotYetError"}


def check(evidence: Evidence) -> Verdict:
    """The hook `check()` looks whether the far side is well, without sending anything."""
    if evidence.plugin is None:
        return not_known(UNUSABLE)
    if evidence.has("check"):
        return met("it has the hook")
    return missing("add the hook check(): talk to the far side without sending anything, and raise if it is not well")


def idempotency_key(evidence: Evidence) -> Verdict:
    """A repeat can be known by what is sent: by `delivery.id`, or as the contract suite has seen it."""
    if evidence.plugin is None:
        return not_known(UNUSABLE)
    if evidence.suite.get(REPEATED):
        return met("the contract suite has seen it in what is sent")
    if evidence.tested is not None and not evidence.suite.get(REPEATED, any(evidence.suite.values())):
        return not_known("no contract suite for it has passed: contract_suite(..., peer=...) shows what is sent")
    seen = code.uses_of_ids(evidence.code)
    if seen:
        return met(f"{seen[0]}; that it is sent was not seen, which contract_suite(..., peer=...) would")
    if not evidence.run:
        return not_known(f"it reads neither delivery.id nor delivery.event_id, and {WITHOUT_TESTS}")
    return missing("send delivery.id on, or show by contract_suite(..., peer=...) what else is the same each time")


def errors(evidence: Evidence) -> Verdict:
    """Its failures are the contract's errors, of two kinds at least, and nothing is passed over in silence."""
    if not evidence.code:
        return not_known(UNUSABLE)
    wide = code.wide_errors(evidence.code)
    if wide:
        return missing(f"{wide[0]}: say by one of the contract's errors what it means")
    kinds = KINDS & code.names_in(evidence.code)
    if len(kinds) < 2:
        return missing("tell at least two kinds of failure apart, by TemporaryError, DestinationError, PermanentError")
    return met(", ".join(sorted(kinds)))


def changes(evidence: Evidence) -> Verdict:
    """It says what changes from one version to the next."""
    if any(evidence.readme.under(title) for title in ("Changes", "Changelog")):
        return met("the README has them")
    if evidence.source is None:
        return not_known(f"the README has no `## Changes`, and {evidence.no_source}")
    files = [each.name for each in evidence.source.iterdir() if each.stem.lower() in {"changelog", "changes", "news"}]
    if not files:
        return missing("write down what each version changes: CHANGELOG.md, or `## Changes` in the README")
    return met(files[0])
