"""Says what pydantic found wrong in the terms of `bridge.yaml`: line and column, what was expected, what came.

Used for our own settings and for every plugin's. The value of a secret is never shown, nor is one that came from a
reference.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from glycanbridge.bridge_yaml import BridgeYaml, Loc
from glycanbridge.errors import Problem

M = TypeVar("M", bound=BaseModel)

_EXPECTED = {
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "list": "a list",
    "tuple": "a list",
    "dict": "a mapping",
    "mapping": "a mapping",
    "model": "a mapping",
    "path": "a path",
}
_SECRET = re.compile("secret|password|token|key|credential|auth|journal|url|dsn|user|login", re.IGNORECASE)


def validate(model: type[M], data: object, source: BridgeYaml, loc: Loc = ()) -> tuple[M | None, list[Problem]]:
    """`data`, which stands at `loc` in `source`, as an instance of `model`, or `None` and every problem in it."""
    try:
        return model.model_validate(data, context={"folder": source.folder}), []
    except ValidationError as error:
        errors = error.errors(include_url=False)
        # an item that failed also leaves its list "too short": one mistake, one line
        errors = [each for each in errors if each["type"] != "too_short" or not _inner(each, errors)]
        told = {problem.path for problem in source.problems}
        problems = [_problem(model, each, source, loc) for each in errors]
        return None, [each for each in problems if each.path not in told]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the nearest of `known`, else all of them, else nothing."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(names)}" if names else ""


def _inner(error: ErrorDetails, errors: list[ErrorDetails]) -> bool:
    loc = error["loc"]
    return any(len(each["loc"]) > len(loc) and each["loc"][: len(loc)] == loc for each in errors)


def _problem(model: type[BaseModel], error: ErrorDetails, source: BridgeYaml, loc: Loc) -> Problem:
    at_key = error["loc"][-1:] == ("[key]",)
    within: Loc = error["loc"][:-1] if at_key else error["loc"]
    here = (*loc, *within)
    kind = error["type"]
    if kind == "extra_forbidden":
        unknown = str(within[-1])
        message = f"unknown key{did_you_mean(unknown, _keys_at(model.model_json_schema(), within[:-1]))}"
        return source.problem(here, message, at_key=True)
    if kind == "missing":
        return source.problem(here, "is missing")
    got = f"got {_shown(error['input'], here, source)}"
    if kind == "literal_error":
        allowed = re.findall(r"'([^']*)'", error["ctx"]["expected"])
        near = difflib.get_close_matches(str(error["input"]), allowed, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return source.problem(here, f"expected one of {', '.join(map(repr, allowed))}, {got}{hint}")
    if kind == "string_type" and isinstance(error["input"], int | float):
        got += " without quotes"
    if kind == "value_error" and _is_secret(here):
        return source.problem(here, _expected(error))
    return source.problem(here, f"{_expected(error)}, {got}", at_key=at_key)


def _expected(error: ErrorDetails) -> str:
    kind = error["type"]
    family, _, rest = kind.partition("_")
    if family in _EXPECTED and rest in {"type", "parsing", "from_float", "parsing_size", "attributes_type"}:
        return f"expected {_EXPECTED[family]}"
    if kind == "too_short":
        return f"expected at least {error['ctx']['min_length']} item(s)"
    message = error["msg"].removeprefix("Value error, ")
    return re.sub(r"^(Input|String) should", "expected it to", message)


def _shown(value: object, loc: Loc, source: BridgeYaml) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if source.came_from_reference(loc):
        return "what the reference gave"
    if _is_secret(loc):
        return "something else (not shown)"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _is_secret(loc: Loc) -> bool:
    return _SECRET.search(".".join(map(str, loc))) is not None


def _keys_at(schema: dict[str, Any], loc: Loc) -> set[str]:
    """The keys that a JSON Schema knows at `loc`."""
    definitions = schema.get("$defs", {})

    def resolve(node: dict[str, Any]) -> dict[str, Any]:
        for each in (node, *node.get("anyOf", ()), *node.get("allOf", ())):
            if "$ref" in each:
                return dict(definitions[each["$ref"].rpartition("/")[2]])
        return node

    node = resolve(schema)
    for part in loc:
        inner = node.get("items") if isinstance(part, int) else node.get("properties", {}).get(part)
        if inner is None:
            inner = node.get("additionalProperties")
        if not isinstance(inner, dict):
            return set()
        node = resolve(inner)
    return set(node.get("properties", {}))
