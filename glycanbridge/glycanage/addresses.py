"""Which addresses are GlycanAge's: everything that is asked for is joined to the configured base, and to nothing else.

What an event or an answer names is somebody else's text. `urljoin` would take `//evil` or a tab before it for another
host, and plain concatenation `@evil`; so a path must be plainly one, and what it makes is held against the base again.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_PATH = re.compile(r"/(?!/)[A-Za-z0-9._~/-]{1,256}")
"""What a `reportUrl` may be: a relative path, without a query, an escape, a backslash or a blank."""


def report_url(base_url: str, path: str) -> str:
    """The address of a report: `path`, as the event has it ("/reports/report_78901"), below `base_url`.

    Raises `ValueError`, with the rule that is broken and never the path.
    """
    if _PATH.fullmatch(path) is None:
        raise ValueError("its reportUrl is not a path of GlycanAge's, such as /reports/ID")
    if ".." in path or "//" in path or "/." in path:
        raise ValueError("its reportUrl climbs, or names another host")
    return joined(base_url, path)


def joined(base_url: str, path: str) -> str:
    """`path`, which begins with a slash, below `base_url`. Raises `ValueError` if the result is not below it."""
    url, plain = f"{base_url}{path}", path.lower().replace("%2e", ".")
    odd = any(not "!" <= each <= "~" or each in "\\@#" for each in path)
    if not path.startswith("/") or odd or _climbs(plain) or not is_below(url, base_url):
        raise ValueError("the address is not GlycanAge's")
    return url


def next_url(base_url: str, told: str) -> str:
    """Where an answer sends us: a path from the host's root, or a whole URL on the very same host.

    Raises `ValueError` for every other host, port or scheme: credentials go nowhere else.
    """
    url = f"{origin(base_url)}{told}" if told.startswith("/") and not told.startswith("//") else told
    odd = any(not "!" <= each <= "~" or each == "\\" for each in url)
    if odd or ".." in url.lower().replace("%2e", ".") or origin(url) != origin(base_url) or not origin(url):
        raise ValueError(f"it leads away from {origin(base_url)}, which is refused")
    return url


def origin(url: str) -> str:
    """Scheme, host and port, the port always told; empty if it is no such URL, or there is a user in it."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return ""
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port}"


def _climbs(path: str) -> bool:
    """Whether a path has a step that a client or server would take out: `.`, `..` or nothing."""
    first, *more = path.partition("?")[0].removeprefix("/").split("/")
    steps = [first, *more[:-1], *filter(None, more[-1:])]  # a slash at the end is none
    return any(each in {"", ".", ".."} for each in steps)


def is_below(url: str, base_url: str) -> bool:
    """Whether `url` is on the host of `base_url`, and below its path."""
    return origin(url) == origin(base_url) != "" and urlsplit(url).path.startswith(f"{urlsplit(base_url).path}/")
