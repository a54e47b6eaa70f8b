"""Whatever a server answers is read without breaking: it may be anything, and it may be made to harm."""

import json

import pytest
from ehr_plugin import told
from glycanbridge_ehr import fhir_json
from glycanbridge_ehr.fhir import parts_of, with_ids
from glycanbridge_ehr.fhir_abilities import WRITTEN, abilities_in
from glycanbridge_ehr.fhir_answers import Answer, entries_of, failure, worst
from glycanbridge_ehr.fhir_found import (
    is_later,
    is_whole,
    matches,
    patient_of,
    reference_in,
    same_patient,
    same_result,
    the_one,
)
from glycanbridge_ehr.reports import report_of
from glycanbridge_ehr.settings_fhir import FhirSettings
from hypothesis import given
from hypothesis import strategies as st

from glycanbridge import DestinationError, PermanentError, TemporaryError

NAMES = """
    resourceType type entry resource search mode identifier system value id subject reference issued date status result
    conclusion valueQuantity content attachment data response location outcome issue code expression
    """.split()  # noqa: SIM905 (one word a line says no more)
WORDS = ["Bundle", "Patient", "Observation", "match", "2023-08-27", "200"]
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False, places=2) | st.sampled_from(WORDS),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inside, max_size=5),
    max_leaves=20,
)
resources = st.dictionaries(st.sampled_from(NAMES), anything, max_size=8)


odd = st.sampled_from([[], {}, None, 5, ["create"], {"code": "create"}])
"""What stands where a text should."""
some = st.lists(st.fixed_dictionaries({"code": st.just("create") | odd}) | odd, max_size=3) | odd
taken = st.fixed_dictionaries(
    {"type": st.just("Observation") | odd, "interaction": some, "conditionalCreate": st.booleans() | odd}
)
rest = st.fixed_dictionaries(
    {"mode": st.just("server") | odd, "interaction": some, "resource": st.lists(taken | odd, max_size=3) | odd}
)
statements = st.fixed_dictionaries({"rest": st.lists(rest | odd, min_size=1, max_size=2) | odd}).map(
    lambda each: each | {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1"}
)
OURS = (DestinationError, PermanentError, TemporaryError)
PART, _, REPORT = parts_of(
    report_of(told()[0], kit_received_at=None),
    subject="Patient/1",
    corrected=False,
    settings=FhirSettings(url="http://127.0.0.1/fhir"),
)


@given(resources | resources.map(lambda each: each | {"resourceType": "Bundle"}))
def test_a_search_that_answers_anything_finds_nothing_or_says_what_is_wrong(bundle):
    """No other error: that would be tried again until the schedule ends, with nobody told why."""
    for type_ in ("Patient", "Observation"):
        try:
            assert isinstance(matches(bundle, type_), list)
            found = the_one(bundle, type_, system="urn:x", value="1")
        except OURS:
            continue
        assert found is None or {"system": "urn:x", "value": "1"}.items() <= found["identifier"][0].items()


@given(resources)
def test_a_result_that_holds_anything_is_compared_without_breaking(found):
    """It may be of another program's making."""
    assert same_patient(found, PART) in {True, False}
    assert same_result(found, PART) in {True, False}
    assert same_result(found, REPORT) in {True, False}
    assert is_later(found, PART) in {True, False}
    assert is_whole(found) in {True, False}
    assert patient_of(found) is None or isinstance(patient_of(found), str)


@given(statements | resources)
def test_a_statement_of_anything_is_a_mode_or_no_r4(statement):
    """Whatever is not said to be there is not used."""
    try:
        able = abilities_in(statement, types=WRITTEN["report"])
    except DestinationError:
        return
    assert able.mode in {"transaction", "sequential", "search"}


@given(resources)
def test_a_transactions_answer_of_anything_is_as_many_answers_as_it_has_entries(bundle):
    """And what failed in it has a reason."""
    entries = entries_of(bundle)
    bad = worst(entries)
    assert (bad is None) == all(each.ok for each in entries)
    assert bad is None or isinstance(failure(bad, doing="x"), OURS)


def test_a_number_that_would_fill_the_memory_is_not_written_out():
    """`1e999999999` is short to send and long to write."""
    body = b'{"entry":[{"response":{"status":"400","outcome":{"resourceType":"OperationOutcome","issue":[%s]}}}]}'
    (entry,) = entries_of(fhir_json.read(body % b'{"code":"invalid","severity":1e999999999}'))
    assert len(entry.body) < 200
    assert "(invalid)" in str(failure(entry, doing="x"))


@given(st.binary() | resources.map(fhir_json.written))
def test_a_body_of_anything_is_a_resource_or_somebody_elses(body):
    """A captive portal's page, half a JSON."""
    try:
        assert isinstance(Answer(status=200, body=body).resource["resourceType"], str)
    except DestinationError as error:
        assert "is url the base" in str(error)  # noqa: PT017 (either is right)


@pytest.mark.parametrize(
    ("location", "reference"),
    [
        ("Observation/12", "Observation/12"),
        ("http://127.0.0.1/fhir/Observation/12/_history/1", "Observation/12"),
        ("http://127.0.0.1/fhir/Observation/12", "Observation/12"),
        ("Observation/12?name=x", None),
        ("Observation/" + "1" * 65, None),
        ("urn:uuid:12", None),
        ("", None),
        (None, None),
    ],
)
def test_a_location_is_read_as_far_as_it_is_one(location, reference):
    """It becomes a receipt, and a part of the next request."""
    assert reference_in(location) == reference


def test_the_same_number_is_the_same_however_it_is_written():
    """45.20 and 45.2 are one value: a server that drops the zero has not another result."""
    found = json.loads(fhir_json.written(PART.resource))
    for written, same in (("45.2", True), ("45.20", True), ("45.21", False)):
        again = fhir_json.read(json.dumps(found).replace("45.2", written).encode())
        assert same_result(again, PART) is same


def test_a_report_with_other_observations_is_another_report():
    """Else it would go on to refer to what is not there."""
    one = with_ids(REPORT, {each["reference"]: f"Observation/{n}" for n, each in enumerate(REPORT.resource["result"])})
    assert same_result(one.resource, one)
    assert not same_result(one.resource | {"result": [{"reference": "Observation/9"}]}, one)
    absolute = [{"reference": f"http://127.0.0.1/fhir/{each['reference']}"} for each in one.resource["result"]]
    assert same_result(one.resource | {"result": absolute}, one)
