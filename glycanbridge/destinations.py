"""Plugins configured and called: one plugin, one delivery at a time.

pluggy validates and calls; the journal decides who is owed what. Each destination has a plugin manager of its
own: in one shared hook call the first plugin that raises would stop all others.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import cast

from glycanbridge.bridge_yaml import BridgeYaml, Loc
from glycanbridge.delivery import Delivery, Outcome, Result
from glycanbridge.errors import ParseError, PermanentError, PluginError, Problem, TemporaryError, without_text
from glycanbridge.events import EVENT_TYPES, Event, parse
from glycanbridge.hookspecs import hook_name
from glycanbridge.plugins import (
    InstalledPlugin,
    Plugin,
    installed_plugins,
    plugin_manager,
    usable_plugin,
)
from glycanbridge.problems import validate
from glycanbridge.retry import Schedule, with_tries
from glycanbridge.settings import DestinationSettings, RetrySettings, Settings

log = logging.getLogger(__name__)

CLOSE_S = 2.0
LONGEST_TEXT = 4096
"""Characters of a receipt or an error that are kept."""


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
        plugin: Plugin | None = None,
        instance: object | None = None,
        error: str | None = None,
    ) -> None:
        self.name = name
        self.settings = settings
        self._schedule = Schedule(retry.schedule_s)
        self.error = error
        self._tries = retry.tries
        self._event_types = plugin.event_types if plugin else EVENT_TYPES
        self._manager = plugin_manager()
        if instance is not None:
            self._manager.register(instance)

    @property
    def enabled(self) -> bool:
        """Whether it takes new deliveries."""
        return self.settings.enabled

    @property
    def runs(self) -> bool:
        """Whether what it is owed can be delivered now."""
        return self.enabled and self.error is None

    @property
    def standing(self) -> str:
        """`yes`, or why what it is owed waits."""
        if not self.enabled:
            return "no: disabled"
        return "yes" if self.error is None else f"no: {self.error}"

    @property
    def lease_s(self) -> float:
        """How long a claim holds, in seconds: longer than all tries of an attempt may take."""
        return (self._tries + 1) * self.settings.timeout_s

    def takes(self, event_type: str, practice_id: str | None = None) -> bool:
        """Whether it is owed events of this type (and, if given, of this practice)."""
        types = self.settings.events or self._event_types
        practices = self.settings.practices
        return self.enabled and event_type in types and (not practices or practice_id in (None, *practices))

    def deliver(self, delivery: Delivery) -> Outcome:
        """Hand one delivery to the plugin, with quick tries; whatever the plugin does, it ends in an outcome."""
        if not self._schedule.allows(delivery.attempt):  # the journal counts claims, also those that never ended
            told = f"the last of {delivery.attempt - 1} attempts did not come to an end"
            return Outcome(result=Result.PERMANENT, error=f"{told}: it kills the process, or the journal was away")
        try:
            return self._deliver(delivery)
        except BaseException as error:  # a plugin's SystemExit must not end a lane
            return Outcome(result=Result.TEMPORARY, error=without_text(error))

    def _deliver(self, delivery: Delivery) -> Outcome:
        try:
            receipt = with_tries(self._call(delivery), tries=self._tries)
        except PermanentError as error:
            return Outcome(result=Result.PERMANENT, error=_text(str(error)))
        except ParseError as error:  # kept by a version that understood it
            return Outcome(result=Result.PERMANENT, error=f"this version does not understand the event: {error}")
        except TemporaryError as error:
            asked_s = _seconds(error.retry_after_s)
            return Outcome(result=Result.TEMPORARY, error=_text(str(error)), retry_after_s=asked_s)
        if receipt is None:
            return Outcome(result=Result.DELIVERED)
        if not isinstance(receipt, str):
            told = f"the hook returned {type(receipt).__name__}, neither a text nor None"
            return Outcome(result=Result.TEMPORARY, error=told)
        return Outcome(result=Result.DELIVERED, receipt=_text(receipt))

    def _call(self, delivery: Delivery) -> Callable[[], object]:
        event, name = parse(delivery.body), hook_name(delivery.event_type)
        hook = getattr(self._manager.hook, name)
        if not hook.get_hookimpls():  # owed to another version of the plugin, or while it could not be looked at
            raise PermanentError(f"the plugin has no {name}")
        return lambda: hook(event=event, delivery=delivery)

    def wait_s(self, attempt: int) -> float | None:
        """The wait after a failed attempt (counts from 1); `None` when it was the last."""
        return self._schedule.wait_s(attempt)

    def check(self) -> str | None:
        """What the plugin's own `check()` found. Raises what it raises; `PluginError` if the plugin cannot be used."""
        if self.error is not None:
            raise PluginError(self.error)
        return cast("str | None", self._manager.hook.check())

    def close(self) -> None:
        """Let the plugin let go of what it holds; one that takes longer than `CLOSE_S` is left behind."""
        closing = threading.Thread(target=self._close, name=f"close-{self.name}", daemon=True)
        closing.start()
        closing.join(CLOSE_S)
        if closing.is_alive():
            log.error("the plugin does not close; it is left behind", extra={"destination": self.name})

    def _close(self) -> None:
        try:
            self._manager.hook.close()
        except BaseException as error:
            told = {"destination": self.name, "error": without_text(error)}
            log.error("the plugin could not be closed", extra=told)  # noqa: TRY400 (the text may hold a patient's values)


class Destinations(Mapping[str, Destination]):
    """Every destination in `bridge.yaml`, by name, in the order of the file."""

    def __init__(self, destinations: Iterable[Destination]) -> None:
        self._by_name = {each.name: each for each in destinations}

    def __getitem__(self, name: str) -> Destination:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def owed(self, event: Event) -> tuple[str, ...]:
        """The names of the destinations that are owed `event`."""
        return tuple(each.name for each in self._by_name.values() if each.takes(event.type, event.practice_id))

    def close(self) -> None:
        """Close every plugin."""
        for each in self._by_name.values():
            each.close()


def open_destinations(settings: Settings, source: BridgeYaml) -> tuple[Destinations, list[Problem]]:
    """The destinations of `bridge.yaml`, and what is wrong with their plugins or the plugins' settings.

    A problem here stops only the destination that it is about: an upgraded plugin must not keep the bridge from
    receiving.
    """
    installed = installed_plugins({each.plugin for each in settings.destinations.values()})
    opened = [
        _open(name, own, settings.retry_of(name), installed, source) for name, own in settings.destinations.items()
    ]
    return Destinations(destination for destination, _ in opened), [each for _, found in opened for each in found]


def problems_in(source: BridgeYaml) -> list[Problem]:
    """What is wrong with the plugins of a `bridge.yaml` that cannot be loaded, as far as its destinations are readable.

    So that `check` shows every mistake at once, and not those of the plugins' settings only when all else is mended.
    """
    found = source.data.get("destinations")
    problems = []
    for name, told in found.items() if isinstance(found, dict) else ():
        own, _ = validate(DestinationSettings, told, source, ("destinations", name))
        if own is not None:
            problems += _open(name, own, RetrySettings(), installed_plugins({own.plugin}), source)[1]
    return problems


def _open(
    name: str,
    own: DestinationSettings,
    retry: RetrySettings,
    installed: Iterable[InstalledPlugin],
    source: BridgeYaml,
) -> tuple[Destination, list[Problem]]:
    loc = ("destinations", name)
    try:
        plugin = usable_plugin(own.plugin, installed)
    except PluginError as error:
        problem = source.problem((*loc, "plugin"), str(error))
        return Destination(name=name, settings=own, retry=retry, error=str(error)), [problem]
    problems = [
        source.problem((*loc, "events", index), f"the plugin {plugin.name!r} has no hook for {event_type!r}")
        for index, event_type in enumerate(own.events or ())
        if event_type not in plugin.event_types
    ]
    instance, found = _instance(plugin, own, source, (*loc, "settings"))
    problems += found
    first = problems[0] if problems else None
    unusable = f"{first.path.removeprefix(f'destinations.{name}.')}: {first.message}" if first else None
    return Destination(name=name, settings=own, retry=retry, plugin=plugin, instance=instance, error=unusable), problems


def _instance(
    plugin: Plugin, own: DestinationSettings, source: BridgeYaml, loc: Loc
) -> tuple[object | None, list[Problem]]:
    try:
        model, problems = validate(plugin.model, dict(own.settings), source, loc)
        return (None if model is None else plugin.made_by(model)), problems
    except BaseException as error:
        return None, [source.problem(loc, f"the plugin {plugin.name!r} does not take them: {without_text(error)}")]


def _text(told: str) -> str:
    """A plugin's text as every database takes it: without lone surrogates, and not without end."""
    return told[:LONGEST_TEXT].encode("utf-8", "replace").decode()


def _seconds(told: object) -> float | None:
    """A plugin's `retry_after_s`, which may be a header's text; `None` if it is no number."""
    try:
        seconds = float(told)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return max(0.0, seconds) if seconds == seconds else None  # noqa: PLR0124 (NaN is not itself)
