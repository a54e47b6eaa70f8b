"""The contract with plugins: the hooks that a plugin can have.

A plugin is a class. The bridge makes an instance of it for each lane of each destination in `bridge.yaml`, in a process
of its own (or one for all lanes, with `isolation: thread`), and calls one hook for one delivery; a hook takes any or
all of the arguments named here. A hook returns a receipt (what the far side gave back, in a line) or `None`, or raises
`TemporaryError`, `PermanentError`, `NotYetError` or `DestinationError`; any other exception counts as temporary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import pluggy

from glycanbridge.bridge_events import DeliveryDead, DeliverySettled
from glycanbridge.delivery import Delivery
from glycanbridge.events import AssignmentStatusChanged, KitReceived, OrderStatusChanged, ReportReady

GROUP = "glycanbridge"
"""The entry points' group, and the name under which pluggy keeps our marks."""

CONTRACT = "1.1"
"""The version of all that plugins can rely on: hooks, public names, what may be raised. Its first number changes when
something is taken away, the second when something is added; `docs/plugins/changes.md` has every change."""
UNSAID = ">=1.0,<2"
"""What a plugin is made for that does not say so."""


class Command(Protocol):
    """A command of a plugin's: any command of click's is one."""

    name: str | None
    help: str | None

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None) -> object:
        """Run it and leave the program."""


hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)
"""Marks a plugin's method as one of the hooks below."""


class Hooks:
    """Every hook there is. A plugin has those it needs; the event types it has hooks for are those it can be sent."""

    @hookspec(firstresult=True)
    def on_order_status_changed(self, event: OrderStatusChanged, delivery: Delivery) -> str | None:
        """A kit order or bulk order changed its status."""

    @hookspec(firstresult=True)
    def on_assignment_status_changed(self, event: AssignmentStatusChanged, delivery: Delivery) -> str | None:
        """An assignment changed its status."""

    @hookspec(firstresult=True)
    def on_kit_received(self, event: KitReceived, delivery: Delivery) -> str | None:
        """A kit arrived at the laboratory."""

    @hookspec(firstresult=True)
    def on_report_ready(self, event: ReportReady, delivery: Delivery) -> str | None:
        """A report is finished and can be downloaded."""

    @hookspec(firstresult=True)
    def on_delivery_dead(self, event: DeliveryDead, delivery: Delivery) -> str | None:
        """The bridge has given up a delivery to another destination."""

    @hookspec(firstresult=True)
    def on_delivery_settled(self, event: DeliverySettled, delivery: Delivery) -> str | None:
        """An attempt at a delivery to any destination has ended; told once, from memory."""

    @hookspec(firstresult=True)
    def check(self) -> str | None:
        """Talk to the far side without sending anything; return a line that says what was found, or raise."""

    @hookspec(firstresult=True)
    def tells(self) -> str | None:
        """Say in one line what leaves through this destination and where it goes, without talking to anybody."""

    @hookspec(firstresult=True)
    def commands(self) -> Sequence[Command] | None:
        """Commands of click's about this destination, for `glycanbridge destinations run NAME COMMAND`."""

    @hookspec
    def close(self) -> None:
        """Let go of connections and files; the instance is not called again."""


def hook_name(event_type: str) -> str:
    """The hook that an event type is handed to: `report-ready` -> `on_report_ready`."""
    return "on_" + event_type.replace("-", "_")
