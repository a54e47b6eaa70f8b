"""A FHIR server with a token endpoint, made by hand for what a real one seldom does; and keys to ask it with."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import httpx2
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from fhir_front import Answer, Front, Received
from glycanbridge_ehr.settings_smart import SmartSettings
from glycanbridge_ehr.smart import SmartAuth

CLIENT_ID = "glycanbridge-at-the-clinic"
DISCOVERY = "/.well-known/smart-configuration"
KEYS = {
    "RS384": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
}


class Clock:
    """A wall clock that stands still until it is turned or set, and the steady clock beside it; seconds."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.0
        self.passed = 0.0

    def __call__(self) -> float:
        return self.now

    def steady(self) -> float:
        """What only ever runs forward."""
        return self.passed

    def turn(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.passed += seconds

    def set_by(self, seconds: float) -> None:
        """Set the wall clock: no time passes."""
        self.now += seconds


def pem(key, *, password: bytes | None = None) -> bytes:
    """A private key as it stands in a file."""
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def public_pem(key) -> bytes:
    """Its public half, as it stands in a file."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


class Site:
    """The server. It gives `secret-1`, `secret-2`, ... for assertions by `key`, and lets in who has one of `good`."""

    def __init__(self, *, tls=None, clock=time.time) -> None:
        self.front = Front(answering=self._answer, tls=tls)
        self.fhir_url = f"{self.front.url}/fhir"
        self.token_url = f"{self.front.url}/token"
        self.key = KEYS["ES384"]
        self.client_ids = {CLIENT_ID}
        self.good: set[str] = set()
        self.given: list[str] = []
        self.told: dict[str, object] = {"token_type": "Bearer", "expires_in": 300}
        self.assertions: list[dict[str, object]] = []
        self.forms: list[dict[str, str]] = []
        self._clock = clock
        self._lock = threading.Lock()

    def revoke(self) -> None:
        """Let nobody in who has a token by now."""
        self.good.clear()

    def _answer(self, request: Received) -> Answer:
        with self._lock:
            if request.path == f"/fhir{DISCOVERY}":
                return _json(200, {"token_endpoint": self.token_url})
            if request.path == "/token":
                return self._token(request)
            token = request.headers.get("authorization", "").removeprefix("Bearer ")
            return _json(200, {"resourceType": "Bundle"}) if token in self.good else _json(401, {})

    def _token(self, request: Received) -> Answer:
        form = request.form
        self.forms.append(form)
        try:
            options = {"verify_exp": False}
            claims = jwt.decode(form["client_assertion"], self.key.public_key(), algorithms=["RS384", "ES384"],
                                audience=self.token_url, options=options)  # fmt: skip
        except (jwt.PyJWTError, TypeError):  # TypeError: a key of the other kind
            return _json(401, {"error": "invalid_client", "error_description": "patient_123"})
        used = any(each["jti"] == claims["jti"] for each in self.assertions)
        if used or claims["iss"] not in self.client_ids or not 0 < claims["exp"] - self._clock() <= 240:
            return _json(401, {"error": "invalid_client"})
        self.assertions.append(claims)
        self.given.append(f"secret-{len(self.given) + 1}")
        self.good.add(self.given[-1])
        return _json(200, {"access_token": self.given[-1], **self.told})


def _json(status: int, body: object) -> Answer:
    return Answer(status, json.dumps(body).encode(), (("Content-Type", "application/json"),))


def settings_of(folder: Path, private=KEYS["ES384"], **more) -> SmartSettings:
    """Settings with a key in a file in `folder`."""
    if "key" not in more:
        file = folder / "key.pem"
        file.write_bytes(pem(private))
        more = {"key_file": file} | more
    return SmartSettings(**{"client_id": CLIENT_ID} | more)


@contextmanager
def lane(settings: SmartSettings, *, fhir_url: str, state: Path, verify=True, proxy=None, **more):
    """A client as a lane has it, and its `auth`."""
    headers = {"Accept": "application/fhir+json"}
    with httpx2.Client(timeout=30, trust_env=False, headers=headers, verify=verify, proxy=proxy) as client:
        client.auth = SmartAuth(settings, fhir_url=fhir_url, state=state, client=client, **more)
        yield client
