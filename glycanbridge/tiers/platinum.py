"""What platinum asks for: strict types, and tests with what the far side has really said."""

from __future__ import annotations

from glycanbridge.tiers import code
from glycanbridge.tiers.evidence import Evidence
from glycanbridge.tiers.runs import is_there
from glycanbridge.tiers.verdicts import UNUSABLE, Verdict, met, missing, not_known


def py_typed(evidence: Evidence) -> Verdict:
    """Others can use its types: there is a `py.typed`."""
    where = evidence.code_folder
    if where is None:
        return not_known(UNUSABLE)
    if not where.is_dir():
        name = where.stem
        return missing(f"make the module a package, {name}/__init__.py, with an empty {name}/py.typed (PEP 561)")
    if not (where / "py.typed").is_file():
        return missing(f"put an empty py.typed into {where.name}/, and into its wheel (PEP 561)")
    return met(f"{where.name}/py.typed")


def strict_types(evidence: Evidence) -> Verdict:
    """`mypy --strict` finds nothing."""
    if evidence.source is None:
        return not_known(evidence.no_source)
    if not evidence.run:
        return not_known("mypy was not run: leave --without-tests out")
    ran = evidence.typed
    if ran is None:
        there = "its code is not at the top of its source, nor in src" if is_there("mypy") else "install mypy beside it"
        return not_known(there)
    if evidence.untyped:
        return missing(f"{evidence.untyped} switches mypy off: take ignore_errors out")
    if ran.code != 0:
        return missing("mend what `mypy --strict` finds", ran.last_lines)
    return met("`mypy --strict` finds nothing")


def samples(evidence: Evidence) -> Verdict:
    """Its tests read recorded answers of the far side, in `tests/samples/`."""
    if evidence.source is None:
        return not_known(evidence.no_source)
    folder = evidence.source / "tests" / "samples"
    if not folder.is_dir() or not any(each.is_file() for each in folder.rglob("*")):
        return missing("record what the far side really answers, as files in tests/samples, and let a peer answer so")
    readers = code.paths_to(evidence.tests, "samples")
    if not readers:
        return missing("no test reads tests/samples")
    return met(f"{readers[0]} reads them")
