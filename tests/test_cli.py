"""The commands, as a user types them: exit codes, what goes where, and what is said of a mistake."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from serving import RECORDER, SECRET, Serving, install_plugin, sample, served, until

from glycanbridge.cli import COMMANDS, main
from glycanbridge.cli.options import Moment
from glycanbridge.places import KEYS
from glycanbridge.settings import Settings
from glycanbridge.testing import Answer, HttpPeer

TAKE = {"all": {"plugin": "recorder", "settings": {"file": "taken.txt"}}}


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """A bridge that has served: one event delivered, one dead, one body quarantined."""
    serving = Serving(tmp_path_factory.mktemp("story"))
    install_plugin(serving.packages, "recorder", RECORDER)
    serving.configure(
        {
            "good": {"plugin": "recorder", "settings": {"file": "taken.txt"}},
            "bad": {"plugin": "recorder", "events": ["report-ready"],
                    "settings": {"file": "taken.txt", "mode": "permanent"}},
        }
    )  # fmt: skip
    with served(serving):
        serving.ids = [serving.post(sample(each)).told["id"] for each in ("kit-received", "report-ready")]
        serving.post(b"hello")
        until(lambda: {row["state"] for row in serving.rows("deliveries", "list")} == {"delivered", "dead"})
    return serving


def test_help_names_every_command(serving):
    """In the order of their use."""
    done = serving.run("--help")

    assert [line.split()[0] for line in done.stdout.split("Commands:")[1].splitlines() if line[2:3].strip()] == list(
        COMMANDS
    )


SERVING = {"asyncio", "falcon", "multiprocessing", "structlog", "waitress"}
PAUSING = SERVING | {"glycanbridge_recorder", "pluggy", "pydantic"}
LOOKING = PAUSING | {"filelock"}


@pytest.mark.parametrize(
    ("command", "heavy"),
    [
        ("--help", LOOKING | {"apsw", "ruamel", "tenacity"}),
        ("init", LOOKING | {"apsw"}),
        *[(f"{group} list", LOOKING) for group in ("events", "deliveries")],
        *[(f"{group} show 1", LOOKING) for group in ("events", "deliveries")],
        ("db check", PAUSING),
        ("verify bridge.yaml --signature x", SERVING | {"apsw", "filelock", "httpx2", "pluggy"}),
        ("destinations pause all --reason it-is-away", PAUSING),
        ("dead-letters list", SERVING | {"apsw", "glycanbridge_recorder", "pluggy"}),
        *[
            (command, SERVING)
            for command in ("check", "destinations", "events replay --all", "webhooks list", "doctor")
        ],
        *[(command, SERVING - {"asyncio"}) for command in ("plugins list", "schema")],  # every plugin: one may bring it
    ],
)
def test_a_command_imports_nothing_large_that_it_does_not_use(serving, command, heavy):
    """A person waits for it: pydantic alone is a tenth of a second."""
    serving.configure(TAKE)
    timed = [sys.executable, "-X", "importtime", "-m", "glycanbridge", *command.split()]
    done = subprocess.run(timed, env=serving.environ, cwd=serving.folder, capture_output=True, text=True, check=False)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines() if "|" in line}

    assert "glycanbridge" in imported
    assert imported & heavy == set()


@pytest.mark.parametrize("group", ["events", "deliveries", "dead-letters", "destinations"])
def test_what_a_group_says_of_a_command_that_is_elsewhere_is_true(group):
    """Its help shows it without importing it."""
    context = click.Context(main)
    commands = main.get_command(context, group)

    assert commands.table
    for name, (_, does) in commands.table.items():
        found = commands.get_command(context, name)
        assert (found.name, found.help.startswith(does.rstrip("."))) == (name, True)


@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_command_has_help(serving, command):
    """Also those of a group."""
    done = serving.run(command, "--help")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: ")


def test_wrong_usage_is_exit_2(serving):
    """As click has it."""
    assert serving.run("sreve").returncode == 2
    assert serving.run("send", "report-redy").returncode == 2
    assert serving.run("events", "list", "--since", "yesterday").returncode == 2
    assert serving.run("events", "list", "--limit", "9" * 20).returncode == 2


def test_init_writes_what_is_missing_and_never_overwrites(tmp_path):
    """bridge.yaml, var/ for its owner alone, and a secret of 48 random bytes as text."""
    serving = Serving(tmp_path / "other")
    config = tmp_path / "new" / "bridge.yaml"
    done = serving.run("init", "-c", str(config))
    secret = config.parent / "var" / "webhook-secret"
    first = secret.read_text()
    config.write_text("mine")
    again = serving.run("init", "-c", str(config))

    assert (done.returncode, again.returncode) == (0, 0)
    assert len(first.strip()) == 64
    assert (stat.S_IMODE(secret.stat().st_mode), stat.S_IMODE(secret.parent.stat().st_mode)) == (0o600, 0o700)
    assert (config.read_text(), secret.read_text()) == ("mine", first)
    assert again.stderr.count("kept") == 3


def test_check_tells_what_would_go_where(serving):
    """For each event type; and what is disabled, and where the journal is."""
    serving.configure(TAKE | {"off": {"plugin": "recorder", "enabled": False, "settings": {"file": "x"}},
                              "one": {"plugin": "recorder", "events": ["report-ready"], "practices": ["p1", "p2"],
                                      "settings": {"file": "x"}}})  # fmt: skip
    done = serving.run("check")

    assert done.returncode == 0
    assert "kit-received -> all\n" in done.stdout
    assert "report-ready -> all, one (p1, p2)\n" in done.stdout
    assert "off waits, and takes nothing new: disabled; it is owed 0 deliveries" in done.stdout
    assert "there is no journal yet" in done.stdout
    assert "all: a line in taken.txt\n" in done.stdout


def test_check_shows_five_mistakes_in_five_lines_with_exit_78(serving):
    """Of the file, of a plugin's name, and of a plugin's settings: all at once, in the order of the file."""
    serving.config.write_text(
        "receiver:\n"
        "  listen: nowhere\n"
        "  secrets: ['${file:not-there}']\n"
        "retry: {trys: 3}\n"
        "destinations:\n"
        "  a:\n"
        "    plugin: recordre\n"
        "  b:\n"
        "    plugin: recorder\n"
        "    settings: {file: 3}\n"
    )
    done = serving.run("check")
    listen = "expected host:port, such as 127.0.0.1:8080, or 0.0.0.0:8080 for every address"
    what_to_do = (
        "(write the secret into it, readable for the bridge's user alone) and the reference has no default (:-...)"
    )

    assert done.returncode == 78
    assert [line.removeprefix(f"{serving.config}:") for line in done.stdout.splitlines()] == [
        f"2:11: receiver.listen: {listen}, got 'nowhere'",
        f"3:13: receiver.secrets.0: the file {serving.folder}/not-there cannot be read {what_to_do}",
        "4:9: retry.trys: unknown key; did you mean 'tries'?",
        "7:13: destinations.a.plugin: no plugin 'recordre' is installed; did you mean 'recorder'?",
        "10:22: destinations.b.settings.file: expected a path, got 3",
    ]


def test_check_shows_mistakes_in_the_order_of_the_file_whoever_finds_them(serving):
    """They are mended from the top down."""
    serving.config.write_text(
        "destinations:\n  a:\n    plugin: recordre\nreceiver:\n  listen: nowhere\n  secrets: ['${file:secret}']\n"
    )
    lines = serving.run("check").stdout.splitlines()

    assert [line.removeprefix(f"{serving.config}:")[:4] for line in lines] == ["3:13", "5:11"]


def test_check_tells_of_a_plugin_that_cannot_be_made(serving):
    """Before the bridge runs: its settings are as they should be, and yet it does not take them."""
    code = """
    from pydantic import BaseModel

    from glycanbridge import hookimpl

    class Nothing(BaseModel): ...

    class Sour:
        Settings = Nothing

        def __init__(self, settings):
            raise KeyError("no licence")

        @hookimpl
        def on_report_ready(self, event): ...
    """
    install_plugin(serving.packages, "sour", code)
    serving.configure({"a": {"plugin": "sour"}})
    done = serving.run("check")

    assert (done.returncode, "does not take them: KeyError" in done.stdout) == (78, True)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({"dead_letters": "secret/letters"}, "dead_letters: nothing can be written below {folder}/secret"),
        ({"journal": "sqlite:///secret/journal.db"}, "journal: nothing can be written below {folder}/secret"),
        ({"journal": "sqlite:///var"}, "journal: {folder}/var is a directory"),
    ],
)
def test_check_tells_of_places_where_nothing_can_be_written(serving, place, message):
    """Before the first event that would have to go there."""
    serving.configure(TAKE, **place)
    done = serving.run("check")

    assert done.returncode == 78
    assert message.format(folder=serving.folder) in done.stdout


def test_check_online_lets_plugins_talk_to_their_far_side(serving):
    """And says which of them could not."""
    serving.configure(TAKE)
    assert "all: the file can be written" in serving.run("check", "--online").stdout

    refused = {"plugin": "recorder", "settings": {"file": "x", "mode": "permanent"}}
    serving.configure({"all": refused, "more": refused})
    done = serving.run("check", "--online")
    assert (done.returncode, "all: check() failed: PermanentError" in done.stdout) == (1, False)
    assert "all: the far side refuses us" in done.stdout
    assert "more: the far side refuses us" in done.stdout


def test_check_closes_each_plugin_that_it_makes(serving):
    """To see that it can be made, and to let it talk: a far side may take only so many connections."""
    code = """
    from pydantic import BaseModel

    from glycanbridge import hookimpl

    class Nothing(BaseModel): ...

    class Polite:
        Settings = Nothing

        def __init__(self, settings):
            self.say("opened")

        def say(self, what):
            with open("told", "a") as file:
                file.write(what + "\\n")

        @hookimpl
        def on_report_ready(self, event): ...

        @hookimpl
        def close(self):
            self.say("closed")
    """
    install_plugin(serving.packages, "polite", code)
    serving.configure({"a": {"plugin": "polite"}})
    serving.run("check", "--online")

    told = (serving.folder / "told").read_text().splitlines()
    assert told == ["opened", "closed"] * (len(told) // 2)
    assert len(told) >= 4


def test_check_waits_for_no_plugin_that_hangs_and_dies_with_none(serving):
    """Each talks to its far side in a process of its own."""
    code = """
    import os, threading

    from glycanbridge import hookimpl

    class Odd:
        def __init__(self, settings): ...

        @hookimpl
        def on_report_ready(self, event): ...

        @hookimpl
        def check(self):
            DOES
    """
    install_plugin(serving.packages, "odd", code.replace("DOES", "threading.Event().wait()"))
    install_plugin(serving.packages, "dead", code.replace("DOES", "os._exit(0)").replace("Odd", "Dead"))
    serving.configure({"a": {"plugin": "odd", "timeout_s": 0.3}, "b": {"plugin": "dead"}, **TAKE})
    done = serving.run("check", "--online")

    assert done.returncode == 1
    assert "a: check() does not come back within 0.3 s" in done.stdout
    assert "b: check() ends the process (exit code 0)" in done.stdout
    assert "all: the file can be written" in done.stdout


def test_check_tells_of_a_plugin_that_cannot_be_used(serving):
    """With the line in bridge.yaml, the package it comes from, and why."""
    install_plugin(serving.packages, "broken", "import not_there")
    serving.configure({"a": {"plugin": "broken"}})
    done = serving.run("check")

    assert done.returncode == 78
    assert "destinations.a.plugin: the plugin 'broken' (glycanbridge-broken 1.0) cannot be used" in done.stdout
    assert "No module named 'not_there'" in done.stdout


def test_check_warns_of_a_weak_secret(serving):
    """It is no mistake: exit 0."""
    serving.configure(TAKE, receiver={"secrets": ["test-secret-key-for-development"]})
    done = serving.run("check")

    assert done.returncode == 0
    assert "warning: receiver.secrets: number 1 is printed on GlycanAge's page" in done.stdout


def test_check_warns_of_an_event_that_the_plugin_has_no_hook_for(serving):
    """It would never be delivered."""
    code = """
    from glycanbridge import hookimpl

    class Small:
        @hookimpl
        def on_report_ready(self, event): ...
    """
    install_plugin(serving.packages, "small", code)
    serving.configure({"a": {"plugin": "small", "events": ["report-ready", "kit-received"]}})
    done = serving.run("check")

    assert done.returncode == 78
    assert "destinations.a.events.1: the plugin 'small' has no hook for 'kit-received'" in done.stdout


def test_serve_refuses_a_wrong_bridge_yaml_with_exit_78(serving):
    """A restart does not help."""
    serving.config.write_text("receiver: {}\n")
    done = serving.run("serve")

    assert (done.returncode, done.stdout) == (78, "")
    assert "receiver.secrets: is missing" in done.stderr


def test_send_posts_a_signed_sample_and_says_what_came_back(serving):
    """Exit 0 only for a 200; each one is a new event."""
    serving.configure(TAKE)
    with served(serving):
        sent = [serving.run("send", each, "--to", serving.url) for each in ("kit-received", "report-ready")]
        bad = serving.run("send", "report-ready", "--to", serving.url, "--bad-signature")
        (serving.folder / "old").write_text("a secret that was taken out\n")
        old = serving.run("send", "report-ready", "--to", serving.url, "--secret-file", "old")
        (serving.folder / "old").write_text(f"{SECRET}\n")
        again = serving.run("send", "report-ready", "--to", serving.url, "--secret-file", "old")
        no = serving.run("send", "report-ready", "--to", serving.url, "--secret-file", "nowhere")
        elsewhere = serving.run("send", "report-ready", "--to", serving.url + "/x")
        until(lambda: len((serving.folder / "taken.txt").read_text().splitlines()) == 3)

    assert [done.returncode for done in (*sent, again)] == [0, 0, 0]
    assert (old.returncode, old.stdout[:3]) == (1, "401")
    assert (no.returncode, "--secret-file nowhere: No such file" in no.stderr) == (2, True)
    assert all(done.stdout.startswith('200 {"status":"accepted"') for done in sent)
    assert (bad.returncode, bad.stdout[:3]) == (1, "401")
    assert "restart the bridge if the file was changed" in bad.stderr
    assert (elsewhere.returncode, elsewhere.stdout[:3]) == (1, "404")


def test_send_changes_what_it_is_told_to(serving):
    """Text stays text; an id makes it a duplicate the second time."""
    serving.configure(TAKE)
    changes = ("--set", "data.kitCode=12", "--set", "data.more=[1]", "--set", "timestamp=5", "--id", "evt_1")
    with served(serving):
        for status in ("accepted", "duplicate"):
            done = serving.run("send", "report-ready", "--to", serving.url, *changes)
            assert f'200 {{"status":"{status}","id":"evt_1"}}' in done.stdout
    (row,) = serving.rows("events", "show", "evt_1")

    assert (row["data"]["kitCode"], row["data"]["more"], row["kit_code"]) == ("12", [1], "12")
    assert row["timestamp"] == "1970-01-01T00:00:00.005Z"


def test_send_says_what_to_do_when_nobody_answers(serving):
    """And when it is not known where to."""
    page = "<html>" + "x" * 5000
    with HttpPeer(Answer(200, page)) as stranger:
        other = serving.run("send", "report-ready", "--to", stranger.url)
    assert (other.returncode, len(other.stdout)) == (1, 205)
    assert "that is no answer of a GlycanBridge's" in other.stderr
    nowhere = serving.run("send", "report-ready", "--to", "https://bridge.invalid/x")
    assert "its name cannot be resolved" in nowhere.stderr
    nobody = serving.run("send", "report-ready", "--to", "http://127.0.0.1:9/x")
    unknown = serving.run("send", "report-ready")
    wrong = serving.run("send", "report-ready", "--to", "http://127.0.0.1:9/x", "--set", "data.nothing.more=1")

    bad = serving.run("send", "report-ready", "--to", "http://[bad")

    assert (bad.returncode, "this is no URL" in bad.stderr) == (2, True)
    assert (nobody.returncode, "does `glycanbridge serve` run?" in nobody.stderr) == (1, True)
    assert (unknown.returncode, "name the address that `serve` printed" in unknown.stderr) == (2, True)
    assert (wrong.returncode, "write PATH=VALUE" in wrong.stderr) == (2, True)


def test_a_moment_may_be_written_as_people_do(monkeypatch):
    """In UTC unless it says otherwise, wherever the machine stands; or as so many days, hours or minutes ago."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        told = [Moment().convert(each, None, None) for each in ("2026-11-24T18:00", "2026-11-24T19:00+01:00")]
    time.tzset()
    two_days = [Moment().convert(each, None, None) for each in ("2d", "48h", "2880m")]

    assert told == [int(datetime(2026, 11, 24, 18, tzinfo=UTC).timestamp() * 1000)] * 2
    assert two_days == sorted(two_days)
    assert two_days[2] < Moment().convert("47h", None, None)
    with pytest.raises(click.BadParameter, match="is no time"):
        Moment().convert("9999999d", None, None)


def test_events_are_listed_and_shown(story):
    """With the promised keys, and nothing else on stdout."""
    rows = story.rows("events", "list")
    (row,) = story.rows("events", "show", story.ids[1][:10])

    assert [set(each) for each in rows] == [
        {"id", "type", "timestamp", "received_at", "practice_id", "kit_code", "state", "flags"}
    ] * 2
    assert [(each["id"], each["state"]) for each in rows] == [(story.ids[1], "dead"), (story.ids[0], "delivered")]
    assert row["data"]["glycanAge"] == "45.2"
    assert (row["flags"], row["timestamp"] < "2024" < row["received_at"]) == ("", True)
    assert [(each["destination"], each["state"]) for each in row["deliveries"]] == [
        ("good", "delivered"),
        ("bad", "dead"),
    ]
    assert [each["id"] for each in story.rows("events", "list", "--type", "kit-received", "--kit", "KIT001234")] == [
        story.ids[0]
    ]
    assert story.rows("events", "list", "--until", "1d") == []
    assert len(story.rows("events", "list", "--since", "1d", "--state", "dead", "--destination", "bad")) == 1


def test_deliveries_are_listed_and_shown(story):
    """With their attempts."""
    rows = story.rows("deliveries", "list", "--destination", "bad")
    (row,) = story.rows("deliveries", "show", f"{story.ids[1][:8]}:bad")

    assert [set(each) for each in rows] == [
        {
            "id",
            "event_id",
            "event_type",
            "destination",
            "state",
            "attempts",
            "due_at",
            "last_error",
            "receipt",
            "held",
            "discarded",
        }
    ]
    assert (row["state"], row["last_error"], row["due_at"]) == ("dead", "no such patient", None)
    assert story.rows("deliveries", "show", story.ids[0][:8])[0]["destination"] == "good"
    assert "several deliveries have" in story.run("deliveries", "show", story.ids[1][:8]).stderr
    (attempt,) = row["attempts"]
    assert set(attempt) == {"number", "started_at", "duration_ms", "outcome", "error", "receipt"}
    assert (attempt["number"], attempt["outcome"]) == (1, "permanent")


def test_dead_letters_are_listed_and_shown(story):
    """Both kinds."""
    rows = story.rows("dead-letters", "list")
    (row,) = story.rows("dead-letters", "show", rows[0]["id"][:12])

    files = sorted((story.folder / "var" / "dead-letters").iterdir(), reverse=True)
    assert [each["id"] for each in rows] == [each.stem.rpartition("-")[2] for each in files]  # the newest first
    assert {each["kind"] for each in rows} == {"delivery", "quarantine"}
    assert {"id", "kind", "event_id", "destination", "reason", "died_at", "attempts"} <= set(rows[0])
    assert row["body"]
    assert len(story.rows("dead-letters", "list", "--destination", "bad")) == 1
    assert len(story.rows("dead-letters", "list", "--limit", "1")) == 1
    for which in (("--kit", "KIT001234"), ("--type", "report-ready"), ("--state", "dead", "--destination", "bad")):
        assert [each["kind"] for each in story.rows("dead-letters", "list", *which)] == ["delivery"]
    for which in (("--kit", "KIT1"), ("--type", "kit-received"), ("--state", "pending"), ("--until", "1d"),
                  ("--since", "2100-01-01")):  # fmt: skip
        assert story.rows("dead-letters", "list", *which) == []
    assert len(story.rows("dead-letters", "list", "--since", "1d")) == 2


def test_what_is_owed_where_is_a_table(story):
    """For people without --json, with names of columns."""
    done = story.run("destinations")
    good, bad = story.rows("destinations")

    assert done.stdout.split("\n")[0].split() == [
        "DESTINATION", "PLUGIN", "RUNS", "PENDING", "RUNNING", "HELD", "DEAD", "OLDEST", "DUE", "AT"
    ]  # fmt: skip
    assert (good["runs"], good["pending"], good["dead"]) == ("yes", 0, 0)
    assert (bad["pending"], bad["dead"]) == (0, 1)


def test_tables_are_for_people_and_say_so_when_there_is_nothing(story):
    """On stderr, so that stdout stays empty."""
    done = story.run("events", "list")
    nothing = story.run("events", "list", "--kit", "NONE")
    shown = story.run("events", "show", story.ids[1])

    assert done.stdout.splitlines()[0].split()[:2] == ["ID", "TYPE"]
    assert story.run("events", "show", done.stdout.splitlines()[1].split()[0]).returncode == 0
    assert story.run("deliveries", "list").stdout.splitlines()[1].split()[0] in {
        f"{story.ids[1][:12]}:{name}" for name in ("good", "bad")
    }
    assert len(done.stdout.splitlines()) == 3
    assert (nothing.stdout, nothing.stderr) == ("", "no such events\n")
    assert "glycanAge" in shown.stdout


def test_what_is_not_there_says_where_to_look(story):
    """Exit 1."""
    for command in (
        ("events", "show", "nope"), ("deliveries", "show", "nope:bad"), ("deliveries", "show", "nope"),
        ("deliveries", "show", ":bad"),
    ):  # fmt: skip
        done = story.run(*command)
        assert (done.returncode, f"`glycanbridge {command[0]} list` shows them" in done.stderr) == (1, True)
    many = story.run("events", "show", "")
    assert (many.returncode, "several events have an id that begins ''" in many.stderr) == (1, True)
    done = story.run("dead-letters", "show", "nope")
    assert (done.returncode, "0 dead letters" in done.stderr) == (1, True)


def test_what_came_from_outside_cannot_steer_the_terminal(serving):
    """A kit code with an escape sequence is shown with question marks."""
    serving.configure(TAKE)
    with served(serving):
        serving.post(sample(data={"kitCode": "KIT\x1b[2J" + "x" * 100_000}))
    done = serving.run("events", "list")

    assert "KIT?[2J" in done.stdout
    assert len(done.stdout) < 1000
    assert "\x1b" not in done.stdout + serving.run("events", "show", done.stdout.splitlines()[1][:8]).stdout


def test_plugins_are_listed_with_what_is_wrong_with_them(serving):
    """A broken one is a line, and the others are there."""
    install_plugin(serving.packages, "broken", "import not_there")
    rows = {row["name"]: row for row in serving.rows("plugins", "list")}

    assert rows["broken"]["events"] is None
    assert "No module named 'not_there'" in rows["broken"]["error"]
    assert rows["recorder"]["package"] == "glycanbridge-recorder 1.0"
    assert rows["recorder"]["error"] is None


def test_the_schema_holds_the_installed_plugins_settings(serving):
    """A broken plugin is left out, and that is said on stderr."""
    install_plugin(serving.packages, "broken", "import not_there")
    done = serving.run("schema")
    schema = json.loads(done.stdout)

    assert schema["$defs"]["recorder"]["properties"]["file"]["format"] == "path"
    assert "left out: broken" in done.stderr


def test_the_config_may_come_from_the_environment_or_the_option(serving, tmp_path):
    """The option wins."""
    other = tmp_path / "other.yaml"
    other.write_text("receiver: {}\n")

    assert serving.run("check").returncode == 0
    assert str(other) in serving.run("check", "-c", str(other)).stdout
    assert str(other) in serving.run("check", GLYCANBRIDGE_CONFIG=str(other)).stdout


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_serving_bridge_holds_less_than_80_mb(serving):
    """With a plugin, after some events."""
    serving.configure(TAKE)
    with served(serving):
        for number in range(100):
            serving.post(sample(timestamp=number))
        status = Path(f"/proc/{serving.process.pid}/status").read_text()
    peak_kb = int(status.split("VmHWM:")[1].split()[0])

    assert peak_kb < 80 * 1024


def test_one_can_look_while_bridge_yaml_is_being_mended(story, tmp_path):
    """What is in the journal does not depend on the rest of the file; nor does looking need the webhook's secret."""
    before = json.loads(story.config.read_text())
    mended = Serving(tmp_path / "mended")
    places = {"journal": f"sqlite:///{story.folder}/var/journal.db", "dead_letters": f"{story.folder}/var/dead-letters"}
    wrong = before | places | {"retry": {"trys": 3}, "receiver": {"secrets": ["${file:not-there}"]}}
    mended.config.write_text(json.dumps(wrong))

    assert mended.run("check").returncode == 78
    assert len(mended.rows("events", "list")) == 2
    assert len(mended.rows("dead-letters", "list")) == len(story.rows("dead-letters", "list")) > 0
    assert mended.run("destinations", "pause", "good", "--reason", "it is away").returncode == 0
    assert mended.run("destinations", "resume", "good").returncode == 0
    assert mended.run("deliveries", "replay", "--all").returncode == 78


@pytest.mark.parametrize(
    "told",
    [
        {"journal": "postgres://x"},
        {"journal": "${env:NOT_THERE}"},
        {"journal": 3},
        {"journal": "sqlite:///~no-such-user/x"},
    ],
    ids=str,
)
def test_a_wrong_place_is_told_to_whoever_looks_as_check_tells_it(serving, told):
    """One rule, whoever reads it: a look at another journal would be worse than none."""
    serving.configure(TAKE, **told)
    look = serving.run("events", "list")

    assert (look.returncode, "journal" in look.stderr) == (78, True)
    assert look.stderr == serving.run("check").stdout


def test_a_misspelt_place_is_not_taken_for_the_default(serving):
    """Who asks what is dead must not be told of another journal that it has nothing."""
    serving.configure(TAKE, jurnal="sqlite:///elsewhere.db")
    look = serving.run("events", "list")

    assert (look.returncode, "jurnal: unknown key" in look.stderr) == (78, True)
    assert set(KEYS) == set(Settings.model_fields)


def test_a_file_that_is_no_mapping_is_told_to_whoever_looks(serving):
    """And so is one that is not there."""
    serving.config.write_text("[1, 2")
    wrong = serving.run("events", "list")
    serving.config.unlink()
    missing = serving.run("events", "list")

    assert (wrong.returncode, "not YAML" in wrong.stderr) == (78, True)
    assert (missing.returncode, "no such file" in missing.stderr) == (78, True)


@pytest.mark.parametrize("command", ["events list", "deliveries list", "db check", "destinations"])
def test_who_may_not_look_at_the_journal_is_told_so(serving, monkeypatch, command):
    """Another user than the bridge's: the tests run as root, who may look everywhere."""
    serving.configure(TAKE)
    stat = Path.stat

    def forbidden(path, **more):
        if path.name == "journal.db":
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **more)

    monkeypatch.setattr(Path, "stat", forbidden)
    done = CliRunner().invoke(main, [*command.split(), "-c", str(serving.config)])

    assert done.exit_code == 1
    assert "var/journal.db: you may not look there; run this as the bridge's user" in done.output
