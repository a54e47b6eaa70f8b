"""Says what pydantic found wrong in the terms of `bridge.yaml`: line and column, what was expected, what came.

Used for our own settings and for every plugin's. The value of a secret is never shown, nor is one that came from a
reference.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import BaseModel, PydanticUserError, ValidationError
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
_SECRET = re.compile("secret|pass|pin|token|key|credential|auth|journal|url|uri|dsn|user|login|hook", re.IGNORECASE)


def validate(
    model: type[M], data: object, source: BridgeYaml, loc: Loc = (), **context: object
) -> tuple[M | None, list[Problem]]:
    """`data`, which stands at `loc` in `source`, as an instance of `model`, or `None` and every problem in it.

    Validators see the `context`, and the folder of `bridge.yaml` as `folder`.
    """
    try:
        return model.model_validate(data, context={"folder": source.folder, **context}), []
    except ValidationError as error:
        errors = error.errors(include_url=False)
        # an item that failed also leaves its list "too short": one mistake, one line
        errors = [each for each in errors if each["type"] != "too_short" or not _inner(each, errors)]
        told = {problem.path for problem in source.problems}
        problems = [_problem(model, each, source, loc) for each in errors]
        return None, [each for each in problems if each.path not in told]


def schema_of(model: type[BaseModel]) -> dict[str, Any] | None:
    """A model's JSON Schema; `None` for a model that has none, such as one with a field of a class of its own."""
    try:
        return model.model_json_schema()
    except PydanticUserError:
        return None


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
        known = _schema_at(model, within[:-1]).get("properties", {})
        return source.problem(here, f"unknown key{did_you_mean(str(within[-1]), known)}", at_key=True)
    if kind == "missing":
        return source.problem(here, "is missing")
    named = here[2:] if here[:1] == ("destinations",) else here  # a destination's name, `users`, hides nothing
    secret = _SECRET.search(".".join(map(str, named))) or _is_write_only(_schema_at(model, within))
    if secret or source.came_from_reference(here):
        helps = _lacks_quotes(error) and here != ("journal",)  # a number is none, with quotes either
        quotes = ": put it in quotes" if helps else ""
        return source.problem(here, f"{_expected(error)}{quotes}", at_key=at_key)
    if isinstance(error["input"], dict) and (kind in {"value_error", "assertion_error"} or not within):
        return source.problem(here, _expected(error))  # about a whole model: that it is a mapping is no news
    got = f"got {_shown(error['input'])}"
    if kind == "literal_error":
        allowed = re.findall(r"'([^']*)'", error["ctx"]["expected"])
        near = difflib.get_close_matches(str(error["input"]), allowed, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return source.problem(here, f"expected one of {', '.join(map(repr, allowed))}, {got}{hint}")
    if _lacks_quotes(error):
        got += " without quotes"
    return source.problem(here, f"{_expected(error)}, {got}", at_key=at_key)


def _lacks_quotes(error: ErrorDetails) -> bool:
    """Whether text is wanted, and came without quotes: YAML makes a number or a switch of it."""
    return error["type"] == "string_type" and isinstance(error["input"], int | float)


def _expected(error: ErrorDetails) -> str:
    kind = error["type"]
    family, _, rest = kind.partition("_")
    if family in _EXPECTED and rest in {"type", "parsing", "from_float", "parsing_size", "attributes_type"}:
        return f"expected {_EXPECTED[family]}"
    if kind == "too_short":
        return f"expected at least {error['ctx']['min_length']} item(s)"
    message = error["msg"].removeprefix("Value error, ")
    return re.sub(r"^(Input|String) should", "expected it to", message)


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _schema_at(model: type[BaseModel], loc: Loc) -> dict[str, Any]:
    """What a model's JSON Schema says at `loc`; nothing where it says nothing, or where the model has none."""
    schema = schema_of(model)
    if schema is None:
        return {"properties": model.model_fields} if not loc else {}
    node = _resolved(schema, schema)
    for part in loc:
        inner = node.get("items") if isinstance(part, int) else node.get("properties", {}).get(part)
        inner = node.get("additionalProperties") if inner is None else inner
        if not isinstance(inner, dict):
            return {}
        node = _resolved(inner, schema)
    return node


def _resolved(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    for each in (node, *node.get("anyOf", ()), *node.get("allOf", ())):
        if "$ref" in each:
            return dict(schema["$defs"][each["$ref"].rpartition("/")[2]])
    return node


def _is_write_only(node: dict[str, Any]) -> bool:
    """Whether it is a `SecretStr` of pydantic's, optional or not."""
    return any(each.get("writeOnly", False) for each in (node, *node.get("anyOf", ())))
