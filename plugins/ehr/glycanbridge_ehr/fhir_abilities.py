"""What a FHIR server says it can do, and how results are written there because of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from glycanbridge import DestinationError

Mode = Literal["transaction", "sequential", "search"]
WRITTEN = {"report": ("Observation", "DiagnosticReport"), "document": ("DocumentReference",)}
"""The types that are written, by `send_as`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What matters of a CapabilityStatement."""

    transaction: bool
    conditional_create: bool
    conditional_update: bool
    refused: tuple[str, ...] = ()
    """What we write, and the server says that it takes none of."""

    @property
    def mode(self) -> Mode:
        """The safest way to write that the server has: all at once, one after another, or looking before each."""
        if not self.conditional_create:
            return "search"
        return "transaction" if self.transaction else "sequential"


def abilities_in(statement: dict[str, Any], *, types: Sequence[str]) -> Abilities:
    """What a CapabilityStatement says of these types. Raises `DestinationError` if it is none of a FHIR R4 server."""
    if statement.get("resourceType") != "CapabilityStatement":
        raise DestinationError("its metadata is no CapabilityStatement: is url the base of a FHIR server?")
    version = statement.get("fhirVersion")
    if not (isinstance(version, str) and version.startswith("4.0")):
        raise DestinationError("the server does not speak FHIR R4 (4.0): R4 is what the bridge sends; see url")
    servers = [each for each in _dicts(statement.get("rest")) if each.get("mode") == "server"]
    interactions = {str(each.get("code")) for rest in servers for each in _dicts(rest.get("interaction"))}
    resources = {str(each.get("type")): each for rest in servers for each in _dicts(rest.get("resource"))}
    ours = [resources.get(each, {}) for each in types]
    return Abilities(
        transaction="transaction" in interactions,
        conditional_create=all(each.get("conditionalCreate") is True for each in ours),
        conditional_update=all(each.get("conditionalUpdate") is True for each in ours),
        refused=tuple(name for name, each in zip(types, ours, strict=True) if not _takes_new(each)),
    )


def _takes_new(resource: dict[str, Any]) -> bool:
    return "create" in {str(each.get("code")) for each in _dicts(resource.get("interaction"))}


def _dicts(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
