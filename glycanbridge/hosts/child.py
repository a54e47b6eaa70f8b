"""A host's process as the bridge holds it: asked, watched, and ended with all that it has started."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from threading import Lock
from time import monotonic
from typing import Any

from glycanbridge.hosts.messages import LARGEST_ANSWER_BYTES, Inbox, send

REAPED_S = 1.0
"""How long a killed process may take to be gone, and its exit status to come."""


class Child:
    """One process. `lock` guards multiprocessing's own bookkeeping, which no two threads may touch at once."""

    def __init__(self, process: BaseProcess, *, talk: socket.socket, life: Connection, lock: Lock) -> None:
        self._process = process
        self._pid = process.pid or 0
        self._talk = talk
        self._answers = Inbox(talk, largest_bytes=LARGEST_ANSWER_BYTES)
        self._life = life
        self._lock = lock
        self._ending = Lock()
        self._gone = gone_when(process)
        self._ended = False

    def gone(self) -> bool:
        """Whether it has died; `False` also where that cannot be seen."""
        return bool(self._gone and wait(self._gone, 0))

    def tell(self, told: Mapping[str, object], body: bytes = b"", *, deadline: float) -> None:
        """Send it a message. Raises as `messages.send`."""
        send(self._talk, told, body, deadline=deadline)

    def answer(self, *, deadline: float) -> dict[str, Any]:
        """What it says next. Raises as `messages.Inbox`, `TimeoutError` at the deadline, `EOFError` if it has died."""
        while (message := self._answers.message()) is None:
            self._await(deadline)
            self._answers.fill()
        return message[0]

    def _await(self, deadline: float) -> None:
        """Something that it has started may hold its socket open, so its death is watched too."""
        ready = wait([self._talk, *self._gone], max(0.0, deadline - monotonic()))
        if not ready:
            raise TimeoutError
        if self._talk not in ready and not wait([self._talk], 0):
            raise EOFError

    def kill(self) -> None:
        """Kill it and all that it has started, from any thread; `end` is still to be called."""
        with self._ending:
            if self._ended:  # its number may be another's by now
                return
            self._life.close()  # ends also one that is not yet a group of its own
            if sys.platform == "win32":
                self._process.kill()
                return
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._pid, signal.SIGKILL)

    def end(self) -> str:
        """Kill what is left of it, and let go of it; how it died: `SIGSEGV`, `exit code 7`."""
        self.kill()
        self._talk.close()
        for word in (*self._gone, self._process.sentinel):  # the sentinel may come a little before the end
            wait([word], REAPED_S)
        with self._ending:
            self._ended = True
        code = self._code()
        for each in self._gone:
            if sys.platform == "linux":
                os.close(each)
        self._gone = []
        return _name_of(code)

    def _code(self) -> int | None:
        """Its exit status, and let go of what multiprocessing holds of it; `None` if that is not to be had in time."""
        if not self._lock.acquire(timeout=REAPED_S):  # the fork server stands still, and somebody waits for it
            return None
        try:
            code = self._process.exitcode
            with suppress(ValueError):  # not gone yet: it is in the kernel's hands
                self._process.close()
        finally:
            self._lock.release()
        return code


def gone_when(process: BaseProcess) -> list[int]:
    """What becomes readable when a process dies, to be closed by the caller.

    multiprocessing's own sentinel is the fork server's word for it, and comes too when the fork server dies.
    """
    if sys.platform == "linux":
        try:
            return [os.pidfd_open(process.pid or 0)]
        except (AttributeError, OSError):  # an old kernel or Python; or it is dead, and its socket says so too
            return []
    return [process.sentinel] if sys.platform == "win32" else []


def _name_of(code: int | None) -> str:
    if code is None:
        return "it does not end"
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
