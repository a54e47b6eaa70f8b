"""Rows of a CSV export: of GlycanAge's dashboard, perhaps through a spreadsheet, in whatever form it comes.

The export's format is not documented. So columns are known by GlycanAge's own names of the fields ("Report ID" is
`reportId`), or by those in `glycanage.columns`. What cannot be read for certain is an error with file and line: cells
that have moved by one column are another patient's.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

from glycanbridge.errors import ExportError
from glycanbridge.reconciling.rows import AGES, Kind, Row

_DELIMITERS = ";,\t|"
_SEPARATOR = re.compile(r"sep=([^\w\r\n])\s*", re.IGNORECASE)
"""What spreadsheets write as a first line, to tell themselves."""
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_FORMULA_TEXT = re.compile(r'="(.*)"', re.DOTALL)
_ESCAPED = re.compile(r"'(?=[\s\"'`]*[=+\-@＝＋－＠])")  # noqa: RUF001 (they begin formulas, too)
"""An apostrophe that keeps a cell from being a formula."""
_SHORTENED = re.compile(r"[0-9][.,]?[0-9]*[Ee]\+[0-9]+")
"""What a spreadsheet makes of a long number."""
_DECIMAL_COMMA = re.compile(r"[0-9]{1,3},[0-9]{1,2}")
_TOO_FEW = "its line has fewer cells than there are columns, so which is which is not certain: export it anew"
_SAVE_AGAIN = "save it as CSV UTF-8 and try again"


class Export:
    """A CSV file of what GlycanAge has. It is read twice, and never whole into memory."""

    def __init__(self, file: Path, kind: Kind, columns: Mapping[str, str]) -> None:
        """`columns`: how the columns of some fields are called. Raises `ExportError`."""
        self._file, self._kind = file, kind
        self._encoding = _encoding(file)
        told = _SEPARATOR.fullmatch(next(self._lines(), ""))
        self._first = 1 if told else 0
        """The records before the header."""
        self._delimiter, line, header = self._most_columns(told[1] if told else _DELIMITERS, columns)
        self._width = len(header)
        self._columns = _checked(f"{file}:{line}", header, kind, columns)
        self._commas = self._decimal_commas()

    @property
    def lacking(self) -> tuple[str, ...]:
        """The fields that no column is known to hold, and that are told by nothing else."""
        return tuple(each for each in self._kind.fields if each not in {*self._columns, *self._kind.optional})

    def rows(self) -> Iterator[Row]:
        """Every row, in the order of the file. Raises `ExportError`."""
        for line, cells in islice(self._records(self._delimiter), self._first + 1, None):
            place = f"{self._file}:{line}"
            if any(each.strip() for each in cells[self._width :]):
                raise ExportError(
                    f"{place}: {len(cells)} cells under {self._width} columns: a quotation mark or a delimiter is wrong"
                )
            yield Row(place, dict(self._values(place, cells)), _TOO_FEW if len(cells) < self._width else "")

    def _values(self, place: str, cells: list[str]) -> Iterator[tuple[str, str]]:
        for name, index in self._columns.items():
            text = _plain(cells[index]) if index < len(cells) else ""
            if name.endswith("Id") or name == "kitCode":
                if _SHORTENED.fullmatch(text):
                    raise ExportError(
                        f"{place}: a spreadsheet has shortened {name} to a number with E: export it anew, "
                        "and do not open the file before"
                    )
            elif name in self._commas:
                text = text.replace(",", ".")
            if text:
                yield name, text

    def _decimal_commas(self) -> set[str]:
        """The ages whose column clearly has decimal commas: one at least, and neither a point nor another comma."""
        texts = {name: index for name, index in self._columns.items() if name in AGES}
        seen: set[str] = set()
        for _, cells in islice(self._records(self._delimiter), self._first + 1, None) if texts else ():
            for name, index in list(texts.items()):
                text = _plain(cells[index]) if index < len(cells) else ""
                if "." in text or ("," in text and not _DECIMAL_COMMA.fullmatch(text)):
                    del texts[name]
                elif "," in text:
                    seen.add(name)
        return seen & texts.keys()

    def _most_columns(self, delimiters: str, columns: Mapping[str, str]) -> tuple[str, int, list[str]]:
        """The delimiter by which the header has the most columns that are known, and the header with its line."""
        read, wrong = [], []
        for each in delimiters:
            try:
                read.append((each, *self._header(each)))
            except ExportError as error:
                wrong.append(error)
        if not read:
            raise wrong[0]
        return max(read, key=lambda each: (len(_positions(each[2], self._kind, columns)), len(each[2])))

    def _header(self, delimiter: str) -> tuple[int, list[str]]:
        found = next(islice(self._records(delimiter), self._first, None), None)
        if found is None:
            raise ExportError(f"{self._file}:1: it is empty: expected a line with the names of the columns")
        return found

    def _records(self, delimiter: str) -> Iterator[tuple[int, list[str]]]:
        """Every record that is not blank, with the line in which it begins."""
        reader = csv.reader(self._lines(), delimiter=delimiter, strict=True)
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                hint = "a quotation mark has no end" if "end of data" in str(error) else str(error)
                raise ExportError(f"{self._file}:{line}: not CSV: {hint}") from None
            if any(each.strip() for each in cells):
                yield line, cells

    def _lines(self) -> Iterator[str]:
        number = 0
        try:
            with self._file.open(encoding=self._encoding, newline="") as lines:
                for number, line in enumerate(lines, 1):
                    if "\0" in line:
                        raise ExportError(f"{self._file}:{number}: a NUL byte: {_SAVE_AGAIN}")
                    yield line
        except OSError as error:
            raise _unreadable(self._file, error) from None
        except UnicodeError:
            number = _undecodable(self._file, number) if self._encoding == "utf-8-sig" else number + 1
            raise ExportError(f"{self._file}:{number}: not {self._encoding[:6].upper()}: {_SAVE_AGAIN}") from None


def _encoding(file: Path) -> str:
    if not file.is_file():  # it is read more than once
        raise ExportError(f"{file}: there is no such file")
    try:
        with file.open("rb") as opened:
            head = opened.read(4)
    except OSError as error:
        raise _unreadable(file, error) from None
    if head.startswith(_WORKBOOKS):
        raise ExportError(f"{file}: this is a spreadsheet's workbook: {_SAVE_AGAIN}")
    if len(head) == 4 and head[1] == head[3] == 0:
        return "utf-16" if head.startswith(b"\xff\xfe") else "utf-16-le"
    if len(head) == 4 and head[0] == head[2] == 0:
        return "utf-16-be"
    return next((each for mark, each in _MARKS.items() if head.startswith(mark)), "utf-8-sig")


def _undecodable(file: Path, at_least: int) -> int:
    """The line that is not UTF-8: text is read in blocks, so whoever finds out does not know it."""
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return at_least + 1


def _unreadable(file: Path, error: OSError) -> ExportError:
    return ExportError(f"{file}: cannot be read: {error.strerror or type(error).__name__}")


def _plain(cell: str) -> str:
    """What is meant by a cell: without blanks around it, and without what keeps a spreadsheet from reading it."""
    text = cell.strip()
    as_text = _FORMULA_TEXT.fullmatch(text)
    return as_text[1] if as_text else _ESCAPED.sub("", text, count=1) if text.startswith("'") else text


def _name(header: str) -> str:
    return re.sub(r"[\s_-]+", "", header).casefold()


def _positions(header: list[str], kind: Kind, columns: Mapping[str, str]) -> dict[str, list[int]]:
    """Where each field's columns are; more than one is a mistake."""
    names = [_name(each) for each in header]
    found, taken = {}, set()
    for field in sorted(kind.fields, key=lambda each: each not in columns):  # what is told goes before what is guessed
        wanted = _name(columns.get(field, field))
        indexes = [index for index, name in enumerate(names) if name == wanted and index not in taken]
        if indexes:
            found[field] = indexes
            taken |= set(indexes)
    return found


def _checked(place: str, header: list[str], kind: Kind, columns: Mapping[str, str]) -> dict[str, int]:
    """The column of each field that has one. Raises `ExportError`: without what a line without names may hold."""
    positions = _positions(header, kind, columns)
    for field, indexes in positions.items():
        if len(indexes) > 1:
            where = " and ".join(str(index + 1) for index in indexes)
            raise ExportError(f"{place}: the columns {where} are both {field}: remove one, or see glycanage.columns")
    for field in kind.fields:
        if field in positions or (field not in columns and field != kind.key[0]):
            continue
        wanted = columns.get(field, field)
        names = {_name(each): each.strip() for each in header if not re.search(r"[0-9]", each)}
        close = get_close_matches(_name(wanted), names, n=1)
        meant = f": did you mean {names[close[0]]!r}?" if close else "."
        raise ExportError(
            f"{place}: no column is called {wanted!r}{meant} Known are {', '.join(kind.fields)}, in any case, with "
            "blanks, - or _; glycanage.columns tells other names"
        )
    return {field: indexes[0] for field, indexes in positions.items()}
