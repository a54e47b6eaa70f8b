"""A mail server on loopback that keeps each mail as a file, and can be away for a while."""

from __future__ import annotations

import itertools
from pathlib import Path

from glycanbridge.testing.smtp_peer import SmtpPeer


class MailCatcher:
    """Takes every mail and keeps it in a folder: `0001.eml`, `0002.eml`, ..., which mail programs open."""

    def __init__(self, folder: Path | None = None) -> None:
        """It listens at once; `folder` may be told later, before the first mail."""
        self.folder = folder
        self._numbers = itertools.count(1)
        self._peer: SmtpPeer | None = self._opened(0)
        self.port = self._peer.port if self._peer else 0

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
            self._peer = self._opened(self.port)

    def close(self) -> None:
        """End it."""
        self.go_away()

    def _opened(self, port: int) -> SmtpPeer:
        peer = SmtpPeer(port=port)
        peer.answer(end=self._keep)
        return peer

    def _keep(self, content: str) -> str:
        if self.folder is None:
            return "451 4.3.0 there is no folder to keep it in"
        file = self.folder / f"{next(self._numbers):04}.eml"
        file.write_bytes(content.encode("latin-1"))
        return "250 2.0.0 kept"
