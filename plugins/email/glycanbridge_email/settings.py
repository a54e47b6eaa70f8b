"""The settings of an e-mail destination: everything that can be seen to be wrong is told when they are read."""

from __future__ import annotations

import re
import ssl
from datetime import time
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self, get_args
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from glycanbridge import LocalPath, Personal, Timeout
from glycanbridge_email.letters import Letters, foreign_files
from glycanbridge_email.report_files import Choice
from glycanbridge_email.words import Words, clean

PORTS = {"starttls": 587, "tls": 465, "plain": 25}
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
WEEKDAYS: tuple[Weekday, ...] = get_args(Weekday)
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_ADDRESS = re.compile(rf"(?P<local>[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~.-]{{1,64}})@{_LABEL}(?:\.{_LABEL})*")


def _address(text: str) -> str:
    if not text.isascii():
        raise ValueError("expected an address in ASCII (write a domain such as klinika-č.example in its xn-- form)")
    match = _ADDRESS.fullmatch(text)
    if match is None or len(text) > 254 or match["local"].strip(".") != match["local"] or ".." in match["local"]:
        raise ValueError("expected one address and nothing else, such as results@clinic.example")
    return text


def _host(text: str) -> str:
    if _HOST.fullmatch(text) is None:
        try:
            ip_address(text)
        except ValueError:
            raise ValueError("expected a host's name such as smtp.clinic.example, without port or scheme") from None
    return text


def _one_line(text: str) -> str:
    if text != clean(text) or not text.strip() or "=?" in text:
        raise ValueError("expected a text in one line, without control characters")
    return text


def _printable(text: str) -> str:
    if not (text and text.isascii() and text.isprintable()):
        raise ValueError("expected printable ASCII, and at least one character of it: SMTP's logins take no other")
    return text


def _printable_secret(secret: SecretStr) -> SecretStr:
    _printable(secret.get_secret_value())
    return secret


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; no name at all; a part of names, such as "Europe"
        raise ValueError("expected an IANA time zone, such as Europe/Zagreb or UTC") from None
    return name


def _locale(name: str) -> str:
    try:
        Locale.parse(name.replace("-", "_"))
    except (ValueError, UnknownLocaleError):
        raise ValueError("expected a language, and a country if it matters, such as en, hr or de_AT") from None
    return name


def _clock_time(text: str) -> str:
    if re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", text) is None:
        raise ValueError('expected a time of day such as "18:00"')
    return text


def _certificates(path: Path) -> Path:
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:  # SSLError is one
        told = error.strerror or getattr(error, "reason", None) or "no certificate is in it"
        raise ValueError(f"expected a file of PEM certificates: {told}") from None
    return path


Address = Annotated[str, AfterValidator(_address)]
TimeZone = Annotated[str, AfterValidator(_time_zone)]
Line = Annotated[str, AfterValidator(_one_line)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)


class Recipients(_Model):
    """Who gets the mails of one practice."""

    to: tuple[Address, ...] = Field(min_length=1)
    """The addresses, one each."""
    cc: tuple[Address, ...] = ()
    """Further addresses that get a copy; everybody sees everybody's."""

    @property
    def everybody(self) -> tuple[str, ...]:
        """Each address once, in their order."""
        return tuple(dict.fromkeys((*self.to, *self.cc)))


class DigestSettings(_Model):
    """When the mail of the day goes out."""

    at: Annotated[str, AfterValidator(_clock_time)]
    """A time of day in `time_zone`, such as `"18:00"`."""
    weekdays: tuple[Weekday, ...] = Field(WEEKDAYS, min_length=1)
    """On which days; what comes on others waits for the next of these."""

    @property
    def time(self) -> time:
        """`at` as a time of day."""
        return time.fromisoformat(self.at)

    @property
    def days(self) -> frozenset[int]:
        """The days as Python counts them: Monday is 0."""
        return frozenset(WEEKDAYS.index(each) for each in self.weekdays)


class EmailSettings(_Model):
    """The settings of one e-mail destination in `bridge.yaml`."""

    host: Annotated[str, AfterValidator(_host)]
    """The mail server. Its certificate must be for this name."""
    port: int | None = Field(None, ge=1, le=65535)
    """By default the one that goes with `security`: 587, 465 or 25."""
    security: Literal["starttls", "tls", "plain"] = "starttls"
    """`starttls`: encrypted after the greeting, or nothing is sent; `tls`: from the first byte; `plain`: not at all."""
    ca_file: LocalPath | None = None
    """PEM file of the authorities whose certificates are trusted, and no others; default: those of the system."""
    username: Annotated[str, AfterValidator(_printable)] | None = None
    """For the login, if the server wants one."""
    password: Annotated[SecretStr, AfterValidator(_printable_secret)] | None = None
    """For the login."""
    helo_name: Annotated[str, AfterValidator(_host)] | None = None
    """The name that the bridge calls itself by; default: this machine's, if it is a full one."""
    sender: Address
    """The address that the mails come from; refusals that come later by mail (bounces) go there."""
    sender_name: Line = "GlycanBridge"
    """The name that mail programs show for `sender`."""
    reply_to: Address | None = None
    """Where answers go; default: to `sender`."""
    to: tuple[Address, ...] = ()
    """Who gets the mails of every practice that `practices` does not name."""
    cc: tuple[Address, ...] = ()
    """Further addresses that get a copy of those."""
    practices: dict[str, Recipients] = {}
    """Recipients for each practice by its id: `to` and `cc`. Without `to` above, the others' events are refused."""
    personal: Personal = Personal.NONE
    """How much of a patient the mails tell: `none`, `ids` or `full`. Subjects never tell anything."""
    locale: Annotated[str, AfterValidator(_locale)] = "en"
    """The language of dates and amounts, such as `en`, `hr` or `de_AT`."""
    time_zone: TimeZone = "UTC"
    """An IANA name, such as `Europe/Zagreb`: of the times in a mail, and of `digest.at`."""
    digest: DigestSettings | None = None
    """One mail a day for each practice, instead of one for each event: `at`, and `weekdays` if not on every day."""
    report: Choice = "none"
    """The report file (PDF): `none`: never; `attach`: with the mail if it can be had now, else the mail says why not;
    `wait`: the mail waits for it. Only with `personal: full`, and not in a `digest`."""
    report_max_mb: float = Field(10, gt=0, le=100, allow_inf_nan=False)
    """MB of a report file; a larger one counts as missing. A mail is a third larger than the file in it."""
    templates: LocalPath | None = None
    """A directory with the clinic's own templates, each in place of the packaged one of the same name."""
    state: LocalPath = Field(Path("var/email"), validate_default=True)
    """The directory in which is kept who has which mail already, and what waits for a digest; made if missing."""
    connect_timeout_s: Timeout = Field(10, validate_default=True)
    """Seconds to wait for the server to take the connection."""
    read_timeout_s: Timeout = Field(10, validate_default=True)
    """Seconds to wait for each of its answers."""
    mail_timeout_s: Timeout = Field(25, validate_default=True)
    """Seconds for all of one mail, connecting included."""

    @field_validator("ca_file")
    @classmethod
    def _is_of_certificates(cls, path: Path | None) -> Path | None:
        return None if path is None else _certificates(path)

    @field_validator("report")
    @classmethod
    def _may_be_told(cls, report: Choice, info: ValidationInfo) -> Choice:
        if report == "none":
            return report
        if info.data.get("personal", Personal.FULL) is not Personal.FULL:
            raise ValueError("the file tells all of a patient: write `personal: full` beside it, or `report: none`")
        if info.data.get("digest") is not None:
            told = "a digest is sent by one delivery, which gets its own report and none of the others'"
            raise ValueError(f"{told}: write `report: none`, or leave `digest` away")
        return report

    @field_validator("templates")
    @classmethod
    def _are_templates(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        known = info.data
        if path is None or not {"personal", "locale", "time_zone", "report"} <= set(known):
            return path
        if not path.is_dir():
            raise ValueError("there is no such directory")
        words = Words(Locale.parse(known["locale"].replace("-", "_")), ZoneInfo(known["time_zone"]))
        try:
            letters = Letters(path)
            problems = foreign_files(path) + letters.problems(known["personal"], words)
            if not problems and known["report"] == "attach":
                problems = letters.silent_of_the_file(words)
        except OSError as error:
            raise ValueError(f"{error.strerror or type(error).__name__}") from None
        if problems:
            raise ValueError("; ".join(problems))
        return path

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if not self.to and not self.practices:
            raise ValueError("there is nobody to write to: set `to`, or `practices`")
        if self.cc and not self.to:
            raise ValueError("`cc` without `to`: a copy of what?")
        if (self.username is None) != (self.password is None):
            raise ValueError("a login takes both `username` and `password`")
        if self.security == "plain" and not self.is_local:
            if self.password is not None:
                raise ValueError(
                    "`security: plain` would tell the password to everybody on the way: take starttls or tls"
                )
            if self.personal is not Personal.NONE:
                raise ValueError("`security: plain` would tell of patients on the way: take starttls or tls")
        return self

    @property
    def is_local(self) -> bool:
        """Whether the mail server is on this machine."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"

    @property
    def server(self) -> str:
        """Host and port, for people to read."""
        return f"{self.host}:{self.port_number}"

    @property
    def port_number(self) -> int:
        """The port that is connected to."""
        return self.port or PORTS[self.security]

    @property
    def words(self) -> Words:
        """How the clinic writes."""
        return Words(Locale.parse(self.locale.replace("-", "_")), ZoneInfo(self.time_zone))

    def recipients_of(self, practice_id: str) -> Recipients | None:
        """Who gets the mails of a practice; `None` if nobody is to."""
        return self.practices.get(practice_id) or (Recipients(to=self.to, cc=self.cc) if self.to else None)
