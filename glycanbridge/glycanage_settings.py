"""The part `glycanage:` of `bridge.yaml`: how this clinic speaks to GlycanAge's own API.

The vendor's page shows paths and the form of the credentials; what it does not tell (the address itself, what a report
is, whether there are lists) is a setting.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator

from glycanbridge.event_types import EVENT_TYPES, EventType
from glycanbridge.settings_kinds import LocalPath, Strict

LOOPBACK = {"127.0.0.1", "::1", "localhost"}
"""Hosts that are this machine."""
_URL = re.compile(
    r"https?://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?"
)
"""Nothing that two readers could read in two ways: no user, no query, no escapes, no backslash."""


def _url(url: str) -> str:
    if _URL.fullmatch(url) is None or ".." in url or "//" in url.partition("://")[2]:
        raise ValueError("expected a whole address, https://HOST/PATH, without user, query, `..` and `//`")
    try:
        parts = urlsplit(url)
        possible = parts.port != 0 and (":" not in (parts.hostname or "") or bool(ip_address(parts.hostname or "")))
    except ValueError:
        possible = False
    if not possible:
        raise ValueError("expected a host, and a port up to 65535, that can be")
    if parts.scheme != "https" and parts.hostname not in LOOPBACK:
        raise ValueError("expected https://: credentials and health data would travel in clear")
    return url.rstrip("/")


def _public(url: str) -> str:
    if _URL.fullmatch(url) is None:
        raise ValueError("expected the receiver's address as GlycanAge reaches it, https://HOST/webhooks/glycanage")
    return url


def _path(path: str) -> str:
    if re.fullmatch(r"(/[A-Za-z0-9._~-]+)+(\?[A-Za-z0-9._~=&%-]+)?", path) is None or ".." in path:
        raise ValueError("expected a path such as /webhooks, of letters, digits and . _ ~ -, without `..` and `//`")
    return path


def _one_line(text: SecretStr) -> SecretStr:
    """A token as it can travel in a header. The page gives no form, so only what cannot be is refused."""
    value = text.get_secret_value()
    if not value or any(not each.isprintable() for each in value):
        raise ValueError("expected a token of one line, and this one is empty or has signs that cannot be read")
    return text


Url = Annotated[str, AfterValidator(_url)]
ApiPath = Annotated[str, AfterValidator(_path)]


class ReportSettings(Strict):
    """The report files that plugins ask for. What `GET /reports/{id}` gives is not documented: see `accept`."""

    accept: str = Field("application/pdf", pattern=r"^[ -~]+$")
    """The Accept header that is sent for a report."""
    max_bytes: int = Field(10_485_760, ge=1024, le=104_857_600)
    """A larger report is refused."""
    give_up_h: float = Field(72, ge=0, le=8760)
    """For so long after its event a report that is not there yet is waited for."""
    directory: LocalPath = Field(Path("var/reports"), validate_default=True)
    """Where reports are kept once fetched, so that each is fetched once for all destinations."""
    keep_days: float = Field(30, ge=0, le=3650)
    """How long they are kept since they were last asked for."""


ListedField = Literal[
    "reportId", "testId", "kitCode", "patientId", "practiceId", "assignmentId", "glycanAge", "chronologicalAge",
    "reportUrl", "createdOn", "receivedAt", "status",
]  # fmt: skip
"""What GlycanAge's lists and exports may have of a report or a received kit, in the events' words."""


class ListSettings(Strict):
    """A list of finished reports, where a site knows of one: none is documented."""

    path: ApiPath
    """Below `base_url`, such as `/reports`."""
    items: str = ""
    """Where in the answer the list stands, `data.items`; empty: the answer itself is the list."""
    next: str | None = None
    """Where the path or URL of the next page stands, `links.next`; `None`: there is one page."""
    fields: Mapping[ListedField, str] = {}
    """What an event's field is called there: `{reportId: id}`; by default as in the event."""


class GlycanAgeSettings(Strict):
    """GlycanAge's API and what this clinic is there."""

    base_url: Url
    """The API's address, as GlycanAge told you: https, or http on this machine for the simulator."""
    email: Annotated[str, StringConstraints(pattern=r"^[!-9;-~]+@[!-9;-~]+$")]
    """The account's e-mail address: the user of HTTP Basic ("Authorization: Basic {base64_encoded_email:token}")."""
    token: Annotated[SecretStr, AfterValidator(_one_line)]
    public_url: Annotated[str, AfterValidator(_public)] | None = None
    """The receiver as GlycanAge reaches it: what is registered."""
    webhook_name: str = Field("GlycanBridge", min_length=1, max_length=60)
    """The name that registrations get; the secret's fingerprint is added."""
    events: tuple[EventType, ...] = Field(EVENT_TYPES, min_length=1)  # type: ignore[arg-type]
    """What is registered for."""
    timeout_s: float = Field(10, ge=0.1, le=300)
    """For one request, the whole answer included."""
    proxy: SecretStr | None = None
    """`http://HOST:PORT` or `http://USER:PASSWORD@HOST:PORT`, where there is no other way out.

    This machine itself is asked without it.
    """
    ca_file: LocalPath | None = None
    """The certificates of authorities that are trusted, PEM; by default the system's."""
    reports: ReportSettings = Field(
        default={}, validate_default=True
    )  # so that it is looked at: its paths are in our folder
    report_list: ListSettings | None = None
    """Where finished reports are listed, for `reconcile --api`."""
    columns: Mapping[ListedField, str] = {}
    """What an event's field is called in the dashboard's CSV export, for `reconcile FILE`: `{reportId: Report ID}`."""
    reconcile_every_h: float | None = Field(None, ge=0.1, le=8760)
    """How often the list is compared with the journal; needs `report_list`."""

    @model_validator(mode="after")
    def _can_be_scheduled(self) -> Self:
        if self.reconcile_every_h is not None and self.report_list is None:
            raise ValueError("reconcile_every_h needs report_list, which says where GlycanAge lists what it has")
        return self
