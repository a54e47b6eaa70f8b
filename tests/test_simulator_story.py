"""The simulator's default story through a real bridge with all four plugins, which is killed in the middle of it."""

from __future__ import annotations

import csv
import socket
import threading

import fhir_peers
import pytest
from serving import PATH, SECRET, served, until
from test_four_plugins import TOO_MANY, Inbox, Slack, mail_server

from glycanbridge.simulator.posting import Answer, Poster
from glycanbridge.simulator.sender import Sender
from glycanbridge.simulator.story import FORGED_AGE, Sending, story

KILLED_AFTER = 12
"""Requests; the thirteenth is on its way then."""


@pytest.fixture
def slack():
    """Slack, as far as a webhook sees it, and well."""
    server = Slack()
    server.refused = TOO_MANY
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def free_port() -> int:
    """A port that a restarted bridge can have again."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def configure(serving, story_, ehr, mail_port, slack) -> int:
    """All four plugins on; the receiver's port."""
    kits = {each.data["patientId"] for each in story_.sendings if each.type == "kit-received"}
    lines = [f"{patient},{4711 + number}" for number, patient in enumerate(sorted(kits))]
    (serving.folder / "patients.csv").write_text("\n".join(["patient_id,ehr_id", *lines, ""]))
    far_sides = {
        "files": ("csv", {"directory": "exports"}),
        "mails": ("email", {"host": "127.0.0.1", "port": mail_port, "security": "plain",
                            "sender": "bridge@clinic.example", "to": ["lab@clinic.example"]}),
        "channel": ("slack", {"webhook_url": f"http://127.0.0.1:{slack.server_port}/services/T0/B0/x"}),
        "ehr": ("ehr", {"practices": ["practice_67890"], "patients": "patients.csv", "fhir": {"url": ehr.url}}),
    }  # fmt: skip
    soon = {"retry": {"tries": 1, "schedule_s": [0.1] * 8}}
    port = free_port()
    serving.configure({name: {"plugin": plugin, "settings": settings, **soon}
                       for name, (plugin, settings) in far_sides.items()},
                      receiver={"listen": f"127.0.0.1:{port}"})  # fmt: skip
    return port


class Line:
    """The wire between simulator and bridge; the bridge at its end is killed once, and started when somebody waits."""

    def __init__(self, serving, port: int) -> None:
        self.serving, self.sent, self.refused = serving, 0, 0
        self._poster = Poster(f"http://127.0.0.1:{port}{PATH}")
        self.now_s = 0.0

    def post(self, sending: Sending) -> Answer:
        """Post it; after some, the bridge dies of a SIGKILL."""
        if self.sent == KILLED_AFTER:
            self.serving.stop(kill=True)
        self.sent += 1
        answer = self._poster.post(sending.body, sending.signed_with(SECRET))
        self.refused += answer.status is None
        return answer

    def wait(self, seconds: float) -> None:
        """Time passes, and the clinic's service manager starts the bridge again."""
        self.now_s += seconds
        if self.serving.process.poll() is not None:
            self.serving.start()


def test_the_story_reaches_every_destination_across_a_kill(serving, slack, tmp_path):
    """Ten kits, everything odd, a SIGKILL in the middle: GlycanAge's retries and the journal lose nothing together."""
    told = story(seed=1, begin_ms=1_790_000_000_000)
    (tmp_path / "fhir").mkdir()
    inbox = Inbox()
    with fhir_peers.sekmet(tmp_path / "fhir") as ehr, mail_server(inbox) as mail_port:
        line = Line(serving, configure(serving, told, ehr, mail_port, slack))
        with served(serving):
            sender = Sender(told.sendings, post=line.post, clock=lambda: line.now_s, sleep=line.wait)
            fates = list(sender.run())
            accepted = {each.sending.number: each.sending.type for each in fates if each.outcome == "accepted"}
            of_kits = sum(each in {"kit-received", "report-ready"} for each in accepted.values())
            owed = 3 * len(accepted) + of_kits
            rows = ("deliveries", "list", "--limit", "1000")
            until(lambda: min(len(slack.messages), len(inbox.mails)) >= len(accepted), timeout_s=60)
            until(lambda: len(serving.rows(*rows, "--state", "delivered")) == owed, timeout_s=60)
            states = {row["state"] for row in serving.rows(*rows)}

        assert line.refused > 5  # it was away indeed
        assert [each.trouble for each in fates if not each.fits] == []
        assert (len(fates), states) == (len(told.sendings), {"delivered"})
        assert len(accepted) == len({each.number for each in told.sendings if each.expected == "accepted"})
        assert ehr.count("DiagnosticReport") == (list(accepted.values()).count("report-ready"),)
    assert len(slack.messages) == len(inbox.mails) == len(accepted)
    files = [each.read_text(encoding="utf-8").splitlines() for each in (serving.folder / "exports").glob("*.csv")]
    exported = [row for lines in files for row in csv.DictReader(lines)]
    assert len({row["delivery_id"] for row in exported}) == len(accepted)
    assert [row for row in exported if FORGED_AGE in row.values()] == []
    assert len(serving.rows("dead-letters", "list")) == 1  # of the unknown type
