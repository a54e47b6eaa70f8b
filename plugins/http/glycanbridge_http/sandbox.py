"""What an expression of a template may do: Jinja2's sandbox, with a bound to whatever is made on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import Any

from jinja2 import nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS as JINJAS_FILTERS
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import TESTS as JINJAS_TESTS
from jinja2.visitor import NodeTransformer

from glycanbridge_http.limits import Limits, RefusedError

LIMITS = "_limits"
"""The name of the rendering's limits: a template cannot name it."""
FILTERS = (
    "abs", "capitalize", "count", "default", "dictsort", "first", "float", "int", "items", "join", "last", "length",
    "list", "lower", "map", "max", "min", "reject", "rejectattr", "replace", "reverse", "round", "select", "selectattr",
    "sort", "string", "sum", "title", "trim", "truncate", "unique", "upper", "wordcount",
)  # fmt: skip
"""Jinja's own that a template may use, besides `tojson`: none that can make much out of little, or that escapes."""
METHODS = (
    "endswith", "get", "isoformat", "items", "keys", "lower", "replace", "split", "startswith", "strftime", "strip",
    "timestamp", "title", "upper", "values",
)  # fmt: skip
"""What may be called on a value."""
_ITERATING = {
    *("dictsort", "items", "join", "list", "map", "max", "min", "reject", "rejectattr", "reverse", "select"),
    *("selectattr", "sort", "sum", "unique"),
}
"""Filters that go through all of what they get."""
_LONGEST_FORMAT = 200
"""Letters of a form for `strftime`: each can ask for many."""
_MOST_PLACES = 20
_NOTHING = object()


class Own(str):
    """Letters of the template's own, such as the comma of `{{ "," if not loop.last }}`: no value."""

    __slots__ = ()


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, in which a name of a mapping's is its value, and whatever is made has a bound."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """An operator, of numbers and of what can be put together."""
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if operator == "**" or (operator in "*%" and not numbers):
            raise SecurityError(f"{operator} is for numbers, and there are no powers")
        return _limits(context).made(super().call_binop(context, operator, left, right))

    def call(self, context: Context, called: Any, /, *arguments: Any, **named: Any) -> Any:
        """A method, or `range`."""
        owner, name = getattr(called, "__self__", None), getattr(called, "__name__", "")
        if isinstance(owner, str) and name == "replace":
            _see_room_to_replace(_limits(context), owner, *arguments)
        if name == "strftime" and any(len(str(each)) > _LONGEST_FORMAT for each in (*arguments, *named.values())):
            raise RefusedError(f"it asks strftime for a form of more than {_LONGEST_FORMAT} letters")
        return _limits(context).made(super().call(context, called, *arguments, **named))

    def getattr(self, obj: Any, attribute: str) -> Any | Undefined:
        """What a name after a point means."""
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        if isinstance(obj, Mapping) and attribute not in METHODS and not attribute.startswith("_"):
            return self.undefined(f"there is no {attribute}; there is {', '.join(map(str, obj))}", obj, attribute)
        return super().getattr(obj, attribute)


class Bounded(NodeTransformer):
    """Has a template's loops counted, and all that its expressions make looked at."""

    def generic_visit(self, node: nodes.Node, *arguments: Any, **named: Any) -> nodes.Node:
        """Each node, after all that is in it."""
        super().generic_visit(node, *arguments, **named)
        match node:
            case nodes.Output():
                node.nodes = [_with_its_own(each) for each in node.nodes]
            case nodes.For():
                node.iter = _filtered(node.iter, "_counted")
            case nodes.Concat():  # `~`, which Jinja lets nobody intercept
                return _filtered(nodes.List(node.nodes, lineno=node.lineno), "_together")
            case nodes.Tuple(ctx="store"):  # of names that are set
                return node
            case nodes.Tuple() | nodes.List() | nodes.Dict() | nodes.Compare() | nodes.Test():
                return _filtered(node, "_made")
            case nodes.Getitem() if isinstance(node.arg, nodes.Slice):
                return _filtered(node, "_made")
            case _:
                pass
        return node


def filters(more: Mapping[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """The filters of a template, `more` among them, each at the cost of its steps."""
    jinjas: dict[str, Callable[..., Any]] = {name: JINJAS_FILTERS[name] for name in FILTERS}
    ours = {**jinjas, "float": _float, "int": _int, **more}
    inner: dict[str, Callable[..., Any]] = {
        "_counted": _counted, "_together": _together, "_made": _made, "_own": Own
    }  # fmt: skip
    return {name: _bounded(name, each) for name, each in ours.items()} | inner


def tests() -> dict[str, Any]:
    """Jinja's own tests, each at the cost of a step: `select("in", text)` looks for each item."""
    return {name: _bounded(name, each) for name, each in JINJAS_TESTS.items()}


def _bounded(name: str, function: Any) -> Callable[..., Any]:
    """A filter that counts what it goes through, and of which what it makes is looked at."""
    passed = getattr(getattr(function, "jinja_pass_arg", None), "name", None)  # as Jinja's own compiler has it

    @pass_context
    def run(context: Context, value: Any = _NOTHING, *arguments: Any, **named: Any) -> Any:
        limits = _limits(context)
        limits.step(1 + (len(value) if name in _ITERATING and isinstance(value, Sized) else 0))
        _look_at(limits, name, value, arguments, named)
        first = {"context": context, "eval_context": context.eval_ctx, "environment": context.environment}
        made = function(*([first[passed]] if passed else ()), value, *arguments, **named)
        return limits.made(list(made) if isinstance(made, Iterator) else made)

    return run


def _look_at(limits: Limits, name: str, value: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
    """Raise `RefusedError` if a filter would make much out of little."""
    told = (*arguments, *named.values())
    if name == "join" and isinstance(value, Sized):
        between = max((len(str(each)) for each in told), default=0)
        limits.room(between * len(value))
    elif name == "replace":
        _see_room_to_replace(limits, str(value), *told)
    elif name == "round" and any(isinstance(each, int | float) and abs(each) > _MOST_PLACES for each in told):
        raise RefusedError(f"it rounds to more than {_MOST_PLACES} places")
    elif name == "map" and any(isinstance(each, str) and each.startswith("_") for each in told):
        raise SecurityError("a name that begins with _ is none of a template's")
    elif name == "sum" and any(isinstance(each, list | tuple) for each in told):
        raise RefusedError("sum is for numbers")


def _see_room_to_replace(limits: Limits, text: str, old: Any = None, new: Any = None, *_count: Any) -> None:
    if isinstance(old, str) and isinstance(new, str):
        limits.room(len(text) + text.count(old) * max(0, len(new) - len(old)))


def _float(value: Any, default: Any = _NOTHING) -> Any:
    """As Jinja's, but what is no number is 0 only if the template says so."""
    return _number(JINJAS_FILTERS["float"](value, default))


def _int(value: Any, default: Any = _NOTHING, base: int = 10) -> Any:
    """As Jinja's, but what is no number is 0 only if the template says so."""
    return _number(JINJAS_FILTERS["int"](value, default, base))


def _number(found: Any) -> Any:
    if found is _NOTHING:
        raise RefusedError("what should be a number is none, and there is no default")
    return found


@pass_context
def _counted(context: Context, items: Iterable[object]) -> Iterator[object]:
    return _limits(context).loop(items)


@pass_context
def _together(context: Context, items: Iterable[object]) -> str:
    limits = _limits(context)
    texts = [str(each) for each in items]
    limits.room(sum(map(len, texts)))
    return limits.made("".join(texts))


@pass_context
def _made(context: Context, value: Any) -> Any:
    return _limits(context).made(value)


def _limits(context: Context) -> Limits:
    limits: Limits = context[LIMITS]
    return limits


def _with_its_own(node: nodes.Expr) -> nodes.Expr:
    if isinstance(node, nodes.Const) and isinstance(node.value, str):
        return _filtered(node, "_own")
    if isinstance(node, nodes.CondExpr):
        node.expr1 = _with_its_own(node.expr1)
        node.expr2 = None if node.expr2 is None else _with_its_own(node.expr2)
    return node


def _filtered(node: nodes.Node, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)
