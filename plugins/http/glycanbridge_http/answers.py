"""What an answer means for a delivery: a receipt, or one of the plugin contract's errors. Pure.

Of an answer's body nothing is told unless the operator asks for a place in it: it may quote what was sent.
"""

from __future__ import annotations

import json
import re

from glycanbridge import DestinationError, PermanentError, TemporaryError
from glycanbridge_http.far_side import Answer
from glycanbridge_http.statuses import Meaning, Statuses

LEFT_ALONE_S = 30.0
"""How long after a 429 that does not say for how long."""
_MENDED_S = 300.0
"""After which one delivery is tried where a person has to mend something."""
LONGEST_RECEIPT = 200
_MENDED_BY = {
    401: "see to auth, or to the key in headers",
    403: "see to auth, or to what it may do there",
    404: "see to url: nobody knows it there (any more)",
    405: "see to method and url",
    407: "see to proxy",
    410: "see to url: it is gone for good",
    429: "it asks to be left alone for a while",
}


def receipt_of(answer: Answer, place: str, *, statuses: Statuses, receipt: str | None) -> str:
    """The status, and what of the answer is to be kept. Raises one of the contract's errors if it was refused."""
    status, told = answer.status, f"{place} answered {answer.status}"
    asked = _seconds_or_date(answer.headers.get("retry-after"))
    meaning = statuses[status]
    if meaning is Meaning.SUCCESS:
        kept = _kept(answer, receipt)
        return f"{status} {kept}" if kept else str(status)
    if meaning is Meaning.TEMPORARY:
        raise TemporaryError(f"{told}: it cannot take it now", retry_after_s=asked or 0)
    if meaning is Meaning.PERMANENT:
        raise PermanentError(f"{told}: it does not take this event as it is sent")
    wait_s = LEFT_ALONE_S if status == 429 else _MENDED_S
    raise DestinationError(f"{told}: {_MENDED_BY.get(status) or _other(status)}", retry_after_s=asked or wait_s)


def found_by_check(answer: Answer, place: str, *, statuses: Statuses) -> str:
    """What the answer to a check says. Raises as `receipt_of`."""
    status = receipt_of(answer, place, statuses=statuses, receipt=None)
    return f"{place} answered {status} to a GET of check_url; nothing was sent"


def _other(status: int) -> str:
    if 300 <= status < 400:
        return "a redirect, which is not followed: set url to where it really is"
    return "no status that this destination knows"


def _kept(answer: Answer, receipt: str | None) -> str | None:
    """What stands at the place to be kept, if it is a short line."""
    if receipt is None:
        return None
    found = _at(answer.body, receipt) if receipt.startswith("/") else answer.headers.get(receipt)
    if isinstance(found, bool) or not isinstance(found, str | int):
        return None
    text = str(found)
    return text if 0 < len(text) <= LONGEST_RECEIPT and text.isprintable() else None


def _at(body: bytes, pointer: str) -> object:
    """What stands in JSON at a JSON Pointer (RFC 6901); `None` if nothing does."""
    try:
        found: object = json.loads(body)
    except (ValueError, RecursionError):
        return None
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict):
            found = found.get(name)
        elif isinstance(found, list) and re.fullmatch(r"0|[1-9][0-9]{0,5}", name) and int(name) < len(found):
            found = found[int(name)]
        else:
            return None
    return found


def _seconds_or_date(retry_after: str | None) -> str | None:
    """A `Retry-After` header, if it is one: whatever else came is as if nothing had."""
    told = (retry_after or "").strip()
    return told if re.fullmatch(r"[0-9]{1,9}|[A-Z][a-z]{2,8}, [ -~]{8,40}", told) else None
