"""Our client against the simulator, over a real socket: each side was written after the vendor's page by itself."""

from __future__ import annotations

from contextlib import closing

import pytest

from glycanbridge.errors import GlycanAgeError, NotYetError
from glycanbridge.event_types import EVENT_TYPES
from glycanbridge.glycanage.api import Api
from glycanbridge.glycanage.reports import Reports
from glycanbridge.glycanage.webhooks import Wanted, Webhooks
from glycanbridge.glycanage_settings import GlycanAgeSettings, ListSettings
from glycanbridge.reconciling.listing import listed
from glycanbridge.reconciling.rows import REPORTS
from glycanbridge.simulator.api import SimulatedApi
from glycanbridge.simulator.failures import HANG, HTML, Failure, redirect
from glycanbridge.testing import sample_delivery, sample_event

WANTED = Wanted(name="GlycanBridge (secret 12345678)", description="a rehearsal", events=EVENT_TYPES,
                url="https://bridge.clinic.example/webhooks/glycanage", secret="s" * 32)  # fmt: skip


@pytest.fixture
def simulator():
    """GlycanAge's API, which approves nothing by itself."""
    with SimulatedApi(approve_after_s=None, page_size=2) as api:
        yield api


@pytest.fixture
def settings(simulator, tmp_path):
    """A clinic's account there."""
    return GlycanAgeSettings.model_validate(
        {
            "base_url": simulator.base_url, "email": simulator.email, "token": simulator.token, "timeout_s": 10,
            "reports": {"directory": tmp_path / "reports"},
        }
    )  # fmt: skip


@pytest.fixture
def api(settings):
    """The client."""
    with closing(Api(settings)) as api:
        yield api


def test_a_webhook_is_registered_listed_approved_and_deleted(api, simulator):
    """The whole of the page's "Webhook Management"."""
    webhooks = Webhooks(api)
    made = webhooks.register(WANTED, before=webhooks.listed()).registration
    assert (made.status, made.approved, made.events) == ("pending", False, EVENT_TYPES)

    simulator.approve(made.id)
    (there,) = webhooks.listed()
    assert (there.id, there.approved, there.fingerprint, there.is_at(WANTED.url)) == (made.id, True, "12345678", True)

    assert webhooks.delete(made.id) == ""
    assert webhooks.listed() == []
    assert webhooks.delete(made.id) == "it was gone already"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"secret": "short"}, r"answered 422: it does not take what was sent; it says: secret: expected 32 characters"),
        ({"events": ("kit-lost",)}, "answered 422: .* it says: events: expected a list of"),
        ({"url": "http://bridge.clinic.example/x"}, "answered 422: .* it says: url: expected https"),
        ({}, "answered 409: there is such a one already"),
    ],
)
def test_what_glycanage_refuses_is_said_in_its_words(api, changes, told):
    """It knows why."""
    webhooks = Webhooks(api)
    webhooks.register(WANTED, before=[])
    wanted = Wanted(**{name: getattr(WANTED, name) for name in Wanted.__slots__} | changes)

    with pytest.raises(GlycanAgeError, match=told):
        webhooks.register(wanted, before=[])


def test_a_wrong_token_is_a_line(settings):
    """That names both settings."""
    wrong = settings.model_copy(update={"email": "other@clinic.example"})
    with closing(Api(wrong)) as api, pytest.raises(GlycanAgeError, match=r"answered 401: .* glycanage\.token"):
        Webhooks(api).listed()


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (Failure(status=500), "answered 500: it cannot do it now"),
        (Failure(status=429), "answered 429: it was asked too often"),
        (HTML, "answered 200 with text/html, not JSON"),
        (redirect("https://elsewhere.example/webhooks"), "it sends us somewhere else, which is not followed"),
    ],
)
def test_whatever_fails_there_is_a_line_here(api, simulator, failure, told):
    """And the next call is answered again."""
    simulator.fail_next(failure)
    with pytest.raises(GlycanAgeError, match=told):
        Webhooks(api).listed()

    assert Webhooks(api).listed() == []


def test_a_call_that_hangs_is_left_in_time(settings, simulator):
    """The limit is the settings'."""
    simulator.fail_next(HANG, HANG)  # a list is asked for once more at once
    quick = settings.model_copy(update={"timeout_s": 0.3})
    with closing(Api(quick)) as api, pytest.raises(GlycanAgeError, match=r"no whole answer within 0\.3 s"):
        Webhooks(api).listed()


def test_an_answer_to_a_registration_that_is_lost_is_looked_for(api, simulator):
    """Nothing is registered twice because of it: here it was not done at all, and that is said."""
    simulator.fail_next(Failure(status=500))
    with pytest.raises(GlycanAgeError, match="it is not listed either"):
        Webhooks(api).register(WANTED, before=[])

    assert simulator.registrations == ()


def test_a_report_is_there_once_it_is_ready_and_is_fetched_once(settings, simulator):
    """A real PDF, over the path that its event tells."""
    delivery = sample_delivery()
    with closing(Reports(settings, seconds=iter(range(0, 9000, 1000)).__next__)) as reports:
        with pytest.raises(NotYetError, match="GlycanAge has no such report, or not yet"):
            reports.file_of(delivery)
        simulator.add_report(sample_event().model_dump(by_alias=True)["data"])

        assert reports.file_of(delivery).startswith(b"%PDF-")
        assert reports.file_of(sample_delivery(destination="other")) == reports.file_of(delivery)
    assert simulator.asked == ["GET /reports/report_78901"] * 2


def test_every_page_of_its_list_is_read(api, simulator):
    """Though the page documents none: the simulator's is a guess, and the settings say where it is."""
    for number in range(5):
        simulator.add_report({"reportId": f"report_{number}", "glycanAge": "45.2"})
    rows = listed(api, ListSettings(path="/reports", items="data", next="links.next"), REPORTS)

    assert [each.values["reportId"] for each in rows] == [f"report_{number}" for number in range(5)]
    assert len(simulator.asked) == 3
