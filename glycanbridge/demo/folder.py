"""The demo's folder: a `bridge.yaml` as a clinic would have it, its secret, and nothing else yet."""

from __future__ import annotations

import os
import secrets
import tempfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from glycanbridge.errors import GlycanBridgeError


class DemoError(GlycanBridgeError):
    """The demo cannot begin; the text says what to do."""


@dataclass(frozen=True, slots=True)
class DemoFolder:
    """Where a demo keeps everything."""

    path: Path

    @property
    def config(self) -> Path:
        """Its `bridge.yaml`."""
        return self.path / "bridge.yaml"

    @property
    def exports(self) -> Path:
        """The CSV files."""
        return self.path / "var" / "exports"

    @property
    def mails(self) -> Path:
        """The mails that were sent, a file each."""
        return self.path / "var" / "mails"

    @property
    def log(self) -> Path:
        """The bridge's log."""
        return self.path / "var" / "bridge.log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Where GlycanAge is, and what the clinic is there."""

    base_url: str
    email: str
    token: str


def make_folder(wanted: Path | None, account: Account, *, port: int, mail_port: int) -> DemoFolder:
    """Write the demo's files into an empty folder, by default a new one for temporary files.

    Raises `DemoError` if there is something in it already: a demo must not touch a real bridge.
    """
    path = Path(tempfile.mkdtemp(prefix="glycanbridge-demo-")) if wanted is None else wanted.absolute()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise DemoError(f"{path}: there is something in it; name an empty folder, or none: the demo makes one")
        folder = DemoFolder(path)
        folder.mails.mkdir(mode=0o700, parents=True)
        folder.mails.parent.chmod(0o700)
        text = (resources.files("glycanbridge.demo") / "bridge.yaml").read_text("utf-8")
        told = {"PORT": port, "API": account.base_url, "EMAIL": account.email, "MAIL_PORT": mail_port}
        for name, value in told.items():
            text = text.replace(f"@{name}@", str(value))
        folder.config.write_text(text, encoding="utf-8")
        _write_secret(path / "var" / "webhook-secret", secrets.token_urlsafe(48))
        _write_secret(path / "var" / "glycanage-token", account.token)
    except OSError as error:
        raise DemoError(f"{path}: {error.strerror}; name another folder with --folder") from None
    return folder


def _write_secret(file: Path, text: str) -> None:
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as opened:
        opened.write(f"{text}\n")
