"""What can be seen in Python code without running it: by its syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_TOO_WIDE = {"BaseException", "Exception", "RuntimeError"}
_ALL = {"BaseException", "Exception"}
_EVERYTHING = "BaseException"
"""What a bare `except` catches."""
_IDS = {"id", "event_id"}
_TELLS = {"print", "log", "debug", "info", "warning", "warn", "error", "exception", "critical"}
"""What only tells people of something."""
_PATHS = {"Path", "PurePath", "join", "joinpath", "open"}


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
    """Where `delivery.id` or `delivery.event_id` is read, the same in every attempt, and not only printed or logged."""
    return [f"{code.place(node)} reads delivery.{node.attr}" for code in codes for node in _ids_in(code.tree)]


def _ids_in(tree: ast.Module) -> Iterator[ast.Attribute]:
    known = _aliases(tree)
    arguments = [node for node in ast.walk(tree) if isinstance(node, ast.arg) and node.annotation is not None]
    deliveries = {"delivery"} | {
        each.arg for each in arguments if each.annotation is not None and _name(each.annotation, known) == "Delivery"
    }
    told = _told_in(tree, known)
    for node in (each for each in ast.walk(tree) if isinstance(each, ast.Attribute)):
        of_delivery = isinstance(node.value, ast.Name) and node.value.id in deliveries
        if of_delivery and node.attr in _IDS and id(node) not in told:
            yield node


def wide_errors(codes: Iterable[Code]) -> list[str]:
    """Where something is raised that says nothing, or everything is caught and nothing made of it."""
    return [
        told
        for code in codes
        for known in [_aliases(code.tree)]
        for node in ast.walk(code.tree)
        for told in _wide(code, node, known)
    ]


def _wide(code: Code, node: ast.AST, known: Mapping[str, str]) -> Iterator[str]:
    if isinstance(node, ast.Raise) and node.exc is not None:
        raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        if (name := _name(raised, known)) in _TOO_WIDE:
            yield f"{code.place(node)} raises {name}"
    if isinstance(node, ast.ExceptHandler):
        caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        names = {_EVERYTHING if each is None else _name(each, known) for each in caught}
        idle = all(isinstance(each, ast.Pass | ast.Continue) for each in node.body)
        if (names & _ALL and not _makes_something_of(node, known)) or (names & _TOO_WIDE and idle):
            yield f"{code.place(node)} catches everything and passes over it"
    if isinstance(node, ast.Call) and _name(node.func, known) == "suppress":
        names = {_name(each, known) for each in node.args}
        yield from [f"{code.place(node)} suppresses {each}" for each in sorted(names & _TOO_WIDE)]


def _makes_something_of(handler: ast.ExceptHandler, known: Mapping[str, str]) -> bool:
    """Whether it raises, or does more with the error than to tell people of it."""
    told = _told_in(handler, known)
    return any(
        isinstance(each, ast.Raise) or (isinstance(each, ast.Name) and each.id == handler.name and id(each) not in told)
        for part in handler.body
        for each in ast.walk(part)
    )


def _told_in(tree: ast.AST, known: Mapping[str, str]) -> set[int]:
    """What stands in calls that only print or log."""
    calls = [each for each in ast.walk(tree) if isinstance(each, ast.Call) and _name(each.func, known) in _TELLS]
    return {id(inner) for each in calls for inner in ast.walk(each)}


def names_in(codes: Iterable[Code]) -> set[str]:
    """Every name that is used anywhere, also behind a dot: an error may be made in one place and raised in another."""
    found = set()
    for code in codes:
        known = _aliases(code.tree)
        found |= {_name(node, known) for node in ast.walk(code.tree) if isinstance(node, ast.Name | ast.Attribute)}
    return found


def suites(codes: Iterable[Code]) -> list[str]:
    """Where `contract_suite(...)` becomes a class that pytest takes for tests."""
    return [told for code in codes for told in _suites_in(code)]


def _suites_in(code: Code) -> Iterator[str]:
    known, made = _aliases(code.tree), set[str]()
    for node in ast.walk(code.tree):
        for name, made_of in _classes(node):
            if any(_is_suite(each, known) or _name(each, known) in made for each in made_of):
                made.add(name)
                if name.startswith("Test"):
                    yield f"{code.place(node)} {name}"


def _classes(node: ast.AST) -> Iterator[tuple[str, list[ast.expr]]]:
    if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if isinstance(target, ast.Name):
                yield target.id, [node.value]
    elif isinstance(node, ast.ClassDef):
        yield node.name, node.bases


def _is_suite(node: ast.expr, known: Mapping[str, str]) -> bool:
    return isinstance(node, ast.Call) and _name(node.func, known) == "contract_suite"


def _aliases(tree: ast.Module) -> dict[str, str]:
    """What is imported under another name: that name, and its own."""
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {each.asname: each.name for node in imports for each in node.names if each.asname}


def _name(node: ast.expr, known: Mapping[str, str]) -> str:
    """A name, or the last one behind a dot; of an annotation in quotes, what is in them."""
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value.rpartition(".")[2]
    return known.get(node.id, node.id) if isinstance(node, ast.Name) else ""


def paths_to(codes: Iterable[Code], word: str) -> list[str]:
    """Where the code has a path with this word in it: a text with a slash, or a text that is joined or opened."""
    return [code.place(node) for code in codes for node in ast.walk(code.tree) if _is_path_to(node, word)]


def _is_path_to(node: ast.AST, word: str) -> bool:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        parts: list[ast.expr] = [node.left, node.right]
    elif isinstance(node, ast.Call) and _name(node.func, {}) in _PATHS:
        parts = node.args
    else:
        return _says(node, word) and isinstance(node, ast.Constant) and "/" in str(node.value)
    return any(_says(each, word) for each in parts)


def _says(node: ast.AST, word: str) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and word in node.value.split("/")
