"""Events that stand for all: templates are tried with them before a patient's event comes.

Of each type there is one as GlycanAge shows it, and one in which whatever may be missing is missing.
"""

from __future__ import annotations

import json
from typing import Any

from glycanbridge import AssignmentStatusChanged, DeliveryDead, Event, KitReceived, OrderStatusChanged, ReportReady

_MS = 1693123200000
_ORDER = {
    "orderId": "order_12345", "orderType": "bulk-order", "previousStatus": "pending", "currentStatus": "paid",
    "practiceId": "practice_67890", "numberOfKits": 50, "amount": 25000, "currency": "USD",
}  # fmt: skip
_SET = {"patientId": "patient_123", "kitCode": "KIT001234", "product": "regular"}
_ASSIGNMENT = {
    "assignmentId": "assignment_12345", "previousStatus": "pending", "currentStatus": "approved",
    "practiceId": "practice_67890", "paymentType": "bank-transfer", "amount": 15000, "currency": "USD",
    "sets": [_SET, _SET],
}  # fmt: skip
_KIT = {
    "kitCode": "KIT001234", "testId": "test_56789", "patientId": "patient_123", "practiceId": "practice_67890",
    "assignmentId": "assignment_12345", "receivedAt": _MS, "status": "inAnalysis",
}  # fmt: skip
_REPORT = {
    "reportId": "report_78901", "testId": "test_56789", "kitCode": "KIT001234", "patientId": "patient_123",
    "practiceId": "practice_67890", "assignmentId": "assignment_12345", "glycanAge": "45.2",
    "chronologicalAge": "42", "reportUrl": "/reports/report_78901", "createdOn": _MS,
}  # fmt: skip
_DEAD = {
    "deliveryId": "3f9c2a1b7d4e:results-ehr", "eventId": "3f9c2a1b7d4e", "eventType": "report-ready",
    "destination": "results-ehr", "practiceId": "practice_67890", "kitCode": "KIT001234", "plugin": "ehr",
    "attempts": 9, "reason": "no such patient", "receivedAt": _MS,
}  # fmt: skip
_NOTHING: dict[str, Any] = {"previousStatus": None, "amount": None, "currency": None}


def _event(model: type[Event], event_type: str, data: dict[str, Any]) -> Event:
    return model.model_validate_json(json.dumps({"type": event_type, "timestamp": _MS, "data": data}))


def samples() -> list[Event]:
    """The sample events, two of those types in which something may be missing."""
    return [
        _event(OrderStatusChanged, "order-status-changed", _ORDER),
        _event(OrderStatusChanged, "order-status-changed", _ORDER | _NOTHING),
        _event(AssignmentStatusChanged, "assignment-status-changed", _ASSIGNMENT),
        _event(AssignmentStatusChanged, "assignment-status-changed", _ASSIGNMENT | _NOTHING | {"sets": []}),
        _event(KitReceived, "kit-received", _KIT),
        _event(ReportReady, "report-ready", _REPORT),
        _event(DeliveryDead, "delivery-dead", _DEAD),
        _event(DeliveryDead, "delivery-dead", _DEAD | {"kitCode": None}),
    ]
