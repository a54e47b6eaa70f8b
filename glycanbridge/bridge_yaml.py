"""Reads `bridge.yaml` into plain data whose every key and value knows its line and column.

YAML 1.2 by ruamel.yaml's own resolver; its composer keeps positions and shows us a key that stands twice. References
such as `${env:NAME}` are resolved here, in scalars only and after parsing, so a value can never become YAML.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from glycanbridge.errors import Problem

Loc = tuple[str | int, ...]
"""The way to a value: `("destinations", "ops", "settings", "port")`; a list's items count from 0."""

_TAG = "tag:yaml.org,2002:"
_TEXT_TAGS = {_TAG + "str", _TAG + "timestamp"}  # a date stays the text that was written
_SCALAR_TAGS = {_TAG + name for name in ("int", "float", "bool", "null")}
_REFERENCE = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<inside>[^}]*)\}|(?P<open>\{))")
_INSIDE = re.compile(r"(?P<kind>env|file|credential):(?P<name>.*?)(?::-(?P<default>.*))?", re.DOTALL)
_MADE_BY_INIT = "var/webhook-secret"
"""The only file of a reference's that `glycanbridge init` writes."""


class BridgeYaml:
    """One file, read: its data, where each piece stands, and what was wrong with it.

    `data` holds what could be read, also when there are problems, so that they can all be told at once.
    """

    def __init__(self, file: Path, *, environ: Mapping[str, str] = os.environ) -> None:
        self.file = file
        self.folder = file.absolute().parent
        self.data: dict[str, Any] = {}
        self.problems: list[Problem] = []
        self.named_files: dict[Path, Loc] = {}
        """The files that references such as `${file:path}` name, there or not, each with where it is named first."""
        self._environ = environ
        self._values: dict[Loc, tuple[int, int]] = {}
        self._keys: dict[Loc, tuple[int, int]] = {}
        self._referenced: set[Loc] = set()
        self._yaml = YAML(typ="safe", pure=True)
        self._read()

    def problem(self, loc: Loc, message: str, *, at_key: bool = False) -> Problem:
        """A problem at `loc`: at its value, at its key if so asked, or at the nearest thing around it that exists."""
        line, column = 1, 1
        for size in range(len(loc), -1, -1):
            places = (self._keys, self._values) if at_key or size < len(loc) else (self._values, self._keys)
            found = next((place[loc[:size]] for place in places if loc[:size] in place), None)
            if found:
                line, column = found
                break
        return Problem(self.file, line, column, ".".join(map(str, loc)), message)

    def came_from_reference(self, loc: Loc) -> bool:
        """Whether the value at `loc` was given by a reference: such a value is never shown."""
        return loc in self._referenced

    def _read(self) -> None:
        try:
            text = self.file.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            return self._fail("no such file; `glycanbridge init` writes one, -c names another")
        except (OSError, UnicodeDecodeError) as error:
            return self._fail(f"cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8'}")
        try:
            node = self._yaml.compose(text)
            data = {} if node is None else self._build(node, ())
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self._keys[()] = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            line = text.splitlines()[mark.line] if mark and mark.line < len(text.splitlines()) else ""
            hint = "; a ${...} inside [ ] or { } needs quotes" if "${" in line else ""
            return self._fail(f"not YAML: {error.problem or error.context}{hint}")
        except (YAMLError, RecursionError) as error:
            return self._fail(f"not YAML that can be read: {type(error).__name__}")
        if not isinstance(data, dict):
            return self._fail("expected a mapping with `receiver:`, `journal:`, `destinations:` and so on")
        self.data = data
        return None

    def _fail(self, message: str) -> None:
        self.problems.append(self.problem((), message))

    def _build(self, node: Node, loc: Loc) -> Any:
        if node.anchor is not None:  # an alias is the anchored node once more
            message = "anchors and aliases are not taken here: write the value out"
            self.problems.append(self.problem(loc, message, at_key=True))
            return None
        self._values[loc] = (node.start_mark.line + 1, node.start_mark.column + 1)
        if isinstance(node, MappingNode):
            return self._build_mapping(node, loc)
        if isinstance(node, SequenceNode):
            return [self._build(each, (*loc, index)) for index, each in enumerate(node.value)]
        return self._build_scalar(node, loc)

    def _build_mapping(self, node: MappingNode, loc: Loc) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value) if isinstance(key_node, ScalarNode) else "?"
            here = (*loc, key)
            place = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if key in mapping:
                path = ".".join(map(str, here))
                first = self._keys[here][0]
                self.problems.append(Problem(self.file, *place, path, f"stands twice; the first is in line {first}"))
                continue
            self._keys[here] = place
            mapping[key] = self._build(value_node, here)
        return mapping

    def _build_scalar(self, node: Node, loc: Loc) -> Any:
        tag = str(node.tag)
        if tag in _SCALAR_TAGS:
            try:
                return self._yaml.constructor.construct_object(node)
            except ValueError:
                self.problems.append(self.problem(loc, "this is no number that can be read"))
                return None
        if tag not in _TEXT_TAGS:
            self.problems.append(self.problem(loc, f"the tag {tag.removeprefix(_TAG)!r} is not taken here"))
            return None
        return self._resolve(str(node.value), loc)

    def _resolve(self, text: str, loc: Loc) -> str:
        def replace(match: re.Match[str]) -> str:
            if match["dollar"]:
                return "$"
            self._referenced.add(loc)
            if match["open"]:
                self.problems.append(self.problem(loc, "a reference has no end: write }, or $$ for a dollar"))
                return ""
            try:
                return self._look_up(match["inside"], loc)
            except ValueError as error:
                self.problems.append(self.problem(loc, str(error)))
                return ""

        return _REFERENCE.sub(replace, text)

    def _look_up(self, inside: str, loc: Loc) -> str:
        form = _INSIDE.fullmatch(inside)
        if form is None:
            raise ValueError(  # without what stands there: it may be a password with a dollar in it
                "this is no reference: write ${env:NAME}, ${env:NAME:-default}, ${file:path} or ${credential:name}, "
                "and $$ for a dollar"
            )
        sources: dict[str, Callable[[str], str | None]] = {
            "env": self._environ.get,
            "file": self._file,
            "credential": self._credential,
        }
        if form["kind"] == "file":
            self.named_files.setdefault(self.folder / form["name"], loc)
        value = sources[form["kind"]](form["name"])
        if value is None:
            value = form["default"]
        if value is None:
            raise ValueError(f"{self._what(form['kind'], form['name'])} and the reference has no default (:-...)")
        return value

    def _what(self, kind: str, name: str) -> str:
        if kind == "env":
            return f"the environment variable {name} is not set"
        if kind == "file":
            what_to_do = "write the secret into it, readable for the bridge's user alone"
            if self.folder / name == self.folder / _MADE_BY_INIT:
                what_to_do = "`glycanbridge init` writes it if it is missing"
            return f"the file {self.folder / name} cannot be read ({what_to_do})"
        return f"there is no systemd credential {name} (CREDENTIALS_DIRECTORY)"

    def _file(self, name: str) -> str | None:
        try:
            return (self.folder / name).read_text(encoding="utf-8-sig").rstrip("\r\n")  # Windows's tools add a BOM
        except (OSError, UnicodeDecodeError):
            return None

    def _credential(self, name: str) -> str | None:
        directory = self._environ.get("CREDENTIALS_DIRECTORY")
        return self._file(str(Path(directory) / Path(name).name)) if directory else None
