"""One access token for all who need it: the threads of a process, and the lanes of a destination, which are processes.

It is kept in memory and in a file in the state directory (0600), so that eight lanes that start at once fetch one
token, and a token that the server refuses is replaced once.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeGuard

from filelock import FileLock, Timeout

from glycanbridge import DestinationError, TemporaryError

LONGEST_LIFE_S = 86_400
"""Whatever a server or a file says: a token of more than a day is asked for anew."""
_LARGEST_FILE_BYTES = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An access token, and for how long it is used."""

    value: str = field(repr=False)
    fetched_at: float
    """When it was asked for, by the machine's clock: seconds since 1970."""
    life_s: float
    """For how long it is used from then on: shorter than it is valid."""

    def left_s(self, now: float) -> float:
        """For how long it may still be used. Not at all where the clock was set back since, for nobody knows then."""
        age_s = now - self.fetched_at
        return max(0.0, min(self.life_s, LONGEST_LIFE_S) - age_s) if age_s >= 0 else 0.0


def used_for_s(expires_in_s: float) -> float:
    """For how long a token is used that is valid for so long: a tenth less and 30 s less, but at least half of it."""
    return expires_in_s - min(max(expires_in_s / 10, 30), expires_in_s / 2)


def may_be_token(value: object) -> TypeGuard[str]:
    """Is it one as it may stand in a header? (RFC 6750, 2.1.)"""
    return isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", value) is not None


Fetch = Callable[[float], Token]
"""Asks for a new token; it must be there by the given time on the steady clock."""


class SharedToken:
    """The one token of a client, under a name that no other client has in this directory."""

    def __init__(
        self, directory: Path, *, name: str, clock: Callable[[], float], steady: Callable[[], float], wait_s: float
    ) -> None:
        self._directory = directory
        self._file = directory / f"token-{name}.json"
        self._clock = clock
        self._steady = steady
        self._wait_s = wait_s
        self._turn = threading.Lock()
        self._token: Token | None = None
        self._use_until = 0.0

    def get(self, fetch: Fetch, *, refused: str | None = None) -> str:
        """The token that all use; a new one if there is none, if it is about to end, or if it is the one `refused`.

        Raises `TemporaryError` if others take too long to fetch it, and whatever `fetch` raises.
        """
        until = self._steady() + self._wait_s
        with self._my_turn(until):
            if self._token is not None and self._token.value != refused and self._steady() < self._use_until:
                return self._token.value
            with self._lanes_turn(until):
                self._token = self._kept(refused) or self._fetched(fetch, until)
            self._use_until = self._steady() + self._token.left_s(self._clock())
            return self._token.value

    def _fetched(self, fetch: Fetch, until: float) -> Token:
        self._token = None
        token = fetch(until)
        with suppress(OSError):  # a full disk: the token is good all the same, and other lanes fetch their own
            self._keep(token)
        return token

    def _kept(self, refused: str | None) -> Token | None:
        """The token in the file, if it can still be used. One that was refused is removed, so that nobody uses it."""
        try:
            with self._file.open("rb") as file:
                told = json.loads(file.read(_LARGEST_FILE_BYTES))
            value, fetched_at, life_s = told["value"], float(told["fetched_at"]), float(told["life_s"])
        except (OSError, ValueError, TypeError, KeyError, OverflowError):
            return None
        if not may_be_token(value) or value == refused:
            with suppress(OSError):
                self._file.unlink(missing_ok=True)
            return None
        token = Token(value=value, fetched_at=fetched_at, life_s=life_s)
        return token if token.left_s(self._clock()) > 0 else None

    def _keep(self, token: Token) -> None:
        new = self._file.with_suffix(".new")
        new.unlink(missing_ok=True)  # a crash may have left it
        told = {"value": token.value, "fetched_at": token.fetched_at, "life_s": token.life_s}
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(told, file)
        new.replace(self._file)

    @contextmanager
    def _my_turn(self, until: float) -> Iterator[None]:
        if not self._turn.acquire(timeout=max(0.0, until - self._steady())):
            raise _taken_too_long()
        try:
            yield
        finally:
            self._turn.release()

    @contextmanager
    def _lanes_turn(self, until: float) -> Iterator[None]:
        lock = FileLock(self._file.with_suffix(".lock"), mode=0o600)
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock.acquire(timeout=max(0.0, until - self._steady()))
        except Timeout:
            raise _taken_too_long() from None
        except OSError as error:
            said = f"{self._directory}: {error.strerror}; it must be a directory of the bridge's"
            raise DestinationError(said) from None
        try:
            yield
        finally:
            lock.release()


def _taken_too_long() -> TemporaryError:
    return TemporaryError("another lane has been fetching a token for too long; it is tried again", retry_after_s=5)
