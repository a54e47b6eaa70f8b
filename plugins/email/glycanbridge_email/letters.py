"""Subject, text and HTML of a mail, rendered from templates: the packaged ones, or a clinic's own in their place.

Templates run in Jinja's sandbox; a value that is not there is an error, never a gap; HTML is escaped.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from jinja2 import FileSystemLoader, StrictUndefined, TemplateError, TemplateSyntaxError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from glycanbridge import EVENT_TYPES, DestinationError, Personal
from glycanbridge_email.report_files import ReportFile
from glycanbridge_email.samples import samples
from glycanbridge_email.views import in_body, in_subject, of_digest, of_digests_subject
from glycanbridge_email.words import Words, clean

PACKAGED = Path(__file__).parent / "templates"
DIGEST = "digest"
PARTS = ("subject.txt", "txt", "html")
ALARM = "delivery-dead"
REPORT = "report-ready"
NAMES = [f"{kind}.{part}" for kind in (*EVENT_TYPES, ALARM, DIGEST) for part in PARTS]
"""Every template that there is, and that a clinic may replace; `layout.html` is what the packaged HTML stands in."""
LAYOUT = "layout.html"
LONGEST_SUBJECT = 200
_JINJAS = {"self", "super", "loop", "caller", "varargs", "kwargs"}

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Letter:
    """What a mail says. Without `html` it is text alone."""

    subject: str
    text: str
    html: str
    pdf: bytes | None = field(default=None, repr=False)
    """The file that goes with it."""


class Letters:
    """The templates of one destination, compiled once. Raises `ValueError` if one of them cannot be."""

    def __init__(self, directory: Path | None) -> None:
        folders = [PACKAGED] if directory is None else [directory, PACKAGED]
        self._environment = ImmutableSandboxedEnvironment(
            loader=FileSystemLoader(folders),
            undefined=StrictUndefined,
            autoescape=lambda name: name is None or name.endswith(".html"),
            finalize=lambda value: "" if value is None else value,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,  # what `check` has seen is what is sent, until the plugin starts anew
        )
        del self._environment.filters["safe"]  # nothing of an event's is ever HTML
        try:
            self._templates = {name: self._environment.get_template(name) for name in NAMES}
        except (TemplateError, UnicodeDecodeError, OSError) as error:
            raise ValueError(_told(error, "a template")) from None

    def letter(self, kind: str, *, subject: Values, body: Values) -> Letter:
        """The letter for an event type or for `DIGEST`.

        Raises `DestinationError` if a template fails: no mail of the kind can be written until it is mended. What the
        error says is left out, as it may quote a patient's values.
        """
        try:
            return self._letter(kind, subject=subject, body=body)
        except Exception as error:
            where = _place(error) or f"a template of {kind}"
            told = f"{where}: {type(error).__name__}; mend it, try it with `glycanbridge check`, and restart the bridge"
            raise DestinationError(told) from None

    def _letter(self, kind: str, *, subject: Values, body: Values) -> Letter:
        parts = [(f"{kind}.{part}", subject if part == "subject.txt" else body) for part in PARTS]
        line, text, html = (self._templates[name].render(values) for name, values in parts)
        line = clean(" ".join(line.split())).replace("=?", "= ?")[:LONGEST_SUBJECT].strip()  # no word that is encoded
        return Letter(subject=line, text=text.strip() + "\n", html=html.strip())

    def problems(self, personal: Personal, words: Words) -> list[str]:
        """What is wrong with the templates, a line each.

        Every one is tried with sample events, and none may name a value that there never is, also where the samples do
        not come by.
        """
        found: dict[str, None] = {}
        full = {kind: body for kind, _, body in reversed(_trials(Personal.FULL, words))}
        for kind, subject, body in _trials(personal, words):
            for part in PARTS:
                values, most = (subject, subject) if part == "subject.txt" else (body, full[kind])
                if told := self._problem(f"{kind}.{part}", values, most):
                    found[told] = None
        return list(found)

    def silent_of_the_file(self, words: Words) -> list[str]:
        """The templates of a report that are the same with its file and without: nobody would miss it. A line each."""
        (report,) = (each for each in samples() if each.type == REPORT)
        with_it, without = (
            in_body(report, Personal.FULL, words, file) for file in (ReportFile(b""), ReportFile(why_missing="why"))
        )
        names = [f"{REPORT}.{part}" for part in PARTS[1:]]
        said = "it does not say whether the report is attached; show `report_file`, or ask for `attached`"
        return [f"{name}: {said}" for name in names if self._is_the_same(name, with_it, without)]

    def _is_the_same(self, name: str, one: Values, other: Values) -> bool:
        first = self._templates[name].render(one)
        return bool(first.strip()) and first == self._templates[name].render(other)

    def _problem(self, name: str, values: Values, most: Values) -> str | None:
        if unknown := self._named(name) - _names(most):
            return f"{name}: there is no {_listed(unknown)}; there is {_listed(_names(values))}"
        try:
            rendered = self._templates[name].render(values)
        except Exception as error:
            return f"{_told(error, name)}; with these settings there is {_listed(_names(values))}"
        return None if rendered.strip() or name.endswith(".html") else f"{name}: it is empty"

    def _named(self, name: str) -> set[str]:
        """The values from outside that a template names, such as `count` and `event.kit_code`."""
        tree = self._environment.parse(Path(self._templates[name].filename or name).read_text("utf-8"), name)
        names = list(tree.find_all(nodes.Name))
        own = {*self._environment.globals, *_JINJAS, "event"} | {each.name for each in names if each.ctx != "load"}
        own |= {each.name for each in tree.find_all(nodes.Macro)} | {
            each.target for each in tree.find_all(nodes.Import)
        }
        for each in tree.find_all(nodes.FromImport):
            own |= {told if isinstance(told, str) else told[1] for told in each.names}
        told = {each.name for each in names} - own
        attributes = [each for each in tree.find_all(nodes.Getattr) if isinstance(each.node, nodes.Name)]
        return told | {f"event.{each.attr}" for each in attributes if getattr(each.node, "name", "") == "event"}


def foreign_files(directory: Path) -> list[str]:
    """The templates in a clinic's directory that would never be used, each with what may have been meant.

    Names that begin with `_` are for the clinic's own parts, to be included in others.
    """
    known = {*NAMES, LAYOUT}
    found = sorted(each.name for each in directory.iterdir() if each.suffix in {".txt", ".html"})
    told = []
    for name in found:
        if name not in known and not name.startswith(("_", ".")):
            near = get_close_matches(name, known, n=1)
            told.append(f"{name} is no template's name" + (f"; did you mean {near[0]}?" if near else ""))
    return told


def _trials(personal: Personal, words: Words) -> list[tuple[str, Values, Values]]:
    """(kind, the subject's values, the body's values) of the sample events."""
    told = [(each, in_body(each, personal, words)) for each in samples()]
    trials: list[tuple[str, Values, Values]] = [(each.type, in_subject(each, words), body) for each, body in told]
    events, at = [body["event"] for each, body in told if each.type != ALARM], datetime(2023, 8, 27, 16, tzinfo=UTC)
    subject = of_digests_subject(len(events), "practice_67890", at, words)
    return [*trials, (DIGEST, subject, of_digest(events, "practice_67890", at, words))]


def _names(values: Values) -> set[str]:
    """What a template may name of `values`: those of an event with `event.` before them."""
    events = values.get("events", [values["event"]] if "event" in values else [])
    return (set(values) - {"event"}) | {f"event.{name}" for each in events for name in each}


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))


def _told(error: Exception, name: str) -> str:
    if isinstance(error, TemplateSyntaxError):
        return f"{error.name or name}, line {error.lineno}: {error.message}"
    return f"{_place(error) or name}: {error or type(error).__name__}"


def _place(error: Exception) -> str | None:
    """The template and line that an error came from."""
    frames = reversed(traceback.extract_tb(error.__traceback__))
    places = (f"{Path(each.filename).name}, line {each.lineno}" for each in frames if _is_template(each.filename))
    return next(places, None)


def _is_template(filename: str) -> bool:
    return filename.endswith((".txt", ".html"))
