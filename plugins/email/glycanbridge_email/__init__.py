r"""Tells a clinic's staff of GlycanAge's events by e-mail: one for each event, or one a day for each practice.

```
event -> views (what may be told) -> letters (templates) -> mails (bytes) -> post (who has it) -> mail_server -> session
             digests (one mail a day) ----/                                    \-- state --/
```
README.md lists settings, what leaves, and failures.
"""

from __future__ import annotations

import time
from dataclasses import replace

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
from glycanbridge_email.digests import Digests
from glycanbridge_email.letters import Letters
from glycanbridge_email.mail_server import MailServer
from glycanbridge_email.mails import message_id
from glycanbridge_email.post import Clock, Post
from glycanbridge_email.report_files import NOT_ASKED, ReportFile, report_file
from glycanbridge_email.settings import EmailSettings
from glycanbridge_email.state import State
from glycanbridge_email.views import in_body, in_subject

_TOLD = {
    Personal.NONE: "without patients' ids and ages, of a kit code the last four letters",
    Personal.IDS: "with patients' ids and kit codes, without ages",
    Personal.FULL: "with patients' ids and ages",
}


class Email:
    """The plugin: an instance for each lane of a destination, or one that several threads share."""

    Settings = EmailSettings
    contract = ">=1.1,<2"

    def __init__(self, settings: EmailSettings, *, clock: Clock = time.time) -> None:
        """`clock` tells the time in seconds since the epoch. Raises `ValueError` if a template cannot be compiled."""
        self._settings = settings
        self._words = settings.words
        self._letters = Letters(settings.templates)
        self._state = State(settings.state)
        self._server = MailServer(settings)
        self._post = Post(settings, self._state, clock=clock, server=self._server)
        self._digests: Digests | None = None
        if settings.digest is not None:
            self._digests = Digests(
                settings, settings.digest, state=self._state, letters=self._letters, post=self._post, clock=clock
            )

    @hookimpl
    def on_order_status_changed(self, event: OrderStatusChanged, delivery: Delivery) -> str:
        """One mail, or a part of the day's. Returns its Message-ID and the server's code."""
        return self._deliver(event, delivery)

    @hookimpl
    def on_assignment_status_changed(self, event: AssignmentStatusChanged, delivery: Delivery) -> str:
        """One mail, or a part of the day's. Returns its Message-ID and the server's code."""
        return self._deliver(event, delivery)

    @hookimpl
    def on_kit_received(self, event: KitReceived, delivery: Delivery) -> str:
        """One mail, or a part of the day's. Returns its Message-ID and the server's code."""
        return self._deliver(event, delivery)

    @hookimpl
    def on_report_ready(self, event: ReportReady, delivery: Delivery) -> str:
        """One mail, or a part of the day's. Returns its Message-ID and the server's code."""
        return self._deliver(event, delivery)

    @hookimpl
    def on_delivery_dead(self, event: DeliveryDead, delivery: Delivery) -> str:
        """One mail at once: an alarm waits for no digest. Returns its Message-ID and the server's code."""
        return self._send(event, delivery)

    @hookimpl
    def check(self) -> str:
        """Connect, encrypt and log in; no mail is begun. Raises what a delivery would."""
        found = self._server.check()
        if self._digests is not None:
            with self._state.change():
                found += f"; {self._settings.state} can be written to"
        return found

    @hookimpl
    def tells(self) -> str:
        """What leaves, by which server, to whom."""
        settings = self._settings
        how = "a mail for each event" if settings.digest is None else f"a mail a day for each practice ({self._when})"
        who = [f"{name}: {', '.join(each.everybody)}" for name, each in settings.practices.items()]
        if settings.to:
            others = settings.recipients_of("")
            who.append(("all others: " if who else "") + ", ".join(others.everybody if others else ()))
        else:
            who.append("no other practice's: those become dead letters")
        server = f"{settings.server} ({settings.security})"
        file = "" if settings.report == "none" else f" and the report file (PDF) of up to {settings.report_max_mb:g} MB"
        return f"{how}, {_TOLD[settings.personal]}{file}, by {server} from {settings.sender} to {'; '.join(who)}"

    @hookimpl
    def close(self) -> None:
        """Say goodbye to the mail server."""
        self._server.close()

    @property
    def _when(self) -> str:
        return f"{self._settings.digest.at} {self._settings.time_zone}" if self._settings.digest else ""

    def _deliver(self, event: Event, delivery: Delivery) -> str:
        if self._digests is not None:
            return self._digests.deliver(event, delivery)
        if self._state.is_there:  # it may have waited for a digest until `digest` was taken out of the settings
            with self._state.change() as changes:
                receipt = changes.take_out(delivery.id)
            if receipt is not None:
                return receipt
        return self._send(event, delivery)

    def _send(self, event: Event, delivery: Delivery) -> str:
        self._post.recipients_of(event.practice_id)  # nothing is fetched for nobody
        file = self._file(event, delivery)
        body, subject = in_body(event, self._settings.personal, self._words, file), in_subject(event, self._words)
        letter = self._letters.letter(event.type, subject=subject, body=body)
        return self._post.send(
            replace(letter, pdf=file.content),
            practice_id=event.practice_id,
            name=message_id(delivery.id, self._settings.sender),
            at=delivery.received_at,
        )

    def _file(self, event: Event, delivery: Delivery) -> ReportFile:
        """A report's file, as far as it goes with the mail."""
        if not isinstance(event, ReportReady):
            return NOT_ASKED
        return report_file(self._settings.report, delivery.report, max_mb=self._settings.report_max_mb)
