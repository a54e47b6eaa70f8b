"""What may be told of an event at each level, and that nothing is told that nobody has thought about."""

from __future__ import annotations

import json

import pytest
from serving import sample

from glycanbridge import EVENT_TYPES, DeliveryDead, Personal
from glycanbridge.events import parse
from glycanbridge.personal import masked

IDS = ["patient_123", "test_56789", "report_78901", "assignment_12345", "KIT001234"]
AGES = ["45.2", "42"]


def words(event_type, personal):
    """All that is told of a sample, as one text."""
    return repr(personal.told(parse(sample(event_type))))


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_none_tells_no_id_of_a_patients_and_no_age(event_type):
    """What a chat room may know: something has happened, for whom is looked up in the bridge."""
    told = words(event_type, Personal.NONE)

    assert [each for each in [*IDS, *AGES] if each in told] == []
    assert "practice_67890" in told
    assert ("…1234" in told) == (event_type != "order-status-changed")


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_ids_tells_ids_and_no_age_and_full_tells_all(event_type):
    """All declared fields, in their order."""
    event, ids, full = parse(sample(event_type)), words(event_type, Personal.IDS), words(event_type, Personal.FULL)

    assert [each for each in AGES if each in ids] == []
    assert ("patient_123" in ids, "KIT001234" in ids) == (("patient_123" in full), ("KIT001234" in full))
    assert list(Personal.FULL.told(event)) == list(type(event.data).model_fields)


def test_the_sets_of_an_assignment_are_told_alike():
    """A kit and a patient stand there together for the first time."""
    event = parse(sample("assignment-status-changed"))

    assert Personal.NONE.told(event)["sets"] == [{"kit_code": "…1234", "product": "regular"}]
    assert Personal.FULL.told(event)["sets"][0]["patient_id"] == "patient_123"


@pytest.mark.parametrize("personal", list(Personal))
def test_what_glycanage_may_add_some_day_is_not_told(personal):
    """Nobody knows what it will be."""
    assert "Zoe" not in repr(personal.told(parse(sample(data={"patientName": "Zoe", "sets": ["Zoe"]}))))


@pytest.mark.parametrize(
    ("kit_code", "told"), [("KIT001234", "…1234"), ("12345", "…2345"), ("1234", "…"), ("1", "…"), ("K", "…")]
)
def test_a_short_kit_code_is_masked_whole(kit_code, told):
    """Its last four letters would be all of it."""
    assert masked(kit_code) == told


def test_a_delivery_without_a_kit_can_be_told_of():
    """An order names none: the alarm that it was given up must not fail for that."""
    data = {
        "deliveryId": "e1:a", "eventId": "e1", "eventType": "order-status-changed", "destination": "a", "plugin": "csv",
        "practiceId": "p1", "kitCode": None, "attempts": 3, "reason": "full", "receivedAt": 1_693_123_200_000,
    }  # fmt: skip
    event = DeliveryDead.model_validate_json(
        json.dumps({"type": "delivery-dead", "timestamp": 1_693_123_200_000, "data": data})
    )

    assert [each.told(event)["kit_code"] for each in Personal] == [None, None, None]
