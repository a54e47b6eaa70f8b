"""Sample events: as bytes, parsed, as a signed request, and as a delivery for a hook.

GlycanAge's are the ones that `glycanbridge send` posts; the bridge's own stand beside them (`glycanbridge/samples/`, a
file for each type). Their fields have GlycanAge's names: `kitCode`, not `kit_code`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Any, NamedTuple

from pydantic.alias_generators import to_camel

from glycanbridge.bridge_events import parse_kept
from glycanbridge.delivery import Delivery, ReportSource
from glycanbridge.errors import DeliveryError
from glycanbridge.events import Event
from glycanbridge.identity import event_id as identity_of
from glycanbridge.signature import HEADER, sign

SECRET = "a-secret-of-the-tests-with-more-than-32-characters"  # noqa: S105 (nobody's)
"""What sample requests are signed with, unless told otherwise."""
_FOLDER = resources.files("glycanbridge") / "samples"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def sample_body(
    event_type: str = "report-ready",
    /,
    *,
    timestamp: int | datetime | None = None,
    top: Mapping[str, object] | None = None,
    without: Iterable[str] = (),
    **data: object,
) -> bytes:
    """The body of a sample event, with changes to its `data`; times may be epoch milliseconds or datetimes.

    `timestamp` is the event's own, `top` changes anything else beside `data`, such as `{"id": "e1"}`; `without` leaves
    fields of `data` out. Raises `ValueError` for a type that there is no sample of, and for `kit_code`, which GlycanAge
    calls `kitCode`.
    """
    event = _sample(event_type)
    known = event["data"].keys()
    misnamed = [name for name in data if name not in known and to_camel(name) in known]
    if misnamed:
        raise ValueError(f"there is no {misnamed[0]}: write {to_camel(misnamed[0])}, as GlycanAge does")
    event["data"] = {name: value for name, value in (event["data"] | data).items() if name not in set(without)}
    event |= {} if timestamp is None else {"timestamp": timestamp}
    return _as_bytes(event | dict(top or {}))


def sample_event(event_type: str = "report-ready", /, **changes: Any) -> Event:
    """A sample event as hooks get it; the changes are `sample_body`'s.

    Raises `ParseError` if it is not an event any more.
    """
    return read_event(sample_body(event_type, **changes))


def read_event(body: bytes) -> Event:
    """The event in a body: all that is read in tests is read here. Raises `ParseError`."""
    return parse_kept(body)


def event_body(event: Event) -> bytes:
    """A body that is parsed to an event like this one: what GlycanAge may have sent."""
    return _as_bytes(event.model_dump(by_alias=True))


def as_body(event: str | bytes | Event) -> bytes:
    """The body of an event, given as a type (then it is the sample), as a body, or parsed."""
    if isinstance(event, bytes):
        return event
    return sample_body(event) if isinstance(event, str) else event_body(event)


class SignedRequest(NamedTuple):
    """What GlycanAge posts."""

    body: bytes
    headers: dict[str, str]


def signed_request(event: str | bytes | Event = "report-ready", /, *, secret: str = SECRET) -> SignedRequest:
    """An event as GlycanAge posts it, signed with `secret`: a type (the sample), a body, or an event."""
    body = as_body(event)
    return SignedRequest(body, {"Content-Type": "application/json", HEADER: sign(body, secret)})


def sample_report() -> bytes:
    """A report file: a small PDF, of nobody."""
    return (_FOLDER / "report.pdf").read_bytes()


def report_source(report: bytes | DeliveryError | None) -> ReportSource:
    """What gives this `report` to a plugin, or raises it; `None`: the sample."""

    def source(_: Delivery) -> bytes:
        if isinstance(report, DeliveryError):
            raise report
        return sample_report() if report is None else report

    return source


def sample_delivery(
    event: str | bytes | Event = "report-ready",
    /,
    *,
    report: bytes | DeliveryError | None = None,
    attempt: int = 1,
    destination: str = "test",
    event_id: str | None = None,
    received_at: datetime | None = None,
) -> Delivery:
    """A delivery of an event, as a hook gets it. It was received now, and has the id that the bridge would give it.

    `report`: what its `report()` gives, or the `NotYetError` or `PermanentError` that it raises; default: a small PDF.
    """
    body = as_body(event)
    kept_as = identity_of(body).id if event_id is None else event_id
    return Delivery(
        id=f"{kept_as}:{destination}",
        event_id=kept_as,
        event_type=read_event(body).type,
        destination=destination,
        attempt=attempt,
        received_at=received_at or datetime.now(UTC),
        body=body,
        report_source=report_source(report),
    )


def _sample(event_type: str) -> dict[str, Any]:
    known = sorted(each.name.removesuffix(".json") for each in _FOLDER.iterdir() if each.name.endswith(".json"))
    if event_type not in known:
        raise ValueError(f"there is no sample of {event_type!r}; known: {', '.join(known)}")
    event: dict[str, Any] = json.loads((_FOLDER / f"{event_type}.json").read_bytes())
    return event


def _as_bytes(event: Mapping[str, object]) -> bytes:
    return json.dumps(event, default=_epoch_ms).encode()


def _epoch_ms(value: object) -> int:
    if isinstance(value, datetime):
        return (value - _EPOCH) // timedelta(milliseconds=1)
    raise TypeError(f"{type(value).__name__} has no place in an event")
