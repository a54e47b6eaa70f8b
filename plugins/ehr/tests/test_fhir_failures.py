"""Whatever a FHIR server answers, or does not: what it is taken for, how long is waited, and what is told of it."""

import gc
import json
import logging
import socket
import ssl
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from ehr_plugin import GLYCANAGE, PATIENT, deliver, ehr
from fhir_front import Front, answers, held, reset
from glycanbridge_ehr.fhir_answers import evidence
from hypothesis import given
from hypothesis import strategies as st

from glycanbridge import DestinationError, NotYetError, PermanentError, TemporaryError

DATE = "Wed, 21 Oct 2026 07:28:00 GMT"
PASSING = [408, 425, 500, 502, 503, 504, 507]
NEEDLES = ("canary", "Zoë", "Söhne", "45.2", "KIT001234", PATIENT, "report_78901", "assignment_12345", "test_56789")
OUTCOME = {
    "resourceType": "OperationOutcome",
    "text": {"status": "generated", "div": "<div>canary Zoë</div>"},
    "issue": [
        {
            "severity": "error",
            "code": "required",
            "diagnostics": "canary Zoë Söhne 45.2",
            "details": {"text": "canary"},
            "expression": ["Bundle.entry[2].resource.ofType(DiagnosticReport).status", "Zoë.canary"],
        },
        {"code": "canary", "expression": ["Observation.canary.value"]},
        {"code": "invariant", "expression": "canary"},
    ],
}


@pytest.fixture
def front():
    """A server without anything behind it: it answers as it is told."""
    with Front() as front:
        yield front


@pytest.fixture
def make(tmp_path):
    """The plugin for a URL that asks nothing but to write one transaction."""
    file = tmp_path / "patients.csv"
    file.write_text(f"patient_id,ehr_id\n{PATIENT},ehr-4711\n")
    plain = {"patient": "map", "patients": file, "mode": "transaction"}
    with ExitStack() as stack:
        yield lambda url, **settings: stack.enter_context(ehr(url, tmp_path, **plain | settings))


# What it answers


@pytest.mark.parametrize("status", PASSING)
@pytest.mark.parametrize("asked", [None, "17", DATE])
def test_a_server_that_cannot_now_is_tried_again_when_it_asks_for_it(make, front, status, asked):
    """With `Retry-After` as it came, seconds or a date; without one by the schedule."""
    front.will(answers(status, "canary", **({"retry_after": asked} if asked else {})))
    with pytest.raises(TemporaryError, match=f"writing the result: HTTP {status}$") as raised:
        deliver(make(front.url))
    assert raised.value.retry_after_s == asked


@pytest.mark.parametrize(("asked", "waits"), [(None, 60), ("17", "17"), (DATE, DATE), ("soon", 60), ("-5", 60)])
def test_too_many_requests_stop_the_whole_destination_for_as_long_as_asked(make, front, asked, waits):
    """Going on with the next result would be the next one too many."""
    front.will(answers(429, **({"retry_after": asked} if asked else {})))
    with pytest.raises(DestinationError, match="too many requests") as raised:
        deliver(make(front.url))
    assert raised.value.retry_after_s == waits


@pytest.mark.parametrize("status", [401, 403, 404, 405, 406, 407, 415, 501, 301, 307, 308])
def test_what_is_wrong_with_the_whole_server_stops_the_destination(make, front, status):
    """A wrong password, right or address: no result is to blame, and none may be lost for it."""
    front.will(answers(status, OUTCOME, location="http://127.0.0.1:1/elsewhere"))
    with pytest.raises(DestinationError, match=f"HTTP {status}") as raised:
        deliver(make(front.url))
    assert raised.value.retry_after_s == 300
    assert len(front.received) == 1


def test_a_redirect_is_not_followed_with_a_result(make, front):
    """Whoever may send a redirect would choose who gets the patients' results."""
    with Front() as elsewhere:
        front.will(answers(307, location=f"{elsewhere.url}/"))
        with pytest.raises(DestinationError, match="points elsewhere"):
            deliver(make(front.url))
        assert elsewhere.received == []


@pytest.mark.parametrize("status", [400, 402, 410, 413, 418, 422])
def test_what_is_refused_as_it_is_becomes_a_dead_letter_that_says_where(make, front, status):
    """The codes and places of the OperationOutcome; none of its texts, which may quote the patient."""
    front.will(answers(status, OUTCOME))
    with pytest.raises(PermanentError) as raised:
        deliver(make(front.url))
    where = "required at Bundle.entry[2].resource.status; invariant"
    assert str(raised.value) == f"writing the result: HTTP {status} ({where}); the EHR refuses it as it is"


def test_several_results_under_one_key_are_for_people(make, front):
    """412: they must be merged by hand."""
    front.will(answers(412))
    with pytest.raises(PermanentError, match="a person must merge them"):
        deliver(make(front.url))


def test_a_conflict_is_tried_again_soon(make, front):
    """409: somebody else was writing. The quick tries of the attempt, then its schedule, which ends."""
    front.will(answers(409))
    with pytest.raises(TemporaryError, match="somebody else") as raised:
        deliver(make(front.url))
    assert raised.value.retry_after_s is None


def test_what_breaks_the_server_in_five_attempts_in_the_same_way_is_given_up(make, front):
    """It is the result that breaks it: time will not help. Quick tries of one attempt count once."""
    front.will(answers(500, OUTCOME), times=None)
    for attempt in (1, 1, 1, 2, 3, 4):
        with pytest.raises(TemporaryError, match="HTTP 500"):
            deliver(make(front.url), attempt=attempt)
    with pytest.raises(PermanentError, match="broke in the same way in 5 attempts"):
        deliver(make(front.url), attempt=5)
    with pytest.raises(TemporaryError):  # replayed by hand: it has as many again
        deliver(make(front.url), attempt=6)


def test_a_server_that_breaks_in_various_ways_is_tried_again(make, front):
    """Another message, another reason: a database that is down, then a full disk."""
    for attempt in range(1, 8):
        issue = {"code": "exception", "diagnostics": f"canary {attempt % 2}"}
        front.will(answers(500, {"resourceType": "OperationOutcome", "issue": [issue]}))
        with pytest.raises(TemporaryError):
            deliver(make(front.url), attempt=attempt)


@pytest.mark.parametrize(
    ("statuses", "kind"),
    [
        (["201 Created", "201 Created", "400 Bad Request"], PermanentError),
        (["201 Created", "503", "422 No"], PermanentError),
        (["503 Not now", "201 Created", "201 Created"], TemporaryError),
        (["201 Created", "403 Forbidden", "503"], DestinationError),
        (["201 Created", "201 Created"], TemporaryError),
        (["201 Created", "201 Created", "nonsense"], TemporaryError),
        ([], TemporaryError),
    ],
)
def test_a_transaction_is_as_well_as_its_worst_entry(make, front, statuses, kind):
    """HTTP says 200 all the same."""
    entries = [{"response": {"status": each, "outcome": OUTCOME}} for each in statuses]
    front.will(answers(200, {"resourceType": "Bundle", "type": "transaction-response", "entry": entries}))
    with pytest.raises(kind) as raised:
        deliver(make(front.url))
    assert "canary" not in str(raised.value)


@pytest.mark.parametrize("body", ["", "<html>canary</html>", "[]", "{}", '{"resourceType": 5}', "[" * 100_000, "\xff"])
def test_an_answer_that_is_no_fhir_is_somebody_elses(make, front, body):
    """A portal, a proxy's page, a wrong address: nothing says that the EHR has the result."""
    front.will(answers(200, body.encode("latin-1")))
    with pytest.raises(DestinationError, match="is url the base of a FHIR server") as raised:
        deliver(make(front.url))
    assert "canary" not in str(raised.value)


def test_an_endless_answer_is_left(make, front):
    """Memory and time are limited for the whole of it."""
    front.will(answers(200, b" " * (17 << 20)))
    with pytest.raises(DestinationError, match="more than 16 MB"):
        deliver(make(front.url))


@pytest.mark.parametrize("version", ["3.0.2", "4.3.0", "5.0.0", None])
def test_a_server_that_does_not_speak_r4_gets_nothing(make, front, version):
    """It would understand half of it."""
    front.will(answers(200, {"resourceType": "CapabilityStatement", "fhirVersion": version}), path="metadata")
    with pytest.raises(DestinationError, match="does not speak FHIR R4"):
        deliver(make(front.url, mode="auto"))
    assert front.asked("POST") == []


def test_a_server_that_was_mended_is_asked_anew_what_it_can(make, front):
    """So that the destination goes on by itself."""
    plugin = make(front.url, mode="auto")
    for _ in range(2):
        with pytest.raises(DestinationError, match="reading its metadata: HTTP 404"):
            deliver(plugin)
    assert len(front.asked("GET", "metadata")) == 2


def test_a_long_run_leaves_nothing_behind(make, front, tmp_path):
    """Neither connections nor memory: a bridge runs for months."""
    created = {"response": {"status": "201 Created", "location": "DiagnosticReport/1"}}
    told = {"resourceType": "Bundle", "type": "transaction-response", "entry": [created] * 3}
    front.will(answers(200, told), times=None)
    plugin = make(front.url, verify=False)

    def run(numbers):
        for number in numbers:
            deliver(plugin, number, reportId=f"report_{number}")
        front.received.clear()
        gc.collect()
        return len(gc.get_objects()), len(list(Path("/proc/self/fd").iterdir())), threading.active_count()

    run(range(10))
    before, after = run(range(10, 40)), run(range(40, 120))
    assert after[0] - before[0] < 40
    assert after[1:] == before[1:]


# Whom it lets in


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ({"basic": {"user": "bridge", "password": "right"}}, {"basic": {"user": "bridge", "password": "canary-wrong"}}),
        ({"bearer": "right"}, {"bearer": "canary-wrong"}),
    ],
)
def test_a_wrong_password_stops_the_destination_and_the_right_one_goes_on(sekmet, tmp_path, right, wrong):
    """Nothing is lost in between."""
    sekmet.patient(GLYCANAGE, PATIENT)
    sekmet.let_in("basic", users={"bridge": "right"}, tokens=["right"])
    with (
        ehr(sekmet.url, tmp_path, auth=wrong) as plugin,
        pytest.raises(DestinationError, match=r"HTTP 401.*see its auth") as raised,
    ):
        deliver(plugin)
    assert "canary" not in str(raised.value) + repr(plugin._settings)

    with ehr(sekmet.url, tmp_path, auth=right) as plugin:
        deliver(plugin)
    assert sekmet.count("DiagnosticReport", "Observation") == (1, 2)


# What never comes


def test_a_server_that_is_not_there_is_tried_again(make):
    """Nobody listens."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with pytest.raises(TemporaryError, match=r"not reached, or cut off before its answer \(ConnectError\)"):
            deliver(make(f"http://127.0.0.1:{nobody.getsockname()[1]}/fhir"))


def test_a_name_that_nobody_knows_is_tried_again(make):
    """DNS may be back soon."""
    with pytest.raises(TemporaryError, match="not reached"):
        deliver(make("http://ehr.invalid/fhir", unencrypted=True))


def test_a_connection_that_is_reset_is_tried_again(make, front):
    """Nobody knows how far it came."""
    front.will(reset)
    with pytest.raises(TemporaryError, match="cut off"):
        deliver(make(front.url))


def test_a_server_that_does_not_answer_in_time_is_left_without_a_quick_try(make, front):
    """It would not fit into the attempt."""
    until = threading.Event()
    front.will(held(until))
    try:
        with pytest.raises(TemporaryError, match=r"no answer in time \(ReadTimeout\)") as raised:
            deliver(make(front.url, read_timeout_s=0.2))
    finally:
        until.set()
    assert raised.value.retry_after_s == 5


def test_a_byte_now_and_then_is_no_answer(make, front):
    """Each comes in time, and the whole never does."""
    plugin = make(front.url, read_timeout_s=20)
    ticks = iter(range(0, 1000, 30))
    plugin._way._server._now_s = lambda: next(ticks)
    front.will(answers(200, b" " * 200_000))
    with pytest.raises(TemporaryError, match="does not end") as raised:
        deliver(plugin)
    assert raised.value.retry_after_s == 5


# TLS


@contextmanager
def encrypted(folder, *, name="127.0.0.1", clients=None):
    """A server with a certificate for `name`, and the file of the authority that made it."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    if clients is not None:
        clients.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    with Front(tls=context) as front:
        yield front


def test_a_server_whose_certificate_is_trusted_is_spoken_to(make, tmp_path):
    """The right way, to know that the others can fail."""
    with encrypted(tmp_path) as front, pytest.raises(DestinationError, match="HTTP 404"):
        deliver(make(front.url, ca_file=tmp_path / "ca.pem"))


def test_an_unknown_authority_stops_the_destination(make, tmp_path):
    """Nothing is sent to whoever cannot show who they are."""
    with encrypted(tmp_path) as front:
        with pytest.raises(DestinationError, match=r"certificate is not trusted .*; see ca_file"):
            deliver(make(front.url))
        assert front.received == []


def test_a_certificate_for_another_name_stops_the_destination(make, tmp_path):
    """It is somebody, but not the EHR."""
    with encrypted(tmp_path, name="other.example") as front:
        with pytest.raises(DestinationError, match="certificate is not trusted"):
            deliver(make(front.url, ca_file=tmp_path / "ca.pem"))
        assert front.received == []


def test_a_missing_certificate_file_stops_the_destination_and_the_right_one_opens_it(make, tmp_path):
    """Mutual TLS."""
    clients = trustme.CA()
    clients.issue_cert("bridge.example").private_key_and_cert_chain_pem.write_to_path(tmp_path / "bridge.pem")
    with encrypted(tmp_path, clients=clients) as front:
        with pytest.raises((DestinationError, TemporaryError), match=r"no TLS with it|cut off"):
            deliver(make(front.url, ca_file=tmp_path / "ca.pem"))
        assert front.received == []
        with pytest.raises(DestinationError, match="HTTP 404"):
            deliver(make(front.url, ca_file=tmp_path / "ca.pem", certificate_file=tmp_path / "bridge.pem"))


def test_a_server_that_speaks_no_tls_at_all_stops_the_destination(make, front):
    """`https` where it should be `http`, or the wrong port."""
    with pytest.raises(DestinationError, match="no TLS with it"):
        deliver(make(front.url.replace("http:", "https:")))


@pytest.mark.parametrize("setting", ["ca_file", "certificate_file"])
@pytest.mark.parametrize("content", [None, "canary"])
def test_a_file_of_tls_that_cannot_be_used_stops_the_destination(make, front, tmp_path, setting, content):
    """It says which file, and waits until it is mended."""
    file = tmp_path / "file.pem"
    if content:
        file.write_text(content)
    with pytest.raises(DestinationError, match=r"file\.pem: cannot be used"):
        deliver(make(front.url, **{setting: file}))


@pytest.mark.parametrize(("password", "told"), [(None, r"key\.pem: cannot be used"), ("canary", "HTTP 404")])
def test_a_key_with_a_password_asks_nobody_on_a_terminal(make, front, tmp_path, password, told):
    """OpenSSL would, and wait for ever."""
    leaf = trustme.CA().issue_cert("bridge.example")
    key = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"canary")
    )
    (tmp_path / "bridge.pem").write_bytes(leaf.cert_chain_pems[0].bytes())
    (tmp_path / "key.pem").write_bytes(locked)
    front.will(answers(404))
    with pytest.raises(DestinationError, match=told) as raised:
        deliver(
            make(
                front.url,
                certificate_file=tmp_path / "bridge.pem",
                key_file=tmp_path / "key.pem",
                key_password=password,
            )
        )
    assert "canary" not in str(raised.value)


# The environment


def test_a_proxy_of_the_environment_gets_nothing(make, front, monkeypatch):
    """Results go where the settings say, and nowhere else."""
    with Front() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        with pytest.raises(DestinationError):
            deliver(make(front.url))
        assert proxy.received == []
    assert len(front.received) == 1


def test_a_proxy_of_the_settings_is_used_and_its_refusal_stops_the_destination(make, front):
    """With its password, which is a secret."""
    with Front() as proxy:
        proxy.will(answers(407))
        with pytest.raises(DestinationError, match="HTTP 407"):
            deliver(make(front.url, proxy=proxy.url.replace("//", "//bridge:canary@")))
        assert front.received == []
        assert proxy.received[0].headers["proxy-authorization"].startswith("Basic ")


# What is told of it


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inside: (
            st.lists(inside, max_size=3)
            | st.dictionaries(st.sampled_from(["issue", "code", "expression", "resourceType"]) | st.text(), inside)
        ),
    )
)
def test_no_text_of_a_server_gets_into_an_error(told):
    """Only FHIR's own codes, and places that are made of the names of what was sent."""
    outcome = {"resourceType": "OperationOutcome", "issue": [{"code": told, "expression": told}, told]}
    assert evidence(json.dumps(outcome).encode()) == ""
    assert evidence(json.dumps(told).encode()) == ""


@pytest.mark.parametrize(
    ("expression", "place"),
    [
        ("Observation.value", "Observation.value"),
        ("Bundle.entry[12].resource.subject.reference", "Bundle.entry[12].resource.subject.reference"),
        ("Bundle.entry[0].resource/*Observation/null*/.status", "Bundle.entry[0].resource.status"),
        ("Observation.value.ofType(Quantity).value", "Observation.value.value"),
        ("Observation.code.where(text='Zoë').coding", "Observation.code"),
        ("Zoë Söhne", ""),
        ("status Zoë", ""),
    ],
)
def test_a_place_is_kept_as_far_as_its_names_are_known(expression, place):
    """The rest of it may be anything."""
    outcome = {"resourceType": "OperationOutcome", "issue": [{"code": "invalid", "expression": [expression]}]}
    assert evidence(json.dumps(outcome).encode()) == f" (invalid at {place})".replace(" at )", ")")


@pytest.mark.parametrize("status", [200, 201, 301, 400, 401, 404, 409, 412, 422, 429, 500, 503])
@pytest.mark.parametrize("patient", ["map", "search", "conditional"])
def test_no_patient_and_no_secret_is_told_whatever_happens(make, front, caplog, status, patient):
    """Errors end in the journal, in logs and in dead letters. httpx would log each URL, with the patient's id."""
    caplog.set_level(logging.DEBUG)
    front.will(answers(status, OUTCOME, location=f"{front.url}/canary", www_authenticate="canary"), times=None)
    with pytest.raises((PermanentError, TemporaryError, DestinationError, NotYetError)) as raised:
        deliver(make(front.url, patient=patient, patient_system=GLYCANAGE, auth={"bearer": "canary-token"}))
    told = f"{raised.value} {raised.value!r} {raised.value.__cause__!r} {caplog.text}"
    assert [needle for needle in NEEDLES if needle in told.replace(f"HTTP {status}", "")] == []
    assert front.received


def test_a_receipt_is_an_id_and_nothing_else(make, front):
    """A server may put anything into a location."""
    entry = {"response": {"status": "201 Created", "location": "DiagnosticReport/canary?name=Zoë"}}
    told = {"resourceType": "Bundle", "type": "transaction-response", "entry": [entry] * 3}
    front.will(answers(200, told))
    assert deliver(make(front.url, verify=False)) == "DiagnosticReport"


# Looking without sending


@pytest.mark.parametrize("patient", ["search", "map", "conditional"])
def test_a_check_says_how_results_will_be_written_and_writes_none(fhir_server, make, tmp_path, patient):
    """Before the first patient."""
    fhir_server.patient("urn:others", "x")
    plugin = make(fhir_server.url, patient=patient, patient_system=GLYCANAGE, mode="auto")
    where = fhir_server.url.partition("//")[2]
    more = ", 1 in the file" if patient == "map" else ""

    assert plugin.check() == f"{where}: FHIR R4, results by mode transaction, patients by {patient}{more}"
    assert {each.method for each in fhir_server.front.received} == {"GET"}


def test_a_check_finds_a_server_that_does_not_search_by_identifier(fhir_server, make):
    """It would give everybody's results to somebody."""
    fhir_server.patient("urn:others", "x")

    def ignore(request, ask):
        return ask(replace(request, path=request.path.partition("?")[0]))

    fhir_server.front.will(ignore, method="GET", path="/Patient?")
    with pytest.raises(DestinationError, match="does not search by identifier"):
        make(fhir_server.url, patient="search", patient_system=GLYCANAGE).check()


def test_a_check_says_what_the_server_does_not_take(fhir_server, make):
    """Some EHRs take reports and no Observations: better known before the first result than after."""

    def less(request, ask):
        answer = ask(request)
        told = json.loads(answer.body)
        (rest,) = told["rest"]
        rest["resource"] = [each for each in rest["resource"] if each["type"] != "Observation"]
        return replace(answer, body=json.dumps(told).encode())

    fhir_server.front.will(less, path="metadata")
    found = make(fhir_server.url, mode="auto").check()
    assert found.endswith("; but it says that it takes no new Observation")


def test_a_check_of_a_reference_that_the_server_cannot_resolve_says_so(batch_like, make):
    """Without transactions there are no conditional references."""
    with pytest.raises(DestinationError, match="set it to search"):
        make(batch_like.url, mode="auto", patient="conditional", patient_system=GLYCANAGE).check()


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_a_check_says_what_is_wrong(make, front, status):
    """In the words of a delivery."""
    front.will(answers(status), times=None)
    with pytest.raises((DestinationError, TemporaryError), match=f"HTTP {status}"):
        make(front.url).check()


def test_it_tells_what_leaves_and_where_to(make):
    """And that it is readable on the way, where it is."""
    told = make("http://127.0.0.1:1/fhir").tells()
    assert told == "reports with ages, kit codes and all ids go to 127.0.0.1:1/fhir (FHIR, NOT encrypted)"


def test_it_may_be_closed_twice_and_unopened(make, front):
    """The bridge closes what it has made."""
    plugin = make(front.url)
    plugin.close()
    front.will(answers(404))
    with pytest.raises(DestinationError):
        deliver(plugin)
    plugin.close()
    plugin.close()
