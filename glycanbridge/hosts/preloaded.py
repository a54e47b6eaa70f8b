"""What each host has in memory before it begins: the fork server imports this once, and all hosts share it."""

from __future__ import annotations

from glycanbridge import settings
from glycanbridge.events import build_models
from glycanbridge.hosts import inside

__all__ = ["inside", "settings"]

build_models()
