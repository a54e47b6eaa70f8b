"""Turns what a host's process prints into log lines of the bridge: one record a line, cut, and not without end."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait

log = logging.getLogger("glycanbridge.plugin")

LONGEST_LINE = 1000
"""Characters of a line that are kept."""
MOST_LINES = 100
WINDOW_S = 10.0
"""At most `MOST_LINES` in so long; then one line says how many were dropped."""


class Lines:
    """The log lines of one destination's host, over all of its processes."""

    def __init__(self, destination: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._told = {"destination": destination}
        self._clock = clock
        self._lock = threading.Lock()  # the next process may begin before the last one's words are read
        self._until = 0.0
        self._count = 0
        self._dropped = 0

    def left_s(self) -> float | None:
        """How long until `tell_dropped` is due, in seconds; `None` if there is nothing to tell."""
        return max(0.0, self._until - self._clock()) if self._dropped else None

    def add(self, line: bytes) -> None:
        """Log a line, or count it as dropped."""
        text = line.decode("utf-8", "replace").strip()[:LONGEST_LINE]
        if not text:
            return
        with self._lock:
            if self._clock() >= self._until:
                self._until, self._count = self._clock() + WINDOW_S, 0
            self._count += 1
            kept = self._count <= MOST_LINES
            self._dropped += not kept
        if kept:
            self.tell_dropped()  # if there were any, then in the window before
            log.warning("%s", text, extra=self._told)

    def tell_dropped(self) -> None:
        """Say how many lines were dropped since this was last said."""
        with self._lock:
            dropped, self._dropped = self._dropped, 0
        if dropped:
            log.warning("%d lines of the plugin were dropped: it prints too many", dropped, extra=self._told)


def follow(source: Connection, gone: list[int], lines: Lines) -> None:
    """Log what comes out of `source` until it ends, or until the process is `gone` and all it printed is read.

    In a thread of its own; takes `source` and `gone` over, and closes them.
    """
    threading.Thread(target=_follow, args=(source, gone, lines), name="host-output", daemon=True).start()


def _follow(source: Connection, gone: list[int], lines: Lines) -> None:
    rest = b""
    while True:
        ready = wait([source, *gone], lines.left_s())
        if source in ready or (ready and source.poll()):
            chunk = os.read(source.fileno(), 65_536)
            if not chunk:
                break
            *ended, last = chunk.split(b"\n")
            for part in ended:
                lines.add(rest + part)
                rest = b""
            rest = (rest + last)[: LONGEST_LINE * 4]  # UTF-8 has at most four bytes for a character
        elif ready:  # something that escaped holds the other end: it is no business of ours
            break
        else:
            lines.tell_dropped()
    lines.add(rest)
    lines.tell_dropped()
    source.close()
    for each in gone:
        os.close(each)
