"""A temporary folder with all that one measurement needs: `bridge.yaml`, a fresh secret, an empty journal.

Its destinations name a plugin that is not installed. Such a destination is owed every event and has no lane: so what is
measured is receiving and recording, and every delivery still lies in the journal afterwards.
"""

from __future__ import annotations

import os
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from bench.processes import ROOT

HOST = "127.0.0.1"
PATH = "/webhooks/glycanage"
PLUGIN = "bench-none"
SYNCS = 50

_BRIDGE_YAML = """\
receiver:
  listen: {host}:0
  path: {path}
  secrets:
    - ${{file:secret}}
journal: sqlite:///journal.db
dead_letters: dead-letters
"""


class Folder:
    """Where the files of one measurement lie."""

    def __init__(self, path: Path) -> None:
        self.bridge_yaml = path / "bridge.yaml"
        self.secret = path / "secret"
        self.journal = path / "journal.db"
        self.errors = path / "errors.txt"
        """What the subprocesses write to stderr."""


@contextmanager
def folder(within: Path | None, *, destinations: int, secret: str | None = None) -> Iterator[Folder]:
    """A new folder in `within` (default: the system's for temporary files), with so many destinations; removed after.

    The journal lies in it: the disk that `within` is on is the disk that is measured.
    """
    with tempfile.TemporaryDirectory(prefix="glycanbridge-bench-", dir=within) as name:
        made = Folder(Path(name))
        made.secret.touch(mode=0o600)
        made.secret.write_text(secret or secrets.token_urlsafe(32), encoding="utf-8")
        told = _BRIDGE_YAML.format(host=HOST, path=PATH)
        if destinations:
            told += "destinations:\n"
        for number in range(1, destinations + 1):
            told += f"  destination-{number}:\n    plugin: {PLUGIN}\n"
        made.bridge_yaml.write_text(told, encoding="utf-8")
        yield made


def install(made: Folder, name: str, entry_point: str) -> dict[str, str]:
    """Install a plugin of ours in the folder, as pip does in place; the environment in which it is installed."""
    packages = made.bridge_yaml.with_name("packages")
    metadata = packages / f"bench_{name}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: bench-{name}\nVersion: 1.0\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text(f"[glycanbridge]\n{name} = {entry_point}\n", encoding="utf-8")
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(packages), str(ROOT)])}


def sync_ms(within: Path | None) -> float:
    """How long the disk takes to sync 4 KiB, in milliseconds, the median of 50: near 0 on a disk in memory."""
    took = []
    with tempfile.TemporaryFile(prefix="glycanbridge-bench-", dir=within) as file:
        for _ in range(SYNCS):
            started = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
            took.append(time.perf_counter() - started)
    return median(took) * 1000
