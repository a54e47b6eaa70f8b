"""The disks below the journal, the dead letters and the reports: is there room, and are they in this machine?"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from glycanbridge.doctor.facts import Facts
from glycanbridge.doctor.findings import Finding, note, ok, problem, warning

LEAST_BYTES = 200_000_000
LEAST_SHARE = 0.02
FEW_BYTES = 1_000_000_000
LEAST_FILES = 1000
"""Inodes."""
_NETWORKED = re.compile(
    r"nfs[0-9]*|cifs|smb[0-9a-z]*|9p|afs|ceph|glusterfs|lustre|gfs2|ocfs2|virtiofs|ncpfs|davfs2?"
    r"|fuse\.(sshfs|rclone|s3fs|glusterfs|ceph|gcsfuse|davfs2?)",
    re.ASCII,
)
_ROOM = (
    "make room: `du -sh *` tells what is large; `glycanbridge db vacuum`, with the bridge stopped and room for a copy "
    "of the journal, shrinks that"
)


def room(facts: Facts) -> Iterator[Finding]:
    """Room for events: without it every request is answered 503, and GlycanAge forgets after three more tries."""
    seen = set()
    for folder in facts.private_folders:
        there = _existing(folder)
        disk = there.stat().st_dev
        if disk not in seen:
            seen.add(disk)
            yield from _room(there, facts)


def network_drive(facts: Facts) -> Iterator[Finding]:
    """SQLite's locks and its write-ahead log do not work over a network."""
    if facts.journal is None:
        return
    if not sys.platform.startswith("linux"):
        yield note("disk.network", str(facts.journal), "whether it lies on a network drive is only looked at on Linux")
        return
    mounts = facts.machine.mounts.read_text(encoding="utf-8", errors="replace")
    kind = file_system(_existing(facts.journal.parent), mounts)
    if _NETWORKED.fullmatch(kind):
        told = f"the journal lies on a network drive ({kind}): it can be damaged there, and events lost"
        do = "stop the bridge, move the journal's files to a disk of this machine, and name that in bridge.yaml"
        yield problem("disk.network", str(facts.journal), told, do)
    else:
        yield ok("disk.network", str(facts.journal), f"on a disk of this machine ({kind or 'unknown'})")


def file_system(folder: Path, mounts: str) -> str:
    """The kind of file system that a folder is on, by Linux's table of them; empty if it is in none."""
    place, found = folder.resolve(), ""
    longest = -1
    for line in mounts.splitlines():
        parts = line.split(" ")
        if len(parts) < 3:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), parts[1]))
        if (point == place or point in place.parents) and len(point.parts) >= longest:
            found, longest = parts[2], len(point.parts)
    return found


def _room(folder: Path, facts: Facts) -> Iterator[Finding]:
    total_bytes, free_bytes, total_files, free_files = facts.machine.usage(folder)
    told = f"{free_bytes / 1e9:.1f} GB free of {total_bytes / 1e9:.0f} GB"
    least_bytes = max(LEAST_BYTES, min(FEW_BYTES, LEAST_SHARE * total_bytes))  # 2 % of a large disk is much room
    if free_bytes < least_bytes:
        yield problem("disk.room", str(folder), f"{told}: soon nothing more can be kept", _ROOM)
    elif free_bytes < FEW_BYTES:
        yield warning("disk.room", str(folder), told, _ROOM)
    else:
        yield ok("disk.room", str(folder), told)
    if total_files:
        told = f"{free_files} more files can be made"
        do = "remove files: `df -i` tells where there are many"
        if free_files < LEAST_FILES:
            yield problem("disk.inodes", str(folder), told, do)
        elif free_files < LEAST_SHARE * total_files:
            yield warning("disk.inodes", str(folder), told, do)
        else:
            yield ok("disk.inodes", str(folder), told)


def _existing(folder: Path) -> Path:
    return next(each for each in (folder, *folder.parents) if each.exists())
