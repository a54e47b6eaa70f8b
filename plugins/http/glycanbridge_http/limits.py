"""How much one rendering of a template may take: steps, time, and what it makes on the way, not only what it prints.

Templates are tried in the bridge's own process at its start: what has no bound here is all of the machine's.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TypeVar

from jinja2.runtime import Undefined

LARGEST_TEXT = 1 << 20
"""Characters of what a template makes, and of any text or list on the way: as much as a request of GlycanAge's."""
MOST_MADE = 8 * LARGEST_TEXT
"""Characters of all texts and lists on the way together."""
MOST_STEPS = 100_000
"""Rounds of all of a template's loops together, those within filters among them."""
MOST_CPU_S = 2.0
"""Seconds of one rendering: the processor's and not the clock's, so that a busy machine makes no dead letter."""
LARGEST_BITS = 64
"""Of a number: work with large ones takes long."""

T = TypeVar("T")


class RefusedError(ValueError):
    """A template does what it may not, or too much; in its words stands no value."""


class Limits:
    """What one rendering has taken so far. Every method raises `RefusedError` if it is too much."""

    def __init__(self) -> None:
        self._steps = 0
        self._made = 0
        self._until_s = time.thread_time() + MOST_CPU_S

    def step(self, number: int = 1) -> None:
        """Go on by so many steps."""
        self._steps += number
        if self._steps > MOST_STEPS:
            raise RefusedError(f"its loops and filters go round more than {MOST_STEPS} times")
        self._look_at_the_time()

    def loop(self, items: Iterable[object]) -> Iterator[object]:
        """The items, each at the cost of a step."""
        for each in items:
            self.step()
            yield each

    def made(self, value: T) -> T:
        """A value that a template has made on the way, as it is."""
        self._look_at_the_time()
        self._made += self._size(value)
        if self._made > MOST_MADE:
            raise RefusedError(f"it makes more than {MOST_MADE} characters on the way")
        return value

    def room(self, characters: int) -> None:
        """See that a text of so many may be made, before it is."""
        if characters > LARGEST_TEXT:
            raise RefusedError(f"it makes more than {LARGEST_TEXT} characters")

    def _look_at_the_time(self) -> None:
        if time.thread_time() > self._until_s:
            raise RefusedError(f"it takes more than {MOST_CPU_S:g} s")

    def _size(self, value: object) -> int:
        """Characters, and one for each thing: what is in it twice counts twice, for so it would be printed."""
        size, left = 0, [value]
        while left:
            each = left.pop()
            size += 1
            if isinstance(each, str):
                size += len(each)
            elif isinstance(each, int) and each.bit_length() > LARGEST_BITS:
                raise RefusedError(f"it makes a number of more than {LARGEST_BITS} bits")
            elif isinstance(each, Collection) and not isinstance(each, range | Undefined):
                self.room(size + len(left) + len(each))
                self._look_at_the_time()
                left.extend(each)
                left.extend(each.values() if isinstance(each, Mapping) else ())
            self.room(size)
        return size
