"""The settings of what speaks HL7 v2: a receiver of MLLP, and a folder for an interface engine."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, model_validator

from glycanbridge import LocalPath, Timeout

AGE_IN_YEARS = "30525-0"
"""LOINC's code of a person's age, which must never stand at the biological one: a chart would show a wrong age."""

_STRICT = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)


def _printable(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("expected printable text without spaces around it")
    return text


def _name_of_a_system(text: str) -> str:
    parts = text.split("^")
    if not parts[0] or len(parts) not in {1, 3} or re.search(r"[|~\\&]", text):
        raise ValueError("expected a name such as EHR, or a name, an id and its kind such as EHR^1.2.3^ISO")
    return _printable(text)


def _name_of_a_file(name: str) -> str:
    if name in {"", ".", ".."} or re.search(r"[/\\\0]", name):
        raise ValueError("expected the name of a file in the directory")
    return name


Text = Annotated[str, Field(min_length=1, max_length=250), AfterValidator(_printable)]
System = Annotated[str, Field(max_length=227), AfterValidator(_name_of_a_system)]
"""HL7's type HD: a name, or a name with an id and its kind."""
Place = Annotated[str, Field(pattern=r"^(MSH|PID|ORC|OBR|NTE|OBX)-[1-9][0-9]?\.[1-9][0-9]?$")]
CodeName = Literal["glycanage-report", "glycan-age", "chronological-age", "kit-code", "report-file"]


class Code(BaseModel):
    """A code of the site's own for something we send; it comes first, and ours stays as the alternate one."""

    model_config = _STRICT

    code: Text
    """The code itself."""
    text: Text
    """What people read for it."""
    system: Text
    """Such as `LN` for LOINC, or `L` for a local table."""


class Provider(BaseModel):
    """Who ordered the test (OBR-16). Many receivers refuse a result without."""

    model_config = _STRICT

    id: Text
    """The number."""
    family: Text
    """The family name."""
    given: Annotated[str, AfterValidator(_printable)] = ""
    """The given name."""
    authority: System | None = None
    """Whose numbers `id` is one of, such as `NPI`."""


class Hl7Settings(BaseModel):
    """How an ORU^R01 message is written. Receivers differ; ask for theirs."""

    model_config = _STRICT

    sending_application: System = "GLYCANBRIDGE"
    """MSH-3."""
    sending_facility: System = "GLYCANAGE"
    """MSH-4."""
    receiving_application: System = "EHR"
    """MSH-5."""
    receiving_facility: System | None = None
    """MSH-6; without it, the report's practice id."""
    processing_id: Literal["P", "T", "D"] = "P"
    """MSH-11: production, training or debugging."""
    version: Literal["2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6"] = "2.5.1"
    """MSH-12: the version that the message calls itself; what stands in it is the same."""
    character_set: Literal["UNICODE UTF-8", "8859/1", "8859/2", "8859/15", "ASCII"] = "UNICODE UTF-8"
    """MSH-18, and what the message is written in."""
    mrn_authority: System = "CLINIC"
    """PID-3.4: whose record numbers the `ehr_id`s of the patients file are."""
    unknown_names: bool = False
    """Send a result without a name (`^^^^^^U`) where the patients file has none, instead of waiting for one."""
    ordering_provider: Provider | None = None
    """OBR-16: `id`, `family`, and maybe `given` and `authority`."""
    codes: dict[CodeName, Code] = {}
    """Codes of the site's own for `glycanage-report`, `glycan-age`, `chronological-age`, `kit-code`, `report-file`."""
    effective: Literal["created_on", "kit_received", "unknown"] = "created_on"
    """OBR-7 and OBX-14, since no event tells when the blood was drawn: when the report was made, when the kit came (if
    the bridge was told; else as `created_on`), or nothing."""
    time_precision: Literal["second", "millisecond"] = "second"
    """Of every time in the message. All are in UTC, and say so (`+0000`)."""
    longest: dict[Place, Annotated[int, Field(ge=1)]] = {}
    """Characters that the receiver takes, such as `{PID-5.1: 30}`. More are refused here instead of cut off there."""

    @model_validator(mode="after")
    def _no_wrong_age(self) -> Hl7Settings:
        code = self.codes.get("glycan-age")
        if code is not None and code.code == AGE_IN_YEARS:
            raise ValueError(f"codes: {AGE_IN_YEARS} is the code of the chronological age, never of glycan-age")
        return self


class MllpSettings(Hl7Settings):
    """A receiver of HL7 v2 over MLLP."""

    host: Text
    """The receiver's name or address."""
    port: int = Field(ge=1, le=65535)
    """Its TCP port."""
    tls: bool = True
    """`false`: everything crosses the network in the clear. Only where a tunnel or the same machine makes up for it."""
    ca_file: LocalPath | None = None
    """PEM: who may have signed the receiver's certificate; without it, whom the system trusts."""
    server_name: Text | None = None
    """The name that must stand in the receiver's certificate, if it is not `host`."""
    certificate_file: LocalPath | None = None
    """PEM: our own certificate (and what leads to its root), where the receiver asks for one."""
    key_file: LocalPath | None = None
    """PEM: the key to `certificate_file`."""
    key_password: SecretStr | None = None
    """The password of `key_file`, if it has one."""
    acknowledgement: Literal["original", "enhanced"] = "original"
    """`enhanced` asks for a commit acknowledgement (MSH-15 `AL`, MSH-16 `NE`). Either kind of answer is understood."""
    ar_retry: bool = False
    """Whether the receiver's `AR` means that it is down, and not that it refuses the message."""
    connect_timeout_s: Timeout = 5
    """Seconds until the connection is there, TLS included."""
    ack_timeout_s: Timeout = 20
    """Seconds until the acknowledgement is there, from when the message begins to leave."""
    idle_close_s: float = Field(30, ge=0, le=86_400, allow_inf_nan=False)
    """A connection on which nothing was sent for so long is closed; 0: each message has a connection of its own."""
    pause_s: float = Field(0, ge=0, le=10, allow_inf_nan=False)
    """Seconds to wait between two messages, for receivers that need it."""

    @property
    def longest_send_s(self) -> float:
        """What one message may take, however it goes."""
        return self.connect_timeout_s + self.ack_timeout_s + self.pause_s

    @model_validator(mode="after")
    def _fits_together(self, info: ValidationInfo) -> MllpSettings:
        keys = (self.ca_file, self.server_name, self.certificate_file, self.key_file, self.key_password)
        if not self.tls and any(each is not None for each in keys):
            raise ValueError(
                "tls: false leaves no use for ca_file, server_name, certificate_file, key_file, key_password"
            )
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file go together")
        limit_s = (info.context or {}).get("timeout_s")
        if limit_s is not None and self.longest_send_s >= limit_s:
            raise ValueError(
                f"connect_timeout_s, ack_timeout_s and pause_s make {self.longest_send_s:g} s together; expected less"
                f" than the destination's timeout_s, {limit_s:g}, which ends a whole attempt"
            )
        return self


class DropSettings(Hl7Settings):
    """A folder that an interface engine empties."""

    directory: LocalPath
    """Where the files go. It must be there: one that is made anew could be the empty place of a share that is away."""
    formats: tuple[Literal["oru", "json"], ...] = Field(("oru",), min_length=1)
    """What each result is written as: `oru` (HL7 v2, `.hl7`), `json` (`.json`), or both."""
    readable_by: Literal["owner", "group"] = "owner"
    """Who may read the files: mode 0600, or 0640 for an engine that runs as another user of the directory's group."""
    marker: Annotated[str, AfterValidator(_name_of_a_file)] | None = None
    """The name of a file that must be in the directory: it tells a mounted share from the empty place for it."""
