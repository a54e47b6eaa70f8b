"""Tells more than a hundred services of each event, by Apprise: a GlycanBridge plugin.

`message` says what is told, `services` how it gets there and what that came to, `taken` who has it already. README.md
tells all of it to those who use the plugin.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Self

import apprise
import click
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, model_validator

from glycanbridge import (
    AssignmentStatusChanged,
    Delivery,
    DeliveryDead,
    Event,
    KitReceived,
    LocalPath,
    OrderStatusChanged,
    Personal,
    ReportReady,
    Timeout,
    hookimpl,
)
from glycanbridge_apprise.message import message_of
from glycanbridge_apprise.services import Service, told_of
from glycanbridge_apprise.taken import Taken

__all__ = ["Apprise", "AppriseSettings"]


def _understood(url: SecretStr) -> SecretStr:
    Service(url)
    return url


class AppriseSettings(BaseModel):
    """What stands under `settings:` of a destination in `bridge.yaml`; each mistake is told with its line."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)

    urls: tuple[Annotated[SecretStr, AfterValidator(_understood)], ...] = Field(min_length=1)
    """Apprise URLs, each with the service's tokens and passwords in it."""
    personal: Personal = Personal.NONE
    """How much of a patient is told: `none`, `ids` or `full`."""
    timeout_s: Timeout = 14
    """Seconds for each URL, with the pause that Apprise makes between two messages to one service."""
    state: LocalPath = Field(Path("var/apprise"), validate_default=True)
    """The folder that remembers which of several URLs has taken a delivery."""

    @model_validator(mode="after")
    def _fits_into_an_attempt(self, info: ValidationInfo) -> Self:
        limit_s = (info.context or {}).get("timeout_s")
        if limit_s is not None and self.timeout_s * len(self.urls) >= limit_s:
            told = f"expected timeout_s times {len(self.urls)} urls to be less than the destination's timeout_s"
            raise ValueError(f"{told}, {limit_s:g}: give it more time, or make it several destinations")
        return self


class Apprise:
    """The plugin. The bridge makes an instance for each lane of each destination; threads may share one."""

    Settings = AppriseSettings
    contract = ">=1.0,<2"

    def __init__(self, settings: AppriseSettings) -> None:
        self._personal = settings.personal
        self._taken = Taken(settings.state) if len(settings.urls) > 1 else None
        self._services = [
            Service(url, number, timeout_s=settings.timeout_s) for number, url in enumerate(settings.urls)
        ]

    @hookimpl
    def on_order_status_changed(self, event: OrderStatusChanged, delivery: Delivery) -> str:
        """A kit order or bulk order changed its status."""
        return self._tell(event, delivery)

    @hookimpl
    def on_assignment_status_changed(self, event: AssignmentStatusChanged, delivery: Delivery) -> str:
        """An assignment changed its status."""
        return self._tell(event, delivery)

    @hookimpl
    def on_kit_received(self, event: KitReceived, delivery: Delivery) -> str:
        """A kit arrived at the laboratory."""
        return self._tell(event, delivery)

    @hookimpl
    def on_report_ready(self, event: ReportReady, delivery: Delivery) -> str:
        """A report is finished."""
        return self._tell(event, delivery)

    @hookimpl
    def on_delivery_dead(self, event: DeliveryDead, delivery: Delivery) -> str:
        """The bridge has given up a delivery to another destination."""
        return self._tell(event, delivery)

    @hookimpl
    def check(self) -> str:
        """Apprise cannot ask a service anything without sending: the addresses are understood, and that is all."""
        return f"{self._names()}: understood. Nothing was asked; `destinations run NAME try` sends a test message"

    @hookimpl
    def tells(self) -> str:
        """The services' names, and what protects the way there; never an address."""
        clear = [each.name for each in self._services if not each.is_protected]
        warning = f"; not by TLS that is looked at: {', '.join(clear)}" if clear else ""
        return f"a message by Apprise to {self._names()}, with personal: {self._personal}{warning}"

    @hookimpl
    def commands(self) -> Sequence[click.Command]:
        """One that sends a test message."""

        @click.command("try")
        def try_out() -> None:
            """Send a test message to each service, and say which of them took it."""
            said = [each.send("A test", "GlycanBridge can reach this service.") for each in self._services]
            for each in said:
                click.echo(f"{each.where}: took it" if each.took else str(each))
            if not all(each.took for each in said):
                raise click.ClickException("not all of them took it")

        return [try_out]

    @hookimpl
    def close(self) -> None:
        """There is nothing to let go of: Apprise holds no connection."""

    def _tell(self, event: Event, delivery: Delivery) -> str:
        """Send an event to whoever has not got it. Returns the receipt, or raises one of the contract's errors."""
        title, body = message_of(event, delivery, self._personal)
        kind = apprise.NotifyType.WARNING if event.type == "delivery-dead" else apprise.NotifyType.INFO
        said, had = [], 0
        for each in self._services:
            if self._taken is not None and self._taken.has(delivery, each.url):
                had += 1
                continue
            said.append(each.send(title, body, kind))
            if said[-1].took and self._taken is not None:
                self._taken.add(delivery, each.url)
        took = [each.where for each in said if each.took]
        if len(took) < len(said):
            raise told_of([each for each in said if not each.took], alone=not took and not had)
        if self._taken is not None:
            self._taken.forget(delivery)
        return f"taken by {', '.join(took)}" if took else "they had it already"

    def _names(self) -> str:
        return ", ".join(each.name for each in self._services)
