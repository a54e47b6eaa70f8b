"""What every test may ask for: a clock to turn by hand, a journal, a bridge, a folder with a server."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from serving import RECORDER, SECRET, Serving, install_plugin, served

from glycanbridge import hookimpl
from glycanbridge.bridge import Bridge
from glycanbridge.dead_letters import DeadLetters
from glycanbridge.destinations import Destination, Destinations
from glycanbridge.journals.sqlite import SqliteJournal
from glycanbridge.lanes import Lane
from glycanbridge.plugins import Plugin
from glycanbridge.settings import DestinationSettings, RetrySettings
from glycanbridge.testing import HandClock
from glycanbridge.testing.hosts import DirectHost, direct_lane


class Taker:
    """A plugin that takes report-ready and kit-received, or raises what it is told to."""

    def __init__(self) -> None:
        self.taken = []
        self.raises: BaseException | None = None
        self.receipt: object = "taken"

    @hookimpl
    def on_report_ready(self, event, delivery):
        return self._take(event, delivery)

    @hookimpl
    def on_kit_received(self, event, delivery):
        return self._take(event, delivery)

    def _take(self, event, delivery):
        self.taken.append((event, delivery))
        if self.raises is not None:
            raise self.raises
        return self.receipt


def make_destination(name: str, taker: object, *, schedule_s=(5, 60), tries=1, **settings) -> Destination:
    """A destination around a plugin's instance, with one quick try, in a thread unless told otherwise."""
    return Destination(
        name=name,
        settings=DestinationSettings(**{"plugin": "taker", "isolation": "thread"} | settings),
        retry=RetrySettings(tries=tries, schedule_s=schedule_s),
        folder=Path(),
        plugin=Plugin("taker", type(taker), RetrySettings, ("kit-received", "report-ready")),
        make=lambda: taker,
    )


def make_lane(destination: Destination, seconds: Callable[[], float] = time.monotonic) -> Lane:
    """The only lane of a destination; `seconds` tells how long its attempts take."""
    return direct_lane(DirectHost(destination, seconds), destination)


@pytest.fixture
def clock():
    """A clock to turn by hand."""
    return HandClock()


@pytest.fixture(params=["sqlite"])
def open_journal_again(request, tmp_path, clock):
    """Opens the journal under test, also a second time; all of them are closed at the end."""
    opened = []

    def open_it(**more):
        more = {"serves": not opened} | more
        opened.append(SqliteJournal(tmp_path / "journal.db", clock=clock, steady=clock.steady, **more))
        return opened[-1]

    yield open_it
    for journal in opened:
        journal.close()


@pytest.fixture
def journal(open_journal_again):
    """A journal that nothing is in."""
    return open_journal_again()


@pytest.fixture
def taker():
    """A plugin's instance that remembers what it was given."""
    return Taker()


@pytest.fixture
def dead_letters(tmp_path, clock):
    """A directory for dead letters, not yet made."""
    return DeadLetters(tmp_path / "dead-letters", clock=clock)


@pytest.fixture
def make_bridge(journal, dead_letters):
    """Makes a bridge over the journal with the destinations given."""

    def make(*destinations: Destination) -> Bridge:
        return Bridge(
            secrets=[SECRET], journal=journal, destinations=Destinations(destinations), dead_letters=dead_letters
        )

    return make


@pytest.fixture
def serving(tmp_path: Path):
    """A bridge's folder with the recorder plugin installed; the server is not started."""
    serving = Serving(tmp_path / "bridge")
    install_plugin(serving.packages, "recorder", RECORDER)
    yield serving
    process = getattr(serving, "process", None)
    if process is not None and process.poll() is None:
        serving.stop(kill=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A real server that one module's tests share: the HTTP table's rows leave nothing behind for one another."""
    serving = Serving(tmp_path_factory.mktemp("bridge"))
    install_plugin(serving.packages, "recorder", RECORDER)
    serving.configure(
        {"all": {"plugin": "recorder", "settings": {"file": "taken.txt"}}}, receiver={"request_deadline_s": 1}
    )
    with served(serving):
        yield serving
