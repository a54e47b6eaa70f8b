"""Whatever the strategies generate, the bridge accepts; and it is as nasty as what GlycanAge may send."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from glycanbridge import EVENT_TYPES
from glycanbridge.bridge_events import parse_kept
from glycanbridge.event_types import BRIDGE_EVENT_TYPES
from glycanbridge.events import parse
from glycanbridge.identity import event_id
from glycanbridge.testing import event_body
from glycanbridge.testing.strategies import bodies, events

QUICK = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
MANY = settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])


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


NASTY = {
    "an assignment without sets": lambda event: event.type == "assignment-status-changed" and not event.data.sets,
    "one of several": lambda event: event.type == "assignment-status-changed" and len(event.data.sets) > 1,
    "an order without an amount": lambda event: event.type == "order-status-changed" and event.data.amount is None,
    "an age that is no number": lambda event: event.type == "report-ready" and event.data.glycan_age.decimal is None,
    "an age that is one": lambda event: event.type == "report-ready" and event.data.glycan_age.decimal is not None,
    "a time before 1970": lambda event: event.timestamp.year < 1970,
    "the end of time": lambda event: event.timestamp.year == 9999,
    "an unknown field": lambda event: bool(event.model_extra),
    "an unknown field of its data": lambda event: bool(event.data.model_extra),
    "a kit code of another script": lambda event: any(not kit.isascii() for kit in event.kit_codes),
    "a kit code of two lines": lambda event: any("\n" in kit for kit in event.kit_codes),
}


def test_what_is_nasty_is_among_them():
    """A strategy that has become tame would find nothing more."""
    missing = set(NASTY)

    @MANY
    @given(events())
    def look(event):
        missing.difference_update([name for name in missing if NASTY[name](event)])

    look()
    assert missing == set()


def test_without_hypothesis_the_module_says_what_to_install():
    """It is optional, and a bare `No module named hypothesis` does not say so."""
    code = "import sys; sys.modules['hypothesis'] = None\nimport glycanbridge.testing.strategies"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "pip install 'glycanbridge[testing]'" in done.stderr
