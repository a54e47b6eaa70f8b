"""The comparison by itself: when it is made, what it makes, what it leaves, and that it is never in the way."""

from __future__ import annotations

import json
import logging
import sys
from contextlib import closing

import pytest
from conftest import Taker, make_destination
from serving import sample, served, until
from test_reconciling import NEW, ROW, page, record, without
from test_story import taken

from glycanbridge.delivery import wall_clock
from glycanbridge.destinations import Destinations
from glycanbridge.glycanage_settings import GlycanAgeSettings
from glycanbridge.journal import Filter
from glycanbridge.journals.opening import open_journal
from glycanbridge.reconciler import BEFORE_THE_FIRST_MS, FIRST_WAIT_S, GRACE_MS, Reconciler
from glycanbridge.testing import Answer, HttpPeer

HOUR_S = 3600


@pytest.fixture(autouse=True)
def days_of_the_sample(clock):
    """What the sample tells of was yesterday."""
    clock.ms = int(ROW["createdOn"]) + 24 * GRACE_MS


@pytest.fixture
def peer():
    """GlycanAge's API, which lists one report that is held and one that is missing."""
    with HttpPeer(page(ROW, NEW)) as peer:
        yield peer


@pytest.fixture
def make_reconciler(journal, clock, peer):
    """Makes a reconciler that runs so many times, with what it has waited for; it is stopped in the end."""
    made = []

    def make(times: int, *, every_h: float | None = 6) -> tuple[Reconciler, list[float]]:
        listing = {"path": "/reports", "items": "data.items", "next": "links.next"}
        settings = GlycanAgeSettings(base_url=peer.url, email="a@clinic.example", token="t", timeout_s=30,
                                     report_list=listing, reconcile_every_h=every_h)  # fmt: skip
        waited: list[float] = []

        def wait(seconds: float) -> bool:
            waited.append(seconds)
            return len(waited) > times

        destinations = Destinations([make_destination("a", Taker())])
        reconciler = Reconciler(settings, journal=journal, destinations=destinations, clock=clock, wait=wait)
        made.append(reconciler)
        return reconciler, waited

    yield make
    for each in made:
        each.stop()


def ended(reconciler: Reconciler) -> None:
    """Let it run to its end."""
    reconciler.start()
    reconciler._thread.join(20)
    assert not reconciler._thread.is_alive()


def test_it_begins_minutes_after_the_start_and_comes_again(make_reconciler, peer):
    """Not at once: bridges that start together must not all ask together."""
    reconciler, waited = make_reconciler(2)
    ended(reconciler)

    assert FIRST_WAIT_S[0] <= waited[0] <= FIRST_WAIT_S[1]
    assert [0.9 * 6 * HOUR_S < each < 1.1 * 6 * HOUR_S for each in waited[1:]] == [True, True]
    assert len(peer.requests) == 2


def test_what_is_missing_is_made_owed_and_logged_by_its_id(make_reconciler, journal, caplog):
    """Once; and nothing of a patient or a kit is in the log."""
    caplog.set_level(logging.INFO)
    record(journal, sample())
    ended(make_reconciler(2)[0])

    (row,) = [each for each in journal.events(Filter()) if each.flags]
    assert [each.id for each in journal.deliveries_of(row.id)] == ["reconciled:report-ready:report_2:a"]
    warnings = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert [each.event_id for each in warnings] == ["reconciled:report-ready:report_2"]
    assert [each.getMessage() for each in caplog.records if each.levelno == logging.INFO] == [
        "compared with GlycanAge's list: 1 reports held, 1 missing",
        "compared with GlycanAge's list: 2 reports held, 0 missing",
    ]
    told = json.dumps([each.getMessage() for each in caplog.records] + [str(each.args) for each in caplog.records])
    assert ("patient_" in told, "KIT" in told) == (False, False)


def test_what_contradicts_or_lacks_something_is_left_to_a_person(make_reconciler, peer, journal, caplog):
    """It is counted in a warning."""
    record(journal, sample())
    less = without(NEW, "glycanAge", reportId="report_4", kitCode="KIT4", testId="test_4")
    peer.answer(page(without(NEW, patientId="patient_9"), less))
    ended(make_reconciler(1)[0])

    (warning,) = [each.getMessage() for each in caplog.records]
    assert "1 reports that GlycanAge lists contradict what the journal holds, and 1 lack something" in warning
    assert len(journal.events(Filter())) == 1


def test_an_older_report_of_a_test_is_not_made_after_a_newer_one(make_reconciler, peer, journal, caplog):
    """A destination would take it for the last word. The newer one of two is made, as it was."""
    record(journal, sample())
    at = int(ROW["createdOn"])
    peer.answer(page(without(NEW, createdOn=str(at - 1))), page(without(NEW, createdOn=str(at + 1))))
    ended(make_reconciler(1)[0])
    assert [each.flags for each in journal.events(Filter())] == [""]
    assert "1 reports that GlycanAge lists contradict what the journal holds" in caplog.text

    ended(make_reconciler(1)[0])
    assert sorted(each.flags for each in journal.events(Filter())) == ["", "reconciled"]


def test_a_report_that_glycanage_may_still_be_telling_is_left_for_later(make_reconciler, peer, journal, clock):
    """Else every report would come twice that is compared in the minute of its release."""
    record(journal, sample())
    young = without(NEW, createdOn=str(clock.ms - GRACE_MS + 1))
    peer.answer(page(young))
    reconciler, _ = make_reconciler(1)
    ended(reconciler)
    assert len(journal.events(Filter())) == 1

    clock.turn(1)
    ended(make_reconciler(1)[0])
    assert sorted(each.flags for each in journal.events(Filter())) == ["", "reconciled"]


@pytest.mark.parametrize("written", [("%Y-%m-%d", 31), ("%Y-%m-%dT%H:%M", 15), ("%Y-%m-%dT%H:%M:%SZ", 1)])
def test_a_time_that_is_not_exact_is_not_taken_for_an_older_one(make_reconciler, peer, journal, clock, written):
    """A list of days alone: each report of a day would be made while GlycanAge is still telling it."""
    form, young_h = written
    record(journal, sample())
    peer.answer(page(without(NEW, createdOn=clock.now.strftime(form))))
    clock.ms += young_h * GRACE_MS
    ended(make_reconciler(1)[0])
    assert len(journal.events(Filter())) == 1

    clock.ms += GRACE_MS
    ended(make_reconciler(1)[0])
    assert len(journal.events(Filter())) == 2


def test_what_was_there_before_the_bridge_is_no_news(make_reconciler, peer, journal):
    """A clinic's results of years would all be told at once, the day it is switched on."""
    ended(make_reconciler(1)[0])
    assert journal.events(Filter()) == []

    record(journal, sample())
    first_ms = journal.events(Filter())[0].received_at
    old = without(NEW, createdOn=str(first_ms - BEFORE_THE_FIRST_MS - 1))
    late = without(
        NEW, reportId="report_5", testId="test_5", kitCode="K5", createdOn=str(first_ms - BEFORE_THE_FIRST_MS)
    )
    peer.answer(page(old, late))
    ended(make_reconciler(1)[0])
    assert [each.id for each in journal.events(Filter()) if each.flags] == ["reconciled:report-ready:report_5"]


def test_a_rehearsal_that_tells_of_years_ago_does_not_make_those_years_news(make_reconciler, peer, journal):
    """GlycanAge's own samples are of 2023; what was reconciled by hand may be older still."""
    record(journal, sample(timestamp=1500000000000, data={"createdOn": 1500000000000}))
    peer.answer(page(without(NEW, createdOn="1500000000001")))
    ended(make_reconciler(1)[0])

    assert [each.flags for each in journal.events(Filter())] == [""]


def test_whatever_fails_is_a_line_and_a_later_try(make_reconciler, peer, journal, caplog):
    """Within the hour, if it is not due before: GlycanAge is away, its answer is no list, the journal is closed."""
    peer.answer(Answer(500), Answer(200, "[]"), page(ROW))
    reconciler, waited = make_reconciler(2)
    ended(reconciler)
    assert [each < 1.1 * HOUR_S for each in waited[1:]] == [True, True]
    journal.close()
    ended(make_reconciler(1, every_h=0.5)[0])

    messages = [each.getMessage() for each in caplog.records]
    assert {each.partition(": ")[0] for each in messages} == {"not compared with GlycanAge's list, which is done later"}
    assert [each.levelname for each in caplog.records] == ["WARNING"] * 3
    assert ["answered 500" in messages[0], "there is no list" in messages[1]] == [True, True]


def test_what_nobody_has_thought_of_ends_nothing(make_reconciler, monkeypatch, caplog):
    """It is told without its text, which may be a patient's."""
    reconciler, _ = make_reconciler(1)
    monkeypatch.setattr(reconciler, "reconcile", lambda *_: {}["patient_123"])
    ended(reconciler)

    (line,) = [each.getMessage() for each in caplog.records]
    assert ("KeyError" in line, "patient_123" in line) == (True, False)


def test_a_bridge_that_stops_waits_for_no_list(make_reconciler, peer, journal, caplog):
    """What is not made yet is missing at the next start, too."""
    reconciler, _ = make_reconciler(1)

    def stop_then_answer(_request):
        reconciler._stopping.set()
        return page(NEW, following="/reports?page=2")

    peer.answer(stop_then_answer, page())
    ended(reconciler)

    assert (len(peer.requests), journal.events(Filter()), caplog.records) == (1, [], [])


def test_without_the_setting_there_is_no_thread(make_reconciler, journal):
    """Nor without the whole block."""
    switched_off, _ = make_reconciler(1, every_h=None)
    nothing = Reconciler(None, journal=journal, destinations=Destinations([]))
    for each in (switched_off, nothing):
        each.start()
        assert each._thread is None
        each.stop()


def test_a_serving_bridge_does_it_by_itself_and_delivers_what_it_makes(serving, peer):
    """The whole way; its first comparison does not wait for minutes here."""
    at_once = "import glycanbridge.reconciler as it; it.FIRST_WAIT_S = 0.0, 0.0"
    serving.program = [sys.executable, "-c", f"{at_once}; from glycanbridge.cli import main; main()"]
    listing = {"path": "/reports", "items": "data.items"}
    account = {"base_url": peer.url, "email": "a@clinic.example", "token": "t", "timeout_s": 30}
    serving.configure(
        {"all": {"plugin": "recorder", "settings": {"file": "taken.txt"}}},
        glycanage={**account, "report_list": listing, "reconcile_every_h": 1},
    )
    with closing(open_journal(f"sqlite:///{serving.folder}/var/journal.db")) as journal:
        record(journal, sample())
    peer.answer(page(ROW, without(NEW, createdOn=str(wall_clock() - 2 * GRACE_MS))))
    with served(serving):
        until(lambda: len(taken(serving)) == 1)
        assert serving.stop() == 0

    assert "reconciled:report-ready:report_2:all report-ready 1" in taken(serving)
    assert len(peer.requests) == 1
    assert "patient" not in serving.log.read_text()
