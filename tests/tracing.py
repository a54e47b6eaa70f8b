"""strace for tests: start the server under it, or let it make trouble for a server that runs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from serving import Serving, until

MAY_BE_MISSING = "CI" not in os.environ or sys.platform != "linux"

needs_strace = pytest.mark.skipif(MAY_BE_MISSING and shutil.which("strace") is None, reason="strace is not installed")


def under_strace(*options: str) -> list[str]:
    """The command under which to start a server: strace is not its parent but its child, and ends when it ends."""
    return ["strace", "-D", "-f", "--seccomp-bpf", *options]


@contextmanager
def trouble(serving: Serving, inject: str, *options: str, paths: tuple[str, ...] = ()) -> Iterator[None]:
    """The running server's system calls fail while the block runs, as strace's `inject=` says, on these files alone."""
    on = [option for path in paths for option in ("-P", str(serving.folder / path))]
    told = serving.folder / "strace.log"
    with told.open("wb") as log:
        command = ["strace", "-f", "-o", os.devnull, *options, *on, "-e", f"inject={inject}"]
        strace = subprocess.Popen([*command, "-p", str(serving.process.pid)], stderr=log)
    try:
        until(lambda: "attached" in told.read_text() or strace.poll() is not None)
        assert strace.poll() is None, told.read_text()
        yield
    finally:
        strace.send_signal(signal.SIGINT)  # it lets go of the server; SIGTERM would not
        try:
            strace.wait(20)
        finally:
            strace.kill()


def ended(trace: Path) -> bool:
    """Whether strace has written all of it: the last process that it followed has ended."""
    return trace.read_text().rstrip().endswith("+++")
