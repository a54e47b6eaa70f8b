"""What is looked after while lanes run: leases, and the directory of dead letters."""

from __future__ import annotations

import threading

import pytest
from conftest import Taker, make_destination, make_lane
from serving import SECRET, sample, until
from test_journal import DEAD, DELIVERED, TERMS, new_event, settle

from glycanbridge import PermanentError
from glycanbridge.destinations import Destinations
from glycanbridge.errors import DeadLetterError, JournalUnavailable
from glycanbridge.glycanage.notes import SIGNED, SecretNotes, about_secret, takes
from glycanbridge.glycanage.reports import NoReports
from glycanbridge.keeper import Keeper
from glycanbridge.signature import Secrets, sign


@pytest.fixture
def keeper(journal, dead_letters):
    """A keeper that is not started."""
    destinations = Destinations([make_destination("a", Taker(), timeout_s=0.1)])
    return Keeper(journal=journal, destinations=destinations, dead_letters=dead_letters)


def test_a_dead_letter_is_written_once_the_directory_is_back(make_bridge, keeper, dead_letters):
    """An unwritable directory stops nothing: the delivery is dead in the journal meanwhile."""
    dead_letters.directory.write_text("a file in the directory's place")
    taker = Taker()
    taker.raises = PermanentError("no such patient")
    destination = make_destination("a", taker)
    bridge = make_bridge(destination)
    bridge.accept(sample(), sign(sample(), SECRET))
    bridge.deliver_next(make_lane(destination))

    with pytest.raises(DeadLetterError, match="no dead letter can be written"):
        keeper.write_owed_letters()
    dead_letters.directory.unlink()
    keeper.write_owed_letters()
    keeper.write_owed_letters()

    (letter,) = dead_letters.letters()
    assert (letter.reason, letter.attempts, letter.plugin) == ("no such patient", 1, "taker")
    assert letter.body == sample()
    assert bridge.journal.owed_letters() == []


def test_the_letter_of_what_was_delivered_just_before_a_kill_is_removed(make_bridge, keeper, dead_letters, taker):
    """The journal knows that it was; others stay."""
    destination = make_destination("a", taker)
    bridge = make_bridge(destination)
    bridge.accept(sample(), sign(sample(), SECRET))
    (claim,) = bridge.journal.claim("a", limit=1, terms=TERMS)
    bridge.journal.release([claim])
    dead_letters.bury(claim.delivery, plugin="taker", reason="away")
    kept = dead_letters.quarantine(b"[]", reason="not an event")

    keeper.remove_settled_letters()
    assert len(list(dead_letters.letters())) == 2
    bridge.deliver_next(make_lane(destination))
    keeper.remove_settled_letters()

    assert list(dead_letters.letters()) == [kept]


def test_a_directory_that_takes_nothing_is_asked_once_at_a_time(journal, keeper, dead_letters):
    """A hundred lines about one full disk hide all others."""
    dead_letters.directory.write_text("a file in the directory's place")
    for number in range(3):
        journal.record(new_event(timestamp=number))
    for claim in journal.claim("a", limit=9, terms=TERMS):
        settle(journal, claim, *DEAD, letter=False)

    with pytest.raises(DeadLetterError, match="no dead letter can be written"):
        keeper.write_owed_letters()

    assert len(journal.owed_letters()) == 3


def test_the_letter_of_a_destination_that_is_gone_is_written_all_the_same(journal, dead_letters):
    """Else all others would wait behind it."""
    journal.record(new_event())
    (claim,) = journal.claim("a", limit=1, terms=TERMS)
    settle(journal, claim, *DEAD, letter=False)

    Keeper(journal=journal, destinations=Destinations([]), dead_letters=dead_letters).write_owed_letters()

    assert [(each.destination, each.plugin) for each in dead_letters.letters()] == [("a", "")]


def test_the_letter_stays_where_only_the_neighbour_has_the_event(journal, keeper, dead_letters):
    """Each destination is owed it for itself."""
    journal.record(new_event(owed_to=("a", "b")))
    (claim,), (other,) = (journal.claim(name, limit=1, terms=TERMS) for name in ("a", "b"))
    settle(journal, claim, *DEAD)
    settle(journal, other, *DELIVERED)
    dead_letters.bury(claim.delivery, plugin="taker", reason="away")

    keeper.remove_settled_letters()

    assert len(list(dead_letters.letters())) == 1


def test_it_looks_before_leases_end_and_at_dead_letters_less_often(keeper, monkeypatch):
    """Two renewals may fail; a directory that is away is not asked at each of them."""
    naps, renewed, wrote, removed = [], [], [], []
    monkeypatch.setattr(keeper, "remove_settled_letters", lambda: removed.append(len(naps)))
    monkeypatch.setattr(keeper._journal, "renew", lambda: renewed.append(len(naps)))
    monkeypatch.setattr(keeper, "write_owed_letters", lambda: wrote.append(len(naps)))

    def nap(nap_s):
        naps.append(nap_s)
        if len(naps) == 3:
            keeper._stopping.set()

    monkeypatch.setattr(keeper._stopping, "wait", nap)
    keeper.start()
    until(lambda: len(naps) == 3)
    keeper.stop()

    assert max(naps) <= keeper._destinations["a"].terms.lease_s / 3
    assert (renewed, wrote, removed) == ([0, 1, 2], [0], [0])


def test_it_notes_which_secrets_are_taken_and_have_signed(journal, dead_letters, monkeypatch):
    """While it runs, at the start and at each look; a rotation is another process and looks into the journal."""
    secrets = Secrets([SECRET])
    notes, about = SecretNotes(journal, secrets), about_secret(*secrets.fingerprints)
    keeper = Keeper(journal=journal, destinations=Destinations([]), dead_letters=dead_letters, notes=notes)
    monkeypatch.setattr("glycanbridge.keeper.LONGEST_NAP_S", 0.01)
    keeper.start()
    until(lambda: takes(journal) == secrets.fingerprints)
    secrets.verify(sample(), sign(sample(), SECRET))
    until(lambda: [each.what for each in journal.history(about)] == [SIGNED])
    keeper.stop()


def test_what_has_signed_just_before_the_end_is_noted_too(journal, dead_letters):
    """An event may come once a week, and a rotation waits for it."""
    secrets = Secrets([SECRET])
    notes, about = SecretNotes(journal, secrets), about_secret(*secrets.fingerprints)
    keeper = Keeper(journal=journal, destinations=Destinations([]), dead_letters=dead_letters, notes=notes)
    keeper.start()
    until(lambda: takes(journal) == secrets.fingerprints)
    secrets.verify(sample(), sign(sample(), SECRET))
    keeper.stop()

    assert [each.what for each in journal.history(about)] == [SIGNED]


def test_it_renews_what_lanes_hold_and_goes_on_whatever_happens(journal, keeper, monkeypatch, caplog):
    """A journal that is away for a moment, a fault of the program's."""
    journal.record(new_event())
    journal.claim("a", limit=1, terms=TERMS)
    trouble, renewed, renew = [JournalUnavailable("the disk is full"), ValueError("a fault")], [], journal.renew

    def renew_or_fail():
        if trouble:
            raise trouble.pop()
        renewed.append(renew())

    monkeypatch.setattr(journal, "renew", renew_or_fail)
    monkeypatch.setattr("glycanbridge.keeper.LONGEST_NAP_S", 0.01)
    keeper.start()
    until(lambda: len(renewed) > 2)
    keeper.stop()

    assert "looked after later" in caplog.text
    assert "the keeper failed and goes on" in caplog.text


def test_a_disk_that_hangs_keeps_no_lease_from_being_renewed(journal, dead_letters):
    """Old reports are looked after beside all else: theirs may be a network's."""

    class Hanging(NoReports):
        def tidy(self) -> None:
            looked.set()
            over.wait()

    looked, over = threading.Event(), threading.Event()
    destinations = Destinations([make_destination("a", Taker(), timeout_s=0.1)])
    keeper = Keeper(journal=journal, destinations=destinations, dead_letters=dead_letters, reports=Hanging())
    renewed = threading.Semaphore(0)
    renew = journal.renew
    journal.renew = lambda: (renew(), renewed.release())
    keeper.start()
    try:
        assert looked.wait(20)
        assert all(renewed.acquire(timeout=20) for _ in range(3))
    finally:
        over.set()
        keeper.stop()
