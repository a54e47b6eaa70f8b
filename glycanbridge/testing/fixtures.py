"""The fixtures, and a hook, that pytest finds by itself where GlycanBridge is installed.

Their names all begin with `glycanbridge_`: fixtures of every installed package share one namespace with those of the
project that is tested, and a short name such as `bridge` would be somebody's already. pytest loads this module in every
run, so nothing is imported here but pytest; `testing` fetches the rest when a fixture is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from glycanbridge import testing


def pytest_itemcollected(item: pytest.Item) -> None:
    """Note in pytest's report whose contract suite a test is of: `glycanbridge plugins check` reads it there."""
    plugin = getattr(getattr(item, "function", None), "contract_of", None)
    if isinstance(plugin, str):
        item.user_properties.append(("glycanbridge_contract_of", plugin))


@pytest.fixture
def glycanbridge_clock() -> Any:
    """A clock to turn by hand, a `HandClock`."""
    return testing.HandClock()


@pytest.fixture
def glycanbridge_bridge(tmp_path: Path, glycanbridge_clock: Any) -> Iterator[Callable[..., Any]]:
    """Makes a bridge to move by hand, in `tmp_path`, with the clock `glycanbridge_clock`; closed when the test is over.

    `glycanbridge_bridge(Hello, {"file": "hello.txt"})`: see `HandBridge`.
    """
    with ExitStack() as made:
        yield lambda *args, **told: made.enter_context(
            testing.HandBridge(*args, **({"folder": tmp_path, "clock": glycanbridge_clock} | told))
        )


@pytest.fixture
def glycanbridge_plugin(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Makes an instance of a plugin class as the bridge makes it; closed, as the bridge does, when the test is over.

    `glycanbridge_plugin(Hello, {"file": "hello.txt"})`: relative paths are taken from `tmp_path`. See `make_plugin`.
    """
    with ExitStack() as made:

        def make(*args: Any, **told: Any) -> Any:
            plugin = testing.make_plugin(*args, **({"folder": tmp_path} | told))
            if hasattr(plugin, "close"):
                made.callback(plugin.close)
            return plugin

        yield make


@pytest.fixture
def glycanbridge_http_peer() -> Iterator[Any]:
    """An HTTP server on loopback that answers as it is told, an `HttpPeer`; closed when the test is over."""
    with testing.HttpPeer() as peer:
        yield peer


@pytest.fixture
def glycanbridge_smtp_peer() -> Iterator[Any]:
    """A mail server on loopback that answers as it is told, an `SmtpPeer`; closed when the test is over."""
    with testing.SmtpPeer() as peer:
        yield peer
