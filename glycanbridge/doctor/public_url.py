"""The receiver as GlycanAge reaches it: name, certificate, proxy, path, seen from this machine."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from functools import partial
from http.client import HTTPException
from urllib.parse import urlsplit

from glycanbridge.doctor.asking import NoAuthorities, Seen, look, way_out, within
from glycanbridge.doctor.facts import Facts
from glycanbridge.doctor.findings import Finding, ok, problem, warning
from glycanbridge.glycanage_settings import GlycanAgeSettings

SOON_DAYS = 14
_HERE = "as seen from this machine, which may see it otherwise than GlycanAge does"
_RENEW = "renew it (`certbot renew`, or as your proxy does it), and let the proxy read it anew"
_BEHIND = "is `glycanbridge serve` running, and does the proxy pass on to the address in `receiver.listen`?"
_PASSES = "let the proxy pass this path on to the bridge as it is, for POST, without a login or a page of its own"


def public_path(facts: Facts) -> Iterator[Finding]:
    """Whether the public address is one by https, with the receiver's path."""
    api, receiver = facts.glycanage, facts.receiver
    if api is None or api.public_url is None or receiver is None:
        return
    parts = urlsplit(api.public_url)
    if parts.scheme != "https" and parts.hostname not in {"127.0.0.1", "::1", "localhost"}:
        do = "put a proxy with a certificate before the bridge, and register its https:// address"
        yield problem("public-url.scheme", api.public_url, "patients' results would travel in clear", do)
    if parts.path.rstrip("/") != receiver.path:
        told = f"its path is not the receiver's, {receiver.path}"
        do = "let the proxy translate it, or make both the same: `glycanage.public_url`, `receiver.path`"
        yield warning("public-url.path", api.public_url, told, do)
    else:
        yield ok("public-url.path", api.public_url, "its path is the receiver's")


def public_url(facts: Facts) -> Iterator[Finding]:
    """A GET of the public address: our receiver answers it 405, since it takes POST alone."""
    api = facts.glycanage
    if api is None or api.public_url is None:
        return
    url, timeout_s = api.public_url, min(api.timeout_s, facts.machine.patience_s)
    asked = partial(look, url, timeout_s=timeout_s, ca_file=api.ca_file, proxy=way_out(api))
    seen = within({url: 2 * timeout_s}, {url: asked})[url]
    if not isinstance(seen, Seen):
        yield _unseen(url, seen)
        return
    if seen.certificate_until_s is not None:
        yield _certificate(api, url, seen.certificate_until_s - facts.machine.clock() / 1000)
    yield _answer(url, seen)


def _certificate(api: GlycanAgeSettings, url: str, left_s: float) -> Finding:
    days = left_s / 86_400
    told = f"its certificate runs out in {days:.0f} days"
    if days < SOON_DAYS:
        return warning("public-url.certificate", url, f"{told}: then nothing arrives any more", _RENEW)
    if api.ca_file is not None:
        told += "; it was looked at with glycanage.ca_file, which GlycanAge does not have"
    return ok("public-url.certificate", url, told)


def _unseen(url: str, error: BaseException) -> Finding:
    """Why there is no answer."""
    if isinstance(error, NoAuthorities):
        do = "a file of certificates (PEM), or no `ca_file` at all: then the system's authorities are trusted"
        return problem("public-url.answer", url, f"it could not be asked: {error}", do)
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message or "it does not fit"
        do = (
            _RENEW
            if "expired" in why
            else "install the whole chain of a public authority for this very name in the proxy"
        )
        return problem("public-url.certificate", url, f"its certificate is not trusted ({why}): nothing arrives", do)
    if isinstance(error, socket.gaierror):
        return problem(
            "public-url.answer", url, f"its name cannot be resolved, {_HERE}", "correct the name in your DNS"
        )
    if isinstance(error, TimeoutError):
        do = "look at the firewall and port forwarding; from inside, a network's outside often cannot be reached"
        return problem("public-url.answer", url, f"no answer in time, {_HERE}", do)
    if isinstance(error, ssl.SSLError):
        do = "the proxy must speak TLS 1.2 or later on this port"
        return problem("public-url.answer", url, f"no TLS can be agreed on ({error.reason or 'broken off'})", do)
    if isinstance(error, OSError | HTTPException):
        why = getattr(error, "strerror", None) or type(error).__name__
        do = "is the proxy running, and is its port open in the firewall?"
        return problem("public-url.answer", url, f"no answer ({why}), {_HERE}", do)
    raise error


def _answer(url: str, seen: Seen) -> Finding:
    told = f"answered {seen.status}, {_HERE}"
    if seen.status == 405 and _is_ours(seen):
        return ok("public-url.answer", url, "our receiver answers: 405 to a GET, as it should")
    if 300 <= seen.status < 400:
        do = "register the address that it leads to: whether GlycanAge follows a redirect with a POST is not known"
        return problem("public-url.answer", url, f"{told}: it sends the request elsewhere", do)
    if seen.status in {502, 503, 504}:
        return problem("public-url.answer", url, f"{told}: the proxy has no bridge behind it", _BEHIND)
    if seen.status == 404:
        whose = "the bridge has another path" if _is_ours(seen) else "the proxy does not know this path"
        do = "compare `receiver.path` with the path in the address; " + _PASSES
        return problem("public-url.answer", url, f"{told}: {whose}", do)
    if seen.status in {401, 403, 407, 429}:
        return problem("public-url.answer", url, f"{told}: something before the bridge lets not everybody in", _PASSES)
    page = "a web page" if "html" in seen.headers.get("content-type", "").lower() else "something"
    return problem("public-url.answer", url, f"{told}, with {page} that is not our receiver's", _PASSES)


def _is_ours(seen: Seen) -> bool:
    """Our receiver's errors are JSON with these two keys."""
    try:
        told = json.loads(seen.beginning)
    except ValueError:
        return False
    return isinstance(told, dict) and set(told) == {"title", "description"}
