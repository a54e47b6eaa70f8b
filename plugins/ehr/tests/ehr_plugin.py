"""The plugin as tests use it: made for a FHIR server, given a report, looked at from behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

import trustme
from glycanbridge_ehr import Ehr, EhrSettings

from glycanbridge import Delivery
from glycanbridge.errors import DeliveryError
from glycanbridge.events import parse
from glycanbridge.testing import sample_delivery

PRACTICE = "practice_67890"
PATIENT = "patient_123"
GLYCANAGE = "urn:glycanage:patient"
"""The system under which the tests' EHRs keep GlycanAge's patient ids."""
NOBODY = trustme.CA()
"""An authority that has signed nothing: those of the machine take long to load, again for each test."""
RECEIVED = datetime(2023, 8, 27, 8, 0, 1, 500_000, tzinfo=UTC)


class Clock:
    """A clock to turn by hand."""

    def __init__(self) -> None:
        self.now = RECEIVED

    def __call__(self) -> datetime:
        return self.now


def told(
    event_type: str = "report-ready",
    number: int = 1,
    *,
    attempt: int = 1,
    destination: str = "ehr",
    report: bytes | DeliveryError | None = None,
    **data: Any,
):
    """The vendor's sample with other data (in the vendor's words), as a hook gets it: the event and its delivery.

    `report` is its file, or what is raised for want of one.
    """
    event = json.loads(resources.files("glycanbridge").joinpath("samples", f"{event_type}.json").read_bytes())
    event["data"] |= data
    body = json.dumps(event).encode()
    return parse(body), Delivery(
        id=f"event{number}:{destination}",
        event_id=f"event{number}",
        event_type=event_type,
        destination=destination,
        attempt=attempt,
        received_at=RECEIVED,
        body=body,
        report_source=sample_delivery(report=report).report_source,
    )


def deliver(plugin: Ehr, number: int = 1, *, attempt: int = 1, **data: Any) -> str:
    """Hand a report to the plugin; the receipt."""
    event, delivery = told(number=number, attempt=attempt, **data)
    return plugin.on_report_ready(event=event, delivery=delivery)


def fhir_settings(url: str, folder: Path, **fhir: Any) -> EhrSettings:
    """Settings for a FHIR server that finds patients by search, with `state` and a file of patients in `folder`."""
    own = {name: fhir.pop(name) for name in list(fhir) if name in EhrSettings.model_fields}
    authority = folder / "nobodys-ca.pem"
    NOBODY.cert_pem.write_to_path(authority)
    found = {"patient": "search", "patient_system": GLYCANAGE, "ca_file": authority} | fhir
    return EhrSettings.model_validate(
        {"practices": [PRACTICE], "state": folder / "state", "fhir": {"url": url, **found}, **own}
    )


@contextmanager
def ehr(url: str, folder: Path, *, clock: Clock | None = None, **settings: Any) -> Iterator[Ehr]:
    """The plugin for a FHIR server; closed afterwards."""
    plugin = Ehr(fhir_settings(url, folder, **settings), clock=clock or Clock())
    try:
        yield plugin
    finally:
        plugin.close()
