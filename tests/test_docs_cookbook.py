"""docs/plugins/cookbook.md and first.md: every recipe in a real bridge, with what it is for and what goes wrong."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest
from serving import sample, served, until
from test_story import with_mode

from glycanbridge.testing import Answer, HttpPeer, SmtpPeer, sample_report


def states(serving, destination: str | None = None) -> list[str]:
    """Where the deliveries stand, the newest first."""
    rows = serving.rows("deliveries", "list", *(() if destination is None else ("--destination", destination)))
    return [row["state"] for row in rows]


def post(serving, event_type: str = "report-ready", *, times: int = 1, **data) -> None:
    """Send so many events of a type."""
    for number in range(times):
        answer = serving.post(sample(event_type, timestamp=1_700_000_000_000 + number, data=data))
        assert answer.told["status"] == "accepted"


def test_the_first_plugin_in_five_minutes(read):
    """From an empty folder to a delivered report, by what stands on the page."""
    reader = read("first.md", "One file")
    serving = reader.serving
    reader.until("yaml")
    (serving.folder / "rules.py").chmod(0o664)  # as a new file is where each user has a group of their own
    assert "rules.py can be written by others" in serving.run("check").stdout
    reader.type()
    with reader.serve():
        assert "200" in reader.type()
        until(lambda: states(serving) == ["delivered"])
        reader.type()


@pytest.mark.timeout(240)
def test_a_package_of_ones_own(read):
    """Written, installed, tested and switched on, by what stands on the page."""
    reader = read("first.md", "A package")
    assert " passed" in reader.type()
    reader.type()
    assert (reader.folder / "var" / "service-token").stat().st_mode & 0o077 == 0
    reader.type()
    (row,) = [each for each in reader.serving.rows("plugins", "list") if each["name"] == "my-lab"]
    assert (row["package"], row["error"]) == ("glycanbridge-my-lab 0.1.0", None)


def test_routing_by_practice_takes_no_plugin(read):
    """Each destination gets the events of its practices, and no others."""
    reader = read("cookbook.md", "Route by practice")
    serving = reader.serving
    reader.until("yaml")
    with served(serving):
        post(serving)
        post(serving, practiceId="practice_22222")
        until(lambda: states(serving) == ["delivered"] * 2)
    assert (states(serving, "zagreb"), states(serving, "split")) == (["delivered"], ["delivered"])
    reader.until("python")
    reader.until("yaml")
    with served(serving):
        post(serving, reportId="r2")
        post(serving, reportId="r3", practiceId="practice_99999")
        until(lambda: sorted(states(serving, "folders")) == ["dead", "delivered"])
        (letter,) = serving.rows("dead-letters", "list")
    (file,) = (serving.folder / "var" / "practices" / "zagreb").iterdir()
    assert json.loads(file.read_bytes())["data"]["reportId"] == "r2"
    assert "has no folder" in letter["reason"]


def test_a_patient_who_is_not_in_the_file_waits_until_there(read):
    """And loses no attempt by it; the file may be changed at any time."""
    reader = read("cookbook.md", "Enrich from a file")
    serving = reader.serving
    reader.until("yaml")
    assert "records: 1 patients in patients.csv" in serving.run("check", "--online").stdout
    with served(serving):
        post(serving)
        until(lambda: serving.rows("deliveries", "list")[0]["last_error"])
        (waiting,) = serving.rows("deliveries", "list")
        assert (waiting["state"], waiting["last_error"]) == (
            "pending",
            "the patient is not in the file of patients yet",
        )
        with (serving.folder / "patients.csv").open("a") as file:
            file.write("patient_123,4712\n")
        serving.run("deliveries", "replay", waiting["id"])
        until(lambda: states(serving) == ["delivered"])
    (file,) = (serving.folder / "var" / "records").glob("*.json")
    assert json.loads(file.read_text()) == {"number": "4712", "report": "report_78901", "glycan_age": "45.2"}


@pytest.mark.parametrize("content", [None, b"patient;number\n1;2\n", b"\xff\xfe"])
def test_a_file_that_cannot_be_read_stops_the_destination(read, content):
    """It is wrong for every report: nothing is looked up in half a file."""
    reader = read("cookbook.md", "Enrich from a file")
    reader.until("yaml")
    file = reader.folder / "patients.csv"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    with served(reader.serving):
        post(reader.serving)
        until(lambda: "cannot be read as a CSV" in reader.serving.rows("destinations")[0]["runs"])
    assert states(reader.serving) == ["pending"]


def test_the_pdf_of_each_report_lies_in_a_folder(read, monkeypatch):
    """It is asked for with the clinic's credentials, waited for while it is not there, and the same in a repeat."""
    reader = read("cookbook.md", "Put the PDF of each report into a folder")
    serving = reader.serving
    token = serving.folder / "var" / "glycanage-token"
    token.write_text("correct-horse-4711")
    token.chmod(0o600)
    pdf = Answer(200, sample_report(), {"Content-Type": "application/pdf"})
    with HttpPeer(Answer(404)) as glycanage:
        monkeypatch.setenv("GLYCANAGE_URL", glycanage.url)
        reader.until("yaml")
        code = (serving.folder / "pdfs.py").read_text()
        assert len(code.splitlines()) <= 30
        with served(serving):
            post(serving)
            until(lambda: serving.rows("deliveries", "list")[0]["last_error"])
            (waiting,) = serving.rows("deliveries", "list")
            assert waiting["state"] == "pending"
            glycanage.answer(pdf)
        with served(serving):
            serving.run("deliveries", "replay", waiting["id"])
            until(lambda: states(serving) == ["delivered"])
            asked = len(glycanage.requests)
            serving.run("deliveries", "replay", waiting["id"])
            until(lambda: serving.rows("deliveries", "list")[0]["attempts"] > 2)
            until(lambda: states(serving) == ["delivered"])
        assert len(glycanage.requests) == asked
        assert glycanage.requests[-1].path == "/reports/report_78901"
        assert glycanage.requests[-1].headers["Authorization"].startswith("Basic ")
    (file,) = (serving.folder / "var" / "pdfs").iterdir()
    assert (file.suffix, file.read_bytes()) == (".pdf", sample_report())


def test_two_destinations_share_a_budget(read):
    """What is beyond it waits, and goes when there is room again."""
    reader = read("cookbook.md", "Throttle")
    serving = reader.serving
    reader.until("yaml")
    with served(serving):
        post(serving, practiceId="practice_11111")
        until(lambda: states(serving) == ["delivered"])
        post(serving, times=3)
        until(lambda: sorted(states(serving)) == ["delivered"] * 2 + ["pending"] * 2)
        until(lambda: any("2 an hour are used up" in row["runs"] for row in serving.rows("destinations")))
        assert len(list((serving.folder / "var" / "fax" / "doctor").iterdir())) == 1
        with closing(sqlite3.connect(serving.folder / "var" / "fax.db")) as database, database:
            database.execute("UPDATE taken SET at = at - 3600")
        serving.run("destinations", "resume", "doctor")
        until(lambda: states(serving) == ["delivered"] * 4)
    assert {row["attempts"] for row in serving.rows("deliveries", "list")} <= {1, 2}


def test_a_mirror_has_each_report_once(read):
    """Also if a person has it delivered again."""
    reader = read("cookbook.md", "Mirror into a database")
    serving = reader.serving
    reader.until("yaml")
    with served(serving):
        post(serving)
        until(lambda: states(serving) == ["delivered"])
        (row,) = serving.rows("deliveries", "list")
        serving.run("deliveries", "replay", row["id"])
        until(lambda: serving.rows("deliveries", "list")[0]["receipt"] == "it was there already")
    with closing(sqlite3.connect(serving.folder / "var" / "mirror.db")) as database:
        rows = database.execute("SELECT report_id, patient_id, glycan_age FROM reports").fetchall()
    assert rows == [("report_78901", "patient_123", 45.2)]


def test_attempts_are_counted_and_failures_in_a_row_are_told(read):
    """In a file that is always whole, and in the bridge's log."""
    reader = read("cookbook.md", "Count, and say when something fails")
    serving = reader.serving
    reader.until("yaml")
    config = json.loads(serving.config.read_text())
    (failing,) = with_mode("wait", retry={"tries": 1, "schedule_s": [0.05, 0.05, 0.05]}).values()
    recorder = {"plugin": "recorder", "settings": {"file": "b.txt"}}
    named = config["destinations"] | {"ehr": failing, "archive": recorder}
    serving.configure(named, plugin_files=["counts.py"])
    counted = serving.folder / "var" / "glycanbridge.prom"
    with served(serving):
        post(serving)
        until(lambda: counted.exists() and '"temporary"} 4' in counted.read_text())
    assert sorted(counted.read_text().splitlines()) == [
        'glycanbridge_attempts_total{destination="archive",outcome="delivered"} 1',
        'glycanbridge_attempts_total{destination="ehr",outcome="temporary"} 4',
    ]
    assert serving.log.read_text().count("ehr has failed 3 times in a row") == 1


def test_what_was_given_up_is_mailed(read, monkeypatch):
    """Also if the mail server will not have it at first; with what a person needs, and without what was said."""
    reader = read("cookbook.md", "Tell the clinic's IT when another destination gives up")
    serving = reader.serving
    (serving.folder / "var" / "slack-webhook-url").write_text("https://" + "hooks.slack.com/services/T0/B0/abc")
    reader.until("yaml")
    assert "delivery-dead -> ops" in reader.said
    reader.until("yaml")
    with SmtpPeer(end=["451 4.3.0 later", "250 ok"]) as mailbox:
        monkeypatch.setenv("SMTP_PORT", str(mailbox.port))
        config = json.loads(serving.config.read_text())
        ops = config["destinations"]["ops"] | {"retry": {"schedule_s": [0.1, 0.1]}}
        (ehr,) = with_mode("permanent").values()
        serving.configure({"ehr": ehr, "ops": ops}, plugin_files=["alarm.py"])
        with served(serving):
            post(serving)
            until(lambda: mailbox.mails)
            until(lambda: states(serving, "ops") == ["delivered"])
    mail = mailbox.mails[0].message
    assert (len(mailbox.mails), mail["Subject"]) == (1, "GlycanBridge: ehr has given up a delivery")
    text = mail.get_content()
    assert "glycanbridge deliveries show " in text
    assert "no such patient" not in text
    assert [row["attempts"] for row in serving.rows("deliveries", "list", "--destination", "ops")] == [2]


def test_kits_that_are_late_are_listed_by_a_command(read):
    """Those that were received and not reported."""
    reader = read("cookbook.md", "A command of one's own")
    serving = reader.serving
    reader.until("yaml")
    with served(serving):
        post(serving, "kit-received")
        post(serving, "kit-received", kitCode="KIT005678")
        post(serving, kitCode="KIT005678")
        until(lambda: states(serving) == ["delivered"] * 3)
        assert reader.type() == "KIT001234 since 2023-08-27\n"
