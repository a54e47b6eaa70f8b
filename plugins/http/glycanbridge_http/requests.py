"""The request for a delivery: method, URL, headers and body, from settings and an event. Pure but for the clock."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from glycanbridge import Delivery, Event, PermanentError
from glycanbridge_http.address import Address
from glycanbridge_http.bodies import Body, as_signed, as_told, from_template, values
from glycanbridge_http.settings import HttpSettings
from glycanbridge_http.signing import key_of, signed
from glycanbridge_http.templates import TemplateFault

_AGENT = "glycanbridge-http"
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A request. Only its method may be shown: URL and headers are secrets, the body may be a patient's."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class Requests:
    """Makes the requests of some settings. It may be used by several threads at once."""

    def __init__(self, settings: HttpSettings, *, now_s: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._now_s = now_s
        self._address = Address.of(settings.url)
        self._body = _body_of(settings)
        auth = settings.auth
        self._keys = [key_of(each) for each in auth.hmac or ()] if auth else []
        own = {name: value.get_secret_value() for name, value in settings.headers.items()}
        theirs = {} if any(each.lower() == "user-agent" for each in own) else {"User-Agent": _AGENT}
        self._headers = theirs | own | _proof(settings)

    def of(self, event: Event, delivery: Delivery) -> Outgoing:
        """The request for a delivery. Raises `PermanentError` if a template cannot make it: it names its line."""
        personal = self._settings.personal
        body = self._made("body", lambda: self._body(event, delivery))
        url = self._made("url", lambda: self._address.url(values(event, delivery, personal)))
        headers = {"Content-Type": self._settings.content_type, **self._headers}
        if self._settings.idempotency_header:
            headers[self._settings.idempotency_header] = delivery.id
        headers |= self._signature(delivery.id, body)
        return Outgoing(method=self._settings.method, url=url, headers=headers, body=body)

    def check(self) -> Outgoing:
        """The request of a check: it looks, and tells nothing."""
        url = self._settings.check_url
        told = self._address.origin + "/" if url is None else Address.of(url).url({})
        headers = {**self._headers, **self._signature("check", b"")}
        return Outgoing(method="GET", url=told, headers=headers, body=b"")

    def _signature(self, webhook_id: str, body: bytes) -> dict[str, str]:
        if not self._keys:
            return {}
        return signed(self._keys, webhook_id=webhook_id, timestamp=int(self._now_s()), body=body)

    @staticmethod
    def _made(name: str, make: Callable[[], T]) -> T:
        try:
            return make()
        except TemplateFault as fault:
            mend = "mend it, look at it with the command preview, restart the bridge, and replay"
            raise PermanentError(f"{name}: {fault.told}; {mend}") from None


def _body_of(settings: HttpSettings) -> Body:
    if settings.as_signed:
        return as_signed
    if settings.body is None:
        return as_told(settings.personal)
    return from_template(settings.body, content_type=settings.content_type, personal=settings.personal)


def _proof(settings: HttpSettings) -> dict[str, str]:
    """The header that shows who asks, where it is always the same."""
    auth = settings.auth
    if auth is not None and auth.basic is not None:
        told = f"{auth.basic.user}:{auth.basic.password.get_secret_value()}"
        return {"Authorization": f"Basic {base64.b64encode(told.encode()).decode()}"}
    if auth is not None and auth.bearer is not None:
        return {"Authorization": f"Bearer {auth.bearer.get_secret_value()}"}
    return {}
