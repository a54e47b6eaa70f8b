"""Where a bridge keeps what it knows: its journal and its dead letters, as `bridge.yaml` names them.

Whoever looks at them needs nothing else of the file: neither the webhook's secret nor that every destination is right.
So looking is quick, and still possible while the file is being mended.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from glycanbridge.bridge_yaml import BridgeYaml
from glycanbridge.errors import SettingsError

T = TypeVar("T")

JOURNAL = "sqlite:///var/journal.db"
DEAD_LETTERS = "var/dead-letters"
KEYS = ("receiver", "journal", "dead_letters", "glycanage", "retry", "plugin_files", "destinations")
"""What a bridge.yaml has; with another key one of these may be meant, and the default would be a wrong place."""


class Places(NamedTuple):
    """The journal's URL, `sqlite:///PATH`, and the directory of dead letters."""

    journal: str
    dead_letters: Path


def places_in(source: BridgeYaml) -> Places:
    """The places that the file names. Raises `SettingsError` if it cannot be read, or may mean other ones."""
    problems = [each for each in source.problems if each.path in {"", *Places._fields}]
    problems += [source.problem((key,), "unknown key", at_key=True) for key in source.data if key not in KEYS]
    if problems:
        raise SettingsError(problems)
    return Places(
        journal=_place(source, "journal", JOURNAL, journal_url),
        dead_letters=_place(source, "dead_letters", DEAD_LETTERS, in_folder),
    )


def destinations_in(source: BridgeYaml) -> tuple[str, ...]:
    """The names of the destinations in the file, whatever else is wrong with them."""
    told = source.data.get("destinations")
    return tuple(told) if isinstance(told, dict) else ()


def files_in(source: BridgeYaml) -> list[Path]:
    """The plugins' files that the file names, as far as they can be read."""
    told, files = source.data.get("plugin_files"), []
    for each in told if isinstance(told, list) else ():
        if isinstance(each, str):
            with suppress(ValueError):  # whoever reads all of the file tells it
                files.append(in_folder(each, source.folder))
    return files


def journal_url(url: str, folder: Path) -> str:
    """The URL with its path taken from `folder`. Raises `ValueError` if it is no URL of a journal."""
    scheme, _, path = url.partition("///")
    if scheme != "sqlite:" or not path:
        raise ValueError("expected sqlite:///PATH (four slashes for an absolute path)")
    return f"sqlite:///{in_folder(path, folder)}"


def in_folder(path: str | Path, folder: Path) -> Path:
    """The path, taken from `folder` if it is relative. Raises `ValueError` for a `~` that names no directory."""
    try:
        return folder / Path(path).expanduser()
    except RuntimeError:
        raise ValueError("expected a path, and ~ names no home directory here") from None


def _place(source: BridgeYaml, name: str, default: str, made: Callable[[str, Path], T]) -> T:
    value = source.data.get(name, default)
    try:
        if isinstance(value, str):
            return made(value, source.folder)
        told = "expected text"
    except ValueError as error:
        told = str(error)
    raise SettingsError([source.problem((name,), told)])
