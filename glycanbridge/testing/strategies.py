"""Hypothesis strategies for events: what GlycanAge may really send, and what is nasty yet valid; the bridge's own, too.

Everything that they generate is accepted by the bridge. They need `hypothesis`: install `glycanbridge[testing]`.
"""

from __future__ import annotations

import json
from typing import Any

try:
    from hypothesis import strategies as st
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "glycanbridge.testing.strategies needs hypothesis; install it: pip install 'glycanbridge[testing]'",
        name=error.name,
    ) from error

from glycanbridge.event_types import EVENT_TYPES
from glycanbridge.events import Event
from glycanbridge.testing.samples import read_event

_EARLIEST_MS, _LATEST_MS = -62_135_596_800_000, 253_402_300_799_999
"""The first and the last millisecond that a datetime can hold."""
_UNUSUAL = [
    "=HYPERLINK(1)", "<b>&amp;</b>", "a,b;c|d^e~f\\g", "line\r\nbreak", "'; DROP TABLE kits; --", "../../etc/passwd",
    "{{ 7 * 7 }}", "%s %n", "null", "-0", "1e999", " padded ", "\t", "0" * 300, "x" * 5000,
    "\u202egnp.exe", "\u200b", "\U0001f600", "\u0130stanbul", "\u03a9\u0301",
]  # fmt: skip
"""What has broken somebody's spreadsheet, log, chart or page before."""
_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
_nasty = _text | st.sampled_from(_UNUSUAL)
_moments = (
    st.integers(1_500_000_000_000, 2_000_000_000_000)
    | st.integers(_EARLIEST_MS, _LATEST_MS)
    | st.sampled_from([_EARLIEST_MS, -1, 0, 1, _LATEST_MS])
)
_whole_numbers = st.integers(0, 100_000) | st.integers(-(2**63), 2**63 - 1)
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=5,
)


def _ids(example: str) -> st.SearchStrategy[str]:
    """As in the vendor's examples, and whatever else a name may be: anything but empty, without NUL."""
    usual = st.integers(1, 999_999).map(lambda number: f"{example}{number}")
    return usual | _nasty.map(lambda text: text.replace("\0", "")).filter(bool)


_ages = (
    st.decimals(18, 110, places=1).map(str)
    | st.integers(0, 130)
    | st.floats(0, 130)
    | st.sampled_from(["", "-", "n/a", "45,2", "45.20", "1e3", "four", "-1", "9" * 400])
    | _text
)
_kit = st.integers(0, 999_999).map(lambda number: f"KIT{number:06}") | _ids("KIT")
_practice, _patient = _ids("practice_"), _ids("patient_")
_STATUSES = {
    "order": st.sampled_from(["pending", "paid", "shipped", "cancelled"]) | _nasty,
    "assignment": st.sampled_from(["pending", "approved", "rejected"]) | _nasty,
    "kit": st.sampled_from(["inAnalysis", "received"]) | _nasty,
}
_money: dict[str, st.SearchStrategy[Any]] = {
    "amount": st.none() | _whole_numbers,
    "currency": st.none() | st.sampled_from(["USD", "EUR"]) | _nasty,
}
_about_delivery: dict[str, st.SearchStrategy[Any]] = {
    "deliveryId": st.integers(1, 999_999).map(lambda number: f"{number:064x}:results-ehr"),
    "eventId": st.integers(1, 999_999).map(lambda number: f"{number:064x}"),
    "eventType": st.sampled_from(EVENT_TYPES),
    "destination": st.sampled_from(["results-ehr", "results-csv"]),
    "practiceId": _practice | st.just(""),
    "kitCode": st.none() | _kit,
}
_DATA: dict[str, tuple[dict[str, st.SearchStrategy[Any]], dict[str, st.SearchStrategy[Any]]]] = {
    "order-status-changed": (
        {
            "orderId": _ids("order_"),
            "orderType": st.sampled_from(["bulk-order", "kit-order"]) | _nasty,
            "currentStatus": _STATUSES["order"],
            "practiceId": _practice,
            "numberOfKits": _whole_numbers,
        },
        {"previousStatus": st.none() | _STATUSES["order"], **_money},
    ),
    "assignment-status-changed": (
        {
            "assignmentId": _ids("assignment_"),
            "currentStatus": _STATUSES["assignment"],
            "practiceId": _practice,
            "paymentType": st.sampled_from(["bank-transfer", "token"]) | _nasty,
            "sets": st.lists(
                st.fixed_dictionaries({"patientId": _patient, "kitCode": _kit, "product": _nasty}), max_size=5
            ),
        },
        {"previousStatus": st.none() | _STATUSES["assignment"], **_money},
    ),
    "kit-received": (
        {
            "kitCode": _kit,
            "testId": _ids("test_"),
            "patientId": _patient,
            "practiceId": _practice,
            "assignmentId": _ids("assignment_"),
            "receivedAt": _moments,
            "status": _STATUSES["kit"],
        },
        {},
    ),
    "report-ready": (
        {
            "reportId": _ids("report_"),
            "testId": _ids("test_"),
            "kitCode": _kit,
            "patientId": _patient,
            "practiceId": _practice,
            "assignmentId": _ids("assignment_"),
            "glycanAge": _ages,
            "chronologicalAge": _ages,
            "reportUrl": st.integers(1, 999_999).map(lambda number: f"/reports/report_{number}") | _nasty,
            "createdOn": _moments,
        },
        {},
    ),
    "delivery-dead": (
        _about_delivery
        | {
            "plugin": st.sampled_from(["ehr", "csv"]),
            "attempts": st.integers(1, 100),
            "reason": _nasty,
            "receivedAt": _moments,
        },
        {},
    ),
    "delivery-settled": (
        _about_delivery
        | {
            "attempt": st.integers(1, 100),
            "outcome": st.sampled_from(["delivered", "temporary", "permanent", "unknown"]),
            "state": st.sampled_from(["delivered", "pending", "dead"]),
            "error": st.none() | _nasty,
            "receipt": st.none() | _nasty,
            "tookMs": st.integers(0, 3_600_000),
        },
        {},
    ),
}
"""By event type: the fields that must be there, and those that may."""


@st.composite
def bodies(draw: st.DrawFn, event_type: str | None = None) -> bytes:
    """Bodies of events of a type, or of any of GlycanAge's, as it would post them.

    Raises `KeyError` for an unknown type.
    """
    chosen = draw(st.sampled_from(EVENT_TYPES)) if event_type is None else event_type
    required, optional = _DATA[chosen]
    data = draw(st.fixed_dictionaries(required, optional=optional))
    event: dict[str, Any] = {"type": chosen, "timestamp": draw(_moments), "data": _unknown(draw, data) | data}
    return json.dumps(_unknown(draw, event) | event, ensure_ascii=draw(st.booleans())).encode()


def events(event_type: str | None = None) -> st.SearchStrategy[Event]:
    """Events of a type, or of any of GlycanAge's, as a hook gets them; `event_body` gives a body of one."""
    return bodies(event_type).map(read_event)


def _unknown(draw: st.DrawFn, known: dict[str, Any]) -> dict[str, Any]:
    """Fields that GlycanAge may add some day."""
    names = st.text(st.characters(categories=["Ll", "Lu"]), min_size=1, max_size=12)
    added: dict[str, Any] = draw(st.dictionaries(names | _text, _json, max_size=2))
    return {name: value for name, value in added.items() if name not in known}
