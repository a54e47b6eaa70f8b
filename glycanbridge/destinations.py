"""Plugins configured: what each destination takes, on what terms, and which plugin does it.

The journal decides who is owed what; a lane's host calls the plugin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from glycanbridge.attempt import Attempts
from glycanbridge.bridge_yaml import BridgeYaml
from glycanbridge.circuit import Brake
from glycanbridge.delivery import Claim, Outcome, Result, Scope, Settlement, settle
from glycanbridge.errors import PluginError, Problem, told_to_people, without_text
from glycanbridge.event_types import EVENT_TYPES
from glycanbridge.events import Event
from glycanbridge.journal import Terms
from glycanbridge.places import files_in
from glycanbridge.plugins import InstalledPlugin, Plugin, installed_plugins, usable_plugin
from glycanbridge.problems import validate
from glycanbridge.rehearsal import killed_by
from glycanbridge.retry import Schedule
from glycanbridge.settings import DestinationSettings, RetrySettings, Settings


class Destination:
    """A plugin switched on under a name in `bridge.yaml`.

    One whose plugin cannot be used (`error` says why) still takes what it is owed, and delivers it once it can.
    """

    def __init__(
        self,
        *,
        name: str,
        settings: DestinationSettings,
        retry: RetrySettings,
        folder: Path,
        plugin: Plugin | None = None,
        make: Callable[[], object] | None = None,
        error: str | None = None,
    ) -> None:
        """`make` makes an instance of the plugin; `folder` is that of `bridge.yaml`."""
        self.name = name
        self.settings = settings
        self.retry = retry
        self.folder = folder
        self.error = error
        self.plugin_file = plugin.file if plugin else None
        self.outdated = plugin.warnings if plugin else ()
        """What its plugin uses that a later version will not have."""
        self._make = make
        self._schedule = Schedule(retry.schedule_s)
        self._event_types = plugin.event_types if plugin else EVENT_TYPES
        circuit = settings.circuit
        self.terms = Terms(
            lease_s=2 * settings.timeout_s + 2,  # renewed by a third of it, while an attempt runs
            brake=Brake(
                failures=circuit.failures, first_wait_s=circuit.first_wait_s, longest_wait_s=circuit.longest_wait_s
            ),
            holds_unknown=settings.on_unknown == "hold",
            unknown_counts=settings.isolation == "thread",  # there a plugin can take the whole bridge with it
        )

    @property
    def enabled(self) -> bool:
        """Whether it takes new deliveries."""
        return self.settings.enabled

    @property
    def runs(self) -> bool:
        """Whether what it is owed can be delivered now."""
        return self.enabled and self.error is None

    @property
    def hindrance(self) -> str | None:
        """Why what it is owed waits, if that is so because of its settings or its plugin."""
        return self.error if self.enabled else "disabled"

    def takes(self, event_type: str, practice_id: str | None = None) -> bool:
        """Whether it is owed events of this type (and, if given, of this practice)."""
        types = self.settings.events or self._event_types
        practices = self.settings.practices
        return self.enabled and event_type in types and (not practices or practice_id in (None, *practices))

    def order_keys(self, event: Event) -> tuple[str, ...]:
        """What keeps this event in order with others, if anything does."""
        return () if self.settings.ordered_by is None else event.order_keys(self.settings.ordered_by)

    def allows(self, step: int) -> bool:
        """Whether its schedule has an attempt of this number (counts from 1)."""
        return self._schedule.allows(step)

    def settlement(self, claim: Claim, outcome: Outcome) -> Settlement:
        """What follows for a delivery from the outcome of its attempt."""
        delivered = outcome.result is Result.DELIVERED
        counts = claim.counts and outcome.scope is None
        wait_s = None if delivered else self._schedule.wait_s(claim.step, again=not counts)
        left_alone = self.terms.brake.failures > 0 and not claim.alone
        if claim.alone and outcome.scope is Scope.DESTINATION:  # nobody waits for it, and it waits ever longer
            outcome = replace(outcome, retry_after_s=(outcome.asked_s or 0.0) * claim.delivery.attempt)
        return settle(outcome, wait_s, counts=counts, holds_unknown=self.terms.holds_unknown, left_alone=left_alone)

    def attempts(self) -> Attempts:
        """A new instance of the plugin, to be called in this process.

        Raises whatever the plugin raises, and `PluginError` if it cannot be used.
        """
        if self._make is None:
            raise PluginError(self.error or f"the plugin {self.settings.plugin!r} cannot be used")
        return Attempts(self._make(), tries=self.retry.tries)


class Destinations(Mapping[str, Destination]):
    """Every destination in `bridge.yaml`, by name, in the order of the file."""

    def __init__(self, destinations: Iterable[Destination]) -> None:
        self._by_name = {each.name: each for each in destinations}
        self._takers = lru_cache(self._takers_of)  # a clinic has a few practices and thousands of events

    def __getitem__(self, name: str) -> Destination:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def owed(self, event: Event) -> dict[str, tuple[str, ...]]:
        """The names of the destinations that are owed `event`, each with what keeps it in order."""
        return {each.name: each.order_keys(event) for each in self._takers(event.type, event.practice_id)}

    def _takers_of(self, event_type: str, practice_id: str) -> list[Destination]:
        return [each for each in self._by_name.values() if each.takes(event_type, practice_id)]


def open_destinations(
    settings: Settings,
    source: BridgeYaml,
    *,
    installed: Iterable[InstalledPlugin] | None = None,
) -> tuple[Destinations, list[Problem]]:
    """The destinations of `bridge.yaml`, and what is wrong with their plugins or the plugins' settings.

    A problem here stops only the destination that it is about: an upgraded plugin must not keep the bridge from
    receiving, nor may one that ends the process as it is imported: each is rehearsed. `installed`: the plugins there
    are, where that is known already.
    """
    if installed is None:
        named = {each.plugin for each in settings.destinations.values()}
        installed = installed_plugins(named, files=settings.plugin_files, rehearse=True)
    opened = [
        _open(name, own, settings.retry_of(name), installed, source) for name, own in settings.destinations.items()
    ]
    return Destinations(destination for destination, _ in opened), [each for _, found in opened for each in found]


def problems_in(source: BridgeYaml) -> list[Problem]:
    """What is wrong with the plugins of a `bridge.yaml` that cannot be loaded, as far as its destinations are readable.

    So that `check` shows every mistake at once, and not those of the plugins' settings only when all else is mended.
    """
    found = source.data.get("destinations")
    told = found.items() if isinstance(found, dict) else ()
    readable = {
        name: own
        for name, each in told
        if (own := validate(DestinationSettings, each, source, ("destinations", name))[0]) is not None
    }
    installed = installed_plugins({own.plugin for own in readable.values()}, files=files_in(source), rehearse=True)
    return [
        problem for name, own in readable.items() for problem in _open(name, own, RetrySettings(), installed, source)[1]
    ]


def told_of_instances(destinations: Destinations, source: BridgeYaml) -> tuple[dict[str, str], list[Problem]]:
    """What leaves through each destination, in its plugin's words, and what is wrong with plugins that cannot be made.

    Each is made, asked, and closed again, in a process that may die of it first.
    """
    told, problems = {}, []
    able = [each for each in destinations.values() if each.error is None]
    for each, ended in zip(able, killed_by([partial(_leaves, each) for each in able]), strict=True):
        loc = ("destinations", each.name, "settings")
        if ended is not None:
            problems.append(source.problem(loc, f"the plugin {each.settings.plugin!r} {ended} when it is made"))
            continue
        try:
            told[each.name] = _leaves(each)
        except BaseException as error:
            why = f"the plugin {each.settings.plugin!r} does not take them: {told_to_people(error)}"
            problems.append(source.problem(loc, why))
    return told, problems


def _leaves(destination: Destination) -> str:
    attempts = destination.attempts()
    try:
        leaves = attempts.tells()
    finally:
        attempts.close()
    return " ".join(str(leaves or "its plugin does not say what leaves").split())


def _open(
    name: str,
    own: DestinationSettings,
    retry: RetrySettings,
    installed: Iterable[InstalledPlugin],
    source: BridgeYaml,
) -> tuple[Destination, list[Problem]]:
    loc = ("destinations", name)
    shared: dict[str, Any] = {"name": name, "settings": own, "retry": retry, "folder": source.folder}
    try:
        plugin = usable_plugin(own.plugin, installed, files=files_in(source))
    except PluginError as error:
        problem = source.problem((*loc, "plugin"), str(error))
        return Destination(**shared, error=str(error)), [problem]
    problems = [
        source.problem((*loc, "events", index), f"the plugin {plugin.name!r} has no hook for {event_type!r}")
        for index, event_type in enumerate(own.events or ())
        if event_type not in plugin.event_types
    ]
    try:
        context = {"timeout_s": own.timeout_s, "events": own.events or plugin.event_types}
        model, found = validate(plugin.model, dict(own.settings), source, (*loc, "settings"), **context)
    except BaseException as error:  # a settings model is somebody else's code
        told = f"the plugin {plugin.name!r} does not take them: {without_text(error)}"
        model, found = None, [source.problem((*loc, "settings"), told)]
    problems += found
    if problems:
        first = problems[0]
        unusable = f"{first.path.removeprefix(f'destinations.{name}.')}: {first.message}"
        return Destination(**shared, plugin=plugin, error=unusable), problems
    return Destination(**shared, plugin=plugin, make=lambda: plugin.make(model)), []
