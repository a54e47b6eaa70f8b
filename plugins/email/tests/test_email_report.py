"""The report file with a mail: there, missing with a reason, or waited for."""

from __future__ import annotations

import socket
from email import message_from_bytes, policy

import pytest
from glycanbridge_email import Email
from glycanbridge_email.report_files import report_file
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from glycanbridge import NotYetError, PermanentError
from glycanbridge.testing import HandBridge, sample_delivery, sample_event, sample_report
from glycanbridge.testing import deliver as attempt

NOT_YET = NotYetError("GlycanAge answered 503", retry_after_s=60)
NEVER = PermanentError("reports cannot be fetched: bridge.yaml has no `glycanage:`")


@pytest.fixture
def server(peer):
    """A mail server that takes all."""
    return peer()


@pytest.fixture
def full(make, server):
    """Makes instances that may tell all."""
    return lambda report="attach", **more: make(server.port, personal="full", report=report, **more)


def read(content):
    """A mail's text and HTML in one line each, and its files, as a mail program has them."""
    mail = message_from_bytes(content, policy=policy.default)
    bodies = [" ".join(mail.get_body((kind,)).get_content().split()) for kind in ("plain", "html")]
    return *bodies, list(mail.iter_attachments())


def test_the_file_arrives_as_it_was_with_a_real_mail_server(mailbox, secure):
    """Byte for byte, as a PDF, under a name that says nothing of anybody."""
    assert attempt(secure(mailbox, personal="full", report="attach")).delivered

    ((_, content),) = mailbox.taken
    text, html, (file,) = read(content)
    assert (file.get_content_type(), file.get_filename()) == ("application/pdf", "glycanage-report.pdf")
    assert file.get_content() == sample_report()
    for body in (text, html):
        assert "A GlycanAge report is ready" in body
        assert "The report is attached: glycanage-report.pdf." in body
        assert "Sign in" not in body
        assert "45.2" in body


def test_any_bytes_arrive_as_they_were(full, server):
    """Base64 keeps line ends, dots at a line's begin and all that SMTP is about."""
    plugin = full()

    @given(st.binary(max_size=3000))
    def holds(content):
        server.mails.clear()
        assert attempt(plugin, report=content).delivered
        (file,) = read(server.taken[-1][1])[2]
        assert file.get_content() == content

    holds()


def test_without_the_setting_nothing_is_asked_for(make, server):
    """The file is more than a clinic may have agreed to send."""
    asked = []
    delivery = sample_delivery()
    object.__setattr__(delivery, "report_source", lambda _: asked.append(1) or b"")
    assert attempt(make(server.port, personal="full"), delivery).delivered

    text, html, files = read(server.taken[0][1])
    assert (asked, files) == ([], [])
    assert "A GlycanAge report is ready. Sign in to GlycanAge to read it." in text
    assert "report is attached" not in html


@pytest.mark.parametrize("error", [NOT_YET, NEVER])
def test_a_mail_that_is_to_go_at_once_says_that_the_file_is_missing_and_why(full, server, error):
    """Whoever reads it knows where else to look."""
    assert attempt(full(), report=error).delivered

    text, html, files = read(server.taken[0][1])
    assert files == []
    told = f"The report file is missing: {error}. Sign in to GlycanAge to read it."
    assert told in text
    assert told in html


def test_a_mail_that_waits_for_its_file_loses_no_attempt_by_it(tmp_path, server):
    """And goes with it, once, when it is there."""
    settings = {
        "host": "127.0.0.1", "port": server.port, "security": "plain", "sender": "bridge@clinic.example",
        "to": ["staff@clinic.example"], "personal": "full", "report": "wait",
    }  # fmt: skip
    with HandBridge(Email, settings, folder=tmp_path, retry={"schedule_s": [1]}) as bridge:
        bridge.report = NOT_YET
        bridge.receive("report-ready")
        for _ in range(5):
            bridge.run()
            bridge.clock.turn(120)
        assert (bridge.delivery().state, bridge.delivery().last_error) == ("pending", "GlycanAge answered 503")
        assert server.taken == []
        bridge.report = sample_report()
        bridge.run()
        assert bridge.delivery().state == "delivered"
    ((_, content),) = server.taken
    assert read(content)[2][0].get_content() == sample_report()


def test_a_mail_whose_file_never_comes_is_a_dead_letter_with_the_reason(full, server):
    """The clinic wanted it not without."""
    outcome = attempt(full("wait"), report=NEVER)
    assert (outcome.error, outcome.text) == (PermanentError, str(NEVER))
    assert server.taken == []


def test_a_file_that_is_too_large_counts_as_missing(full, server):
    """The server would refuse the whole mail."""
    large = sample_report() + b" " * 2_000_000
    assert attempt(full(report_max_mb=2), report=large).delivered
    text, _, files = read(server.taken[0][1])
    assert files == []
    assert "The report file is missing: the report file has more than 2 MB (report_max_mb). Sign in" in text

    outcome = attempt(full("wait", report_max_mb=2), report=large)
    assert (outcome.error, outcome.text) == (PermanentError, "the report file has more than 2 MB (report_max_mb)")


def test_a_file_of_just_that_size_goes(full, server):
    """The limit is what it says."""
    assert report_file("wait", lambda: b"x" * 1_000_000, max_mb=1).content == b"x" * 1_000_000
    with pytest.raises(PermanentError):
        report_file("wait", lambda: b"x" * 1_000_001, max_mb=1)


@pytest.mark.parametrize("html", [True, False])
def test_a_repeat_with_a_file_is_the_same_byte_for_byte(full, server, html, tmp_path):
    """Mail stores know the second one; random boundaries would make it another."""
    folder = tmp_path / "mails"
    folder.mkdir()
    if not html:
        (folder / "report-ready.html").write_text("")
    delivery = sample_delivery()
    for number in (1, 2):
        receipt = attempt(full(templates=folder), delivery, attempt=number).receipt
    first, second = (content for _, content in server.taken)
    assert first == second
    assert receipt.startswith(message_from_bytes(first)["Message-ID"])


def test_the_file_changes_neither_subject_nor_message_id(full, make, server):
    """A mail program shows a mail and its replay as one."""
    delivery = sample_delivery()
    for plugin in (full("none"), full("attach")):
        attempt(plugin, delivery)
    first, second = (message_from_bytes(content) for _, content in server.taken)
    assert [first[name] for name in ("Subject", "Message-ID", "To", "Date")] == [
        second[name] for name in ("Subject", "Message-ID", "To", "Date")
    ]


def test_other_events_have_no_file(full, server):
    """Nobody says of them that one is missing."""
    for event in ("kit-received", "order-status-changed", "delivery-dead"):
        assert attempt(full("wait"), sample_event(event), report=NEVER).delivered
        text, _, files = read(server.taken[-1][1])
        assert files == []
        assert "report file" not in text


def test_a_practice_that_nobody_is_named_for_asks_for_no_file(full, server):
    """What goes to nobody is not fetched; the reason is the one to mend."""
    plugin = full("wait", to=[], practices={"practice_1": {"to": ["one@clinic.example"]}})
    assert "nobody is to get mails about practice_67890" in attempt(plugin, report=NOT_YET).text


def test_a_large_mail_may_be_on_its_way_for_longer_than_one_answer(full, server, monkeypatch):
    """A clinic's line takes its time over a file: `mail_timeout_s` is for that; all else is as short as it was."""
    allowed = []
    plain = socket.socket.settimeout

    def settimeout(self, value):
        allowed.append(value)
        plain(self, value)

    monkeypatch.setattr(socket.socket, "settimeout", settimeout)
    plugin = full(connect_timeout_s=2, read_timeout_s=2, mail_timeout_s=60)
    assert attempt(plugin, report=b"x" * 9_000_000).delivered

    assert len([each for each in allowed if 50 < each <= 60]) == 1
    assert read(server.taken[0][1])[2][0].get_content() == b"x" * 9_000_000


# Settings


@pytest.mark.parametrize("personal", ["none", "ids"])
@pytest.mark.parametrize("report", ["attach", "wait"])
def test_a_file_goes_only_where_all_may_be_told(settings, personal, report):
    """It has the patient's name and values in it, whatever the mail leaves out."""
    with pytest.raises(ValidationError, match="write `personal: full` beside it, or `report: none`") as raised:
        settings(personal=personal, report=report)
    assert [each["loc"] for each in raised.value.errors()] == [("report",)]


def test_a_digest_takes_no_files(settings):
    """The delivery that sends it could attach its own alone, and the others' would be missing without a word."""
    with pytest.raises(ValidationError, match=r"a digest is sent by one delivery.* leave `digest` away") as raised:
        settings(personal="full", report="attach", digest={"at": "18:00"})
    assert [each["loc"] for each in raised.value.errors()] == [("report",)]
    assert settings(personal="full", report="none", digest={"at": "18:00"}).digest


@pytest.mark.parametrize("name", ["report-ready.txt", "report-ready.html"])
def test_a_template_of_ones_own_must_say_whether_the_file_is_there(settings, tmp_path, name):
    """Else a mail without its file looks like one that never had any."""
    folder = tmp_path / "mails"
    folder.mkdir()
    (folder / name).write_text("Novi nalaz: {{ event.kit_code }}")
    with pytest.raises(ValidationError, match=f"{name}: it does not say whether the report is attached"):
        settings(personal="full", report="attach", templates=folder)
    for told in ("{{ report_file }}", "{{ 'Nalaz je u prilogu.' if attached else 'Nalaz nije u prilogu.' }}"):
        (folder / name).write_text(f"Novi nalaz: {{{{ event.kit_code }}}} {told}")
        assert settings(personal="full", report="attach", templates=folder).templates == folder
    (folder / name).write_text("Novi nalaz: {{ event.kit_code }}")
    assert settings(personal="full", report="wait", templates=folder).templates == folder


def test_it_tells_that_the_file_leaves(full):
    """Whoever signs for the clinic's data reads it."""
    assert "with patients' ids and ages and the report file (PDF) of up to 10 MB, by 127.0.0.1" in full("wait").tells()
    assert "PDF" not in full("none").tells()
