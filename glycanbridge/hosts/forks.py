"""Starts the hosts' processes, from a fork server where there is one: they share what it has imported.

multiprocessing's bookkeeping is not made for several threads, so all of it is done here, under one lock.
"""

from __future__ import annotations

import atexit
import multiprocessing
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from threading import Lock
from types import ModuleType
from weakref import WeakSet

from glycanbridge.hosts import CLOSE_S, inside, preloaded
from glycanbridge.hosts.child import Child, gone_when
from glycanbridge.hosts.messages import HostPlan
from glycanbridge.hosts.output import Lines, follow
from glycanbridge.retry import with_tries

TRIES = 4
"""The fork server may die at any time, as when a signal goes to the whole service: soon there is a new one."""


class Forks:
    """The processes of all hosts of a bridge. `method` is multiprocessing's; by default the best that there is."""

    def __init__(self, method: str | None = None) -> None:
        there_is_one = "forkserver" in multiprocessing.get_all_start_methods()
        self._context: BaseContext = multiprocessing.get_context(method or ("forkserver" if there_is_one else "spawn"))
        self._context.set_forkserver_preload([preloaded.__name__])
        self._lock = Lock()
        self._children: WeakSet[Child] = WeakSet()
        self.closed = False
        """The bridge stops: whatever a process says now is not to be believed."""
        atexit.register(self.close)  # before multiprocessing's own, which waits for every process

    def start(self, plan: HostPlan, lines: Lines) -> Child:
        """A new process, on its way to make the plugin's instance. Raises `OSError` or `EOFError` if there is none."""
        with self._lock:
            if self.closed:
                raise OSError("the bridge is stopping")
            return with_tries(lambda: self._start(plan, lines), tries=TRIES)

    def close(self) -> None:
        """Kill every process that is left; none is started any more."""
        atexit.unregister(self.close)
        self.closed = True
        free = self._lock.acquire(timeout=CLOSE_S)  # else a fork server stands still, and somebody waits for it
        left = list(self._children)
        if free:
            self._lock.release()
        for each in left:
            each.kill()

    def _start(self, plan: HostPlan, lines: Lines) -> Child:
        talk, their_talk = socket.socketpair()
        their_life, life = self._context.Pipe(duplex=False)
        output, their_output = self._context.Pipe(duplex=False)
        arguments = (plan, their_talk, their_life, their_output)
        process: BaseProcess = self._context.Process(  # type: ignore[attr-defined]
            target=inside.run, args=arguments, name=f"host-{plan.destination}", daemon=False
        )
        try:
            with _no_main_module():
                process.start()
        except BaseException:
            for end in (talk, life, output):
                end.close()
            raise
        finally:
            for end in (their_talk, their_life, their_output):
                end.close()
        child = Child(process, talk=talk, life=life, lock=self._lock)
        if sys.platform == "win32":  # there it prints where the bridge does
            output.close()
        else:
            follow(output, gone_when(process), lines)
        self._children.add(child)
        if self.closed:
            child.kill()
        return child


@contextmanager
def _no_main_module() -> Iterator[None]:
    """While a process starts there is no main module to speak of: multiprocessing would run ours in it once more."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
