"""Puts the parts together: journal, destinations, bridge, lanes, receiver; runs them and takes them down in order."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
from collections.abc import Callable
from types import FrameType

from glycanbridge.announcements import Announcer
from glycanbridge.bridge import Bridge
from glycanbridge.bridge_yaml import BridgeYaml
from glycanbridge.dead_letters import DeadLetters
from glycanbridge.destinations import Destinations, open_destinations
from glycanbridge.dispatcher import Dispatcher
from glycanbridge.errors import JournalUnavailable, Problem
from glycanbridge.events import build_models
from glycanbridge.glycanage.notes import SecretNotes
from glycanbridge.glycanage.reports import open_reports
from glycanbridge.hosts.forks import Forks
from glycanbridge.http_server import HttpServer, bind
from glycanbridge.journal import Terms
from glycanbridge.journals.opening import open_journal
from glycanbridge.keeper import Keeper
from glycanbridge.observers import open_observers
from glycanbridge.receiver import Readiness, create_app
from glycanbridge.reconciler import Reconciler
from glycanbridge.settings import Settings, warnings

log = logging.getLogger(__name__)

LAST_ATTEMPTS_S = 5.0
"""How long a stop waits for running attempts; one that runs longer is made again after the next start."""


class Server:
    """A whole bridge. Raises, when made, `ListenError` for the address, and what `open_journal` raises."""

    def __init__(self, settings: Settings, source: BridgeYaml) -> None:
        build_models()
        for line in warnings(settings):
            log.warning(line)
        self._receiver = settings.receiver
        self._socket = bind(settings.receiver.host, settings.receiver.port)
        self._destinations, problems = open_destinations(settings, source)  # while there is one thread
        self._journal = open_journal(settings.journal)
        _log(self._destinations, problems)
        dead_letters = DeadLetters(settings.dead_letters)
        dead_letters.tidy()
        self._forks = Forks()
        self._observers = open_observers(list(self._destinations.values()), forks=self._forks)
        bridge = Bridge(
            secrets=[each.get_secret_value() for each in settings.receiver.secrets],
            journal=self._journal,
            destinations=self._destinations,
            dead_letters=dead_letters,
            announcer=Announcer(self._destinations, tell=self._observers.tell),
        )
        self._reports = open_reports(settings.glycanage)
        self._dispatcher = Dispatcher(bridge, self._forks, reports=self._reports.file_of)
        self._keeper = Keeper(
            journal=self._journal,
            destinations=self._destinations,
            dead_letters=dead_letters,
            reports=self._reports,
            notes=SecretNotes(self._journal, bridge.secrets),
        )
        self._reconciler = Reconciler(settings.glycanage, journal=self._journal, destinations=self._destinations)
        self._readiness = Readiness(self._journal.probe, self._dispatcher.alive)
        self._http = HttpServer(
            create_app(
                bridge,
                path=settings.receiver.path,
                max_body_bytes=settings.receiver.max_body_bytes,
                readiness=self._readiness,
            ),
            listening=self._socket,
            max_body_bytes=settings.receiver.max_body_bytes,
            request_deadline_s=settings.receiver.request_deadline_s,
        )

    @property
    def url(self) -> str:
        """Where GlycanAge's events are taken, with the port that was really bound."""
        host, port = self._socket.getsockname()[:2]
        if self._socket.family == socket.AF_INET6:
            host = f"[{host}]"
        return f"http://{host}:{port}{self._receiver.path}"

    @property
    def stops(self) -> bool:
        """Whether it takes no more, since a signal came or `stop` was called."""
        return self._readiness.stopping

    @property
    def destinations(self) -> Destinations:
        """Every destination, those that cannot run too."""
        return self._destinations

    def stop(self) -> None:
        """Let `run` come to its end, in order. Any thread may call it."""
        self._readiness.stopping = True
        self._http.stop()

    def run(self, on_listening: Callable[[], None]) -> None:
        """Serve until SIGTERM or SIGINT; then answer running requests, let running attempts end, and close.

        A second signal ends the process at once: what is not settled is delivered after the next start.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self._rescue_of_idle()
        self._keeper.start()
        self._observers.start()
        self._dispatcher.start()
        self._reconciler.start()
        gc.freeze()  # what is here now stays: to look through it at each collection would halt every request for 30 ms
        gc.set_threshold(
            10_000
        )  # requests that wait for a commit are no garbage, and were looked through every seventh
        self._http.run(on_listening)
        self._reconciler.stop()
        if not self._dispatcher.stop(LAST_ATTEMPTS_S):
            self._cut_off()
        self._observers.stop()
        self._keeper.stop()
        self._journal.close()
        self._forks.close()
        self._reports.close()
        log.info("stopped")

    def _rescue_of_idle(self) -> None:
        """Rescue what was running for destinations that have no lane now: no lane would ever do it."""
        for owed in self._journal.owed():
            destination = self._destinations.get(owed.destination)
            if owed.running and (destination is None or not destination.runs):
                terms = Terms() if destination is None else destination.terms
                self._journal.claim(owed.destination, limit=0, terms=terms)

    def _cut_off(self) -> None:
        """Journal what does not come to its end: nobody knows what becomes of it, and nothing waits for it."""
        log.warning("stopped in the middle of an attempt: it is made again after the next start, or held for a person")
        try:
            self._journal.stop()
        except JournalUnavailable as error:  # then the next start finds it
            log.warning("an attempt that was cut off could not be journaled: %s", error)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self._readiness.stopping:
            os._exit(1)
        self.stop()


def _log(destinations: Destinations, problems: list[Problem]) -> None:
    """Say in the log what is wrong with the plugins, or soon will be."""
    for problem in problems:
        log.error("this destination stops until it is mended: %s", problem)
    for each in destinations.values():
        for line in each.outdated:
            log.warning("the plugin %s is outdated: %s", each.settings.plugin, line)
