"""What stands in a plugin's README: its sections, and the tables in them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_HEADING = re.compile(r"(#{1,6}) +(.*?)(?: +#+)?")
_UNDERLINE = re.compile(r" {0,3}(?:(=+)|-+)")
_FENCE = re.compile(r" {0,3}(```|~~~)")
_RULE = re.compile(r"\|?( *:?-+:? *\|)+( *:?-+:? *)?")
_CELLS = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True, slots=True)
class Table:
    """A table's column heads, in small letters, and its rows."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def column(self, name: str) -> list[str]:
        """The cells of a column; none if there is no such column."""
        if name not in self.columns:
            return []
        at = self.columns.index(name)
        return [row[at] for row in self.rows if len(row) > at]


@dataclass(frozen=True, slots=True)
class Section:
    """What stands under a heading, that of inner headings included."""

    title: str
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join(self.lines).strip()

    def tables(self) -> Iterator[Table]:
        """The tables in it."""
        for number, line in enumerate(self.lines):
            if number and _RULE.fullmatch(line.strip()) and "|" in self.lines[number - 1]:
                rows = []
                for row in self.lines[number + 1 :]:
                    if "|" not in row:
                        break
                    rows.append(_cells(row))
                yield Table(tuple(cell.lower() for cell in _cells(self.lines[number - 1])), tuple(rows))


class Readme:
    """The sections of a README, or of several that belong together."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.sections = [section for text in texts for section in _sections(text)]

    def under(self, title: str) -> list[Section]:
        """The sections with this title, in whatever letters; those that say nothing are none."""
        return [each for each in self.sections if each.title.lower() == title.lower() and each.text]

    def first_cells(self) -> set[str]:
        """What stands between backticks in the first cell of any row."""
        cells = (row[0] for section in self.sections for table in section.tables() for row in table.rows)
        return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}

    def quoted(self) -> set[str]:
        """Every word that stands between backticks or in a code block, wherever."""
        texts = (text for section in self.sections for text in re.findall(r"(`+)(.+?)\1", section.text, re.DOTALL))
        return {word for _, text in texts for word in re.findall(r"[\w-]+", text)}


def _sections(text: str) -> Iterator[Section]:
    lines = text.splitlines()
    headings = list(_headings(lines))
    for at, (number, height, level, title) in enumerate(headings):
        after = (there for there, _, other, _ in headings[at + 1 :] if other <= level)
        yield Section(title, tuple(lines[number + height : next(after, len(lines))]))


def _headings(lines: list[str]) -> Iterator[tuple[int, int, int, str]]:
    """Where the headings are, in how many lines, how deep, and what they say; a `#` in a code block is none."""
    fence = None
    for number, line in enumerate(lines):
        fenced = _FENCE.match(line)
        if fenced:
            fence = fenced[1] if fence is None else None if fence == fenced[1] else fence
        elif fence is None and (found := _HEADING.fullmatch(line.rstrip())):
            yield number, 1, len(found[1]), found[2].strip()
        elif fence is None and number and (found := _UNDERLINE.fullmatch(line.rstrip())):
            title = lines[number - 1].strip()
            if title and "|" not in title and not _HEADING.fullmatch(title):
                yield number - 1, 2, 1 if found[1] else 2, title


def _cells(row: str) -> tuple[str, ...]:
    inner = row.strip().removeprefix("|")
    inner = inner[:-1] if inner.endswith("|") and not inner.endswith("\\|") else inner
    return tuple(cell.strip() for cell in _CELLS.split(inner))
