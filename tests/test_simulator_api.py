"""GlycanAge's API as the simulator serves it, asked over a real socket."""

from __future__ import annotations

import base64
import http.client
import io
import json
from contextlib import contextmanager
from urllib.parse import urlsplit

import pypdf
import pytest
from serving import until

from glycanbridge.errors import GlycanAgeError, ListenError
from glycanbridge.glycanage.api import Api
from glycanbridge.glycanage_settings import GlycanAgeSettings
from glycanbridge.simulator.api import SimulatedApi
from glycanbridge.simulator.failures import HANG, HTML, Failure, redirect

WANTED = {
    "name": "My Integration Webhook",
    "description": "Webhook for processing GlycanAge events",
    "url": "https://bridge.clinic.example/webhooks/glycanage",
    "events": ["kit-received", "report-ready"],
    "secret": "your-secure-32-character-or-longer-secret",
}
REPORT = {"reportId": "report_78901", "kitCode": "KIT001234", "testId": "test_56789", "glycanAge": "45.2"}


class Clock:
    """A clock to turn by hand."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock():
    """The simulator's clock."""
    return Clock()


@pytest.fixture
def api(clock):
    """The API, which approves after three seconds of its clock."""
    with SimulatedApi(clock=clock, page_size=2) as api:
        yield api


def ask(api, method, path, body=None, *, pair=None, **headers):
    """Status, headers and body of an answer."""
    parts = urlsplit(api.base_url)
    credentials = base64.b64encode((pair or f"{api.email}:{api.token}").encode()).decode()
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/json", **headers}
    connection.request(method, path, content, headers)
    answer = connection.getresponse()
    told = answer.status, answer.headers, answer.read()
    connection.close()
    return told


def told(*asked, **more):
    """Status and JSON of an answer."""
    status, headers, body = ask(*asked, **more)
    assert headers["Content-Type"] == "application/json"
    return status, json.loads(body)


@contextmanager
def client(api, **more):
    """The bridge's own client of it."""
    made = Api(GlycanAgeSettings(base_url=api.base_url, email=api.email, token=api.token, **more))
    try:
        yield made
    finally:
        made.close()


def test_a_webhook_is_pending_first_and_approved_later(api, clock):
    """Until it is "approved by GlycanAge team" nothing is sent to it; and its secret is never told."""
    status, made = told(api, "POST", "/webhooks", WANTED)
    pending = told(api, "GET", "/webhooks")
    assert api.approved == ()
    clock.now_s += 3
    approved = told(api, "GET", "/webhooks")

    shown = {name: value for name, value in WANTED.items() if name != "secret"} | {"id": made["id"]}
    assert (status, made) == (201, {**shown, "status": "pending"})
    assert pending == (200, [{**shown, "status": "pending"}])
    assert approved == (200, [{**shown, "status": "approved"}])
    assert [each.secret for each in api.approved] == [WANTED["secret"]]
    assert WANTED["secret"] not in repr(api.registrations)


def test_a_person_can_approve_one():
    """With no time told, that is the only way."""
    with SimulatedApi(approve_after_s=None) as api:
        _, made = told(api, "POST", "/webhooks", WANTED)
        before = api.approved
        api.approve(made["id"])

        assert (before, [each.id for each in api.approved]) == ((), [made["id"]])


def test_a_webhook_can_be_deleted_once(api):
    """Then it is gone, and its name and address are free again."""
    _, made = told(api, "POST", "/webhooks", WANTED)
    assert told(api, "POST", "/webhooks", WANTED)[0] == 409
    assert told(api, "POST", "/webhooks", WANTED | {"name": "Another"})[0] == 201

    assert ask(api, "DELETE", f"/webhooks/{made['id']}")[::2] == (204, b"")
    assert told(api, "DELETE", f"/webhooks/{made['id']}") == (404, {"message": "there is no such webhook"})
    assert [each.name for each in api.registrations] == ["Another"]
    assert told(api, "POST", "/webhooks", WANTED)[0] == 201


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": ""}, "name: expected text"),
        ({"description": None}, "description: expected text"),
        ({"url": "http://bridge.clinic.example/"}, "url: expected https"),
        ({"url": "https://:0"}, "url: expected https"),
        ({"url": "https://[bad"}, "url: expected https"),
        ({"events": []}, "events: expected a list of order-status-changed"),
        ({"events": ["report-redy"]}, "events: expected a list"),
        ({"events": [["report-ready"]]}, "events: expected a list"),
        ({"secret": "a" * 31}, "secret: expected 32 characters or more"),
    ],
)
def test_a_registration_that_is_wrong_is_422_and_says_why(api, change, message):
    """In JSON, and without the secret."""
    status, answer = told(api, "POST", "/webhooks", WANTED | change)

    assert (status, answer["message"][: len(message)]) == (422, message)
    assert api.registrations == ()


def test_a_body_that_is_no_object_is_refused(api):
    """As JSON says it is none, or because it is a list."""
    assert told(api, "POST", "/webhooks", b"{")[0] == 400
    assert told(api, "POST", "/webhooks", [])[0] == 422


@pytest.mark.parametrize("pair", ["simulator@glycanage.example:wrong", "é:é", ":"])
@pytest.mark.parametrize("path", ["/webhooks", "/reports/report_78901", "/nothing"])
def test_wrong_credentials_are_401_everywhere(api, path, pair):
    """Also where nothing is."""
    assert told(api, "GET", path, pair=pair) == (401, {"message": "unknown e-mail address or token"})


def test_a_report_is_there_once_it_is_added(api):
    """A PDF of it; 404 for what is not there, 406 for who wants none, all in JSON."""
    before = told(api, "GET", "/reports/report_78901")
    api.add_report(REPORT)
    status, headers, body = ask(api, "GET", "/reports/report_78901", Accept="application/pdf")

    assert before == (404, {"message": "there is no such report"})
    assert (status, headers["Content-Type"]) == (200, "application/pdf")
    assert "report_78901" in pypdf.PdfReader(io.BytesIO(body), strict=True).pages[0].extract_text()
    assert told(api, "GET", "/reports/report_78901", Accept="text/html")[0] == 406
    assert api.asked[-1] == "GET /reports/report_78901"


def test_the_list_of_reports_comes_in_pages(api):
    """It is no documented call: it is there for `reconcile --api`."""
    for number in range(3):
        api.add_report(REPORT | {"reportId": f"report_{number}"})
    _, first = told(api, "GET", "/reports")
    _, second = told(api, "GET", first["links"]["next"])

    assert [each["reportId"] for each in (*first["data"], *second["data"])] == ["report_0", "report_1", "report_2"]
    assert first["data"][0] == REPORT | {"reportId": "report_0"}
    assert (first["links"], second["links"]) == ({"next": "/reports?page=2"}, {"next": None})
    api.add_report(REPORT | {"reportId": "report_3"})
    assert told(api, "GET", "/reports?page=2")[1]["links"] == {"next": None}  # full, and yet the last
    assert told(api, "GET", "/reports?page=9")[1]["data"] == []
    assert told(api, "GET", "/reports?page=x")[0] == 400


def test_elsewhere_is_nothing(api):
    """In JSON, as every error."""
    assert told(api, "GET", "/patients")[0] == 404
    assert told(api, "PUT", "/webhooks", WANTED)[0] == 405


def test_it_fails_as_it_is_told_to_and_then_it_is_well_again(api):
    """The bridge's own client makes a line of each; none of them needs a far side of its own."""
    api.fail_next(Failure(status=500), HTML, redirect("https://elsewhere.example/"), HANG)
    with client(api, timeout_s=0.3) as asking:
        said = []
        for _ in range(4):
            with pytest.raises(GlycanAgeError) as error:
                asking.call("GET", "/webhooks")
            said.append(str(error.value))
        well = asking.call("GET", "/webhooks")

    assert "answered 500" in said[0]
    assert "not JSON" in said[1]
    assert "answered 302" in said[2]
    assert "no whole answer within 0.3 s" in said[3]
    assert well == []


def test_an_address_that_is_taken_is_an_error(api):
    """Which names it."""
    port = urlsplit(api.base_url).port
    with pytest.raises(ListenError, match=f"127.0.0.1:{port} cannot be listened on"):
        SimulatedApi(port=port)


def test_nothing_is_left_of_it_once_it_is_closed():
    """Its port is free, and closing it while somebody hangs does not hang."""
    with SimulatedApi() as api:
        api.fail_next(HANG)
        parts = urlsplit(api.base_url)
        waiting = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
        waiting.request("GET", "/webhooks")
        until(lambda: api.asked)
    assert waiting.getresponse().status == 503
    waiting.close()

    with SimulatedApi(port=parts.port) as again:
        assert told(again, "GET", "/webhooks") == (200, [])
