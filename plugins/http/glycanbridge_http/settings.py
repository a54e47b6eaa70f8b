"""The settings of an HTTP destination, checked at start: a template that fails is known before there is an event."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, SecretStr, ValidationInfo, field_validator, model_validator

from glycanbridge import Delivery, Event, LocalPath, Personal, Timeout
from glycanbridge_http.address import Address, ProxyAddress
from glycanbridge_http.bodies import from_template, values
from glycanbridge_http.samples import samples
from glycanbridge_http.settings_headers import NAME, STRICT, AuthSettings, HeaderName, HeaderValue, headers_of
from glycanbridge_http.statuses import Meaning, Status
from glycanbridge_http.templates import TemplateFault

_CONTENT_TYPE = re.compile(r"[a-zA-Z0-9.+-]+/[a-zA-Z0-9.+-]+(?:; ?[a-zA-Z0-9-]+=[a-zA-Z0-9._\"-]+)*")
_POINTER = re.compile(r"(?:/(?:[ -.0-}]|~[01])*)+")


def _proxy_url(url: SecretStr) -> SecretStr:
    ProxyAddress.of(url)
    return url


def _certificates(file: Path) -> Path:
    try:
        ssl.create_default_context(cafile=str(file))
    except OSError as error:  # SSLError is one
        raise ValueError(f"expected a file of certificates in PEM: {error.strerror or type(error).__name__}") from None
    return file


def _content_type(told: str) -> str:
    if _CONTENT_TYPE.fullmatch(told) is None:
        raise ValueError("expected a media type, such as application/json or text/plain; charset=utf-8")
    parameters = [each.strip().lower().partition("=") for each in told.split(";")[1:]]
    charsets = [value.strip('"') for name, _, value in parameters if name == "charset"]
    if charsets not in ([], ["utf-8"]):
        raise ValueError("expected charset=utf-8, or none: the body is written in UTF-8")
    return told


def _receipt(told: str) -> str:
    if _POINTER.fullmatch(told) is None and NAME.fullmatch(told) is None:
        raise ValueError(
            "expected a place in a JSON answer, such as /id, or the name of a header, such as X-Request-Id"
        )
    return told


class HttpSettings(BaseModel):
    """The settings of one HTTP destination in `bridge.yaml`."""

    model_config = STRICT

    personal: Personal = Personal.NONE
    """How much of a patient is told: `none`, `ids` or `full`."""
    method: Literal["POST", "PUT", "PATCH"] = "POST"
    """The request's method."""
    url: SecretStr
    """Where requests go, by https. In its path and query may stand values, such as `{{ event.data.order_id }}`."""
    content_type: Annotated[str, AfterValidator(_content_type)] = "application/json"
    """What the body is; values in a template are escaped for it."""
    body: str | None = Field(None, min_length=1, repr=False)
    """A Jinja2 template of the body; without one it is the event as JSON."""
    as_signed: bool = False
    """Send the body exactly as GlycanAge signed it; needs `personal: full`."""
    auth: AuthSettings | None = None
    """How the bridge shows who it is: one of `basic`, `bearer` and `hmac`."""
    idempotency_header: HeaderName | None = "Idempotency-Key"
    """The header with the delivery's id, the same in every attempt; `null`: none."""
    headers: dict[HeaderName, HeaderValue] = {}
    """More headers, by name."""
    success: tuple[Status, ...] = ()
    """Statuses that mean that the far side has it."""
    temporary: tuple[Status, ...] = ()
    """Statuses after which it is sent again by the schedule."""
    destination: tuple[Status, ...] = ()
    """Statuses that mean that the far side takes nothing, whatever it is sent."""
    permanent: tuple[Status, ...] = ()
    """Statuses that mean that the far side will never take this delivery."""
    receipt: Annotated[str, AfterValidator(_receipt)] | None = None
    """What of the answer is kept besides its status: a place in its JSON, such as `/id`, or a header's name."""
    check_url: SecretStr | None = None
    """An address at the same host that `check --online` asks by GET; without one it only connects."""
    proxy: Annotated[SecretStr, AfterValidator(_proxy_url)] | None = None
    """The proxy on the way, with user and password where it wants them. None is taken from the environment."""
    ca_file: Annotated[LocalPath, AfterValidator(_certificates)] | None = None
    """Whose certificates are trusted (PEM), instead of the system's."""
    connect_timeout_s: Timeout = Field(10, validate_default=True)
    """Seconds until there is a connection."""
    read_timeout_s: Timeout = Field(10, validate_default=True)
    """Seconds to wait for the answer."""

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: SecretStr, info: ValidationInfo) -> SecretStr:
        address = Address.of(url)
        personal = info.data.get("personal")
        if personal is not None and not address.fixed:
            _try(lambda event, delivery: address.url(values(event, delivery, personal)), info)
        return url

    @field_validator("proxy")
    @classmethod
    def _sees_nothing(cls, proxy: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        url = info.data.get("url")
        if proxy is not None and url is not None and not Address.of(url).tls:
            raise ValueError("expected none beside an http:// url: the proxy would get everything in clear")
        return proxy

    @field_validator("idempotency_header")
    @classmethod
    def _is_no_proof(cls, name: str | None, info: ValidationInfo) -> str | None:
        if name is not None and name.lower() in headers_of(info.data.get("auth"), None):
            raise ValueError("expected another header: auth sets this one")
        return name

    @field_validator("body")
    @classmethod
    def _can_be_made(cls, source: str | None, info: ValidationInfo) -> str | None:
        personal, content_type = info.data.get("personal"), info.data.get("content_type")
        if source is not None and personal is not None and content_type is not None:
            try:
                made = from_template(source, content_type=content_type, personal=personal)
            except TemplateFault as fault:
                raise ValueError(fault.told_of_a_sample) from None
            _try(made, info)
        return source

    @field_validator("as_signed")
    @classmethod
    def _is_all(cls, as_signed: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 (pydantic's shape)
        if as_signed and info.data.get("body") is not None:
            raise ValueError("expected either as_signed or body, not both")
        if as_signed and info.data.get("personal", Personal.FULL) is not Personal.FULL:
            raise ValueError("expected personal: full beside it, for a signed body holds everything")
        return as_signed

    @field_validator("headers")
    @classmethod
    def _no_header_twice(cls, told: dict[str, SecretStr], info: ValidationInfo) -> dict[str, SecretStr]:
        ours = headers_of(info.data.get("auth"), info.data.get("idempotency_header"))
        names = [each.lower() for each in told]
        if len(set(names)) < len(names):
            raise ValueError("expected each header once: capitals make no difference")
        if twice := sorted(set(names) & ours):
            raise ValueError(f"expected no {', '.join(twice)}: the bridge sets it, by auth or idempotency_header")
        return told

    @field_validator("success", "temporary", "destination", "permanent")
    @classmethod
    def _in_one_list(cls, statuses: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for other in Meaning:
            both = set(statuses) & set(info.data.get(other, ())) if other != info.field_name else set()
            if both:
                raise ValueError(f"{', '.join(sorted(both))} stands in {other} already: a status has one meaning")
        return statuses

    @field_validator("check_url")
    @classmethod
    def _is_at_the_same_host(cls, url: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if url is not None:
            address, sent_to = Address.of(url), info.data.get("url")
            if not address.fixed:
                raise ValueError("expected an address without values of an event")
            if sent_to is not None and Address.of(sent_to).origin != address.origin:
                raise ValueError("expected an address at the same host as url: it is asked with the same headers")
        return url

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


def _try(make: Callable[[Event, Delivery], Any], info: ValidationInfo) -> None:
    """Make of samples what would be made of events. Raises `ValueError` with the line of what cannot be made.

    The bridge says which event types the destination gets when it checks `bridge.yaml`, and not again in each lane.
    """
    for event, delivery in samples((info.context or {}).get("events", ())):
        try:
            make(event, delivery)
        except TemplateFault as fault:
            how = f"tried with a sample of {event.type} at personal: {info.data['personal']}"
            only = "what is not for all events needs the destination's events"
            raise ValueError(f"{fault.told_of_a_sample} ({how}; {only})") from None
