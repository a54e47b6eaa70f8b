"""`glycanbridge verify`: is this body signed with one of the bridge's secrets, and if not, which mistake is it."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import click

from glycanbridge.bridge_yaml import BridgeYaml
from glycanbridge.cli.options import config_option
from glycanbridge.diagnosis import diagnose
from glycanbridge.settings import PUBLISHED_SECRETS, load, secrets_in

LARGEST_BYTES = 67_108_864
"""What `receiver.max_body_bytes` allows at the most."""


@click.command
@click.argument("file", metavar="FILE", type=click.File("rb"))
@click.option("--signature", required=True, help="The value of X-GlycanAge-Signature as it came.")
@click.option(
    "--secret-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A file with a further secret to try, such as an old one.",
)
@config_option
def command(file: BinaryIO, signature: str, secret_file: Path | None, config: Path) -> None:
    """Say which secret a body is signed with; else which of the usual mistakes it is, by trying each; exit 1.

    FILE holds the raw bytes of the body, `-` is standard input. No secret and no right signature is ever printed.
    """
    source = BridgeYaml(config)
    secrets = {f"secret number {number} of receiver.secrets": each for number, each in secrets_in(source).items()}
    others = {} if secret_file is None else {f"the secret in {secret_file}": _secret(secret_file)}
    if not secrets and not others:
        load(source)  # it says what is wrong
    body = file.read(LARGEST_BYTES + 1)
    if len(body) > LARGEST_BYTES:
        raise click.ClickException(f"{file.name}: it is larger than {LARGEST_BYTES:,} bytes, which no bridge takes")
    found = diagnose(body, signature, secrets, others=others, published=PUBLISHED_SECRETS)
    for line in found.lines:
        click.echo(line)
    click.get_current_context().exit(0 if found.signed else 1)


def _secret(file: Path) -> str:
    """As `${file:...}` in bridge.yaml would have it."""
    try:
        return file.read_text(encoding="utf-8-sig").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{file}: cannot be read: {type(error).__name__}") from None
