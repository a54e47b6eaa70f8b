"""GlycanBridge hands GlycanAge's laboratory events to a clinic's own systems, and never loses one.

These are the names for plugin authors; everything else may change from one version to the next. Each is fetched from
its room when it is first used, so that `glycanbridge --help` need not wait for pydantic; `__init__.pyi` tells type
checkers the same names.
"""

import importlib
import warnings

_ROOMS = {
    "Age": "events",
    "AssignmentStatusChanged": "events",
    "Delivery": "delivery",
    "DeliveryDead": "bridge_events",
    "DeliverySettled": "bridge_events",
    "DestinationError": "errors",
    "EVENT_TYPES": "event_types",
    "Event": "events",
    "KitReceived": "events",
    "LocalPath": "settings",
    "NotYetError": "errors",
    "OrderStatusChanged": "events",
    "PermanentError": "errors",
    "Personal": "personal",
    "ReportReady": "events",
    "TemporaryError": "errors",
    "Timeout": "settings",
    "hookimpl": "hookspecs",
}
__all__ = list(_ROOMS)
_OUTDATED: dict[str, str] = {}
"""Names that a later version will not have, each with what to use instead: see `docs/plugins/changes.md`."""


def __getattr__(name: str) -> object:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _OUTDATED:
        category = importlib.import_module(f"{__name__}.errors").ContractWarning
        warnings.warn(f"glycanbridge.{name} will be gone: {_OUTDATED[name]}", category, stacklevel=2)
    return getattr(importlib.import_module(f"{__name__}.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
