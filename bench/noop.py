"""A plugin that does nothing but count how often it was handed each event, and what reads these counts.

A byte for each event, in a file that plugin and reader map into memory: the plugin takes a microsecond for it, and
looking how far it is costs the bridge nothing, however many deliveries wait.
"""

from __future__ import annotations

import mmap
from pathlib import Path

from pydantic import BaseModel

from bench.events import number_of
from glycanbridge import LocalPath, ReportReady, hookimpl

MOST_EVENTS = 8_000_000
BLOCK = 4_096
"""Events looked at together: more than all lanes hold at once, so that no block is begun before the one before it."""


class NoopSettings(BaseModel, extra="forbid"):
    """Where the counts are."""

    counts: LocalPath


class Noop:
    """Takes report-ready events. May run in any process, and in many at once."""

    Settings = NoopSettings

    def __init__(self, settings: NoopSettings) -> None:
        self._counts = _mapped(settings.counts)

    @hookimpl
    def on_report_ready(self, event: ReportReady) -> None:
        """Count it."""
        self._counts[number_of(event.data.report_id)] += 1


class Taken:
    """What the plugin of one destination was handed, read while it runs; the events are numbered from `first`."""

    def __init__(self, file: Path, *, first: int) -> None:
        with file.open("wb") as made:
            made.truncate(MOST_EVENTS)
        self._counts = _mapped(file)
        self._first = first
        self._begun = first
        self._open: list[int] = []
        self._full = 0

    def __len__(self) -> int:
        """How many events it was handed so far. Cheap: a block that is full is not looked at again."""
        while self._in_block(self._begun):
            self._open.append(self._begun)
            self._begun += BLOCK
        counts = {start: self._in_block(start) for start in self._open}
        self._open = [start for start, count in counts.items() if count < BLOCK]
        self._full += BLOCK * (len(counts) - len(self._open))
        return self._full + sum(count for count in counts.values() if count < BLOCK)

    def times(self) -> dict[int, int]:
        """How often it was handed each event that it was handed at all."""
        return {self._first + index: times for index, times in enumerate(self._counts[self._first :]) if times}

    def _in_block(self, start: int) -> int:
        return BLOCK - self._counts[start : start + BLOCK].count(0)


def _mapped(file: Path) -> mmap.mmap:
    with file.open("r+b") as opened:
        return mmap.mmap(opened.fileno(), 0)
