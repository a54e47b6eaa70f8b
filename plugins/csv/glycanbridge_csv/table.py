"""Rows as the lines of a CSV file, and lines as rows again."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from glycanbridge_csv.cells import Form
from glycanbridge_csv.columns import keys
from glycanbridge_csv.rows import Row

Key = tuple[str, ...]
"""What tells a row from every other: its delivery and, in an assignment, its set."""


class Table:
    """How the files of one event type are written and read."""

    def __init__(self, columns: Sequence[str], form: Form, delimiter: str) -> None:
        self._columns = columns
        self._form = form
        self._delimiter = delimiter
        self._keys = keys(columns)
        self._end = form.shape(columns[-1])
        self._titles = [form.title(name) for name in columns]
        self.header = self._line(self._titles)

    def lines(self, rows: Iterable[Row]) -> dict[Key, bytes]:
        """The lines of some rows, each by its key."""
        cells = [[self._form.cell(name, row.get(name)) for name in self._columns] for row in rows]
        return {self._key(each): self._line(each) for each in cells}

    def key(self, line: bytes) -> Key:
        """What tells the row in a line from every other."""
        return self._key(self._cells(line))

    def is_header(self, line: bytes) -> bool:
        """Whether a file's first line is ours."""
        return line == self.header or (line.endswith(b"\n") and self._cells(line) == self._titles)

    def is_whole(self, line: bytes) -> bool:
        """Whether only the line end is missing: then the last cell, which has a fixed shape, is there to the end."""
        cells = self._cells(line, strict=True)
        return len(cells) == len(self._columns) and self._end.fullmatch(cells[-1]) is not None

    def _line(self, cells: Iterable[str]) -> bytes:
        text = io.StringIO(newline="")
        csv.writer(text, delimiter=self._delimiter, lineterminator="\r\n").writerow(cells)
        return text.getvalue().encode()

    def _cells(self, line: bytes, *, strict: bool = False) -> list[str]:
        """The cells of one line of a file; none if it is not CSV: somebody edited it."""
        try:
            return next(csv.reader([line.decode("utf-8-sig", "replace")], delimiter=self._delimiter, strict=strict), [])
        except csv.Error:
            return []

    def _key(self, cells: Sequence[str]) -> Key:
        return tuple([cells[place] for place in self._keys if place < len(cells)])
