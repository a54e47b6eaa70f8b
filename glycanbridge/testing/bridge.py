"""A whole bridge in a test's own process, which moves only when the test says so."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from glycanbridge.announcements import Announcer, settled, told_to
from glycanbridge.bridge import Accepted, Bridge
from glycanbridge.bridge_events import parse_kept
from glycanbridge.dead_letters import DeadLetter, DeadLetters
from glycanbridge.delivery import Delivery, Ended
from glycanbridge.errors import DeliveryError
from glycanbridge.event_types import DELIVERY_SETTLED
from glycanbridge.events import Event
from glycanbridge.journal import AttemptRow, DeliveryRow, Filter, Replay, Standing
from glycanbridge.journals import path_of
from glycanbridge.journals.sqlite import SqliteJournal
from glycanbridge.replays import chosen_deliveries, replay_of
from glycanbridge.signature import sign
from glycanbridge.testing.clock import HandClock
from glycanbridge.testing.hosts import DirectHost, direct_lane
from glycanbridge.testing.opening import Told, name_of, open_all
from glycanbridge.testing.samples import SECRET, as_body, report_source, sample_body, sample_report

_ALL = 1_000_000_000
"""No list in a test is cut off."""


class HandBridge:
    """A bridge with its destinations, its journal, its schedules and circuits, and a clock to turn by hand.

    Nothing happens by itself: `receive` takes an event, `run` makes every attempt that is due, `clock.turn` lets time
    pass. There are no ports and no processes: plugins are called in the test's own thread, without a time limit. Close
    it, or use it in a `with`.
    """

    def __init__(
        self,
        plugin: type | None = None,
        settings: Told | None = None,
        *,
        folder: Path,
        destinations: Mapping[str, Told] | None = None,
        clock: HandClock | None = None,
        **destination: object,
    ) -> None:
        """One destination, named like its plugin class (`Hello`: `hello`), or several `destinations`.

        `settings` and `destination` (`retry={"schedule_s": [5]}`, `ordered_by="kit"`) are as they stand in
        `bridge.yaml`; relative paths are taken from `folder`, where the journal is, too. In `destinations`, by name,
        stands the same, but `plugin` is a class. There is one quick try, unless `retry={"tries": 3}` says otherwise.

        Raises `SettingsError` with every mistake, `PluginError` for a class that is no plugin, and whatever its
        `__init__` raises.
        """
        told = dict(destinations or {})
        if plugin is not None:
            told[name_of(plugin)] = {"plugin": plugin, "settings": dict(settings or {}), **destination}
        self.folder = folder
        self.clock = clock or HandClock()
        self.report: bytes | DeliveryError = sample_report()
        """What `delivery.report()` gives, or the `NotYetError` or `PermanentError` that it raises, from now on."""
        self._told = told
        self._open()

    def receive(self, event: str | bytes | Event = "report-ready", /, **changes: Any) -> Accepted:
        """Take an event from GlycanAge: a type (the sample, with `sample_body`'s changes), a body, or an `Event`.

        What comes back has a `status`, `accepted`, `duplicate` or `quarantined`, and an `id`.
        """
        body = sample_body(event, **changes) if isinstance(event, str) else as_body(event)
        return self._bridge.accept(body, sign(body, SECRET))

    def run(self) -> int:
        """Make every attempt that is due now, until nothing is; how many there were.

        Who takes `delivery-settled` is told of each as soon as it has ended; that is no attempt.
        """
        before = self._made()
        while any([self._bridge.deliver_next(lane) for lane in self._lanes]):  # noqa: C419 (all of them)
            pass
        return self._made() - before

    def deliveries(self, destination: str | None = None) -> list[DeliveryRow]:
        """Every delivery, in the order in which their events came.

        Each has `id`, `event_id`, `event_type`, `destination`, `state` (`pending`, `delivered`, `dead`), `attempts`,
        `due_at` (milliseconds since the epoch, `None` once it is settled for good), `last_error` and `receipt`.
        """
        return self._journal.deliveries(Filter(destination=destination, limit=_ALL))[::-1]

    def delivery(self, destination: str | None = None) -> DeliveryRow:
        """The only delivery (of a destination). Raises `AssertionError` if there is none, or another one."""
        rows = self.deliveries(destination)
        if len(rows) != 1:
            raise AssertionError(f"there are {len(rows)} deliveries, not one: {rows}")
        return rows[0]

    def attempts(self, delivery: DeliveryRow | str) -> list[AttemptRow]:
        """Every attempt of a delivery, the first one first: each has `number`, `outcome`, `error`, `receipt`."""
        return self._journal.attempts(delivery if isinstance(delivery, str) else delivery.id)

    def dead_letters(self) -> list[DeadLetter]:
        """Every dead letter, the oldest first: each has `destination`, `reason`, `attempts` and `body`.

        Raises `DeadLetterError` if one cannot be read.
        """
        letters = []
        for each in self._dead_letters.letters():
            if not isinstance(each, DeadLetter):
                raise each
            letters.append(each)
        return letters

    def replay(self, delivery: DeliveryRow | None = None) -> int:
        """Make a delivery due again, whatever became of it, or all dead ones; how many there were. Then `run`."""
        chosen = [] if delivery is None else [self._replay_of(delivery)]
        if delivery is None:
            chosen = chosen_deliveries(Filter(), questions=self._journal, destinations=self._bridge.destinations)
        return self._journal.replay(chosen, who="test")

    def standing(self, destination: str | None = None) -> Standing:
        """How a destination stands: `circuit.open_since` (`None`: it is not left alone), `circuit.probe_at`, `trouble`.

        Times are milliseconds since the epoch.
        """
        return self._journal.standings().get(destination or self._only(), Standing())

    def plugin(self, destination: str | None = None) -> Any:
        """The instance that a destination has now."""
        return self._hosts[destination or self._only()].plugin

    def restart(self) -> None:
        """Close everything, and open it again: what a plugin kept in memory is gone, the journal is not."""
        self.close()
        self._open()

    def close(self) -> None:
        """Let the plugins go, and the journal."""
        for lane in self._lanes:
            lane.close()
        self._journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> None:
        settings, destinations = open_all(self.folder, self._told, retry={"tries": 1})
        self._hosts = {
            name: DirectHost(each, reports=self._report_of) for name, each in destinations.items() if each.runs
        }
        self._lanes = [direct_lane(host, destinations[name]) for name, host in self._hosts.items()]
        self._dead_letters = DeadLetters(settings.dead_letters, clock=self.clock)
        journal = path_of(settings.journal)
        self._journal = SqliteJournal(journal, clock=self.clock, steady=self.clock.steady)
        self._bridge = Bridge(
            secrets=[SECRET],
            journal=self._journal,
            destinations=destinations,
            dead_letters=self._dead_letters,
            announcer=Announcer(destinations, clock=self.clock, tell=self._tell),
        )

    def _report_of(self, delivery: Delivery) -> bytes:
        return report_source(self.report)(delivery)

    def _tell(self, ended: Ended) -> None:
        told = settled(ended, now=self.clock())
        practice_id = parse_kept(told.body).practice_id or None
        for lane in self._lanes:
            if lane.destination.takes(DELIVERY_SETTLED, practice_id):
                self._hosts[lane.destination.name].observe(told_to(told, lane.destination.name))

    def _made(self) -> int:
        return sum(host.made for host in self._hosts.values())

    def _only(self) -> str:
        if len(self._told) != 1:
            raise AssertionError(f"there are {len(self._told)} destinations: name one of {', '.join(self._told)}")
        return next(iter(self._told))

    def _replay_of(self, row: DeliveryRow) -> Replay:
        (event,) = [each for each in self._journal.event(row.event_id) if each.id == row.event_id]
        return replay_of(event, row.destination, self._bridge.destinations)
