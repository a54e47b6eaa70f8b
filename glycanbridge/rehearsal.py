"""Imports plugins in processes that may die of it, before the bridge imports them itself.

An import can end the process (`os._exit`, a library that crashes) or never come back. GlycanAge would find nobody then,
at every start anew. It takes a fork, which Windows has not: there it is not rehearsed.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

LONGEST_S = 30.0
"""As long as a plugin may take to start in its own process."""
_SURVIVED = 79
"""The exit code of a process that has come through: no import leaves by chance with that one."""
_LOOK_S = 0.002

Load = Callable[[], object]


def killed_by(loads: Sequence[Load], *, within_s: float | Sequence[float] = LONGEST_S) -> list[str | None]:
    """What becomes of a process that calls each of `loads`, if it does not survive: `ends the process (SIGSEGV)`.

    All are called at once, so that several that hang are given up together. `within_s` is for all, or one for each.
    Where the system has no process left, as where there is no fork, or there are threads already, it is not known:
    `None`.
    """
    told: list[str | None] = [None] * len(loads)
    if sys.platform == "win32" or threading.active_count() > 1:  # a fork has one of the threads, and every lock
        return told
    limits_s = [within_s] * len(loads) if isinstance(within_s, float | int) else within_s
    children: dict[int, int] = {}
    with _children_can_be_waited_for():
        life, alive = os.pipe()
        try:
            for number, load in enumerate(loads):
                if (child := _begin(load, life, alive)) is not None:
                    children[number] = child
            began_s = time.monotonic()
            for number, child in children.items():
                told[number] = _how_it_ends(child, began_s + limits_s[number], limits_s[number])
        finally:
            for child in children.values():
                _end(child)
            os.close(life)
            os.close(alive)
    return told


@contextmanager
def _children_can_be_waited_for() -> Iterator[None]:
    """Whoever has started us may ignore the end of children, and the system then keeps no exit codes."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)


def _begin(load: Load, life: int, alive: int) -> int | None:
    try:
        child = os.fork()
    except OSError:  # no memory, or no process left
        return None
    if child == 0:
        _load_and_die(load, life, alive)
    return child


def _how_it_ends(child: int, deadline: float, within_s: float) -> str | None:
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        if time.monotonic() >= deadline:
            return f"does not come back within {within_s:g} s"
        time.sleep(_LOOK_S)
    code = os.waitstatus_to_exitcode(status)
    if code == _SURVIVED:
        return None
    return f"ends the process ({signal.Signals(-code).name if code < 0 else f'exit code {code}'})"


def _end(child: int) -> None:
    """End it with all that it has started, however it went: nothing of a rehearsal may be left."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    with suppress(ChildProcessError):  # its end has been seen, and its number may be another's
        if os.waitpid(child, os.WNOHANG) == (0, 0):
            os.kill(child, signal.SIGKILL)  # it was not yet a group of its own
            os.waitpid(child, 0)


def _load_and_die(load: Load, life: int, alive: int) -> None:
    """Be the child, and say nothing. However `load` fails, that is told by whoever calls it next."""
    try:
        os.setpgid(0, 0)
        os.close(alive)
        threading.Thread(target=_die_with_the_parent, args=(life,), daemon=True).start()
        silence = os.open(os.devnull, os.O_RDWR)
        for number in {0, 1, 2} - {life}:
            os.dup2(silence, number)
        load()
    except BaseException:  # noqa: S110 (the bridge will see it as well)
        pass
    finally:
        os._exit(_SURVIVED)


def _die_with_the_parent(life: int) -> None:
    """The parent alone holds the other end: when that is closed, somebody has ended it."""
    with suppress(OSError):
        if not os.read(life, 1):
            os.killpg(0, signal.SIGKILL)
