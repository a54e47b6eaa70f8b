"""The event of a row that the journal does not hold, in GlycanAge's own words, and the way of it into the journal."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from glycanbridge.destinations import Destinations
from glycanbridge.errors import ParseError
from glycanbridge.events import parse
from glycanbridge.identity import event_id
from glycanbridge.journal import Journal, NewEvent, Recorded
from glycanbridge.reconciling.rows import AGES, Kind, read_instant

FLAG = "reconciled"
"""What such an event is told by, in the journal and in its body."""
_ID = {"report-ready": "reportId", "kit-received": "testId"}
"""What its id is made of. No kit code: ids stand in logs."""
_PLAIN = re.compile(r"[A-Za-z0-9._@-]{1,80}", re.ASCII)
_AGE = re.compile(r"[0-9]{1,3}(\.[0-9]+)?", re.ASCII)
_OLDEST = 130
_PATH = re.compile(r"/(?!/)\S*")
_STATUS = "inAnalysis"
"""Of a received kit: GlycanAge's page shows no other word in that event."""


class Made(NamedTuple):
    """An event that was made."""

    id: str
    body: bytes
    at: int
    """When it came to be, in milliseconds since the epoch."""


def make(kind: Kind, values: Mapping[str, str]) -> Made:
    """The event with these values, which are all of its kind's fields but the optional ones.

    It is the same each time, so that making it twice is a duplicate. Raises `ParseError` if it is none that GlycanAge
    could have sent.
    """
    at = read_instant(values[kind.at])
    if at is None:
        raise ParseError(f"data.{kind.at}: expected milliseconds since the epoch, ISO 8601, or a date")
    for name in AGES:
        if name in kind.fields and not _is_age(values[name]):
            raise ParseError(f"data.{name}: expected years from 0 to {_OLDEST}, such as 45.2")
    data: dict[str, Any] = {name: values.get(name) for name in kind.fields} | {kind.at: at.ms}
    if "reportUrl" in data and _PATH.fullmatch(data["reportUrl"] or "") is None:
        data["reportUrl"] = f"/reports/{data['reportId']}"
    if "status" in data and data["status"] is None:
        data["status"] = _STATUS
    name = f"{FLAG}:{kind.event_type}:{_plain(values[_ID[kind.event_type]])}"
    event = {"id": name, "type": kind.event_type, "timestamp": at.ms, "data": data, FLAG: True}
    body = json.dumps(event).encode()
    parse(body)
    return Made(event_id(body).id, body, at.ms)


def keep(made: Made, *, journal: Journal, destinations: Destinations) -> Recorded:
    """Record it like any other event, owed to the destinations that take it now. Raises `JournalUnavailable`."""
    event = parse(made.body)
    owed_to = destinations.owed(event)
    new = NewEvent(event=event, id=event_id(made.body), body=made.body, owed_to=owed_to, flags=FLAG)
    return journal.record(new)


def _is_age(text: str) -> bool:
    """Whether it can be one: not `45,2`, `N/A`, `05. Feb` or what else an export or a spreadsheet has in its place."""
    return _AGE.fullmatch(text) is not None and float(text) <= _OLDEST


def _plain(name: str) -> str:
    """A name as an id of an event may hold it; another one as a hash."""
    return name if _PLAIN.fullmatch(name) else hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()
