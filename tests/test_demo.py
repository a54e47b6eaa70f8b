"""The demo: run as a newcomer runs it, in a process of its own, to its end and to a Ctrl-C."""

from __future__ import annotations

import json
import re
import shlex
import signal
import smtplib
import subprocess
import sys
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from serving import until

from glycanbridge.cli.demo import _typed as typed_as
from glycanbridge.demo.mails import MailCatcher

DEMO = [sys.executable, "-m", "glycanbridge", "demo", "--kits", "4"]


def test_everything_goes_as_it_should_and_says_where_to_look(tmp_path):
    """What came, what went where, what waited meanwhile; and then it is all there, as with a real bridge."""
    folder = tmp_path / "a demo (mine)"
    done = subprocess.run(
        [*DEMO, "--seconds", "2", "--once", "--folder", folder], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    told = done.stdout
    for line in (
        "Registered at the simulated GlycanAge",
        "the mail server goes away",
        "results-csv has it, staff-mail waits",
        "staff-mail has it after",
        "known already",
        "not understood: kept as a dead letter",
        "not signed by GlycanAge: refused with 401",
        "every destination has everything that it was owed",
    ):
        assert line in told, told
    accepted = int(re.search(r"(\d+) accepted", told)[1])
    mails = [message_from_bytes(each.read_bytes(), policy=policy.default) for each in (folder / "var/mails").iterdir()]
    rows = sum(len(each.read_text().splitlines()) - 1 for each in (folder / "var/exports").glob("*.csv"))
    assert len(mails) == accepted <= rows  # an assignment of two kits is two rows
    assert {mail["To"] for mail in mails} == {"reception@clinic.example"}
    assert all(json.loads(line)["message"] for line in (folder / "var/bridge.log").read_text().splitlines())
    assert (folder / "var/webhook-secret").stat().st_mode & 0o777 == 0o600
    asked = re.findall(r"^  glycanbridge (.*)$", told, re.MULTILINE)
    for line in asked:
        command = [sys.executable, "-m", "glycanbridge", *shlex.split(line)]
        assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0, line
    assert len(asked) == 4


def test_it_serves_on_until_ctrl_c(tmp_path):
    """Somebody wants to look around; and in the middle of the story it ends in order, too."""
    for seconds, seen in (("1", "It serves on at "), ("3600", "weeks in the life"), ("2", "A bridge serves at ")):
        process = subprocess.Popen(
            [*DEMO, "--seconds", seconds, "--folder", tmp_path / seconds], stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        lines = iter(process.stdout.readline, "")
        assert any(seen in line for line in lines)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == (0 if seconds == "1" else 1)
        rest = process.stdout.read()
        assert not any(word in rest for word in ("LOST", "lost", "did not approve", "Traceback")), rest
        process.stdout.close()


@pytest.mark.parametrize(
    ("called", "typed"),
    [(".venv/bin/glycanbridge", "{}/.venv/bin/glycanbridge"), ("/a b/glycanbridge", "'/a b/glycanbridge'"),
     ("/usr/lib/glycanbridge/__main__.py", "glycanbridge")],
)  # fmt: skip
def test_its_commands_can_be_typed_in_another_folder(monkeypatch, called, typed):
    """The other terminal, in which somebody tries them, begins somewhere else."""
    monkeypatch.setattr(sys, "argv", [called])

    assert typed_as() == typed.format(Path.cwd())


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    """It may be a real bridge's."""
    (tmp_path / "bridge.yaml").write_text("mine")
    done = subprocess.run([*DEMO, "--folder", tmp_path], capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 1
    assert "there is something in it; name an empty folder" in done.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["bridge.yaml"]


def test_without_its_plugins_it_says_which(tmp_path, monkeypatch):
    """Who installed the core alone is told what else there is."""
    monkeypatch.setenv("GLYCANBRIDGE_LOAD_PLUGINS", "csv")
    done = subprocess.run([*DEMO, "--folder", tmp_path / "d"], capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 1
    assert "the demo needs the plugins csv and email; staff-mail: " in done.stderr


def test_a_mail_catcher_that_was_away_is_back_where_it_was(tmp_path):
    """Its files are mails that a mail program opens."""
    catcher = MailCatcher(tmp_path)
    catcher.go_away()
    with pytest.raises(ConnectionRefusedError):
        smtplib.SMTP("127.0.0.1", catcher.port)
    catcher.come_back()
    with smtplib.SMTP("127.0.0.1", catcher.port) as client:
        client.sendmail("a@clinic.example", ["b@clinic.example"], "Subject: a report\r\n\r\n.hidden dot\r\n")
    until(lambda: list(tmp_path.iterdir()))
    catcher.close()

    mail = message_from_bytes((tmp_path / "0001.eml").read_bytes(), policy=policy.default)
    assert (mail["Subject"], mail.get_content().strip()) == ("a report", ".hidden dot")
