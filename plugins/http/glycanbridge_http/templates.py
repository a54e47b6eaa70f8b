"""What a template of the operator's makes of an event: Jinja2 in a sandbox, each value escaped for where it stands.

A template is small on purpose: values, filters, `if`, `for` and `set`. It reads no file, calls nothing that could reach
out of it, and is bounded in steps and size, so that a mistake in it costs neither the start nor an attempt.
"""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import NoReturn

from jinja2 import StrictUndefined, TemplateSyntaxError, UndefinedError, nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context, Undefined

from glycanbridge_http.limits import MOST_STEPS, Limits, RefusedError
from glycanbridge_http.sandbox import LIMITS, METHODS, Bounded, Own, Sandbox, filters, tests

Escape = Callable[[object], str]
"""What is printed for a value. Raises `ValueError` or `TypeError` if it cannot stand there."""

LARGEST_TEMPLATE = 65_536
"""Characters of a template."""
_STATEMENTS = nodes.Output | nodes.If | nodes.For | nodes.Assign
_QUOTES = "_quotes"
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


class _Quotes:
    """Whether what comes next stands between the quotes of JSON, after all that was written."""

    _SIGNS = re.compile(r'"|\\(.?)', re.DOTALL)

    def __init__(self) -> None:
        self.open = False
        self._escaped = False

    def read(self, text: str) -> None:
        """Go on with what was written."""
        begin = 1 if self._escaped and text else 0
        self._escaped = self._escaped and not text
        for sign in self._SIGNS.finditer(text, begin):
            self._escaped = sign[1] == ""
            self.open ^= sign[1] is None


class Template:
    """A template, compiled. It may be used by several threads at once."""

    def __init__(self, source: str, *, escape: Escape, bare: Escape | None = None, statements: bool = True) -> None:
        """Raises `TemplateFault` with the line of what is wrong. Without `statements` there are values alone.

        `bare` is for what stands outside quotes, where those mean something: in JSON.
        """
        sandbox = Sandbox(
            undefined=StrictUndefined,
            finalize=_printed(escape, bare),
            autoescape=False,  # `finalize` is what escapes
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
            cache_size=0,
        )
        sandbox.filters = filters({"tojson": to_json})
        sandbox.tests = tests()
        sandbox.globals = {"range": _range}
        if len(source) > LARGEST_TEMPLATE:
            raise TemplateFault(None, f"expected at most {LARGEST_TEMPLATE} characters")
        try:
            tree = sandbox.parse(source)
            _look_through(tree, statements=statements)
            Bounded().visit(tree)
            tree.set_environment(sandbox)  # of what was put in
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
        limits, quotes = Limits(), _Quotes()
        try:
            for piece in self._template.generate(values, **{LIMITS: limits, _QUOTES: quotes}):
                size += len(piece)
                limits.room(size)
                quotes.read(piece)
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


def in_json_bare(value: object) -> str:
    """A value within JSON, outside quotes. A text is none there: `45,2` would be two numbers."""
    if isinstance(value, MadeJson) or not isinstance(value, str | datetime):
        return in_json(value)
    raise RefusedError("a text stands outside quotes: write quotes around it, or tojson after it")


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


def _printed(escape: Escape, bare: Escape | None) -> Callable[[Context, object], str]:
    """How Jinja prints a value: what was written before it says whether it stands between quotes."""

    @pass_context
    def finalize(context: Context, value: object) -> str:
        if bare is None or context[_QUOTES].open:
            return escape(value)
        return value if isinstance(value, Own) else bare(value)

    return finalize


def _range(*arguments: int) -> range:
    made = range(*arguments)
    if len(made) > MOST_STEPS:
        raise RefusedError(f"a range has more than {MOST_STEPS} numbers")
    return made


def _look_through(tree: nodes.Template, *, statements: bool) -> None:
    """Refuse what a template may not do."""
    for statement in tree.find_all(nodes.Stmt):
        if not isinstance(statement, _STATEMENTS if statements else nodes.Output):
            there_is = "values, if, for and set" if statements else "values in {{ }} alone"
            _refuse(statement, f"{type(statement).__name__.lower()} cannot be used here: there are {there_is}")
    for reference in tree.find_all(nodes.NSRef):
        _refuse(reference, "only a name of its own can be set")
    for loop in tree.find_all(nodes.For):
        if loop.recursive:
            _refuse(loop, "recursive cannot be used here")
    _look_at_names(tree)


def _look_at_names(tree: nodes.Template) -> None:
    """Refuse names that are not the template's to use."""
    names: list[nodes.Name | nodes.Filter] = [*tree.find_all(nodes.Name), *tree.find_all(nodes.Filter)]
    for each in names:
        if each.name.startswith("_"):
            _refuse(each, "a name that begins with _ is none of a template's")
    for call in tree.find_all(nodes.Call):
        target = call.node
        if isinstance(target, nodes.Getattr) and target.attr in METHODS:
            continue
        if not (isinstance(target, nodes.Name) and target.name == "range"):
            _refuse(call, f"this cannot be called: there are range and, of a value, {', '.join(METHODS)}")


def _refuse(node: nodes.Node, why: str) -> NoReturn:
    lines = (each.lineno for each in (node, *node.find_all(nodes.Node)))
    raise TemplateFault(next(filter(None, lines), None), why)


def _line(error: Exception) -> int | None:
    """The template's line that an error came from."""
    frames = reversed(traceback.extract_tb(error.__traceback__))
    return next((each.lineno for each in frames if each.filename == _FILE), None)


def _reason(error: Exception) -> str:
    """Why a template failed, without what Jinja says of it: that may quote a value."""
    if isinstance(error, RefusedError):
        return str(error)
    if isinstance(error, SecurityError):
        return "it does what a template may not"
    if isinstance(error, UndefinedError):
        return "it names something that is not told of this event"
    return f"it cannot be made of this event ({type(error).__name__})"
