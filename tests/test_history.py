"""A journal with years of history: what an older version left goes on, and no question reads all of it."""

from __future__ import annotations

from contextlib import closing

import apsw
import pytest
from test_journal import new_event

from glycanbridge.journal import Filter
from glycanbridge.journals import migrations, open_file
from glycanbridge.journals.sqlite import SqliteJournal


@pytest.fixture
def path(tmp_path):
    """Where the journal's file is."""
    return tmp_path / "journal.db"


def test_a_version_2_journal_knows_all_of_its_events_again(path, clock):
    """Whatever they were kept under: what comes once more is a duplicate, and each is found by its id."""
    first, other = new_event(id="evt_1"), new_event(id="evt_1", data={"reportId": "r2"})
    upper = new_event(id="A" * 64)  # looks like a hash, and is none
    kept = [(new_event(), ""), (first, ""), (other, "id-conflict"), (upper, "")]
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("CREATE TABLE schema (version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL)")
        for step in migrations.steps("sqlite")[:2]:
            list(connection.execute(step.sql))
            connection.execute("INSERT INTO schema VALUES (?, 0)", (step.version,))
        for new, flags in kept:
            values = (new.id.hash if flags else new.id.id, new.id.digest, flags, new.body)
            connection.execute(
                "INSERT INTO events (event_id, digest, type, timestamp, received_at, practice_id, flags, body) "
                "VALUES (?, ?, 'report-ready', 1, 1, 'p', ?, ?)", values,
            )  # fmt: skip
            event = connection.last_insert_rowid()
            connection.execute("INSERT INTO deliveries (event, destination, due_at) VALUES (?, 'a', 1)", (event,))

    with closing(SqliteJournal(path, clock=clock, steady=clock.steady)) as journal:
        ids = {journal.record(new).event_id for new, _ in kept if journal.record(new).duplicate}
        assert ids == {kept[0][0].id.hash, "evt_1", other.id.hash, "A" * 64}
        assert {row.id for each in ids for row in journal.event(each)} == ids
        assert [row.body for row in journal.events(Filter())] == [new.body for new, _ in reversed(kept)]
        assert [row.state for row in journal.deliveries(Filter())] == ["pending"] * 4
    with closing(open_file(f"sqlite:///{path}")) as file:
        assert file.check() == []


def test_an_id_may_begin_like_a_hash_and_be_its_senders(journal):
    """Both are looked through: a person types what he sees, be it half a byte."""
    hashed = new_event()
    beginning = hashed.id.hash[:5]
    senders = new_event(id=f"{beginning}x")
    journal.record(hashed)
    assert [row.id for row in journal.event(beginning)] == [hashed.id.hash]
    journal.record(senders)

    assert {row.id for row in journal.event(beginning)} == {hashed.id.hash, senders.id.id}
    assert [row.id for row in journal.event(hashed.id.hash[:6])] == [hashed.id.hash]
    assert [row.id for row in journal.event(senders.id.id)] == [senders.id.id]
    assert journal.event("0" * 65) == journal.event(hashed.id.hash.upper()) == []


def test_the_database_itself_refuses_an_event_that_is_there_or_has_no_digest(journal, path):
    """Whoever writes to it."""
    journal.record(new_event())

    with closing(apsw.Connection(str(path))) as connection:
        for key in ("(SELECT key FROM events)", "'evt_1'", "17", "NULL"):
            with pytest.raises(apsw.ConstraintError):
                connection.execute(
                    "INSERT INTO events (key, type, timestamp, received_at, practice_id, body) "
                    f"VALUES ({key}, 'report-ready', 1, 1, 'p', x'')"
                )
