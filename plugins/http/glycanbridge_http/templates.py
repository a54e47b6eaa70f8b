"""What a template of the operator's makes of an event: Jinja2 in a sandbox, each value escaped for where it stands.

A template is small on purpose: values, filters, `if`, `for` and `set`. It reads no file, calls nothing that could reach
out of it, and is bounded in steps and size, so that a mistake in it costs neither the start nor an attempt.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import StrictUndefined, TemplateSyntaxError, UndefinedError, nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS as JINJAS_FILTERS
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

Escape = Callable[[object], str]
"""What is printed for a value. Raises `ValueError` or `TypeError` if it cannot stand there."""

LARGEST_TEMPLATE = 65_536
"""Characters of a template."""
LARGEST_TEXT = 1 << 20
"""Characters of what it makes: as much as a request of GlycanAge's."""
MOST_STEPS = 100_000
"""Rounds of all of a template's loops together."""
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
_STATEMENTS = nodes.Output | nodes.If | nodes.For | nodes.Assign
_FILE = "<a template of bridge.yaml>"


class TemplateFault(Exception):
    """Why a template cannot be used, or failed: its line (counts from 1), and the reason, in which no value stands.

    `detail` may quote values: it is for samples alone.
    """

    def __init__(self, line: int | None, reason: str, detail: str = "") -> None:
        self.line = line
        self.reason = reason
        self.detail = detail or reason
        super().__init__(self.told)

    @property
    def told(self) -> str:
        """Where and why, without any value."""
        return self._at(self.reason)

    @property
    def told_of_a_sample(self) -> str:
        """Where and why, with what Jinja says of it."""
        return self._at(self.detail)

    def _at(self, why: str) -> str:
        return why if self.line is None else f"line {self.line} of it: {why}"


class MadeJson(str):
    """JSON that a template made with `tojson`: printed in JSON as it is. Whatever is done to it makes text of it."""

    __slots__ = ()


class _TooMuch(ValueError):
    """A template goes on for too long, or makes too much."""


class _Sandbox(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, in which a name of a mapping's is its value, and `*` is for numbers."""

    intercepted_binops = frozenset({"*", "**", "%"})  # `"x" * 10 ** 9`, also while it is compiled

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" or not (isinstance(left, int | float) and isinstance(right, int | float)):
            raise SecurityError(f"{operator} is for numbers, and there are no powers")
        return super().call_binop(context, operator, left, right)

    def getattr(self, obj: Any, attribute: str) -> Any | Undefined:
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        if isinstance(obj, Mapping) and attribute not in METHODS and not attribute.startswith("_"):
            return self.undefined(f"there is no {attribute}; there is {', '.join(map(str, obj))}", obj, attribute)
        return super().getattr(obj, attribute)


class Template:
    """A template, compiled. It may be used by several threads at once."""

    def __init__(self, source: str, *, escape: Escape, statements: bool = True) -> None:
        """Raises `TemplateFault` with the line of what is wrong. Without `statements` there are values alone."""
        sandbox = _Sandbox(
            undefined=StrictUndefined,
            finalize=escape,
            autoescape=False,  # `finalize` is what escapes
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
            cache_size=0,
        )
        sandbox.filters = {name: JINJAS_FILTERS[name] for name in FILTERS} | {"tojson": to_json, "_counted": _counted}
        sandbox.globals = {"range": _range}
        if len(source) > LARGEST_TEMPLATE:
            raise TemplateFault(None, f"expected at most {LARGEST_TEMPLATE} characters")
        try:
            tree = sandbox.parse(source)
            _look_through(tree, statements=statements)
            tree.set_environment(sandbox)  # of the counters that were put in
            code = sandbox.compile(tree, filename=_FILE)
        except TemplateSyntaxError as error:
            raise TemplateFault(error.lineno, str(error.message)) from None
        except TemplateFault:
            raise
        except Exception as error:  # such as parentheses without end
            raise TemplateFault(None, f"it cannot be compiled ({type(error).__name__})") from None
        self._template = sandbox.template_class.from_code(sandbox, code, sandbox.make_globals(None))

    def render(self, values: Mapping[str, object]) -> str:
        """What it makes of `values`. Raises `TemplateFault`."""
        made, size = [], 0
        try:
            for piece in self._template.generate(values, _steps=iter(range(MOST_STEPS))):
                size += len(piece)
                if size > LARGEST_TEXT:
                    raise _TooMuch(f"it makes more than {LARGEST_TEXT} characters")  # noqa: TRY301 (with the line)
                made.append(piece)
        except Exception as error:
            raise TemplateFault(_line(error), _reason(error), str(error)) from None
        return "".join(made)


def to_json(value: object) -> MadeJson:
    """The filter: `{{ event.data | tojson }}`, with quotes around a text."""
    return MadeJson(json.dumps(value, ensure_ascii=False, allow_nan=False, default=_for_json))


def as_text(value: object) -> str:
    """A value for people and for whatever is not JSON: times in ISO 8601, nothing for `None`, lists as JSON."""
    if value is None or isinstance(value, Undefined):
        return str(value or "")  # of what is missing this raises; of `"," if not loop.last` it is nothing
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, str):
        return str(value)
    return to_json(value)


def in_json(value: object) -> str:
    """A value within JSON: a text as it stands between quotes, everything else as JSON."""
    if isinstance(value, MadeJson):
        return value
    if isinstance(value, str | datetime | Undefined):
        return to_json(as_text(value))[1:-1]
    return to_json(value)


def moment(value: datetime) -> str:
    """`2023-08-27T08:00:00.000Z`."""
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _for_json(value: object) -> object:
    """What `json` does not know."""
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, Undefined):
        str(value)  # raises, with what is missing
    if isinstance(value, Iterator):  # what `map` and `select` make
        return list(value)
    raise TypeError("expected a value to print, not something to call")


@pass_context
def _counted(context: Context, items: Iterable[object]) -> Iterator[object]:
    """The items of a loop, each at the cost of a step."""
    steps = context["_steps"]
    for each in items:
        if next(steps, None) is None:
            raise _TooMuch(f"its loops go round more than {MOST_STEPS} times")
        yield each


def _range(*arguments: int) -> range:
    made = range(*arguments)
    if len(made) > MOST_STEPS:
        raise _TooMuch(f"a range has more than {MOST_STEPS} numbers")
    return made


def _look_through(tree: nodes.Template, *, statements: bool) -> None:
    """Refuse what a template may not do, and have its loops counted."""
    for statement in tree.find_all(nodes.Stmt):
        if not isinstance(statement, _STATEMENTS if statements else nodes.Output):
            there_is = "values, if, for and set" if statements else "values in {{ }} alone"
            _refuse(statement, f"{type(statement).__name__.lower()} cannot be used here: there are {there_is}")
    for reference in tree.find_all(nodes.NSRef):
        _refuse(reference, "only a name of its own can be set")
    for call in tree.find_all(nodes.Call):
        target = call.node
        if isinstance(target, nodes.Getattr) and target.attr in METHODS:
            continue
        if not (isinstance(target, nodes.Name) and target.name == "range"):
            _refuse(call, f"this cannot be called: there are range and, of a value, {', '.join(METHODS)}")
    for loop in tree.find_all(nodes.For):
        if loop.recursive:
            _refuse(loop, "recursive cannot be used here")
        loop.iter = nodes.Filter(loop.iter, "_counted", [], [], None, None, lineno=loop.lineno)


def _refuse(node: nodes.Node, why: str) -> NoReturn:
    lines = (each.lineno for each in (node, *node.find_all(nodes.Node)))
    raise TemplateFault(next(filter(None, lines), None), why)


def _line(error: Exception) -> int | None:
    """The template's line that an error came from."""
    frames = reversed(traceback.extract_tb(error.__traceback__))
    return next((each.lineno for each in frames if each.filename == _FILE), None)


def _reason(error: Exception) -> str:
    """Why a template failed, without what Jinja says of it: that may quote a value."""
    if isinstance(error, _TooMuch):
        return str(error)
    if isinstance(error, SecurityError):
        return "it does what a template may not"
    if isinstance(error, UndefinedError):
        return "it names something that is not told of this event"
    return f"it cannot be made of this event ({type(error).__name__})"
