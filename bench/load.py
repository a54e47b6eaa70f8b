"""Drives the load (`bench/load.c`): the requests that it sends, built and signed in advance, and what came back.

It is a small C program, so that it is never the limit; `busy` tells how near it came. It is compiled anew for each run
of the benchmark, by the system's own compiler.
"""

from __future__ import annotations

import ipaddress
import json
import shutil
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench.events import signed_requests
from bench.processes import Failed, announced, started

WARM_UP_S = 0.75
"""Of load that is not measured: a server that has just started is slower, Node's most of all."""
ANSWER_S = 15.0
"""How long to wait for an answer: longer than a receiver may take for one."""
HERE = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What came back."""

    accepted: list[int]
    """The numbers of the events that were answered 200, those of the warm-up too."""
    events_per_s: float
    p50_ms: float
    p99_ms: float
    worst_ms: float
    other_statuses: dict[str, int]
    """How many answers had another status than 200, by status."""
    unanswered: int
    busy: float
    """The share of the time that the load itself was computing; near 1, the load was the limit."""


class Load:
    """A compiled load and its requests, for as many receivers as there are."""

    def __init__(self, into: Path, *, secret: str, requests: int, path: str) -> None:
        """Compile and build in the folder `into`. Raises `Failed` if there is no compiler."""
        self.program = compiled("load.c", into / "load")
        self.requests = into / "requests"
        with self.requests.open("wb") as file:
            for each in signed_requests(requests, host="localhost", path=path, secret=secret):
                file.write(struct.pack("=I", len(each)) + each)

    def answers(
        self,
        url: str,
        *,
        connections: int,
        seconds: float,
        per_s: float = 0,
        core: int | None,
        errors: Path,
        at_start: Callable[[], None] = lambda: None,
    ) -> Answers:
        """Send for so many seconds, `per_s` requests a second (0: as fast as they are answered).

        `at_start` is called when the warm-up is over. Raises `Failed` if the load does not run.
        """
        host, port = loopback(url)
        words = [host, str(port), str(self.requests), str(connections), str(WARM_UP_S), str(seconds), str(per_s)]
        with started([str(self.program), *words], core=core, errors=errors) as process:
            announced(process, "measuring", errors=errors)
            at_start()
            return Answers(**json.loads("{" + announced(process, "{", errors=errors)))


def compiled(source: str, into: Path, *flags: str) -> Path:
    """The C program or library `source` of this folder, made as the file `into`. Raises `Failed` if that cannot be."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise Failed("the benchmark needs a C compiler: install gcc (Debian: apt-get install gcc libc6-dev)")
    command = [compiler, "-O2", "-Wall", "-o", str(into), str(HERE / source), *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"{source} cannot be compiled; it needs Linux and glibc 2.35\n{done.stderr}")
    return into


def loopback(url: str) -> tuple[str, int]:
    """Host and port of `url`. Raises `ValueError` for any address but one of this machine's own loopback."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not ipaddress.ip_address(parts.hostname or "").is_loopback:
        raise ValueError(f"{url}: the load goes to this machine's loopback address alone")
    return str(parts.hostname), parts.port or 80
