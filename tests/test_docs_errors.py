"""docs/plugins/errors.md: the plugin shown there, against a server that answers in every way that the table names."""

from __future__ import annotations

import json
import re
import socket
import ssl
from datetime import UTC, datetime, timedelta

import pytest
import trustme
from serving import sample
from snippets import PAGES

import glycanbridge
from glycanbridge import Delivery, DestinationError, TemporaryError, hookimpl
from glycanbridge.delivery import Outcome, Result, Scope
from glycanbridge.destinations import open_destinations
from glycanbridge.errors import DeliveryError
from glycanbridge.settings import read_settings
from glycanbridge.testing import Answer, Fault, HandBridge, HttpPeer

TOKEN = "token-of-the-tests"


@pytest.fixture
def far():
    """A far side that is well."""
    with HttpPeer(Answer(201, '{"id": "r1"}')) as far:
        yield far


@pytest.fixture
def post(read, monkeypatch):
    """Posts a report to a URL by the page's plugin, as the page's bridge.yaml switches it on."""
    monkeypatch.setenv("RECORDS_TOKEN", TOKEN)
    reader = read("errors.md", "Which to raise")
    reader.until("yaml")
    shown = reader.serving.config.read_text()

    def post(url: str, *, days: float = 0, **settings: object) -> Outcome:
        config = json.loads(shown)
        config["destinations"]["records"]["settings"] |= {"url": url} | settings
        reader.serving.config.write_text(json.dumps(config))
        destinations, problems = open_destinations(*read_settings(reader.serving.config))
        assert problems == []
        received_at = datetime.now(UTC) - timedelta(days=days)
        delivery = Delivery(id="e1:records", event_id="e1", event_type="report-ready", destination="records", attempt=1,
                            received_at=received_at, body=sample())  # fmt: skip
        outcome = destinations["records"].attempts().deliver(delivery)
        assert TOKEN not in repr(outcome)
        assert "patient_123" not in repr(outcome)
        return outcome

    return post


@pytest.mark.parametrize(
    ("answer", "ends"),
    [
        (Answer(201, '{"id": "r1"}'), (Result.DELIVERED, None, None)),
        (Answer(409), (Result.DELIVERED, None, None)),
        (Answer(200, "<html>log in</html>"), (Result.TEMPORARY, Scope.DESTINATION, 300)),
        (Answer(200, '["id"]'), (Result.TEMPORARY, Scope.DESTINATION, 300)),
        (Answer(302, "", {"Location": "/elsewhere"}), (Result.TEMPORARY, Scope.DESTINATION, 300)),
        (Answer(400), (Result.PERMANENT, None, None)),
        (Answer(413), (Result.PERMANENT, None, None)),
        (Answer(422, '{"error": "unknown template"}'), (Result.PERMANENT, None, None)),
        (Answer(401), (Result.TEMPORARY, Scope.DESTINATION, 300)),
        (Answer(403), (Result.TEMPORARY, Scope.DESTINATION, 300)),
        (Answer(405), (Result.TEMPORARY, Scope.DESTINATION, 300)),
        (Answer(423), (Result.TEMPORARY, None, None)),
        (Answer(507), (Result.TEMPORARY, Scope.DESTINATION, 300)),
        (Answer(404), (Result.TEMPORARY, Scope.DESTINATION, 300)),
        (Answer(410), (Result.TEMPORARY, Scope.DESTINATION, 300)),
        (Answer(404, '{"error": "unknown patient"}'), (Result.TEMPORARY, Scope.DELIVERY, 3600)),
        (Answer(422, '{"error": "unknown patient"}'), (Result.TEMPORARY, Scope.DELIVERY, 3600)),
        (Answer(408), (Result.TEMPORARY, None, None)),
        (Answer(503, "", {"Retry-After": "7"}), (Result.TEMPORARY, None, 7)),
        (Answer(429, "", {"Retry-After": "17"}), (Result.TEMPORARY, Scope.DESTINATION, 17)),
        (Answer(429), (Result.TEMPORARY, Scope.DESTINATION, 60)),
        (Fault.RESET, (Result.UNKNOWN, None, None)),
        (Fault.CLOSE_MIDWAY, (Result.UNKNOWN, None, None)),
        (Fault.GARBAGE, (Result.UNKNOWN, None, None)),
        (Fault.HANG, (Result.UNKNOWN, None, None)),
    ],
)  # fmt: skip
def test_each_answer_ends_as_the_table_says(far, post, answer, ends):
    """What is raised decides whether a result is lost, repeated, or holds up all others."""
    far.answer(answer)

    outcome = post(f"{far.url}/reports", timeout_s=0.5)

    assert (outcome.result, outcome.scope, outcome.retry_after_s) == ends


def test_what_is_sent_says_which_delivery_it_is(far, post):
    """With the key by which a repeat is known, the token, and no more of the patient than `personal` lets out."""
    outcome = post(f"{far.url}/reports")

    (request,) = far.requests
    headers, told = request.headers, request.json
    assert (request.path, outcome.receipt) == ("/reports", "r1")
    assert (headers["Idempotency-Key"], headers["Authorization"]) == ("e1:records", f"Bearer {TOKEN}")
    assert (told["type"], told["kit_code"], "glycan_age" in told) == ("report-ready", "KIT001234", False)


def test_a_patient_who_never_comes_is_given_up(far, post):
    """The plugin decides when: nothing else would end it."""
    far.answer(Answer(404, '{"error": "unknown patient"}'))

    assert post(far.url, days=13).scope is Scope.DELIVERY
    assert post(far.url, days=15).result is Result.PERMANENT


def test_without_a_connection_nothing_was_sent(post):
    """So it is surely not there, and there is no quick try that would take as long again."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    outcome = post(f"http://127.0.0.1:{port}/")

    assert (outcome.result, outcome.scope, outcome.retry_after_s) == (Result.TEMPORARY, None, 0)


def test_a_certificate_that_is_not_trusted_stops_the_destination(post):
    """Nothing was sent: somebody else may have answered."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with HttpPeer(tls=context) as far:
        outcome = post(far.url)

    assert (outcome.result, outcome.scope) == (Result.TEMPORARY, Scope.DESTINATION)
    assert far.requests == []


def test_the_page_has_every_error_there_is():
    """In the table of what follows, and in the table of when."""
    page = (PAGES / "errors.md").read_text(encoding="utf-8")
    follows, _, when = page.partition("## Which to raise")
    raised = {each.__name__ for each in DeliveryError.__subclasses__()}

    assert raised <= set(glycanbridge.__all__)
    assert set(re.findall(r"^\| `(\w+)\(", follows, re.MULTILINE)) == raised
    assert [name for name in raised if f"`{name}" not in when.partition("As a plugin")[0]] == []


class Away:
    """A plugin whose far side is away."""

    error: type[Exception] = TemporaryError

    @hookimpl
    def on_report_ready(self, event, delivery):
        raise self.error("nobody is there")


class Refused(Away):
    """One whose far side takes nothing."""

    error = DestinationError


def outage(plugin: type, folder, *, owed: int = 1, **destination: object) -> list[str]:
    """What has become of the deliveries that are owed when an outage of three days is over."""
    with HandBridge(plugin, folder=folder, **destination) as bridge:
        for number in range(owed):
            bridge.receive("report-ready", timestamp=number)
        for _ in range(3 * 24 * 4):
            bridge.run()
            bridge.clock.turn(900)
        return [str(each.state) for each in bridge.deliveries()]


@pytest.mark.parametrize(
    ("plugin", "owed", "destination", "becomes"),
    [
        (Away, 1, {}, "pending"),  # the default: nine attempts, five failures
        (Away, 1, {"retry": {"schedule_s": [5, 60, 300]}}, "dead"),
        (Away, 1, {"retry": {"schedule_s": [5, 60, 300, 600]}}, "dead"),  # as many attempts as failures
        (Away, 1, {"retry": {"schedule_s": [5, 60, 300, 600, 900]}}, "pending"),
        (Away, 1, {"retry": {"schedule_s": [5, 60, 300]}, "circuit": {"failures": 3}}, "pending"),
        (Away, 3, {"retry": {"schedule_s": [5, 60, 300]}}, "pending"),
        (Refused, 1, {"retry": {"schedule_s": []}}, "pending"),
        (Refused, 1, {"retry": {"schedule_s": [5]}, "circuit": {"failures": 0}}, "pending"),
    ],
)
def test_who_outlives_an_outage_is_told_as_it_is(plugin, owed, destination, becomes, tmp_path):
    """A lone delivery with a short schedule does not: whoever shortens one must know."""
    assert set(outage(plugin, tmp_path, owed=owed, **destination)) == {becomes}


def test_what_a_plugin_asks_for_is_not_shortened_by_the_settings(tmp_path):
    """An operator who sets `first_wait_s` low must not knock every few seconds with a wrong password."""
    with HandBridge(Refused, folder=tmp_path, circuit={"first_wait_s": 5}) as bridge:
        bridge.receive("report-ready")
        bridge.run()
        assert bridge.standing().circuit.probe_at == bridge.clock.ms + 300_000


def test_the_page_uses_no_name_that_is_not_public():
    """What is not in the contract may go with any release."""
    page = (PAGES / "errors.md").read_text(encoding="utf-8")

    assert set(re.findall(r"`(\w+Error)\b", page)) - {"MemoryError"} <= set(glycanbridge.__all__)
