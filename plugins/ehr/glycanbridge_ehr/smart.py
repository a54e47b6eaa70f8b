"""Lets the bridge into a FHIR server by SMART Backend Services: a signed assertion for a token for all requests.

A refused token is replaced once and the request sent once more; a second refusal is the caller's.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import httpx2

from glycanbridge import DestinationError, TemporaryError
from glycanbridge_ehr.fhir_reach import for_people
from glycanbridge_ehr.settings_smart import SmartSettings, endpoint
from glycanbridge_ehr.smart_answers import AGAIN_S, TokenAnswer, failure, lacking, token_in
from glycanbridge_ehr.smart_key import SigningKey, signing_key
from glycanbridge_ehr.smart_tokens import SharedToken, Token

_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_LARGEST_ANSWER_BYTES = 256 << 10


class SmartAuth(httpx2.Auth):
    """Puts a token on each request to `fhir_url`'s server, and on none to any other. Safe to use from several threads.

    Give it to the `client` that it asks for tokens with, as its `auth`. All that use the same `state` share a token.
    Whatever it raises is a `DestinationError` or a `TemporaryError`, without a secret in it.
    """

    def __init__(
        self,
        settings: SmartSettings,
        *,
        fhir_url: str,
        state: Path,
        client: httpx2.Client,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._origin = _origin(httpx2.URL(fhir_url))
        self._clock = clock
        self._steady = steady
        self._endpoint = _TokenEndpoint(settings, fhir_url=fhir_url, client=client, clock=clock, steady=steady)
        whose = json.dumps([fhir_url, settings.token_url, settings.client_id, settings.scope])
        name = hashlib.sha256(whose.encode()).hexdigest()[:32]
        self._token = SharedToken(state, name=name, clock=clock, steady=steady, wait_s=settings.timeout_s)

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """The request with its token, and once more with a new one if that was refused."""
        if _origin(request.url) != self._origin:
            yield request
            return
        token = self._token.get(self._endpoint.fetch)
        request.headers["Authorization"] = f"Bearer {token}"
        response = yield request
        if response.status_code == 401:
            request.headers["Authorization"] = f"Bearer {self._token.get(self._endpoint.fetch, refused=token)}"
            yield request

    def check(self) -> str:
        """Ask for a token that nobody uses; what came of it, in a line."""
        return self._endpoint.check(self._steady() + self._settings.timeout_s)


class _TokenEndpoint:
    """Where tokens are given. What the server says of where that is, is read anew after every failure."""

    def __init__(
        self,
        settings: SmartSettings,
        *,
        fhir_url: str,
        client: httpx2.Client,
        clock: Callable[[], float],
        steady: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._configuration = f"{fhir_url.rstrip('/')}/.well-known/smart-configuration"
        self._client = client
        self._clock = clock
        self._steady = steady
        self._found: str | None = None

    def fetch(self, until: float) -> Token:
        """A new token, by `until` on the steady clock."""
        asked_at = self._clock()
        answer = self._asked(signing_key(self._settings), until)
        try:
            return token_in(answer, asked_at=asked_at)
        except (DestinationError, TemporaryError):
            self._found = None
            raise

    def check(self, until: float) -> str:
        """Ask for a token; with which key, for how long it is used, and what it does not allow."""
        key = signing_key(self._settings)
        answer = self._asked(key, until)
        token = token_in(answer, asked_at=self._clock())
        without = lacking(answer, scope=self._settings.scope)
        but = f", but without {' '.join(without)}" if without else ""
        return (
            f"{answer.at} gives tokens for the key {key.kid} ({key.algorithm}), used for {token.life_s:.0f} s each{but}"
        )

    def _asked(self, key: SigningKey, until: float) -> TokenAnswer:
        url = self._settings.token_url or self._found or self._looked_up(until)
        assertion = key.assertion(client_id=self._settings.client_id, audience=url, now_s=self._clock())
        form = {
            "grant_type": "client_credentials",
            "scope": self._settings.scope,
            "client_assertion_type": _ASSERTION_TYPE,
            "client_assertion": assertion,
        }
        try:
            answer = self._ask("POST", url, at=f"token endpoint {_host(url)}", until=until, form=form)
        except (DestinationError, TemporaryError):
            self._found = None
            raise
        if self._settings.token_url is None:
            self._found = url
        return answer

    def _looked_up(self, until: float) -> str:
        at = f"SMART configuration of {_host(self._configuration)}"
        answer = self._ask("GET", self._configuration, at=at, until=until)
        if answer.status in {401, 403, 404, 405, 406, 410}:
            raise DestinationError(f"{at}: HTTP {answer.status}; it says of no token endpoint: set token_url")
        if answer.status != 200:
            raise failure(answer, now=self._clock())
        try:
            return endpoint(str(answer.told.get("token_endpoint", "")))
        except ValueError:
            raise DestinationError(f"{at}: no token_endpoint with https in it; set token_url") from None

    def _ask(self, method: str, url: str, *, at: str, until: float, form: dict[str, str] | None = None) -> TokenAnswer:
        """One request and its whole answer: never by way of a pointer elsewhere, never with a token."""
        left_s = until - self._steady()
        if left_s <= 0:
            raise TemporaryError(f"{at}: no time is left to ask it", retry_after_s=AGAIN_S)
        headers, timeout = {"Accept": "application/json"}, httpx2.Timeout(left_s, connect=left_s / 2)
        try:
            request = self._client.build_request(method, url, data=form, headers=headers, timeout=timeout)
            with closing(self._client.send(request, auth=None, follow_redirects=False, stream=True)) as response:
                body = self._whole(response, at=at, until=until)
        except httpx2.InvalidURL:
            raise DestinationError(f"{at}: this is no address; see token_url") from None
        except httpx2.HTTPError as error:
            raise _unreached(error, at=at) from None
        return TokenAnswer(at=at, status=response.status_code, headers=response.headers, body=body)

    def _whole(self, response: httpx2.Response, *, at: str, until: float) -> bytes:
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > _LARGEST_ANSWER_BYTES:
                raise DestinationError(
                    f"{at}: it answers with more than {_LARGEST_ANSWER_BYTES >> 10} kB; see token_url"
                )
            if self._steady() > until:
                raise TemporaryError(f"{at}: its answer does not end", retry_after_s=AGAIN_S)
        return bytes(body)


def _unreached(error: Exception, *, at: str) -> DestinationError | TemporaryError:
    """What it means that no answer came: a certificate is a matter for people, all else passes."""
    trouble = for_people(error)
    if trouble is not None:
        return DestinationError(f"{at}: {trouble}")
    return TemporaryError(f"{at}: not reached, or no whole answer ({type(error).__name__})", retry_after_s=AGAIN_S)


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port or {"https": 443, "http": 80}.get(url.scheme)


def _host(url: str) -> str:
    """Where that is, for people: host and port."""
    return urlsplit(url).netloc
