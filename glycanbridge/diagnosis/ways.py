"""What is computed from a secret and a body where the way is wrong: no HMAC at all, or its two arguments exchanged."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping

from glycanbridge.diagnosis.forms import Remark

_DO = "sign with HMAC-SHA256, the secret as its key, and the raw body as what is signed"
_SWAPPED = Remark("way-swapped", "the body was used as the key, and the secret was signed with it", _DO)
_PLAIN = Remark("way-no-hmac", "it is a plain hash of the secret and the body together, and no HMAC", _DO)
_NO_SECRET = Remark("way-no-secret", "it is a plain hash of the body, without any secret: everybody could make it", _DO)


def other_ways(body: bytes, secrets: Mapping[str, str], digest: str) -> Iterator[tuple[str, str, Remark]]:
    """Of every wrong way: the secret's name, the hex digits that it gives, and what it is."""
    for name, secret in secrets.items():
        key = secret.encode()
        yield name, hmac.digest(body, key, digest).hex(), _SWAPPED
        for text in (key + body, body + key):
            yield name, hashlib.new(digest, text, usedforsecurity=False).hexdigest(), _PLAIN
    yield "no secret at all", hashlib.new(digest, body, usedforsecurity=False).hexdigest(), _NO_SECRET
