"""Which messages went out and were neither taken nor refused for good: their receivers may have them.

An empty file for each, named by a digest. If they are lost, a receiver's "duplicate" is taken for a refusal, and a
person looks.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from glycanbridge import DestinationError


class Unsettled:
    """The directory `unsettled` in the plugin's own, made when it is first needed (0700)."""

    def __init__(self, state: Path) -> None:
        self._directory = state / "unsettled"

    def begin(self, control_id: str) -> bool:
        """Keep in mind that a message leaves; whether it may have left before."""
        file = self._directory / control_id
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            left_before = file.exists()
            file.touch(mode=0o600)
        except OSError as error:
            raise DestinationError(f"{file}: {error.strerror}; see that the bridge can write there") from None
        return left_before

    def settle(self, control_id: str) -> None:
        """Its receiver has taken or refused it."""
        with suppress(OSError):  # it is settled whether or not this can be written down
            (self._directory / control_id).unlink()
