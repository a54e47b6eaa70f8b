"""The settings of a FHIR server."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationInfo,
    model_validator,
)

from glycanbridge import LocalPath, Timeout
from glycanbridge_ehr.settings_smart import SmartSettings

_STRICT = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)

_AGE_OF_A_PERSON = {"30525-0", "29553-5", "21611-9", "21612-7"}
"""LOINC's codes for how old somebody is."""


def _system(uri: str) -> str:
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:[A-Za-z0-9/:._~#-]+", uri) is None:
        raise ValueError("expected a URI such as urn:oid:2.16.840.1, without ?, &, | or ,")
    return uri


def _base(uri: str) -> str:
    if "://" not in uri:
        raise ValueError("expected an https: address such as that of your clinic")
    return _system(uri.rstrip("/"))


def _base_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"https", "http"} or not parts.hostname or parts.port == 0:
        raise ValueError("expected an https: address such as the vendor names, ending in /fhir or the like")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("expected an address without a user, a ? and a #; a password belongs into auth")
    return url.rstrip("/")


def _proxy(url: SecretStr) -> SecretStr:
    parts = urlsplit(url.get_secret_value())
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
        raise ValueError("expected an address such as http://proxy.clinic.example:3128")
    return url


def _token(token: SecretStr) -> SecretStr:
    if re.fullmatch(r"[\x21-\x7e]+", token.get_secret_value()) is None:
        raise ValueError("expected a token without spaces, line ends and accents")
    return token


def _is_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


System = Annotated[str, AfterValidator(_system)]
Secret = Annotated[SecretStr, Field(min_length=1)]
Code = Annotated[str, StringConstraints(min_length=1, pattern=r"^\S+( \S+)*$")]


class Coding(BaseModel):
    """A code of the site's own for a result."""

    model_config = _STRICT

    system: System
    """The code system, such as `urn:oid:2.16.840.1`."""
    code: Code
    """The code in it."""
    display: str | None = Field(None, min_length=1)
    """What people read for it."""


class Codings(BaseModel):
    """The site's own codes, which stand beside ours."""

    model_config = _STRICT

    glycan_age: tuple[Coding, ...] = ()
    """Codes of the biological age. Never LOINC's of a person's age."""
    chronological_age: tuple[Coding, ...] = ()
    """Codes of the chronological age."""
    report: tuple[Coding, ...] = ()
    """Codes of the report as a whole."""

    @model_validator(mode="after")
    def _no_wrong_age(self) -> Codings:
        if any(each.code in _AGE_OF_A_PERSON for each in self.glycan_age):
            raise ValueError("glycan_age must not have LOINC's code of a person's age: a chart would show a wrong age")
        return self


class Systems(BaseModel):
    """Identifier and code systems of the site's own; those left out come from `identifier_base`."""

    model_config = _STRICT

    report: System | None = None
    """Of reports' identifiers."""
    observation: System | None = None
    """Of the single results' identifiers."""
    test: System | None = None
    """Of GlycanAge's test ids."""
    assignment: System | None = None
    """Of GlycanAge's assignment ids, which name the order."""
    kit: System | None = None
    """Of kit codes, which name the specimen."""
    document: System | None = None
    """Of documents' identifiers, with `send_as: document`."""
    result: System | None = None
    """The code system of our own codes."""


class Basic(BaseModel):
    """HTTP Basic."""

    model_config = _STRICT

    user: str = Field(min_length=1)
    """The user's name."""
    password: Secret
    """The password."""


class AuthSettings(BaseModel):
    """How the bridge shows who it is: one of these."""

    model_config = _STRICT

    basic: Basic | None = None
    """A user and a password."""
    bearer: Annotated[SecretStr, AfterValidator(_token)] | None = None
    """A token that does not change."""
    smart: SmartSettings | None = None
    """A key of the bridge's own, by SMART Backend Services."""

    @model_validator(mode="after")
    def _one_kind(self) -> AuthSettings:
        if sum(each is not None for each in (self.basic, self.bearer, self.smart)) != 1:
            raise ValueError("expected exactly one of basic, bearer and smart")
        return self


class FhirSettings(BaseModel):
    """A FHIR R4 server, and how results are written there."""

    model_config = _STRICT

    url: Annotated[str, AfterValidator(_base_url)]
    """The server's base URL, such as the vendor names."""
    unencrypted: bool = False
    """Allow an `http:` address that is not this machine's own: results then cross the network readably."""
    auth: AuthSettings | None = None
    """How the bridge shows who it is; nothing: it does not."""
    patient: Literal["map", "search", "conditional"] = "map"
    """How a patient is found: in the file `patients`, by a search, or by the server itself while it writes."""
    patient_system: System | None = None
    """The system under which the EHR keeps GlycanAge's patient ids."""
    send_as: Literal["report", "document"] = "report"
    """Two Observations and a DiagnosticReport, or, for EHRs that take only documents, a DocumentReference."""
    mode: Literal["auto", "transaction", "sequential", "search"] = "auto"
    """How results are written; `auto` asks the server what it can."""
    verify: bool = True
    """Look after each write whether it is there."""
    identifier_base: Annotated[str, AfterValidator(_base)] = "https://glycanbridge.example"
    """What the systems of our identifiers and codes begin with. Never change it once results were sent."""
    systems: Systems = Systems()
    """Single systems that are not to come from `identifier_base`."""
    coding: Codings = Codings()
    """The site's own codes, which stand beside ours."""
    effective: Literal["created_on", "kit_received", "unknown"] = "created_on"
    """What is told as the time of the result; nobody knows when the sample was drawn."""
    performer: str = Field("GlycanAge", min_length=1)
    """Who made the result: a name, or a reference such as `Organization/12`."""
    based_on: bool = True
    """Name the assignment as the order, by its identifier."""
    specimen: bool = True
    """Name the kit as the specimen, by its identifier."""
    connect_timeout_s: Timeout = 5
    """How long to wait (seconds) for a connection."""
    read_timeout_s: Timeout = 20
    """How long to wait (seconds) for a whole answer."""
    ca_file: LocalPath | None = None
    """A PEM file with the one certificate authority that is trusted; nothing: those of the machine."""
    certificate_file: LocalPath | None = None
    """A PEM file with the certificate that the bridge shows, and maybe its key."""
    key_file: LocalPath | None = None
    """A PEM file with that certificate's key, where it is a file of its own."""
    key_password: SecretStr | None = None
    """The password of that key, if it has one."""
    proxy: Annotated[SecretStr, AfterValidator(_proxy)] | None = None
    """An HTTP proxy, such as `http://user:password@proxy.clinic.example:3128`. The environment's are not used."""

    @model_validator(mode="after")
    def _safe(self) -> FhirSettings:
        if self.url.startswith("http:") and not (self.unencrypted or _is_this_machine(self.url)):
            raise ValueError("url: expected https; a server in a network of your own may have unencrypted: true")
        if self.patient != "map" and self.patient_system is None:
            raise ValueError(f"patient: {self.patient} needs patient_system, the system of GlycanAge's ids in the EHR")
        if self.certificate_file is None and (self.key_file or self.key_password):
            raise ValueError("key_file and key_password need certificate_file")
        if self.patient == "conditional" and self.mode not in {"auto", "transaction"}:
            raise ValueError("patient: conditional needs a transaction; there are no such references outside")
        return self

    @model_validator(mode="after")
    def _fits_into_an_attempt(self, info: ValidationInfo) -> FhirSettings:
        limit_s = (info.context or {}).get("timeout_s")
        longest_s = self.connect_timeout_s + self.read_timeout_s
        if limit_s is not None and longest_s >= limit_s:
            raise ValueError(
                f"connect_timeout_s and read_timeout_s make {longest_s:g} s together; expected less than the"
                f" destination's timeout_s, {limit_s:g}: a report takes several requests, so give it time for them"
            )
        return self

    def system(self, name: str) -> str:
        """The system of our identifiers of a kind: `report`, `observation`, `test`, `assignment`, `kit`, `document`."""
        return getattr(self.systems, name) or f"{self.identifier_base}/sid/{name}"

    def own_codes(self, of: str) -> list[dict[str, str]]:
        """The site's own codes of `glycan_age`, `chronological_age` or `report`."""
        return [each.model_dump(exclude_none=True) for each in getattr(self.coding, of)]

    @property
    def result_codes(self) -> str:
        """The code system of our own codes."""
        return self.systems.result or f"{self.identifier_base}/cs/result"
