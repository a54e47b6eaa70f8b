"""Where a plugin was made: the folder with its tests, found by what pip has noted (PEP 610), or as somebody says."""

from __future__ import annotations

import json
import re
import tomllib
from importlib.metadata import Distribution
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from glycanbridge.errors import PluginError

_IN_INI = re.compile(r"^ignore_errors\s*[=:]\s*(true|1|yes|on)\b", re.IGNORECASE | re.MULTILINE)
_IN_CODE = re.compile(r"^# *mypy: .*ignore-errors", re.MULTILINE)
SHOW_IT = "name its folder with --source"


def noted_source(distribution: Distribution) -> tuple[Path | None, str]:
    """The folder that the package was installed from, or `None` and why there is none to look into."""
    try:
        told = json.loads(distribution.read_text("direct_url.json") or "{}")
        parts = urlsplit(str(told.get("url", "")))
    except ValueError:
        return None, f"what pip has noted of it cannot be read; {SHOW_IT}"
    if "dir_info" not in told or parts.scheme != "file":
        return None, f"it was not installed from a folder, so its tests are not here; {SHOW_IT}"
    folder = Path(url2pathname(parts.path))
    if not folder.is_dir():
        return None, f"it was installed from {folder}, which is gone; {SHOW_IT}"
    return folder, ""


def check_source(folder: Path, package: str) -> None:
    """Raises `PluginError` if this is not the folder of the package."""
    file = folder / "pyproject.toml"
    try:
        named = tomllib.loads(file.read_text("utf-8")).get("project", {}).get("name", "")
    except OSError as error:
        raise PluginError(f"{file} cannot be read: {error.strerror}; --source is the folder it is in") from error
    except ValueError as error:
        raise PluginError(f"{file} is no TOML: {error}") from error
    if _plain(str(named)) != _plain(package):
        raise PluginError(f"{file} is that of {named or 'nothing'!r}, and not of {package}")


def other_than_installed(folder: Path, distribution: Distribution) -> str | None:
    """A file of the package's code that stands otherwise in the folder, if there is one: other code would be tested."""
    for each in distribution.files or []:
        installed = Path(str(each.locate()))
        if each.suffix != ".py" or ".." in each.parts or not installed.is_file():
            continue
        there = [root / each for root in (folder, folder / "src") if (root / each).is_file()]
        if there and there[0].read_bytes() != installed.read_bytes():
            return str(each)
    return None


def switches_mypy_off(folder: Path, module: str, files: list[Path]) -> str | None:
    """The file that has mypy find nothing, whatever there is to be found in the module."""
    try:
        told = tomllib.loads((folder / "pyproject.toml").read_text("utf-8")).get("tool", {}).get("mypy", {})
    except (OSError, ValueError):
        told = {}
    of_others = [each for each in told.get("overrides", []) if not _is_of(each.get("module", ()), module)]
    if any(each.get("ignore_errors") for each in [told, *told.get("overrides", [])] if each not in of_others):
        return "pyproject.toml"
    inis = [each for name in ("mypy.ini", ".mypy.ini", "setup.cfg") if (each := folder / name).is_file()]
    off = [each for each in inis if _IN_INI.search(each.read_text("utf-8", "replace"))]
    off += [each for each in files if _IN_CODE.search(each.read_text("utf-8", "replace"))]
    return off[0].name if off else None


def _is_of(told: str | list[str], module: str) -> bool:
    names = [told] if isinstance(told, str) else told
    return any(each.partition(".")[0] in {module, "*"} for each in names)


def _plain(name: str) -> str:
    """A package's name as registries compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
