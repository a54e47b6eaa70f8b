"""The events: what is understood, what is quarantined, and what makes two bodies the same event."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving import sample

from glycanbridge.errors import ParseError
from glycanbridge.event_types import EVENT_TYPES
from glycanbridge.events import (
    Age,
    AssignmentStatusChanged,
    KitReceived,
    OrderStatusChanged,
    ReportReady,
    parse,
)
from glycanbridge.identity import event_id

BROKEN = sorted((Path(__file__).parent / "samples").iterdir())


def test_the_vendors_report_is_read_in_the_vendors_words():
    """Names in snake_case, times as aware datetimes exact to the millisecond, ages as they were written."""
    event = parse(sample("report-ready"))

    assert isinstance(event, ReportReady)
    assert event.timestamp == datetime(2023, 8, 27, 8, 0, tzinfo=UTC)
    assert event.data.created_on == datetime(2023, 8, 27, 7, 56, 40, tzinfo=UTC)
    assert (event.data.glycan_age, event.data.glycan_age.decimal) == ("45.2", Decimal("45.2"))
    assert event.data.report_url == "/reports/report_78901"
    assert (event.practice_id, event.kit_codes) == ("practice_67890", ("KIT001234",))


def test_the_vendors_other_events_are_read_alike():
    """An order names no kit, an assignment all of its sets'."""
    order, assignment, kit = (parse(sample(each)) for each in EVENT_TYPES[:3])

    assert isinstance(order, OrderStatusChanged)
    assert (order.data.amount, order.data.currency, order.kit_codes) == (25000, "USD", ())
    assert isinstance(assignment, AssignmentStatusChanged)
    assert (assignment.data.sets[0].patient_id, assignment.kit_codes) == ("patient_123", ("KIT001234",))
    assert isinstance(kit, KitReceived)
    assert kit.data.received_at == datetime(2023, 8, 27, 7, 6, 40, tzinfo=UTC)


@pytest.mark.parametrize("ms", [1693123200001, -1, 0, 253402300799999])
def test_a_time_is_exact_to_the_millisecond(ms):
    """No float lies in between."""
    told = parse(sample(timestamp=ms)).timestamp

    assert (told - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000 == pytest.approx(ms, abs=1e-3)
    assert told.microsecond == ms % 1000 * 1000


def test_only_the_vendors_own_spelling_is_understood():
    """`kit_code` is our word for it, and on the wire an unknown field."""
    with pytest.raises(ParseError, match="kitCode"):
        parse(sample().replace(b"kitCode", b"kit_code"))


def test_unknown_fields_are_kept_and_handed_on():
    """The vendor may add some at any time."""
    event = parse(sample(source="lab-2", data={"batch": {"number": 7}}))

    assert event.model_extra == {"source": "lab-2"}
    assert event.data.model_extra == {"batch": {"number": 7}}


def test_unknown_status_words_are_kept_as_they_came():
    """Only six are known, and more are likely."""
    assert parse(sample("kit-received", data={"status": "onHold"})).data.status == "onHold"


@pytest.mark.parametrize("data", [{"amount": None}, {"currency": None}, {"previousStatus": None}])
def test_what_may_be_null_may_be_null(data):
    """An amount is null if paid with tokens."""
    told = parse(sample("assignment-status-changed", data=data)).data.model_dump(by_alias=True)

    assert told[next(iter(data))] is None


@pytest.mark.parametrize(
    ("text", "number"),
    [("45.2", "45.2"), ("45.20", "45.20"), ("44", "44"), ("-1", "-1"), ("n/a", None), ("45,2", None), ("", None),
     ("1e9", None), ("NaN", None), (" 45", None), ("٤٥", None)],
)  # fmt: skip
def test_an_age_keeps_its_text_and_is_a_number_only_if_it_is_plainly_one(text, number):
    """Never guessed, never rounded."""
    age = parse(sample(data={"glycanAge": text})).data.glycan_age

    assert age == text
    assert age.decimal == (None if number is None else Decimal(number))
    assert str(age.decimal) == str(number)


def test_an_age_that_comes_as_a_number_becomes_its_text():
    """The page shows text; its own prose does not promise it."""
    age = parse(sample(data={"glycanAge": 45.2})).data.glycan_age

    assert (type(age), age) == (Age, "45.2")


def test_events_are_frozen():
    """A plugin cannot change what another one gets."""
    event = parse(sample())

    with pytest.raises(ValueError, match="frozen"):
        event.data.glycan_age = "20"


@pytest.mark.parametrize("file", BROKEN, ids=lambda file: file.name)
def test_a_broken_body_is_no_event(file):
    """One file for each rule; either `parse` or `event_id` refuses it, with a reason and without its values."""
    body = file.read_bytes()

    with pytest.raises(ParseError) as refused:
        (parse(body), event_id(body))

    assert str(refused.value)
    assert "patient_123" not in str(refused.value)


def test_an_unknown_type_is_named():
    """It is the one value that the operator needs, and nobody's data."""
    with pytest.raises(ParseError, match="unknown event type 'report-withdrawn'"):
        parse(sample(type="report-withdrawn"))


@pytest.mark.parametrize("told", [{"patientId": "patient_123"}, "patient_123", ["KIT001234"], 123, "x" * 65, ""])
def test_what_cannot_be_an_event_type_is_not_named(told):
    """It might be a patient's value in the wrong place."""
    with pytest.raises(ParseError, match=r"unknown event type|tag") as refused:
        parse(sample(type=told))

    assert str(told) not in str(refused.value) or told == ""


@given(st.binary(max_size=200))
def test_any_bytes_are_an_event_or_a_parse_error(body):
    """Nothing else comes out, whatever comes in."""
    with pytest.raises(ParseError):
        parse(body)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4))


@given(JSON)
def test_any_json_has_an_id_or_is_refused(value):
    """Nothing else comes out of `event_id` either."""
    try:
        told = event_id(json.dumps(value).encode())
    except ParseError:
        return
    assert len(told.digest) == 32


def test_white_space_and_the_order_of_keys_do_not_make_another_event():
    """A retry may be serialised anew."""
    event = json.loads(sample())
    again = json.dumps(dict(reversed(event.items())), indent=7, ensure_ascii=True).encode()

    assert event_id(again) == event_id(sample())


def test_the_hash_of_an_event_is_the_same_in_every_version_of_ours():
    """Else each event that comes again after an update would be a new one. Anybody can compute it."""
    canonical = rb'{"data":{"a":1,"b":[1.5,"\u00e9",null]},"type":"t"}'

    told = event_id('{ "type": "t",\n "data": {"b": [1.50, "é", null], "a": 1} }'.encode())

    assert told.hash == hashlib.sha256(canonical).hexdigest()


@pytest.mark.parametrize(
    "other",
    [sample(data={"reportId": "report_78902"}), sample(timestamp=1693123200001), sample(more=1), sample(more="1"),
     sample(more=1.5), sample(more=None)],
)  # fmt: skip
def test_any_difference_makes_another_event(other):
    """The vendor's own key, type and timestamp, drops the second of two reports of one millisecond."""
    assert event_id(other).id != event_id(sample()).id


def test_the_senders_id_is_used_where_there_is_one():
    """With it, `type` and `data` are what must agree."""
    first, later = event_id(sample(id="evt_1")), event_id(sample(id="evt_1", timestamp=1))
    other = event_id(sample(id="evt_1", data={"reportId": "r2"}))

    assert (first.id, later.id, other.id) == ("evt_1",) * 3
    assert first.digest == later.digest != other.digest
    assert event_id(sample(id="evt_1", type="kit-received")).digest != first.digest
    assert len({first.hash, later.hash, other.hash}) == 3
    assert event_id(sample(id=17)).id == "17"


@pytest.mark.parametrize("sender", ["", "../../x", "a b", "a\nb", "é", "x" * 129, "0" * 64, None, True, 1.5, [], {}])
def test_an_id_that_is_no_plain_name_is_ignored(sender):
    """It would go into file names, headers and commands; the hash does as well."""
    told = event_id(sample(id=sender))

    assert told.id == told.hash


@pytest.mark.parametrize(("room", "ready"), [("glycanbridge.cli.check", False), ("glycanbridge.hosts.preloaded", True)])
def test_the_models_are_built_only_where_bodies_are_parsed(room, ready):
    """It takes some hundredths of a second: a command need not wait for it, and hosts share what is built."""
    code = f"import {room}; from glycanbridge.bridge_events import _ADAPTER; print(_ADAPTER.pydantic_complete)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == str(ready)
