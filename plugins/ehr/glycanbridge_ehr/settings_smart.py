"""The settings of SMART Backend Services: how the bridge shows a FHIR server who it is, by a key of its own."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from glycanbridge import LocalPath, Timeout


def endpoint(url: str) -> str:
    """A token endpoint's URL, if it may be one. Raises `ValueError` if not.

    What is sent there proves who the bridge is, so it must be encrypted, except on this machine.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_this_machine(parts.hostname)):
        raise ValueError("expected an https: address (http: only on this machine)")
    if not parts.hostname or parts.username or parts.password or parts.fragment:
        raise ValueError("expected an address without a user and a #")
    return url


def _is_this_machine(host: str | None) -> bool:
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"


class SmartSettings(BaseModel):
    """A client that is registered with the EHR, and the key whose public half the EHR has."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)

    client_id: str = Field(min_length=1)
    """What the EHR calls this bridge."""
    key_file: LocalPath | None = None
    """A PEM file with the private key, without a password: RSA of 2048 bits or more, or EC on P-384. Read each time."""
    key: SecretStr | None = Field(None, min_length=1)
    """The private key itself, as PEM, instead of `key_file`."""
    kid: str | None = Field(None, min_length=1)
    """What the EHR calls the key; nothing: its RFC 7638 thumbprint."""
    algorithm: Literal["RS384", "ES384"] | None = None
    """How to sign; nothing: as the key is made for."""
    scope: str = Field("system/Patient.rs system/Observation.crus system/DiagnosticReport.crus", min_length=1)
    """What the token is to allow, as it is registered with the EHR; separated by spaces."""
    token_url: Annotated[str, AfterValidator(endpoint)] | None = None
    """Where tokens are given; nothing: what the server's `.well-known/smart-configuration` says."""
    timeout_s: Timeout = 10
    """How long to wait (seconds) for a token, all in all."""

    @model_validator(mode="after")
    def _one_key(self) -> SmartSettings:
        if (self.key_file is None) == (self.key is None):
            raise ValueError("expected exactly one of key_file and key")
        return self
