"""Results in real FHIR servers: once, whatever happens on the way, and what was sent as it was sent."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import pytest
from ehr_plugin import GLYCANAGE, PATIENT, deliver, ehr
from fhir_front import Answer, answers, half, lost

from glycanbridge import DestinationError, PermanentError, TemporaryError

TYPES = ("DiagnosticReport", "Observation")


@pytest.fixture
def make(tmp_path):
    """The plugin for a server's URL; the same folder each time, as after a restart."""
    with ExitStack() as stack:
        yield lambda peer, **settings: stack.enter_context(ehr(peer.url, tmp_path, **settings))


@pytest.fixture
def patient(fhir_server):
    """The EHR's patient whose report it is."""
    return fhir_server.patient(GLYCANAGE, PATIENT)


@pytest.mark.parametrize("mode", ["transaction", "sequential", "search"])
def test_a_report_is_one_report_and_two_observations_of_the_right_patient(make, fhir_server, patient, mode):
    """What the whole plugin is for, in each way of writing."""
    receipt = deliver(make(fhir_server, mode=mode))

    (report,), observations = fhir_server.every("DiagnosticReport"), fhir_server.every("Observation")
    references = {f"Observation/{each['id']}" for each in observations}
    assert receipt == f"DiagnosticReport/{report['id']}"
    assert len(observations) == 2
    assert {each["reference"] for each in report["result"]} == references
    assert {each["subject"]["reference"] for each in [report, *observations]} == {f"Patient/{patient['id']}"}


# A repeat


def test_the_same_event_again_sends_nothing(make, fhir_server, patient):
    """GlycanAge sends twice, and people replay."""
    plugin = make(fhir_server)
    receipt = deliver(plugin)
    fhir_server.front.be_well()

    assert deliver(plugin, 2) == f"{receipt} (it has this result already)"
    assert fhir_server.front.received == []


@pytest.mark.parametrize("mode", ["transaction", "sequential", "search"])
def test_a_repeat_of_what_nobody_recorded_makes_no_second_result(make, fhir_server, patient, tmp_path, mode):
    """A crash between send and record forgets: the same bytes go out under the same keys."""
    receipt = deliver(make(fhir_server, mode=mode))
    first = [each.body for each in fhir_server.front.asked("POST")]
    forget(tmp_path)
    fhir_server.front.be_well()

    assert deliver(make(fhir_server, mode=mode)) == receipt
    assert fhir_server.count(*TYPES) == (1, 2)
    assert fhir_server.front.asked("PUT") == []
    again = [each.body for each in fhir_server.front.asked("POST")]
    assert again == ([] if mode == "search" else first)


@pytest.mark.parametrize("mode", ["transaction", "sequential", "search"])
@pytest.mark.parametrize("fault", [lost, half])
def test_an_answer_that_is_lost_after_the_commit_ends_in_one_result(make, fhir_server, patient, mode, fault):
    """Nobody knows whether the EHR has it; sent again, it does, once."""
    plugin = make(fhir_server, mode=mode)
    for number in range(1 if mode == "transaction" else 3):
        fhir_server.front.will(fault, method="POST")
        with pytest.raises(TemporaryError, match="not reached, or cut off"):
            deliver(plugin, attempt=number + 1)

    deliver(plugin, attempt=9)
    assert fhir_server.count(*TYPES) == (1, 2)


def test_eight_that_send_one_report_at_once_make_one_result(fhir_server, patient, tmp_path):
    """Conditional creates are no lock: parallel senders make two. One sends, the others see that it is there."""
    with ThreadPoolExecutor(8) as pool, ExitStack() as stack:
        plugins = [stack.enter_context(ehr(fhir_server.url, tmp_path)) for _ in range(8)]
        receipts = list(pool.map(deliver, plugins, range(8)))

    assert len({receipt.split()[0] for receipt in receipts}) == 1
    assert sum("already" in receipt for receipt in receipts) == 7
    assert fhir_server.count(*TYPES) == (1, 2)
    assert len(fhir_server.front.asked("POST")) == 1


# Corrections


@pytest.mark.parametrize("mode", ["transaction", "sequential", "search"])
def test_another_value_under_the_same_report_is_a_correction(make, fhir_server, patient, mode):
    """A conditional create would answer that all is well, and keep the old value in the chart."""
    plugin = make(fhir_server, mode=mode)
    first = deliver(plugin)

    assert deliver(plugin, 2, glycanAge="44.1") == first
    assert fhir_server.count(*TYPES) == (1, 2)
    (report,) = fhir_server.every("DiagnosticReport")
    biological, chronological = observations(fhir_server)
    assert (report["status"], biological["status"], chronological["status"]) == ("corrected",) * 3
    assert biological["valueQuantity"]["value"] == 44.1
    assert report["conclusion"] == "GlycanAge biological age 44.1 years; chronological age 42 years."
    assert {each["reference"] for each in report["result"]} == {
        f"Observation/{each['id']}" for each in (biological, chronological)
    }


def test_a_second_correction_reaches_the_ehr_and_an_old_telling_does_not(make, fhir_server, patient):
    """The latest report counts, in whatever order its tellings come."""
    plugin = make(fhir_server)
    for number, (age, created_on) in enumerate([("45.2", 1000), ("44.1", 2000), ("43.9", 3000), ("45.2", 1000)]):
        receipt = deliver(plugin, number, glycanAge=age, createdOn=1693123000000 + created_on)

    assert receipt.endswith("(it has a later result)")
    assert observations(fhir_server)[0]["valueQuantity"]["value"] == 43.9


@pytest.mark.parametrize("mode", ["transaction", "sequential", "search"])
def test_another_value_is_seen_although_nobody_remembers_the_first(make, fhir_server, patient, tmp_path, mode):
    """The memory of what was sent may be lost: then the EHR's own is looked at."""
    deliver(make(fhir_server, mode=mode))
    forget(tmp_path)

    deliver(make(fhir_server, mode=mode), 2, glycanAge="44.1")
    biological, chronological = observations(fhir_server)
    assert fhir_server.count(*TYPES) == (1, 2)
    assert (biological["valueQuantity"]["value"], biological["status"]) == (44.1, "corrected")
    assert chronological["valueQuantity"]["value"] == 42


@pytest.mark.parametrize("mode", ["transaction", "sequential", "search"])
def test_a_later_result_is_not_undone_although_nobody_remembers_it(make, fhir_server, patient, tmp_path, mode):
    """An old event that is replayed must not put an old age into the chart."""
    deliver(make(fhir_server, mode=mode), glycanAge="44.1", createdOn=1693123009000)
    forget(tmp_path)

    deliver(make(fhir_server, mode=mode), 2, createdOn=1693123000000)
    assert observations(fhir_server)[0]["valueQuantity"]["value"] == 44.1


def test_a_report_that_changes_its_patient_is_for_people(make, fhir_server, patient, tmp_path):
    """One of the two charts is wrong: no program knows which."""
    fhir_server.patient(GLYCANAGE, "patient_456")
    deliver(make(fhir_server))

    with pytest.raises(PermanentError, match="sent for another patient before"):
        deliver(make(fhir_server), 2, patientId="patient_456")
    forget(tmp_path)
    with pytest.raises(PermanentError, match="has this result of another patient"):
        deliver(make(fhir_server), 2, patientId="patient_456")
    assert {each["subject"]["reference"] for each in observations(fhir_server)} == {f"Patient/{patient['id']}"}


@pytest.mark.parametrize("mode", ["transaction", "sequential", "search"])
@pytest.mark.parametrize("age", ["45.2", "44.1"])
def test_what_somebody_has_withdrawn_in_the_ehr_stays_withdrawn(fhir_server, patient, tmp_path, mode, age):
    """A repeat or a correction would put a result back into the chart that a person has taken out."""
    with ehr(fhir_server.url, tmp_path, mode=mode) as plugin:
        deliver(plugin)
        for each in [*fhir_server.every("Observation"), *fhir_server.every("DiagnosticReport")]:
            withdrawn = each | {"status": "entered-in-error"}
            fhir_server._told("PUT", f"{each['resourceType']}/{each['id']}", json=withdrawn)
        if age == "45.2":
            forget(tmp_path)
        with pytest.raises(PermanentError, match="somebody has withdrawn"):
            deliver(plugin, 2, glycanAge=age)

    assert {each["status"] for each in observations(fhir_server)} == {"entered-in-error"}


@pytest.mark.parametrize("mode", ["transaction", "sequential", "search"])
def test_a_correction_carries_no_result_from_one_chart_into_another(make, fhir_server, patient, tmp_path, mode):
    """The same id of GlycanAge's, and meanwhile another patient of the EHR's has it: a person must look."""
    other = fhir_server.patient("urn:others", "x")
    file = tmp_path / "patients.csv"
    plugin = make(fhir_server, mode=mode, patient="map", patients=file)
    file.write_text(f"patient_id,ehr_id\n{PATIENT},{patient['id']}\n")
    deliver(plugin)
    file.write_text(f"patient_id,ehr_id,note\n{PATIENT},{other['id']},\n")
    with pytest.raises(PermanentError, match="of another patient"):
        deliver(plugin, 2, glycanAge="44.1")

    assert {each["subject"]["reference"] for each in observations(fhir_server)} == {f"Patient/{patient['id']}"}


def test_a_server_without_conditional_updates_is_corrected_by_id(make, fhir_server, patient):
    """It can do transactions, and says that it cannot put by identifier."""
    fhir_server.front.will(changed_statement(conditionalUpdate=False), times=None, path="metadata")
    plugin = make(fhir_server)
    deliver(plugin)
    deliver(plugin, 2, glycanAge="44.1")

    assert len(fhir_server.front.asked("PUT")) == 3
    assert observations(fhir_server)[0]["valueQuantity"]["value"] == 44.1
    assert fhir_server.count(*TYPES) == (1, 2)


# What the server says, and what is


@pytest.mark.parametrize(
    ("says", "mode"),
    [({}, "transaction"), ({"interaction": []}, "sequential"), ({"conditionalCreate": False}, "search")],
)
def test_results_are_written_as_the_server_says_that_it_can(make, fhir_server, patient, says, mode):
    """`mode: auto` asks it once."""
    fhir_server.front.will(changed_statement(**says), times=None, path="metadata")
    plugin = make(fhir_server)
    deliver(plugin)
    deliver(plugin, 2, reportId="report_2")

    posted = [each.path.rpartition("/")[2] for each in fhir_server.front.asked("POST")]
    each_time = ["Observation", "Observation", "DiagnosticReport"]
    assert posted == ([fhir_server.url.rpartition("/")[2]] * 2 if mode == "transaction" else each_time * 2)
    assert ("if-none-exist" in fhir_server.front.asked("POST")[0].headers) == (mode == "sequential")
    assert len(fhir_server.front.asked("GET", "metadata")) == 1
    assert fhir_server.count(*TYPES) == (2, 4)


@pytest.mark.parametrize("mode", ["transaction", "sequential", "search"])
def test_a_success_that_stored_nothing_is_found_and_sent_again(make, fhir_server, patient, mode):
    """`verify`: a server that answers 201 and commits nothing has been seen in the field."""
    created = [
        {"response": {"status": "201 Created", "location": f"{each}/1"}} for each in ("Observation",) * 2 + TYPES[:1]
    ]
    fhir_server.front.will(
        answers(200, {"resourceType": "Bundle", "type": "transaction-response", "entry": created})
        if mode == "transaction"
        else answers(201, {"resourceType": "Observation", "id": "1"}, location="Observation/1"),
        method="POST",
    )
    plugin = make(fhir_server, mode=mode)
    with pytest.raises(TemporaryError, match=r"said that the .* is there, and it is not"):
        deliver(plugin)

    deliver(plugin, attempt=2)
    assert fhir_server.count(*TYPES) == (1, 2)


def test_without_verify_nothing_is_looked_at_after_a_write(make, fhir_server, patient):
    """For a server where the bridge may only write."""
    deliver(make(fhir_server, verify=False))

    assert [each.path for each in fhir_server.front.asked("GET") if "Report" in each.path] == []


def test_a_transaction_with_an_invalid_entry_leaves_nothing_behind(make, fhir_server, patient):
    """All or nothing, and a dead letter that says where."""
    fhir_server.front.will(with_an_invalid_report, method="POST")
    with pytest.raises(PermanentError, match=r"writing the result: HTTP 4.* the EHR refuses it"):
        deliver(make(fhir_server))

    assert fhir_server.count(*TYPES) == (0, 0)


@pytest.mark.parametrize("mode", ["auto", "transaction"])
def test_a_transaction_that_was_run_as_a_batch_is_seen_although_http_says_200(make, batch_like, mode):
    """Two of three parts are there, and the server says that all is well."""
    batch_like.patient(GLYCANAGE, PATIENT)
    batch_like.front.will(changed_statement(interaction=[{"code": "transaction"}]), path="metadata")
    batch_like.front.will(with_an_invalid_report, times=None, method="POST")
    with pytest.raises(PermanentError, match=r"HTTP 400 \(.* at .*code"):
        deliver(make(batch_like, mode=mode))

    assert batch_like.count(*TYPES) == (0, 2)


@pytest.mark.parametrize("how", ["as before", "as a batch that says so"])
def test_what_a_batch_left_behind_becomes_whole(make, batch_like, how):
    """The same keys, so that a repeat completes it; the report refers to its observations by their ids."""
    batch_like.patient(GLYCANAGE, PATIENT)
    batch_like.front.will(changed_statement(interaction=[{"code": "transaction"}]), times=None, path="metadata")
    batch_like.front.will(with_an_invalid_report, method="POST", times=2)
    plugin = make(batch_like)
    with pytest.raises(PermanentError):
        deliver(plugin)
    batch_like.front.be_well()
    batch_like.front.will(changed_statement(interaction=[{"code": "transaction"}]), times=None, path="metadata")
    if how != "as before":
        batch_like.front.will(as_a_batch, method="POST")
    deliver(make(batch_like))

    (report,) = batch_like.every("DiagnosticReport")
    assert batch_like.count(*TYPES) == (1, 2)
    assert {each["reference"] for each in report["result"]} == {
        f"Observation/{each['id']}" for each in observations(batch_like)
    }


def test_a_server_that_says_it_batches_is_written_to_in_turn_from_then_on(make, fhir_server, patient):
    """Its CapabilityStatement promised transactions; its answer is believed instead."""
    fhir_server.front.will(as_a_batch, method="POST")
    plugin = make(fhir_server)
    deliver(plugin)
    deliver(plugin, 2, reportId="report_2")

    posted = [each.path.rpartition("/")[2] for each in fhir_server.front.asked("POST")]
    assert posted[1:] == ["Observation", "Observation", "DiagnosticReport"] * 2
    assert fhir_server.count(*TYPES) == (2, 4)


def test_a_report_that_refers_to_nothing_is_put_right(make, fhir_server, patient):
    """A server that runs a transaction as a batch and does not say so may leave the Bundle's own names in it."""

    def unresolved(request, ask):
        answer = ask(request)
        (report,) = fhir_server.every("DiagnosticReport")
        report["result"] = [{"reference": "urn:uuid:0", "type": "Observation"}]
        fhir_server._told("PUT", f"DiagnosticReport/{report['id']}", json=report)
        return answer

    fhir_server.front.will(unresolved, method="POST")
    deliver(make(fhir_server))

    (report,) = fhir_server.every("DiagnosticReport")
    assert fhir_server.count(*TYPES) == (1, 2)
    assert {each["reference"] for each in report["result"]} == {
        f"Observation/{each['id']}" for each in observations(fhir_server)
    }


def test_rights_for_the_types_alone_are_enough(make, sekmet):
    """Some servers want more for a Bundle than for what is in it: then it is written one by one."""
    sekmet.patient(GLYCANAGE, PATIENT)
    sekmet.front.will(answers(403), method="POST", path="/fhir")
    deliver(make(sekmet))
    assert sekmet.count(*TYPES) == (1, 2)

    sekmet.begin_anew()
    sekmet.patient(GLYCANAGE, PATIENT)
    sekmet.front.will(answers(403), times=None, method="POST")
    with pytest.raises(DestinationError, match="writing the Observation: HTTP 403"):
        deliver(make(sekmet), 2, reportId="report_2")
    assert sekmet.count(*TYPES) == (0, 0)


def test_who_asks_for_transactions_from_a_server_that_batches_is_told(make, fhir_server, patient):
    """All entries are fine, and still it was no transaction."""
    fhir_server.front.will(as_a_batch, method="POST")
    with pytest.raises(DestinationError, match="set mode to sequential"):
        deliver(make(fhir_server, mode="transaction"))


# Documents


@pytest.mark.parametrize("mode", ["auto", "transaction", "sequential", "search"])
def test_an_ehr_that_takes_only_documents_gets_one(make, fhir_server, patient, tmp_path, mode):
    """Once, corrected where it stands, and seen to be there, as a result would be."""
    plugin = make(fhir_server, mode=mode, send_as="document")
    receipt = deliver(plugin)
    forget(tmp_path)
    assert deliver(plugin) == receipt
    assert deliver(plugin, 2, glycanAge="44.1") == receipt

    (document,) = fhir_server.every("DocumentReference")
    text = base64.b64decode(document["content"][0]["attachment"]["data"]).decode()
    assert text == "GlycanAge biological age 44.1 years; chronological age 42 years."
    assert document["docStatus"] == "amended"
    assert document["masterIdentifier"]["value"] == "report_78901"
    assert document["subject"]["reference"] == f"Patient/{patient['id']}"
    assert fhir_server.count(*TYPES) == (0, 0)


def test_another_document_is_seen_although_nobody_remembers_the_first(make, fhir_server, patient, tmp_path):
    """And a later one is left as it is."""
    deliver(make(fhir_server, send_as="document"))
    for age, created_on in (("44.1", 1793123000000), ("43", 1693122000000)):
        forget(tmp_path)
        deliver(make(fhir_server, send_as="document"), 2, glycanAge=age, createdOn=created_on)

    (document,) = fhir_server.every("DocumentReference")
    assert b"44.1" in base64.b64decode(document["content"][0]["attachment"]["data"])


# Numbers and times


def test_every_digit_of_an_age_goes_over_the_wire(make, sekmet):
    """45.20 is more exact than 45.2, and FHIR asks to keep it."""
    sekmet.patient(GLYCANAGE, PATIENT)
    deliver(make(sekmet), glycanAge="45.20", chronologicalAge="42.0")

    (request,) = sekmet.front.asked("POST")
    assert b'"value":45.20,' in request.body
    assert b'"value":42.0,' in request.body
    biological, _ = observations(sekmet)
    assert biological["valueQuantity"]["value"] == 45.2


@pytest.mark.parametrize("age", ["", "N/A", "45,2", "NaN", "1e9", "-1", "0", "150", "٤٥", "45.2 ", "Infinity"])
def test_what_is_no_plain_number_of_years_is_never_sent(make, fhir_server, patient, age):
    """Least of all as 0."""
    with pytest.raises(PermanentError, match="not a number of years"):
        deliver(make(fhir_server), glycanAge=age)
    assert fhir_server.front.received == []


# Ids that servers misread


@pytest.mark.parametrize("report_id", ["a,b+c", "a|b&c=d", "a b", "ü$\\", "report_78901~2C", "100%25"])
def test_an_id_that_means_something_in_a_search_is_still_one_result(fhir_server, patient, tmp_path, report_id):
    """Raw, a comma or a plus made duplicates on both servers."""
    for mode in ["transaction", "transaction", "sequential", "search"]:
        with ehr(fhir_server.url, tmp_path, mode=mode) as plugin:
            deliver(plugin, reportId=report_id)
        forget(tmp_path)

    assert fhir_server.count(*TYPES) == (1, 2)


def observations(peer):
    """The biological age's Observation, then the chronological age's."""
    found = peer.every("Observation")
    assert len(found) == 2
    return sorted(found, key=lambda each: each["identifier"][0]["value"], reverse=True)


def forget(folder):
    """Lose the memory of what was sent, as a crash before it was written down."""
    (folder / "state" / "sent.db").unlink()


def with_an_invalid_report(request, ask):
    """On its way the DiagnosticReport becomes what no server takes; the Observations stay well."""
    return ask(replace(request, body=request.body.replace(b'"code":"glycanage-report"', b'"code":5')))


def as_a_batch(request, ask):
    """The server says that it has run the transaction as a batch."""
    answer = ask(request)
    return replace(answer, body=answer.body.replace(b"transaction-response", b"batch-response"))


def changed_statement(**says):
    """What a server's CapabilityStatement says instead: of the whole server (`interaction`) or of each resource."""

    def change(request, ask):
        answer = ask(request)
        told = json.loads(answer.body)
        (rest,) = told["rest"]
        rest.update({name: each for name, each in says.items() if name == "interaction"})
        for resource in rest["resource"]:
            resource.update({"conditionalCreate": True, "conditionalUpdate": True})
            resource.update({name: each for name, each in says.items() if name != "interaction"})
        body = json.dumps(told).encode()
        return Answer(answer.status, body, (("Content-Type", "application/fhir+json"),))

    return change
