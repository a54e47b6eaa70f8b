"""The alarm that another destination has given up a delivery: a mail at once, with what a person needs to look."""

from __future__ import annotations

import re
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from serving import Serving, install_plugin, sample, served, until

README = Path(__file__).parents[1] / "README.md"
REASON = "the EHR knows no such patient"
BROKEN = """
from glycanbridge import PermanentError, hookimpl


class Broken:
    @hookimpl
    def on_report_ready(self):
        raise PermanentError("the EHR knows no such patient")
"""


@pytest.fixture
def server(peer):
    """A mail server that takes all."""
    return peer()


@pytest.fixture
def last(server):
    """Subject, text and HTML of the last mail that was taken."""

    def last():
        mail = message_from_bytes(server.taken[-1][1], policy=policy.default)
        return mail["Subject"], *(mail.get_body((kind,)).get_content() for kind in ("plain", "html"))

    return last


@pytest.mark.parametrize(("personal", "kit", "reason"), [("none", "1234", 0), ("ids", "KIT001234", 1)])
def test_an_alarm_says_what_to_look_at_and_why_where_that_may_be_told(
    make, deliver, server, last, *, personal, kit, reason
):
    """What a far side has said is free text: it may quote a patient."""
    deliver(make(server.port, personal=personal), "delivery-dead")
    subject, *bodies = last()
    assert subject == "GlycanBridge: a delivery was given up"
    for body in bodies:
        assert "glycanbridge deliveries show 3f9c2a1b7d4e:results-ehr" in body
        assert re.search(r"Attempts(:|</th>).*9", body)
        assert kit in body
        assert (REASON in body) == bool(reason)


def test_an_alarm_about_an_order_names_no_kit(make, deliver, server, last):
    """It has none, and the row is left out."""
    deliver(make(server.port), "delivery-dead", kitCode=None)
    assert not re.search("^Kit:", last()[1], re.MULTILINE)


def test_an_alarm_waits_for_no_digest(make, deliver, server, last, tmp_path):
    """Whoever looks once a day would learn of it a day late."""
    plugin = make(server.port, digest={"at": "18:00"}, state=tmp_path / "state.db")
    assert deliver(plugin, "delivery-dead").endswith("250 2.0.0")
    assert last()[0] == "GlycanBridge: a delivery was given up"


def test_the_readmes_alarms_reach_the_clinics_it(tmp_path, server):
    """A real bridge: another destination gives up, and whoever the block names has a mail of it, and only that."""
    block = re.search(r"```yaml\n(destinations:\n  alarms:.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)[1]
    serving = Serving(tmp_path)
    install_plugin(serving.packages, "broken", BROKEN)
    own = block.replace(
        "host: mail.clinic.example", f"host: 127.0.0.1\n      port: {server.port}\n      security: plain"
    )
    receiver = 'receiver: {listen: "127.0.0.1:0", path: /webhooks/glycanage, secrets: ["${file:secret}"]}\n'
    serving.config.write_text(f"{receiver}{own}  ehr:\n    plugin: broken\n", encoding="utf-8")
    assert "delivery-dead -> alarms" in serving.run("check").stdout
    with served(serving):
        serving.post(sample())
        until(lambda: server.taken)
        until(lambda: {row["state"] for row in serving.rows("deliveries", "list")} == {"dead", "delivered"})
    ((to, mail),) = server.taken
    assert to == ["it@clinic.example"]
    assert REASON.encode() in mail
    (alarm,) = serving.rows("events", "list", "--type", "delivery-dead")
    assert serving.rows("events", "show", alarm["id"])[0]["data"]["destination"] == "ehr"
    assert len(serving.rows("dead-letters", "list")) == 1
