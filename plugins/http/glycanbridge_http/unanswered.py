"""Why there is no answer: no way to the far side, so that nothing was sent, or an answer that was lost. Pure."""

from __future__ import annotations

import re
import socket
import ssl

import httpx2

from glycanbridge import DestinationError, TemporaryError

_PASSING = ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError
"""The connection broke; that it was an encrypted one says nothing."""


def unreachable(error: Exception, *, to: str, first: str, timeout_s: float) -> TemporaryError | DestinationError:
    """Why there is no connection to `to`, by way of `first`. Nothing was sent."""
    cause = _cause(error)
    refused = re.match(r"([0-9]{3})\b", str(error)) if isinstance(error, httpx2.ProxyError) else None
    if refused and refused[1] < "500":
        told = "see to proxy, its user and password, and to what it lets through"
        return DestinationError(f"{first} refused the way to {to} with {refused[1]}: {told}")
    if isinstance(cause, ssl.SSLCertVerificationError):
        told = "nothing was sent; if the authority is your own, or a proxy looks into TLS, name it in ca_file"
        return DestinationError(f"the certificate of {to} is not trusted ({cause.verify_message}): {told}")
    if isinstance(cause, ssl.SSLError) and not isinstance(cause, _PASSING):
        return DestinationError(f"{to} speaks no TLS that can be trusted ({cause.reason}): something stands between?")
    if refused:
        why = f"there is no way to {to} now ({refused[1]})"
    elif isinstance(error, httpx2.TimeoutException):
        why = f"no connection within {timeout_s:g} s; does a firewall stand between?"
    elif isinstance(cause, socket.gaierror):
        why = "its name cannot be resolved; see to this machine's DNS"
    else:
        why = getattr(cause, "strerror", None) or f"no connection ({type(error).__name__})"
    return TemporaryError(f"{first}: {why}", retry_after_s=0)


def unanswered(error: Exception, place: str, timeout_s: float) -> TemporaryError | DestinationError:
    """Why there is no answer, though the request, or a part of it, was sent."""
    cause = _cause(error)
    if isinstance(cause, ssl.SSLError) and "CERTIFICATE_REQUIRED" in str(cause.reason):  # TLS 1.3 says so that late
        return DestinationError(f"{place} wants a certificate of the bridge's, which this plugin has none of")
    late = isinstance(error, httpx2.TimeoutException)
    why = (
        f"did not answer within {timeout_s:g} s"
        if late
        else f"broke off before it had answered ({type(error).__name__})"
    )
    return TemporaryError(f"{place} {why}: it may have taken the event already", unknown=True)


def _cause(error: BaseException) -> BaseException | None:
    """The operating system's own error behind httpx's."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):  # SSLError is one
        cause = cause.__cause__ or cause.__context__
    return cause
