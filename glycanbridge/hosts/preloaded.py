"""What each host has in memory before it begins: the fork server imports this once, and all hosts share it."""

from __future__ import annotations

from glycanbridge import settings
from glycanbridge.bridge_events import build_kept_models
from glycanbridge.hosts import inside

__all__ = ["inside", "settings"]

build_kept_models()
