"""The installed plugins: each looked at alone, and a broken one told in one clear line."""

from __future__ import annotations

import sys

import pytest
from serving import RECORDER, install_plugin

from glycanbridge.plugins import installed_plugins

GOOD = """
from glycanbridge import hookimpl

class {name}:
    @hookimpl
    def on_report_ready(self, event, delivery): ...
"""


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """A folder of installed packages, on the path for this test alone."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("glycanbridge_"):
            del sys.modules[name]


def found(name: str):
    """What is said of one plugin."""
    (told,) = installed_plugins([name])
    return told


def test_a_good_plugin_is_found_with_its_events_and_settings(packages):
    """By its entry point; nothing of ours knows it."""
    install_plugin(packages, "recorder", RECORDER)

    told = found("recorder")

    assert (told.distribution, told.version, told.error) == ("glycanbridge-recorder", "1.0", None)
    assert told.plugin.event_types[-1] == "report-ready"
    assert set(told.plugin.model.model_fields) == {"file", "mode"}


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import not_there", "cannot be imported: ModuleNotFoundError: No module named 'not_there'"),
        ("raise SystemExit(3)", "cannot be imported: SystemExit"),
        ("class Broken(:", "cannot be imported: SyntaxError"),
        ("", "cannot be imported: AttributeError"),
        ("Broken = 3", "is not a class"),
        ("class Broken: ...", "has no hook for any event"),
        (GOOD + "    Settings = dict", "Settings is not a pydantic model"),
        (GOOD.replace("on_report_ready", "on_report_redy"), "not a hook; did you mean 'on_report_ready'?"),
        (GOOD.replace("    @hookimpl\n", ""), "on_report_ready looks like a hook; mark it with @hookimpl"),
        (GOOD + "    def on_kit_recieved(self, event): ...", "on_kit_recieved looks like a hook"),
        (GOOD.replace("delivery)", "parcel)"), "parcel"),
        (GOOD.replace("def on", "async def on"), "on_report_ready is async or a generator"),
        (GOOD.replace("...", "yield"), "on_report_ready is async or a generator"),
        (GOOD.replace("class {name}:", "class {name}(dict):"), "TypeError at"),
    ],
)  # fmt: skip
def test_a_broken_plugin_is_told_in_one_line(packages, code, error):
    """With where it comes from; it costs nobody but itself."""
    install_plugin(packages, "broken", code.replace("{name}", "Broken"))
    install_plugin(packages, "good", GOOD.format(name="Good"))

    told = found("broken")

    assert told.plugin is None
    assert error in told.error
    assert "\n" not in told.error
    assert found("good").error is None


def test_two_packages_with_one_name_are_told_and_neither_is_used(packages):
    """Nobody may guess which of them gets a patient's data."""
    install_plugin(packages, "twin", GOOD.format(name="Twin"), distribution="glycanbridge-twin-a")
    install_plugin(packages, "twin", GOOD.format(name="Twin"), distribution="glycanbridge-twin-b")

    told = installed_plugins(["twin"])

    assert [each.plugin for each in told] == [None, None]
    assert "glycanbridge-twin-a 1.0, glycanbridge-twin-b 1.0" in told[0].error


def test_only_those_that_are_named_are_imported(packages):
    """`serve` imports what bridge.yaml uses, and nothing else that happens to be installed."""
    install_plugin(packages, "bomb", "raise SystemExit('imported')")
    install_plugin(packages, "good", GOOD.format(name="Good"))

    assert found("good").error is None
    assert "glycanbridge_bomb" not in sys.modules
