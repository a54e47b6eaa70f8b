"""The settings of a Slack destination, checked at start: where messages may go is known before there is one."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, model_validator

from glycanbridge import LocalPath, Personal, Timeout

SLACKS_HOSTS = ("hooks.slack.com", "hooks.slack-gov.com")
"""Slack's own, and GovSlack's."""
_LOOPBACK = {"127.0.0.1", "[::1]", "localhost"}
_HOST = r"\[[0-9a-fA-F:]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?"
_WEBHOOK = re.compile(rf"(https?)://({_HOST})(?::([0-9]{{1,5}}))?(/[!\"$-~]*)")
"""Nothing that two readers could read in two ways: no user before the host, no backslash in it, no fragment."""
_PROXY = re.compile(rf"http://(?:([!-.0-9;-?A-~]*)(?::([!-.0-?A-~]*))?@)?({_HOST}):([0-9]{{1,5}})/?")
_SERVICE = re.compile(r"/services(/[A-Za-z0-9_-]+){3}")


@dataclass(frozen=True, slots=True)
class WebhookAddress:
    """A webhook's URL, taken apart. Whoever knows the path can post, so it is in no `repr`."""

    tls: bool
    host: str
    port: int
    path: str = field(repr=False)

    @classmethod
    def of(cls, url: SecretStr) -> WebhookAddress:
        """The parts of `url`. Raises `ValueError` if it is not plainly one."""
        found = _WEBHOOK.fullmatch(url.get_secret_value())
        if found is None or int(found[3] or 0) > 65535:
            raise ValueError("expected a webhook's address, https://HOST/..., exactly as Slack's Copy button gives it")
        tls = found[1] == "https"
        return cls(tls, found[2].lower(), int(found[3] or (443 if tls else 80)), found[4])

    def __str__(self) -> str:
        standard = self.port == (443 if self.tls else 80)
        return self.host if standard else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ProxyAddress:
    """A proxy's URL, taken apart."""

    host: str
    port: int
    user: str | None = field(repr=False)
    password: str = field(repr=False)

    @classmethod
    def of(cls, url: SecretStr) -> ProxyAddress:
        """The parts of `url`. Raises `ValueError` if it is not one that Python can use."""
        found = _PROXY.fullmatch(url.get_secret_value())
        if found is None or int(found[4]) > 65535:
            raise ValueError(
                "expected http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, with signs such as @ in them as %40"
            )
        user = None if found[1] is None else unquote(found[1])
        return cls(found[3].lower(), int(found[4]), user, unquote(found[2] or ""))

    def __str__(self) -> str:
        return f"the proxy {self.host}:{self.port}"


def _webhook_url(url: SecretStr, info: ValidationInfo) -> SecretStr:
    address = WebhookAddress.of(url)
    if address.host in _LOOPBACK:
        return url
    if not address.tls:
        raise ValueError("expected https://: results would travel in clear")
    if address.host in SLACKS_HOSTS:
        if _SERVICE.fullmatch(address.path) is None:
            raise ValueError(
                "expected an incoming webhook, whose path is /services/T.../B.../...; others take no messages"
            )
    elif address.host != info.data.get("allow_host"):
        known = " or ".join(SLACKS_HOSTS)
        raise ValueError(f"expected a webhook on {known}; results may go to another host only if allow_host names it")
    return url


def _proxy_url(url: SecretStr) -> SecretStr:
    ProxyAddress.of(url)
    return url


def _host(name: str) -> str:
    if re.fullmatch(_HOST, name) is None:
        raise ValueError("expected the name of a host alone, such as relay.clinic.example")
    return name.lower()


def _certificates(file: Path) -> Path:
    try:
        ssl.create_default_context(cafile=str(file))
    except OSError as error:  # SSLError is one
        raise ValueError(f"expected a file of certificates in PEM: {error.strerror or type(error).__name__}") from None
    return file


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; no name at all; a part of names, such as "Europe"
        raise ValueError("expected an IANA time zone, such as Europe/Zagreb or UTC") from None
    return name


class SlackSettings(BaseModel):
    """The settings of one Slack destination in `bridge.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)

    allow_host: Annotated[str, AfterValidator(_host)] | None = None
    """A host other than Slack's that messages may go to, such as a relay of the clinic's; always by https."""
    webhook_url: Annotated[SecretStr, AfterValidator(_webhook_url)]
    """The incoming webhook of a channel, as Slack shows it. Whoever knows it can post there."""
    personal: Personal = Personal.NONE
    """How much of a patient is told: `none`, `ids` or `full`."""
    time_zone: Annotated[str, AfterValidator(_time_zone)] = "UTC"
    """An IANA name, such as `Europe/Zagreb`, for the times in a message."""
    proxy: Annotated[SecretStr, AfterValidator(_proxy_url)] | None = None
    """The proxy on the way to Slack, with user and password where it wants them. None is taken from the environment."""
    ca_file: Annotated[LocalPath, AfterValidator(_certificates)] | None = None
    """Whose certificates are trusted (PEM), instead of the system's: for a proxy that looks into TLS."""
    connect_timeout_s: Timeout = Field(10, validate_default=True)
    """Seconds until there is a connection, over all of the host's addresses."""
    read_timeout_s: Timeout = Field(10, validate_default=True)
    """Seconds to wait for the answer."""

    @model_validator(mode="after")
    def _fits_into_an_attempt(self, info: ValidationInfo) -> Self:
        limit_s = (info.context or {}).get("timeout_s")
        together_s = self.connect_timeout_s + self.read_timeout_s
        if limit_s is not None and together_s >= limit_s:
            raise ValueError(
                "expected connect_timeout_s and read_timeout_s to be less together than the destination's timeout_s, "
                f"{limit_s:g}; they are {together_s:g}"
            )
        return self
