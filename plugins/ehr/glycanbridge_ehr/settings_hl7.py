"""The settings of what speaks HL7 v2: a receiver of MLLP, and a folder."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class MllpSettings(BaseModel):
    """A receiver of HL7 v2 over MLLP."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)


class DropSettings(BaseModel):
    """A folder that an interface engine empties."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)
