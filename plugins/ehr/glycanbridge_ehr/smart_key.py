"""The key that the bridge signs with when it asks for a token: what it is called, and what it signs.

By SMART App Launch 2.2, "Client Authentication: Asymmetric (public key)": RS384 or ES384, a new `jti` each time, and an
end at most five minutes away.
"""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from glycanbridge import DestinationError
from glycanbridge_ehr.settings_smart import SmartSettings

PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey

ASSERTION_LIFE_S = 180
"""Servers refuse more than 300; what is left is for clocks that differ, to either side."""
_SMALLEST_RSA_BITS = 2048
_LARGEST_PEM_BYTES = 64 << 10
_REQUIRED = {"crv", "e", "kty", "n", "x", "y"}
"""What a public key in JSON must have (RFC 7638, 3.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A private key, ready to sign."""

    algorithm: str
    kid: str
    """What the EHR calls it."""
    _private: PrivateKey = field(repr=False)

    def assertion(self, *, client_id: str, audience: str, now_s: float) -> str:
        """Who we are, signed, for the token endpoint `audience` alone and for once. A secret while it lives.

        It does not say when it was made: a server whose clock is behind ours would refuse it.
        """
        claims = {
            "iss": client_id,
            "sub": client_id,
            "aud": audience,
            "exp": int(now_s) + ASSERTION_LIFE_S,
            "jti": str(uuid.uuid4()),
        }
        return jwt.encode(claims, self._private, algorithm=self.algorithm, headers={"kid": self.kid})

    @property
    def public(self) -> dict[str, Any]:
        """Its public half, as an EHR wants it (RFC 7517)."""
        return {**_public(self._private), "alg": self.algorithm, "kid": self.kid, "use": "sig", "key_ops": ["verify"]}


def signing_key(settings: SmartSettings) -> SigningKey:
    """The key of some settings, as it is now. Raises `DestinationError` if it cannot be used."""
    private = _private_key(settings)
    made_for = "RS384" if isinstance(private, RSAPrivateKey) else "ES384"
    if settings.algorithm not in {None, made_for}:
        raise DestinationError(f"{_place(settings)}: this key signs {made_for}, but algorithm is {settings.algorithm}")
    return SigningKey(algorithm=made_for, kid=settings.kid or _thumbprint(private), _private=private)


def _place(settings: SmartSettings) -> str:
    return f"smart.key_file: {settings.key_file}" if settings.key_file else "smart.key"


def _private_key(settings: SmartSettings) -> PrivateKey:
    try:
        private = load_pem_private_key(_pem(settings), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # their texts may quote the key
        said = "expected a private key in PEM, without a password"
        raise DestinationError(f"{_place(settings)}: {said}") from None
    if isinstance(private, RSAPrivateKey) and private.key_size >= _SMALLEST_RSA_BITS:
        return private
    if isinstance(private, EllipticCurvePrivateKey) and isinstance(private.curve, SECP384R1):
        return private
    said = f"expected an RSA key of {_SMALLEST_RSA_BITS} bits or more, or an EC key on P-384"
    raise DestinationError(f"{_place(settings)}: {said}")


def _pem(settings: SmartSettings) -> bytes:
    if settings.key_file is None:
        return settings.key.get_secret_value().encode() if settings.key else b""
    try:
        with settings.key_file.open("rb") as file:
            return file.read(_LARGEST_PEM_BYTES)
    except OSError as error:
        raise DestinationError(f"{_place(settings)}: {error.strerror}; the bridge must be able to read it") from None


def _public(private: PrivateKey) -> dict[str, Any]:
    public = private.public_key()
    if isinstance(public, RSAPublicKey):
        return RSAAlgorithm.to_jwk(public, as_dict=True)
    return ECAlgorithm.to_jwk(public, as_dict=True)


def _thumbprint(private: PrivateKey) -> str:
    """RFC 7638: the same for everybody who has the public key."""
    jwk = _public(private)
    told = json.dumps({name: jwk[name] for name in sorted(jwk) if name in _REQUIRED}, separators=(",", ":"))
    return base64.urlsafe_b64encode(hashlib.sha256(told.encode()).digest()).rstrip(b"=").decode()
