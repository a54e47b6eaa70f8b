"""Whose result it is: found by an identifier and nothing else, read with distrust, and never guessed."""

from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta

import pytest
from ehr_plugin import GLYCANAGE, PATIENT, Clock, deliver, ehr
from fhir_front import answers

from glycanbridge import DestinationError, NotYetError, PermanentError

OTHERS = "urn:clinic:others"


@pytest.fixture
def make(tmp_path):
    """The plugin for a server's URL; the same folder each time, as after a restart."""
    with ExitStack() as stack:
        yield lambda peer, **settings: stack.enter_context(ehr(peer.url, tmp_path, **settings))


def subjects(peer):
    """Whom the results are about."""
    return {each["subject"]["reference"] for each in peer.every("Observation") + peer.every("DiagnosticReport")}


def test_a_patient_who_is_not_registered_yet_is_waited_for(make, fhir_server):
    """Results may be faster than the front desk. No attempt is lost, and nobody is made."""
    plugin = make(fhir_server)
    with pytest.raises(NotYetError, match="no patient with this identifier; the result waits") as raised:
        deliver(plugin)
    assert raised.value.retry_after_s == 3600
    assert fhir_server.count("Patient", "Observation") == (0, 0)

    patient = fhir_server.patient(GLYCANAGE, PATIENT)
    deliver(plugin)
    assert subjects(fhir_server) == {f"Patient/{patient['id']}"}


def test_a_patient_is_waited_for_so_long_and_no_longer(make, fhir_server):
    """Then somebody has to look: a dead letter."""
    clock = Clock()
    plugin = make(fhir_server, clock=clock, patient_wait_days=14)
    clock.now += timedelta(days=13, hours=23)
    with pytest.raises(NotYetError):
        deliver(plugin)
    clock.now += timedelta(hours=1)
    with pytest.raises(PermanentError, match="no patient with this identifier; it waited for 14 days"):
        deliver(plugin)


def test_two_patients_under_one_identifier_are_for_people(make, fhir_server):
    """Either might be the wrong one."""
    for _ in range(2):
        fhir_server.patient(GLYCANAGE, PATIENT)
    with pytest.raises(PermanentError, match="several of type Patient under this identifier"):
        deliver(make(fhir_server))
    assert fhir_server.count("Observation") == (0,)


@pytest.mark.parametrize("id_", [None, 5, "", "a/b", "a?b", "x" * 65])
def test_a_patient_without_a_fhir_id_gets_no_result(make, fhir_server, id_):
    """`Patient/None` would be somebody, or nobody."""
    patient = fhir_server.patient(GLYCANAGE, PATIENT) | {"id": id_}
    told = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": patient}]}
    fhir_server.front.will(answers(200, told), method="GET", path="/Patient?")
    with pytest.raises(PermanentError, match="without a FHIR id"):
        deliver(make(fhir_server))
    assert fhir_server.count("Observation") == (0,)


def test_another_system_or_a_like_identifier_is_another_patient(make, fhir_server):
    """An identifier is both: its system and its value."""
    fhir_server.patient(OTHERS, PATIENT)
    fhir_server.patient(GLYCANAGE, PATIENT + "4")
    with pytest.raises(NotYetError):
        deliver(make(fhir_server))


@pytest.mark.parametrize("patients", [1, 2])
def test_a_server_that_ignores_the_parameter_gives_nobody_a_result(make, fhir_server, patients):
    """It answers with everybody it has: seen on two servers."""
    for number in range(patients):
        fhir_server.patient(OTHERS, f"somebody-{number}")

    def ignore(request, ask):
        return ask(replace(request, path=request.path.partition("?")[0]))

    fhir_server.front.will(ignore, method="GET", path="/Patient?")
    with pytest.raises(PermanentError, match=r"does not search by identifier|several of type Patient"):
        deliver(make(fhir_server))
    assert fhir_server.count("Observation") == (0,)


def test_a_search_asks_to_be_refused_if_it_is_not_understood(make, fhir_server):
    """Without `handling=strict` a server may ignore what it does not know."""
    fhir_server.patient(GLYCANAGE, PATIENT)
    deliver(make(fhir_server))

    (asked,) = fhir_server.front.asked("GET", "/Patient?")
    assert asked.headers["prefer"] == "handling=strict"
    assert asked.headers["cache-control"] == "no-cache"
    assert f"identifier={GLYCANAGE.replace(':', '%3A')}%7C{PATIENT}&" in asked.path


def test_only_what_matched_counts(make, fhir_server):
    """A server may add what it thinks useful: warnings, and resources that are linked to what was found."""
    patient = fhir_server.patient(GLYCANAGE, PATIENT)
    somebody = fhir_server.patient(OTHERS, "somebody")
    entries = [
        {"resource": {"resourceType": "OperationOutcome", "issue": []}, "search": {"mode": "outcome"}},
        {"resource": somebody, "search": {"mode": "include"}},
        {"resource": {"resourceType": "Practitioner", "id": "1"}, "search": {"mode": "match"}},
        {"resource": patient},
        {},
    ]
    told = {"resourceType": "Bundle", "type": "searchset", "total": 3, "entry": entries}
    fhir_server.front.will(answers(200, told), method="GET", path="/Patient?")
    deliver(make(fhir_server))

    assert subjects(fhir_server) == {f"Patient/{patient['id']}"}


@pytest.mark.parametrize("identifier", ["a+b", "a&b=c", "a b", "ü/ä?#", "100%", "a%7Cb", "a:b"])
def test_an_identifier_is_searched_for_as_it_is(make, fhir_server, identifier):
    """What means something in a URL is encoded, what means something in a search is escaped."""
    patient = fhir_server.patient(GLYCANAGE, identifier)
    deliver(make(fhir_server), patientId=identifier)

    assert subjects(fhir_server) == {f"Patient/{patient['id']}"}


@pytest.mark.parametrize(("identifier", "wire"), [("a,b", "%2C"), ("a$b", "%24"), ("a\\b", "%5C"), ("a|b", "%7C")])
def test_what_means_something_in_a_search_is_escaped_and_finds_the_right_one_or_nobody(
    make, fhir_server, identifier, wire
):
    """As FHIR says. Not every server knows the escapes: there nobody is found, which is safe."""
    patient = fhir_server.patient(GLYCANAGE, identifier)
    fhir_server.patient(GLYCANAGE, "a")
    try:
        deliver(make(fhir_server), patientId=identifier)
    except (NotYetError, PermanentError):
        assert fhir_server.count("Observation") == (0,)
    else:
        assert subjects(fhir_server) == {f"Patient/{patient['id']}"}
    (asked,) = fhir_server.front.asked("GET", "/Patient?")
    assert f"a%5C{wire}b" in asked.path


# By the server itself


def test_a_conditional_reference_is_resolved_by_the_server(make, sekmet):
    """It is looked up only where something stands under the key: whose is that?"""
    patient = sekmet.patient(GLYCANAGE, PATIENT)
    plugin = make(sekmet, patient="conditional")
    deliver(plugin)
    written = next(place for place, each in enumerate(sekmet.front.received) if each.method == "POST")
    assert [each for each in sekmet.front.received[:written] if "/Patient?" in each.path] == []
    deliver(plugin, 2, glycanAge="44.1")

    assert subjects(sekmet) == {f"Patient/{patient['id']}"}
    assert sekmet.every("DiagnosticReport")[0]["status"] == "corrected"


@pytest.mark.parametrize("age", ["45.2", "44.1"])
def test_a_result_never_moves_to_another_patient_by_a_conditional_reference(make, sekmet, tmp_path, age):
    """Also where what was sent is forgotten: the EHR has the report, of somebody else."""
    first = sekmet.patient(GLYCANAGE, PATIENT)
    sekmet.patient(GLYCANAGE, "patient_456")
    plugin = make(sekmet, patient="conditional")
    deliver(plugin)
    next(tmp_path.rglob("sent.db")).unlink()
    with pytest.raises(PermanentError, match="of another patient"):
        deliver(plugin, 2, patientId="patient_456", glycanAge=age)

    assert subjects(sekmet) == {f"Patient/{first['id']}"}


def test_a_conditional_reference_to_nobody_waits_and_to_several_is_for_people(make, sekmet):
    """As with a search."""
    plugin = make(sekmet, patient="conditional")
    with pytest.raises(NotYetError, match="no patient"):
        deliver(plugin)
    for _ in range(2):
        sekmet.patient(GLYCANAGE, PATIENT)
    with pytest.raises(PermanentError, match="HTTP 412"):
        deliver(plugin)


def test_a_wrong_address_is_not_taken_for_an_unknown_patient(make, sekmet):
    """Both are a 404; the server of the right one says why."""
    sekmet.front.will(answers(404, "<html>Not here</html>"), method="POST")
    with pytest.raises(DestinationError, match="see that url is the base"):
        deliver(make(sekmet, patient="conditional", mode="transaction"))


def test_a_server_that_keeps_conditional_references_as_they_are_is_told_of(make, medplum):
    """It has a result of nobody now: the destination stops before there are more of them."""
    medplum.patient(GLYCANAGE, PATIENT)
    with pytest.raises(DestinationError, match="set patient to search"):
        deliver(make(medplum, patient="conditional", verify=False))


def test_a_conditional_reference_needs_a_transaction(make, batch_like):
    """There are none outside."""
    with pytest.raises(DestinationError, match="needs transactions"):
        deliver(make(batch_like, patient="conditional"))
    assert batch_like.front.asked("POST") == []


# By the clinic's file


def test_the_clinics_own_file_says_who_it_is(make, fhir_server, tmp_path):
    """No search at all, and the file may change while the bridge runs."""
    patient = fhir_server.patient(OTHERS, "mrn-1")
    file = tmp_path / "patients.csv"
    file.write_text("patient_id,ehr_id\n")
    plugin = make(fhir_server, patient="map", patients=file)
    with pytest.raises(NotYetError, match="not in the file of patients"):
        deliver(plugin)

    file.write_text(f"patient_id,ehr_id\n{PATIENT},{patient['id']}\n")
    deliver(plugin)
    assert subjects(fhir_server) == {f"Patient/{patient['id']}"}
    assert fhir_server.front.asked("GET", "/Patient") == []


@pytest.mark.parametrize("ehr_id", ["Patient/1", "a?b", "a/../b", "ü"])
def test_what_is_no_fhir_id_in_the_file_goes_nowhere(make, fhir_server, tmp_path, ehr_id):
    """It would become a part of a URL or a reference to something else."""
    file = tmp_path / "patients.csv"
    file.write_text(f"patient_id,ehr_id\n{PATIENT},{ehr_id}\n", encoding="utf-8")
    with pytest.raises(PermanentError, match="no FHIR id"):
        deliver(make(fhir_server, patient="map", patients=file))
    assert fhir_server.front.received == []
