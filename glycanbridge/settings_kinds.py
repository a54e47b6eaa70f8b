"""What settings are made of, ours and plugins': local paths, seconds, and models that take nothing they do not know."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo

from glycanbridge.places import in_folder


class Strict(BaseModel):
    """A part of `bridge.yaml`: frozen, an unknown key is an error, and what came is in no error's text."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def folder_in(info: ValidationInfo) -> Path:
    """The folder of `bridge.yaml`, as a validator sees it."""
    folder: Path = (info.context or {}).get("folder", Path())
    return folder


def _in_folder(path: Path, info: ValidationInfo) -> Path:
    return in_folder(path, folder_in(info))


def _within_an_attempt(seconds: float, info: ValidationInfo) -> float:
    limit_s = (info.context or {}).get("timeout_s")
    if limit_s is not None and seconds >= limit_s:
        raise ValueError(f"expected less than the destination's timeout_s, {limit_s:g}, which ends a whole attempt")
    return seconds


LocalPath = Annotated[Path, AfterValidator(_in_folder)]
"""A path for settings models, a plugin's too: relative ones are taken from the folder of `bridge.yaml`."""

Timeout = Annotated[
    float, Field(gt=0, le=3600, allow_inf_nan=False, validate_default=True), AfterValidator(_within_an_attempt)
]
"""Seconds that a plugin waits for its far side, for settings models: less than the destination's `timeout_s`."""

Seconds = Annotated[float, Field(ge=0, le=31_536_000, allow_inf_nan=False)]
