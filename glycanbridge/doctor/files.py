"""Who can read and replace what the bridge keeps: the modes and owners of its folders, journal and dead letters."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from glob import escape
from itertools import islice
from pathlib import Path

from glycanbridge.doctor.facts import Facts
from glycanbridge.doctor.findings import Finding, note, ok, problem, typed, warning

MOST_FILES = 1000
"""So many of a folder's files are looked at."""


def files(facts: Facts) -> Iterator[Finding]:
    """The folders and files with patients' data."""
    if os.name == "nt":
        yield note("files.mode", "files with patients' data", "who can read them is not looked at on Windows")
        return
    for folder in facts.private_folders:
        if folder.is_dir():
            yield from _private(folder, journal=facts.journal)


def _private(folder: Path, *, journal: Path | None) -> Iterator[Finding]:
    mode = folder.stat().st_mode & 0o777
    if mode & 0o077:
        told = f"others than its owner can look into it (mode {mode:04o}): patients' data lies there"
        yield warning("files.folder", str(folder), told, f"`chmod 700 {typed(folder)}`")
    else:
        yield ok("files.folder", str(folder), f"mode {mode:04o}")
    yield from folder_findings("files.folder", folder)
    yield from owner_findings("files.owner", folder)
    named = f"{journal.name}*" if journal and folder == journal.parent else "*"
    there = folder.glob(f"{escape(journal.name)}*" if named != "*" and journal else "*")
    plain = (each for each in islice(there, MOST_FILES) if stat.S_ISREG(each.lstat().st_mode))
    open_to_others = [each for each in plain if each.lstat().st_mode & 0o077]
    for each in open_to_others[:3]:
        told = f"there are patients' data in it, and its mode is {each.lstat().st_mode & 0o777:04o}"
        yield problem("files.mode", str(each), told, f"`chmod 600 {typed(each)}`")
    if len(open_to_others) > 3:
        told = f"{len(open_to_others) - 3} more files there have such modes"
        yield problem("files.mode", str(folder), told, f"`find {typed(folder)} -type f -exec chmod 600 {{}} +`")
    if not open_to_others:
        yield ok("files.mode", str(folder / named), "for its owner alone")


def folder_findings(identity: str, folder: Path) -> Iterator[Finding]:
    """Whether others could put a file of theirs in the place of one in a folder."""
    mode = folder.stat().st_mode
    if mode & 0o022 and not mode & stat.S_ISVTX:
        told = f"others can put their own files in the place of the bridge's (mode {mode & 0o777:04o})"
        yield problem(identity, str(folder), told, f"`chmod go-w {typed(folder)}`")


def owner_findings(identity: str, path: Path) -> Iterator[Finding]:
    """Whether a file belongs to somebody else than who is asking: then one of the two is not the bridge's user."""
    owner, ours = path.stat().st_uid, os.geteuid()
    if owner != ours:
        told = f"it belongs to the user {owner}, and this command runs as {ours}"
        do = f"run `glycanbridge doctor` as the bridge's user; if that is {ours}: `chown {ours} {typed(path)}`"
        yield warning(identity, str(path), told, do)
