"""A request signed as Standard Webhooks has it, so that whoever gets it knows who sent it, and when.

`webhook-id` is the delivery's id, the same in every attempt; `webhook-timestamp` is the attempt's. What is signed is
`ID.TIMESTAMP.BODY`, by HMAC-SHA256, with each of the secrets: during a rotation the far side takes either.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence

from pydantic import SecretStr

SIGNED = {"webhook-id", "webhook-timestamp", "webhook-signature"}
"""The headers' names."""
_PREFIX = "whsec_"


def key_of(secret: SecretStr) -> bytes:
    """The key in `whsec_<base64>`. Raises `ValueError` if it is not one."""
    told = secret.get_secret_value()
    try:
        key = base64.b64decode(told.removeprefix(_PREFIX), validate=True) if told.startswith(_PREFIX) else b""
    except binascii.Error:
        key = b""
    if not 24 <= len(key) <= 64:
        raise ValueError("expected whsec_ and then 24 to 64 random bytes in base64, as `openssl rand -base64 32` makes")
    return key


def signed(keys: Sequence[bytes], *, webhook_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers."""
    content = f"{webhook_id}.{timestamp}.".encode() + body
    made = [base64.b64encode(hmac.digest(key, content, "sha256")).decode() for key in keys]
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{each}" for each in made),
    }
