"""The settings of one EHR in `bridge.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from glycanbridge import LocalPath, Timeout
from glycanbridge_ehr.report_files import Choice
from glycanbridge_ehr.settings_fhir import FhirSettings
from glycanbridge_ehr.settings_hl7 import DropSettings, MllpSettings


class EhrSettings(BaseModel):
    """The settings of one EHR: what is shared by all ways, and exactly one way."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)

    practices: tuple[str, ...] = Field(min_length=1)
    """The practices whose patients this EHR has. A report of any other becomes a dead letter."""
    state: LocalPath = Field(Path("var/ehr"), validate_default=True)
    """A directory for what has been sent; made (0700) if it is missing. Several destinations may share it."""
    patients: LocalPath | None = None
    """A CSV file that says which of GlycanAge's patients is which of the EHR's."""
    patient_wait_days: float = Field(14, ge=0, le=365, allow_inf_nan=False)
    """How long a result waits for a patient whom the EHR does not know yet."""
    personal: Literal["full"] = "full"
    """What may be told. An EHR is told all: a result without its patient or its ages is none."""
    report: Choice = "none"
    """The report file (PDF): `none`: never; `attach`: with the result if it can be had now, else the result goes
    without; `wait`: the result waits for it."""
    report_max_mb: float = Field(5, gt=0, le=10, allow_inf_nan=False)
    """MB of a report file; a larger one counts as missing. It is a third larger in FHIR and HL7 v2."""
    lock_timeout_s: Timeout = 5
    """How long to wait (seconds) while another lane sends the same report."""
    fhir: FhirSettings | None = None
    """A FHIR R4 server."""
    mllp: MllpSettings | None = None
    """HL7 v2.5.1 ORU^R01 over MLLP."""
    drop: DropSettings | None = None
    """Files in a folder, for an interface engine."""

    @model_validator(mode="after")
    def _one_way(self) -> EhrSettings:
        if sum(each is not None for each in (self.fhir, self.mllp, self.drop)) != 1:
            raise ValueError("expected exactly one of fhir, mllp and drop")
        if self.fhir is not None and self.fhir.patient == "map" and self.patients is None:
            raise ValueError("fhir.patient: map needs patients, a file that says who is who; or set it to search")
        if self.fhir is None and self.patients is None:
            raise ValueError("mllp and drop need patients, the file that says whose result it is")
        return self
