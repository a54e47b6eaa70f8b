"""The installed plugins: found by their entry points, imported one by one, and checked against the contract.

A plugin that is broken in any way is one clear line, and stops only the destinations that use it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction

import pluggy
from pydantic import BaseModel

from glycanbridge.errors import PluginError, without_text
from glycanbridge.event_types import EVENT_TYPES
from glycanbridge.hookspecs import GROUP, Hooks, hook_name
from glycanbridge.problems import did_you_mean


class _NoSettings(BaseModel, extra="forbid", frozen=True):
    """The settings model of a plugin that has none."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """An installed plugin that can be used."""

    name: str
    made_by: type
    model: type[BaseModel]
    event_types: tuple[str, ...]
    """The event types that it has a hook for."""


@dataclass(frozen=True, slots=True, order=True)
class InstalledPlugin:
    """An entry point in the group `glycanbridge`: what is in it, or why it cannot be used."""

    name: str
    distribution: str
    version: str
    plugin: Plugin | None
    error: str | None


def installed_plugins(names: Iterable[str] | None = None) -> list[InstalledPlugin]:
    """The installed plugins (only those named are imported); a broken one costs nobody but itself."""
    points = sorted(entry_points(group=GROUP), key=lambda point: point.name)
    wanted = points if names is None else [point for point in points if point.name in set(names)]
    return [_look_at(point, [each for each in points if each.name == point.name]) for point in wanted]


def _look_at(point: EntryPoint, namesakes: list[EntryPoint]) -> InstalledPlugin:
    where = sorted(f"{each.dist.name} {each.dist.version}" if each.dist else each.value for each in namesakes)
    distribution, version = (point.dist.name, point.dist.version) if point.dist else (point.value, "")
    if len(namesakes) > 1:
        error = f"several installed packages have a plugin of this name: {', '.join(where)}; remove all but one"
        return InstalledPlugin(point.name, distribution, version, None, error)
    try:
        return InstalledPlugin(point.name, distribution, version, load_plugin(point), None)
    except PluginError as reason:
        return InstalledPlugin(point.name, distribution, version, None, str(reason))
    except BaseException as reason:  # a class can be odd in more ways than we know of
        return InstalledPlugin(point.name, distribution, version, None, without_text(reason))


def load_plugin(point: EntryPoint) -> Plugin:
    """The plugin behind an entry point. Raises `PluginError` with the reason if it cannot be used."""
    try:
        found = point.load()
    except BaseException as error:  # an import can end in anything, SystemExit included
        raise PluginError(f"{point.value} cannot be imported: {type(error).__name__}: {error}") from error
    return plugin_made_by(found, name=point.name, where=point.value)


def plugin_made_by(found: object, *, name: str, where: str) -> Plugin:
    """The plugin that a class makes, under a name; `where` the class is, for the reason.

    Raises `PluginError` with the reason if it cannot be used.
    """
    if not isinstance(found, type):
        raise PluginError(f"{where} is not a class")
    model = getattr(found, "Settings", _NoSettings)
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise PluginError(f"{where}.Settings is not a pydantic model")
    hooks = _check_hooks(found, where)
    return Plugin(name, found, model, tuple(each for each in EVENT_TYPES if hook_name(each) in hooks))


def usable_plugin(name: str, installed: Iterable[InstalledPlugin]) -> Plugin:
    """The plugin of this name among `installed`. Raises `PluginError` if there is none or it cannot be used."""
    for each in installed:
        if each.name == name and each.plugin is not None:
            return each.plugin
        if each.name == name:
            raise PluginError(f"the plugin {name!r} ({each.distribution}) cannot be used: {each.error}")
    known = {point.name for point in entry_points(group=GROUP)}
    raise PluginError(f"no plugin {name!r} is installed{did_you_mean(name, known)}")


def _check_hooks(plugin: type, where: str) -> set[str]:
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
    if not any(hook_name(each) in marked for each in EVENT_TYPES):
        raise PluginError(f"{where} has no hook for any event")
    return marked


def plugin_manager() -> pluggy.PluginManager:
    """A manager that knows our hooks and no plugin yet."""
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(Hooks)
    return manager
