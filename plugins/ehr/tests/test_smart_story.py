"""The real bridge and a real server that lets in by SMART alone: several lanes, wrong keys, tokens that die."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from ehr_plugin import GLYCANAGE, PATIENT, PRACTICE
from fhir_front import answers
from sekmet.auth.keys import public_jwk
from serving import Serving, sample, served, until
from smart_site import CLIENT_ID, KEYS, pem

TOKEN = "/auth/token"
SCOPE = "system/*.cruds"


@pytest.fixture
def ehr(sekmet):
    """SEKMET, which knows a patient and our elliptic key."""
    sekmet.patient(GLYCANAGE, PATIENT)
    client = {"client_id": CLIENT_ID, "jwks": {"keys": [public_jwk(KEYS["ES384"])]}, "scopes": SCOPE}
    sekmet.let_in("smart", smart_clients=[client])
    return sekmet


@pytest.fixture
def bridge(tmp_path, ehr):
    """A bridge with that key; a delivery has one attempt and no more."""
    bridge = Serving(tmp_path)
    smart = {"client_id": CLIENT_ID, "key_file": "ehr-key.pem", "scope": SCOPE}
    fhir = {"url": ehr.url, "patient": "search", "patient_system": GLYCANAGE, "auth": {"smart": smart}}
    destination = {"plugin": "ehr", "lanes": 4, "timeout_s": 60, "retry": {"tries": 1, "schedule_s": []}}
    bridge.configure({"ehr": destination | {"settings": {"practices": [PRACTICE], "fhir": fhir}}})
    (tmp_path / "ehr-key.pem").write_bytes(pem(KEYS["ES384"]))
    return bridge


def post(bridge, count):
    """Hand the bridge so many reports."""
    for number in range(count):
        assert bridge.post(sample(data={"reportId": f"report_{number}"})).status == 200


def states(bridge):
    """How its deliveries are."""
    return [each["state"] for each in bridge.rows("deliveries", "list")]


def test_all_lanes_use_one_token_which_nobody_is_told(bridge, ehr):
    """Nor does it stand in the journal."""
    with served(bridge):
        post(bridge, 8)
        until(lambda: ehr.count("DiagnosticReport") == (8,))
        until(lambda: states(bridge) == ["delivered"] * 8)

    assert len(ehr.front.asked("POST", TOKEN)) == 1
    (token,) = {each.headers["authorization"].removeprefix("Bearer ") for each in ehr.front.asked("POST", "/fhir")}
    (kept,) = (each for each in bridge.folder.rglob("*") if each.is_file() and token.encode() in each.read_bytes())
    assert kept.parent == bridge.folder / "var" / "ehr"
    assert kept.name.startswith("token-")


def test_a_token_that_dies_costs_no_attempt(bridge, ehr):
    """The EHR was restarted, say: the same attempt goes on with a new one."""
    ehr.front.will(answers(401), method="POST", path="/fhir")
    with served(bridge):
        post(bridge, 1)
        until(lambda: states(bridge) == ["delivered"])

    assert [each["attempts"] for each in bridge.rows("deliveries", "list")] == [1]
    assert len(ehr.front.asked("POST", TOKEN)) == 2


def test_with_a_wrong_key_everything_waits_and_goes_on_once_it_is_mended(bridge, ehr):
    """Nothing is lost, though no delivery has a second attempt; the bridge is not restarted."""
    key_file = bridge.folder / "ehr-key.pem"
    key_file.write_bytes(pem(ec.generate_private_key(ec.SECP384R1())))
    checked = bridge.run("check", "--online")
    assert checked.returncode != 0
    assert "invalid_client; see client_id and kid" in checked.stdout + checked.stderr

    with served(bridge):
        post(bridge, 3)
        until(lambda: "invalid_client; see client_id and kid" in bridge.rows("destinations", "list")[0]["runs"])
        until(lambda: states(bridge) == ["pending"] * 3)
        key_file.write_bytes(pem(KEYS["ES384"]))
        assert bridge.run("destinations", "resume", "ehr").returncode == 0  # or wait for five minutes
        assert bridge.run("deliveries", "replay", "--state", "pending", "--yes").returncode == 0
        until(lambda: states(bridge) == ["delivered"] * 3)
    assert ehr.count("DiagnosticReport", "Observation") == (3, 6)


def test_a_token_endpoint_that_has_had_enough_is_left_alone_and_asked_again(bridge, ehr):
    """For as long as it says; then everything goes on by itself."""
    ehr.front.will(answers(429, retry_after="1"), path=TOKEN)
    with served(bridge):
        post(bridge, 3)
        until(lambda: states(bridge) == ["delivered"] * 3)
    assert ehr.count("DiagnosticReport", "Observation") == (3, 6)
