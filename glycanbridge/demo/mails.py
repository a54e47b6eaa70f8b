"""A mail server on loopback that keeps each mail as a file, and can be away for a while."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path

from glycanbridge.testing.smtp_peer import Mail, SmtpPeer

Told = Callable[[Path, tuple[str, ...]], object]
"""Hears of a mail that is kept: its file, and to whom it is."""


class MailCatcher:
    """Takes every mail and keeps it in a folder: `0001.eml`, `0002.eml`, ..., which mail programs open."""

    def __init__(self, folder: Path | None = None, *, port: int = 0, told: Told | None = None) -> None:
        """It listens at once; `folder` may be told later, before the first mail. `told` is called in its own thread.

        Raises `OSError` if somebody else has the port; 0 is any free one.
        """
        self.folder = folder
        self._told = told
        self._peer: _Keeping | None = _Keeping(port, self._keep)
        self.port = self._peer.port

    @property
    def listens(self) -> bool:
        """Whether it takes mails now."""
        return self._peer is not None

    def go_away(self) -> None:
        """Listen no more: whoever connects is refused."""
        if self._peer is not None:
            self._peer.close()
            self._peer = None

    def come_back(self) -> None:
        """Listen again, where it was."""
        if self._peer is None:
            self._peer = _Keeping(self.port, self._keep)

    def close(self) -> None:
        """End it."""
        self.go_away()

    def _keep(self, mail: Mail) -> str:
        if self.folder is None:
            return "451 4.3.0 there is no folder to keep it in"
        try:
            file = _write_new(self.folder, mail.content)
        except OSError:
            return "451 4.3.0 it cannot be kept"
        if self._told is not None:
            self._told(file, mail.recipients)
        return "250 2.0.0 kept"


class _Keeping(SmtpPeer):
    """Hands each mail on, and forgets it: it may listen for weeks."""

    def __init__(self, port: int, keep: Callable[[Mail], str]) -> None:
        self._keep = keep
        super().__init__(port=port)

    def reply_to(self, mail: Mail) -> str:
        self.mails.clear()
        self.commands.clear()
        return self._keep(mail)


def _write_new(folder: Path, content: bytes) -> Path:
    """Write the next file that is not there yet: the folder may have mails of another day. Raises `OSError`."""
    for number in itertools.count(1):
        file = folder / f"{number:04}.eml"
        if file.exists():
            continue
        try:
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        except FileExistsError:  # another mail of this moment
            continue
        try:
            with os.fdopen(handle, "wb") as opened:
                opened.write(content)
        except OSError:  # half a mail is none
            file.unlink()
            raise
        return file
    raise AssertionError  # there is always a next number
