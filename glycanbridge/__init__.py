"""GlycanBridge hands GlycanAge's laboratory events to a clinic's own systems, and never loses one.

These are the names for plugin authors; everything else may change from one version to the next.
"""

from glycanbridge.delivery import Delivery
from glycanbridge.errors import PermanentError, TemporaryError
from glycanbridge.events import (
    EVENT_TYPES,
    Age,
    AssignmentStatusChanged,
    Event,
    KitReceived,
    OrderStatusChanged,
    ReportReady,
)
from glycanbridge.hookspecs import hookimpl
from glycanbridge.settings import LocalPath

__all__ = [
    "EVENT_TYPES",
    "Age",
    "AssignmentStatusChanged",
    "Delivery",
    "Event",
    "KitReceived",
    "LocalPath",
    "OrderStatusChanged",
    "PermanentError",
    "ReportReady",
    "TemporaryError",
    "hookimpl",
]
