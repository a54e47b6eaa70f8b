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


def write_anew(file: Path) -> None:
    """Put a file on the disk as it is seen. Nobody else may write to it meanwhile. Raises `OSError`.

    After a failed sync Linux calls the lost pages clean: what a dead process could not sync looks like the rest, until
    a power cut takes it, and with it whatever was built upon it.
    """
    content = file.read_bytes()
    with file.open("r+b") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
