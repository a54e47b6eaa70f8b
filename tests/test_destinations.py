"""Destinations: what each is owed, on what terms, and what a broken plugin does to the others: nothing."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import pytest
from conftest import Taker, make_destination
from serving import delivery, install_plugin, sample

from glycanbridge import TemporaryError, hookimpl
from glycanbridge.bridge_yaml import BridgeYaml
from glycanbridge.circuit import Brake
from glycanbridge.delivery import Claim, Delivery, Outcome, Result, State
from glycanbridge.destinations import Destinations, open_destinations, told_of_instances
from glycanbridge.errors import PluginError
from glycanbridge.events import parse
from glycanbridge.settings import load


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

    assert destinations.owed(parse(sample(event_type))) == ({"a": ()} if owed else {})


@pytest.mark.parametrize(
    ("ordered_by", "event_type", "keys"),
    [
        (None, "report-ready", ()),
        ("kit", "report-ready", ("KIT001234",)),
        ("kit", "assignment-status-changed", ("KIT001234",)),
        ("assignment", "kit-received", ("assignment_12345",)),
        ("order", "order-status-changed", ("order_12345",)),
        ("order", "report-ready", ()),
        ("kit", "order-status-changed", ()),
    ],
)
def test_an_event_is_kept_in_order_by_what_it_is_about(taker, ordered_by, event_type, keys):
    """Orders name no kits, and reports no order: such an event waits for nobody."""
    destination = make_destination("a", taker, ordered_by=ordered_by, events=(event_type,))

    assert Destinations([destination]).owed(parse(sample(event_type))) == {"a": keys}


def test_an_assignment_of_several_kits_has_them_all_as_keys(taker):
    """Each once."""
    kits = [{"patientId": "p", "kitCode": code, "product": "regular"} for code in ("KIT1", "KIT2", "KIT1")]
    event = parse(sample("assignment-status-changed", data={"sets": kits}))

    assert make_destination("a", taker, ordered_by="kit").order_keys(event) == ("KIT1", "KIT2")


def test_its_terms_are_what_its_settings_say(taker):
    """The lease outlives the time limit of an attempt; in a thread, an attempt that was cut off counts."""
    circuit = {"failures": 7, "first_wait_s": 1, "longest_wait_s": 9}
    terms = make_destination("a", taker, timeout_s=10, on_unknown="hold", circuit=circuit).terms

    assert terms.lease_s == 22
    assert terms.brake == Brake(failures=7, first_wait_s=1, longest_wait_s=9)
    assert (terms.holds_unknown, terms.unknown_counts) == (True, True)
    assert make_destination("a", taker, isolation="process").terms.unknown_counts is False


@pytest.mark.parametrize(("counts", "state"), [(True, State.DEAD), (False, State.PENDING)])
def test_the_last_attempt_that_fails_is_the_end_unless_it_does_not_count(taker, counts, state):
    """The schedule of one that only showed that the destination is still away does not go on."""
    destination = make_destination("a", taker, schedule_s=(5,))
    now = datetime(2026, 11, 24, tzinfo=UTC)
    delivery = Delivery(id="e1:a", event_id="e1", event_type="report-ready", destination="a", attempt=9,
                        received_at=now, body=b"")  # fmt: skip
    claim = Claim(delivery=delivery, row=1, step=2, counts=counts)

    settlement = destination.settlement(claim, Outcome(result=Result.TEMPORARY))

    assert (settlement.state, settlement.counts) == (state, counts)


def test_one_that_is_switched_off_says_so(taker):
    """Else whoever looks why nothing comes looks elsewhere."""
    assert make_destination("a", taker, enabled=False).hindrance == "disabled"
    assert make_destination("a", taker).hindrance is None


def test_whatever_the_practice_it_takes_the_types_that_it_takes(taker):
    """As `check` tells it."""
    destination = make_destination("a", taker, practices=("p1",))

    assert [destination.takes("report-ready", practice) for practice in (None, "p1", "p2")] == [True, True, False]


def test_a_blip_is_over_before_the_attempt_is(taker):
    """As many quick tries as its settings say."""
    destination = make_destination("a", taker, tries=2)
    attempts, taker.raises = destination.attempts(), TemporaryError("away")

    attempts.deliver(delivery())

    assert len(taker.taken) == 2


def test_what_check_makes_it_closes_and_what_cannot_be_made_it_leaves(taker):
    """A connection left open is one that the bridge may miss; what is broken has been told already."""
    closed = []

    class Closing(Taker):
        @hookimpl
        def close(self):
            closed.append(self)

    broken = make_destination("b", taker)
    broken.error, broken._make = "its plugin is gone", None
    destinations = Destinations([make_destination("a", Closing()), broken])

    assert told_of_instances(destinations, None) == ({"a": "its plugin does not say what leaves"}, [])
    assert len(closed) == 1


def test_a_destination_whose_plugin_is_gone_still_takes_what_it_is_owed(serving):
    """An upgrade gone wrong must lose nothing; it is delivered when the plugin is back."""
    only = {"events": ["kit-received"], "retry": {"tries": 7}}
    serving.configure({"x": {"plugin": "gone"}, "y": {"plugin": "gone"} | only})
    source = BridgeYaml(serving.config)

    destinations, problems = open_destinations(load(source), source)

    assert destinations.owed(parse(sample())) == {"x": ()}
    assert set(destinations.owed(parse(sample("kit-received")))) == {"x", "y"}
    assert (destinations["x"].retry.tries, destinations["y"].retry.tries) == (3, 7)
    assert not destinations["x"].runs
    assert destinations["x"].hindrance.startswith("no plugin 'gone' is installed")
    assert [each.path for each in problems] == ["destinations.x.plugin", "destinations.y.plugin"]
    with pytest.raises(PluginError, match="gone"):
        destinations["x"].attempts()


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
    assert set(destinations.owed(parse(sample("kit-received")))) == {"x"}


def test_a_plugin_that_cannot_be_made_is_told_without_its_text(serving, monkeypatch):
    """By `check`; a serving bridge finds out in the plugin's own process."""
    code = ODD_PLUGIN.replace("Odd", "Sour").replace("raise {error}", "return zone")
    code = code.replace("def __init__(self, settings): ...", "def __init__(self, settings): raise KeyError('geheim')")
    install_plugin(serving.packages, "sour", code)
    monkeypatch.syspath_prepend(str(serving.packages))
    serving.configure({"x": {"plugin": "sour", "settings": {"zone": "y"}}})
    source = BridgeYaml(serving.config)
    destinations, problems = open_destinations(load(source), source)

    _, (problem,) = told_of_instances(destinations, source)

    assert (problems, destinations["x"].runs, problem.path) == ([], True, "destinations.x.settings")
    assert "does not take them: KeyError" in problem.message
    assert "geheim" not in problem.message
