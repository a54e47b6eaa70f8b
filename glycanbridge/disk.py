"""Makes sure that files and folders are still there, under their names, after a power cut."""

from __future__ import annotations

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Return when a file's content, or the names in a folder, are on the disk. Raises `OSError`."""
    if os.name == "nt" and path.is_dir():  # a folder cannot be synced there
        return
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make the folder and those above it (mode 0700), and sync their names. Raises `OSError`.

    A file's own sync does not make the name of its folder durable.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True, mode=0o700)
    sync(folder.parent)
