"""Runs a check in a thread of its own, and gives it up when one of its steps takes too long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Patience:
    """How long each step may take; every step says when it is over."""

    def __init__(self, step_s: float) -> None:
        """`step_s`: seconds for each step, whatever it calls."""
        self._step_s = step_s
        self._since_s = time.monotonic()
        self._over = False

    def step(self) -> None:
        """A step is over, and the next one begins."""
        if self._over:
            raise AssertionError("it has been given up")
        self._since_s = time.monotonic()

    def run(self, check: Callable[[], None], give_up: Callable[[], None]) -> None:
        """Run a check; what it raises is raised here. Raises `AssertionError` for a step that takes too long.

        `give_up` is called then: after it, all that can end comes to its end. What cannot is left behind.
        """
        raised: list[BaseException] = []

        def run() -> None:
            try:
                check()
            except BaseException as error:
                raised.append(error)

        thread = threading.Thread(target=run, daemon=True)
        self._since_s = time.monotonic()
        thread.start()
        while thread.is_alive() and (left_s := self._since_s + self._step_s - time.monotonic()) > 0:
            thread.join(left_s)
        if thread.is_alive():
            self._over = True
            give_up()
            thread.join(self._step_s)
            within = f"{self._step_s:g} s"
            raise AssertionError(
                f"it took longer than {within}: give the plugin a timeout of its own, a short one in this test"
            )
        for error in raised:
            raise error
