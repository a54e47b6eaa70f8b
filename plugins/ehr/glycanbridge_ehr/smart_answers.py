"""What a token endpoint's answers mean: a token, later, or a matter for people. Pure.

Of what it says about a failure only OAuth's own codes are kept: its texts may quote anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

from glycanbridge import DestinationError, TemporaryError
from glycanbridge_ehr.smart_tokens import LONGEST_LIFE_S, Token, may_be_token, used_for_s

AGAIN_S = 5
"""Seconds to wait after a failure that may pass: a quick try would not fit into the attempt."""
_TOO_MANY_S = 60
"""Seconds to leave an endpoint alone that has had too many requests and does not say for how long."""
_UNTOLD_LIFE_S = 300.0
"""How long a token is taken to be valid that does not say: SMART recommends no more."""
_NOTABLE_SKEW_S = 60
_ADVICE = {
    "invalid_client": "see client_id and kid, and that the EHR has the public half of the key",
    "invalid_scope": "see scope: the EHR must have granted all of it to this client",
    "invalid_request": "see token_url and client_id",
    "invalid_grant": "see that the EHR lets this client have tokens",
    "unauthorized_client": "see that the EHR lets this client have tokens",
    "unsupported_grant_type": "see token_url: SMART Backend Services are for client_credentials",
    "invalid_target": "see token_url",
    "access_denied": "see that the EHR lets this client have tokens",
}
"""What the registered codes ask the clinic to do (RFC 6749, 5.2, and those that came after it)."""
_PASSING = {"server_error", "temporarily_unavailable", "slow_down"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAnswer:
    """An HTTP answer of a token endpoint or of a SMART configuration, and what tells them apart for people: `at`."""

    at: str
    """Who answered, such as `token endpoint ehr.clinic.example`."""
    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def told(self) -> dict[str, Any]:
        """The JSON object in it; empty if there is none."""
        try:
            told = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return told if isinstance(told, dict) else {}


def token_in(answer: TokenAnswer, *, asked_at: float) -> Token:
    """The token in an answer. `asked_at` is when it was asked for, in seconds since 1970.

    Raises `DestinationError` or `TemporaryError` if there is none.
    """
    if answer.status != 200:
        raise failure(answer, now=asked_at)
    told = answer.told
    value, kind = told.get("access_token"), told.get("token_type")
    if not may_be_token(value):
        raise DestinationError(f"{answer.at}: HTTP 200 without a token; see that token_url is right")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise DestinationError(f"{answer.at}: its token is no bearer token, and the bridge knows no other kind")
    return Token(value=value, fetched_at=asked_at, life_s=used_for_s(_life_s(told.get("expires_in"))))


def lacking(answer: TokenAnswer, *, scope: str) -> list[str]:
    """What of the scope that was asked for is not in what was granted; empty where the answer does not say."""
    granted = answer.told.get("scope")
    return sorted(set(scope.split()) - set(granted.split())) if isinstance(granted, str) else []


def failure(answer: TokenAnswer, *, now: float) -> DestinationError | TemporaryError:
    """What an answer other than 200 means."""
    code = answer.told.get("error")
    code = code if isinstance(code, str) and (code in _ADVICE or code in _PASSING) else ""
    said = f"{answer.at}: HTTP {answer.status}{f' {code}' if code else ''}"
    asked_s = answer.headers.get("retry-after")
    if answer.status == 429:
        return DestinationError(f"{said}; it has had too many requests", retry_after_s=_seconds(asked_s, _TOO_MANY_S))
    if answer.status >= 500 or answer.status in {408, 425} or code in _PASSING:
        return TemporaryError(f"{said}; it cannot answer now", retry_after_s=_seconds(asked_s, AGAIN_S))
    if 300 <= answer.status < 400:
        return DestinationError(
            f"{said}; it points elsewhere, and keys follow no pointer: set token_url to the right one"
        )
    advice = _ADVICE.get(code, "see token_url, client_id and what the EHR lets this client do")
    return DestinationError(f"{said}; {advice}{_clocks(answer, now)}")


def _clocks(answer: TokenAnswer, now: float) -> str:
    """A clock that is wrong is a frequent reason for a refusal, and the answer tells the other one's time."""
    try:
        ahead_s = round(now - parsedate_to_datetime(answer.headers.get("date", "")).timestamp())
    except (ValueError, TypeError, OverflowError):
        return ""
    if abs(ahead_s) <= _NOTABLE_SKEW_S:
        return ""
    return f"; this machine's clock is {abs(ahead_s)} s {'ahead of' if ahead_s > 0 else 'behind'} the EHR's"


def _life_s(expires_in: object) -> float:
    """For how long a token is valid: seconds, which some servers write as text."""
    try:
        life_s = _UNTOLD_LIFE_S if expires_in is None else float(expires_in)  # type: ignore[arg-type]
    except (ValueError, TypeError, OverflowError):
        return _UNTOLD_LIFE_S
    return min(max(life_s, 0.0), LONGEST_LIFE_S) if life_s == life_s else _UNTOLD_LIFE_S  # noqa: PLR0124 (NaN)


def _seconds(retry_after: str | None, otherwise: float) -> float | str:
    """A `Retry-After` header as it came, if it is one: seconds or a date."""
    told = (retry_after or "").strip()
    return told if re.fullmatch(r"[0-9]{1,9}|[A-Z][a-z]{2,8}, .{8,40}", told) else otherwise
