"""What all ways into an EHR share: who may have a result, what was sent before, and whose it is."""

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest
from ehr_plugin import PATIENT, deliver, ehr, told
from fhir_front import Front, answers
from glycanbridge_ehr import EhrSettings
from glycanbridge_ehr.patients import Patient, PatientFile
from glycanbridge_ehr.reports import report_of
from glycanbridge_ehr.sent import Sent
from pydantic import ValidationError

from glycanbridge import DestinationError, NotYetError, PermanentError, TemporaryError

CREATED = {"response": {"status": "201 Created", "location": "DiagnosticReport/1"}}
TAKEN = answers(200, {"resourceType": "Bundle", "type": "transaction-response", "entry": [CREATED] * 3})


@pytest.fixture
def front():
    """A server that takes every transaction."""
    with Front() as front:
        front.will(TAKEN, times=None)
        yield front


@pytest.fixture
def make(tmp_path, front):
    """The plugin, which writes one transaction for each result and asks nothing; the same folder each time."""
    (tmp_path / "patients.csv").write_text(f"patient_id,ehr_id\n{PATIENT},ehr-4711\n")
    plain = {"patient": "map", "patients": tmp_path / "patients.csv", "mode": "transaction", "verify": False}
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(ehr(front.url, tmp_path, **plain | settings))


@pytest.fixture
def sent(tmp_path):
    """What was sent, in an empty folder."""
    return Sent(tmp_path / "state", lock_timeout_s=0.1)


# Who may have it


def test_a_result_of_another_practice_goes_nowhere(make, front):
    """One clinic's patients are none of another's business: a dead letter, never a default."""
    with pytest.raises(PermanentError, match=r"not among settings\.practices"):
        deliver(make(), practiceId="practice_2")
    assert front.received == []


def test_a_repeat_is_told_by_its_values_and_not_by_its_time(make, front):
    """GlycanAge may tell the same report anew, with another time."""
    plugin = make()
    assert deliver(plugin) == "DiagnosticReport/1"
    assert deliver(plugin, 2, createdOn=1800000000000) == "DiagnosticReport/1 (it has this result already)"
    assert len(front.received) == 1


@pytest.mark.parametrize(
    "change",
    [{"glycanAge": "45.20"}, {"chronologicalAge": "43"}, {"kitCode": "K2"}, {"testId": "t2"}, {"assignmentId": "a2"}],
)
def test_any_other_value_is_a_correction(make, front, change):
    """Whatever the EHR was told and is now otherwise."""
    plugin = make()
    deliver(plugin)
    deliver(plugin, 2, **change)
    assert [json.loads(each.body)["entry"][0]["resource"]["status"] for each in front.received] == [
        "final",
        "corrected",
    ]


def test_a_change_of_patient_is_told_in_one_line_and_sent_nowhere(make, front):
    """A dead letter: one of the two charts is wrong."""
    plugin = make()
    deliver(plugin)
    with pytest.raises(PermanentError, match="sent for another patient before") as raised:
        deliver(plugin, 2, patientId="patient_456")
    assert "patient_" not in str(raised.value)
    assert len(front.received) == 1


def test_destinations_share_a_folder_and_no_results(make, front):
    """A clinic may have two EHRs, and each must get it."""
    plugin = make()
    for destination in ("one", "two"):
        event, delivery = told(destination=destination)
        assert plugin.on_report_ready(event=event, delivery=delivery) == "DiagnosticReport/1"
    assert len(front.received) == 2


def test_a_kit_that_came_is_remembered_for_its_report(make, front):
    """Its report does not say when; the time is closer to the sample's than the report's own."""
    plugin = make(effective="kit_received")
    event, delivery = told("kit-received")
    assert plugin.on_kit_received(event=event, delivery=delivery) == "remembered for its report"
    assert front.received == []
    deliver(make(effective="kit_received"))
    (observation, *_) = json.loads(front.received[0].body)["entry"]
    assert observation["resource"]["effectiveDateTime"] == "2023-08-27T07:06:40.000Z"


# What was sent before


def test_what_was_sent_is_remembered_over_a_restart_and_holds_no_result(sent, tmp_path):
    """Digests, times, and the EHR's name for it; nobody else on the machine may read even that."""
    event, _ = told()
    report = report_of(event, kit_received_at=None)
    sent.keep("ehr", report, received_at=report.created_on, revision=2, receipt="DiagnosticReport/1")

    before = Sent(tmp_path / "state", lock_timeout_s=0.1).last("ehr", report.report_id)
    assert (before.revision, before.digest, before.receipt) == (2, report.digest, "DiagnosticReport/1")
    assert before.created_on == report.created_on
    file = tmp_path / "state" / "sent.db"
    assert [needle for needle in (b"45.2", PATIENT.encode(), b"KIT001234") if needle in file.read_bytes()] == []
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_a_report_is_held_by_one_and_the_others_come_back(sent, tmp_path):
    """In other threads and processes as well; another report is not held up, and the EHR is not at fault."""
    another = Sent(tmp_path / "state", lock_timeout_s=0.1)
    with sent.one_at_a_time("ehr", "report_1"):
        with (
            pytest.raises(NotYetError, match="another lane is sending this report") as raised,
            another.one_at_a_time("ehr", "report_1"),
        ):
            pytest.fail("both hold it")
        with another.one_at_a_time("ehr", "report_2"):
            pass
    assert raised.value.retry_after_s == 5
    with another.one_at_a_time("ehr", "report_1"):
        pass


def test_a_lock_of_a_process_that_died_holds_nobody_up(sent, tmp_path):
    """The system lets go of it."""
    code = (
        "import os, sys; from pathlib import Path; from glycanbridge_ehr.sent import Sent\n"
        "with Sent(Path(sys.argv[1]), lock_timeout_s=1).one_at_a_time('ehr', 'report_1'): os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, tmp_path / "state"], check=False).returncode == 9
    with sent.one_at_a_time("ehr", "report_1"):
        pass


def test_a_memory_that_cannot_be_used_stops_the_destination_before_anything_is_sent(make, front, tmp_path):
    """Without it a correction might be lost; nothing loses an attempt until it is mended."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "sent.db").write_text("this is no database" * 100)
    with pytest.raises(DestinationError, match=r"sent\.db: .*see that it is whole and can be written"):
        deliver(make())
    (tmp_path / "state" / "sent.db").unlink()
    (tmp_path / "state").rmdir()
    (tmp_path / "state").write_text("in the way")
    with pytest.raises(DestinationError, match="must be a directory of the bridge's"):
        deliver(make())
    assert front.received == []


def test_a_lock_that_cannot_be_made_stops_the_destination(sent, tmp_path):
    """It says which file is in the way."""
    with sent.one_at_a_time("ehr", "report_1"):
        (lock,) = (tmp_path / "state").glob(".*.lock")
    lock.unlink(missing_ok=True)
    lock.mkdir()
    with (
        pytest.raises(DestinationError, match=r"\.lock: .*see that the bridge can write there"),
        sent.one_at_a_time("ehr", "report_1"),
    ):
        pytest.fail("nobody holds it")


def test_a_memory_that_another_holds_for_too_long_is_tried_again(sent, tmp_path):
    """It is busy, not broken."""
    sqlite = pytest.importorskip("sqlite3")
    sent.keep_kit("ehr", "test_1", datetime.now(UTC))
    busy = sqlite.connect(tmp_path / "state" / "sent.db", isolation_level=None)
    busy.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(TemporaryError, match="another lane holds it"):
            sent.kit("ehr", "test_1")
    finally:
        busy.close()


def test_many_lanes_write_to_the_memory_at_once(tmp_path):
    """None of what they keep is lost."""

    def keep(lane):
        own = Sent(tmp_path / "state", lock_timeout_s=30)
        for number in range(10):
            own.keep_kit("ehr", f"test_{lane}_{number}", datetime(2023, 8, 27, lane, number, tzinfo=UTC))

    lanes = [threading.Thread(target=keep, args=(lane,)) for lane in range(4)]
    for each in lanes:
        each.start()
    for each in lanes:
        each.join()
    found = Sent(tmp_path / "state", lock_timeout_s=30)
    assert all(found.kit("ehr", f"test_{lane}_{number}").minute == number for lane in range(4) for number in range(10))


# Whose it is: the file


@pytest.mark.parametrize(
    "text",
    [
        "patient_id,ehr_id,family\np1,e1,Söhne\n",
        "\ufeffpatient_id;ehr_id;family\r\np1;e1;Söhne\r\n",
        "Patient_ID\tEHR_ID\tfamily\r\n p1 \te1\tSöhne",
        '"family","ehr_id","patient_id","notes"\n"Söhne","e1","p1","a, b"\n\n,,,\n',
        "patient_id,ehr_id,family\np1,e1,Söhne\np1,e1,Söhne\np2,,\n,e9,\n",
    ],
)
def test_a_file_is_read_as_spreadsheets_save_it(tmp_path, text):
    """With a byte order mark or without, with commas, semicolons or tabs, in any order, with empty and equal rows."""
    (tmp_path / "patients.csv").write_bytes(text.encode())
    file = PatientFile(tmp_path / "patients.csv", now_s=lambda: time.time() + 60)
    assert file.find("p1") == Patient(ehr_id="e1", family="Söhne")
    assert file.find("p2") is None
    assert file.count() == 1


def test_a_file_that_changes_is_read_anew(tmp_path):
    """The front desk adds patients while the bridge runs."""
    path = tmp_path / "patients.csv"
    path.write_text("patient_id,ehr_id\n")
    file = PatientFile(path)
    assert file.find("p1") is None
    path.write_text("patient_id,ehr_id\np1,e1\n")
    assert file.find("p1").ehr_id == "e1"
    other = tmp_path / "new.csv"  # as editors save: a new file takes the place of the old
    other.write_text("patient_id,ehr_id\np1,e2\n")
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.replace(path)
    assert file.find("p1").ehr_id == "e2"


def test_two_different_rows_of_one_patient_are_for_people(tmp_path):
    """Either may be wrong; of the others nothing is held up, and the patient's id is not told."""
    path = tmp_path / "patients.csv"
    path.write_text("patient_id,ehr_id\np1,e1\np1,e2\np2,e3\n")
    with pytest.raises(PermanentError, match="2 different rows") as raised:
        PatientFile(path).find("p1")
    assert "p1" not in str(raised.value).replace(str(path), "")
    assert PatientFile(path).find("p2").ehr_id == "e3"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "No such file"),
        (b"", "expected one column patient_id and one ehr_id"),
        (b"patient;mrn\n1;2\n", "expected one column patient_id and one ehr_id"),
        (b"patient_id,ehr_id,ehr_id\n1,2,3\n", "expected one column ehr_id"),
        (b"patient_id,ehr_id\n1,2,canary\n", "row 2 has 3 cells, the header 2"),
        (b"patient_id,ehr_id\n\xff,2\n", "it is not UTF-8"),
        (b'patient_id,ehr_id\n"1,2\n', "it is no CSV file"),
    ],
)
def test_a_file_that_cannot_be_read_stops_the_destination_until_it_can(tmp_path, content, told):
    """Whoever is in it cannot be known; nothing is given up for it."""
    path = tmp_path / "patients.csv"
    if content is not None:
        path.write_bytes(content)
    file = PatientFile(path)
    for _ in range(2):
        with pytest.raises(DestinationError, match=told) as raised:
            file.find("p1")
        assert "canary" not in str(raised.value)
    path.write_text("patient_id,ehr_id\np1,e1\n")
    assert file.find("p1").ehr_id == "e1"


# The settings


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"fhir": None}, "exactly one of fhir, mllp and drop"),
        ({"practices": []}, "at least 1 item"),
        ({"patients": None}, "map needs patients"),
        ({"url": "http://ehr.example/fhir"}, "expected https"),
        ({"url": "ftp://127.0.0.1/fhir"}, "expected an https: address"),
        ({"url": "http://user:canary@127.0.0.1/fhir"}, "a password belongs into auth"),
        ({"url": "http://127.0.0.1/fhir?key=canary"}, "without a user, a \\? and a #"),
        ({"patient": "search"}, "needs patient_system"),
        ({"patient": "conditional", "patient_system": "urn:x:y", "mode": "search"}, "no such references outside"),
        ({"patient_system": "urn:x y|z"}, "expected a URI"),
        ({"identifier_base": "urn:x:y"}, "expected an https: address"),
        ({"key_file": "key.pem"}, "need certificate_file"),
        ({"auth": {}}, "exactly one of basic, bearer and smart"),
        ({"auth": {"bearer": "canary", "basic": {"user": "a", "password": "canary"}}}, "exactly one of"),
        ({"auth": {"bearer": "canary\nX: y"}}, "expected a token without spaces"),
        ({"proxy": "canary"}, "expected an address such as http://proxy"),
        ({"proxy": "http://user:canary@proxy.example:99999"}, "Port out of range"),
        ({"url": "http://127.0.0.1:x/fhir"}, "Port could not be cast"),
        ({"unknown": 1}, "Extra inputs are not permitted"),
        ({"personal": "none"}, "Input should be 'full'"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_a_reason(tmp_path, changes, told):
    """When the bridge starts, and not with the first result; no value is shown, for it may be a secret."""
    own = {name: changes[name] for name in changes if name in EhrSettings.model_fields}
    fhir = {"url": "http://127.0.0.1/fhir"} | {name: changes[name] for name in changes if name not in own}
    whole = {"practices": ["p"], "patients": tmp_path / "p.csv", "fhir": fhir} | own
    with pytest.raises(ValidationError, match=told) as raised:
        EhrSettings.model_validate(whole)
    assert "canary" not in str(raised.value)


# What it costs


def test_the_plugin_loads_no_http_client_before_it_needs_one():
    """The bridge imports it at every start, for whichever way; and never any models of FHIR."""
    code = (
        "import sys; from glycanbridge import hookimpl, ReportReady, LocalPath\n"
        "before = set(sys.modules); import glycanbridge_ehr; print(*(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "glycanbridge_ehr" in loaded
    assert loaded & {"httpx2", "httpcore2", "jwt", "cryptography", "fhir", "fhirkit", "ssl", "hl7", "hl7apy"} == set()


def test_a_way_by_fhir_loads_no_models_of_fhir():
    """They cost a second of each start, and change what they read."""
    code = "import glycanbridge_ehr.fhir_way, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "httpx2" in loaded
    assert loaded & {"fhir", "fhirkit", "fhir_core", "hl7", "hl7apy", "requests", "httpx"} == set()


def test_a_file_that_is_just_being_saved_is_not_trusted(tmp_path):
    """A spreadsheet saves in place: the last row may be cut within an `ehr_id`, and `47` be another's."""
    file, later_s = tmp_path / "patients.csv", [0.0]
    file.write_text("patient_id,ehr_id\npatient_123,47", encoding="utf-8")
    patients = PatientFile(file, now_s=lambda: time.time() + later_s[0])
    with pytest.raises(DestinationError, match="is being saved"):
        patients.find("patient_123")

    file.write_text("patient_id,ehr_id\npatient_123,4711\n", encoding="utf-8")
    assert patients.find("patient_123").ehr_id == "4711"
    file.write_text("patient_id,ehr_id\npatient_123,4712", encoding="utf-8")  # some editors end so
    later_s[0] = 11.0
    assert patients.find("patient_123").ehr_id == "4712"
