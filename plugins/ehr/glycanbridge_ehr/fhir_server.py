"""A FHIR server over HTTP: one client for all threads, with limits to how long and how large an answer may be.

It follows no redirect and uses no proxy, password or certificate that stands in the environment.
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlsplit

import httpx2

from glycanbridge import DestinationError, TemporaryError
from glycanbridge_ehr.fhir_answers import Answer
from glycanbridge_ehr.fhir_reach import for_people
from glycanbridge_ehr.settings_fhir import FhirSettings
from glycanbridge_ehr.smart import SmartAuth

_LARGEST_ANSWER_BYTES = 16 << 20
"""A large server's CapabilityStatement has some megabytes."""
_AGAIN_S = 5
"""Seconds to wait after a time-out: a quick try would not fit into the attempt."""
_FHIR = "application/fhir+json"
_STRICT = {"Prefer": "handling=strict", "Cache-Control": "no-cache"}
"""Servers may ignore a parameter they do not know, and answer with everything they have: they are asked to say so. And
they may answer the same search from memory for a while: what was just written would not be there."""


class Server(Protocol):
    """What those who write to a FHIR server need of it."""

    def get(self, path: str) -> Answer:
        """Read something at a path under the base."""

    def search(self, type_: str, query: str) -> Answer:
        """Search for resources of a type."""

    def send(self, method: str, path: str, resource: bytes, **headers: str) -> Answer:
        """Write a resource."""


class FhirServer:
    """The server of some settings. Nothing is opened before the first request."""

    def __init__(self, settings: FhirSettings, *, state: Path, now_s: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._state = state
        self._now_s = now_s
        self._opening = threading.Lock()
        self._client: httpx2.Client | None = None
        self._smart: SmartAuth | None = None
        for name in ("httpx2", "httpcore2"):  # they tell every URL, and a URL holds the patient's id
            logging.getLogger(name).setLevel(logging.WARNING)

    @property
    def name(self) -> str:
        """Where it is, for people: host, port and path."""
        parts = urlsplit(self._settings.url)
        return f"{parts.netloc}{parts.path}"

    def get(self, path: str) -> Answer:
        """Read something at a path under the base."""
        return self._ask("GET", path)

    def search(self, type_: str, query: str) -> Answer:
        """Search for resources of a type. Of a server that does not know a parameter, an error is asked for."""
        name, _, value = query.partition("=")
        return self._ask("GET", f"{type_}?{name}={quote(value, safe='')}&_count=5", headers=_STRICT)

    def send(self, method: str, path: str, resource: bytes, **headers: str) -> Answer:
        """Write a resource."""
        return self._ask(method, path, content=resource, headers={"Content-Type": _FHIR, **headers})

    def check_in(self) -> str:
        """Ask for a token, where tokens are asked for; what came of it, or nothing."""
        self._opened()
        return f"; {self._smart.check()}" if self._smart else ""

    def close(self) -> None:
        """Let go of connections. May be called twice."""
        with self._opening:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _ask(
        self, method: str, path: str, *, content: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request and its whole answer. Raises `TemporaryError` or `DestinationError` if there is none."""
        client = self._opened()
        until_s = self._now_s() + self._settings.connect_timeout_s + self._settings.read_timeout_s
        url = f"{self._settings.url}/{path}" if path else self._settings.url
        try:
            with client.stream(method, url, content=content, headers=headers) as response:
                return Answer(
                    status=response.status_code,
                    body=self._whole(response, until_s),
                    retry_after=response.headers.get("Retry-After"),
                    location=response.headers.get("Location"),
                )
        except httpx2.TimeoutException as error:
            said = f"{self.name}: no answer in time ({type(error).__name__}); it may have taken the result or not"
            raise TemporaryError(said, retry_after_s=_AGAIN_S) from None
        except httpx2.TransportError as error:
            raise self._unreached(error) from None
        except httpx2.HTTPError as error:  # an answer that cannot be unpacked
            raise TemporaryError(f"{self.name}: its answer cannot be read ({type(error).__name__})") from None

    def _whole(self, response: httpx2.Response, until_s: float) -> bytes:
        """An answer's body. Time and size are limited for all of it: a byte now and then is no answer either."""
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > _LARGEST_ANSWER_BYTES:
                raise DestinationError(f"{self.name}: it answers with more than {_LARGEST_ANSWER_BYTES >> 20} MB")
            if self._now_s() > until_s:
                raise TemporaryError(f"{self.name}: its answer does not end", retry_after_s=_AGAIN_S)
        return bytes(body)

    def _unreached(self, error: BaseException) -> TemporaryError | DestinationError:
        """What it means that no answer came. A certificate is a matter for people, all else passes."""
        trouble = for_people(error)
        if trouble is not None:
            return DestinationError(f"{self.name}: {trouble}")
        return TemporaryError(f"{self.name}: not reached, or cut off before its answer ({type(error).__name__})")

    def _opened(self) -> httpx2.Client:
        with self._opening:
            if self._client is None:
                self._client = self._open()
            return self._client

    def _open(self) -> httpx2.Client:
        settings, auth = self._settings, self._settings.auth
        timeout = httpx2.Timeout(settings.read_timeout_s, connect=settings.connect_timeout_s)
        client = httpx2.Client(
            headers={"Accept": _FHIR, "User-Agent": "glycanbridge-ehr"},
            verify=self._tls(),
            proxy=settings.proxy.get_secret_value() if settings.proxy else None,
            timeout=timeout,
            trust_env=False,
            follow_redirects=False,
        )
        if auth is not None and auth.basic is not None:
            client.auth = httpx2.BasicAuth(auth.basic.user, auth.basic.password.get_secret_value())
        if auth is not None and auth.bearer is not None:
            client.headers["Authorization"] = f"Bearer {auth.bearer.get_secret_value()}"
        if auth is not None and auth.smart is not None:
            client.auth = self._smart = SmartAuth(auth.smart, fhir_url=settings.url, state=self._state, client=client)
        return client

    def _key_password(self) -> str:
        """The key's password. Asked for even where there is none: else OpenSSL would ask on a terminal."""
        password = self._settings.key_password
        return password.get_secret_value() if password else ""

    def _tls(self) -> ssl.SSLContext:
        """Whom to trust, and what to show. Raises `DestinationError` if a file of it cannot be used."""
        ours, key = self._settings.certificate_file, self._settings.key_file
        file = self._settings.ca_file
        try:
            if file is None:
                context = httpx2.create_ssl_context(trust_env=False)
            else:
                context = ssl.create_default_context(cafile=file)
            if ours is not None:
                file = key or ours
                context.load_cert_chain(ours, key, password=self._key_password)
        except (OSError, ValueError) as error:
            raise DestinationError(f"{file}: cannot be used ({type(error).__name__}); expected PEM") from None
        return context
