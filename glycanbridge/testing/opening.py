"""Checks plugin classes and their settings as `bridge.yaml` would have them, and makes instances as the bridge does."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, SecretStr

from glycanbridge.bridge_yaml import BridgeYaml
from glycanbridge.destinations import Destinations, open_destinations
from glycanbridge.errors import SettingsError
from glycanbridge.plugins import InstalledPlugin, plugin_made_by
from glycanbridge.problems import validate
from glycanbridge.settings import DestinationSettings, Settings, load
from glycanbridge.testing.samples import SECRET

Told = Mapping[str, object]
"""What stands under a key in `bridge.yaml`; a `Path` and a `SecretStr` are taken for their texts."""


class Opened(NamedTuple):
    """A `bridge.yaml` that was written and read."""

    settings: Settings
    destinations: Destinations


def make_plugin(plugin: type, settings: Told | None = None, *, folder: Path, **destination: object) -> Any:
    """An instance of a plugin class, made as the bridge makes it.

    `settings` are as they stand in `bridge.yaml`, references such as `${file:token}` included; relative paths are taken
    from `folder`. `destination`: what else stands there, such as `timeout_s=5`.

    Raises `SettingsError` with every mistake in the settings, `PluginError` for a class that is no plugin, and whatever
    its `__init__` raises.
    """
    made_by = plugin_made_by(plugin, name=name_of(plugin), where=_where(plugin))
    return made_by.make(plugin_settings(plugin, settings, folder=folder, **destination))


def plugin_settings(plugin: type, settings: Told | None = None, *, folder: Path, **destination: object) -> BaseModel:
    """The settings of a plugin class, checked as those in `bridge.yaml`. See `make_plugin`."""
    name = name_of(plugin)
    made_by = plugin_made_by(plugin, name=name, where=_where(plugin))
    source = _written(folder, {name: {"plugin": name, "settings": dict(settings or {}), **destination}}, {})
    own: DestinationSettings = load(source).destinations[name]
    loc = ("destinations", name, "settings")
    context = {"timeout_s": own.timeout_s, "events": own.events or made_by.event_types}  # as a bridge gives it
    made, problems = validate(made_by.model, dict(own.settings), source, loc, **context)
    if made is None:
        raise SettingsError(problems)
    return made


def open_all(folder: Path, destinations: Mapping[str, Told], **more: object) -> Opened:
    """The destinations of a `bridge.yaml` whose `plugin:` is a class; `more`: what else stands in it.

    Raises `SettingsError` with every mistake, and `PluginError` for a class that is no plugin.
    """
    classes = {each["plugin"] for each in destinations.values()}
    named: dict[Any, str] = {}
    for each in classes:
        name = name_of(each)
        named[each] = name if name not in named.values() else f"{name}-{len(named)}"
    installed = [
        InstalledPlugin(name, _where(each), "", plugin_made_by(each, name=name, where=_where(each)), None)
        for each, name in named.items()
    ]
    told = {name: {**each, "plugin": named[each["plugin"]]} for name, each in destinations.items()}
    source = _written(folder, told, more)
    settings = load(source)
    opened, problems = open_destinations(settings, source, installed=installed)
    if problems:
        raise SettingsError(problems)
    return Opened(settings, opened)


def name_of(plugin: object) -> str:
    """The name that a plugin class goes by in a test: `Hello` is `hello`."""
    return re.sub(r"[^a-z0-9-]+", "-", getattr(plugin, "__name__", "plugin").lower()).strip("-") or "plugin"


def _where(plugin: object) -> str:
    return f"{getattr(plugin, '__module__', '?')}:{getattr(plugin, '__qualname__', plugin)}"


def _written(folder: Path, destinations: Mapping[str, Told], more: Told) -> BridgeYaml:
    """JSON is YAML. The journal and the dead letters are in the folder, not below it: there is nothing else in it."""
    config = {"receiver": {"secrets": [SECRET]}, **more, "destinations": destinations}
    file = folder / "bridge.yaml"
    file.write_text(json.dumps(config, indent=1, default=_as_text), encoding="utf-8")
    return BridgeYaml(file)


def _as_text(value: object) -> object:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    raise TypeError(f"a {type(value).__name__} cannot stand in bridge.yaml")
