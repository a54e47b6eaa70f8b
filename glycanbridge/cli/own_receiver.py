"""Where this bridge's own receiver is, as seen from the same machine, and the secret to sign with."""

from __future__ import annotations

from pathlib import Path

import click

from glycanbridge.settings import ReceiverSettings

secret_file_option = click.option(
    "--secret-file",
    type=click.Path(path_type=Path),
    help="The file of the secret to sign with; by default the first of receiver.secrets.",
)


def own_url(receiver: ReceiverSettings) -> str:
    """The address to post to. Raises `click.UsageError` if `bridge.yaml` leaves the port open."""
    if receiver.port == 0:
        raise click.UsageError("receiver.listen has port 0: name the address that `serve` printed with --to URL")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(receiver.host, receiver.host)  # noqa: S104 (any = ourselves)
    return f"http://{f'[{host}]' if ':' in host else host}:{receiver.port}{receiver.path}"


def signing_secret(file: Path | None, receiver: ReceiverSettings) -> str:
    """The secret in `file`, or the receiver's first one. Raises `click.UsageError` as `secret_in` does."""
    return receiver.secrets[0].get_secret_value() if file is None else secret_in(file)


def secret_in(file: Path) -> str:
    """What `--secret-file` names, without the blanks around it. Raises `click.UsageError` if there is no secret."""
    try:
        secret = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise click.UsageError(f"--secret-file {file}: {why}") from None
    if not secret:
        raise click.UsageError(f"--secret-file {file}: it is empty")
    return secret
