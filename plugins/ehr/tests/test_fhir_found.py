"""Whatever a server answers is read without breaking: it may be anything, and it may be made to harm."""

import json
import re

import pytest
from ehr_plugin import told
from glycanbridge_ehr import fhir_json
from glycanbridge_ehr.fhir import Telling, parts_of, with_ids
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
from glycanbridge_ehr.fhir_writing import Writer
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
PART, _, REPORT = PARTS = parts_of(
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


class Server:
    """A server that has our result, or takes it; at one place in one kind of answer it says something odd."""

    def __init__(self, kind=None, path=(), odd=None):
        self.kind, self.path, self.odd = kind, path, odd

    def get(self, path):
        return self._says("metadata", 200)

    def search(self, type_, query):
        return self._says(query.rpartition("|")[2], 200)

    def send(self, method, path, resource, **headers):
        return self._says("written", 200 if method == "PUT" or not path else 201)

    def _says(self, kind, status):
        said = with_something_odd(WELL[kind], self.path, self.odd) if kind == self.kind else WELL[kind]
        return Answer(status=status, body=fhir_json.written(said), location="DiagnosticReport/1")


TAKEN = {"interaction": [{"code": "create"}], "conditionalCreate": True, "conditionalUpdate": True}
ABLE = {
    "mode": "server",
    "interaction": [{"code": "transaction"}],
    "resource": [{"type": each, **TAKEN} for each in WRITTEN["report"]],
}
WELL = {
    "metadata": {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "rest": [ABLE]},
    "written": {
        "resourceType": "Bundle",
        "type": "transaction-response",
        "entry": [{"response": {"status": "200 OK", "location": f"{each.type}/1"}} for each in PARTS],
    },
    **{
        each.value: {
            "resourceType": "Bundle",
            "type": "searchset",
            "entry": [{"resource": {"id": "1", **each.resource}, "search": {"mode": "match"}}],
        }
        for each in PARTS
    },
}
"""What it answers when it is well, by what it was asked."""


def paths(value, so_far=()):
    """Every place in a JSON value."""
    yield so_far
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inside:
        yield from paths(each, (*so_far, key))


def with_something_odd(value, path, odd):
    """The same value with something else at one place."""
    if not path:
        return odd
    changed = value.copy()
    changed[path[0]] = with_something_odd(value[path[0]], path[1:], odd)
    return changed


@pytest.mark.parametrize("mode", ["auto", "sequential", "search"])
@pytest.mark.parametrize("corrected", [False, True])
def test_whatever_is_odd_at_whichever_place_of_an_answer_there_is_a_reason_for_what_comes_of_it(mode, corrected):
    """Or it does no harm. Nothing else comes out: that would be tried again for days, with nobody told why."""
    settings = FhirSettings(url="http://127.0.0.1/fhir", mode=mode)

    def written_to(server):
        return Writer(server, settings).write(lambda _: list(PARTS), Telling.CORRECTION if corrected else Telling.FIRST)

    assert written_to(Server()) == "DiagnosticReport/1"
    for kind, said in WELL.items():
        for path in paths(said):
            for odd in ([], {}, None, 5, "odd?", ["odd?"], [[]], "2999-01-01T00:00:00Z"):
                try:
                    outcome = written_to(Server(kind, path, odd))
                except OURS as error:
                    outcome = str(error)
                assert re.fullmatch(r"DiagnosticReport(/1)?|.* .*", outcome), (kind, path, odd)


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
