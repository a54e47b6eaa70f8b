"""What can be seen in Python code without running it: by its syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_TOO_WIDE = {"BaseException", "Exception", "RuntimeError"}
_IDS = {"id", "event_id"}


@dataclass(frozen=True, slots=True)
class Code:
    """A module: where it is, how it is called in messages, and its syntax tree."""

    name: str
    tree: ast.Module

    def place(self, node: ast.AST) -> str:
        """`file:line`."""
        return f"{self.name}:{getattr(node, 'lineno', 1)}"


def read(files: Iterable[Path], folder: Path) -> list[Code]:
    """The code in some files, which are named from `folder`; what is no Python is passed over."""
    found = []
    for file in sorted(files):
        try:
            tree = ast.parse(file.read_bytes())
        except (SyntaxError, ValueError, OSError):  # a template, a sample, a file that is gone
            continue
        found.append(Code(file.relative_to(folder).as_posix(), tree))
    return found


def uses_of_ids(codes: Iterable[Code]) -> list[str]:
    """Where `delivery.id` or `delivery.event_id` is read, which are the same in every attempt."""
    return [
        f"{code.place(node)} reads delivery.{node.attr}"
        for code in codes
        for node in ast.walk(code.tree)
        if isinstance(node, ast.Attribute)
        and node.attr in _IDS
        and isinstance(node.value, ast.Name)
        and node.value.id == "delivery"
    ]


def wide_errors(codes: Iterable[Code]) -> list[str]:
    """Where something is raised that says nothing, or everything is caught and nothing made of it."""
    return [told for code in codes for node in ast.walk(code.tree) for told in _wide(code, node)]


def _wide(code: Code, node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Raise) and node.exc is not None:
        raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        if isinstance(raised, ast.Name) and raised.id in _TOO_WIDE:
            yield f"{code.place(node)} raises {raised.id}"
    if isinstance(node, ast.ExceptHandler):
        caught = node.type
        wide = caught is None or (isinstance(caught, ast.Name) and caught.id in _TOO_WIDE)
        if wide and all(isinstance(each, ast.Pass | ast.Continue) for each in node.body):
            yield f"{code.place(node)} catches everything and passes over it"


def names(codes: Iterable[Code]) -> set[str]:
    """Every name that is used anywhere: an error may be made in one place and raised in another."""
    return {node.id for code in codes for node in ast.walk(code.tree) if isinstance(node, ast.Name)}


def suites(codes: Iterable[Code]) -> list[str]:
    """Where `contract_suite(...)` becomes a class that pytest takes for tests."""
    return [
        f"{code.place(node)} {name}"
        for code in codes
        for node in ast.walk(code.tree)
        for name, made_of in _classes(node)
        if name.startswith("Test") and any(_calls_suite(each) for each in made_of)
    ]


def _classes(node: ast.AST) -> Iterator[tuple[str, list[ast.expr]]]:
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Name):
                yield target.id, [node.value]
    elif isinstance(node, ast.ClassDef):
        yield node.name, node.bases


def _calls_suite(node: ast.expr) -> bool:
    if not isinstance(node, ast.Call):
        return False
    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return called == "contract_suite"


def mentions(codes: Iterable[Code], word: str) -> list[str]:
    """Where a text of the code, docstrings apart, has this word in it."""
    return [
        code.place(node)
        for code in codes
        for node in ast.walk(code.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and word in node.value.split("/")
    ]
