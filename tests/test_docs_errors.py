"""docs/plugins/errors.md: the plugin shown there, against a server that answers in every way that the table names."""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import trustme
from serving import sample
from snippets import PAGES

import glycanbridge
from glycanbridge import Delivery
from glycanbridge.delivery import Outcome, Result, Scope
from glycanbridge.destinations import open_destinations
from glycanbridge.errors import DeliveryError
from glycanbridge.settings import read_settings

TOKEN = "token-of-the-tests"


class Far(ThreadingHTTPServer):
    """Answers as it is told, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        self.asked = []
        self.answers: tuple[int, str, dict[str, str]] | None = (201, '{"id": "r1"}', {})
        super().__init__(("127.0.0.1", 0), Asked)


class Asked(BaseHTTPRequestHandler):
    """One request."""

    def do_POST(self) -> None:
        """Keep it and answer it, or hang up."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, dict(self.headers), json.loads(body)))
        if self.server.answers is None:
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        status, text, headers = self.server.answers
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(text))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def listening(far: Far):
    """The server in a thread."""
    thread = threading.Thread(target=far.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield far
    finally:
        far.shutdown()
        thread.join()
        far.server_close()


@pytest.fixture
def far():
    """A far side that is well."""
    with listening(Far()) as far:
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


def url_of(far: Far) -> str:
    """Where the far side is."""
    return f"http://127.0.0.1:{far.server_address[1]}/reports"


@pytest.mark.parametrize(
    ("answer", "ends"),
    [
        ((201, '{"id": "r1"}', {}), (Result.DELIVERED, None, None)),
        ((409, "", {}), (Result.DELIVERED, None, None)),
        ((200, "<html>log in</html>", {}), (Result.TEMPORARY, Scope.DESTINATION, 300)),
        ((200, '["id"]', {}), (Result.TEMPORARY, Scope.DESTINATION, 300)),
        ((302, "", {"Location": "/elsewhere"}), (Result.TEMPORARY, Scope.DESTINATION, 300)),
        ((400, "", {}), (Result.PERMANENT, None, None)),
        ((413, "", {}), (Result.PERMANENT, None, None)),
        ((422, '{"error": "unknown template"}', {}), (Result.PERMANENT, None, None)),
        ((401, "", {}), (Result.TEMPORARY, Scope.DESTINATION, 300)),
        ((403, "", {}), (Result.TEMPORARY, Scope.DESTINATION, 300)),
        ((404, "", {}), (Result.TEMPORARY, Scope.DESTINATION, 300)),
        ((410, "", {}), (Result.TEMPORARY, Scope.DESTINATION, 300)),
        ((404, '{"error": "unknown patient"}', {}), (Result.TEMPORARY, Scope.DELIVERY, 3600)),
        ((422, '{"error": "unknown patient"}', {}), (Result.TEMPORARY, Scope.DELIVERY, 3600)),
        ((408, "", {}), (Result.TEMPORARY, None, None)),
        ((503, "", {"Retry-After": "7"}), (Result.TEMPORARY, None, 7)),
        ((429, "", {"Retry-After": "17"}), (Result.TEMPORARY, Scope.DESTINATION, 17)),
        ((429, "", {}), (Result.TEMPORARY, Scope.DESTINATION, 60)),
        (None, (Result.UNKNOWN, None, None)),
    ],
)  # fmt: skip
def test_each_answer_ends_as_the_table_says(far, post, answer, ends):
    """What is raised decides whether a result is lost, repeated, or holds up all others."""
    far.answers = answer

    outcome = post(url_of(far))

    assert (outcome.result, outcome.scope, outcome.retry_after_s) == ends


def test_what_is_sent_says_which_delivery_it_is(far, post):
    """With the key by which a repeat is known, the token, and no more of the patient than `personal` lets out."""
    outcome = post(url_of(far))

    ((path, headers, told),) = far.asked
    assert (path, outcome.receipt) == ("/reports", "r1")
    assert (headers["Idempotency-Key"], headers["Authorization"]) == ("e1:records", f"Bearer {TOKEN}")
    assert (told["type"], told["kit_code"], "glycan_age" in told) == ("report-ready", "KIT001234", False)


def test_a_patient_who_never_comes_is_given_up(far, post):
    """The plugin decides when: nothing else would end it."""
    far.answers = (404, '{"error": "unknown patient"}', {})

    assert post(url_of(far), days=13).scope is Scope.DELIVERY
    assert post(url_of(far), days=15).result is Result.PERMANENT


def test_without_a_connection_nothing_was_sent(post):
    """So it is surely not there, and there is no quick try that would take as long again."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    outcome = post(f"http://127.0.0.1:{port}/")

    assert (outcome.result, outcome.scope, outcome.retry_after_s) == (Result.TEMPORARY, None, 0)


def test_a_certificate_that_is_not_trusted_stops_the_destination(post):
    """Nothing was sent: somebody else may have answered."""
    far = Far()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    far.socket = context.wrap_socket(far.socket, server_side=True, do_handshake_on_connect=False)
    with listening(far):
        outcome = post(url_of(far).replace("http:", "https:"))

    assert (outcome.result, outcome.scope) == (Result.TEMPORARY, Scope.DESTINATION)
    assert far.asked == []


def test_the_page_has_every_error_there_is():
    """In the table of what follows, and in the table of when."""
    page = (PAGES / "errors.md").read_text(encoding="utf-8")
    follows, _, when = page.partition("## Which to raise")
    raised = {each.__name__ for each in DeliveryError.__subclasses__()}

    assert raised <= set(glycanbridge.__all__)
    assert set(re.findall(r"^\| `(\w+)\(", follows, re.MULTILINE)) == raised
    assert [name for name in raised if f"`{name}" not in when.partition("As a plugin")[0]] == []
