"""Where requests go: a URL taken apart, in whose path and query values of an event may stand, and nowhere else.

Scheme, host and port are the operator's own letters. A value in the path is one segment, or a part of one, whatever is
in it; it can neither climb the path nor begin a query.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import quote, unquote

from pydantic import SecretStr

from glycanbridge_http.templates import Template, TemplateFault, as_text

LONGEST_URL = 8000
"""Characters: what every server should take (RFC 9110), and far from what httpx refuses."""
_LOOPBACK = {"127.0.0.1", "[::1]", "localhost"}
_HOST = r"\[[0-9a-fA-F:]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?"
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_URL = re.compile(rf"(https?)://({_HOST})(?::([0-9]{{1,5}}))?(/.*|\?.*|)", re.DOTALL)
"""Nothing that two readers could read in two ways: no user before the host, no backslash in it."""
_REST = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*")
"""Path and query, as RFC 3986 has them, without a fragment."""
_PROXY = re.compile(rf"http://(?:([!-.0-9;-?A-~]*)(?::([!-.0-?A-~]*))?@)?({_HOST}):([0-9]{{1,5}})/?")
_VALUE = re.compile(r"(\{\{.*?\}\})", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Address:
    """A URL, taken apart. Path and query may be a secret (whoever knows a webhook can send there): in no `repr`."""

    tls: bool
    host: str
    port: int
    _path: Template = field(repr=False)
    _query: Template | None = field(repr=False)
    fixed: bool
    """No value of an event stands in it."""

    @classmethod
    def of(cls, url: SecretStr) -> Address:
        """The parts of `url`. Raises `ValueError` if it is not plainly one."""
        found = _URL.fullmatch(url.get_secret_value())
        if len(url.get_secret_value()) > LONGEST_URL:
            raise ValueError(f"expected an address of at most {LONGEST_URL} characters")
        if found is None or not 0 < int(found[3] or 1) < 65536:
            raise ValueError("expected a whole address, https://HOST/PATH, without a user before the host")
        tls, host = found[1] == "https", found[2].lower()
        _see_that_it_can_be(host)
        if not tls and host not in _LOOPBACK:
            raise ValueError("expected https://: what is sent would travel in clear")
        path, query = _parts(found[4])
        if not _REST.fullmatch(_VALUE.sub("x", found[4])):
            raise ValueError("expected a path and a query without spaces, # and the like: such signs as %20")
        if any(unquote(each) in {".", ".."} for each in path.split("/")):
            raise ValueError("expected a path without . and ..")
        port = int(found[3] or (443 if tls else 80))
        try:
            made = Template(path, escape=_in_path, statements=False)
            asked = None if query is None else Template(query, escape=_in_query, statements=False)
        except TemplateFault as fault:
            raise ValueError(fault.told) from None
        return cls(tls, host, port, made, asked, _VALUE.search(found[4]) is None)

    @property
    def origin(self) -> str:
        """Scheme, host and port: what no value can change."""
        return f"http{'s' if self.tls else ''}://{self}"

    def url(self, values: Mapping[str, object]) -> str:
        """The whole URL for an event. Raises `TemplateFault`."""
        query = "" if self._query is None else f"?{self._query.render(values)}"
        made = f"{self.origin}{self._path.render(values) or '/'}{query}"
        if len(made) > LONGEST_URL:
            raise TemplateFault(None, f"it makes an address of more than {LONGEST_URL} characters")
        return made

    def __str__(self) -> str:
        return self.host if self.port == (443 if self.tls else 80) else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ProxyAddress:
    """A proxy's URL, taken apart."""

    host: str
    port: int
    user: str | None = field(repr=False)
    password: str = field(repr=False)

    @classmethod
    def of(cls, url: SecretStr) -> ProxyAddress:
        """The parts of `url`. Raises `ValueError` if it is not one that Python can use."""
        found = _PROXY.fullmatch(url.get_secret_value())
        if found is None or not 0 < int(found[4]) < 65536:
            raise ValueError(
                "expected http://HOST:PORT or http://USER:PASSWORD@HOST:PORT, with signs such as @ in them as %40"
            )
        _see_that_it_can_be(found[3])
        user = None if found[1] is None else unquote(found[1])
        return cls(found[3].lower(), int(found[4]), user, unquote(found[2] or ""))

    @property
    def origin(self) -> str:
        """Where it is, without user and password."""
        return f"http://{self.host}:{self.port}"

    @property
    def auth(self) -> tuple[str, str] | None:
        """User and password, if it wants them."""
        return None if self.user is None else (self.user, self.password)

    def __str__(self) -> str:
        return f"the proxy {self.host}:{self.port}"


def _see_that_it_can_be(host: str) -> None:
    """Raise `ValueError` of a host that can be none: the system would say so only when an event is sent."""
    try:
        if host.startswith("["):
            IPv6Address(host[1:-1])
        elif re.fullmatch(r"[0-9.]+", host):
            IPv4Address(host)
        elif any(_LABEL.fullmatch(each) is None for each in host.split(".")):
            raise ValueError("expected a host's name: its parts between points have 1 to 63 letters")
    except AddressValueError:
        raise ValueError("expected a host, and this is no IP address") from None


def _parts(rest: str) -> tuple[str, str | None]:
    """Path and query, parted at the first `?` that stands in no `{{ }}`."""
    pieces = _VALUE.split(rest)
    for number in range(0, len(pieces), 2):
        before, mark, after = pieces[number].partition("?")
        if mark:
            return "".join([*pieces[:number], before]), "".join([after, *pieces[number + 1 :]])
    return rest, None


def _in_path(value: object) -> str:
    """A value in a path. Some servers read %2F as / and %25 twice, so such signs are refused, not escaped."""
    text = _one(value)
    if not text or set(text) <= {"."} or any(each in "/\\%" or not each.isprintable() for each in text):
        raise ValueError("expected a value that can be a part of a path: not empty, no dots alone, no /, \\ and %")
    return quote(text, safe="")


def _in_query(value: object) -> str:
    return quote(_one(value), safe="")


def _one(value: object) -> str:
    if isinstance(value, dict | list | tuple):
        raise TypeError("expected one value, not several")
    return as_text(value)
