"""The secrets, and who can read them: length, the vendor's samples, blanks, the modes of files that hold them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from glycanbridge.bridge_yaml import BridgeYaml, Loc
from glycanbridge.doctor.facts import Facts
from glycanbridge.doctor.files import folder_findings, owner_findings
from glycanbridge.doctor.findings import Finding, note, ok, problem, typed, warning
from glycanbridge.errors import JournalError
from glycanbridge.glycanage.notes import takes
from glycanbridge.journals import open_questions
from glycanbridge.settings import PUBLISHED_SECRETS, VENDORS_SECRET_LENGTH, secrets_in
from glycanbridge.signature import fingerprint

_NEW = "`glycanbridge webhooks rotate` makes a new one and registers it, step by step"
_HANDED_IN = Path("/run/secrets")
"""Containers find their secrets there, with modes that nobody inside can change."""


def secrets(facts: Facts) -> Iterator[Finding]:
    """The webhook's secrets and the API's token, by their values."""
    found = secrets_in(facts.source)
    numbers: dict[str, int] = {}
    for number, secret in found.items():
        about = f"receiver.secrets, number {number}"
        yield from _strength(about, secret)
        yield from _blanks(about, secret)
        if secret in numbers:
            told = f"it is the same as number {numbers[secret]}"
            yield warning("secrets.twice", about, told, "remove one of them from bridge.yaml: two are for a rotation")
        numbers.setdefault(secret, number)
    token = _token(facts.source)
    if token:
        yield from _blanks("glycanage.token", token)
        if token in numbers:
            told = "the token is used as the webhook's secret, too"
            yield problem("secrets.twice", "glycanage.token", told, f"{_NEW}: whoever has one of them has both")


def taken_secrets(facts: Facts) -> Iterator[Finding]:
    """Whether the bridge was started since the secrets in bridge.yaml were changed."""
    if facts.places is None:
        return
    try:
        with closing(open_questions(facts.places.journal)) as questions:
            taken = set(takes(questions))
    except JournalError:  # the journal's own finding tells it
        return
    missing = sorted({fingerprint(each) for each in secrets_in(facts.source).values()} - taken)
    if taken and missing:
        told = f"the bridge was started last without {', '.join(missing)}: what is signed with it gets 401"
        yield warning("secrets.taken", "receiver.secrets", told, "restart the bridge, if that has not just been done")


def secret_files(facts: Facts) -> Iterator[Finding]:
    """The files that hold secrets: what references name, and bridge.yaml itself if one stands in it."""
    if os.name == "nt":
        yield note("secrets.mode", "files of secrets", "who can read them is not looked at on Windows")
        return
    files = dict(facts.source.named_files)
    if not files and not _inline(facts.source):
        return
    for loc in _inline(facts.source):
        files.setdefault(facts.source.file.absolute(), loc)
    for file, loc in files.items():
        yield from _file(file, loc)


def _strength(about: str, secret: str) -> Iterator[Finding]:
    if secret.strip() in PUBLISHED_SECRETS:
        told = "it is printed on GlycanAge's page: anybody can sign with it"
        yield problem("secrets.published", about, told, _NEW)
    elif len(secret) < VENDORS_SECRET_LENGTH:
        told = f"it has {len(secret)} characters, GlycanAge asks for {VENDORS_SECRET_LENGTH} or more ({_print(secret)})"
        yield warning("secrets.length", about, told, _NEW)
    else:
        yield ok("secrets.length", about, f"{len(secret)} characters ({_print(secret)})")


def _print(secret: str) -> str:
    """By which it is compared with the one that is registered."""
    return f"fingerprint {fingerprint(secret)}"


def _blanks(about: str, secret: str) -> Iterator[Finding]:
    if secret != secret.strip() or not secret.isprintable():
        told = "there is a blank, a line break or another sign that cannot be seen in it"
        do = "write it anew, with nothing around it; `glycanbridge verify` tries a secret, `webhooks list` a token"
        yield warning("secrets.blanks", about, told, do)


def _token(source: BridgeYaml) -> str:
    block = source.data.get("glycanage")
    token = block.get("token") if isinstance(block, dict) else None
    return token if isinstance(token, str) else ""


def _inline(source: BridgeYaml) -> list[Loc]:
    """Where a secret stands in bridge.yaml itself."""
    places: list[Loc] = [("receiver", "secrets", number - 1) for number in secrets_in(source)]
    places += [("glycanage", "token")] if _token(source) else []
    return [loc for loc in places if not source.came_from_reference(loc)]


def _file(file: Path, loc: Loc) -> Iterator[Finding]:
    about = f"{file} ({'.'.join(map(str, loc))})"
    if _HANDED_IN in file.parents:
        yield ok("secrets.mode", about, "handed in from outside the container")
        return
    try:
        told_of = file.stat()
    except OSError:
        return  # bridge.yaml's own problem tells it
    mode = told_of.st_mode
    handed_down = told_of.st_uid == 0 != os.geteuid()  # root's, and the bridge reads it by its group
    if mode & (0o037 if handed_down else 0o077):
        told = f"others can read it (mode {mode & 0o777:04o})" if mode & 0o044 else f"its mode is {mode & 0o777:04o}"
        yield problem("secrets.mode", about, f"there is a secret in it, and {told}", f"`chmod 600 {typed(file)}`")
    else:
        yield ok("secrets.mode", about, f"mode {mode & 0o777:04o}")
    if not handed_down:
        yield from owner_findings("secrets.owner", file)
    yield from folder_findings("secrets.folder", file.parent)
