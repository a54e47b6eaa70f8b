"""Sends every event it is given as an HTTP request to a service of your choice, set up in bridge.yaml alone.

`settings` says where to and how, `templates` and `bodies` what a request says, `requests` what it is, `far_side` how it
gets there, `statuses` and `answers` what the answer means. README.md lists settings, what leaves, and failures.
"""

from __future__ import annotations

import click

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
from glycanbridge_http.answers import found_by_check, receipt_of
from glycanbridge_http.far_side import FarSide
from glycanbridge_http.preview import preview_of
from glycanbridge_http.requests import Requests
from glycanbridge_http.settings import HttpSettings
from glycanbridge_http.statuses import Meaning, Statuses

__all__ = ["Http", "HttpSettings"]

_TELLS = {
    Personal.NONE: "of a patient at most the last four letters of the kit code",
    Personal.IDS: "at most a patient's ids and kit codes, no ages",
    Personal.FULL: "at most a patient's ids, kit codes and ages",
}


class Http:
    """The plugin. It holds no connection between deliveries, and may be called by several threads at once."""

    Settings = HttpSettings
    contract = ">=1.0,<2"

    def __init__(self, settings: HttpSettings) -> None:
        self._settings = settings
        self._requests = Requests(settings)
        self._far_side = FarSide(settings)
        self._statuses = Statuses({each: getattr(settings, each) for each in Meaning})

    @hookimpl
    def on_order_status_changed(self, event: OrderStatusChanged, delivery: Delivery) -> str:
        """One request. Returns the answer's status, and what `receipt` asks for."""
        return self._send(event, delivery)

    @hookimpl
    def on_assignment_status_changed(self, event: AssignmentStatusChanged, delivery: Delivery) -> str:
        """One request. Returns the answer's status, and what `receipt` asks for."""
        return self._send(event, delivery)

    @hookimpl
    def on_kit_received(self, event: KitReceived, delivery: Delivery) -> str:
        """One request. Returns the answer's status, and what `receipt` asks for."""
        return self._send(event, delivery)

    @hookimpl
    def on_report_ready(self, event: ReportReady, delivery: Delivery) -> str:
        """One request. Returns the answer's status, and what `receipt` asks for."""
        return self._send(event, delivery)

    @hookimpl
    def on_delivery_dead(self, event: DeliveryDead, delivery: Delivery) -> str:
        """One request. Returns the answer's status, and what `receipt` asks for."""
        return self._send(event, delivery)

    @hookimpl
    def check(self) -> str:
        """Ask `check_url`, or only connect: then nothing is known of whether events are taken, and it says so."""
        outgoing = self._requests.check()
        if self._settings.check_url is not None:
            return found_by_check(self._far_side.send(outgoing), self._far_side.place, statuses=self._statuses)
        self._far_side.reach(outgoing)
        trusted = "a connection, and its certificate is trusted" if self._far_side.tls else "a connection"
        return f"{self._far_side.place}: {trusted}; whether it takes events only an event will show"

    @hookimpl
    def tells(self) -> str:
        """The host that requests go to, never the whole URL, and what they hold."""
        if self._settings.as_signed:
            leaves = "the event as GlycanAge signed it, with a patient's ids, kit codes and ages"
        else:
            leaves = f"kind of event, statuses, times, amounts, practice; {_TELLS[self._settings.personal]}"
        return f"{self._settings.method} requests to {self._far_side.way}: {leaves}"

    @hookimpl
    def close(self) -> None:
        """Let go of what is in the middle of something. May be called twice."""
        self._far_side.close()

    @hookimpl
    def commands(self) -> list[click.Command]:
        """`preview`: what would be sent for a sample event."""
        return [preview_of(self._requests.of, idempotency_header=self._settings.idempotency_header)]

    def _send(self, event: Event, delivery: Delivery) -> str:
        answer = self._far_side.send(self._requests.of(event, delivery))
        receipt = self._settings.receipt
        return receipt_of(answer, self._far_side.place, statuses=self._statuses, receipt=receipt)
