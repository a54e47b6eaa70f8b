"""The settings of a FHIR server."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class FhirSettings(BaseModel):
    """A FHIR R4 server, and how results are written there."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)
