"""What plugin authors test with: a bridge to move by hand, sample events, peers that misbehave, a contract suite.

`docs/plugins/testing.md` tells what each is for. Each name is fetched from its room when it is first used, so that a
pytest run on a machine with GlycanBridge costs nothing for it; `__init__.pyi` tells type checkers the same names.
"""

import importlib

_ROOMS = {
    "Answer": "answers",
    "Attempted": "attempts",
    "Fault": "answers",
    "HandBridge": "bridge",
    "HandClock": "clock",
    "HttpPeer": "http_peer",
    "HttpRequest": "http_peer",
    "Mail": "smtp_peer",
    "SECRET": "samples",
    "SettingsError": "errors",
    "SignedRequest": "samples",
    "SmtpPeer": "smtp_peer",
    "contract_suite": "contract",
    "deliver": "attempts",
    "event_body": "samples",
    "make_plugin": "opening",
    "plugin_settings": "opening",
    "sample_body": "samples",
    "sample_delivery": "samples",
    "sample_event": "samples",
    "sample_report": "samples",
    "signed_request": "samples",
}
__all__ = list(_ROOMS)


def __getattr__(name: str) -> object:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    room = "glycanbridge.errors" if _ROOMS[name] == "errors" else f"{__name__}.{_ROOMS[name]}"
    return getattr(importlib.import_module(room), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
