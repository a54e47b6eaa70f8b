"""Posts a message to a Slack channel for every event it is given, by an incoming webhook.

`settings` says where to, `message` what it says (a pure function), `webhook` how it gets there, and `answers` what
Slack's answer means. README.md lists settings, what leaves, and failures.
"""

from __future__ import annotations

from zoneinfo import ZoneInfo

from glycanbridge import (
    AssignmentStatusChanged,
    Delivery,
    DeliveryDead,
    Event,
    KitReceived,
    OrderStatusChanged,
    Personal,
    ReportReady,
    hookimpl,
)
from glycanbridge_slack.answers import found_by_check, receipt_of
from glycanbridge_slack.message import message_of
from glycanbridge_slack.settings import SlackSettings
from glycanbridge_slack.webhook import Webhook

__all__ = ["Slack", "SlackSettings"]

_TELLS = {
    Personal.NONE: "of a patient the last four letters of the kit code",
    Personal.IDS: "a patient's ids and kit codes, no ages",
    Personal.FULL: "a patient's ids, kit codes and ages",
}


class Slack:
    """The plugin. It holds no connection between deliveries, and may be called by several threads at once."""

    Settings = SlackSettings
    contract = ">=1.0,<2"

    def __init__(self, settings: SlackSettings) -> None:
        self._personal = settings.personal
        self._zone = ZoneInfo(settings.time_zone)
        self._webhook = Webhook(settings)

    @hookimpl
    def on_order_status_changed(self, event: OrderStatusChanged, delivery: Delivery) -> str:
        """One message. Returns Slack's answer, `ok`."""
        return self._post(event, delivery)

    @hookimpl
    def on_assignment_status_changed(self, event: AssignmentStatusChanged, delivery: Delivery) -> str:
        """One message, with a line for each of the first sets. Returns Slack's answer, `ok`."""
        return self._post(event, delivery)

    @hookimpl
    def on_kit_received(self, event: KitReceived, delivery: Delivery) -> str:
        """One message. Returns Slack's answer, `ok`."""
        return self._post(event, delivery)

    @hookimpl
    def on_report_ready(self, event: ReportReady, delivery: Delivery) -> str:
        """One message. Returns Slack's answer, `ok`."""
        return self._post(event, delivery)

    @hookimpl
    def on_delivery_dead(self, event: DeliveryDead, delivery: Delivery) -> str:
        """One message, that another destination has given up. Returns Slack's answer, `ok`."""
        return self._post(event, delivery)

    @hookimpl
    def check(self) -> str:
        """Post a message without text, which Slack refuses: so the webhook is known, and nothing stands anywhere."""
        return found_by_check(self._webhook.post({"text": ""}), self._webhook.place)

    @hookimpl
    def tells(self) -> str:
        """The host that messages go to, never the webhook itself, and what they hold."""
        leaves = f"kind of event, statuses, times, amounts, practice; {_TELLS[self._personal]}"
        return f"a message to Slack at {self._webhook.way}: {leaves}"

    @hookimpl
    def close(self) -> None:
        """There is nothing to let go of."""

    def _post(self, event: Event, delivery: Delivery) -> str:
        message = message_of(event, delivery.event_id, personal=self._personal, zone=self._zone)
        return receipt_of(self._webhook.post(message), self._webhook.place)
