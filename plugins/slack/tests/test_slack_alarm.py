"""The alarm that another destination has given up a delivery: one message, with what a person needs to look."""

import json
from datetime import UTC, datetime
from importlib import resources

import pytest
from serving import Serving, install_plugin, sample, served, until

from glycanbridge import Delivery
from glycanbridge.bridge_events import parse_kept

REASON = "the EHR knows no such patient"
BROKEN = """
from glycanbridge import PermanentError, hookimpl


class Broken:
    @hookimpl
    def on_report_ready(self):
        raise PermanentError("the EHR knows no such patient")
"""


def alarm(**data):
    """The sample of an alarm as an event, changed by what is given, and its delivery."""
    body = json.loads((resources.files("glycanbridge") / "samples" / "delivery-dead.json").read_bytes())
    body["data"] |= data
    event = parse_kept(json.dumps(body).encode())
    now = datetime(2026, 11, 24, tzinfo=UTC)
    owed = Delivery(id="e:slack", event_id="e", event_type=event.type, destination="slack", attempt=1, received_at=now,
                    body=json.dumps(body).encode())  # fmt: skip
    return {"event": event, "delivery": owed}


@pytest.mark.parametrize(
    ("personal", "told"),
    [("none", ["Kit code\n…1234"]), ("ids", ["Kit code\nKIT001234", f"Reason\n{REASON}"])],
)
def test_an_alarm_says_what_to_look_up_and_why_where_that_may_be_told(make, slack, kit, personal, told):
    """What a far side has said is free text: it may quote a patient."""
    assert make(personal=personal).on_delivery_dead(**alarm()) == "ok"
    (message,) = slack.messages
    shown = kit.shown(message)
    assert kit.faults(message) == []
    assert message["text"] == shown[0] == "Delivery given up"
    assert shown[-1] == "2023-08-27 08:00 UTC\nDelivery 3f9c2a1b7d4e:results-ehr"
    assert {"What\nreport-ready", "Destination\nresults-ehr", "Plugin\nehr", "Attempts\n9", *told} <= set(shown)
    assert [each for each in shown if REASON in each] == [each for each in told if REASON in each]


def test_an_alarm_about_an_order_names_no_kit(make, slack, kit):
    """It has none."""
    make().on_delivery_dead(**alarm(kitCode=None))
    assert not [each for each in kit.shown(slack.messages[0]) if "Kit" in each]


def test_a_real_bridge_tells_slack_that_another_destination_has_given_up(tmp_path, slack, kit):
    """And the reference that stands in the message is what the command takes."""
    serving = Serving(tmp_path)
    install_plugin(serving.packages, "broken", BROKEN)
    ops = {"plugin": "slack", "events": ["delivery-dead"], "settings": {"webhook_url": slack.url}}
    serving.configure({"results-ehr": {"plugin": "broken"}, "ops": ops})
    with served(serving):
        serving.post(sample())
        until(lambda: slack.messages)
        until(lambda: {row["state"] for row in serving.rows("deliveries", "list")} == {"dead", "delivered"})
    (message,) = slack.messages
    reference = kit.shown(message)[-1].rpartition("Delivery ")[2]
    (row,) = serving.rows("deliveries", "show", reference)
    assert (row["state"], row["last_error"]) == ("dead", REASON)
