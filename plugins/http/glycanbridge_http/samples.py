"""Events that stand for all: templates are tried with them before a patient's event comes, and `preview` shows them.

Of each type there is one as GlycanAge shows it (or the bridge tells it), and one in which whatever may be missing is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from glycanbridge import (
    AssignmentStatusChanged,
    Delivery,
    DeliveryDead,
    Event,
    KitReceived,
    OrderStatusChanged,
    ReportReady,
)

_MS = 1693123200000
_SET = {"patientId": "patient_123", "kitCode": "KIT001234", "product": "regular"}
_DATA: dict[str, dict[str, Any]] = {
    "order-status-changed": {
        "orderId": "order_12345", "orderType": "bulk-order", "previousStatus": "pending", "currentStatus": "paid",
        "practiceId": "practice_67890", "numberOfKits": 50, "amount": 25000, "currency": "USD",
    },
    "assignment-status-changed": {
        "assignmentId": "assignment_12345", "previousStatus": "pending", "currentStatus": "approved",
        "practiceId": "practice_67890", "paymentType": "bank-transfer", "amount": 15000, "currency": "USD",
        "sets": [_SET, _SET],
    },
    "kit-received": {
        "kitCode": "KIT001234", "testId": "test_56789", "patientId": "patient_123", "practiceId": "practice_67890",
        "assignmentId": "assignment_12345", "receivedAt": _MS, "status": "inAnalysis",
    },
    "report-ready": {
        "reportId": "report_78901", "testId": "test_56789", "kitCode": "KIT001234", "patientId": "patient_123",
        "practiceId": "practice_67890", "assignmentId": "assignment_12345", "glycanAge": "45.2",
        "chronologicalAge": "42", "reportUrl": "/reports/report_78901", "createdOn": _MS,
    },
    "delivery-dead": {
        "deliveryId": "3f9c2a1b7d4e:results-ehr", "eventId": "3f9c2a1b7d4e", "eventType": "report-ready",
        "destination": "results-ehr", "plugin": "ehr", "attempts": 9, "reason": "ehr.clinic.example answered 422",
        "practiceId": "practice_67890", "kitCode": "KIT001234", "receivedAt": _MS,
    },
}  # fmt: skip
_MISSING: dict[str, dict[str, Any]] = {
    "order-status-changed": {"previousStatus": None, "amount": None, "currency": None},
    "assignment-status-changed": {"previousStatus": None, "amount": None, "currency": None, "sets": []},
    "delivery-dead": {"kitCode": None},
}
_MODELS: dict[str, type[Event]] = {
    "order-status-changed": OrderStatusChanged,
    "assignment-status-changed": AssignmentStatusChanged,
    "kit-received": KitReceived,
    "report-ready": ReportReady,
    "delivery-dead": DeliveryDead,
}
KNOWN = tuple(_MODELS)
"""The event types that there are samples of."""


def sample(event_type: str, **changes: object) -> tuple[Event, Delivery]:
    """The sample of a type, its data changed as told, and a first delivery of it."""
    told = {"type": event_type, "timestamp": _MS, "data": _DATA[event_type] | changes}
    body = json.dumps(told).encode()
    at = datetime(2023, 8, 27, 8, 0, 1, tzinfo=UTC)
    delivery = Delivery(
        id="sample:preview", event_id="sample", event_type=event_type, destination="preview", attempt=1,
        received_at=at, body=body,
    )  # fmt: skip
    return _MODELS[event_type].model_validate_json(body), delivery


def samples(event_types: Iterable[str]) -> list[tuple[Event, Delivery]]:
    """The samples of these types, two of those in which something may be missing."""
    found = []
    for each in event_types:
        if each in _MODELS:
            found.append(sample(each))
            if each in _MISSING:
                found.append(sample(each, **_MISSING[each]))
    return found
