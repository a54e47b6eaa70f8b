"""The installed plugins: each looked at alone, and a broken one told in one clear line."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from serving import RECORDER, install_plugin, sample, served, until

import glycanbridge
from glycanbridge import plugins
from glycanbridge.errors import ContractWarning
from glycanbridge.hookspecs import Hooks, hookspec
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
        ("import not_there", "No module named 'not_there'; `pip install glycanbridge-broken` brings what it needs"),
        ("from glycanbridge import NoLonger", "'NoLonger' from 'glycanbridge'"),
        ("from glycanbridge import NoLonger", "; this contract is 1.1"),
        ("import json; from json import NoLonger", "'NoLonger' from 'json'"),
        ("raise ValueError('two\\nlines')", "cannot be imported: ValueError: two lines"),
        (GOOD + "    contract = '>=2'", "is made for the contract >=2, and this GlycanBridge has 1.1: install"),
        (GOOD + "    contract = '<1'", "is made for the contract <1"),
        (GOOD + "    contract = 'new'", "contract is no range of versions, such as '>=1.0,<2'"),
        (GOOD + "    contract = 1", "contract is no range of versions"),
        (GOOD + "    def commands(self): ...", "commands looks like a hook; mark it with @hookimpl"),
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


@pytest.mark.parametrize(
    ("init", "made"),
    [
        ("", None),
        ("    def __init__(self, settings): self.got = settings", "settings"),
        ("    def __init__(self): self.got = 'nothing'", "nothing"),
    ],
)
def test_one_without_settings_needs_no_init(packages, init, made):
    """Twenty lines may do without."""
    install_plugin(packages, "plain", GOOD.format(name="Plain") + init)

    assert getattr(found("plain").plugin.make("settings"), "got", None) == made


def test_a_plugin_says_which_contract_it_is_made_for(packages):
    """One that says nothing was written for the first one."""
    for name, contract in (("silent", ""), ("exact", "    contract = '==1.1'"), ("range", "    contract = '>=1.0,<2'")):
        install_plugin(packages, name, GOOD.format(name=name.capitalize()) + contract)

    assert [found(name).error for name in ("silent", "exact", "range")] == [None, None, None]


def test_when_the_contract_moves_on_those_that_say_nothing_are_left_behind(packages, monkeypatch):
    """A new first number means that something they may rely on is gone."""
    install_plugin(packages, "silent", GOOD.format(name="Silent"))
    monkeypatch.setattr(plugins, "CONTRACT", "2.0")

    assert "is made for the contract >=1.0,<2, and this GlycanBridge has 2.0" in found("silent").error


OUTDATED = """
import warnings

from glycanbridge import Age, hookimpl

warnings.warn("somebody else's", DeprecationWarning)


class Outdated:
    @hookimpl
    def on_report_ready(self): ...

    @hookimpl
    def on_old(self): ...
"""


def test_what_will_be_gone_is_told_and_works(packages, monkeypatch):
    """For a release, before it breaks: an outdated name, an outdated hook; what others deprecate is no news here."""
    marked = hookspec(warn_on_impl=ContractWarning("on_old will be gone: use on_new"))
    monkeypatch.setattr(Hooks, "on_old", marked(lambda self: None), raising=False)
    monkeypatch.setitem(glycanbridge._OUTDATED, "Age", "use the text")
    install_plugin(packages, "outdated", OUTDATED)

    with pytest.warns(DeprecationWarning, match="somebody else's"):
        told = found("outdated")

    assert told.error is None
    assert told.plugin.warnings == (
        "glycanbridge.Age will be gone: use the text",
        "on_old will be gone: use on_new",
    )


@pytest.mark.parametrize(("only", "usable"), [("good", ["good"]), ("good, other", ["good", "other"]), ("", [])])
def test_the_environment_may_limit_what_is_loaded(packages, monkeypatch, only, usable):
    """To find out which one is at fault, without uninstalling any; those left out are not imported."""
    for name in ("good", "other"):
        install_plugin(packages, name, GOOD.format(name=name.capitalize()))
    monkeypatch.setenv("GLYCANBRIDGE_LOAD_PLUGINS", only)

    told = installed_plugins(["good", "other"])

    assert [each.name for each in told if each.plugin] == usable
    assert {each.error for each in told if not each.plugin} <= {
        f"not loaded: GLYCANBRIDGE_LOAD_PLUGINS names only {only or 'nothing'!r}"
    }
    assert {name for name in ("good", "other") if f"glycanbridge_{name}" in sys.modules} == set(usable)


# A plugin that is a file

RULES = """
from pydantic import BaseModel

from glycanbridge import LocalPath, hookimpl


class Settings(BaseModel, extra="forbid"):
    file: LocalPath


class Rules:
    Settings = Settings

    def __init__(self, settings):
        self.settings = settings

    @hookimpl
    def on_report_ready(self, event, delivery):
        self.settings.file.write_text(f"{event.data.report_id} {delivery.attempt}")
        return "ruled"
"""


@pytest.fixture
def rules(tmp_path):
    """A plugin's file of the clinic's own."""
    folder = tmp_path / "own"
    folder.mkdir(mode=0o755)
    file = folder / "rules.py"
    file.write_text(RULES)
    file.chmod(0o644)
    return file


def in_file(file):
    """What is said of the plugin in a file."""
    (told,) = installed_plugins([file.stem], files=[file])
    return told


def test_a_file_is_a_plugin_that_is_named_like_it(rules):
    """Twenty lines need no package."""
    told = in_file(rules)

    assert (told.name, told.origin, told.error) == ("rules", str(rules), None)
    assert (told.plugin.event_types, told.plugin.file) == (("report-ready",), rules)
    assert set(told.plugin.model.model_fields) == {"file"}


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("", "expected one class with a hook such as on_report_ready, found none"),
        (RULES.replace("on_report_ready", "something"), "something is not a hook; known: check, close, "),
        (RULES + "\n\nclass More(Rules): ...", "found several classes with a hook (Rules, More)"),
        (RULES.replace("    @hookimpl\n", ""), "on_report_ready looks like a hook; mark it with @hookimpl"),
        ("class :", "cannot be imported: SyntaxError: invalid syntax (rules.py, line 1)"),
        ("import not_there", "cannot be imported: ModuleNotFoundError: No module named 'not_there'"),
    ],
)
def test_a_broken_file_is_told_in_one_line(rules, code, error):
    """With the file's name."""
    rules.write_text(code)

    told = in_file(rules)

    assert told.plugin is None
    assert error in told.error
    assert "rules.py" in told.error
    assert "\n" not in told.error


def test_a_file_that_is_not_there_is_told(rules):
    """With the whole path, as it was understood."""
    rules.unlink()

    assert in_file(rules).error == f"{rules} cannot be read: No such file or directory"


@pytest.mark.parametrize("name", ["rules.txt", "my rules.py", "1.py"])
def test_a_file_has_a_name_that_can_be_a_plugins(rules, name):
    """It stands in bridge.yaml and in lists."""
    other = rules.rename(rules.with_name(name))

    assert "a plugin's file has a name of letters" in in_file(other).error


@pytest.mark.skipif(sys.platform == "win32", reason="rights are lists there, which Python cannot read")
@pytest.mark.parametrize(("what", "mode"), [("file", 0o664), ("file", 0o646), ("folder", 0o775), ("folder", 0o1777)])
def test_a_file_that_others_could_write_is_not_run(rules, what, mode):
    """Whoever can change it can read every result."""
    written = rules if what == "file" else rules.parent
    written.chmod(mode)
    rules.write_text(f"open({str(rules.with_name('run'))!r}, 'w')\n" + RULES)
    rules.chmod(mode if what == "file" else 0o644)

    told = in_file(rules).error

    assert told == f"{written} can be written by others, who could change what is run: `chmod go-w {written}`"
    assert not rules.with_name("run").exists()


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root can give a file away")
def test_somebody_elses_file_is_not_run(rules):
    """Its owner can write to it whatever its mode."""
    os.chown(rules, 12345, 12345)

    assert "belongs to somebody else" in in_file(rules).error


def test_a_file_and_a_package_of_one_name_are_told_and_neither_is_used(packages, rules):
    """Nobody may guess which of them gets a patient's data."""
    install_plugin(packages, "rules", GOOD.format(name="Rules"))

    told = installed_plugins(["rules"], files=[rules])

    assert [each.plugin for each in told] == [None, None]
    assert f"{rules}, glycanbridge-rules 1.0; remove all but one" in told[0].error


def test_a_file_that_nothing_uses_yet_is_looked_at_and_not_run(serving):
    """`check` tells of it with its line; a misspelt name would else be noticed when a destination is to use it."""
    serving.folder.chmod(0o755)
    (serving.folder / "rules.py").write_text("open('imported', 'w')")
    (serving.folder / "open.py").write_text(RULES)
    (serving.folder / "rules.py").chmod(0o644)
    (serving.folder / "open.py").chmod(0o666)
    serving.configure({}, plugin_files=["rules.py", "open.py", "gone.py"])

    told = serving.run("check")

    first, second = told.stdout.splitlines()
    assert told.returncode == 78
    assert "plugin_files.1: " in first
    assert "can be written by others" in first
    assert second.endswith(f"plugin_files.2: {serving.folder / 'gone.py'} cannot be read: No such file or directory")
    assert not (serving.folder / "imported").exists()


def test_a_name_that_no_plugin_has_is_told_where_the_others_are_left_out(serving):
    """Else nothing is loaded, and nobody sees why."""
    done = serving.run("plugins", "list", GLYCANBRIDGE_LOAD_PLUGINS="recordr,csv")

    assert "GLYCANBRIDGE_LOAD_PLUGINS names 'recordr', which is not installed; did you mean 'recorder'?" in done.stderr
    assert "names 'csv'" not in done.stderr


def test_what_a_plugin_says_when_it_cannot_be_made_is_told(serving):
    """Its own errors are made for people; of others the text may quote a secret."""
    code = GOOD + "    def __init__(self):\n        raise {error}('the template has a hole')"
    for name, error in (("plain", "glycanbridge.PermanentError"), ("odd", "ValueError")):
        made = "import glycanbridge\n" + code.replace("{error}", error).replace("{name}", name.capitalize())
        install_plugin(serving.packages, name, made)
    serving.configure({"a": {"plugin": "plain"}, "b": {"plugin": "odd"}})

    first, second = serving.run("check").stdout.splitlines()
    assert first.endswith("destinations.a.settings: the plugin 'plain' does not take them: the template has a hole")
    assert "destinations.b.settings: the plugin 'odd' does not take them: ValueError at" in second
    with served(serving):
        until(lambda: serving.log.read_text().count("the plugin does not start") >= 2)
    log = serving.log.read_text()
    assert "the plugin cannot be made: the template has a hole" in log
    assert log.count("the template has a hole") == 1


def test_a_file_runs_in_a_real_bridge(serving):
    """From bridge.yaml to the plugin's own process, with settings; beside it one that is refused, with its line."""
    serving.folder.chmod(0o755)
    (serving.folder / "rules.py").write_text(RULES)
    (serving.folder / "open.py").write_text(RULES)
    (serving.folder / "rules.py").chmod(0o644)
    (serving.folder / "open.py").chmod(0o666)
    own = {"settings": {"file": "ruled.txt"}}
    named = {"a": {"plugin": "rules"} | own, "b": {"plugin": "open"} | own, "c": {"plugin": "ruels"}}
    serving.configure(named, plugin_files=["rules.py", "open.py"])

    told = serving.run("check").stdout.splitlines()
    assert "bridge.yaml:" in told[0]
    assert "destinations.b.plugin: the plugin 'open'" in told[0]
    assert "can be written by others" in told[0]
    assert told[1].endswith("destinations.c.plugin: no plugin 'ruels' is installed; did you mean 'rules'?")
    rows = {row["name"]: row for row in serving.rows("plugins", "list")}
    assert rows["rules"]["package"] == str(serving.folder / "rules.py")
    assert "can be written by others" in rows["open"]["error"]
    assert serving.run("schema").stdout.count('"rules.') + serving.run("schema").stdout.count('"rules"') > 0
    with served(serving):
        serving.post(sample())
        until((serving.folder / "ruled.txt").exists)
        until(
            lambda: {row["destination"]: row["receipt"] for row in serving.rows("deliveries", "list")}["a"] == "ruled"
        )
        states = {row["destination"]: row["state"] for row in serving.rows("deliveries", "list")}
    assert states == {"a": "delivered", "b": "pending", "c": "pending"}


# An import that takes the process with it

KILLERS = {
    "import os; os._exit(0)": "ends the process (exit code 0)",
    "import os; os._exit(3)": "ends the process (exit code 3)",
    "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)": "ends the process (SIGSEGV)",
    "import time; time.sleep(3600)": "does not come back within 0.5 s",
}


@pytest.mark.parametrize("code", list(KILLERS))
def test_an_import_that_would_end_the_bridge_is_a_row(packages, code):
    """It is made in a process that may die of it, and what it printed is nobody's business."""
    install_plugin(packages, "killer", f"print('x' * 100000, flush=True)\n{code}")
    install_plugin(packages, "a", GOOD.format(name="A") + "\nimport threading, time\n"
                   "threading.Thread(target=time.sleep, args=(9,), daemon=True).start()")  # fmt: skip
    install_plugin(packages, "good", GOOD.format(name="Good"))
    script = (
        "from glycanbridge import plugins, rehearsal\n"
        "rehearsal.killed_by.__kwdefaults__['within_s'] = 0.5\n"
        "for each in plugins.installed_plugins(['killer', 'a', 'good'], rehearse=True): print(each.name, each.error)"
    )

    done = subprocess.run([sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": str(packages)},
                          capture_output=True, text=True, check=True, timeout=60)  # fmt: skip

    assert done.stdout == f"a None\ngood None\nkiller importing glycanbridge_killer:Killer {KILLERS[code]}\n"


def test_a_bridge_starts_and_receives_whatever_its_plugins_imports_do(serving):
    """GlycanAge would find nobody, at every start anew, and forget."""
    install_plugin(serving.packages, "killer", "import os; os._exit(3)")
    install_plugin(serving.packages, "unused", "open('imported', 'w')")
    serving.configure({
        "a": {"plugin": "killer"},
        "b": {"plugin": "recorder", "settings": {"file": "taken.txt"}},
    })  # fmt: skip
    checked = serving.run("check")
    assert not (serving.folder / "imported").exists()
    assert (checked.returncode, "(exit code 3)" in checked.stdout) == (78, True)
    listed = {row["name"]: row["error"] for row in serving.rows("plugins", "list")}
    assert (serving.folder / "imported").exists()
    (serving.folder / "imported").unlink()
    assert "(exit code 3)" in listed["killer"]
    with served(serving):
        assert serving.post(sample()).told["status"] == "accepted"
        until(lambda: serving.rows("deliveries", "list", "--state", "delivered"))
    assert not (serving.folder / "imported").exists()
    assert "importing glycanbridge_killer:Killer ends the process (exit code 3)" in serving.log.read_text()


@pytest.mark.parametrize(
    "line",
    ["destinations", "check", "plugins list", "schema", "events replay --destination b --since 1d",
     "deliveries replay --destination b --state pending", "dead-letters replay --all"],
)  # fmt: skip
def test_no_command_ends_with_a_plugins_import(serving, line):
    """Just then somebody needs to see what is wrong."""
    install_plugin(serving.packages, "killer", "import os; os._exit(3)")
    recorder = {"plugin": "recorder", "settings": {"file": "taken.txt"}}
    serving.configure({"a": {"plugin": "killer"}, "b": recorder})
    with served(serving):
        serving.post(sample())

    done = serving.run(*line.split())

    assert done.returncode != 3, line
    assert done.stdout + done.stderr


def test_a_mistake_elsewhere_does_not_hide_an_import_that_ends_the_process(serving):
    """All that is wrong is told at once."""
    install_plugin(serving.packages, "killer", "import os; os._exit(3)")
    serving.configure({"a": {"plugin": "killer"}}, retry={"tries": "many"})

    told = serving.run("check").stdout

    assert "retry.tries: expected an integer, got 'many'" in told
    assert "(exit code 3)" in told


# What is left when a plugin goes


def test_a_plugin_that_is_uninstalled_leaves_a_bridge_that_says_what_is_missing(serving):
    """It receives, delivers to the others, keeps what is owed, and delivers it when the plugin is back."""
    serving.configure({
        "a": {"plugin": "recorder", "settings": {"file": "a.txt"}},
        "b": {"plugin": "gone", "settings": {"file": "b.txt"}},
    })  # fmt: skip
    with served(serving):
        serving.post(sample())
        until(lambda: serving.rows("deliveries", "list", "--state", "delivered"))
        (row,) = [each for each in serving.rows("destinations", "list") if each["destination"] == "b"]
        assert row["pending"] == 1
        assert row["runs"].startswith("no: no plugin 'gone' is installed; known: csv, ")
    install_plugin(serving.packages, "gone", RECORDER.replace("Recorder", "Gone"))
    with served(serving):
        until(lambda: len(serving.rows("deliveries", "list", "--state", "delivered")) == 2)
