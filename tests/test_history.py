"""A journal with years of history: what an older version left goes on, and no question reads all of it."""

from __future__ import annotations

import itertools
import random
import shutil
import subprocess
import sys
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import apsw
import pytest
from test_journal import DELIVERED, TERMS, new_event, settle

from bench import history, past
from bench.asked import questions
from glycanbridge.delivery import State
from glycanbridge.journal import Filter
from glycanbridge.journals import migrations
from glycanbridge.journals.opening import open_file
from glycanbridge.journals.questions import SqliteQuestions
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


STATES = (
    "due_at = 1",
    "due_at = NULL",
    "due_at = NULL, held = 1",
    "state = 'running', due_at = 1, lease_owner = 'me'",
    "state = 'dead', due_at = NULL, finished_at = 1",
    "state = 'delivered', due_at = NULL, finished_at = 1",
)
FILTERS = [
    Filter(limit=limit, **dict(zip(("type", "destination", "state", "held", "since", "kit"), parts, strict=True)))
    for limit in (2, 100)
    for parts in itertools.product(
        (None, "kit-received"), (None, "a", "b", "c"), (None, *State), (False, True), (None, 15), (None, "KIT001234")
    )
]


def fits(which, event, delivery) -> bool:
    """Whether a delivery of an event is what is asked for."""
    asked = {which.type: event.type, which.destination: delivery.destination, which.state: delivery.state}
    asked[which.kit] = event.kit_code
    return (
        all(asked_for in (None, had) for asked_for, had in asked.items())
        and (delivery.held or not which.held)
        and event.received_at >= (which.since or 0)
    )


@pytest.mark.parametrize("many", [1, 4, 10_000])
def test_a_list_is_the_same_whatever_leads(path, clock, monkeypatch, many):
    """Each filter, and each two of them, against all there is; events are not recorded in the order of their times."""
    monkeypatch.setattr("glycanbridge.journals.lists.MANY", many)
    monkeypatch.setattr("glycanbridge.journals.lists.MANY_OF_DESTINATION", many)
    chance = random.Random(7)
    with closing(SqliteJournal(path, clock=clock, steady=clock.steady)) as journal:
        for number in range(40):
            kind = chance.choice(["report-ready", "kit-received", "order-status-changed"])
            new = new_event(kind, owed_to=chance.choice([("a", "b"), ("a",), ("b",)]), timestamp=number)
            journal.record(replace(new, received_at=chance.randrange(30)))
        with closing(apsw.Connection(str(path))) as connection:
            for row in range(1, connection.execute("SELECT max(id) FROM deliveries").get + 1):
                connection.execute(f"UPDATE deliveries SET {chance.choice(STATES)} WHERE id = ?", (row,))
            order = dict(connection.execute("SELECT event_id, id FROM events"))
            places = dict(connection.execute(
                "SELECT lower(hex(e.key)) || ':' || d.destination, d.id FROM deliveries d, events e WHERE e.id = event"
            ))  # fmt: skip
        events = sorted(journal.events(Filter(limit=100)), key=lambda row: (-row.received_at, -order[row.id]))
        owed = {row.id: journal.deliveries_of(row.id) for row in events}
        for which in FILTERS:
            fitting = [row.id for row in events if any(fits(which, row, each) for each in owed[row.id])]
            assert [row.id for row in journal.events(which)] == fitting[: which.limit], which
            pairs = [(row, each) for row in events for each in owed[row.id] if fits(which, row, each)]
            found = journal.deliveries(which)
            assert len(found) == min(which.limit, len(pairs)), which
            assert {each.id for each in found} <= {each.id for _, each in pairs}, which
            by_id = sorted((each.id for _, each in pairs), key=lambda name: -places[name])
            if which.type is None and which.since is None:
                assert [each.id for each in found] == by_id[: which.limit], which


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


SHORT, LONG = 2_000, 40_000


@pytest.fixture(scope="module")
def pasts(tmp_path_factory):
    """Two journals with as few rows that are out of the ordinary, one of them with twenty times as many others."""
    folder = tmp_path_factory.mktemp("pasts")
    paths = {count: folder / f"{count}.db" for count in (SHORT, LONG)}
    for count, path in paths.items():
        past.make(path, count)
    return paths


@contextmanager
def steps(connection: apsw.Connection):
    """Counts the steps that SQLite's machine takes, a list: what is asked costs that, on any machine at any hour."""
    counted = []
    connection.trace_v2(
        apsw.SQLITE_TRACE_PROFILE, lambda told: counted.append(told["stmt_status"]["SQLITE_STMTSTATUS_VM_STEP"])
    )
    yield counted
    connection.trace_v2(0, None)


def test_no_question_takes_longer_after_years(pasts):
    """A person who looks for what is wrong has no time to read ten million events."""
    slow = {}
    for short, long in zip(*(questions(path, count) for count, path in pasts.items()), strict=True):
        took = []
        for path, question in zip(pasts.values(), (short, long), strict=True):
            with closing(SqliteQuestions(path)) as asked, steps(asked._reader) as counted:
                assert len(question.ask(asked)) == question.rows, question.name
            took.append(sum(counted))
        if took[1] > 1.3 * took[0] + 100:
            slow[short.name] = took

    assert slow == {}


def test_what_a_bridge_does_takes_no_longer_after_years(pasts, tmp_path):
    """Its start, an event that comes, a duplicate, a claim, a settlement, and when to look again."""
    took = {}
    for count, path in pasts.items():
        copy = shutil.copy(path, tmp_path / path.name)
        with closing(SqliteJournal(Path(copy))) as journal, steps(journal._database.connection) as counted:
            journal._writer.run(journal._delivering.take_over)
            new = new_event(owed_to=("ehr",))
            assert journal.record(new).duplicate is False
            assert journal.record(new).duplicate is True
            claims = journal.claim("ehr", limit=10, terms=TERMS)
            assert [settle(journal, claim, *DELIVERED) for claim in claims] == [True] * 10
            assert journal.next_due_in_s("ehr") == 0
        took[count] = sum(counted)

    assert took[LONG] < 1.1 * took[SHORT] + 100


def test_what_is_many_is_found_among_the_newest(journal, monkeypatch):
    """A million that wait are not sorted to show fifty of them."""
    for number in range(8):
        journal.record(new_event(timestamp=number))
    filters = Filter(state="pending"), Filter(state="pending", since=1), Filter(state="pending", destination="a")
    few = [(journal.events(each), journal.deliveries(each)) for each in filters]
    monkeypatch.setattr("glycanbridge.journals.lists.MANY", 8)

    assert [(journal.events(each), journal.deliveries(each)) for each in filters] == few
    assert {(len(events), len(deliveries)) for events, deliveries in few} == {(8, 8)}


@pytest.mark.parametrize("spoilt", [False, True])
def test_the_benchmark_says_so_when_an_answer_is_wrong(tmp_path, monkeypatch, capsys, spoilt):
    """Else it would praise a journal that finds nothing, and quickly."""
    events = SqliteQuestions.events
    if spoilt:
        monkeypatch.setattr(SqliteQuestions, "events", lambda self, which: events(self, which)[:49])
    told = SimpleNamespace(folder=tmp_path, events=20_000, rounds=1, record=160, json=None)

    status = history._run(told)

    assert (status, "BROKEN" in capsys.readouterr().out) == (spoilt, spoilt)


VACUUM = """
import sys
from pathlib import Path
from types import SimpleNamespace
from glycanbridge.journals.opening import open_file

def held():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024

file = open_file("sqlite:///" + sys.argv[1])
before = held()
file.vacuum()
print(held() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell how much memory was held")
def test_the_file_is_written_anew_without_being_held_in_memory(path):
    """Six gigabytes after ten million events, on a machine that has two."""
    past.make(path, 100_000)

    done = subprocess.run([sys.executable, "-c", VACUUM, path], capture_output=True, text=True, check=True)

    assert int(done.stdout) < path.stat().st_size / 2
