"""Shows rows: as a table for people, or as one JSON object a line for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click

Row = Mapping[str, Any]
LONGEST_CELL = 80
"""Characters of a cell in a table; --json and `show` have all of it."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso(moment: int | None) -> str | None:
    """Milliseconds since the epoch as ISO 8601 in UTC."""
    if moment is None:
        return None
    return (_EPOCH + timedelta(milliseconds=moment)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def show_rows(rows: Sequence[Row], *, as_json: bool, columns: Sequence[str], nothing: str) -> None:
    """Print `rows`: all of each as JSON, or `columns` as a table; say `nothing` on stderr if there are none."""
    if as_json:
        for row in rows:
            click.echo(json.dumps(row))
    elif rows:
        _show_table([[_cut(_cell(row[column])) for column in columns] for row in rows], columns)
    else:
        click.echo(nothing, err=True)


def show_row(row: Row, *, as_json: bool) -> None:
    """Print one row whole: as JSON on a line, or a line for each of its values."""
    if as_json:
        click.echo(json.dumps(row))
        return
    width = max(map(len, row))
    for name, value in row.items():
        if isinstance(value, list):
            click.echo(f"{name}:")
            for each in value:
                click.echo("  " + "  ".join(f"{key}={_cell(told)}" for key, told in each.items() if told is not None))
        elif isinstance(value, dict):
            click.echo(f"{name}:")
            click.echo("\n".join("  " + _cell(line) for line in json.dumps(value, indent=2).splitlines()))
        else:
            click.echo(f"{name:<{width}}  {_cell(value)}")


def _show_table(cells: list[list[str]], columns: Sequence[str]) -> None:
    heads = [column.replace("_", " ").upper() for column in columns]
    widths = [max(len(line[index]) for line in [heads, *cells]) for index in range(len(columns))]
    for line in [heads, *cells]:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cut(cell: str) -> str:
    return cell if len(cell) <= LONGEST_CELL else f"{cell[: LONGEST_CELL - 3]}..."


def _cell(value: object) -> str:
    """A value on one line; what could steer a terminal is shown as a question mark."""
    if value is None:
        return "-"
    return "".join(character if character.isprintable() else "?" for character in str(value))
