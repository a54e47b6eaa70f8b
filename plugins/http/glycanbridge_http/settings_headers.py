"""The settings of what stands before the body: headers, and how the bridge shows who it is."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from glycanbridge_http.signing import SIGNED, key_of

STRICT = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)
NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
"""Of a header."""
_VALUE = re.compile(r"|[!-~](?:[\t -~]*[!-~])?")
"""No line end, which would begin another header, and no accents, which are not read alike everywhere."""
_THE_BRIDGES = {
    *("host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade", "expect"),
    *("proxy-connection", "proxy-authorization", "proxy-authenticate", "accept-encoding"),
}
"""Headers that frame a request, or lead it on its way."""


def _name(name: str) -> str:
    if NAME.fullmatch(name) is None:
        raise ValueError("expected a header's name, such as X-Api-Key")
    if name.lower() in _THE_BRIDGES:
        raise ValueError("expected another header: this one belongs to the connection, and the bridge sets it")
    if name.lower() == "content-type":
        raise ValueError("expected another header: content_type sets this one")
    return name


def _value(value: SecretStr) -> SecretStr:
    if _VALUE.fullmatch(value.get_secret_value()) is None:
        raise ValueError("expected a header's value: one line of plain signs, without spaces around it")
    return value


def _token(token: SecretStr) -> SecretStr:
    if re.fullmatch(r"[!-~]+", token.get_secret_value()) is None:
        raise ValueError("expected a token without spaces, line ends and accents")
    return token


def _user(user: str) -> str:
    if not user or ":" in user or not user.isprintable():
        raise ValueError("expected a user's name, without a colon")
    return user


def _key(secret: SecretStr) -> SecretStr:
    key_of(secret)
    return secret


HeaderName = Annotated[str, AfterValidator(_name)]
HeaderValue = Annotated[SecretStr, AfterValidator(_value)]
Key = Annotated[SecretStr, AfterValidator(_key)]


class Basic(BaseModel):
    """HTTP Basic."""

    model_config = STRICT

    user: Annotated[str, AfterValidator(_user)]
    """Without a colon, at which the far side would part it from the password."""
    password: Annotated[SecretStr, Field(min_length=1)]
    """Of this user, there."""


class AuthSettings(BaseModel):
    """How the bridge shows who it is: one of these."""

    model_config = STRICT

    basic: Basic | None = None
    """A user and a password."""
    bearer: Annotated[SecretStr, AfterValidator(_token)] | None = None
    """A token that does not change."""
    hmac: Annotated[tuple[Key, ...], Field(min_length=1, max_length=5)] | None = None
    """Secrets (`whsec_...`), each of which signs, as Standard Webhooks has it. Two during a rotation."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if sum(each is not None for each in (self.basic, self.bearer, self.hmac)) != 1:
            raise ValueError("expected exactly one of basic, bearer and hmac")
        return self


def headers_of(auth: AuthSettings | None, idempotency_header: str | None) -> set[str]:
    """The headers that the bridge sets for these settings, in small letters."""
    ours = {idempotency_header.lower()} if idempotency_header else set()
    if auth is not None:
        ours |= SIGNED if auth.hmac else {"authorization"}
    return ours
