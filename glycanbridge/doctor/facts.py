"""What every check looks at: bridge.yaml as far as it can be used, and this machine, gathered once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from glycanbridge.bridge_yaml import BridgeYaml
from glycanbridge.delivery import wall_clock
from glycanbridge.doctor.configuration import Configured, configured
from glycanbridge.errors import SettingsError
from glycanbridge.glycanage_settings import GlycanAgeSettings
from glycanbridge.journals import path_of
from glycanbridge.places import Places, places_in
from glycanbridge.problems import validate
from glycanbridge.settings import ReceiverSettings
from glycanbridge.settings_kinds import Strict

M = TypeVar("M", bound=Strict)


class Usage(NamedTuple):
    """How full a disk is."""

    total_bytes: int
    free_bytes: int
    total_files: int
    """0 where the file system does not count them."""
    free_files: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What is asked of the system; a test gives other answers."""

    usage: Callable[[Path], Usage]
    """How full the disk of a folder is."""
    mounts: Path = Path("/proc/self/mounts")
    """Where Linux tells which file systems there are."""
    clock: Callable[[], int] = wall_clock
    """Milliseconds since the epoch."""
    patience_s: float = 30.0
    """How long a far side may take to answer, at the most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that is known; a part of bridge.yaml that cannot be used is `None`, and its problems are told elsewhere."""

    source: BridgeYaml
    configured: Configured
    receiver: ReceiverSettings | None
    glycanage: GlycanAgeSettings | None
    places: Places | None
    machine: Machine

    @property
    def journal(self) -> Path | None:
        """The journal's file."""
        return path_of(self.places.journal) if self.places else None

    @property
    def private_folders(self) -> list[Path]:
        """The folders that hold patients' data, there or not."""
        if self.places is None:
            return []
        reports = [self.glycanage.reports.directory] if self.glycanage else []
        return list(dict.fromkeys([path_of(self.places.journal).parent, self.places.dead_letters, *reports]))


def usage(folder: Path) -> Usage:
    """How full the disk of a folder is. Raises `OSError`."""
    told = shutil.disk_usage(folder)
    if not hasattr(os, "statvfs"):
        return Usage(told.total, told.free, 0, 0)
    counted = os.statvfs(folder)
    return Usage(told.total, told.free, counted.f_files, counted.f_favail)


def gather(source: BridgeYaml, machine: Machine | None = None) -> Facts:
    """The facts of a bridge. Whatever is wrong in `source` only leaves something out."""
    found = configured(source)
    places = None
    with suppress(SettingsError):
        places = places_in(source)
    return Facts(
        source=source,
        configured=found,
        receiver=_part(ReceiverSettings, source, "receiver"),
        glycanage=_part(GlycanAgeSettings, source, "glycanage"),
        places=places,
        machine=machine or Machine(usage=usage),
    )


def _part(model: type[M], source: BridgeYaml, name: str) -> M | None:
    told = source.data.get(name)
    return None if told is None else validate(model, told, source, (name,))[0]
