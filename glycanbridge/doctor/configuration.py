"""Everything that is wrong with bridge.yaml, its destinations and its plugins: what `check` says, and `doctor`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from glycanbridge.bridge_yaml import BridgeYaml
from glycanbridge.destinations import Destinations, open_destinations, problems_in, told_of_instances
from glycanbridge.errors import PluginError, Problem, SettingsError
from glycanbridge.plugin_files import check_file
from glycanbridge.settings import Settings, load


class Configured(NamedTuple):
    """A bridge.yaml, read with all that it names."""

    settings: Settings | None
    """`None` if the file cannot be used."""
    destinations: Destinations
    """None of them, where there are no settings."""
    leaves: dict[str, str]
    """What leaves through each destination, in its plugin's words."""
    problems: list[Problem]
    """In the order of the file."""


def configured(source: BridgeYaml) -> Configured:
    """What `source` configures, and every problem in it. Each plugin is imported, in another process first."""
    try:
        settings = load(source)
    except SettingsError as error:
        return Configured(None, Destinations(()), {}, sorted({*error.problems, *problems_in(source)}))
    destinations, problems = open_destinations(settings, source)
    leaves, of_instances = told_of_instances(destinations, source)
    problems += of_instances + _problems_of_places(settings, source) + [*_problems_of_files(settings, source)]
    return Configured(settings, destinations, leaves, sorted(set(problems)))


def _problems_of_places(settings: Settings, source: BridgeYaml) -> list[Problem]:
    """What keeps files from being written where they should go, seen without writing one."""
    journal = Path(settings.journal.removeprefix("sqlite:///"))
    problems = [source.problem(("journal",), f"{journal} is a directory")] if journal.is_dir() else []
    for name, directory in (("journal", journal.parent), ("dead_letters", settings.dead_letters)):
        there = next(each for each in (directory, *directory.parents) if each.exists())
        if not there.is_dir() or not os.access(there, os.W_OK):
            problems.append(source.problem((name,), f"nothing can be written below {there}"))
    return problems


def _problems_of_files(settings: Settings, source: BridgeYaml) -> Iterator[Problem]:
    """What is wrong with plugins' files that no destination uses yet; of the others it is told there."""
    used = {each.plugin for each in settings.destinations.values()}
    for index, file in enumerate(settings.plugin_files):
        try:
            if file.stem not in used:
                check_file(file)
        except PluginError as error:
            yield source.problem(("plugin_files", index), str(error))
