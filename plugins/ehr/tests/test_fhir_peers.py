"""The FHIR way's peers are what they are taken for: a test against a server that takes anything would show nothing."""

import copy
import json
import threading
import time
import uuid
from pathlib import Path

import fhir_front
import fhir_peers
import httpx2
import jwt
import pytest
from sekmet.auth.keys import public_jwk
from serving import until
from smart_site import KEYS

REPORT = (Path(__file__).parent / "report-bundle.json").read_bytes()
SID = "urn:example:sid"
FHIR_JSON = {"Content-Type": "application/fhir+json", "Accept": "application/fhir+json"}


def observation(value, **more):
    """A laboratory's result for nobody in particular."""
    return {
        "resourceType": "Observation",
        "identifier": [{"system": SID, "value": value}],
        "status": "final",
        "code": {"text": "Age"},
        "valueQuantity": {"value": 42, "unit": "years", "system": "http://unitsofmeasure.org", "code": "a"},
        **more,
    }


def entry(number, resource):
    """It, in a transaction, to be made only if there is none."""
    value = resource["identifier"][0]["value"]
    return {
        "fullUrl": f"urn:uuid:6f1c0f0e-4d0b-5c0e-9a51-0b6d8f0f2a{number:02}",
        "request": {"method": "POST", "url": resource["resourceType"], "ifNoneExist": f"identifier={SID}|{value}"},
        "resource": resource,
    }


def bundle(*resources):
    """A transaction of resources."""
    entries = [entry(number, each) for number, each in enumerate(resources, 1)]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


@pytest.fixture
def client():
    """An HTTP client that speaks FHIR."""
    with httpx2.Client(headers=FHIR_JSON, timeout=30) as client:
        yield client


def test_a_conditional_create_makes_one_resource(fhir_server, client):
    """The second time it answers 200 with the first: what a repeat of ours builds on."""
    headers = {"If-None-Exist": f"identifier={SID}%7Cone"}
    first, second = (
        client.post(f"{fhir_server.url}/Observation", json=observation("one"), headers=headers) for _ in range(2)
    )

    assert (first.status_code, second.status_code) == (201, 200)
    assert fhir_server.count("Observation") == (1,)


def test_a_transaction_is_idempotent_by_its_conditions(fhir_server, client):
    """And each entry says what became of it."""
    told = [client.post(fhir_server.url, json=bundle(observation("one"), observation("two"))).json() for _ in range(2)]

    assert [each["type"] for each in told] == ["transaction-response"] * 2
    statuses = [[entry["response"]["status"][:3] for entry in each["entry"]] for each in told]
    assert statuses == [["201", "201"], ["200", "200"]]
    assert fhir_server.count("Observation") == (2,)


def test_a_bad_third_entry_leaves_nothing_behind(fhir_server, client):
    """The servers validate, and roll back."""
    answer = client.post(fhir_server.url, json=bundle(observation("1"), observation("2"), observation("3", status=[])))

    assert answer.status_code in {400, 422}
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert fhir_server.count("Observation") == (0,)


def test_a_batch_like_server_says_200_and_leaves_two_behind(batch_like, client):
    """HTTP says all is well; only the third entry's status does not."""
    answer = client.post(batch_like.url, json=bundle(observation("1"), observation("2"), observation("3", status=[])))

    assert answer.status_code == 200
    assert [each["response"]["status"][:3] for each in answer.json()["entry"]] == ["201", "201", "400"]
    assert batch_like.count("Observation") == (2,)


def test_references_within_a_transaction_become_real(fhir_server, client):
    """A `urn:uuid` of a neighbour is replaced by what the neighbour came to be called."""
    second = observation("two", hasMember=[{"reference": "urn:uuid:6f1c0f0e-4d0b-5c0e-9a51-0b6d8f0f2a01"}])
    client.post(fhir_server.url, json=bundle(observation("one"), second)).raise_for_status()

    by_value = {each["identifier"][0]["value"]: each for each in fhir_server.every("Observation")}
    assert by_value["two"]["hasMember"][0]["reference"].endswith(f"Observation/{by_value['one']['id']}")


def test_an_update_by_identifier_replaces_the_value(fhir_server, client):
    """As a correction does; a conditional create would have kept the old one."""
    fhir_server.create(observation("one"))
    changed = observation("one", status="corrected")
    answer = client.put(f"{fhir_server.url}/Observation", params={"identifier": f"{SID}|one"}, json=changed)

    assert answer.status_code == 200
    assert [each["status"] for each in fhir_server.every("Observation")] == ["corrected"]


def test_a_patient_is_found_by_identifier(fhir_server, client):
    """One match, and none for another value."""
    made = fhir_server.patient(SID, "patient_123")

    def search(value):
        params = {"identifier": f"{SID}|{value}"}
        return client.get(f"{fhir_server.url}/Patient", params=params, headers={"Prefer": "handling=strict"}).json()

    assert [each["resource"]["id"] for each in search("patient_123")["entry"]] == [made["id"]]
    assert search("patient_1").get("entry", []) == []
    assert fhir_server.read(f"Patient/{made['id']}")["identifier"] == made["identifier"]


def test_servers_say_what_they_can(fhir_server, batch_like, client):
    """Only the batch-like one does not promise transactions."""

    def promises(peer):
        rest = client.get(f"{peer.url}/metadata").json()["rest"][0]
        assert all(each["conditionalCreate"] for each in rest["resource"] if each["type"] == "Observation")
        return {each["code"] for each in rest["interaction"]}

    assert "transaction" in promises(fhir_server)
    assert "transaction" not in promises(batch_like)


def test_a_refusal_says_where(medplum, client):
    """An OperationOutcome with the expression."""
    answer = client.post(f"{medplum.url}/Observation", json=observation("one", status=[]))

    assert answer.status_code == 400
    assert answer.json()["issue"][0]["expression"] == ["Observation.status"]
    assert client.post(f"{medplum.url}/Observation", content=b"{").status_code == 400
    assert client.get(f"{medplum.url}/Nothing/1").status_code in {400, 404}


def test_what_came_is_kept_byte_for_byte(fhir_server, client):
    """So that a test can say that a repeat was the same."""
    body = json.dumps(observation("one")).replace("42", "42.20").encode()
    client.post(f"{fhir_server.url}/Observation?x=a%7Cb", content=body)

    (request,) = fhir_server.front.asked("POST")
    assert (request.body, request.path[-17:]) == (body, "Observation?x=a%7Cb"[-17:])
    assert request.headers["accept"] == "application/fhir+json"
    assert request.json["valueQuantity"] == {**observation("")["valueQuantity"], "value": 42.2}


def test_a_lost_answer_is_a_committed_one(fhir_server, client):
    """The sender cannot know; the server has it."""
    for fault in (fhir_front.lost, fhir_front.half):
        fhir_server.front.will(fault, method="POST")
        with pytest.raises(httpx2.TransportError):
            client.post(f"{fhir_server.url}/Observation", json=observation("one"))

    assert fhir_server.count("Observation") == (2,)


def test_a_reset_or_refusing_door_never_asks_the_server(fhir_server, client):
    """And is well again afterwards."""
    busy = fhir_front.answers(429, {"resourceType": "OperationOutcome"}, retry_after="7")
    fhir_server.front.will(fhir_front.reset, busy)
    with pytest.raises(httpx2.TransportError):
        client.post(f"{fhir_server.url}/Observation", json=observation("one"))
    answer = client.post(f"{fhir_server.url}/Observation", json=observation("one"))

    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert fhir_server.count("Observation") == (0,)
    assert client.post(f"{fhir_server.url}/Observation", json=observation("one")).status_code == 201


def test_a_held_request_waits(medplum, client):
    """Until the test lets it go."""
    go = threading.Event()
    medplum.front.will(fhir_front.held(go))
    sender = threading.Thread(
        target=client.post, args=(f"{medplum.url}/Observation",), kwargs={"json": observation("1")}
    )
    sender.start()
    until(lambda: medplum.front.asked("POST"))
    before = medplum.count("Observation")
    go.set()
    sender.join()

    assert (before, medplum.count("Observation")) == ((0,), (1,))


BAD = {
    "a code that is none": ({"status": "finished"}, {"npm-fhir"}),
    "no code": ({"code": None}, {"medplum", "npm-fhir", "fhirkit", "fhir.resources"}),
    "a time without zone": ({"effectiveDateTime": "2023-08-27T07:56:40"}, {"fhirkit", "fhir.resources"}),
    "an unknown field": ({"glycan": 1}, {"medplum", "npm-fhir", "fhirkit", "fhir.resources"}),
    "a value and why there is none": ({"dataAbsentReason": {"text": "unknown"}}, {"medplum"}),
    "a subject that is no patient": ({"subject": {"reference": "Practitioner/1"}}, {"npm-fhir"}),
}


@pytest.mark.parametrize("bad", BAD)
def test_each_validator_finds_what_others_do_not(validators, bad):
    """So that a resource of ours that all accept means something."""
    change, finders = BAD[bad]
    resource = {name: value for name, value in (observation("one") | change).items() if value is not None}
    found = validators.problems_of(resource)

    assert finders <= {name for name, errors in found.items() if errors}, found
    assert set(found) == set(fhir_peers.Validators.names)


def test_what_is_wrong_within_a_bundle_is_found(validators):
    """Each entry is validated for itself."""
    assert not any(validators.problems_of(bundle(observation("one"))).values())
    broken = copy.deepcopy(bundle(observation("one"), observation("two")))
    broken["entry"][1]["resource"]["glycan"] = 1

    assert all(validators.problems_of(json.dumps(broken)).values())


def test_a_whole_report_pleases_every_validator_and_server(validators, fhir_server, client):
    """The example that the mapping follows; both servers make a report and two results of it, once."""
    assert validators.problems_of(REPORT) == {name: [] for name in fhir_peers.Validators.names}

    for _ in range(2):
        client.post(fhir_server.url, content=REPORT).raise_for_status()
    assert fhir_server.count("DiagnosticReport", "Observation") == (1, 2)
    (report,) = fhir_server.every("DiagnosticReport")
    results = {f"Observation/{each['id']}" for each in fhir_server.every("Observation")}
    assert {each["reference"] for each in report["result"]} == results


@pytest.mark.parametrize("algorithm", list(KEYS))
def test_sekmets_token_endpoint_holds_to_smarts_rules(sekmet, client, algorithm):
    """Five minutes at the most, a `jti` once, the registered scopes; and its FHIR side takes only its tokens."""
    key = KEYS[algorithm]
    registered = {"client_id": "us", "jwks": {"keys": [public_jwk(key)]}, "scopes": "system/Patient.cruds"}
    sekmet.let_in("smart", smart_clients=[registered], token_lifetime=60)
    token_url = client.get(f"{sekmet.url}/.well-known/smart-configuration").json()["token_endpoint"]

    def ask(life_s=240, jti=None, scope="system/Patient.cruds"):
        claims = {
            "iss": "us",
            "sub": "us",
            "aud": token_url,
            "exp": time.time() + life_s,
            "jti": jti or str(uuid.uuid4()),
        }
        form = {
            "grant_type": "client_credentials",
            "scope": scope,
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": jwt.encode(claims, key, algorithm=algorithm),
        }
        answer = client.post(token_url, data=form, headers={"Content-Type": "application/x-www-form-urlencoded"})
        return answer.status_code, answer.json()

    status, told = ask(jti=algorithm)
    assert (status, told["token_type"], told["expires_in"]) == (200, "bearer", 60)
    refusals = [ask(jti=algorithm), ask(life_s=360), ask(life_s=-60), ask(scope="system/Device.c")]
    assert [(status, told["error"]) for status, told in refusals] == [
        (401, "invalid_client"),
        (401, "invalid_client"),
        (401, "invalid_client"),
        (400, "invalid_scope"),
    ]
    for token, resource_type, status in (("none", "Patient", 401), (told["access_token"], "Patient", 201),
                                         (told["access_token"], "Device", 403)):  # fmt: skip
        resource = {"resourceType": resource_type}
        headers = {"Authorization": f"Bearer {token}"}
        assert client.post(f"{sekmet.url}/{resource_type}", json=resource, headers=headers).status_code == status
    assert sekmet.count("Patient") == (1,)  # tests look behind the door, whoever is let in


def test_node_may_be_missing_anywhere_but_in_ci(monkeypatch):
    """There a skipped test would be a hole that nobody sees."""
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="npm install"):
        fhir_peers.needs_node()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="npm install"):
        fhir_peers.needs_node()
