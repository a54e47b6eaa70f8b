"""What plugin authors test with: it costs nothing until it is used, and its bridge is the real one, moved by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import BaseModel, Field, SecretStr, field_validator

import glycanbridge.testing
from glycanbridge import (
    EVENT_TYPES,
    DestinationError,
    LocalPath,
    NotYetError,
    PermanentError,
    TemporaryError,
    Timeout,
    hookimpl,
)
from glycanbridge.errors import PluginError
from glycanbridge.events import parse
from glycanbridge.signature import HEADER, verify
from glycanbridge.testing import (
    SECRET,
    Attempted,
    HandBridge,
    SettingsError,
    deliver,
    event_body,
    make_plugin,
    plugin_settings,
    sample_body,
    sample_delivery,
    sample_event,
    signed_request,
)

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "glycanbridge" / "testing"


class NotebookSettings(BaseModel, extra="forbid"):
    """A path, a secret and a timeout."""

    file: LocalPath = Field(Path("notebook.txt"), validate_default=True)
    word: SecretStr = SecretStr("")
    timeout_s: Timeout = 5


class Notebook:
    """Writes down what it is given, or raises what it is told to."""

    Settings = NotebookSettings

    def __init__(self, settings):
        self.settings = settings
        self.raises = None
        self.events = []

    @hookimpl
    def on_report_ready(self, event, delivery):
        self.events.append(event)
        if self.raises is not None:
            raise self.raises
        with self.settings.file.open("a") as file:
            file.write(f"{delivery.id}\n")
        return f"attempt {delivery.attempt}"

    @hookimpl
    def on_kit_received(self, event, delivery):
        return "noted"


class Silent:
    """Takes reports, and has no settings."""

    def __init__(self, settings):
        pass

    @hookimpl
    def on_report_ready(self):
        return None


def imported_by(code: str, *arguments: str) -> set[str]:
    """The modules that a pytest run has imported in the end, as a conftest sees it."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


RUN = """
import json, sys
import pytest
code = pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:randomly", *sys.argv[1:]])
print(json.dumps(sorted(sys.modules)))
sys.exit(code)
"""


def test_a_pytest_run_that_does_not_use_it_imports_nothing_of_it(tmp_path):
    """The pytest plugin is loaded in every run on a machine with GlycanBridge, whatever is tested there."""
    test = tmp_path / "test_something.py"
    test.write_text("def test_it():\n    assert True\n")
    options = ["-p", "no:hypothesispytest", str(test)]

    found = {
        each for each in imported_by(RUN, *options) if each.split(".")[0] in {"glycanbridge", "pydantic", "hypothesis"}
    }

    assert found == {"glycanbridge", "glycanbridge.testing", "glycanbridge.testing.fixtures"}


def test_the_fixtures_are_found_by_themselves_and_named_alike(tmp_path):
    """They share one namespace with every project's own: `bridge` would be somebody's already."""
    test = tmp_path / "test_fixtures.py"
    test.write_text("def test_it(glycanbridge_clock):\n    glycanbridge_clock.turn(1)\n")

    assert "glycanbridge.testing.clock" in imported_by(RUN, str(test))
    named = [each for each in vars(glycanbridge.testing.fixtures) if each.startswith("glycanbridge_")]
    assert named == [
        "glycanbridge_clock",
        "glycanbridge_bridge",
        "glycanbridge_plugin",
        "glycanbridge_http_peer",
        "glycanbridge_smtp_peer",
    ]


def test_a_plugin_that_a_fixture_has_made_is_closed_when_the_test_is_over(tmp_path):
    """As the bridge does: a connection that stays open is a warning in the next test, which may count as an error."""
    test = tmp_path / "test_closing.py"
    test.write_text(
        "from glycanbridge import hookimpl\n\n"
        "class Hello:\n"
        "    def __init__(self, settings):\n"
        "        pass\n"
        "    @hookimpl\n"
        "    def on_report_ready(self, event, delivery):\n"
        "        pass\n"
        "    @hookimpl\n"
        "    def close(self):\n"
        f"        open({str(tmp_path / 'closed')!r}, 'x').close()\n\n"
        "def test_it(glycanbridge_plugin):\n"
        "    glycanbridge_plugin(Hello)\n"
    )

    imported_by(RUN, str(test))

    assert (tmp_path / "closed").exists()


def test_the_public_names_are_all_there():
    """The stub for type checkers, the table and `__all__` say the same."""
    lines = (PACKAGE / "__init__.pyi").read_text().splitlines()
    stub = {line.rpartition(" ")[2] for line in lines}

    assert stub == set(glycanbridge.testing.__all__)
    assert all(getattr(glycanbridge.testing, name) is not None for name in stub)
    assert set(dir(glycanbridge.testing)) >= stub
    with pytest.raises(AttributeError, match="nothing"):
        _ = glycanbridge.testing.nothing


def test_an_event_goes_through_a_whole_bridge_by_hand(glycanbridge_bridge, tmp_path):
    """Received, due at once, delivered, and known when it comes again."""
    bridge = glycanbridge_bridge(Notebook, {"file": "notes.txt"})

    accepted = bridge.receive("report-ready", kitCode="K1")
    assert (accepted.status, bridge.delivery().state, bridge.delivery().attempts) == ("accepted", "pending", 0)
    assert bridge.run() == 1

    row = bridge.delivery("notebook")
    assert (row.state, row.receipt, row.due_at) == ("delivered", "attempt 1", None)
    assert bridge.plugin().events[0].data.kit_code == "K1"
    assert (tmp_path / "notes.txt").read_text() == f"{row.id}\n"
    assert bridge.receive("report-ready", kitCode="K1").status == "duplicate"
    assert bridge.receive(b'{"type": "surprise"}').status == "quarantined"
    assert bridge.receive(sample_event("report-ready", kitCode="K1")).status == "duplicate"
    assert bridge.run() == 0


def test_time_passes_when_the_clock_is_turned(glycanbridge_bridge, glycanbridge_clock):
    """A delivery that fails is due again by its schedule, and dies when that has come to its end."""
    bridge = glycanbridge_bridge(Notebook, retry={"schedule_s": [60]})
    bridge.plugin().raises = TemporaryError("it rains")
    bridge.receive("report-ready")

    assert (bridge.run(), bridge.run()) == (1, 0)
    row = bridge.delivery()
    assert (row.state, row.attempts, row.last_error) == ("pending", 1, "it rains")
    assert 60_000 <= row.due_at - glycanbridge_clock.ms <= 66_000
    glycanbridge_clock.turn(66)
    assert bridge.run() == 1

    assert (bridge.delivery().state, bridge.delivery().attempts) == ("dead", 2)
    (letter,) = bridge.dead_letters()
    assert (letter.destination, letter.reason, letter.attempts) == ("notebook", "it rains", 2)
    assert [each.outcome for each in bridge.attempts(row)] == ["temporary", "temporary"]


def test_what_is_dead_can_be_replayed(glycanbridge_bridge):
    """All that is dead, or one delivery, whatever became of it."""
    bridge = glycanbridge_bridge(Notebook)
    bridge.plugin().raises = PermanentError("no such patient")
    bridge.receive("report-ready")
    bridge.run()
    bridge.plugin().raises = None

    assert (bridge.replay(), bridge.run()) == (1, 1)
    assert (bridge.delivery().state, bridge.dead_letters()) == ("delivered", [])
    assert bridge.replay() == 0
    assert (bridge.replay(bridge.delivery()), bridge.run()) == (1, 1)
    assert bridge.delivery().receipt == "attempt 3"


def test_a_destination_that_takes_nothing_is_left_alone(glycanbridge_bridge, glycanbridge_clock):
    """The circuit is the real one: it opens at the plugin's word, and a probe shows when all is well."""
    bridge = glycanbridge_bridge(Notebook)
    bridge.plugin().raises = DestinationError("wrong password", retry_after_s=300)
    for number in range(3):
        bridge.receive("report-ready", timestamp=1_700_000_000_000 + number)

    assert bridge.run() == 1
    assert bridge.standing().circuit.open_since == glycanbridge_clock.ms
    assert bridge.standing().trouble == "wrong password"
    bridge.plugin().raises = None
    glycanbridge_clock.turn(300)
    assert bridge.run() == 3
    assert bridge.standing().circuit.open_since is None
    assert {each.state for each in bridge.deliveries()} == {"delivered"}


class Watcher:
    """Hears what became of others' deliveries."""

    def __init__(self):
        self.heard = []

    @hookimpl
    def on_delivery_dead(self, event):
        self.heard.append((event.type, event.data.destination, event.data.reason))

    @hookimpl
    def on_delivery_settled(self, event):
        self.heard.append((event.type, event.data.destination, event.data.state))


def test_the_bridges_own_events_reach_who_takes_them(tmp_path):
    """That a delivery was given up is one with attempts of its own; how each ended is only told."""
    destinations = {"ward": {"plugin": Notebook}, "ops": {"plugin": Watcher}}
    with HandBridge(destinations=destinations, folder=tmp_path) as bridge:
        bridge.plugin("ward").raises = PermanentError("closed")
        bridge.receive("report-ready")

        assert bridge.run() == 2
        assert bridge.plugin("ops").heard == [
            ("delivery-settled", "ward", "dead"),
            ("delivery-dead", "ward", "closed"),
            ("delivery-settled", "ops", "delivered"),
        ]
        alarm = bridge.delivery("ops")
        assert (alarm.event_type, alarm.state) == ("delivery-dead", "delivered")


@pytest.mark.parametrize("event_type", ["delivery-dead", "delivery-settled"])
def test_there_are_samples_of_the_bridges_own_events(event_type):
    """To hand to a hook, changed like any other."""
    watcher = Watcher()

    assert deliver(watcher, sample_event(event_type, destination="elsewhere")).delivered
    assert watcher.heard[0][:2] == (event_type, "elsewhere")


def test_several_destinations_are_as_in_bridge_yaml(tmp_path):
    """Each has its own settings, and one that fails holds no other back."""
    destinations = {
        "ward-1": {"plugin": Notebook, "settings": {"file": "one.txt"}, "events": ["report-ready"]},
        "ward-2": {"plugin": Notebook, "settings": {"file": "two.txt"}},
        "quiet": {"plugin": Silent},
    }
    with HandBridge(destinations=destinations, folder=tmp_path) as bridge:
        bridge.plugin("ward-1").raises = PermanentError("closed")
        bridge.receive("report-ready")
        bridge.receive("kit-received")

        assert bridge.run() == 4
        states = {(each.destination, each.event_type): each.state for each in bridge.deliveries()}
        assert states == {
            ("ward-1", "report-ready"): "dead",
            ("ward-2", "report-ready"): "delivered",
            ("ward-2", "kit-received"): "delivered",
            ("quiet", "report-ready"): "delivered",
        }
        assert [each.event_type for each in bridge.deliveries("ward-2")] == ["report-ready", "kit-received"]
        with pytest.raises(AssertionError, match="2 deliveries"):
            bridge.delivery("ward-2")
        with pytest.raises(AssertionError, match="name one of ward-1, ward-2, quiet"):
            bridge.plugin()


def test_a_restart_keeps_the_journal_and_takes_the_memory(glycanbridge_bridge):
    """What a plugin kept in memory is gone, as after a crash."""
    bridge = glycanbridge_bridge(Notebook)
    bridge.receive("report-ready")
    before = bridge.plugin()
    bridge.run()

    bridge.restart()

    assert bridge.plugin() is not before
    assert bridge.plugin().events == []
    assert bridge.delivery().state == "delivered"


def test_settings_are_checked_as_those_in_bridge_yaml(tmp_path, glycanbridge_plugin):
    """With their place, with references, and with the destination's own limits."""
    (tmp_path / "word").write_text("correct-horse\n")

    plugin = glycanbridge_plugin(Notebook, {"file": "x/notes.txt", "word": "${file:word}"})
    assert plugin.settings.file == tmp_path / "x" / "notes.txt"
    assert plugin.settings.word.get_secret_value() == "correct-horse"
    with pytest.raises(SettingsError, match=r"destinations.notebook.settings.fiel: unknown key; did you mean 'file'"):
        plugin_settings(Notebook, {"fiel": "notes.txt"}, folder=tmp_path)
    with pytest.raises(SettingsError, match="less than the destination's timeout_s, 3"):
        make_plugin(Notebook, {"timeout_s": 4}, folder=tmp_path, timeout_s=3)
    with pytest.raises(SettingsError, match="no hook for 'order-status-changed'"):
        HandBridge(Notebook, folder=tmp_path, events=["order-status-changed"])
    with pytest.raises(PluginError, match="has no hook for any event"):
        make_plugin(object, folder=tmp_path)
    secret = {"file": tmp_path / "notes.txt", "word": SecretStr("typed")}
    assert make_plugin(Notebook, secret, folder=tmp_path).settings.word.get_secret_value() == "typed"


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_there_is_a_sample_of_every_type(event_type):
    """As bytes, parsed, signed, and as a delivery: all the same event."""
    body, event = sample_body(event_type), sample_event(event_type)

    assert (event.type, parse(body)) == (event_type, event)
    assert parse(event_body(event)) == event
    request = signed_request(event_type)
    verify(request.body, request.headers[HEADER], [SECRET])
    assert request.body == body
    assert signed_request(event).body == event_body(event)
    delivery = sample_delivery(event_type, attempt=3, destination="ward")
    assert (delivery.body, delivery.event_type, delivery.attempt) == (body, event_type, 3)
    assert delivery.id == f"{delivery.event_id}:ward"


def test_a_sample_can_be_changed():
    """In its data, beside it, and in what is left out."""
    moment = datetime(2026, 11, 24, 8, 30, tzinfo=UTC)
    event = sample_event("report-ready", kitCode="K1", createdOn=moment, timestamp=moment, top={"id": "e1"}, more=None)

    assert (event.data.kit_code, event.data.created_on, event.timestamp) == ("K1", moment, moment)
    assert (event.model_extra, event.data.model_extra) == ({"id": "e1"}, {"more": None})
    assert sample_event("order-status-changed", without=["previousStatus"]).data.previous_status is None
    assert parse(event_body(event)) == event


def test_a_sample_that_would_not_be_what_was_meant_is_refused():
    """`kit_code` would be an unknown field, and the kit's code the old one."""
    with pytest.raises(ValueError, match="write kitCode"):
        sample_body("report-ready", kit_code="K1")
    with pytest.raises(ValueError, match=r"no sample of 'report'; known: .*report-ready"):
        sample_body("report")
    with pytest.raises(TypeError, match="set has no place"):
        sample_body("report-ready", kitCode={"K1"})


@pytest.mark.parametrize(
    ("raises", "told"),
    [
        (TemporaryError("later"), {"error": TemporaryError, "text": "later"}),
        (
            TemporaryError("later", retry_after_s="30"),
            {"error": TemporaryError, "text": "later", "retry_after_s": 30.0},
        ),
        (TemporaryError("lost", unknown=True), {"error": TemporaryError, "text": "lost", "unknown": True}),
        (NotYetError("who?"), {"error": NotYetError, "text": "who?", "retry_after_s": 3600.0}),
        (DestinationError("no"), {"error": DestinationError, "text": "no", "retry_after_s": 300.0}),
        (PermanentError("never"), {"error": PermanentError, "text": "never"}),
    ],
)
def test_what_an_attempt_ended_in_can_be_read(tmp_path, raises, told):
    """Which of the four errors it was, and what the bridge keeps of it."""
    plugin = make_plugin(Notebook, folder=tmp_path)
    plugin.raises = raises

    outcome = deliver(plugin, "report-ready")

    assert outcome == Attempted(**told)
    assert not outcome.delivered
    assert outcome.raised is raises


def test_a_receipt_can_be_read_in_a_line(tmp_path):
    """What nearly every test of a plugin says."""
    plugin = make_plugin(Notebook, folder=tmp_path)

    assert deliver(plugin, sample_event("report-ready", kitCode="K1"), attempt=2).receipt == "attempt 2"
    assert deliver(plugin, sample_body("report-ready")).delivered
    assert deliver(plugin, sample_delivery("report-ready", attempt=7)).receipt == "attempt 7"
    assert deliver(plugin, "order-status-changed").text == "the plugin has no on_order_status_changed"


class ChoosySettings(BaseModel, extra="forbid"):
    """What is wanted must be an event that the destination gets."""

    wanted: str

    @field_validator("wanted")
    @classmethod
    def _comes(cls, value, info):
        if value not in info.context["events"]:
            raise ValueError(f"expected one of {', '.join(info.context['events'])}")
        return value


class Choosy(Notebook):
    """A notebook for one kind of event."""

    Settings = ChoosySettings


def test_settings_are_checked_with_the_events_that_the_destination_gets(tmp_path):
    """As in a bridge: what `check` refuses there, a test must see here."""
    assert plugin_settings(Choosy, {"wanted": "report-ready"}, folder=tmp_path).wanted == "report-ready"
    with pytest.raises(SettingsError, match=r"settings\.wanted: expected one of kit-received"):
        plugin_settings(Choosy, {"wanted": "report-ready"}, folder=tmp_path, events=["kit-received"])


def test_a_mistake_in_a_plugin_is_not_swallowed(tmp_path):
    """To the bridge it is a temporary error without a text; whoever tests wants to see it."""
    plugin = make_plugin(Notebook, folder=tmp_path)
    plugin.raises = KeyError("kitCode")

    outcome = deliver(plugin)

    assert outcome.error is TemporaryError
    assert outcome.text.startswith("KeyError at test_testing.py:")
    assert outcome.raised is plugin.raises
    assert "KeyError('kitCode')" in repr(outcome)


def test_there_is_one_quick_try_unless_more_are_asked_for(tmp_path):
    """A test that fails need not wait."""
    plugin = make_plugin(Notebook, folder=tmp_path)
    plugin.raises = TemporaryError("it rains")

    deliver(plugin)
    assert len(plugin.events) == 1
    deliver(plugin, tries=2)
    assert len(plugin.events) == 3
