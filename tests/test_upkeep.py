"""The journal's file: what is damaged in it is found, and a copy is one of a single moment."""

from __future__ import annotations

import stat
import threading
from contextlib import closing

import apsw
import pytest
from test_journal import TERMS, new_event

from glycanbridge.errors import JournalError, JournalMissing, JournalUnavailable
from glycanbridge.journal import Filter
from glycanbridge.journals import migrations, open_questions
from glycanbridge.journals.opening import open_file
from glycanbridge.journals.sqlite import SqliteJournal


@pytest.fixture
def url(journal, tmp_path):
    """A journal with some events, which is being served."""
    for number in range(50):
        journal.record(new_event(timestamp=number))
    return f"sqlite:///{tmp_path}/journal.db"


def test_a_whole_journal_is_said_to_be_whole_while_it_is_served(url):
    """And how much is in it."""
    with closing(open_file(url)) as file:
        assert file.check() == []
        assert file.counted() == "50 events, 50 pending deliveries"


def test_a_glance_at_the_pages_is_bounded_in_time(url):
    """A journal of years takes minutes to read; whoever only looks in waits for none."""
    with closing(open_file(url)) as file:
        assert (file.version(), file.is_served()) == (3, True)
        assert file.quick_check(60) == []
        assert file.quick_check(-1) is None
        assert file.check() == []  # and afterwards it has all the time that it needs


def test_a_byte_that_was_flipped_in_any_body_is_found(url, tmp_path, monkeypatch):
    """SQLite's own check sees nothing of it: each body is held against its digest."""
    connection = apsw.Connection(str(tmp_path / "journal.db"))
    for row in range(1, 51):
        body = bytearray(connection.execute("SELECT body FROM events WHERE id = ?", (row,)).get)
        body[(body.index(b"KIT001234") + row % 9)] ^= 1
        connection.execute("UPDATE events SET body = ? WHERE id = ?", (bytes(body), row))
    assert connection.pragma("integrity_check") == "ok"
    connection.close()

    with closing(open_file(url)) as file:
        problems = file.check()
        monkeypatch.setattr("glycanbridge.journals.upkeep.MOST_PROBLEMS", 2)
        first = file.check()

    assert len(problems) == 50
    assert all("is not what was signed" in each for each in problems)
    assert first == [*problems[:2], "and perhaps more"]  # a screen of them is enough


def test_a_delivery_whose_event_is_gone_is_found(journal, url, tmp_path):
    """Every page may be whole, and yet not the journal."""
    connection = apsw.Connection(str(tmp_path / "journal.db"))
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("DELETE FROM events WHERE id = 7")
    connection.close()

    with closing(open_file(url)) as file:
        assert file.check() == [f"{tmp_path}/journal.db: row 7 of deliveries points at nothing"]


def test_a_journal_that_a_newer_program_wrote_is_not_said_to_be_whole(url, tmp_path):
    """We do not know what there is to check in it."""
    connection = apsw.Connection(str(tmp_path / "journal.db"))
    connection.execute("INSERT INTO schema VALUES (99, 0)")
    connection.close()

    with closing(open_file(url)) as file:
        (problem,) = file.check()

    assert "the journal has version 99" in problem


def test_damaged_pages_are_told_and_not_fatal(journal, url, tmp_path):
    """Whatever stands there."""
    journal.close()
    path = tmp_path / "journal.db"
    data = bytearray(path.read_bytes())
    for place in range(8192, len(data), 4096):
        data[place : place + 64] = b"\xff" * 64
    path.write_bytes(data)

    with closing(open_file(url)) as file:
        assert file.check() != []
        with pytest.raises(JournalUnavailable, match="malformed"):
            file.back_up(tmp_path / "copy.db")
    assert list(tmp_path.glob("copy.db*")) == []  # half a copy holds patients' data, and nobody knows of it


def test_a_copy_that_is_made_while_events_come_is_whole_and_has_all_that_came_before(journal, url, tmp_path, clock):
    """It can be put in the journal's place."""
    stopping, target = threading.Event(), tmp_path / "copy.db"

    def go_on():
        number = 1000
        while not stopping.is_set():
            journal.record(new_event(timestamp=number))
            number += 1

    sender = threading.Thread(target=go_on)
    sender.start()
    try:
        with closing(open_file(url)) as file:
            file.back_up(target)
            with pytest.raises(JournalError, match="there is a file already"):
                file.back_up(target)
    finally:
        stopping.set()
        sender.join()

    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir() if "partial" in each.name] == []
    with closing(open_file(f"sqlite:///{target}")) as copy:
        assert copy.check() == []
    with closing(open_questions(f"sqlite:///{target}")) as questions:
        assert {row.timestamp for row in questions.events(Filter(limit=10_000))} >= set(range(50))
    with closing(SqliteJournal(target, clock=clock, steady=clock.steady)) as restored:
        assert len(restored.claim("a", limit=50, terms=TERMS)) == 50


def test_a_copy_that_cannot_be_made_leaves_nothing_behind(url, tmp_path):
    """Say in a folder that is not there."""
    with closing(open_file(url)) as file, pytest.raises(JournalUnavailable, match="No such file"):
        file.back_up(tmp_path / "nowhere" / "copy.db")


def test_room_is_given_back_and_only_while_nobody_serves(journal, url, tmp_path):
    """A vacuum holds the file for long."""
    with closing(open_file(url)) as file:
        for refused in (file.vacuum, file.migrate):
            with pytest.raises(JournalUnavailable, match="a bridge serves"):
                refused()
        journal.close()
        connection = apsw.Connection(str(tmp_path / "journal.db"))
        connection.execute("CREATE TABLE filler AS SELECT zeroblob(1000000) AS x")
        connection.execute("DROP TABLE filler")
        connection.close()
        assert file.counted() == "50 events, 50 pending deliveries"  # whoever reads meanwhile keeps the log in place
        before, after = file.vacuum()
        assert after < before - 900_000
        assert file.migrate() == (migrations.newest("sqlite"),) * 2
        assert file.check() == []


def test_there_is_nothing_to_look_after_before_the_first_start(tmp_path):
    """And nothing is made by looking."""
    with pytest.raises(JournalMissing, match="glycanbridge serve"):
        open_file(f"sqlite:///{tmp_path}/journal.db")
    assert list(tmp_path.iterdir()) == []
