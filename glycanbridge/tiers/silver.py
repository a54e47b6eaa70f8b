"""What silver asks for: whoever runs it can read what it does, also when it fails."""

from __future__ import annotations

from glycanbridge.tiers import code
from glycanbridge.tiers.evidence import Evidence, properties
from glycanbridge.tiers.runs import Tested
from glycanbridge.tiers.verdicts import UNUSABLE, Verdict, listed, met, missing, not_known


def settings_table(evidence: Evidence) -> Verdict:
    """The README has a table of all settings, under `## Settings`."""
    if evidence.plugin is None:
        return not_known(UNUSABLE)
    if evidence.models is None:
        return not_known("mend first what keeps its settings from having a JSON Schema")
    (_, own), *inner = evidence.models.items()
    if not properties(own):
        return met("it takes none")
    if not evidence.readme.under("Settings"):
        return missing("write a table of its settings into the README, under `## Settings`")
    rows, words = evidence.readme.first_cells(), evidence.readme.quoted()
    lacks = [name for name in properties(own) if name not in rows]
    lacks += [name for _, each in inner for name in properties(each) if name not in words]
    if lacks:
        return missing(f"the README's settings table says nothing of {', '.join(lacks)}")
    return met("every setting is in it")


def failure_table(evidence: Evidence) -> Verdict:
    """The README has a table under `## When it fails`, with a column `kind` that tells the kinds apart."""
    tables = [table for section in evidence.readme.under("When it fails") for table in section.tables()]
    if not tables:
        return missing("write a table into the README, under `## When it fails`: | what happens | kind | what to see |")
    kinds = " ".join(cell.lower() for table in tables for cell in table.column("kind"))
    wanted = {
        "temporary": {"temporary"},
        "permanent": {"permanent"},
        "destination or unknown": {"destination", "unknown"},
    }
    lacks = [name for name, words in wanted.items() if not any(word in kinds for word in words)]
    if lacks:
        return missing(f"the table under `## When it fails` has no row whose column `kind` says {', nor '.join(lacks)}")
    return met(f"{sum(len(table.rows) for table in tables)} rows")


def what_leaves(evidence: Evidence) -> Verdict:
    """The README says under `## What leaves` what goes out."""
    return _says(evidence, "What leaves", "what of an event goes out, and where to")


def repeats(evidence: Evidence) -> Verdict:
    """The README says under `## What a repeat looks like` how one can be known."""
    return _says(evidence, "What a repeat looks like", "what is seen when a delivery is made twice, and how to know it")


def _says(evidence: Evidence, title: str, what: str) -> Verdict:
    if evidence.readme.under(title):
        return met("it does")
    return missing(f"write into the README, under `## {title}`, {what}")


def tells(evidence: Evidence) -> Verdict:
    """The hook `tells()` says what leaves, and where it goes."""
    if evidence.plugin is None:
        return not_known(UNUSABLE)
    if evidence.has("tells"):
        return met("it has the hook")
    return missing("add the hook tells(): one line that says what leaves and where it goes")


def contract_suite(evidence: Evidence) -> Verdict:
    """Its tests use `contract_suite` for it, and where they are run, all of the suite passes."""
    if evidence.source is None:
        return not_known(evidence.no_source)
    if evidence.plugin is None:
        return not_known(UNUSABLE)
    found = code.suites(evidence.tests)
    if not found:
        return missing("add TestContract = contract_suite(...), of glycanbridge.testing, to its tests")
    if evidence.tested is None:
        return met(f"{found[0]}; that it passes was not seen")
    return _as_run(evidence, evidence.tested, found[0], evidence.plugin.made_by.__name__)


def _as_run(evidence: Evidence, tested: Tested, place: str, who: str) -> Verdict:
    if tested.code != 0:
        return not_known("mend its tests first")
    left_out = [name for name, passed in evidence.suite.items() if not passed]
    if not evidence.suite or left_out:
        which = f"{listed(left_out)} has not passed" if left_out else f"none of its tests has passed for {who}"
        return missing(f"{place}: see that pytest collects it, and skips nothing: {which}")
    return met(f"{len(evidence.suite)} of its tests have passed")
