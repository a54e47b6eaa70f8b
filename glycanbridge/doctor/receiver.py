"""The receiver's address: does our bridge answer there, is it ready, or who else has the port?"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from http.client import HTTPException
from pathlib import Path

from glycanbridge.doctor.asking import Hung, Seen, look, within
from glycanbridge.doctor.facts import Facts
from glycanbridge.doctor.findings import Finding, note, ok, problem, warning
from glycanbridge.doctor.journal import served
from glycanbridge.errors import JournalError, JournalMissing
from glycanbridge.settings import ReceiverSettings

ANSWERED_S = 2.0
_NO_HTTP = Seen(0, {}, b"", None)
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (whoever listens everywhere listens here)


def receiver(facts: Facts) -> Iterator[Finding]:
    """Who answers at `receiver.listen`."""
    settings = facts.receiver
    if settings is None:
        return
    if settings.port == 0:
        told = "port 0 is any free port: only `glycanbridge serve` knows which, and prints it"
        yield note("receiver.address", settings.listen, told)
        return
    is_served, is_new = _served(facts)
    patience_s = min(ANSWERED_S, facts.machine.patience_s)
    alive = _ask(settings, "/healthz", patience_s)
    if alive is None:
        yield _nobody(settings, is_served=is_served, is_new=is_new)
    elif not _is_ours(alive, "alive"):
        do = f"stop it, or let the bridge listen elsewhere: `receiver.listen` in bridge.yaml{_holder(settings.port)}"
        yield problem("receiver.address", settings.listen, "another program answers there", do)
    else:
        yield from _ours(settings, patience_s, is_served=is_served)


def _served(facts: Facts) -> tuple[bool | None, bool]:
    """Whether a bridge serves from the journal, `None` if it cannot be read, and whether none ever has."""
    try:
        return (None if facts.places is None else served(facts)), False
    except JournalMissing:
        return False, True
    except (JournalError, OSError):  # the journal's own finding tells it
        return None, False


def _nobody(settings: ReceiverSettings, *, is_served: bool | None, is_new: bool) -> Finding:
    told = _why_not_free(settings)
    if told and is_served:
        told = (
            "it is taken and gives no answer, and a bridge serves from the journal: it hangs, or was stopped half-way"
        )
        do = (
            f"end it, and start it anew: `systemctl restart glycanbridge`, `glycanbridge serve`{_holder(settings.port)}"
        )
        return problem("receiver.address", settings.listen, told, do)
    if told:
        do = f"correct `receiver.listen` in bridge.yaml, or stop what has the port{_holder(settings.port)}"
        return problem("receiver.address", settings.listen, told, do)
    if is_served:
        told = "nobody answers there, though a bridge serves from the journal: it was started with another address"
        return problem("receiver.address", settings.listen, told, "start the bridge anew: `glycanbridge serve`")
    if is_new:
        return note("receiver.address", settings.listen, "free: no bridge has served yet", "`glycanbridge serve`")
    do = "start it: `glycanbridge serve`, or `systemctl start glycanbridge`; its log says why it ended"
    return problem("receiver.address", settings.listen, "nobody answers: the bridge does not run", do)


def _ours(settings: ReceiverSettings, patience_s: float, *, is_served: bool | None) -> Iterator[Finding]:
    yield ok("receiver.address", settings.listen, "a bridge answers")
    if is_served is False:
        told = "the bridge that answers does not serve from this bridge.yaml's journal"
        do = "is it another bridge, or was bridge.yaml changed since it was started? Start it anew"
        yield warning("receiver.journal", settings.listen, told, do)
    ready = _ask(settings, "/readyz", patience_s)
    if ready is not None and _is_ours(ready, "ready"):
        yield ok("receiver.ready", settings.listen, "it takes events")
        return
    told = "it takes no events now"
    with suppress(ValueError, AttributeError, TypeError):
        told += f": {json.loads(ready.beginning)['description']}" if ready else ""
    do = "GlycanAge is answered 503 and sends it three times more: look at the disk first, then at the bridge's log"
    yield problem("receiver.ready", settings.listen, told, do)


def _ask(settings: ReceiverSettings, path: str, patience_s: float) -> Seen | None:
    """What is answered; `None` if nobody does. Whatever is no HTTP is somebody else's: status 0."""
    host = _ANY.get(settings.host, settings.host)
    url = f"http://{f'[{host}]' if ':' in host else host}:{settings.port}{path}"
    seen = within({url: 2 * patience_s}, {url: partial(look, url, timeout_s=patience_s)})[url]
    if isinstance(seen, HTTPException | Hung):  # whoever sends a byte now and then is no bridge
        return _NO_HTTP
    if isinstance(seen, OSError):
        return None
    if isinstance(seen, BaseException):
        raise seen
    return seen


def _is_ours(seen: Seen, status: str) -> bool:
    try:
        return seen.status == 200 and bool(json.loads(seen.beginning) == {"status": status})
    except ValueError:
        return False


def _why_not_free(settings: ReceiverSettings) -> str:
    """Why the address cannot be listened on; empty if it can."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return f"it cannot be listened on: {error.strerror or error}"
    return ""


def _holder(port: int) -> str:
    """Which process has the port, where Linux lets us see it."""
    inodes = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        with suppress(OSError):
            for line in table.read_text(encoding="ascii").splitlines()[1:]:
                parts = line.split()
                if parts[3] == "0A" and int(parts[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{parts[9]}]")
    for handle in Path("/proc").glob("[0-9]*/fd/*") if inodes else ():
        with suppress(OSError):
            if str(handle.readlink()) in inodes:
                process = handle.parents[1]
                name = re.sub(r"[^ -~]", "?", (process / "comm").read_text(encoding="utf-8", errors="replace").strip())
                return f" (it is process {process.name}, {name})"
    return f" (`ss -ltnp 'sport = :{port}'` tells which it is)"
