"""The report file by each way: there with its result, missing with a reason, waited for, or coming later."""

import base64
import json
import stat
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest
from ehr_plugin import GLYCANAGE, PATIENT, Clock, deliver, ehr, told
from fhir_front import lost
from glycanbridge_ehr import Ehr
from glycanbridge_ehr.fhir import Telling, parts_of, transaction
from glycanbridge_ehr.fhir_document import document_of
from glycanbridge_ehr.fhir_found import difference
from glycanbridge_ehr.hl7 import oru_r01, short_name
from glycanbridge_ehr.patients import Patient
from glycanbridge_ehr.report_files import ReportFile, report_file
from glycanbridge_ehr.reports import report_of
from glycanbridge_ehr.sent import Sent, SentFile
from glycanbridge_ehr.settings_fhir import FhirSettings
from glycanbridge_ehr.settings_hl7 import Hl7Settings
from glycanbridge_ehr.ways import Sending
from hl7_peers import ack, acknowledge, control_id_of, hl7_settings, peer, python_hl7_receiver, sender
from hl7apy.parser import parse_message
from pydantic import ValidationError

from glycanbridge import NotYetError, PermanentError, TemporaryError
from glycanbridge.testing import sample_report

NOT_YET = NotYetError("GlycanAge answered 503", retry_after_s=60)
NEVER = PermanentError("reports cannot be fetched: bridge.yaml has no `glycanage:`")
PDF, OTHER = sample_report(), sample_report() + b"\n% another\n%%EOF\n"
HORVAT = Patient(ehr_id="1", family="Horvat")
FIRST = Sending(destination="ehr", revision=0)
MODES = ["transaction", "sequential", "search"]


def result(*, pdf=None, lacks_pdf=False, **data):
    """A report with its file."""
    return replace(report_of(told(**data)[0], kit_received_at=None), pdf=pdf, lacks_pdf=lacks_pdf)


# The decision


@pytest.mark.parametrize("error", [NOT_YET, NEVER])
def test_what_becomes_of_a_result_without_its_file_is_the_settings_choice(error):
    """Nothing is asked for, it goes without, or it waits with the same error."""

    def fetch():
        raise error

    assert report_file("none", fetch, max_mb=5) == ReportFile()
    assert report_file("attach", fetch, max_mb=5) == ReportFile(why_missing=str(error))
    with pytest.raises(type(error)) as raised:
        report_file("wait", fetch, max_mb=5)
    assert raised.value is error


def test_a_file_that_is_too_large_counts_as_missing():
    """And one of just that size does not."""
    assert report_file("wait", lambda: b"x" * 1_000_000, max_mb=1).content == b"x" * 1_000_000
    missing = report_file("attach", lambda: b"x" * 1_000_001, max_mb=1)
    assert missing.why_missing == "the report file has more than 1 MB (report_max_mb)"
    with pytest.raises(PermanentError, match="more than 1 MB"):
        report_file("wait", lambda: b"x" * 1_000_001, max_mb=1)


def test_a_limit_beyond_what_a_servers_answer_may_hold_is_refused(tmp_path):
    """The server sends the file back when it is asked for the result."""
    with pytest.raises(ValidationError, match="report_max_mb"):
        hl7_settings(tmp_path, drop={"directory": "results"}, report_max_mb=11)


# FHIR


@pytest.fixture
def make(tmp_path, fhir_server):
    """The plugin for each of two real servers, which know the patient; the same folder each time."""
    fhir_server.patient(GLYCANAGE, PATIENT)
    with ExitStack() as stack:
        yield lambda **more: stack.enter_context(ehr(fhir_server.url, tmp_path, **{"report": "attach"} | more))


def forms(server):
    """The PDFs of the one report that a server has, decoded."""
    (report,) = server.every("DiagnosticReport")
    return [base64.b64decode(each["data"]) for each in report.get("presentedForm", [])]


def statuses(server):
    """Of the report, and of its Observations."""
    (report,) = server.every("DiagnosticReport")
    return report["status"], {each["status"] for each in server.every("Observation")}


@pytest.mark.parametrize("mode", MODES)
def test_the_file_stands_in_the_report_byte_for_byte(make, fhir_server, mode):
    """In two real servers, in each way of writing."""
    receipt = deliver(make(mode=mode), report=PDF)

    (report,) = fhir_server.every("DiagnosticReport")
    assert receipt == f"DiagnosticReport/{report['id']}"
    assert forms(fhir_server) == [PDF]
    form = {name: each for name, each in report["presentedForm"][0].items() if name != "data"}
    assert form == {
        "contentType": "application/pdf",
        "language": "en",
        "title": "GlycanAge report report_78901",
        "creation": "2023-08-27T07:56:40.000Z",
    }
    assert "not attached" not in report["conclusion"]


@pytest.mark.parametrize("error", [NOT_YET, NEVER])
def test_a_result_goes_at_once_and_says_that_its_file_is_missing_and_why(make, fhir_server, error):
    """In the chart that it is missing; why, which changes from hour to hour, in the receipt."""
    assert deliver(make(), report=error).endswith(f"; without the report file: {error}")

    (report,) = fhir_server.every("DiagnosticReport")
    assert forms(fhir_server) == []
    assert report["conclusion"].endswith("chronological age 42 years. The report file is not attached.")


def test_a_result_that_waits_for_its_file_is_not_sent_before(make, fhir_server):
    """The clinic wanted both together, and no half of it."""
    plugin = make(report="wait")
    for error in (NOT_YET, NEVER):
        with pytest.raises(type(error), match=str(error)[:20]):
            deliver(plugin, report=error)
    assert fhir_server.count("DiagnosticReport", "Observation") == (0, 0)
    deliver(plugin, attempt=3, report=PDF)
    assert forms(fhir_server) == [PDF]


@pytest.mark.parametrize("mode", MODES)
def test_a_replay_that_brings_the_file_amends_the_report_and_nothing_else(make, fhir_server, mode):
    """The numbers were right before: no Observation is called corrected."""
    plugin = make(mode=mode)
    deliver(plugin, report=NOT_YET)
    receipt = deliver(plugin, attempt=2, report=PDF)

    assert receipt.startswith("DiagnosticReport/")
    assert forms(fhir_server) == [PDF]
    assert statuses(fhir_server) == ("amended", {"final"})
    assert fhir_server.count("DiagnosticReport", "Observation") == (1, 2)
    assert "not attached" not in fhir_server.every("DiagnosticReport")[0]["conclusion"]


def test_a_file_that_comes_after_a_correction_leaves_the_observations_corrected(make, fhir_server):
    """They still are."""
    plugin = make()
    deliver(plugin, report=PDF)
    deliver(plugin, 2, glycanAge="46", report=NOT_YET)
    assert forms(fhir_server) == []  # it had the old numbers in it
    assert statuses(fhir_server) == ("corrected", {"corrected"})
    deliver(plugin, 2, attempt=2, glycanAge="46", report=OTHER)
    assert (forms(fhir_server), statuses(fhir_server)) == ([OTHER], ("amended", {"corrected"}))


def test_an_unchanged_replay_sends_and_asks_nothing(make, fhir_server):
    """A file that GlycanAge makes anew for each download would be another one each time."""
    plugin = make()
    receipt = deliver(plugin, report=PDF)
    fhir_server.front.be_well()
    for report in (PDF, OTHER, NOT_YET, NEVER):
        assert deliver(plugin, attempt=2, report=report) == f"{receipt} (it has this result already)"
    assert fhir_server.front.received == []


def test_a_replay_without_a_file_still_says_why(make, fhir_server):
    """The person who replays wants to know."""
    plugin = make()
    receipt = deliver(plugin, report=NOT_YET).partition(";")[0]
    fhir_server.front.be_well()
    again = deliver(plugin, attempt=2, report=NEVER)
    assert again == f"{receipt} (it has this result already; without the report file: {NEVER})"
    assert fhir_server.front.received == []


def test_another_event_about_the_report_may_bring_another_file(make, fhir_server):
    """GlycanAge tells a report anew, with the same numbers: it is sent if it is another file, else not."""
    plugin = make()
    deliver(plugin, report=PDF)
    fhir_server.front.be_well()
    assert deliver(plugin, 2, report=PDF).endswith("(it has this result already)")
    assert fhir_server.front.received == []
    deliver(plugin, 3, report=OTHER)
    assert (forms(fhir_server), statuses(fhir_server)) == ([OTHER], ("amended", {"final"}))
    assert deliver(plugin, 3, report=PDF).endswith("(it has this result already)")
    assert deliver(plugin, 4, report=NOT_YET).endswith(f"; without the report file: {NOT_YET})")
    assert forms(fhir_server) == [OTHER]


@pytest.mark.parametrize("mode", MODES)
def test_what_nobody_recorded_is_told_by_what_stands_there(make, fhir_server, tmp_path, mode):
    """After a crash: the same again changes nothing, a file that lacks is added, one that is there is never removed."""
    for number, (report, expected, status) in enumerate(
        [(NOT_YET, [], "final"), (PDF, [PDF], "amended"), (PDF, [PDF], "amended"), (NOT_YET, [PDF], "amended")]
    ):
        (tmp_path / "state" / "sent.db").unlink(missing_ok=True)
        deliver(make(mode=mode), attempt=number + 1, report=report)
        assert (forms(fhir_server), statuses(fhir_server)) == (expected, (status, {"final"}))
    assert fhir_server.count("DiagnosticReport", "Observation") == (1, 2)


def test_a_repeat_with_a_file_has_the_same_bytes(make, fhir_server):
    """Its answer was lost; the keys and the file are the same."""
    plugin = make()
    fhir_server.front.will(lost, method="POST")
    with pytest.raises(TemporaryError):
        deliver(plugin, report=PDF)
    deliver(plugin, attempt=2, report=PDF)
    first, second = (each.body for each in fhir_server.front.asked("POST"))
    assert first == second
    assert fhir_server.front.asked("PUT") == []
    assert statuses(fhir_server) == ("final", {"final"})


def test_the_file_is_the_document_in_another_format(make, fhir_server):
    """For EHRs that take only documents: the sentence as text, and the PDF behind it."""
    plugin = make(send_as="document")
    deliver(plugin, report=NOT_YET)
    (document,) = fhir_server.every("DocumentReference")
    assert (document["description"], len(document["content"])) == ("GlycanAge report (its file is not attached)", 1)

    deliver(plugin, attempt=2, report=PDF)
    (document,) = fhir_server.every("DocumentReference")
    text, pdf = (each["attachment"] for each in document["content"])
    assert base64.b64decode(text["data"]).startswith(b"GlycanAge biological age 45.2")
    assert (pdf["contentType"], base64.b64decode(pdf["data"])) == ("application/pdf", PDF)
    assert (document["docStatus"], document["description"]) == ("amended", "GlycanAge report")


@pytest.mark.parametrize("make_parts", [parts_of, document_of])
@pytest.mark.parametrize("amended", [False, True])
def test_all_four_validators_take_it_with_a_file(validators, make_parts, amended):
    """Base64, language and all."""
    settings = FhirSettings(url="https://ehr.example/fhir", patient="map")
    for report in (result(pdf=PDF), result(lacks_pdf=True)):
        parts = make_parts(report, subject="Patient/1", corrected=False, amended=amended, settings=settings)
        made = json.dumps(transaction(parts, update=amended), default=float)
        assert {name: errors for name, errors in validators.problems_of(made).items() if errors} == {}


def test_a_server_that_keeps_files_elsewhere_is_believed():
    """It tells an address in place of the bytes; they are not sent again each time."""
    settings = FhirSettings(url="https://ehr.example/fhir", patient="map")
    report = parts_of(result(pdf=PDF), subject="Patient/1", corrected=False, settings=settings)[-1]
    (form,) = report.resource["presentedForm"]
    kept = {name: each for name, each in form.items() if name != "data"}
    for there, expected in [
        ([form], None),
        ([kept | {"url": "Binary/1"}], None),
        ([kept], Telling.AMENDMENT),
        ([kept | {"data": "AAAA"}], Telling.AMENDMENT),
        ([], Telling.AMENDMENT),
        (7, Telling.AMENDMENT),
    ]:
        assert difference(report.resource | {"presentedForm": there}, report) is expected
    assert difference(report.resource | {"conclusion": "another"}, report) is Telling.CORRECTION


# HL7 v2


def segments(message):
    """Each segment's fields, by what it begins with."""
    return [line.split("|") for line in message.decode().strip("\r").split("\r")]


def test_the_file_arrives_by_mllp_byte_for_byte(tmp_path):
    """As python-hl7 reads it."""
    with python_hl7_receiver() as (port, taken), sender(port, tmp_path, report="attach") as plugin:
        deliver(plugin, report=PDF)
    (message,) = taken
    file = message.segments("OBX")[3]
    assert [str(file[number]) for number in (1, 2, 3, 11)] == ["4", "ED", "PDF^GlycanAge report PDF^99GLY", "F"]
    assert str(file[5]).split("^")[:4] == ["GLYCANAGE", "AP", "PDF", "Base64"]
    assert base64.b64decode(str(file[5]).split("^")[4]) == PDF


def test_hl7apy_reads_it_too():
    """Not strictly: its strict mode takes no base64 of any length."""
    message = oru_r01(result(pdf=PDF), HORVAT, FIRST, Hl7Settings())
    parsed = parse_message(message.data.decode(), find_groups=True)
    file = parsed.oru_r01_patient_result.oru_r01_order_observation.oru_r01_observation[3].obx
    assert base64.b64decode(file.obx_5.to_er7().split("^")[4]) == PDF


def test_a_message_without_its_file_says_so(tmp_path):
    """In a note that people read, always in the same words; why stands in the receipt."""
    with peer() as receiver, sender(receiver.port, tmp_path, report="attach") as plugin:
        receipt = deliver(plugin, report=NOT_YET)
    assert receipt.endswith(": AA; without the report file: GlycanAge answered 503")
    (message,) = receiver.messages
    assert [each[3] for each in segments(message) if each[0] == "NTE"] == [
        "GlycanAge report report_78901",
        "The report file is not attached.",
    ]


def test_a_file_that_comes_later_goes_in_a_message_that_replaces_the_first(tmp_path):
    """OBR-25 says so of the whole; no number is called corrected, for none is."""
    with peer() as receiver, sender(receiver.port, tmp_path, report="attach") as plugin:
        deliver(plugin, report=NOT_YET)
        deliver(plugin, attempt=2, report=PDF)
        assert deliver(plugin, attempt=3, report=NOT_YET).endswith("(it has this result already)")
    first, second = receiver.messages
    assert control_id_of(first) != control_id_of(second)
    assert [each[25] for each in segments(first) + segments(second) if each[0] == "OBR"] == ["F", "C"]
    assert [each[11] for each in segments(second) if each[0] == "OBX"] == ["F"] * 4
    assert b"not attached" not in second


def test_a_repeat_by_mllp_has_the_same_bytes_and_another_file_another_name(tmp_path):
    """A receiver drops what it knows the control id of: under one id there is ever one content."""
    silent = iter([True, True, False, False, False])

    def behave(wire):
        while (message := wire.message()) is not None:
            if next(silent):
                return
            wire.send(ack(message))

    with peer(behave) as receiver, sender(receiver.port, tmp_path, report="attach") as plugin:
        for attempt, report in enumerate((NOT_YET, PDF, PDF), 1):
            if attempt < 3:
                with pytest.raises(TemporaryError):
                    deliver(plugin, attempt=attempt, report=report)
            else:
                deliver(plugin, attempt=attempt, report=report)
    without, first, second = receiver.messages
    assert first == second
    assert control_id_of(without) != control_id_of(first)


def test_each_content_has_a_control_id_of_its_own():
    """Not asked for, missing, one file, another one."""
    reports = [result(), result(lacks_pdf=True), result(pdf=PDF), result(pdf=OTHER)]
    names = [oru_r01(each, HORVAT, FIRST, Hl7Settings()).control_id for each in reports]
    assert len(set(names)) == 4
    assert names == [oru_r01(each, HORVAT, FIRST, Hl7Settings()).control_id for each in reports]


def test_a_file_that_is_refused_leaves_the_result_in_its_chart(tmp_path):
    """The numbers were taken before: the patients file may not send them into another chart from then on."""
    answers = iter(["AA", "AR"])

    def behave(wire):
        while (message := wire.message()) is not None:
            wire.send(ack(message, next(answers)))

    with peer(behave) as receiver, sender(receiver.port, tmp_path, report="attach") as plugin:
        deliver(plugin, report=NOT_YET)
        with pytest.raises(PermanentError):
            deliver(plugin, attempt=2, report=PDF)
        patients = tmp_path / "patients.csv"
        patients.write_text(patients.read_text().replace("0042", "0043"))
        with pytest.raises(PermanentError, match="went to another ehr_id"):
            deliver(plugin, attempt=3, report=PDF)
    assert len(receiver.messages) == 2


def test_without_the_setting_messages_are_what_they_were(tmp_path):
    """Control ids too: an update of the bridge makes no result new."""
    with peer(acknowledge) as receiver, sender(receiver.port, tmp_path) as plugin:
        deliver(plugin, report=PDF)
    (message,) = receiver.messages
    assert control_id_of(message) == short_name("ehr", "report_78901", result().digest, "0042", 0)
    assert b"PDF" not in message
    assert b"not attached" not in message


def test_a_site_may_have_its_own_code_for_the_file():
    """As for all others."""
    settings = Hl7Settings(codes={"report-file": {"code": "DOC", "text": "Report", "system": "L"}})
    message = oru_r01(result(pdf=PDF), HORVAT, FIRST, settings)
    assert b"OBX|4|ED|DOC^Report^L^PDF^GlycanAge report PDF^99GLY||GLYCANAGE^AP^PDF^Base64^" in message.data


# Files in a folder


@contextmanager
def dropper(folder, **drop):
    """The plugin for the folder `results`."""
    (folder / "results").mkdir(exist_ok=True)
    told = {"directory": str(folder / "results"), "formats": ["oru", "json"]} | drop
    plugin = Ehr(hl7_settings(folder, drop=told, report="attach"), clock=Clock())
    try:
        yield plugin
    finally:
        plugin.close()


def test_the_file_lies_beside_its_result_and_comes_first(tmp_path, monkeypatch):
    """Under the same name, readable by its owner alone; an engine that sees the message finds the file."""
    seen = []
    results = tmp_path / "results"
    plain = type(tmp_path).rename

    def rename(self, target):
        plain(self, target)
        seen.append(target.suffix)

    monkeypatch.setattr(type(tmp_path), "rename", rename)
    with dropper(tmp_path) as plugin:
        receipt = deliver(plugin, report=PDF)
    pdf, oru, told = (results / name for name in receipt.split(", "))
    assert seen == [".pdf", ".hl7", ".json"]
    assert {each.stem for each in (pdf, oru, told)} == {f"20230827T075640-{control_id_of(oru.read_bytes())}"}
    assert pdf.read_bytes() == PDF
    assert stat.S_IMODE(pdf.stat().st_mode) == 0o600
    assert base64.b64decode(segments(oru.read_bytes())[-1][5].split("^")[4]) == PDF
    assert json.loads(told.read_bytes())["report_file"] == pdf.name
    assert not {"pdf", "lacks_pdf"} & set(json.loads(told.read_bytes())["report"])


def test_files_say_what_is_missing_and_what_came_later(tmp_path):
    """The second set has names of its own."""
    with dropper(tmp_path, readable_by="group") as plugin:
        first = deliver(plugin, report=NOT_YET)
        second = deliver(plugin, attempt=2, report=PDF)
        assert deliver(plugin, attempt=3, report=PDF) == f"{second} (it has this result already)"
    assert first.endswith("; without the report file: GlycanAge answered 503")
    names = [*first.partition(";")[0].split(", "), *second.split(", ")]
    assert sorted(names) == sorted(each.name for each in (tmp_path / "results").iterdir())
    assert len(set(names)) == 5
    tellings = [json.loads((tmp_path / "results" / each).read_bytes()) for each in names if each.endswith(".json")]
    assert [(each["status"], each["revision"], each["report_file"]) for each in tellings] == [
        ("final", 0, None),
        ("amended", 0, names[2]),
    ]
    assert stat.S_IMODE((tmp_path / "results" / names[2]).stat().st_mode) == 0o640


# What was sent before


def test_what_an_older_version_has_sent_is_known(tmp_path):
    """It wrote down nothing of files: those results had none."""
    sent, report = Sent(tmp_path / "state", lock_timeout_s=1), result()
    row = {"received_at": report.created_on, "revision": 1, "receipt": "r"}
    sent.keep("ehr", report, **row)
    assert sent.last("ehr", report.report_id).file is None
    sent.keep("ehr", report, **row, file=SentFile(event_id="e1", digest="d"))
    assert sent.last("ehr", report.report_id).file == SentFile(event_id="e1", digest="d")
    assert sent.last("other", report.report_id) is None
    sent.keep("ehr", report, **row)
    assert sent.last("ehr", report.report_id).file is None


def test_it_tells_that_the_file_leaves(tmp_path):
    """Whoever signs for the clinic's data reads it, of each way."""
    with dropper(tmp_path) as plugin:
        assert plugin.tells().endswith("; so does the report file (PDF), of up to 5 MB")
    with sender(1, tmp_path) as plugin:
        assert "report file" not in plugin.tells()
