"""What GlycanAge's API answers, as one line for people: which status or failure it is, why, and what to do. Pure.

The vendor's page documents no error and no format of one, so the status says what it is, and its words are only quoted
where they are plain text in JSON.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2

from glycanbridge.errors import GlycanAgeError

_SAID = ("message", "error", "detail", "description", "title")
LONGEST_SAID = 200
PIECE = 6
"""So many signs of a secret are a secret."""
_REASONS = {
    400: "it does not take what was sent",
    401: "it does not know this e-mail address with this token: see glycanage.email and glycanage.token",
    403: "this account may not do that: ask GlycanAge which rights the token has",
    404: "there is no such thing: see glycanage.base_url, and `glycanbridge webhooks list`",
    405: "it does not know this method there: see glycanage.base_url",
    409: "there is such a one already: `glycanbridge webhooks list` shows it",
    422: "it does not take what was sent",
    429: "it was asked too often: try again later",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer that was wanted: a status of 200 to 299, and the whole body, which may be a patient's."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    def json(self, *, to: str) -> Any:
        """The body, read as JSON. Raises `GlycanAgeError` if it is none, as when a proxy's page stands before it."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise GlycanAgeError(f"{to}: {_not_json(self)}", status=self.status) from None


def refused(
    status: int, headers: Mapping[str, str], body: bytes, *, to: str, quote: bool, hidden: Sequence[str] = ()
) -> GlycanAgeError:
    """The error that an unwanted status is; `quote`: what is said there is about us, not about a patient.

    Nothing is quoted that has a piece of what is `hidden` in it: an answer may repeat what was sent, a secret too.
    """
    reason = _REASONS.get(status) or _by_hundred(status)
    if status in {404, 410} and not quote:
        reason = "GlycanAge has no such report, or not yet"
    said = _said(body, hidden) if quote else ""
    if "html" in headers.get("content-type", "").lower():
        reason += "; the answer is a web page: is glycanage.base_url the API, or does a proxy stand before it?"
    asked_s = _seconds(headers.get("retry-after"))
    wait = f" (in {asked_s:.0f} s)" if asked_s is not None else ""
    return GlycanAgeError(
        f"{to}: answered {status}: {reason}{wait}{f'; it says: {said}' if said else ''}",
        status=status,
        temporary=status in {408, 425, 429} or status >= 500,
        retry_after_s=asked_s,
    )


def unreachable(error: Exception, *, to: str, timeout_s: float, late: bool) -> GlycanAgeError:
    """The error that a missing answer is; `late`: the time was over."""
    cause = _cause(error)
    temporary = True
    if isinstance(cause, ssl.SSLCertVerificationError):
        why, temporary = f"its certificate is not trusted ({cause.verify_message}): see glycanage.ca_file", False
    elif late:
        why = f"no whole answer within {timeout_s:g} s (glycanage.timeout_s)"
    elif isinstance(cause, socket.gaierror):
        why = "its name cannot be resolved: see glycanage.base_url and this machine's DNS"
    elif isinstance(error, httpx2.ProxyError):
        why, temporary = "the proxy does not let it through: see glycanage.proxy", False
    elif isinstance(cause, ssl.SSLError):
        why = f"it speaks no TLS that can be trusted ({cause.reason})"
    else:
        why = getattr(cause, "strerror", None) or f"it broke off before it had answered ({type(error).__name__})"
    return GlycanAgeError(f"{to}: {why}", temporary=temporary, late=late)


def _by_hundred(status: int) -> str:
    if status >= 500:
        return "it cannot do it now: try again later"
    if 300 <= status < 400:
        return "it sends us somewhere else, which is not followed: see glycanage.base_url"
    return "nothing is known of such an answer; GlycanAge's support may"


def _said(body: bytes, hidden: Sequence[str]) -> str:
    """What a JSON error says, in one line of printable signs; nothing if it is not plainly that."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    for name in _SAID:
        text = told.get(name) if isinstance(told, dict) else None
        if isinstance(text, dict):
            text = text.get("message")
        if isinstance(text, list):
            text = "; ".join(each for each in text if isinstance(each, str))
        if isinstance(text, str) and text.strip():
            if any(_has_a_piece(text, each) for each in hidden):
                return ""
            line = "".join(each if each.isprintable() else " " for each in text)
            return " ".join(line.split())[:LONGEST_SAID]
    return ""


def _has_a_piece(text: str, hidden: str) -> bool:
    """Whether six signs of it in a row stand in the text, or all of it if it is shorter."""
    starts = range(max(1, len(hidden) - PIECE + 1))
    return bool(hidden) and any(hidden[start : start + PIECE] in text for start in starts)


def _not_json(answer: Answer) -> str:
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower() or "nothing it names"
    ask = "is glycanage.base_url the API, or does a proxy stand before it?"
    return f"answered {answer.status} with {kind}, not JSON: {ask}"


def _seconds(told: str | None) -> float | None:
    return float(told) if told is not None and re.fullmatch(r"[0-9]{1,9}", told) else None


def _cause(error: BaseException) -> BaseException | None:
    """The operating system's own error behind the library's."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):  # SSLError is one
        cause = cause.__cause__ or cause.__context__
    return cause
