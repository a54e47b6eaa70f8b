"""Destinations: what each is owed, and that a plugin's every way to fail ends in an outcome."""

from __future__ import annotations

import sys
import threading
from datetime import UTC, datetime

import pytest
from conftest import Taker, make_destination
from serving import install_plugin, sample

from glycanbridge import PermanentError, TemporaryError, hookimpl
from glycanbridge.bridge_yaml import BridgeYaml
from glycanbridge.delivery import Delivery, Result
from glycanbridge.destinations import LONGEST_TEXT, Destinations, open_destinations
from glycanbridge.errors import PluginError
from glycanbridge.events import parse
from glycanbridge.settings import load


def delivery(body: bytes | None = None, *, event_type="report-ready", attempt=1) -> Delivery:
    """A delivery of a sample event."""
    body = sample(event_type) if body is None else body
    now = datetime(2026, 11, 24, tzinfo=UTC)
    return Delivery(id="e1:a", event_id="e1", event_type=event_type, destination="a", attempt=attempt,
                    received_at=now, body=body)  # fmt: skip


def test_a_plugin_gets_the_event_and_the_delivery_and_gives_a_receipt(taker):
    """The event is the one that its hook is for."""
    outcome = make_destination("a", taker).deliver(delivery())

    ((event, handed),) = taker.taken
    assert (outcome.result, outcome.receipt) == (Result.DELIVERED, "taken")
    assert (event.data.report_id, handed.id) == ("report_78901", "e1:a")


@pytest.mark.parametrize(
    ("receipt", "kept"), [(None, None), ("x" * 10_000, "x" * LONGEST_TEXT), ("file \udcff", "file ?"), ("", "")]
)
def test_a_receipt_is_none_or_text_that_every_journal_can_keep(taker, receipt, kept):
    """The far side may have answered anything; a delivery must not be repeated because of it."""
    taker.receipt = receipt

    assert make_destination("a", taker).deliver(delivery()).receipt == kept


class Nasty:
    """An object that ends whoever looks at it."""

    def __str__(self) -> str:
        raise SystemExit(4)


@pytest.mark.parametrize("receipt", [17, {"id": 1}, b"bytes", Nasty()])
def test_what_is_no_receipt_is_no_delivery(taker, receipt):
    """Whatever the hook did, it did not keep the contract: the operator is told."""
    taker.receipt = receipt

    outcome = make_destination("a", taker).deliver(delivery())

    assert (outcome.result, outcome.receipt) == (Result.TEMPORARY, None)
    assert outcome.error == f"the hook returned {type(receipt).__name__}, neither a text nor None"


@pytest.mark.parametrize(
    ("asked", "kept"),
    [("30", 30.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None), (-5, 0.0), (float("nan"), None), ([], None)],
)
def test_a_wait_that_is_asked_for_may_be_a_headers_text(taker, asked, kept):
    """What is no number of seconds counts as not asked."""
    taker.raises = TemporaryError("busy \udcff" + "x" * 10_000, retry_after_s=asked)

    outcome = make_destination("a", taker).deliver(delivery())

    assert (outcome.result, outcome.retry_after_s) == (Result.TEMPORARY, kept)
    assert len(outcome.error) == LONGEST_TEXT


def test_an_error_that_cannot_be_told_is_an_outcome_all_the_same(taker):
    """Its text ends whoever looks at it."""
    taker.raises = PermanentError(Nasty())

    assert make_destination("a", taker).deliver(delivery()).result is Result.TEMPORARY


@pytest.mark.parametrize(
    ("error", "result", "told"),
    [
        (TemporaryError("busy", retry_after_s=7), Result.TEMPORARY, "busy"),
        (PermanentError("no such patient"), Result.PERMANENT, "no such patient"),
        (ValueError("KIT001234 is bad"), Result.TEMPORARY, "ValueError at conftest.py"),
        (SystemExit(0), Result.TEMPORARY, "SystemExit at"),
        (KeyboardInterrupt(), Result.TEMPORARY, "KeyboardInterrupt at"),
        (GeneratorExit(), Result.TEMPORARY, "GeneratorExit at"),
        (RecursionError("deep"), Result.TEMPORARY, "RecursionError at"),
        (MemoryError(), Result.TEMPORARY, "MemoryError at"),
    ],
)
def test_whatever_a_plugin_raises_is_an_outcome(taker, error, result, told):
    """Any other exception counts as temporary, and only its type and place are told: its text may be a patient's."""
    taker.raises = error

    outcome = make_destination("a", taker).deliver(delivery())

    assert outcome.result is result
    assert outcome.error.startswith(told)
    assert "KIT001234" not in outcome.error
    assert outcome.retry_after_s == getattr(error, "retry_after_s", None)


def test_a_blip_is_tried_away_within_the_attempt(taker):
    """The schedule never sees it."""
    taker.raises = OSError()
    destination = make_destination("a", taker, tries=2)

    destination.deliver(delivery())

    assert len(taker.taken) == 2


def test_an_attempt_beyond_the_schedule_is_not_made(taker):
    """The journal counts claims: one that kills its process each time must come to an end."""
    outcome = make_destination("a", taker, schedule_s=(5,)).deliver(delivery(attempt=3))

    assert (outcome.result, taker.taken) == (Result.PERMANENT, [])
    assert "2 attempts did not come to an end" in outcome.error


def test_an_event_that_this_version_does_not_understand_is_a_dead_letter(taker):
    """Say after a downgrade; nothing is handed to the plugin."""
    outcome = make_destination("a", taker).deliver(delivery(b'{"type": "report-withdrawn"}'))

    assert (outcome.result, taker.taken) == (Result.PERMANENT, [])


def test_what_the_plugin_has_no_hook_for_is_a_dead_letter(taker):
    """It was owed to another version of it: that must not pass for delivered."""
    outcome = make_destination("a", taker).deliver(delivery(event_type="order-status-changed"))

    assert (outcome.result, outcome.error) == (Result.PERMANENT, "the plugin has no on_order_status_changed")


def test_a_hook_takes_any_of_the_arguments():
    """As pluggy has it."""

    class Small:
        @hookimpl
        def on_report_ready(self, event):
            return event.type

    assert make_destination("a", Small()).deliver(delivery()).receipt == "report-ready"


@pytest.mark.parametrize(
    ("settings", "event_type", "owed"),
    [
        ({}, "report-ready", True),
        ({}, "order-status-changed", False),
        ({"events": ("kit-received",)}, "report-ready", False),
        ({"events": ("kit-received",)}, "kit-received", True),
        ({"practices": ("practice_67890",)}, "report-ready", True),
        ({"practices": ("practice_1", "practice_2")}, "report-ready", False),
        ({"enabled": False}, "report-ready", False),
    ],
)
def test_a_destination_is_owed_what_its_settings_say(taker, settings, event_type, owed):
    """By event type and practice; nothing reaches the wrong place."""
    destinations = Destinations([make_destination("a", taker, **settings)])

    assert destinations.owed(parse(sample(event_type))) == (("a",) if owed else ())


def test_a_plugin_that_cannot_be_closed_stops_nobody():
    """The others are closed all the same."""
    closed = []

    class Stubborn(Taker):
        @hookimpl
        def close(self):
            raise SystemExit(3)

    class Tidy(Taker):
        @hookimpl
        def close(self):
            closed.append(True)

    Destinations([make_destination("a", Stubborn()), make_destination("b", Tidy())]).close()

    assert closed == [True]


def test_a_plugin_that_does_not_close_is_left_behind(monkeypatch, caplog):
    """The bridge must stop all the same."""
    monkeypatch.setattr("glycanbridge.destinations.CLOSE_S", 0.01)
    gate = threading.Event()

    class Hanging(Taker):
        @hookimpl
        def close(self):
            gate.wait(20)

    make_destination("a", Hanging()).close()

    assert "it is left behind" in caplog.text
    gate.set()


def test_a_destination_whose_plugin_is_gone_still_takes_what_it_is_owed(serving):
    """An upgrade gone wrong must lose nothing; it is delivered when the plugin is back."""
    serving.configure({"x": {"plugin": "gone"}, "y": {"plugin": "gone", "events": ["kit-received"]}})
    source = BridgeYaml(serving.config)

    destinations, problems = open_destinations(load(source), source)

    assert destinations.owed(parse(sample())) == ("x",)
    assert destinations.owed(parse(sample("kit-received"))) == ("x", "y")
    assert not destinations["x"].runs
    assert destinations["x"].standing.startswith("no: no plugin 'gone' is installed")
    assert [each.path for each in problems] == ["destinations.x.plugin", "destinations.y.plugin"]
    with pytest.raises(PluginError, match="gone"):
        destinations["x"].check()


ODD_PLUGIN = """
from pydantic import BaseModel, field_validator

from glycanbridge import hookimpl


class Model(BaseModel):
    zone: str = "x"

    @field_validator("zone", mode="before")
    @classmethod
    def look(cls, zone):
        raise {error}


class Odd:
    Settings = Model

    def __init__(self, settings): ...

    @hookimpl
    def on_report_ready(self, event): ...
"""


@pytest.mark.parametrize("error", ["KeyError('geheim')", "FileNotFoundError('geheim')", "SystemExit(3)"])
def test_settings_that_raise_anything_stop_only_their_destination(serving, monkeypatch, error):
    """The bridge starts and receives; what is owed waits."""
    install_plugin(serving.packages, "odd", ODD_PLUGIN.replace("{error}", error))
    monkeypatch.syspath_prepend(str(serving.packages))
    monkeypatch.delitem(sys.modules, "glycanbridge_odd", raising=False)
    serving.configure({"x": {"plugin": "odd", "settings": {"zone": "y"}}})
    source = BridgeYaml(serving.config)

    destinations, (problem,) = open_destinations(load(source), source)

    assert (destinations["x"].runs, problem.path) == (False, "destinations.x.settings")
    assert "the plugin 'odd' does not take them" in problem.message
    assert "geheim" not in problem.message


def test_an_event_type_that_the_plugin_has_no_hook_for_stops_the_destination(serving, monkeypatch):
    """An upgrade that dropped a hook must not swallow what the operator asked for by name."""
    install_plugin(serving.packages, "some", ODD_PLUGIN.replace("Odd", "Some").replace("raise {error}", "return zone"))
    monkeypatch.syspath_prepend(str(serving.packages))
    serving.configure({"x": {"plugin": "some", "events": ["report-ready", "kit-received"]}})
    source = BridgeYaml(serving.config)

    destinations, (problem,) = open_destinations(load(source), source)

    assert (destinations["x"].runs, problem.path) == (False, "destinations.x.events.1")
    assert destinations.owed(parse(sample("kit-received"))) == ("x",)
