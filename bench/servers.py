"""The servers that are measured: how each is started, and why one cannot be on this machine.

bare            Falcon on waitress as it comes, answering 200 and keeping nothing: the stack's own limit
bare-tuned      the same application on our HTTP server
ours-N          `glycanbridge serve` with N destinations that are owed every event and run no lane: recording alone
ours-4-thread, ours-4-process    with four destinations whose plugin does nothing, in threads or in host processes
express, express-durable    the vendor's sample, and the same with a commit to SQLite for each event
webhook         adnanh's, which runs a command for each event
hookrelay       on FastAPI, uvicorn and SQLite
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.folder import HOST, PATH, Folder, folder, install
from bench.noop import Taken
from bench.processes import END_S, Failed, Process, announced, started

PEERS = Path(__file__).parent / "peers"
PEERS_PYTHON = PEERS / ".venv" / "bin" / "python"
_OURS = re.compile(r"ours-(\d+)(?:-(thread|process))?")
_NOOP = """\
  {name}:
    plugin: noop
    isolation: {isolation}
    settings:
      counts: {name}.counts
"""


@dataclass(frozen=True, kw_only=True)
class Serving:
    """A server that runs."""

    process: Process
    url: str
    made: Folder
    destinations: int | None
    """That are owed every event; `None`: this server is not ours."""
    taken: Sequence[Taken]
    """What the plugins that do nothing were handed."""


def lacks(server: str) -> str | None:
    """What must be installed before this server can be measured; `None`: nothing."""
    if server.startswith("express"):
        packages = ["express", "better-sqlite3"] if server == "express-durable" else ["express"]
        found = shutil.which("node") and all((PEERS / "node_modules" / each).exists() for each in packages)
        return None if found else "Node and the packages of bench/peers/package.json"
    if server == "webhook":
        return None if shutil.which("webhook") else "Debian's package webhook"
    if server == "hookrelay":
        return None if PEERS_PYTHON.exists() else "the packages of bench/peers/requirements.txt"
    return None


@contextmanager
def served(
    server: str, *, secret: str, core: int | None, within: Path | None, preload: Path | None = None
) -> Iterator[Serving]:
    """A server that runs in a new folder; ended and removed after. Raises `Failed` if it does not come to listen.

    `preload`: a library that is loaded before all others.
    """
    ours = _OURS.fullmatch(server)
    count, isolation = (int(ours[1]), ours[2]) if ours else (0, None)
    with folder(within, destinations=0 if isolation else count, secret=secret) as made:
        environ, taken = with_noop(made, isolation, count) if isolation else (dict(os.environ), {})
        if preload is not None:
            environ["LD_PRELOAD"] = str(preload)
        with started(_command(server, made), core=core, errors=made.errors, environ=environ) as process:
            yield Serving(
                process=process,
                url=_webhook_url(process, made) if server == "webhook" else announced(process, errors=made.errors),
                made=made,
                destinations=count if ours else None,
                taken=list(taken.values()),
            )


def _command(server: str, made: Folder) -> list[str]:
    if server.startswith("ours-"):
        return [sys.executable, "-m", "glycanbridge", "serve", "-c", str(made.bridge_yaml)]
    if server == "webhook":
        return _webhook(made)
    secret, journal = str(made.secret), str(made.journal)
    return {
        "bare": [sys.executable, "-m", "bench.bare"],
        "bare-tuned": [sys.executable, "-m", "bench.bare", "--tuned"],
        "express": ["node", str(PEERS / "express.js"), secret],
        "express-durable": ["node", str(PEERS / "express.js"), secret, journal],
        "hookrelay": [str(PEERS_PYTHON), str(PEERS / "relay.py"), secret, journal],
    }[server]


def with_noop(made: Folder, isolation: str, destinations: int) -> tuple[dict[str, str], dict[str, Taken]]:
    """Add destinations whose plugin does nothing but count; the environment to serve in, and the counts of each."""
    names = [f"noop-{number}" for number in range(1, destinations + 1)]
    with made.bridge_yaml.open("a", encoding="utf-8") as file:
        file.write("destinations:\n")
        file.writelines(_NOOP.format(name=name, isolation=isolation) for name in names)
    taken = {name: Taken(made.bridge_yaml.with_name(f"{name}.counts"), first=0) for name in names}
    return install(made, "noop", "bench.noop:Noop"), taken


def _webhook(made: Folder) -> list[str]:
    """Its command, with a hook that runs /bin/true for an event that is correctly signed."""
    root, _, name = PATH.strip("/").partition("/")
    signature = {"source": "header", "name": "X-GlycanAge-Signature"}
    secret = made.secret.read_text(encoding="utf-8")
    rule = {"match": {"type": "payload-hmac-sha256", "secret": secret, "parameter": signature}}
    hooks = made.secret.with_name("hooks.json")
    hooks.write_text(json.dumps([{"id": name, "execute-command": "/bin/true", "trigger-rule": rule}]), encoding="utf-8")
    with socket.create_server((HOST, 0)) as free:  # it cannot choose a port itself
        port = free.getsockname()[1]
    made.secret.with_name("port").write_text(str(port), encoding="utf-8")
    return ["webhook", "-hooks", str(hooks), "-ip", HOST, "-port", str(port), "-urlprefix", root]


def _webhook_url(process: Process, made: Folder) -> str:
    """Its URL, as soon as it listens: it does not say so."""
    port, given_up_s = made.secret.with_name("port").read_text(encoding="utf-8"), time.monotonic() + END_S
    while process.poll() is None and time.monotonic() < given_up_s:
        with suppress(OSError), socket.create_connection((HOST, int(port))):
            return f"http://{HOST}:{port}{PATH}"
        time.sleep(0.02)
    raise Failed(f"webhook does not listen\n{made.errors.read_text(encoding='utf-8')}")
