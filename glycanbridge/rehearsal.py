"""Imports a plugin in a process that may die of it, before the bridge imports it itself.

An import can end the process (`os._exit`, a library that crashes) or never come back. GlycanAge would find nobody then,
at every start anew. It takes a fork, which Windows has not: there it is not rehearsed.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from collections.abc import Callable

LONGEST_S = 30.0
"""As long as a plugin may take to start in its own process."""


def killed_by(load: Callable[[], object], *, within_s: float = LONGEST_S) -> str | None:
    """What becomes of a process that calls `load`, if it does not survive: `ends the process (SIGSEGV)`."""
    if sys.platform == "win32" or threading.active_count() > 1:  # a fork has only one of the threads, and every lock
        return None
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        _load_and_die(load, theirs)
    os.close(theirs)
    try:
        came, _, _ = select.select([ours], [], [], within_s)
        if not came:
            os.killpg(child, signal.SIGKILL)
        survived = bool(came) and os.read(ours, 1) == b"."
    finally:
        os.close(ours)
        _, status = os.waitpid(child, 0)
    if survived:
        return None
    if not came:
        return f"does not come back within {within_s:g} s"
    code = os.waitstatus_to_exitcode(status)
    return f"ends the process ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})"


def _load_and_die(load: Callable[[], object], tell: int) -> None:
    """Be the child: say nothing but that it is over. However `load` fails, that is told by whoever calls it next."""
    os.setpgid(0, 0)
    silence = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(silence, number)
    try:
        load()
    except BaseException:  # noqa: S110 (the bridge will see it as well)
        pass
    finally:
        os.write(tell, b".")
        os._exit(0)
