"""The simulator's pure parts: the story, what ought to be answered, the figures, and the report's file."""

from __future__ import annotations

import io
import json
from collections import Counter

import pypdf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glycanbridge.event_types import EVENT_TYPES
from glycanbridge.events import parse
from glycanbridge.identity import event_id
from glycanbridge.simulator.expecting import Expectations
from glycanbridge.simulator.figures import percentile, rows
from glycanbridge.simulator.lives import WEEK_MS
from glycanbridge.simulator.pdf import report_pdf
from glycanbridge.simulator.posting import Answer
from glycanbridge.simulator.sender import Fate
from glycanbridge.simulator.story import FORGED_AGE, UNKNOWN_TYPE, story

BEGIN_MS = 1_790_000_000_000
TWISTS = {
    "duplicate", "other white space", "out of order", "late", "unknown type", "forged", "unsigned",
    "same millisecond", "re-issued",
}  # fmt: skip


def told(seed=1, **more):
    """The sendings of a story."""
    return story(**{"seed": seed, "begin_ms": BEGIN_MS} | more).sendings


def data_of(sendings, event_type):
    """The data of each event of a type that is taken, once."""
    return [each.data for each in sendings if (each.type, each.expected) == (event_type, "accepted")]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(), kits=st.integers(4, 20))
def test_everything_odd_is_in_every_story(seed, kits):
    """Whoever rehearses with another seed rehearses the same troubles."""
    sendings = told(seed, kits=kits)

    assert {each.twist for each in sendings} >= TWISTS
    assert {each.expected for each in sendings} == {"accepted", "duplicate", "quarantined", "401"}


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(), kits=st.integers(1, 20), practices=st.integers(1, 3), clean=st.booleans())
def test_every_event_is_one_of_glycanages(seed, kits, practices, clean):
    """But for the unknown type; and what the bridge calls a repeat is exactly what the story does."""
    names = [f"practice_{number}" for number in range(practices)]
    sendings = told(seed, kits=kits, practices=names, clean=clean)
    ids = {}
    for each in sendings:
        if each.type != UNKNOWN_TYPE:
            event = parse(each.body)
            assert (event.type, event.practice_id in names) == (each.type, True)
        ids.setdefault(each.number, set()).add(event_id(each.body).id)

    assert all(len(each) == 1 for each in ids.values())
    assert len(set.union(*ids.values())) == len(ids)
    taken = Counter(each.number for each in sendings if each.expected == "accepted")
    assert set(taken.values()) == {1}
    assert {each.number for each in sendings if each.expected == "duplicate"} <= set(taken)


def test_the_same_arguments_give_the_same_bytes():
    """A rehearsal can be repeated; and another beginning or seed shares no event and no kit with it."""
    again, later, other = told(), told(begin_ms=BEGIN_MS + 1), told(2)

    assert told() == again
    for another in (later, other):
        assert {each.body for each in told()} & {each.body for each in another} == set()
    kits = [{data["kitCode"] for data in data_of(each, "kit-received")} for each in (again, later)]
    assert len(kits[0]) == 10
    assert kits[0] != kits[1]


def test_one_kit_is_stuck_and_one_report_comes_again_under_a_new_id():
    """The two cases that a clinic asks for: "Where is this result?", and "Has it changed?"."""
    received = {data["testId"] for data in data_of(told(), "kit-received")}
    reports = data_of(told(), "report-ready")
    tests = Counter(data["testId"] for data in reports)
    (stuck,) = [data for data in data_of(told(), "kit-received") if data["testId"] not in tests]

    assert (len(received), set(tests) - received) == (10, set())
    assert BEGIN_MS + 6 * WEEK_MS - stuck["receivedAt"] > 3 * WEEK_MS  # longer than any alarm waits by default
    assert sorted(tests.values()) == [1] * 8 + [2]
    assert len({data["reportId"] for data in reports}) == len(reports)


def test_what_is_late_or_out_of_order_really_is():
    """The order of sending is not the order of the timestamps."""
    sendings = told()
    times = [(each.twist, json.loads(each.body)["timestamp"], each.at_ms) for each in sendings]
    orders = [each.data["previousStatus"] for each in sendings if each.type == "order-status-changed"]
    (late,) = [each for each in times if each[0] == "late"]
    swapped = [each for each in sendings if each.twist == "out of order" and each.type == "kit-received"]
    report = next(each for each in sendings if each.type == "report-ready" and each.about == swapped[0].about)

    assert orders[:2] == ["approved", "pending"]
    assert late[2] - late[1] > WEEK_MS
    assert sendings.index(report) < sendings.index(swapped[0])
    same = [timestamp for twist, timestamp, _ in times if twist == "same millisecond"]
    assert (len(same), len(set(same))) == (2, 1)


def test_the_last_event_happens_at_the_end_of_the_weeks():
    """So a story that is to end now has nothing in the future."""
    for clean in (False, True):
        times = [json.loads(each.body)["timestamp"] for each in told(clean=clean, weeks=3)]
        assert max(times) == BEGIN_MS + 3 * WEEK_MS
        assert min(times) >= BEGIN_MS


def test_a_clean_story_has_nothing_odd():
    """For a first look at what a bridge does."""
    sendings = told(clean=True)
    stamps = [json.loads(each.body)["timestamp"] for each in sendings]

    assert {(each.twist, each.expected, each.signature) for each in sendings} == {("", "accepted", "right")}
    assert len(data_of(sendings, "report-ready")) == len(data_of(sendings, "kit-received")) == 10
    assert stamps == sorted(stamps)


def test_ages_are_strings_and_tokens_have_no_amount():
    """As in the vendor's samples: "45.2", also "44"; the amount is null "if paid with tokens"."""
    sendings = [each for seed in range(4) for each in told(seed)]
    ages = [data["glycanAge"] for data in data_of(sendings, "report-ready")]
    amounts = {(data["paymentType"], data["amount"] is None) for data in data_of(sendings, "assignment-status-changed")}

    assert all(isinstance(each, str) for each in ages)
    assert {"." in each for each in ages} == {True, False}
    assert amounts == {("token", True), ("bank-transfer", False)}
    assert FORGED_AGE not in ages


def test_only_some_types_can_be_told():
    """A webhook may be registered for some of them."""
    some = story(seed=1, begin_ms=BEGIN_MS).only({"kit-received"})

    assert {each.type for each in some.sendings} == {"kit-received"}


@pytest.mark.parametrize(
    ("answers", "right"),
    [
        ([Answer(200, "accepted"), Answer(200, "duplicate")], [True, True]),
        ([Answer(200, "accepted"), Answer(200, "accepted")], [True, False]),
        ([Answer(200, "duplicate")], [False]),
        ([Answer(None, error="reset"), Answer(200, "duplicate"), Answer(200, "accepted")], [False, True, False]),
        ([Answer(503), Answer(200, "accepted")], [False, True]),
        ([Answer(401), Answer(200, "duplicate")], [False, False]),
        ([Answer(200, "")], [True]),
        ([Answer(200, "quarantined")], [False]),
    ],
)
def test_an_event_is_accepted_once_and_then_a_duplicate(answers, right):
    """Whichever comes first; and after a lost answer nobody knows."""
    (sending,) = told(clean=True)[:1]
    expectations = Expectations()

    assert [expectations.fits(sending, each) for each in answers] == right


def test_the_figures_are_by_type_and_for_all():
    """In the order of a kit's life, with answers' times by nearest rank."""
    first, *_, last = told(clean=True)
    refused = Answer(503, took_ms=100)
    fates = [
        Fate(sending=last, answers=(refused, Answer(200, "accepted", took_ms=3)), fits=True),
        Fate(sending=first, answers=(refused,) * 4, fits=False),
    ]
    told_rows = rows(fates)

    assert [each["type"] for each in told_rows] == [EVENT_TYPES[0], "report-ready", "all"]
    assert told_rows[2] == {
        "type": "all", "sent": 2, "accepted": 1, "duplicate": 0, "quarantined": 0, "refused_401": 0, "retried": 4,
        "lost": 1, "unexpected": 1, "p50_ms": 100, "p99_ms": 100,
    }  # fmt: skip
    assert (rows([]), percentile([], 50), percentile([1, 2, 3, 4], 50)) == ([], None, 2)
    assert fates[1].trouble.endswith("expected accepted, came the last of 4 times: 503")


def test_a_report_is_a_pdf_that_a_strict_reader_takes():
    """A clinic's viewer is one: a page of A4 with the report's own values, marked as a sample."""
    data = data_of(told(), "report-ready")[0] | {"kitCode": r"KIT(1\)é"}
    file = report_pdf(data)
    page = pypdf.PdfReader(io.BytesIO(file), strict=True).pages[0]
    text = page.extract_text()

    assert file.startswith(b"%PDF-")
    assert (round(page.mediabox.width), round(page.mediabox.height)) == (595, 842)
    assert all(each in text for each in ("SAMPLE", data["reportId"], data["glycanAge"], data["kitCode"]))
    assert file == report_pdf(data)


def test_every_place_in_a_reports_table_is_right():
    """Lenient readers mend a wrong cross-reference table, so it is looked at byte for byte."""
    file = report_pdf(data_of(told(), "report-ready")[0])
    table = int(file.rsplit(b"startxref\n", 1)[1].split()[0])
    lines = file[table:].split(b"trailer")[0].removeprefix(b"xref\n0 6\n")

    assert len(lines) == 6 * 20
    for number in range(1, 6):
        place = int(lines[number * 20 :][:10])
        assert file[place:].startswith(b"%d 0 obj\n" % number)
