"""What stands in a mail: what is told of a patient and what is not, in whose words, and to whom."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.utils import parsedate_to_datetime
from zoneinfo import ZoneInfo

import pytest
from babel import Locale
from glycanbridge_email import Email, EmailSettings
from glycanbridge_email.letters import NAMES, PACKAGED, Letters
from glycanbridge_email.mails import mail
from glycanbridge_email.views import in_body, in_subject
from glycanbridge_email.words import LONGEST_VALUE, Words, clean
from hypothesis import example, given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st
from pydantic import ValidationError
from serving import sample

from glycanbridge import EVENT_TYPES, DestinationError, PermanentError, Personal
from glycanbridge.events import parse

PACKAGED_LETTERS = Letters(None)
REST = [b"X-Auto-Response-Suppress", b"MIME-Version", b"Content-Type"]
IDS = {"patient_123", "KIT001234", "test_56789", "assignment_12345", "report_78901"}
AGES = {"45.2", "42"}
TOLD_AT_IDS = {
    "order-status-changed": set(),
    "assignment-status-changed": {"patient_123", "KIT001234", "assignment_12345"},
    "kit-received": {"patient_123", "KIT001234", "test_56789", "assignment_12345"},
    "report-ready": IDS,
}
ALWAYS = {
    "order-status-changed": {"order_12345", "bulk-order", "pending", "paid", "50", "$250.00", "practice_67890"},
    "assignment-status-changed": {"pending", "approved", "bank-transfer", "$150.00", "…1234", "regular"},
    "kit-received": {"inAnalysis", "…1234", "August 27, 2023", "practice_67890"},
    "report-ready": {"…1234", "August 27, 2023", "practice_67890"},
}


def parts(content):
    """A mail's subject, text and HTML, as a mail program reads them."""
    mail = message_from_bytes(content, policy=policy.default)
    html = mail.get_body(("html",))
    bodies = (each.get_content().replace("\r\n", "\n") if each else "" for each in (mail.get_body(("plain",)), html))
    return mail["Subject"], *bodies


def words_in(text):
    """What stands in it, as words: `42` is not in `KIT0042`, nor in a colour."""
    text = re.sub(r' style="[^"]*"|<meta[^>]*>', "", text)
    return set(re.findall(r"[\w.$…-]+", text.replace("&hellip;", "…")))


@pytest.fixture
def server(peer):
    """A mail server that takes all."""
    return peer()


@pytest.fixture
def last(server):
    """Subject, text and HTML of the last mail that was taken."""
    return lambda: parts(server.taken[-1][1])


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_each_event_arrives_as_one_mail_of_text_and_html_over_tls_with_a_login(mailbox, secure, deliver, event_type):
    """The thing itself, with a real mail server."""
    receipt = deliver(secure(mailbox), event_type)
    (mail,) = mailbox.mails
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    assert mailbox.taken[0][0] == ["staff@clinic.example"]
    assert receipt == f"{mail['Message-ID']} 250 2.0.0"
    assert mailbox.logins == 1


# What is told of a patient


@pytest.mark.parametrize("event_type", EVENT_TYPES)
@pytest.mark.parametrize("personal", ["none", "ids", "full"])
def test_a_mail_tells_of_a_patient_what_personal_allows_and_no_more(
    make, *, deliver, server, last, event_type, personal
):
    """Text and HTML tell the same."""
    deliver(make(server.port, personal=personal), event_type)
    allowed = {"none": set(), "ids": TOLD_AT_IDS[event_type], "full": TOLD_AT_IDS[event_type]}[personal]
    if personal == "full" and event_type == "report-ready":
        allowed = allowed | AGES
    _, *bodies = last()
    for body in bodies:
        assert words_in(body) & (IDS | AGES) == allowed
        plain = {each for each in ALWAYS[event_type] if not (each.startswith("…") and personal != "none")}
        assert {each for each in plain if each in body} == plain


@pytest.mark.parametrize("event_type", EVENT_TYPES)
@pytest.mark.parametrize("personal", ["none", "ids", "full"])
def test_a_subject_tells_nothing_of_a_patient_at_any_level(make, *, deliver, server, last, event_type, personal):
    """Subjects are never encrypted: not even a kit code's last letters."""
    deliver(make(server.port, personal=personal), event_type)
    subject, _, _ = last()
    assert subject.startswith("GlycanAge: ")
    assert not [each for each in (*IDS, *AGES, "1234", "patient") if each in subject]


@pytest.mark.parametrize("name", ["kit_code", "patient_id", "glycan_age", "sets", "report_url", "test_id"])
def test_a_subject_of_the_clinics_own_cannot_tell_of_a_patient_either(settings, tmp_path, name):
    """There is no such value for it to name, also at `personal: full`, and also where no sample comes by."""
    folder = tmp_path / "mails"
    folder.mkdir()
    for told in (f"{{{{ event.{name} }}}}", f"{{% if event.practice_id == 'x' %}}{{{{ event.{name} }}}}{{% endif %}}"):
        (folder / "report-ready.subject.txt").write_text(f"A report {told}")
        with pytest.raises(
            ValidationError, match=rf"report-ready.subject.txt: there is no event.{name}; there is event"
        ):
            settings(personal="full", templates=folder)


def test_fields_that_glycanage_may_add_some_day_are_not_told(make, deliver, server):
    """A field that nobody has thought about counts as personal."""
    deliver(make(server.port, personal="full"), patientName="Zdenka", event_type="kit-received")
    assert b"Zdenka" not in server.taken[0][1]


# What an outsider may put into a value

EVIL = [
    "=?utf-8?q?=0D=0ABcc:_evil=40evil.example?=",  # an encoded word: Python before 3.11.10 decodes and writes it
    "=?utf-8?b?DQpCY2M6IGV2aWxAZXZpbC5leGFtcGxl?=",
    "\r\nBcc: evil@evil.example",
    "\x0b",
    "\x85",
    "\u2028Bcc: evil@evil.example",
    "\u2029",
    "\u202egnp",
    "\x1b[2J",
]


@pytest.mark.parametrize("evil", EVIL)
def test_no_value_can_begin_a_header_or_a_line(make, deliver, server, last, evil):
    """A header of its own would send the mail elsewhere; a line of its own would say what nobody wrote."""
    deliver(make(server.port), "order-status-changed", currentStatus=f"paid{evil}x", practiceId=f"p{evil}x")
    mail = message_from_bytes(server.taken[0][1], policy=policy.default)
    assert set(mail.keys()) == {
        *("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "X-Auto-Response-Suppress"),
        *("MIME-Version", "Content-Type"),
    }
    subject, text, html = last()
    assert subject.strip().startswith("GlycanAge: an order is now paid")
    for body in (subject, text.replace("\n", ""), html.replace("\n", "")):
        assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202e]", body)
    assert not [line for line in text.splitlines() if line.startswith(("Bcc", "x"))]
    assert server.taken[0][0] == ["staff@clinic.example"]


def test_html_in_a_value_is_shown_not_run(make, deliver, server, last):
    """In the HTML it is escaped; in text it stands as it is."""
    evil = "<script>alert(1)</script><img src=x onerror='a'>\"&"
    deliver(make(server.port, personal="full"), patientId=evil, glycanAge=evil)
    _, text, html = last()
    assert evil in text
    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&lt;img src=x onerror=&#39;a&#39;&gt;&#34;&amp;" in html


@pytest.mark.parametrize("value", ["{{ 7 * 7 }}", "{% raw %}", ".", "..", "\ud800", "x" * 100_000, "č" * 900])
def test_odd_values_arrive_as_text(make, deliver, server, last, value):
    """Templates, encodings, SMTP's own dot, halves of characters and a value without end."""
    deliver(make(server.port), "order-status-changed", currentStatus="paid" if value == "\ud800" else value)
    subject, text, html = last()
    shown = "paid" if value == "\ud800" else value[:LONGEST_VALUE]
    assert "49" not in text.replace("1149", "")
    assert shown in text
    assert subject.startswith(f"GlycanAge: an order is now {shown[:100]}".strip())
    assert len(subject) <= 200
    assert all(len(line) <= 998 for line in server.taken[0][1].split(b"\r\n"))
    assert html


def test_nothing_in_the_bytes_is_beyond_ascii(make, deliver, server):
    """Not every server takes more, and none needs to: `č` travels in quoted-printable."""
    deliver(make(server.port, sender_name="Klinika Živa", locale="hr"), practiceId="Žičara")
    assert server.taken[0][1].isascii()
    mail = message_from_bytes(server.taken[0][1], policy=policy.default)
    assert mail["From"].addresses[0].display_name == "Klinika Živa"
    assert "Žičara" in mail.get_body(("plain",)).get_content()


@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=300))
@example(text="=?utf-8?q?=0D=0ABcc:_e=40e.example?=")
@example(text="\u3000" * 200)
@example(text=" \u0300" * 80)
@example(text="a" * 199 + "\U0001f600" * 3)
@settings_of_hypothesis(max_examples=60, deadline=None)
def test_whatever_stands_in_an_event_becomes_a_mail(text):
    """No value may be poison: a delivery that can never be written would be tried for ever."""
    words = Words(Locale.parse("en"), ZoneInfo("UTC"))
    data = {"currentStatus": text, "orderType": text, "practiceId": text, "currency": text}
    event = parse(sample("order-status-changed", data=data))
    own = EmailSettings(host="localhost", sender="a@b.example", to=["c@d.example"])
    letter = PACKAGED_LETTERS.letter(
        event.type, subject=in_subject(event, words), body=in_body(event, Personal.FULL, words)
    )
    at, to = datetime(2026, 11, 23, tzinfo=UTC), own.recipients_of(text)
    made, again = (mail(letter, name="<x@b.example>", at=at, recipients=to, settings=own) for _ in range(2))
    assert made == again
    assert made.content.isascii()
    head = made.content.partition(b"\r\n\r\n")[0]
    names = [line.partition(b":")[0] for line in head.split(b"\r\n") if line[:1] not in b" \t"]
    assert names == [b"From", b"To", b"Subject", b"Date", b"Message-ID", b"Auto-Submitted", *REST]
    _, told, html = parts(made.content)
    assert clean(text).strip() in " ".join(told.split("\n"))
    assert html


# A repeat


def test_a_repeat_is_the_same_mail_to_the_byte(make, deliver, server, clock):
    """So that whoever stores mails sees that they are one: by a new instance, later, in another attempt."""
    at = clock.moment
    deliver(make(server.port), received_at=at)
    clock.turn(86_400)
    deliver(make(server.port), received_at=at, attempt=7)
    deliver(make(server.port), "kit-received", number=2, received_at=at)
    first, again, other = (content for _, content in server.taken)
    assert first == again
    assert parsedate_to_datetime(message_from_bytes(first)["Date"]) == at
    ids = [message_from_bytes(each)["Message-ID"] for each in (first, other)]
    assert ids[0] != ids[1]
    assert re.fullmatch(r"<[0-9a-f]{40}@clinic\.example>", ids[0])


def test_no_machine_answers(make, deliver, server):
    """Out-of-office answers and the like would go round in circles."""
    deliver(make(server.port, reply_to="desk@clinic.example"))
    mail = message_from_bytes(server.taken[0][1], policy=policy.default)
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["X-Auto-Response-Suppress"] == "All"
    assert mail["Reply-To"] == "desk@clinic.example"
    assert mail["From"] == "GlycanBridge <bridge@clinic.example>"


# Words


@pytest.mark.parametrize(
    ("locale", "zone", "when"),
    [
        ("en", "UTC", "August 27, 2023, 8:00\u202fAM"),
        ("hr", "Europe/Zagreb", "27. kolovoza 2023. 10:00"),
        ("de-AT", "Europe/Vienna", "27. August 2023, 10:00"),
        ("en_GB", "America/New_York", "27 August 2023, 04:00"),
    ],
)
def test_times_are_told_in_the_clinics_language_and_zone(make, *, deliver, server, last, locale, zone, when):
    """A month's name in the right case, in the right order."""
    deliver(make(server.port, locale=locale, time_zone=zone), "order-status-changed")
    _, text, html = last()
    assert when.replace("\u202f", " ") in text.replace("\u202f", " ")
    assert when.replace("\u202f", " ") in html.replace("\u202f", " ")


@pytest.mark.parametrize("timestamp", [253402300799999, -62135596800000])
def test_the_ends_of_time_can_be_told(make, deliver, server, timestamp):
    """An absurd timestamp must not keep a mail back."""
    for zone in ("Asia/Tokyo", "America/New_York"):
        deliver(make(server.port, time_zone=zone), timestamp=timestamp)
    assert len(server.taken) == 2


@pytest.mark.parametrize(
    ("amount", "currency", "locale", "told"),
    [
        (25000, "USD", "en", "$250.00"),
        (25005, "EUR", "hr", "250,05 €"),
        (25000, "JPY", "en", "25000 (in the smallest unit of JPY)"),
        (25000, "KWD", "en", "25000 (in the smallest unit of KWD)"),
        (25000, "???", "en", "25000 (in the smallest unit of ???)"),
        (25000, None, "en", "25000"),
        (0, "USD", "en", "$0.00"),
        (-100, "USD", "en", "-$1.00"),
    ],
)
def test_amounts_are_told_as_money_where_it_is_plain_what_a_cent_is(
    make, *, deliver, server, last, amount, currency, locale, told
):
    """What "in cents" means for yen and dinars nobody has said: then the number stands as it came."""
    deliver(make(server.port, locale=locale), "order-status-changed", amount=amount, currency=currency)
    assert f"Amount:              {told}\n" in last()[1].replace("\xa0", " ")


def test_what_is_not_there_has_no_line(make, deliver, server, last):
    """Paid with tokens: no amount. A new assignment: no status before."""
    deliver(make(server.port), "assignment-status-changed", amount=None, currency=None, previousStatus=None, sets=[])
    for body in last()[1:]:
        assert "Amount" not in body
        assert "None" not in body
        assert "Before" not in body


# The clinic's own templates


@pytest.fixture
def folder(tmp_path):
    """A clinic's directory of templates."""
    folder = tmp_path / "mails"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("name", [each for each in NAMES if not each.startswith("digest")])
def test_each_part_can_be_replaced_alone(make, *, deliver, server, last, folder, name):
    """The other parts stay as they are packaged."""
    (folder / name).write_text("Novi nalaz č")
    plugin = make(server.port, templates=folder)
    kind, _, part = name.partition(".")
    deliver(plugin, kind)
    own = dict(zip(("subject.txt", "txt", "html"), last(), strict=True))
    assert own.pop(part).strip() == "Novi nalaz č"
    assert not [each for each in own.values() if "Novi" in each]


def test_own_parts_may_be_included_and_the_layout_replaced(make, deliver, server, last, folder):
    """A clinic's foot line, once for all."""
    (folder / "_foot.txt").write_text("Klinika Živa, Zagreb")
    (folder / "_own.txt").write_text("Kit {{ event.kit_code }}")
    (folder / "kit-received.txt").write_text("{% include '_own.txt' %} {% include '_foot.txt' %}")
    (folder / "layout.html").write_text("<p>Klinika</p>{% block body %}{% endblock %}")
    deliver(make(server.port, templates=folder), "kit-received")
    _, text, html = last()
    assert text == "Kit …1234 Klinika Živa, Zagreb\n"
    assert html.startswith("<p>Klinika</p>")


def test_what_is_not_there_is_nothing_in_an_own_template_too(make, deliver, server, last, folder):
    """Not the word None."""
    (folder / "order-status-changed.txt").write_text("Iznos: [{{ event.amount }}]")
    deliver(make(server.port, templates=folder), "order-status-changed", amount=None)
    assert last()[1] == "Iznos: []\n"


def test_an_empty_html_template_makes_mails_of_text_alone(make, deliver, server, folder):
    """Some clinics want no HTML."""
    (folder / "report-ready.html").write_text("")
    deliver(make(server.port, templates=folder))
    mail = message_from_bytes(server.taken[0][1], policy=policy.default)
    assert mail.get_content_type() == "text/plain"


BROKEN = {
    "{{ event.kti_code }}": "there is no event.kti_code; there is attached, event.",
    "{% if false %}{{ patient }}{% endif %}": "there is no patient; there is attached, event.",
    "{{ event.patient_id }}": "line 1: 'dict object' has no attribute 'patient_id'; with these settings there is",
    "\n{{ event.kit_code": "report-ready.txt, line 2: ",
    "\n\n{% if %}": "report-ready.txt, line 3: ",
    "{{ event.kit_code|safe }}": "No filter named 'safe'",
    "{% include 'no.txt' %}": "no.txt",
    "{% include '../bridge.yaml' %}": "bridge.yaml",
    "{{ event.kit_code.__class__.__mro__ }}": "unsafe",
    "{{ 1 / 0 }}": "report-ready.txt, line 1: division by zero",
    "  \n": "report-ready.txt: it is empty",
    "\udcff": "a template: 'utf-8' codec can't decode byte",
}


@pytest.mark.parametrize("text", list(BROKEN))
def test_a_broken_template_is_told_when_the_settings_are_read(settings, folder, text):
    """By name, line and what there is: `glycanbridge check` finds it before a patient's event does."""
    (folder / "report-ready.txt").write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ValidationError) as raised:
        settings(templates=folder)
    (error,) = raised.value.errors()
    assert BROKEN[text] in error["msg"]
    assert error["loc"] == ("templates",)


def test_what_may_not_be_told_can_be_asked_for(settings, folder):
    """One template for every level: `is defined`."""
    (folder / "report-ready.txt").write_text("{% if event.patient_id is defined %}{{ event.patient_id }}{% endif %}x")
    for personal in ("none", "ids", "full"):
        settings(templates=folder, personal=personal)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("report_ready.txt", "report-ready.txt"),
        ("report-ready.htm.html", "report-ready.html"),
        ("digests.txt", "digest.txt"),
    ],
)
def test_a_template_whose_name_is_misspelt_is_told(settings, folder, name, hint):
    """It would never be used, and nobody would know."""
    (folder / name).write_text("x")
    with pytest.raises(ValidationError, match=rf"{name} is no template's name; did you mean {hint}"):
        settings(templates=folder)


def test_a_directory_of_templates_that_is_not_there_is_told(settings, tmp_path):
    """Not silently the packaged ones."""
    with pytest.raises(ValidationError, match="there is no such directory"):
        settings(templates=tmp_path / "nowhere")


def test_a_template_that_fails_at_an_event_stops_the_destination_and_quotes_nobody(make, deliver, server, folder):
    """It worked with the samples. Until it is mended nothing is used up; the error's own text could hold a value."""
    (folder / "report-ready.txt").write_text("x\n{{ {'KIT001234': 1}[event.kit_code] }}")
    plugin = make(server.port, templates=folder, personal="full")
    for _ in range(2):
        with pytest.raises(DestinationError, match=r"report-ready.txt, line 2: UndefinedError; mend it") as raised:
            deliver(plugin, kitCode="KIT-OF-SOMEBODY", number=2)
        assert "SOMEBODY" not in str(raised.value)
    deliver(plugin)
    assert len(server.taken) == 1


def test_no_packaged_template_is_missing_or_left_over():
    """What a clinic may replace is what there is."""
    assert {each.name for each in PACKAGED.iterdir()} == {*NAMES, "layout.html", "_rows.txt", "_rows.html", "_foot.txt"}


@pytest.mark.parametrize("personal", ["none", "ids", "full"])
def test_the_packaged_templates_pass_the_check_that_a_clinics_must(settings, personal):
    """With each level, and with whatever may be missing missing."""
    own = settings(personal=personal, templates=PACKAGED)
    assert own.templates == PACKAGED


# Recipients

PRACTICES = {
    "practice_67890": {"to": ["one@clinic.example"], "cc": ["archive@clinic.example"]},
    "practice_2": {"to": ["two@clinic.example", "zwei@clinic.example", "two@clinic.example"]},
}


@pytest.mark.parametrize(
    ("practice", "to"),
    [
        ("practice_67890", ["one@clinic.example", "archive@clinic.example"]),
        ("practice_2", ["two@clinic.example", "zwei@clinic.example"]),
        ("practice_3", ["staff@clinic.example", "boss@clinic.example"]),
    ],
)
def test_each_practice_has_its_recipients_and_the_others_the_default(make, deliver, server, practice, to):
    """And nobody else, in the envelope as in the head of the mail; nobody twice."""
    deliver(make(server.port, practices=PRACTICES, cc=["boss@clinic.example"]), practiceId=practice)
    recipients, content = server.taken[0]
    assert recipients == to
    mail = message_from_bytes(content, policy=policy.default)
    heads = [each.addr_spec for name in ("To", "Cc") if mail[name] for each in mail[name].addresses]
    assert list(dict.fromkeys(heads)) == to


@pytest.mark.parametrize("digest", [None, {"at": "18:00"}])
def test_a_practice_that_nobody_is_named_for_is_a_dead_letter(make, deliver, server, digest):
    """Nothing reaches the wrong place: without a default, nobody gets another practice's events."""
    plugin = make(server.port, to=[], practices=PRACTICES, digest=digest)
    with pytest.raises(PermanentError, match=r"about practice_3: name its recipients in `settings.practices`"):
        deliver(plugin, practiceId="practice_3")
    assert server.commands == []


@pytest.mark.parametrize(
    "address",
    [
        *(
            "a@b.example, evil@evil.example",
            "a@b.example;evil@evil.example",
            "a@b.example\r\nBcc: e@e.example",
            "a@b@c",
        ),
        *(
            "Ana <a@b.example>",
            "<a@b.example>",
            "a b@c.example",
            '"a b"@c.example',
            "@b.example",
            "a@",
            "a",
            "",
            " a@b.c",
        ),
        *(
            "a@b..example",
            ".a@b.example",
            "a.@b.example",
            "a..b@c.example",
            "a@-b.example",
            "a@b.example.",
            "a@[1.2.3.4]",
        ),
        *("a\x00@b.example", "a@b.exam\u2028ple", "x" * 65 + "@b.example", f"a@{'b.' * 130}example", "a@b_c.example"),
    ],
)
def test_a_recipient_is_one_plain_address(settings, address):
    """A comma would inject a second one, a line end a header."""
    for place in ({"to": [address]}, {"cc": [address]}, {"sender": address}, {"reply_to": address}):
        with pytest.raises(
            ValidationError, match=r"expected one address and nothing else|expected an address in ASCII"
        ):
            settings(**place)
    with pytest.raises(ValidationError, match=r"expected one address|in ASCII"):
        settings(practices={"practice_1": {"to": [address]}})


@pytest.mark.parametrize("address", ["ćiro@clinic.example", "ciro@klinika-č.example"])
def test_an_address_beyond_ascii_is_refused_with_what_to_write(settings, address):
    """Not every server on the way would take it, and the mail would be lost there."""
    with pytest.raises(ValidationError, match=r"expected an address in ASCII \(write a domain .* in its xn-- form\)"):
        settings(to=[address])


@pytest.mark.parametrize(
    "address", ["a+b@c.example", "o'neil@clinic.example", "staff@localhost", "a.b-c@xn--klinika-.example"]
)
def test_usual_addresses_are_taken(settings, address):
    """A rule that refuses good ones is as bad."""
    if address.endswith("-.example"):
        address = "a.b-c@xn--klinika-ggb.example"
    assert settings(to=[address]).to == (address,)


# Settings


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"to": []}, "there is nobody to write to"),
        ({"to": [], "practices": PRACTICES, "cc": ["a@b.example"]}, "`cc` without `to`"),
        ({"username": "bridge"}, "a login takes both"),
        ({"password": "x"}, "a login takes both"),
        ({"host": "smtp.clinic.example", "username": "b", "password": "x"}, "would tell the password to everybody"),
        ({"host": "smtp.clinic.example", "personal": "ids"}, "would tell of patients on the way"),
        ({"host": "http://smtp.clinic.example"}, "expected a host's name"),
        ({"host": "smtp.clinic.example:587"}, "expected a host's name"),
        ({"host": ""}, "expected a host's name"),
        ({"port": 0}, "greater than or equal to 1"),
        ({"security": "none"}, "'starttls', 'tls' or 'plain'"),
        ({"username": "b", "password": "geheim-ü"}, "expected printable ASCII"),
        ({"username": "b", "password": ""}, "expected printable ASCII"),
        ({"username": "b\r\nx", "password": "x"}, "expected printable ASCII"),
        ({"username": "ü", "password": "x"}, "expected printable ASCII"),
        ({"sender_name": "x\r\nBcc: e@e.example"}, "one line"),
        ({"sender_name": " "}, "one line"),
        ({"sender_name": "=?utf-8?q?=0Ax?="}, "one line"),
        ({"helo_name": "a b"}, "expected a host's name"),
        ({"time_zone": "Europe/Zagrab"}, "expected an IANA time zone"),
        ({"locale": "xx_YY"}, "expected a language"),
        ({"locale": ""}, "expected a language"),
        ({"digest": {"at": "25:00"}}, 'expected a time of day such as "18:00"'),
        ({"digest": {"at": "8:00"}}, 'expected a time of day such as "18:00"'),
        ({"digest": {"at": "18:00", "weekdays": []}}, "at least 1 item"),
        ({"digest": {"at": "18:00", "weekdays": ["someday"]}}, "monday"),
        ({"practices": {"practice_1": {"to": []}}}, "at least 1 item"),
        ({"personal": "all"}, "'none', 'ids' or 'full'"),
        ({"read_timeout_s": 0}, "greater than 0"),
        ({"verify": False}, "Extra inputs"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused_with_what_to_write(settings, more, why):
    """At start, not at the first event."""
    with pytest.raises(ValidationError, match=re.escape(why)) as raised:
        settings(**more)
    assert "geheim" not in str(raised.value)


def test_plain_is_for_a_server_on_this_machine(settings):
    """There a login and patients' data go over no wire; to others, mails without them may."""
    for host in ("localhost", "127.0.0.1", "::1"):
        settings(host=host, username="b", password="x", personal="full")
    settings(host="smtp.clinic.example")
    ports = [
        settings(None, host="smtp.clinic.example", security=each).port_number for each in ("starttls", "tls", "plain")
    ]
    assert ports == [587, 465, 25]


def test_timeouts_are_shorter_than_an_attempt(settings):
    """Also those that nobody has written down."""
    settings(context={"timeout_s": 30})
    with pytest.raises(ValidationError, match="expected less than the destination's timeout_s, 20") as raised:
        settings(context={"timeout_s": 20})
    assert [each["loc"] for each in raised.value.errors()] == [("mail_timeout_s",)]
    settings(context={"timeout_s": 20}, mail_timeout_s=15)


def test_a_file_of_authorities_that_is_none_is_told(settings, tmp_path):
    """Not at the first mail."""
    (tmp_path / "ca.pem").write_text("no certificate")
    for name, why in (("ca.pem", "expected a file of PEM certificates"), ("nowhere.pem", "No such file or directory")):
        with pytest.raises(ValidationError, match=why):
            settings(ca_file=tmp_path / name)


def test_secrets_are_never_shown(settings):
    """Neither by the settings nor by the plugin."""
    own = settings(username="bridge", password="secret-4711")
    plugin = Email(own)
    for told in (repr(own), str(own), own.model_dump_json(), repr(plugin), plugin.tells()):
        assert "4711" not in told


def test_every_setting_is_described():
    """`glycanbridge schema` shows the descriptions."""
    properties = EmailSettings.model_json_schema()["properties"]
    assert {name for name, each in properties.items() if len(each["description"]) > 10} == set(
        EmailSettings.model_fields
    )


def test_it_tells_what_leaves_and_to_whom(settings):
    """The line that `glycanbridge check` prints for whoever answers for patients' data."""
    assert Email(settings(25, practices=PRACTICES)).tells() == (
        "a mail for each event, without patients' ids and ages, of a kit code the last four letters,"
        " by 127.0.0.1:25 (plain)"
        " from bridge@clinic.example to practice_67890: one@clinic.example, archive@clinic.example; practice_2:"
        " two@clinic.example, zwei@clinic.example; all others: staff@clinic.example"
    )
    digest = {"at": "18:00"}
    told = Email(
        settings(25, to=[], practices=PRACTICES, digest=digest, personal="full", time_zone="Europe/Zagreb")
    ).tells()
    assert told.startswith("a mail a day for each practice (18:00 Europe/Zagreb), with patients' ids and ages, by ")
    assert told.endswith("; no other practice's: those become dead letters")


def test_it_is_light_to_import():
    """Neither pytest's nor a web framework's weight: locales and templates are read when they are needed."""
    code = (
        "import sys, time, glycanbridge.plugins, glycanbridge.settings, glycanbridge.destinations;"
        "from glycanbridge import hookimpl; before = set(sys.modules); import glycanbridge_email;"
        "print(*{each.split('.')[0] for each in set(sys.modules) - before})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {each for each in done.stdout.split() if each not in sys.stdlib_module_names}
    assert loaded <= {"glycanbridge", "glycanbridge_email", "babel", "jinja2", "markupsafe", "filelock", "tzdata"}


def test_a_delivery_from_long_ago_keeps_its_date(make, deliver, server):
    """The mail's date is when the bridge heard of it."""
    deliver(make(server.port), received_at=datetime(2024, 2, 29, 23, 59, 59, 999_000, tzinfo=UTC))
    assert message_from_bytes(server.taken[0][1])["Date"] == "Thu, 29 Feb 2024 23:59:59 +0000"
