"""Is this body GlycanAge's? HMAC-SHA256 over the raw bytes, as the vendor's page says.

"We compute a signature using your provided secret and include it in the X-GlycanAge-Signature header", in the form
`sha256=<hex>` (GlycanAge, "Webhooks", Authentication). The vendor's samples compare with `==` and sign a re-serialised
body; we compare in constant time and over the bytes that came.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence

from glycanbridge.errors import SignatureError

HEADER = "X-GlycanAge-Signature"
_FORM = re.compile(r"sha256=([0-9a-fA-F]{64})", re.ASCII)
_MALFORMED = tuple(
    (detail, re.compile(form, re.ASCII))
    for detail, form in (
        ("came twice", r"[^,]*,.*"),
        ("without sha256=", r"[0-9a-fA-F]{64}"),
        ("another digest than sha256", r"(?i:sha-?1|sha-?384|sha-?512|md5)=.*"),
        ("sha256 in upper case", r"(?!sha256)(?i:sha256)=[0-9a-fA-F]{64}"),
        ("base64 instead of hex", r"(sha256=)?[0-9A-Za-z+/_-]{43}=?"),
        ("wrong length", r"(sha256=)?[0-9a-fA-F]*"),
    )
)
"""What is usually wrong with a header's form; the first that fits is told."""


def sign(body: bytes, secret: str) -> str:
    """The header's value for `body`, signed with `secret` (UTF-8): `sha256=` and 64 lower-case hex digits."""
    return "sha256=" + _digest(body, secret).hex()


def verify(body: bytes, header: str | None, secrets: Sequence[str]) -> int:
    """Which of `secrets` signed `body`, counted from 0; every one is tried, so that time does not tell which one fits.

    `header` is the header's value as it came, `None` if there was none. The prefix must be exact; hex digits may be in
    either case, since they name the same bytes.

    Raises `SignatureError` with the reason `missing`, `malformed` or `wrong`.
    """
    if not header:
        raise SignatureError("missing")
    form = _FORM.fullmatch(header)
    if form is None:
        raise SignatureError("malformed", next((told for told, usual in _MALFORMED if usual.fullmatch(header)), ""))
    claimed = bytes.fromhex(form[1])
    fits = [hmac.compare_digest(claimed, _digest(body, secret)) for secret in secrets]
    if not any(fits):
        raise SignatureError("wrong")
    return fits.index(True)


def fingerprint(secret: str) -> str:
    """Eight hex digits that tell one secret from another.

    Of a random secret they tell nothing else. One that can be guessed can be guessed by them as well.
    """
    return hashlib.sha256(b"glycanbridge fingerprint:" + secret.encode()).hexdigest()[:8]


class Secrets:
    """The secrets of one bridge: any of them may have signed, and which of them have is remembered in memory."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = tuple(secrets)
        self.fingerprints = tuple(map(fingerprint, secrets))
        """Of each, in their order."""
        self._signed: set[int] = set()

    def verify(self, body: bytes, header: str | None) -> None:
        """Return if one of them signed `body`. Raises `SignatureError` as the function does."""
        self._signed.add(verify(body, header, self._secrets))

    def signed(self) -> set[str]:
        """The fingerprints of those that have signed since this was last asked.

        A signature that is verified in the same instant may be left out; the next one with that secret is told.
        """
        signed, self._signed = self._signed, set()
        return {self.fingerprints[each] for each in signed}


def _digest(body: bytes, secret: str) -> bytes:
    return hmac.digest(secret.encode(), body, hashlib.sha256)
