"""What may stand under `settings` of a CSV destination in `bridge.yaml`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from glycanbridge import EVENT_TYPES, LocalPath, Personal, Timeout
from glycanbridge_csv.cells import ISO
from glycanbridge_csv.columns import AssignmentColumn, KitColumn, OrderColumn, ReportColumn, layout, tellable
from glycanbridge_csv.paths import Rotation

Name = TypeVar("Name", bound=str)


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; no name at all; a part of names, such as "Europe"
        raise ValueError("expected an IANA time zone, such as Europe/Zagreb or UTC") from None
    return name


def _date_format(text: str) -> str:
    parts = re.fullmatch(r"(DD|MM|YYYY)([./-])(DD|MM|YYYY)\2(DD|MM|YYYY)\.?", text)
    if text != ISO and (parts is None or len(set(parts.group(1, 3, 4))) < 3):
        raise ValueError("expected iso, or DD, MM and YYYY with . or / or - between them, such as DD.MM.YYYY")
    return text


def _file_name(name: str) -> str:
    if re.fullmatch(r"[^/\\:\0]+", name) is None or name in {".", ".."}:
        raise ValueError("expected the name of a file in the directory, such as .mounted")
    return name


def _each_once(names: tuple[Name, ...]) -> tuple[Name, ...]:
    twice = next((name for number, name in enumerate(names) if name in names[:number]), None)
    if twice is not None:
        raise ValueError(f"expected each column once, and {twice} stands there again")
    return names


Chosen = Annotated[tuple[Name, ...], Field(min_length=1), AfterValidator(_each_once)]
_MODEL = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)


class Columns(BaseModel):
    """Which columns the files of an event type have, and in which order."""

    model_config = _MODEL | ConfigDict(alias_generator=lambda name: name.replace("_", "-"))

    order_status_changed: Chosen[OrderColumn] | None = None
    """Columns for orders; default: all that may be told."""
    assignment_status_changed: Chosen[AssignmentColumn] | None = None
    """Columns for assignments; default: all that may be told."""
    kit_received: Chosen[KitColumn] | None = None
    """Columns for received kits; default: all that may be told."""
    report_ready: Chosen[ReportColumn] | None = None
    """Columns for reports; default: all that may be told."""

    def of(self, event_type: str) -> Sequence[str] | None:
        """Those of an event type; `None` if nobody chose."""
        chosen: Sequence[str] | None = getattr(self, event_type.replace("-", "_"))
        return chosen


class CsvSettings(BaseModel):
    """The settings of one CSV destination in `bridge.yaml`."""

    model_config = _MODEL

    directory: LocalPath
    """Where the files go; made (0700) if it is missing. Relative paths are taken from the folder of `bridge.yaml`."""
    marker: Annotated[str, AfterValidator(_file_name)] | None = None
    """The name of a file that has to be in `directory`, such as `.mounted`; without it nothing is made or written."""
    folder_per_practice: bool = False
    """Give each practice a folder of its own in `directory`."""
    rotate: Rotation = "month"
    """How often a new file begins: each day, month or year of `time_zone`, or never."""
    time_zone: Annotated[str, AfterValidator(_time_zone)] = "UTC"
    """An IANA name, such as `Europe/Zagreb`: decides the month of an event, and the local times in its row."""
    personal: Personal = Personal.FULL
    """How much of a patient may be told: `none`, `ids` or `full`."""
    columns: Columns = Columns()
    """By event type, which columns its files have, and in which order; default: all that may be told."""
    bom: bool = False
    """Begin a new file with a UTF-8 byte order mark: without one, Excel takes UTF-8 for another encoding."""
    delimiter: Literal[",", ";"] = ","
    """What stands between cells; `;` where the decimal sign is a comma, as Excel expects it there."""
    decimal: Literal[".", ","] = "."
    """The decimal sign of ages."""
    date_format: Annotated[str, AfterValidator(_date_format)] = ISO
    """How local dates and times are written: `iso`, or a pattern for spreadsheets such as `DD.MM.YYYY`."""
    lock_timeout_s: Timeout = 5
    """How long to wait (seconds) while another lane or process writes to the same file."""

    @field_validator("columns")
    @classmethod
    def _can_be_written(cls, columns: Columns, info: ValidationInfo) -> Columns:
        personal = info.data.get("personal", Personal.FULL)  # not there: it was wrong itself
        problems = [each for event_type in EVENT_TYPES for each in _problems(event_type, columns, personal)]
        if problems:
            raise ValidationError.from_exception_data("columns", problems)
        return columns


def _problems(event_type: str, columns: Columns, personal: Personal) -> list[InitErrorDetails]:
    """What keeps chosen columns from being written, each with its place in the list."""
    chosen, may = columns.of(event_type), tellable(event_type, personal)
    if chosen is None:
        return []
    told = f"expected no such column at personal: {personal}"
    problems = [_problem(told, (event_type, n), name) for n, name in enumerate(chosen) if name not in may]
    try:
        layout(event_type, chosen, personal)
    except ValueError as error:
        problems.append(_problem(str(error), (event_type,), chosen))
    return problems


def _problem(message: str, loc: tuple[str | int, ...], value: object) -> InitErrorDetails:
    return InitErrorDetails(type=PydanticCustomError("columns", "{told}", {"told": message}), loc=loc, input=value)
