"""The plugins there are: found by their entry points or named as files, imported one by one, held to the contract.

A plugin that is broken in any way is one clear line, and stops only the destinations that use it.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction, signature
from pathlib import Path

import pluggy
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from pydantic import BaseModel

from glycanbridge.errors import ContractWarning, PluginError, without_text
from glycanbridge.event_types import BRIDGE_EVENT_TYPES, EVENT_TYPES
from glycanbridge.hookspecs import CONTRACT, GROUP, UNSAID, Hooks, hook_name
from glycanbridge.plugin_files import load_file
from glycanbridge.problems import did_you_mean
from glycanbridge.rehearsal import killed_by

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
    found = sorted([*map(_entry, entry_points(group=GROUP)), *map(_file, files)], key=lambda each: each.name)
    wanted = found if names is None else [each for each in found if each.name in set(names)]
    errors = [_refused(each, [other for other in found if other.name == each.name]) for each in wanted]
    if rehearse:  # all of them first: the import of one may start a thread, and then it cannot be done any more
        errors = [_killer(each) if error is None else error for each, error in zip(wanted, errors, strict=True)]
    return [
        _look_at(each) if error is None else _unusable(each, error) for each, error in zip(wanted, errors, strict=True)
    ]


def _entry(point: EntryPoint) -> _Found:
    distribution, version = (point.dist.name, point.dist.version) if point.dist else (point.value, "")
    return _Found(point.name, distribution, version, point.value, point.load)


def _file(path: Path) -> _Found:
    return _Found(path.stem, str(path), "", str(path), lambda: load_file(path), path)


def _killer(found: _Found) -> str | None:
    how = killed_by(found.load)
    return None if how is None else f"importing {found.place} {how}"


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
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ContractWarning)
        plugin = plugin_made_by(_imported(found), name=found.name, where=found.place)
    outdated = [each for each in told if issubclass(each.category, ContractWarning)]
    for each in told:
        if each not in outdated:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    return replace(plugin, file=found.file, warnings=tuple(dict.fromkeys(str(each.message) for each in outdated)))


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
        hint = "" if found.file else f"; `pip install {found.distribution}` brings what it needs"
        raise PluginError(f"{found.place} cannot be imported: ModuleNotFoundError: {error}{hint}") from error
    except ImportError as error:
        hint = f"; this contract is {CONTRACT}" if (error.name or "").partition(".")[0] == __package__ else ""
        raise PluginError(f"{found.place} cannot be imported: ImportError: {error}{hint}") from error
    except BaseException as error:  # an import can end in anything, SystemExit included
        raise PluginError(f"{found.place} cannot be imported: {_in_a_line(error)}") from error


def _in_a_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _check_contract(made_by: type, place: str) -> None:
    """Whether the plugin is made for this version of the contract, by its own word."""
    made_for = getattr(made_by, "contract", UNSAID)
    try:
        fits = SpecifierSet(made_for).contains(CONTRACT)
    except (InvalidSpecifier, TypeError, AttributeError):
        raise PluginError(f"{place}.contract is no range of versions, such as {UNSAID!r}") from None
    if not fits:
        raise PluginError(
            f"{place} is made for the contract {made_for}, and this GlycanBridge has {CONTRACT}: "
            "install a version of one of them that fits the other"
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
    known = {*(point.name for point in entry_points(group=GROUP)), *(each.stem for each in files)}
    raise PluginError(f"no plugin {name!r} is installed{did_you_mean(name, known)}")


def _checked_hooks(plugin: type, where: str) -> set[str]:
    """The names of the hooks that it has. Raises `PluginError` for one that would never be called, or cannot be."""
    known = {name for name in vars(Hooks) if not name.startswith("_")}
    marked = {name for name in dir(plugin) if hasattr(getattr(plugin, name, None), f"{GROUP}_impl")}
    for name in sorted(marked - known):
        raise PluginError(f"{where}.{name} is not a hook{did_you_mean(name, known)}")
    for name in sorted(dir(plugin)):
        if (name in known or name.startswith("on_")) and name not in marked:
            raise PluginError(f"{where}.{name} looks like a hook; mark it with @hookimpl, or rename it")
    for name in sorted(marked):
        method = getattr(plugin, name)
        if any(is_it(method) for is_it in (iscoroutinefunction, isgeneratorfunction, isasyncgenfunction)):
            raise PluginError(f"{where}.{name} is async or a generator: write a plain method, it runs in a thread")
    try:
        plugin_manager().register(object.__new__(plugin))
    except pluggy.PluginValidationError as error:
        raise PluginError(f"{where}: {str(error).splitlines()[-1].strip()}") from error
    if not any(hook_name(each) in marked for each in (*EVENT_TYPES, *BRIDGE_EVENT_TYPES)):
        raise PluginError(f"{where} has no hook for any event")
    return marked


def plugin_manager() -> pluggy.PluginManager:
    """A manager that knows our hooks and no plugin yet."""
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(Hooks)
    return manager
