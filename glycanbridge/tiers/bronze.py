"""What bronze asks for: it installs, is made for this contract, and its tests pass."""

from __future__ import annotations

from typing import Any

from glycanbridge.tiers.evidence import Evidence, properties
from glycanbridge.tiers.runs import NOTHING_COLLECTED, Tested
from glycanbridge.tiers.verdicts import UNUSABLE, WITHOUT_TESTS, Verdict, listed, met, missing, not_known


def loads(evidence: Evidence) -> Verdict:
    """It can be imported, and all of its hooks are the contract's."""
    if evidence.plugin is None:
        return missing(str(evidence.found.error))
    return met(f"it has hooks for {', '.join(evidence.plugin.event_types)}")


def contract(evidence: Evidence) -> Verdict:
    """It says which versions of the contract it is made for, and uses nothing outdated."""
    if evidence.plugin is None:
        error = str(evidence.found.error)
        of_the_contract = any(each in error for each in ("is made for the contract ", ".contract is no range"))
        return missing(error) if of_the_contract else not_known(UNUSABLE)
    if evidence.plugin.contract is None:
        return missing('say what it is made for, in the class: contract = ">=1.0,<2"')
    if evidence.plugin.warnings:
        return missing("; ".join(evidence.plugin.warnings))
    return met(f"it is made for {evidence.plugin.contract}")


def settings(evidence: Evidence) -> Verdict:
    """Its settings have a JSON Schema, each one has a description, and unknown keys are refused."""
    if evidence.plugin is None:
        return not_known(UNUSABLE)
    if evidence.models is None:
        return missing(
            "no JSON Schema can be made of its settings: see to the field whose class pydantic does not know"
        )
    models = evidence.models.items()
    fields = {f"{model}.{name}": each for model, found in models for name, each in properties(found).items()}
    silent = [name for name, each in fields.items() if not _is_described(each, evidence.models)]
    if silent:
        return missing(
            f"describe {listed(silent)}: Field(description=...), or use_attribute_docstrings and a docstring"
        )
    lenient = [model for model, found in models if found.get("additionalProperties") is not False]
    if lenient:
        return missing(f'{listed(lenient)}: refuse keys that it does not know, by extra="forbid"')
    return met(f"{len(fields)} settings" if fields else "it takes none")


def _is_described(field: dict[str, Any], models: dict[str, dict[str, Any]]) -> bool:
    """Where a field says the same as its model, pydantic leaves it out."""
    model = models.get(str(field.get("$ref")).rpartition("/")[2], {})
    return bool(field.get("description") or model.get("description"))


def package(evidence: Evidence) -> Verdict:
    """It is a package with a version, a README and `requires-python`."""
    told = evidence.metadata
    if told is None:
        return missing("it is a file, which nobody else can install: `glycanbridge plugins new` makes a package")
    lacks = [name for name in ("Version", "Requires-Python") if name not in told]
    lacks += [] if evidence.description.strip() else ["a README as its description (readme = ...)"]
    if lacks:
        return missing(f"say in pyproject.toml: {', '.join(lacks)}; then install it anew")
    return met(f"{evidence.found.origin}, for Python {told['Requires-Python']}")


def tests(evidence: Evidence) -> Verdict:
    """It has tests, in `tests/`, and they pass."""
    if evidence.source is None:
        return not_known(evidence.no_source)
    if not evidence.tests:
        return missing(f"it has no tests: write some into {evidence.source / 'tests'}")
    if not evidence.run:
        return not_known(WITHOUT_TESTS)
    if evidence.tested is None:
        return not_known('install pytest beside GlycanBridge: pip install "glycanbridge[testing]"')
    why = _not_passed(evidence.tested, evidence.within_s)
    if why:
        return missing(f"{why} (in {evidence.source})", evidence.tested.last_lines)
    return met(f"{evidence.tested.number} have passed in {evidence.source}")


def _not_passed(ran: Tested, within_s: float) -> str | None:
    if ran.code is None:
        return f"they have not ended within {within_s:g} s"
    if ran.code == NOTHING_COLLECTED or (ran.code == 0 and not ran.number):
        return "pytest finds none that it could run"
    return None if ran.code == 0 else f"mend them: pytest ended with {ran.code}"
