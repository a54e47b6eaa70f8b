"""The plugin within a real bridge: README's example, kills, replays, and what must not stand in any log."""

from __future__ import annotations

import json
import re
import signal
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from glycanbridge_email import EmailSettings
from serving import SECRET, Serving, sample, served, until

from glycanbridge.errors import JournalMissing, JournalUnavailable
from glycanbridge.journal import Filter
from glycanbridge.journals import open_questions
from glycanbridge.testing import Fault

PASSWORD = "correct-horse-4711"  # the mailbox's
README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def serving(tmp_path):
    """A bridge's folder; what is left of the server is ended."""
    serving = Serving(tmp_path / "bridge")
    yield serving
    process = getattr(serving, "process", None)
    if process is not None and process.poll() is None:
        serving.stop(kill=True)


@pytest.fixture
def destination(ca_file):
    """A destination for a mail server, as `bridge.yaml` has it."""

    def make(port, *, schedule_s=(0.1,) * 50, to=("staff@clinic.example",), **settings):
        told = {"host": "127.0.0.1", "port": port, "security": "plain", "sender": "bridge@clinic.example", "to": to}
        return {"plugin": "email", "retry": {"schedule_s": schedule_s, "tries": 1}, "settings": told | settings}

    return make


def in_three_days():
    """A weekday whose digest is not due while a test runs."""
    return f"{datetime.now(UTC) + timedelta(days=3):%A}".lower()


def rows(serving):
    """All deliveries as the journal has them; without a process of its own for each look."""
    try:
        with closing(open_questions(f"sqlite:///{serving.folder / 'var' / 'journal.db'}")) as questions:
            return questions.deliveries(Filter(limit=1000))
    except (JournalMissing, JournalUnavailable):
        return []


def states(serving):
    """The states of all deliveries."""
    return [str(row.state) for row in rows(serving)]


# README


def test_the_readmes_example_delivers_as_it_is_written(serving, mailbox, ca_file, monkeypatch):
    """Only what differs from machine to machine comes from the environment, as it says itself."""
    example = re.search(r"```yaml\n(# bridge.yaml.*?)```", README, re.DOTALL)[1]
    serving.config.write_text(example, encoding="utf-8")
    for name, text in (("webhook-secret", SECRET), ("smtp-password", PASSWORD)):
        (serving.folder / "var" / name).write_text(f"{text}\n")
    environ = {"LISTEN": "127.0.0.1:0", "SMTP_HOST": "localhost", "SMTP_PORT": str(mailbox.port)}
    for name, text in (environ | {"SMTP_USER": "bridge", "SMTP_CA_FILE": str(ca_file)}).items():
        monkeypatch.setenv(name, text)
    checked = serving.run("check", "--online")
    assert checked.returncode == 0, checked.stdout
    assert "staff-mail: a mail for each event, without patients' ids" in checked.stdout
    assert "answers (TLSv1.3) and takes the login; nothing was sent" in checked.stdout
    assert mailbox.taken == []
    with served(serving):
        for event_type in ("report-ready", "kit-received", "order-status-changed"):
            assert serving.post(sample(event_type)).status == 200
        until(lambda: len(mailbox.taken) == 2)
        until(lambda: states(serving) == ["delivered"] * 2)
    assert [to for to, _ in mailbox.taken] == [["dr.horvat@clinic.example", "nurse@clinic.example"]] * 2
    receipts = {row.receipt for row in rows(serving)}
    assert receipts == {f"{mail['Message-ID']} 250 2.0.0" for mail in mailbox.mails}
    text = mailbox.mails[0].get_body(("plain",)).get_content() + mailbox.mails[1].get_body(("plain",)).get_content()
    assert "27. kolovoza 2023. 09:56" in text


def test_the_readmes_digest_is_what_the_settings_take(settings):
    """The second block, put into the first."""
    block = re.search(r"```yaml\n      digest:\n        at: (.*?)\n        weekdays: \[(.*?)\]", README)
    own = settings(digest={"at": json.loads(block[1]), "weekdays": block[2].split(", ")})
    assert (own.digest.time.hour, own.digest.days) == (18, {0, 1, 2, 3, 4})


def test_the_readmes_settings_are_those_that_there_are():
    """Every one, with its default, and whether it is a secret."""
    table = re.search(r"## Settings\n\n.*?\n\|[-|]+\n(.*?)\n\n", README, re.DOTALL)[1]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    fields = EmailSettings.model_fields
    assert [line[0] for line in lines] == [f"`{name}`" for name in fields]
    for (name, field), (_, required, secret, default, _) in zip(fields.items(), lines, strict=True):
        assert required == ("yes" if field.is_required() else "no")
        assert secret == ("yes" if name == "password" else "no")
        none = field.is_required() or field.default in (None, (), {})
        assert default == ("" if none else f"`{field.default}`"), name


def test_the_readmes_table_of_what_leaves_is_true():
    """It says what `Personal` does, which the other tests hold the mails against."""
    for line in (
        "| kit code | its last four letters | yes | yes |",
        "| ids of patient, test, report, assignment | no | yes | yes |",
        "| GlycanAge and chronological age | no | no | yes |",
        "| any of this about a patient in the subject | no | no | no |",
    ):
        assert line in README


def test_every_way_to_fail_in_the_readme_quotes_what_is_really_said():
    """The texts in the table are those of the code."""
    code = "".join(each.read_text("utf-8") for each in (Path(__file__).parents[1] / "glycanbridge_email").glob("*.py"))
    table = README.partition("## When it fails")[2]
    plain = re.sub(r"[`\"]|\bf(?=\")", "", code)
    for said in (
        *(
            "closed the connection at",
            "no answer at",
            "nobody knows whether it has the mail",
            "name is not known; see that",
        ),
        *("gave no SMTP answer to", "offers no STARTTLS, and nothing is sent without", "its certificate is not taken:"),
        *("no TLS:", "it refuses the login", "it takes nothing for now", "it refuses the sender", "not now"),
        *(
            "it refuses this mail",
            "nobody has the mail; refused for now:",
            "nobody has the mail; not allowed:",
            "those who do not get it later:",
        ),
        *(
            "for five days the others were refused:",
            "recipients have the mail",
            "nobody is to get mails about",
        ),
        *(
            "mend it",
            "waits for the digest of",
            "another lane sends a digest",
            "see that it may be written to, and has space",
        ),
        "if it is damaged, move it away: no event is lost",
        "MB (report_max_mb)",
    ):
        assert said in table, said
        assert said in plain, said


# The bridge


def test_a_broken_template_is_one_line_of_the_check_and_costs_no_event(serving, destination, peer):
    """With the line in `bridge.yaml`, and what there is to name. Mended, what has waited is delivered."""
    server = peer()
    (serving.folder / "mails").mkdir()
    (serving.folder / "mails" / "kit-received.txt").write_text("Kit\n{{ event.kit_cod }}")
    serving.configure({"mail": destination(server.port, templates="mails")})
    checked = serving.run("check")
    assert checked.returncode == 78
    told = "destinations.mail.settings.templates: kit-received.txt: there is no event.kit_cod; there is"
    assert told in checked.stdout
    with served(serving):
        assert serving.post(sample("kit-received")).status == 200
    assert states(serving) == ["pending"]
    (serving.folder / "mails" / "kit-received.txt").write_text("Kit\n{{ event.kit_code }}")
    with served(serving):
        until(lambda: states(serving) == ["delivered"])
    assert "…1234" in message_from_bytes(server.taken[0][1], policy=policy.default).get_body(("plain",)).get_content()


def test_a_replay_is_the_same_mail_again(serving, destination, peer):
    """Byte for byte, under the same Message-ID: also by another process of the plugin."""
    server = peer()
    serving.configure({"mail": destination(server.port)})
    for _ in range(2):
        with served(serving):
            serving.post(sample())
            until(lambda: states(serving) == ["delivered"])
            taken, (row,) = len(server.taken), rows(serving)
            assert serving.run("deliveries", "replay", row.id).returncode == 0
            until(lambda: len(server.taken) > taken)  # noqa: B023 (it is asked at once)
            until(lambda: states(serving) == ["delivered"])
    assert len(server.taken) == 3
    assert len({content for _, content in server.taken}) == 1


def test_kill_9_between_sending_and_writing_it_down_brings_the_same_mail_again(serving, destination, peer):
    """The mail server has taken it, and kills the bridge before it answers. What it then has is twice one mail."""
    server, killed = peer(), threading.Event()
    serving.configure({"mail": destination(server.port)})

    def kill():
        if not killed.is_set():
            killed.set()
            serving.process.send_signal(signal.SIGKILL)
            serving.process.wait(20)

    server.answer(end=lambda _mail: kill() or "250 2.0.0 ok")
    serving.start()
    serving.post(sample())
    assert killed.wait(20)
    serving.process.wait(20)
    serving.process.stdout.close()
    with served(serving):
        until(lambda: states(serving) == ["delivered"])
    assert len(server.taken) == 2
    assert server.taken[0] == server.taken[1]
    name = message_from_bytes(server.taken[0][1])["Message-ID"]
    (row,) = rows(serving)
    assert (row.receipt, row.attempts) == (f"{name} 250 2.0.0", 2)


def test_a_wrong_password_costs_nothing_and_is_mended_by_a_restart(serving, mailbox, destination, ca_file):
    """One login is tried, then the destination is left alone; with the right one, everything is delivered."""
    login = {"host": "localhost", "security": "starttls", "ca_file": str(ca_file), "username": "bridge"}
    serving.configure({"mail": destination(mailbox.port, **login, password="wrong")})
    with served(serving):
        for number in range(5):
            serving.post(sample(timestamp=1693123200000 + number))
        until(lambda: any("AUTH with 535" in (row.last_error or "") for row in rows(serving)))
        assert mailbox.logins == 1
    serving.configure({"mail": destination(mailbox.port, **login, password=PASSWORD)})
    with served(serving):
        for command in (
            ("destinations", "resume", "mail"),
            ("deliveries", "replay", "--state", "pending", "--all", "--yes"),
        ):
            assert serving.run(*command).returncode == 0
        until(lambda: states(serving) == ["delivered"] * 5)
    assert len({mail["Message-ID"] for mail in mailbox.mails}) == len(mailbox.taken) == 5


def test_what_waits_for_a_digest_waits_in_the_journal_and_says_so(serving, destination, peer):
    """No attempt is used up and nothing is sent; with `digest` taken out, it goes out."""
    server = peer()
    digest = {"at": "18:00", "weekdays": [in_three_days()]}
    serving.configure({"mail": destination(server.port, digest=digest, schedule_s=())})
    with served(serving):
        serving.post(sample())
        serving.post(sample("kit-received"))
        waits = r"waits for the digest of 20\d\d-\d\d-\d\d 18:00 UTC"
        until(lambda: all(re.search(waits, row.last_error or "") for row in rows(serving)))
        assert states(serving) == ["pending"] * 2
    assert (serving.folder / "var" / "email" / "state.db").stat().st_mode & 0o777 == 0o600
    assert server.connections == 0
    serving.configure({"mail": destination(server.port)})
    with served(serving):
        assert serving.run("deliveries", "replay", "--state", "pending", "--all", "--yes").returncode == 0
        until(lambda: states(serving) == ["delivered"] * 2)
    assert len(server.taken) == 2


@pytest.mark.parametrize("isolation", ["process", "thread"])
def test_two_lanes_send_each_mail_once(serving, destination, peer, isolation):
    """Twenty events; in threads both lanes share one instance."""
    server = peer()
    serving.configure({"mail": destination(server.port) | {"lanes": 2, "isolation": isolation}})
    with served(serving):
        for number in range(20):
            serving.post(sample(timestamp=1693123200000 + number))
        until(lambda: states(serving) == ["delivered"] * 20)
    assert len({message_from_bytes(content)["Message-ID"] for _, content in server.taken}) == len(server.taken) == 20


# Canaries

NEEDLES = {
    "patientId": "needle-patient", "kitCode": "needle-kit", "testId": "needle-test", "reportId": "needle-report",
    "assignmentId": "needle-assignment", "glycanAge": "needle-45.2", "chronologicalAge": "needle-42",
    "reportUrl": "/needle-url", "patientName": "needle-unknown",
}  # fmt: skip
SAID = "said of needle-patient <needle-staff@clinic.example>"


@pytest.fixture
def failing(peer, destination, authority, context_for, ca_file):
    """A dozen destinations that fail in as many ways; their servers quote whatever they have been told."""
    login = {"tls": context_for(authority), "implicit": True, "EHLO": "250-peer\r\n250 AUTH PLAIN"}
    tls = {"host": "localhost", "ca_file": str(ca_file), "username": "needle-user", "password": "needle-password"}
    tls["security"] = "tls"
    ways = {
        "taken": ({"end": f"250 2.0.0 {SAID}"}, {}),
        "auth": (login | {"AUTH": f"535 5.7.8 {SAID}"}, tls),
        "certificate": ({"tls": context_for(authority, "other.example"), "implicit": True}, tls),
        "sender": ({"MAIL": f"550 5.7.1 {SAID}"}, {}),
        "now": ({"RCPT": f"450 4.2.0 {SAID}"}, {}),
        "good": ({"RCPT": f"550 5.1.1 {SAID}"}, {}),
        "some": ({"RCPT": {"needle-b@b.example": f"450 {SAID}"}}, {"to": ["a@b.example", "needle-b@b.example"]}),
        "content": ({"end": f"554 5.6.0 {SAID}"}, {}),
        "leaves": ({"RCPT": f"421 {SAID}"}, {}),
        "reset": ({"end": Fault.RESET}, {}),
        "template": ({}, {"templates": "mails"}),
        "nobody": ({}, {"to": [], "practices": {"practice_1": {"to": ["a@b.example"]}}}),
        "digest": ({}, {"digest": {"at": "18:00", "weekdays": [in_three_days()]}}),
    }
    own = {"to": ["needle-staff@clinic.example"], "personal": "full"}
    return {
        name: destination(peer(**peers).port, **(own | {"state": f"var/{name}"} | more))
        for name, (peers, more) in ways.items()
    }


def test_no_log_error_or_receipt_holds_a_patients_value_or_a_secret(serving, failing):
    """Nor the check's lines, nor a dead letter's reason; and none but the check's tells a recipient."""
    (serving.folder / "mails").mkdir()
    (serving.folder / "mails" / "report-ready.txt").write_text("{{ {'KIT001234': 1}[event.kit_code] }}")
    serving.configure(failing)
    checked = serving.run("check", "--online").stdout
    assert "AUTH with 535 5.7.8" in checked
    with served(serving):
        serving.post(sample(data=NEEDLES))
        sets = [{"patientId": "needle-patient", "kitCode": "needle-kit", "product": "regular"}]
        serving.post(sample("assignment-status-changed", data={"sets": sets, "assignmentId": "needle-assignment"}))
        until(lambda: {each.destination for each in rows(serving) if each.last_error or each.receipt} == set(failing))
    with closing(open_questions(f"sqlite:///{serving.folder / 'var' / 'journal.db'}")) as questions:
        attempts = [str(attempt) for each in rows(serving) for attempt in questions.attempts(each.id)]
    reasons = [row["reason"] for row in serving.rows("dead-letters", "list")]
    assert len(reasons) >= 3
    for told in [serving.log.read_text(), *attempts, *reasons]:
        assert "needle" not in told
    assert not re.search("needle-(?!staff|b@)", checked)
