"""The plugins there are: found by their entry points or named as files, imported one by one, held to the contract.

A plugin that is broken in any way is one clear line, and stops only the destinations that use it.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from importlib.metadata import Distribution, distributions
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction, signature
from pathlib import Path
from typing import Any

import pluggy
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from pydantic import BaseModel

from glycanbridge.errors import ContractWarning, PluginError, without_text
from glycanbridge.event_types import BRIDGE_EVENT_TYPES, EVENT_TYPES
from glycanbridge.hookspecs import CONTRACT, GROUP, UNSAID, Hooks, hook_name
from glycanbridge.plugin_files import load_file
from glycanbridge.problems import did_you_mean
from glycanbridge.rehearsal import killed_by

log = logging.getLogger(__name__)

LOAD_ONLY = "GLYCANBRIDGE_LOAD_PLUGINS"
"""The environment variable that names, with commas between them, the only plugins that may be loaded."""


class _NoSettings(BaseModel, extra="forbid", frozen=True):
    """The settings model of a plugin that has none."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """A plugin that can be used."""

    name: str
    made_by: type
    model: type[BaseModel]
    event_types: tuple[str, ...]
    """The event types that it has a hook for."""
    file: Path | None = None
    """Where it is, if it is a file that `bridge.yaml` names."""
    contract: str | None = None
    """The versions of the contract that it says it is made for."""
    warnings: tuple[str, ...] = ()
    """What of the contract it uses that will be gone some day."""

    def make(self, settings: BaseModel | None) -> object:
        """An instance of it; one whose `__init__` takes nothing has no use for settings."""
        return self.made_by(settings) if signature(self.made_by).parameters else self.made_by()


@dataclass(frozen=True, slots=True, order=True)
class InstalledPlugin:
    """A plugin there is: what is in it, or why it cannot be used."""

    name: str
    distribution: str
    """The package that it comes from, or its file."""
    version: str
    plugin: Plugin | None
    error: str | None

    @property
    def origin(self) -> str:
        """The package with its version, or the file."""
        return f"{self.distribution} {self.version}".strip()


@dataclass(frozen=True, slots=True)
class _Found:
    """A plugin that nothing of has been run yet. `place` names it in messages."""

    name: str
    distribution: str
    version: str
    place: str
    load: Callable[[], object]
    file: Path | None = None


def installed_plugins(
    names: Iterable[str] | None = None, *, files: Sequence[Path] = (), rehearse: bool = False
) -> list[InstalledPlugin]:
    """The installed plugins and those in `files` (only those named are imported); a broken one costs only itself.

    `rehearse`: each is imported in another process first, for it may be one that takes this one with it.
    """
    found = sorted([*_entries(), *map(_file, files)], key=lambda each: each.name)
    wanted = found if names is None else [each for each in found if each.name in set(names)]
    errors = [_refused(each, [other for other in found if other.name == each.name]) for each in wanted]
    hopeful = [each for each, error in zip(wanted, errors, strict=True) if error is None]
    killers: dict[int, str] = {}
    if rehearse:  # all of them first: the import of one may start a thread, and then it cannot be done any more
        hows = killed_by([each.load for each in hopeful])
        killers = {id(each): how for each, how in zip(hopeful, hows, strict=True) if how is not None}
    told = []
    for each, error in zip(wanted, errors, strict=True):
        why = f"importing {each.place} {killers[id(each)]}" if id(each) in killers else error
        told.append(_look_at(each) if why is None else _unusable(each, why))
    return told


def _entries() -> Iterator[_Found]:
    """The entry points of our group; a package whose metadata nobody can read has none, whatever package it is."""
    seen: set[str] = set()
    for package in distributions():
        try:
            points = [each for each in package.entry_points if each.group == GROUP]
        except Exception as error:  # bytes that are no text, lines that are none of such a file
            log.warning("a package's metadata cannot be read, and what it may hold is not there: %s", str(error)[:200])
            continue
        name, version = _named(package)
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key and key in seen:  # the same package further down the path, which nobody imports
            continue
        seen.add(key)
        for each in points:
            yield _Found(each.name, name or each.value, version, each.value, each.load)


def _named(package: Distribution) -> tuple[str, str]:
    """Its name and version, as far as its metadata say so."""
    try:
        return str(package.metadata["Name"] or ""), str(package.metadata["Version"] or "")
    except Exception:
        return "", ""


def _file(path: Path) -> _Found:
    return _Found(path.stem, str(path), "", str(path), lambda: load_file(path), path)


def _look_at(found: _Found) -> InstalledPlugin:
    try:
        return InstalledPlugin(found.name, found.distribution, found.version, _loaded(found), None)
    except PluginError as reason:
        return _unusable(found, str(reason))
    except BaseException as reason:  # a class can be odd in more ways than we know of
        return _unusable(found, without_text(reason))


def _unusable(found: _Found, error: str) -> InstalledPlugin:
    return InstalledPlugin(found.name, found.distribution, found.version, None, error)


def _refused(found: _Found, namesakes: Sequence[_Found]) -> str | None:
    """Why it is not even imported, if so."""
    only = os.environ.get(LOAD_ONLY)
    if only is not None and found.name not in {name.strip() for name in only.split(",")}:
        return f"not loaded: {LOAD_ONLY} names only {only or 'nothing'!r}"
    if len(namesakes) > 1:
        where = ", ".join(sorted(f"{each.distribution} {each.version}".strip() for each in namesakes))
        return f"there are several plugins of this name: {where}; remove all but one"
    return None


def _loaded(found: _Found) -> Plugin:
    """The plugin itself. Raises `PluginError` with the reason if it cannot be used."""
    with _outdated() as told, redirect_stdout(sys.stderr):  # what an import prints must not stand among our rows
        plugin = plugin_made_by(_imported(found), name=found.name, where=found.place)
    return replace(plugin, file=found.file, warnings=tuple(dict.fromkeys(told)))


@contextmanager
def _outdated() -> Iterator[list[str]]:
    """Hears what is warned of the contract; all else about warnings, filters too, is left as a plugin wants it."""
    told: list[str] = []
    shown = warnings.showwarning

    def hear(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, ContractWarning):
            told.append(str(message))
        else:
            shown(message, category, *where, **more)

    warnings.simplefilter("always", ContractWarning)
    warnings.showwarning = hear
    try:
        yield told
    finally:
        if warnings.showwarning is hear:
            warnings.showwarning = shown


def plugin_made_by(made_by: object, *, name: str, where: str) -> Plugin:
    """The plugin that a class makes, under a name; `where` the class is, for the reason.

    Raises `PluginError` with the reason if it cannot be used.
    """
    if not isinstance(made_by, type):
        raise PluginError(f"{where} is not a class")
    _check_contract(made_by, where)
    model = getattr(made_by, "Settings", _NoSettings)
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise PluginError(f"{where}.Settings is not a pydantic model")
    hooks = _checked_hooks(made_by, where)
    event_types = tuple(each for each in (*EVENT_TYPES, *BRIDGE_EVENT_TYPES) if hook_name(each) in hooks)
    return Plugin(name, made_by, model, event_types, contract=getattr(made_by, "contract", None))


def _imported(found: _Found) -> object:
    """What the plugin's entry point or file holds."""
    try:
        return found.load()
    except PluginError:
        raise
    except ModuleNotFoundError as error:
        hint = (
            ""
            if found.file
            else f"; `pip install {found.distribution}` brings what it needs, if its package names that"
        )
        raise PluginError(f"{found.place} cannot be imported: ModuleNotFoundError: {error}{hint}") from error
    except ImportError as error:
        hint = f"; this contract is {CONTRACT}" if (error.name or "").partition(".")[0] == __package__ else ""
        raise PluginError(f"{found.place} cannot be imported: ImportError: {error}{hint}") from error
    except BaseException as error:  # an import can end in anything, SystemExit included
        raise PluginError(f"{found.place} cannot be imported: {_in_a_line(error)}") from error


def _in_a_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def admits(made_by: type, version: str) -> bool:
    """Whether a plugin says that it is made for this version of the contract. Raises what a wrong range does."""
    return SpecifierSet(getattr(made_by, "contract", UNSAID)).contains(version)


def _check_contract(made_by: type, place: str) -> None:
    """Whether the plugin is made for this version of the contract, by its own word."""
    try:
        fits = admits(made_by, CONTRACT)
    except (InvalidSpecifier, TypeError, AttributeError):
        raise PluginError(f"{place}.contract is no range of versions, such as {UNSAID!r}") from None
    if not fits:
        raise PluginError(
            f"{place} is made for the contract {getattr(made_by, 'contract', UNSAID)}, and this GlycanBridge has"
            f" {CONTRACT}: install a version of one of them that fits the other"
        )


def misnamed_in_environment(installed: Iterable[InstalledPlugin]) -> list[str]:
    """What `GLYCANBRIDGE_LOAD_PLUGINS` names that there is not among all `installed`, a line each."""
    known = {each.name for each in installed}
    named = [name.strip() for name in os.environ.get(LOAD_ONLY, "").split(",")]
    return [
        f"{LOAD_ONLY} names {name!r}, which is not installed{did_you_mean(name, known)}"
        for name in named
        if name and name not in known
    ]


def usable_plugin(name: str, installed: Iterable[InstalledPlugin], *, files: Sequence[Path] = ()) -> Plugin:
    """The plugin of this name among `installed`. Raises `PluginError` if there is none or it cannot be used.

    `files` are those that `bridge.yaml` names: what may have been meant.
    """
    for each in installed:
        if each.name == name and each.plugin is not None:
            return each.plugin
        if each.name == name:
            raise PluginError(f"the plugin {name!r} ({each.origin}) cannot be used: {each.error}")
    known = {*(each.name for each in _entries()), *(each.stem for each in files)}
    raise PluginError(f"no plugin {name!r} is installed{did_you_mean(name, known)}")


def _checked_hooks(plugin: type, where: str) -> set[str]:
    """The names of the hooks that it has. Raises `PluginError` for one that would never be called, or cannot be."""
    known = {name for name in vars(Hooks) if not name.startswith("_")}
    marked = {name for name in dir(plugin) if hasattr(getattr(plugin, name, None), f"{GROUP}_impl")}
    for name in sorted(marked - known):
        raise PluginError(f"{where}.{name} is not a hook{did_you_mean(name, known)}")
    for name in sorted(dir(plugin)):
        if (name in known or name.startswith("on_")) and name not in marked:
            raise PluginError(
                f"{where}.{name} looks like a hook; mark it with @hookimpl (the innermost mark), or rename it"
            )
    for name in sorted(marked):
        method = getattr(plugin, name)
        if any(is_it(method) for is_it in (iscoroutinefunction, isgeneratorfunction, isasyncgenfunction)):
            raise PluginError(f"{where}.{name} is async or a generator: write a plain method, it runs in a thread")
    manager = plugin_manager()
    try:
        manager.register(object.__new__(plugin))
    except pluggy.PluginValidationError as error:
        raise PluginError(f"{where}: {str(error).splitlines()[-1].strip()}") from error
    for name in sorted(name for name in marked if not getattr(manager.hook, name).get_hookimpls()):
        raise PluginError(f"{where}.{name} would never be called: write it as a plain method, without specname")
    if not any(hook_name(each) in marked for each in (*EVENT_TYPES, *BRIDGE_EVENT_TYPES)):
        raise PluginError(f"{where} has no hook for any event")
    return marked


def plugin_manager() -> pluggy.PluginManager:
    """A manager that knows our hooks and no plugin yet."""
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(Hooks)
    return manager
