"""`bridge.yaml` as a frozen `Settings`, or every problem in it at once, each with file, line and column."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, SecretStr, ValidationInfo

from glycanbridge.bridge_yaml import BridgeYaml
from glycanbridge.errors import SettingsError
from glycanbridge.event_types import AnyEventType, OrderedBy
from glycanbridge.glycanage_settings import GlycanAgeSettings
from glycanbridge.places import DEAD_LETTERS, JOURNAL, journal_url
from glycanbridge.problems import validate
from glycanbridge.settings_kinds import LocalPath, Seconds, Strict, Timeout, folder_in

__all__ = ["LocalPath", "Timeout"]

DESTINATION_NAME = r"[A-Za-z0-9][A-Za-z0-9-]{0,63}"
VENDORS_SECRET_LENGTH = 32
"""What the vendor's page calls for: "your-secure-32-character-or-longer-secret"."""
_SLIP = re.compile(r"\$?\s*\{?\s*(env|file|credential):")
PUBLISHED_SECRETS = {"your-secure-32-character-or-longer-secret", "test-secret-key-for-development"}
"""The secrets of the vendor's page: anybody could sign with them."""


def _journal_url(url: str, info: ValidationInfo) -> str:
    return journal_url(url, folder_in(info))


def _address(listen: str) -> str:
    host, _, port = listen.rpartition(":")
    if host in {"", "*"} or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("expected host:port, such as 127.0.0.1:8080, or 0.0.0.0:8080 for every address")
    return listen


def _path(path: str) -> str:
    if re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", path) is None:
        raise ValueError("expected a path such as /webhooks/glycanage, of letters, digits and . _ ~ -")
    if path in {"/healthz", "/readyz"}:
        raise ValueError("expected another path: this one tells whether the bridge lives")
    return path


def _meant(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not text.strip():
        raise ValueError("expected a secret, and this one is empty: anybody could sign with it")
    if _SLIP.match(text):
        raise ValueError(
            "expected a secret, and this looks like a misspelt reference: write ${file:path} or ${env:NAME}"
        )
    return secret


def _name(name: str) -> str:
    if re.fullmatch(DESTINATION_NAME, name) is None:
        raise ValueError("expected a name of letters, digits and '-', at most 64 of them")
    return name


class ReceiverSettings(Strict):
    """Where the bridge listens, and whose requests it takes."""

    listen: Annotated[str, AfterValidator(_address)] = "127.0.0.1:8080"
    """`host:port`; port 0 is any free port, printed at start."""
    path: Annotated[str, AfterValidator(_path)] = "/webhooks/glycanage"
    """The path that GlycanAge posts to."""
    secrets: tuple[Annotated[SecretStr, AfterValidator(_meant)], ...] = Field(min_length=1)
    """Any one of them may have signed: two during a rotation."""
    max_body_bytes: int = Field(1_048_576, ge=1024, le=67_108_864)
    """A larger body is answered 413."""
    request_deadline_s: Seconds = Field(10, ge=0.1)
    """A request that has not come whole after so long is cut off (GlycanAge itself gives up after 10 s)."""

    @property
    def host(self) -> str:
        """The host of `listen`, without the brackets of an IPv6 address."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port of `listen`."""
        return int(self.listen.rpartition(":")[2])


class RetrySettings(Strict):
    """How often and when a delivery is tried again."""

    tries: int = Field(3, ge=1, le=10)
    """Quick tries within one attempt."""
    schedule_s: tuple[Seconds, ...] = (5, 60, 300, 1800, 7200, 18000, 43200, 86400)
    """Seconds to wait before attempts 2, 3, ...; after the last of them a delivery is given up."""


class DestinationRetrySettings(Strict):
    """What one destination does otherwise than `retry`."""

    tries: int | None = Field(None, ge=1, le=10)
    schedule_s: tuple[Seconds, ...] | None = None


class CircuitSettings(Strict):
    """When a destination that fails again and again is left alone, and how often it is asked whether it is back."""

    failures: int = Field(5, ge=0, le=1000)
    """So many failures in a row, of whatever deliveries, open the circuit; 0: it never opens."""
    first_wait_s: Seconds = Field(30, gt=0)
    """Before the first probe; then twice as long each time."""
    longest_wait_s: Seconds = Field(900, gt=0)


class DestinationSettings(Strict):
    """A plugin switched on under a name."""

    plugin: str
    """The name of the plugin's entry point."""
    enabled: bool = True
    """`false`: takes no new deliveries, and what it is owed waits."""
    events: tuple[AnyEventType, ...] | None = Field(None, min_length=1)
    """Default: every event that the plugin has a hook for."""
    practices: tuple[str, ...] | None = Field(None, min_length=1)
    """The practices whose events it gets; default: all."""
    lanes: int = Field(1, ge=1, le=32)
    """Deliveries in flight at once."""
    timeout_s: float = Field(30, ge=0.1, le=3600)
    """For one attempt, with all of its tries."""
    isolation: Literal["process", "thread"] = "process"
    """Where the plugin runs: in a process of its own for each lane, or in threads of the bridge."""
    memory_mb: int | None = Field(None, ge=64, le=1_048_576)
    """What a process of its own may take, where the system can limit it; default: no limit."""
    ordered_by: OrderedBy | None = None
    """Deliver the events of one kit (assignment, order) one at a time, in the order of their timestamps."""
    on_unknown: Literal["resend", "hold"] = "resend"
    """When an attempt was cut off: make it again, or leave it to a person, for far sides where a repeat hurts."""
    circuit: CircuitSettings = CircuitSettings()
    retry: DestinationRetrySettings = DestinationRetrySettings()
    settings: Mapping[str, Any] = {}
    """The plugin's own."""


class Settings(Strict):
    """All of `bridge.yaml`."""

    receiver: ReceiverSettings
    journal: Annotated[str, AfterValidator(_journal_url)] = Field(JOURNAL, validate_default=True)
    """`sqlite:///PATH`."""
    dead_letters: LocalPath = Field(Path(DEAD_LETTERS), validate_default=True)
    """The directory of dead letters."""
    glycanage: GlycanAgeSettings | None = None
    """GlycanAge's own API, for whoever registers webhooks or fetches reports through the bridge."""
    retry: RetrySettings = RetrySettings()
    plugin_files: tuple[LocalPath, ...] = ()
    """Plugins that are files of your own: `rules.py` is the plugin `rules`. Nobody else may write to such a file."""
    destinations: dict[Annotated[str, AfterValidator(_name)], DestinationSettings] = Field({})

    def retry_of(self, destination: str) -> RetrySettings:
        """The retries of one destination: its own where it has them, else the default."""
        own = self.destinations[destination].retry
        return RetrySettings(
            tries=self.retry.tries if own.tries is None else own.tries,
            schedule_s=self.retry.schedule_s if own.schedule_s is None else own.schedule_s,
        )


def read_settings(file: Path) -> tuple[Settings, BridgeYaml]:
    """The settings in `file`, and what they were read from. Raises as `load` does."""
    source = BridgeYaml(file)
    return load(source), source


def load(source: BridgeYaml) -> Settings:
    """The settings in `bridge.yaml`. Raises `SettingsError` with every problem that can be seen in the file alone."""
    if source.problems and not source.data:
        raise SettingsError(source.problems)  # there is nothing in it that could be checked
    settings, problems = validate(Settings, source.data, source)
    if problems or source.problems or settings is None:
        raise SettingsError([*source.problems, *problems])
    return settings


def warnings(settings: Settings) -> list[str]:
    """What is allowed in `settings` and yet unwise, a line each."""
    told = []
    for number, secret in enumerate(settings.receiver.secrets, 1):
        text = secret.get_secret_value()
        if text in PUBLISHED_SECRETS:
            told.append(f"receiver.secrets: number {number} is printed on GlycanAge's page: anybody can sign with it")
        elif len(text) < VENDORS_SECRET_LENGTH:
            told.append(
                f"receiver.secrets: number {number} has {len(text)} characters, GlycanAge asks for "
                f"{VENDORS_SECRET_LENGTH} or more"
            )
    told += [
        f"destinations.{name}: schedule_s is empty: a delivery is given up at its first failure, also in an outage"
        for name in settings.destinations
        if not settings.retry_of(name).schedule_s
    ]
    return told


def secrets_in(source: BridgeYaml) -> dict[int, str]:
    """The webhook's secrets by number, counted from 1, as far as they can be read: whatever else is wrong."""
    receiver = source.data.get("receiver")
    told = receiver.get("secrets") if isinstance(receiver, dict) else None
    numbered = enumerate(told, 1) if isinstance(told, list) else ()
    return {number: each for number, each in numbered if isinstance(each, str) and each.strip()}


def json_schema(plugins: Mapping[str, type[BaseModel]]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of `bridge.yaml`, with the settings of the `plugins` named (name -> model).

    Editors check the file as it is written, so every number and switch may also be a reference such as `${env:PORT}`.
    """
    schema = Settings.model_json_schema()
    definitions = schema["$defs"]
    destination = definitions["DestinationSettings"]
    destination["allOf"] = []
    for name, model in sorted(plugins.items()):
        own = model.model_json_schema(ref_template=f"#/$defs/{name}.{{model}}")
        definitions.update({f"{name}.{key}": value for key, value in own.pop("$defs", {}).items()})
        definitions[name] = own
        rule: dict[str, Any] = {"if": {"properties": {"plugin": {"const": name}}}}
        rule["then"] = {"properties": {"settings": {"$ref": f"#/$defs/{name}"}}}
        if own.get("required"):
            rule["then"]["required"] = ["settings"]
        destination["allOf"].append(rule)
    schema["properties"]["destinations"]["propertyNames"] = {"pattern": f"^{DESTINATION_NAME}$"}
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "bridge.yaml"
    return dict(_with_references(schema))


_REFERENCE = {"type": "string", "pattern": r"\$\{.+\}"}


def _with_references(node: Any) -> Any:
    if isinstance(node, list):
        return [_with_references(each) for each in node]
    if not isinstance(node, dict):
        return node
    node = {key: _with_references(value) for key, value in node.items()}
    kind = node.get("type")
    if kind in {"integer", "number", "boolean"} or (kind == "string" and {"enum", "pattern"} & node.keys()):
        told = {key: node.pop(key) for key in ("title", "description", "default") if key in node}
        return {**told, "anyOf": [node, _REFERENCE]}
    return node
