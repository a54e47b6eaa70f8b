"""Whatever the strategies generate, the bridge accepts; and it is as nasty as what GlycanAge may send."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis.errors import NoSuchExample

from glycanbridge import EVENT_TYPES
from glycanbridge.bridge_events import parse_kept
from glycanbridge.event_types import BRIDGE_EVENT_TYPES
from glycanbridge.events import parse
from glycanbridge.identity import event_id
from glycanbridge.testing import event_body
from glycanbridge.testing.strategies import bodies, events

QUICK = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
FOUND = settings(max_examples=3000, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("event_type", [*EVENT_TYPES, *BRIDGE_EVENT_TYPES])
def test_every_body_is_an_event_of_its_type(event_type):
    """One that the bridge quarantines would test nothing of a plugin."""

    @QUICK
    @given(bodies(event_type))
    def holds(body):
        assert parse_kept(body).type == event_type
        assert event_id(body).id

    holds()


@QUICK
@given(events())
def test_an_event_can_be_sent_as_it_was_parsed(event):
    """So that a test may begin with either."""
    assert parse(event_body(event)) == event


@pytest.mark.parametrize(
    "nasty",
    [
        lambda event: event.type == "assignment-status-changed" and not event.data.sets,
        lambda event: event.type == "assignment-status-changed" and len(event.data.sets) > 1,
        lambda event: event.type == "order-status-changed" and event.data.amount is None,
        lambda event: event.type == "report-ready" and event.data.glycan_age.decimal is None,
        lambda event: event.type == "report-ready" and event.data.glycan_age.decimal is not None,
        lambda event: event.timestamp.year < 1970,
        lambda event: event.timestamp.year == 9999,
        lambda event: bool(event.model_extra),
        lambda event: bool(event.data.model_extra),
        lambda event: any(not kit.isascii() for kit in event.kit_codes),
        lambda event: any("\n" in kit for kit in event.kit_codes),
    ],
    ids=lambda each: "",
)
def test_what_is_nasty_is_among_them(nasty):
    """A strategy that has become tame would find nothing more."""
    try:
        find(events(), nasty, settings=FOUND)
    except NoSuchExample:
        pytest.fail("it is never generated")


def test_without_hypothesis_the_module_says_what_to_install():
    """It is optional, and a bare `No module named hypothesis` does not say so."""
    code = "import sys; sys.modules['hypothesis'] = None\nimport glycanbridge.testing.strategies"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "pip install 'glycanbridge[testing]'" in done.stderr
