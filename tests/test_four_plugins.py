"""Events of all four types through all four plugins at once, over real sockets, while two far sides are in trouble.

SMTP is aiosmtpd, the EHR is SEKMET, Slack is a server that answers as Slack does.
"""

from __future__ import annotations

import csv
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fhir_peers
import pytest
from aiosmtpd.controller import Controller
from fhir_front import reset
from serving import sample, served, until

from glycanbridge import EVENT_TYPES

TOO_MANY = 4
"""Requests that Slack answers 429."""


class Slack(ThreadingHTTPServer):
    """Takes messages, but not the first few."""

    daemon_threads = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _SlackHandler)
        self.messages, self.refused = [], 0
        self.lock = threading.Lock()

    def answer(self, message: dict) -> tuple[int, bytes]:
        with self.lock:
            if self.refused < TOO_MANY:
                self.refused += 1
                return 429, b"rate_limited"
            self.messages.append(message)
            return 200, b"ok"


class _SlackHandler(BaseHTTPRequestHandler):
    def do_POST(self):
        status, body = self.server.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(status)
        self.send_header("Retry-After", "1")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Nothing: the test asks."""


@pytest.fixture
def slack():
    """Slack, as far as a webhook sees it."""
    server = Slack()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


class Inbox:
    """What a mail server does with mails: it keeps them."""

    def __init__(self) -> None:
        self.mails = []

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802 (aiosmtpd's name)
        self.mails.append(envelope)
        return "250 kept"


class _AnyPort(Controller):
    """aiosmtpd on any free port: it must know it to greet itself at the start."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@contextmanager
def mail_server(inbox: Inbox):
    """A mail server on loopback; its port."""
    controller = _AnyPort(inbox, hostname="127.0.0.1", port=0)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


def events() -> list[bytes]:
    """Eight events, two of each type, of two patients."""
    made = []
    for event_type in EVENT_TYPES:
        for number in (1, 2):
            ids = {"reportId": f"report_{number}", "testId": f"test_{number}", "kitCode": f"KIT00000{number}"}
            ids = {name: value for name, value in ids.items() if name in json.loads(sample(event_type))["data"]}
            made.append(sample(event_type, timestamp=1_693_123_200_000 + number, data=ids))
    return made


def test_all_is_delivered_in_the_end_and_nobody_is_held_back(serving, slack, tmp_path):
    """While the EHR is down and Slack has had enough, files and mails go on; then Slack; the EHR once it is back."""
    (tmp_path / "fhir").mkdir()
    (serving.folder / "patients.csv").write_text("patient_id,ehr_id\npatient_123,4711\n")
    inbox = Inbox()
    with fhir_peers.sekmet(tmp_path / "fhir") as ehr, mail_server(inbox) as port:
        ehr.front.will(reset, times=None)
        soon = {"retry": {"tries": 1, "schedule_s": [0.1] * 3}, "circuit": {"first_wait_s": 0.2, "longest_wait_s": 0.5}}
        far_sides = {
            "files": ("csv", {"directory": "exports"}),
            "mails": ("email", {"host": "127.0.0.1", "port": port, "security": "plain",
                                "sender": "bridge@clinic.example", "to": ["lab@clinic.example"]}),
            "channel": ("slack", {"webhook_url": f"http://127.0.0.1:{slack.server_port}/services/T0/B0/x"}),
            "ehr": ("ehr", {"practices": ["practice_67890"], "patients": "patients.csv", "fhir": {"url": ehr.url}}),
        }  # fmt: skip
        serving.configure({name: {"plugin": plugin, "settings": settings, **soon}
                           for name, (plugin, settings) in far_sides.items()})  # fmt: skip

        def delivered(destination: str) -> int:
            return len(serving.rows("deliveries", "list", "--destination", destination, "--state", "delivered"))

        with served(serving):
            for body in events():
                assert serving.post(body).status == 200
            until(lambda: (delivered("files"), delivered("mails")) == (8, 8))
            until(lambda: delivered("channel") == 8, timeout_s=60)
            until(ehr.front.asked)
            assert (slack.refused, delivered("ehr")) == (TOO_MANY, 2)  # the kits: they are only remembered

            ehr.front.be_well()
            until(lambda: delivered("ehr") == 4)

        assert ehr.count("DiagnosticReport", "Observation") == (2, 4)
    assert len({json.dumps(each) for each in slack.messages}) == len(slack.messages) == 8
    assert len(inbox.mails) == 8
    files = [each.read_text(encoding="utf-8").splitlines() for each in (serving.folder / "exports").glob("*.csv")]
    assert len({row["delivery_id"] for lines in files for row in csv.DictReader(lines)}) == 8
    states = {row["state"] for row in serving.rows("deliveries", "list", "--limit", "100")}
    assert (states, serving.rows("dead-letters", "list")) == ({"delivered"}, [])
