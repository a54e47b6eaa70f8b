"""docs/operations.md: the commands in it are typed as they stand, against bridges in the trouble that they are for."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from serving import install_plugin, sample, served, until
from test_story import taken, with_mode

from glycanbridge.cli import COMMANDS

PAGE = (Path(__file__).parent.parent / "docs" / "operations.md").read_text(encoding="utf-8")
SECTIONS = {
    heading: re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    for heading, text in re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
}


def commands(heading: str) -> list[str]:
    """The command lines of a section, in their order."""
    return [line for block in SECTIONS[heading] for line in block.splitlines()]


def type_it(serving, line: str, *, fails: bool = False, **values: str) -> str:
    """Type one line of the page, with an ID that is really there; what it printed."""
    for shown, real in values.items():
        line = line.replace(shown, real)
    program = f"{sys.executable} -m glycanbridge"
    done = subprocess.run(
        ["bash", "-euc", line.replace(".venv/bin/glycanbridge", program)],
        cwd=serving.folder, env=serving.environ, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == (1 if fails else 0), done.stdout + done.stderr
    return done.stdout + done.stderr


def ehr(mode="wait", **more) -> dict[str, object]:
    """A destination `ehr` whose far side is away until its file `taken.txt.go` is there."""
    (settings,) = with_mode(mode, **more).values()
    return {"ehr": settings}


ALARM = """
from glycanbridge import hookimpl

class Alarm:
    @hookimpl
    def on_delivery_dead(self, event, delivery): ...
"""
IMPATIENT = {"retry": {"tries": 1, "schedule_s": [0.1]}, "circuit": {"failures": 6, "first_wait_s": 600}}


def test_every_section_with_commands_is_walked_through():
    """A section that no test below names would hold commands that nobody has typed."""
    source = Path(__file__).read_text(encoding="utf-8")

    assert [heading for heading, blocks in SECTIONS.items() if blocks and f'"{heading}"' not in source] == []


def test_every_command_of_the_page_is_one():
    """No line is of another program."""
    for heading in SECTIONS:
        for line in commands(heading):
            program, command = line.split()[:2]
            assert (program, command in COMMANDS) == (".venv/bin/glycanbridge", True), line


def test_from_down_for_three_days_to_all_delivered(serving):
    """The circuit opens, what had died before is replayed, and in the end each is delivered once."""
    serving.configure(ehr(**IMPATIENT))
    with served(serving):
        for number in range(3):  # each dies after two attempts, and the sixth failure opens the circuit
            serving.post(sample(timestamp=number))
            until(lambda number=number: len(serving.rows("dead-letters", "list")) == number + 1)
        for number in range(3, 20):
            serving.post(sample(timestamp=number))
        (row,) = serving.rows("destinations")
        assert row["runs"].startswith("no: fails since")
        assert (row["pending"] + row["running"], row["dead"]) == (17, 3)

        (serving.folder / "taken.txt.go").touch()
        resume, letters, replay, destinations, dead, pending = commands("The EHR was down for three days")
        type_it(serving, resume)
        assert type_it(serving, letters).count("not yet") == 3
        assert "is due now" in type_it(serving, replay)
        until(lambda: len(taken(serving)) == 20)
        until(lambda: serving.rows("dead-letters", "list") == [])

        assert " yes " in type_it(serving, destinations)
        assert type_it(serving, dead) == "no such deliveries\n"
        assert "0 deliveries" in type_it(serving, pending)
    delivered = [line.split()[0] for line in taken(serving)]
    assert len(set(delivered)) == len(delivered) == 20
    assert {row["attempts"] for row in serving.rows("deliveries", "list")} <= {1, 2, 3}


def test_a_password_that_was_wrong_is_mended(serving):
    """The first delivery finds out for all, and none of them has lost an attempt."""
    check, resume = commands("A destination refuses everything")
    serving.configure(ehr("refused", retry={"tries": 1, "schedule_s": []}))
    with served(serving):
        for number in range(5):
            serving.post(sample(timestamp=number))
        until(lambda: "not yet" in serving.rows("destinations")[0]["runs"])
        assert sum(row["attempts"] for row in serving.rows("deliveries", "list")) == 1
        told = serving.run("destinations").stderr
        assert (told.startswith("ehr runs: no: fails since"), told.endswith(": not yet\n")) == (True, True)
        (serving.folder / "taken.txt.go").touch()
        assert "the file can be written" in type_it(serving, check)
        type_it(serving, resume)
        until(lambda: len(taken(serving)) == 5)
    assert '"level": "error"' in serving.log.read_text()


def test_a_patient_who_is_unknown_yet(serving):
    """One attempt was allowed, and is not used up by waiting."""
    (replay,) = commands("The EHR does not know the patient yet")
    serving.configure(ehr("unknown", retry={"tries": 1, "schedule_s": []}))
    with served(serving):
        serving.post(sample())
        until(lambda: [row["last_error"] for row in serving.rows("deliveries", "list")] == ["not yet"])
        (serving.folder / "taken.txt.go").touch()
        assert "1 to be made" in type_it(serving, replay)
        until(lambda: len(taken(serving)) == 1)


def test_a_planned_pause(serving):
    """Nothing goes out while it is paused; all of it does afterwards."""
    pause, resume = commands("The EHR will be down on Saturday")
    serving.configure(ehr("take"))
    with served(serving):
        type_it(serving, pause)
        serving.post(sample())
        (row,) = serving.rows("destinations")
        assert "update of the EHR, Ana" in row["runs"]
        assert (row["pending"], taken(serving)) == (1, [])
        type_it(serving, resume)
        until(lambda: len(taken(serving)) == 1)


def test_looking_in_and_a_dead_delivery(serving):
    """One is replayed and dies again, and is discarded in the end."""
    show, replay, discard = commands("A delivery is dead")
    serving.configure(ehr("permanent"))
    with served(serving):
        serving.post(sample())
        until(lambda: serving.rows("dead-letters", "list"))
        letter = str(serving.rows("dead-letters", "list")[0]["id"])[:6]
        looked = [type_it(serving, line) for line in commands("Looking in")]
        assert "ehr: 1 deliveries are dead" in looked[1]
        assert all("report-ready" in told for told in looked[2:])
        assert "no such patient" in type_it(serving, show, **{"4be0": letter})
        type_it(serving, replay, **{"4be0": letter})
        until(lambda: serving.rows("dead-letters", "list")[0]["attempts"] == 2)
        type_it(serving, discard, **{"4be0": letter})
    assert serving.rows("dead-letters", "list") == []


def test_plugins_that_cannot_be_used_are_told_and_their_destinations_wait(serving):
    """In the words of the page's table, which says what to do about each."""
    good = "from glycanbridge import hookimpl\nclass {}:\n    @hookimpl\n    def on_report_ready(self): ...\n"
    install_plugin(serving.packages, "lacking", "import not_there")
    install_plugin(serving.packages, "ahead", good.format("Ahead") + "    contract = '>=2'")
    install_plugin(serving.packages, "twin", good.format("Twin"), distribution="glycanbridge-twin-a")
    install_plugin(serving.packages, "twin", good.format("Twin"), distribution="glycanbridge-twin-b")
    install_plugin(serving.packages, "killer", "import os; os._exit(3)")
    install_plugin(serving.packages, "sour", good.format("Sour") + "    def __init__(self, settings): {}['x']")
    (serving.folder / "rules.py").write_text(good.format("Rules"))
    (serving.folder / "rules.py").chmod(0o666)
    names = ("lacking", "ahead", "twin", "killer", "sour", "rules", "twins")
    serving.configure({name: {"plugin": name} for name in names}, plugin_files=["rules.py"])
    listed, destinations = commands("A plugin is broken, missing or outdated")
    with served(serving):
        assert serving.post(sample()).status == 200
        until(lambda: "the plugin does not start" in serving.log.read_text())
        told = type_it(serving, listed) + type_it(serving, destinations) + serving.log.read_text()

    section = PAGE.partition("## A plugin is broken")[2].partition("## ")[0]
    phrases = [max(row.split("..."), key=len) for row in re.findall(r"^\| `(.*?)`", section, re.MULTILINE)]
    elsewhere = {"will be gone: use", "belongs to somebody else", "names only"}  # tests/test_plugins.py
    assert len(phrases) == 10
    missing = [each for each in phrases if each not in told]
    assert [each for each in missing if not any(other in each for other in elsewhere)] == []
    assert len(missing) == len(elsewhere)


def test_an_alarm_is_looked_at(serving):
    """It is an event like any other, and so is what became of it."""
    install_plugin(serving.packages, "alarm", ALARM)
    serving.configure(ehr("permanent") | {"ops": {"plugin": "alarm", "events": ["delivery-dead"]}})
    assert "delivery-dead -> ops" in serving.run("check").stdout
    with served(serving):
        serving.post(sample())
        until(lambda: serving.rows("deliveries", "list", "--destination", "ops", "--state", "delivered"))
    events, deliveries = commands("Be told when a delivery is given up")

    assert "delivery-dead" in type_it(serving, events)
    assert ":ops" in type_it(serving, deliveries)


def test_a_body_that_was_not_understood_is_left_while_it_is_not(serving):
    """Exit 1 says so."""
    serving.configure(ehr("take"))
    with served(serving):
        serving.post(b"[]")
    look, replay = commands("A body was not understood")

    assert "quarantine" in type_it(serving, look)
    assert "left as it is" in type_it(serving, replay, fails=True)


def test_a_new_destination_gets_the_past(serving):
    """Counted first; then spread over time."""
    count, replay = commands("A destination is new, and is to have the past")
    serving.configure(ehr("take"))
    with served(serving):
        for number in range(3):
            serving.post(sample(timestamp=number))
        until(lambda: len(taken(serving)) == 3)
    archive = {"plugin": "recorder", "settings": {"file": "archive.txt"}}
    serving.configure(ehr("take") | {"archive": archive})
    with served(serving):
        assert "3 deliveries of 3 events to archive" in type_it(serving, count, fails=True)
        type_it(serving, replay)
        until((serving.folder / "archive.txt").exists)
        until(lambda: len((serving.folder / "archive.txt").read_text().splitlines()) == 3)


def test_a_destination_that_is_gone_for_good(serving):
    """What it was owed is discarded."""
    (discard,) = commands("A destination is disabled, renamed or removed")
    serving.configure({"old": {"plugin": "recorder", "settings": {"file": "x", "mode": "wait"}}})
    with served(serving):
        serving.post(sample())
    serving.configure({})
    assert serving.rows("destinations")[0]["runs"] == "no: not in bridge.yaml"

    type_it(serving, discard)
    assert serving.rows("destinations") == []


def test_a_held_delivery_is_decided_about(serving):
    """A plugin that dies in the middle leaves it open whether the far side has the result."""
    look, confirm, replay = commands("A delivery is held")
    serving.configure(ehr("die", on_unknown="hold"))
    with served(serving):
        for number in range(2):
            serving.post(sample(timestamp=number))
        until(lambda: [row["held"] for row in serving.rows("destinations")] == [2])
        first, second = (str(row["id"])[:12] for row in serving.rows("deliveries", "list", "--state", "pending"))
        assert first in type_it(serving, look)
        type_it(serving, confirm, **{"7f3a": first})
        assert serving.rows("destinations")[0]["held"] == 1
        type_it(serving, replay, **{"7f3a": second})
        until(lambda: len(taken(serving)) == 3)
        until(lambda: [row["held"] for row in serving.rows("destinations")] == [1])


def test_a_copy_that_was_made_while_serving_is_restored(serving):
    """What came after it is lost with the journal, what came before is there; what was delivered since goes again."""
    backup, check = commands("Backup and restore")
    serving.configure(ehr("take"))
    with served(serving):
        serving.post(sample(timestamp=1))
        until(lambda: len(taken(serving)) == 1)
        type_it(serving, backup)
        assert "whole" in type_it(serving, check)
    (serving.folder / "journal-monday.db").replace(serving.folder / "var" / "journal.db")
    with served(serving):
        assert serving.post(sample(timestamp=1)).told["status"] == "duplicate"


def test_a_damaged_journal_is_refused_and_a_new_one_takes_over(serving):
    """The dead letters hold everything that they need."""
    (replay,) = commands("The journal is damaged")
    serving.configure(ehr("permanent"))
    with served(serving):
        serving.post(sample())
        until(lambda: serving.rows("dead-letters", "list"))
    journal = serving.folder / "var" / "journal.db"
    journal.write_bytes(b"\xff" * 40_960)
    done = serving.run("serve")
    assert (done.returncode, "not an SQLite database" in done.stderr) == (78, True)
    assert journal.read_bytes() == b"\xff" * 40_960

    journal.rename(serving.folder / "damaged.db")
    serving.configure(ehr("take"))
    with served(serving):
        type_it(serving, replay)
        until(lambda: len(taken(serving)) == 1)
        until(lambda: serving.rows("dead-letters", "list") == [])


def test_after_an_update(serving):
    """With the bridge stopped."""
    serving.configure(ehr("take"))
    with served(serving):
        pass
    migrate, vacuum = commands("After an update")

    assert "version 3" in type_it(serving, migrate)
    assert "bytes" in type_it(serving, vacuum)
