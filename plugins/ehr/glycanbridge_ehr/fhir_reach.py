"""Why no answer came, where that is a matter for people: a certificate, a proxy. All else passes."""

from __future__ import annotations

import ssl

import httpx2

_PASSING = ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError
"""The connection broke; that it was an encrypted one says nothing."""


def for_people(error: BaseException) -> str | None:
    """What is wrong on the way, and where to look; `None` if it may pass by itself."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({cause.verify_message}); see ca_file"
    if cause is not None and not isinstance(cause, _PASSING):
        return f"no TLS with it ({cause.reason}); see its address and certificate_file"
    if isinstance(error, httpx2.ProxyError):
        return "the proxy does not let the bridge through; see proxy"
    return None
