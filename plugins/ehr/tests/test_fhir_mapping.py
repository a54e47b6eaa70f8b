"""A report as FHIR R4: exactly these resources, valid for whoever reads them, and the same bytes every time."""

import json
import re
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import fhirkit
import pytest
from ehr_plugin import told
from fhir.resources.R4B import get_fhir_model_class
from glycanbridge_ehr import fhir_json
from glycanbridge_ehr.fhir import instant, parts_of, safe, transaction
from glycanbridge_ehr.fhir_document import document_of
from glycanbridge_ehr.reports import report_of
from glycanbridge_ehr.settings_fhir import FhirSettings
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

HERE = Path(__file__).parent
LOINC = "http://loinc.org"
KIT_RECEIVED = datetime(2023, 8, 20, 9, 30, 0, 7000, tzinfo=UTC)

FULL_URLS = [
    "urn:uuid:bc976df0-c021-55c7-9d17-1fba9ee55b27",
    "urn:uuid:ed5f4393-1c33-5d92-90f3-6957813ab74f",
    "urn:uuid:4b0393e7-defd-58c6-919e-ad38f74c50d9",
]

ids = st.text(min_size=1, max_size=40).filter(lambda text: "\0" not in text)
ages = st.from_regex(r"\A(0\.[1-9]|[1-9][0-9]?|1[0-4][0-9])(\.[0-9]{1,4})?\Z").filter(lambda age: age.count(".") < 2)
moments_ms = st.integers(min_value=0, max_value=4_102_444_800_000)


@pytest.fixture(autouse=True)
def _far_away(monkeypatch):
    """No local zone gets into a time: here it is far from UTC, and not by whole hours."""
    monkeypatch.setenv("TZ", "Pacific/Chatham")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def fhir(**changes):
    """Settings of a server."""
    return FhirSettings(**{"url": "http://127.0.0.1/fhir"} | changes)


def report(*, kit_received_at=None, **data):
    """The vendor's sample as a report."""
    event, _ = told(**data)
    return report_of(event, kit_received_at=kit_received_at)


def bundle(*, corrected=False, subject="Patient/ehr-4711", kit_received_at=None, changes=None, **data):
    """The transaction for the vendor's sample, as the server reads it."""
    parts = parts_of(
        report(kit_received_at=kit_received_at, **data),
        subject=subject,
        corrected=corrected,
        settings=fhir(**(changes or {})),
    )
    return fhir_json.written(transaction(parts, update=corrected))


def resources(text):
    """The two Observations and the DiagnosticReport in a transaction."""
    return [entry["resource"] for entry in json.loads(text)["entry"]]


# The golden one


def test_the_vendors_sample_becomes_exactly_this_transaction():
    """The whole of it stands in a file, as the validators took it; only the names within the Bundle are ours."""
    golden = json.loads((HERE / "report-bundle.json").read_text())
    made = json.loads(bundle(changes={"identifier_base": "http://glycanbridge.example"}))
    golden["entry"][2]["resource"].pop("presentedForm", None)
    names = {theirs["fullUrl"]: ours["fullUrl"] for theirs, ours in zip(golden["entry"], made["entry"], strict=True)}
    text = json.dumps(golden)
    for theirs, ours in names.items():
        text = text.replace(theirs, ours)

    assert made == json.loads(text)
    assert list(made["entry"][2]["resource"]) == list(golden["entry"][2]["resource"])


def test_the_same_report_gives_the_same_bytes_and_the_same_names():
    """On every machine and in every version: a repeat must look like one."""
    assert bundle() == bundle()
    assert [entry["fullUrl"] for entry in json.loads(bundle())["entry"]] == FULL_URLS


def test_all_four_validators_take_it(validators):
    """Each finds what the others do not."""
    for made in (
        bundle(),
        bundle(corrected=True),
        bundle(changes={"effective": "unknown", "performer": "Organization/12", "based_on": False, "specimen": False}),
    ):
        assert {name: errors for name, errors in validators.problems_of(made).items() if errors} == {}


@pytest.mark.parametrize("corrected", [False, True])
def test_all_four_validators_take_it_as_a_document(validators, corrected):
    """For EHRs that take only documents."""
    parts = document_of(report(), subject="Patient/1", corrected=corrected, settings=fhir(performer="Organization/12"))
    made = fhir_json.written(transaction(parts, update=corrected))
    assert {name: errors for name, errors in validators.problems_of(made).items() if errors} == {}
    assert b"45.2" not in made  # only within the attachment


@given(report_id=ids, kit=ids, test=ids, assignment=ids, age=ages, own_age=ages, created_on=moments_ms)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whatever_the_ids_ages_and_times_it_is_valid_r4(*, report_id, kit, test, assignment, age, own_age, created_on):
    """By two validators that need no Node."""
    made = bundle(
        reportId=report_id, kitCode=kit, testId=test, assignmentId=assignment, glycanAge=age, chronologicalAge=own_age,
        createdOn=created_on,
    )  # fmt: skip
    for resource in [json.loads(made), *resources(made)]:
        assert [each for each in fhirkit.validate(json.dumps(resource)) if each.severity == "error"] == []
        get_fhir_model_class(resource["resourceType"]).model_validate(resource)
    biological, chronological, _ = fhir_json.read(made)["entry"]
    assert str(biological["resource"]["valueQuantity"]["value"]) == age
    assert str(chronological["resource"]["valueQuantity"]["value"]) == own_age


@given(report_id=ids, kit=ids, age=ages, created_on=moments_ms)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_whatever_the_ids_ages_and_times_all_four_validators_take_it(validators, report_id, kit, age, created_on):
    """The two that need Node find wrong codes, references and invariants."""
    made = bundle(reportId=report_id, kitCode=kit, glycanAge=age, createdOn=created_on)
    assert {name: errors for name, errors in validators.problems_of(made).items() if errors} == {}


def test_what_us_core_asks_for_is_there():
    """Status, category, code and subject; effective and issued of what is final (us-core-8, us-core-9)."""
    asked = {"status", "category", "code", "subject", "effectiveDateTime", "issued"}
    for resource in resources(bundle()):
        assert asked <= set(resource)
    biological, _, diagnostic_report = resources(bundle())
    assert biological["category"][0]["coding"][0]["code"] == "laboratory"
    assert diagnostic_report["category"][0]["coding"][0]["code"] == "LAB"


# Codes


def test_the_biological_age_never_has_the_code_of_the_persons_age():
    """A chart would show a wrong age."""
    biological, chronological, _ = resources(bundle())
    assert [each["system"] for each in biological["code"]["coding"]] == ["https://glycanbridge.example/cs/result"]
    assert [(each["system"], each["code"]) for each in chronological["code"]["coding"]] == [(LOINC, "30525-0")]


@pytest.mark.parametrize("code", ["30525-0", "29553-5", "21611-9", "21612-7"])
@pytest.mark.parametrize("system", [LOINC, "http://LOINC.org", "urn:oid:2.16.840.1.113883.6.1"])
def test_nor_can_a_site_give_it_one(code, system):
    """It is refused when the bridge starts."""
    with pytest.raises(ValidationError, match="a chart would show a wrong age"):
        fhir(coding={"glycan_age": [{"system": system, "code": code}]})


def test_a_site_can_add_codes_of_its_own():
    """Beside ours: what we look for stays."""
    own = {"system": "urn:oid:1.2.3", "code": "GA", "display": "Glycan age"}
    made = resources(bundle(changes={"coding": {"glycan_age": [own], "report": [own | {"display": None}]}}))
    assert made[0]["code"]["coding"][1] == own
    assert made[2]["code"]["coding"][2] == {"system": "urn:oid:1.2.3", "code": "GA"}
    assert len(made[1]["code"]["coding"]) == 1


# What a site may choose


def test_the_systems_come_from_one_base_or_each_from_a_setting():
    """GlycanAge publishes none."""
    changes = {
        "identifier_base": "http://glycanbridge.example/x/",
        "systems": {"kit": "urn:oid:1.2.3"},
    }
    biological, _, diagnostic_report = resources(bundle(changes=changes))
    assert biological["identifier"][0]["system"] == "http://glycanbridge.example/x/sid/observation"
    assert biological["code"]["coding"][0]["system"] == "http://glycanbridge.example/x/cs/result"
    assert diagnostic_report["specimen"][0]["identifier"] == {"system": "urn:oid:1.2.3", "value": "KIT001234"}


@pytest.mark.parametrize(("setting", "element"), [("based_on", "basedOn"), ("specimen", "specimen")])
def test_a_logical_reference_can_be_left_out(setting, element):
    """They are right in R4, and some EHRs refuse them."""
    assert element in resources(bundle())[2]
    assert element not in resources(bundle(changes={setting: False}))[2]


@pytest.mark.parametrize(
    ("performer", "expected"),
    [
        ("GlycanAge", {"display": "GlycanAge"}),
        ("Organization/12", {"reference": "Organization/12"}),
        ("Labor/Süd GmbH", {"display": "Labor/Süd GmbH"}),
    ],
)
def test_who_made_it_is_a_name_or_a_reference(performer, expected):
    """Where the EHR has an Organization for it."""
    for resource in resources(bundle(changes={"performer": performer})):
        assert resource["performer"] == [expected]


def test_the_time_of_the_result_is_what_the_site_chose():
    """Nobody knows when the sample was drawn; when the kit came is closer than when the report was made."""
    made = resources(bundle(changes={"effective": "kit_received"}, kit_received_at=KIT_RECEIVED))
    assert {each["effectiveDateTime"] for each in made} == {"2023-08-20T09:30:00.007Z"}
    assert {each["issued"] for each in made} == {"2023-08-27T07:56:40.000Z"}
    made = resources(bundle(changes={"effective": "kit_received"}))
    assert {each["effectiveDateTime"] for each in made} == {"2023-08-27T07:56:40.000Z"}
    for resource in resources(bundle(changes={"effective": "unknown"})):
        assert "effectiveDateTime" not in resource
        assert resource["_effectiveDateTime"]["extension"][0]["valueCode"] == "unknown"


def test_the_conclusion_is_the_two_numbers_and_no_advice():
    """A program does not interpret results."""
    conclusion = resources(bundle(glycanAge="45.20"))[2]["conclusion"]
    assert conclusion == "GlycanAge biological age 45.20 years; chronological age 42 years."


def test_a_correction_is_called_one_and_put_under_the_same_keys():
    """`corrected` in all three, by their identifiers."""
    first, then = json.loads(bundle()), json.loads(bundle(corrected=True))
    assert {each["status"] for each in resources(bundle(corrected=True))} == {"corrected"}
    for before, after in zip(first["entry"], then["entry"], strict=True):
        assert after["fullUrl"] == before["fullUrl"]
        assert after["resource"]["identifier"] == before["resource"]["identifier"]
        assert after["request"]["method"] == "PUT"
        assert after["request"]["url"].partition("?")[2] == before["request"]["ifNoneExist"]


# Numbers, times, identifiers


@pytest.mark.parametrize(
    ("age", "written"), [("45.20", b"45.20"), ("45", b"45"), ("045.2", b"45.2"), ("0.10", b"0.10"), ("149.9", b"149.9")]
)
def test_a_number_keeps_its_digits(age, written):
    """And is a JSON number, which has no leading zeros."""
    assert b'"value":' + written + b',"unit"' in bundle(glycanAge=age)


def test_a_number_of_many_digits_is_none():
    """FHIR has eighteen."""
    with pytest.raises(Exception, match="not a number of years"):
        bundle(glycanAge="45." + "0" * 30)


@given(moments_ms)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_time_is_exact_to_the_millisecond_and_in_utc(epoch_ms):
    """As the vendor counts, whatever the machine's zone."""
    written = instant(report(createdOn=epoch_ms).created_on)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", written)
    since = datetime.fromisoformat(written) - datetime(1970, 1, 1, tzinfo=UTC)
    assert since == timedelta(milliseconds=epoch_ms)


@given(ids, ids)
@example("a,b", "a~2Cb")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_key_is_safe_in_every_search_and_no_two_are_the_same(one, other):
    """Two reports under one key would be one."""
    assert re.fullmatch(r"[A-Za-z0-9._~-]+", safe(one))
    assert (safe(one) == safe(other)) == (one == other)


def test_an_ordinary_id_is_a_key_as_it_is():
    """So that people find it."""
    assert safe("report_78901") == "report_78901"
    assert safe("a,b+c") == "a~2Cb~2Bc"


def test_a_kit_code_is_told_as_it_is_and_only_what_fhir_cannot_hold_is_escaped():
    """The clinic compares it with the one on the box."""
    identifiers = [
        resources(bundle(kitCode=kit))[2]["specimen"][0]["identifier"]["value"]
        for kit in ("KIT 001,2", "KÏT", " ", "KIT\n1", "KIT ")
    ]
    assert identifiers == ["KIT 001,2", "KÏT", "~20", "KIT~0A1", "KIT~20"]


def test_json_keeps_decimals_both_ways():
    """No number ever is a binary float."""
    assert (
        fhir_json.written({"a": [Decimal("45.20"), 42, True, None, 'ü"\n']})
        == '{"a":[45.20,42,true,null,"ü\\"\\n"]}'.encode()
    )
    assert str(fhir_json.read(b'{"a":45.20}')["a"]) == "45.20"
