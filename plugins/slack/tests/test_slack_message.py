"""What a message says: what may be told and no more, within Slack's limits, and without doing anything."""

import json
from zoneinfo import ZoneInfo

import pytest
from glycanbridge_slack.message import message_of, short, shown
from hypothesis import given, settings
from hypothesis import strategies as st
from serving import sample

from glycanbridge import EVENT_TYPES, Personal
from glycanbridge.events import parse

ZAGREB = ZoneInfo("Europe/Zagreb")
ID = "3f9c2a1b7d4e" + "0" * 52
CLOSING = ["2023-08-27 10:00 Europe/Zagreb\nEvent 3f9c2a1b7d4e"]
READ = {
    "order-status-changed": [
        "Order status changed",
        *("Order id\norder_12345", "Order type\nbulk-order", "Status\npending → paid", "Practice id\npractice_67890"),
        *("Kits\n50", "Amount\n250.00 USD"),
    ],
    "assignment-status-changed": [
        "Assignment status changed",
        *("Assignment id\nassignment_12345", "Status\npending → approved", "Practice id\npractice_67890"),
        *("Payment type\nbank-transfer", "Amount\n150.00 USD"),
        "Kits: 1\npatient_123 · KIT001234 · regular",
    ],
    "kit-received": [
        "Kit received at the laboratory",
        *("Kit code\nKIT001234", "Test id\ntest_56789", "Patient id\npatient_123", "Practice id\npractice_67890"),
        *("Assignment id\nassignment_12345", "Received\n2023-08-27 09:06 Europe/Zagreb", "Status\ninAnalysis"),
    ],
    "report-ready": [
        "Report ready",
        *("Report id\nreport_78901", "Test id\ntest_56789", "Kit code\nKIT001234", "Patient id\npatient_123"),
        *("Practice id\npractice_67890", "Assignment id\nassignment_12345", "GlycanAge\n45.2", "Chronological age\n42"),
        *("Report\n/reports/report_78901", "Created\n2023-08-27 09:56 Europe/Zagreb"),
    ],
}
"""What a person reads of the vendor's samples at `full`."""
PERSONAL = ("patient_123", "test_56789", "report_78901", "assignment_12345", "KIT001234", "KIT00")
AGES = ("45.2", "\n42")


def message(event_type="report-ready", personal=Personal.FULL, *, zone=ZAGREB, event_id=ID, timestamp=None, **data):
    """The message about the vendor's sample, changed as told, as it goes over the wire."""
    changes = {} if timestamp is None else {"timestamp": timestamp}
    told = message_of(parse(sample(event_type, data=data, **changes)), event_id, personal=personal, zone=zone)
    return json.loads(json.dumps(told | {"blocks": [each.to_dict() for each in told["blocks"]]}))


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_each_sample_reads_like_this(kit, event_type):
    """Words, order and form are what staff get to know."""
    assert kit.shown(message(event_type)) == READ[event_type] + CLOSING
    assert kit.faults(message(event_type)) == []


@pytest.mark.parametrize("event_type", EVENT_TYPES)
@pytest.mark.parametrize("personal", Personal)
def test_no_more_leaves_than_the_level_allows(kit, event_type, personal):
    """By default nothing that points at a patient; ages only at `full`; and nothing ever in the notification."""
    told = message(event_type, personal)
    text = "\n".join(kit.shown(told))
    for each in PERSONAL:
        assert (each in text) == (personal is not Personal.NONE and each in "\n".join(READ[event_type]))
    for each in AGES:
        assert (each in text) == (personal is Personal.FULL and event_type == "report-ready")
    assert ("…1234" in text) == (personal is Personal.NONE and event_type != "order-status-changed")
    assert told["text"] == kit.shown(told)[0] == READ[event_type][0]


def test_what_is_not_there_has_no_field_and_what_is_empty_a_dash(kit):
    """Slack refuses an empty text."""
    told = message(
        "assignment-status-changed", previousStatus=None, amount=None, currency=None, paymentType="", sets=[]
    )
    assert kit.shown(told)[2:] == [
        "Status\napproved",
        "Practice id\npractice_67890",
        "Payment type\n-",
        "Kits: 0",
        *CLOSING,
    ]
    assert kit.faults(told) == []


def test_fields_that_we_do_not_know_leave_at_no_level(kit):
    """Nobody has thought about what they say of a patient."""
    assert "needle" not in json.dumps(message(new="needle", patientName="needle"))


@pytest.mark.parametrize(
    ("amount", "currency", "read"),
    [(0, "EUR", "0.00 EUR"), (5, "EUR", "0.05 EUR"), (-12345, "EUR", "-123.45 EUR"), (100, None, "1.00")],
)
def test_an_amount_is_cents(kit, amount, currency, read):
    """As the vendor's page says."""
    assert f"Amount\n{read}" in kit.shown(message("order-status-changed", amount=amount, currency=currency))


def test_a_large_assignment_shows_its_first_sets_and_how_many_more_there_are(kit):
    """It is never refused, nor cut in silence."""
    sets = [{"patientId": f"patient_{n}", "kitCode": f"KIT{n:06}", "product": "regular"} for n in range(57)]
    lines = kit.shown(message("assignment-status-changed", Personal.NONE, sets=sets))[-2].split("\n")
    assert lines[:3] == ["Kits: 57", "…0000 · regular", "…0001 · regular"]
    assert lines[20:] == ["…0019 · regular", "… and 37 more"]
    assert kit.shown(message("assignment-status-changed", sets=sets[:20]))[-2].count("\n") == 20


@pytest.mark.parametrize(
    "value", ["<!channel>", "<@U1>", "<!here|x>", "<http://127.0.0.1|x>", "a & b", "&lt;!channel&gt;", ":tada:", "*_~`"]
)
def test_markup_in_a_value_is_shown_and_does_nothing(kit, value):
    """It stands in plain text, escaped as Slack asks for, and comes out as it was."""
    told = message(reportUrl=value)
    read = kit.shown(told)[9]
    assert kit.faults(told) == []
    assert read.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") == f"Report\n{value}"


@pytest.mark.parametrize("hidden", ["\n", "\r", "\t", "\u2028", "\u202e", "\u200b", "\x7f", "\x1b", "\ud800"])
def test_what_nobody_can_see_is_a_space(hidden):
    """A line end would let a value pass for another field, a turned direction for another value."""
    assert shown(f"a{hidden}b") == "a b"


@pytest.mark.parametrize(
    ("value", "read"), [("a" * 200, "a" * 200), ("a" * 201, "a" * 199 + "…"), ("&" * 50, "&amp;" * 39 + "…")]
)
def test_a_long_value_is_cut_where_it_can_be_seen_and_never_within_an_escape(value, read):
    """At 200 characters as Slack counts them."""
    assert shown(value) == read


def test_the_ends_of_time_can_be_told(kit):
    """An absurd timestamp must not keep a message from being posted."""
    assert kit.shown(message(timestamp=253402300799999))[-1].startswith("9999-12-31 23:59 UTC\n")


def test_only_a_hash_is_cut_in_the_reference():
    """`glycanbridge events show` takes the beginning of an id; one of the sender's is short enough."""
    assert [short(each) for each in (ID, "evt_1", "f" * 63, "g" * 64)] == ["3f9c2a1b7d4e", "evt_1", "f" * 63, "g" * 64]


@pytest.mark.parametrize("worst", ["&" * 5000, "\U0001f600" * 5000])
@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_the_longest_message_that_there_can_be_is_within_slacks_limits(kit, event_type, worst):
    """Every text as long as can be, and far more sets than are shown."""
    original = json.loads(sample(event_type))["data"]
    data = {name: worst for name, value in original.items() if isinstance(value, str)}
    if "sets" in original:
        data["sets"] = [{"patientId": worst, "kitCode": worst, "product": worst}] * 1000
    assert kit.faults(message(event_type, event_id="e" * 128, **data)) == []


WILD = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("<>&!@#|*_~`:\n\r\0\u202e")) | st.builds(
    lambda text, times: text * times, st.sampled_from(["<", "&", "x", "<!channel>", "\U0001f600"]), st.integers(1, 5000)
)
WILD_ID = WILD.map(lambda text: text.replace("\0", "") or "x")
WILD_AMOUNT = st.none() | st.integers()
SETS = st.lists(st.fixed_dictionaries({"patientId": WILD_ID, "kitCode": WILD_ID, "product": WILD}), max_size=70)
DATA = {
    "order-status-changed": st.fixed_dictionaries(
        {"orderId": WILD_ID, "orderType": WILD, "previousStatus": WILD, "currentStatus": WILD, "amount": WILD_AMOUNT}
    ),
    "assignment-status-changed": st.fixed_dictionaries(
        {"assignmentId": WILD_ID, "currentStatus": WILD, "currency": WILD, "amount": WILD_AMOUNT, "sets": SETS}
    ),
    "kit-received": st.fixed_dictionaries({"kitCode": WILD_ID, "practiceId": WILD_ID, "status": WILD}),
    "report-ready": st.fixed_dictionaries(
        {"kitCode": WILD_ID, "glycanAge": WILD, "reportUrl": WILD, "reportId": WILD_ID}
    ),
}


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(EVENT_TYPES).flatmap(lambda each: st.tuples(st.just(each), DATA[each])), st.sampled_from(Personal)
)
def test_whatever_stands_in_an_event_its_message_is_within_slacks_limits_and_harmless(kit, told, personal):
    """Checked by code that shares nothing with what made it."""
    event_type, data = told
    assert kit.faults(message(event_type, personal, **data)) == []


def test_the_checker_of_messages_finds_each_fault(kit):
    """It is the only witness of the test above."""
    good = message()

    def spoilt(change):
        told = json.loads(json.dumps(good))
        change(told)
        return kit.faults(told)

    assert kit.faults(good) == []
    for change in (
        lambda told: told.update(text="*Report* ready"),
        lambda told: told.update(link_names=True),
        lambda told: told.update(channel="#general"),
        lambda told: told["blocks"].extend(told["blocks"][:1] * 50),
        lambda told: told["blocks"][0]["text"].update(text="x" * 151),
        lambda told: told["blocks"][0]["text"].update(type="mrkdwn"),
        lambda told: told["blocks"][0]["text"].update(emoji=True),
        lambda told: told["blocks"][1]["fields"].append(told["blocks"][1]["fields"][0]),
        lambda told: told["blocks"][1]["fields"][0].update(text="<!channel>"),
        lambda told: told["blocks"][1]["fields"][0].update(text="a & b"),
        lambda told: told["blocks"][1]["fields"][0].update(text=""),
        lambda told: told["blocks"][1]["fields"][0].update(text="a\u202eb"),
        lambda told: told["blocks"][1]["fields"][0].update(text="x" * 2001),
        lambda told: told["blocks"][1].update(type="markdown"),
        lambda told: [each.update(text="x" * 1300) for each in told["blocks"][1]["fields"]],
    ):
        assert len(spoilt(change)) == 1
