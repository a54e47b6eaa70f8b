"""The embedded journal: its file, its versions, and a disk or a file that makes trouble."""

from __future__ import annotations

import os
import stat
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace

import apsw
import pytest
from serving import until
from test_journal import DELIVERED, RETRY, TERMS, new_event, settle

from glycanbridge.delivery import State
from glycanbridge.disk import write_anew
from glycanbridge.errors import JournalMissing, JournalUnavailable, JournalUnusable
from glycanbridge.journal import Filter
from glycanbridge.journals import migrations, open_questions
from glycanbridge.journals.database import is_served
from glycanbridge.journals.delivering import Delivering
from glycanbridge.journals.opening import open_journal
from glycanbridge.journals.sqlite import SqliteJournal
from glycanbridge.journals.writer import LARGEST_GROUP

NEWEST = migrations.newest("sqlite")


@pytest.fixture
def path(tmp_path):
    """Where the journal's file is."""
    return tmp_path / "journal.db"


def raw(path, sql, *values):
    """Ask the file itself."""
    connection = apsw.Connection(str(path))
    try:
        return list(connection.execute(sql, values))
    finally:
        connection.close()


def test_every_commit_is_synced_to_disk(journal, open_journal_again):
    """WAL with synchronous=FULL, and foreign keys held: in the journal that makes the file, and in any later one."""
    for each in (journal, open_journal_again()):
        names = ("journal_mode", "synchronous", "foreign_keys")
        pragmas = {name: each._database.connection.pragma(name) for name in names}
        assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_a_log_that_is_written_anew_is_written_before_it_is_synced(tmp_path, monkeypatch):
    """What still stands in a buffer of ours at the sync is lost in a power cut after it."""
    log, synced_at_ns = tmp_path / "journal.db-wal", []
    log.write_bytes(b"x" * 100)
    os.utime(log, ns=(0, 0))
    monkeypatch.setattr("os.fsync", lambda handle: synced_at_ns.append(os.fstat(handle).st_mtime_ns))

    write_anew(log)

    assert synced_at_ns != [0]
    assert len(synced_at_ns) == 1
    assert log.read_bytes() == b"x" * 100


def test_its_sqlite_has_the_fix_for_lost_commits():
    """SQLite 3.7.0 to 3.51.2 can lose committed rows in WAL mode."""
    assert tuple(map(int, apsw.sqlite_lib_version().split("."))) >= (3, 51, 3)


def test_the_file_is_for_its_owner_alone(tmp_path):
    """It holds patients' data; so do the files that SQLite puts beside it."""
    journal = open_journal(f"sqlite:///{tmp_path}/new/journal.db")
    journal.record(new_event())

    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in (tmp_path / "new").iterdir()}
    journal.close()

    assert set(modes) == {"journal.db", "journal.db-wal", "journal.db-shm", "journal.db.lock"}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


def test_the_database_itself_refuses_a_state_that_is_none(journal, path):
    """CHECKs repeat the four states, and what goes with them."""
    journal.record(new_event())

    for change in ("state = 'lost'", "state = 'delivered'", "state = 'running'", "held = 1", "attempt = -1",
                   "state = 'dead', finished_at = 1", "letter = 'lost'"):  # fmt: skip
        with pytest.raises(apsw.ConstraintError):
            raw(path, f"UPDATE deliveries SET {change}")


def test_a_newer_programs_journal_is_refused_with_what_to_do(journal, path):
    """By those who write and by those who ask; the very next version is no less unknown."""
    journal.close()
    newer = migrations.newest("sqlite") + 1
    raw(path, "INSERT INTO schema VALUES (?, 0)", newer)

    for open_it in (open_journal, open_questions):
        with pytest.raises(JournalUnusable, match=rf"journal\.db: the journal has version {newer}, .* install"):
            open_it(f"sqlite:///{path}")


def test_what_is_no_journal_is_refused_and_left_alone(path):
    """Another program's database, or no database at all."""
    raw(path, "CREATE TABLE patients (name TEXT)")
    with pytest.raises(JournalUnusable, match="not a journal"):
        SqliteJournal(path)
    assert raw(path, "SELECT count(*) FROM sqlite_master") == [(1,)]

    path.write_bytes(b"a letter to the clinic" * 100)
    with pytest.raises(JournalUnusable, match="not an SQLite database"):
        SqliteJournal(path)
    assert path.read_bytes() == b"a letter to the clinic" * 100


def test_there_is_nothing_to_ask_before_the_first_start(path):
    """The message says what makes one."""
    with pytest.raises(JournalMissing, match="glycanbridge serve"):
        open_questions(f"sqlite:///{path}")
    assert not path.exists()


def test_an_older_journal_is_copied_and_brought_up_to_date(journal, path, monkeypatch, open_journal_again):
    """The copy has the older version, and everything that was in it."""
    journal.record(new_event())
    journal.close()
    steps = [*migrations.steps("sqlite"), migrations.Step(NEWEST + 1, "ALTER TABLE events ADD COLUMN more TEXT")]
    monkeypatch.setattr(migrations, "steps", lambda _dialect: steps)
    copy = path.with_name(f"journal.db.version-{NEWEST}")
    copy.write_bytes(b"what an update that failed has left")

    again = open_journal_again()
    again.record(new_event("kit-received"))

    assert raw(path, "SELECT max(version) FROM schema") == [(NEWEST + 1,)]
    assert raw(copy, "SELECT max(version), (SELECT count(*) FROM events) FROM schema") == [(NEWEST, 1)]
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert len(again.events(Filter())) == 2


def test_a_migration_that_fails_leaves_the_journal_as_it_was(journal, path, monkeypatch):
    """All of its steps, or none."""
    journal.close()
    steps = [*migrations.steps("sqlite"), migrations.Step(NEWEST + 1, "CREATE TABLE more (id INTEGER)"),
             migrations.Step(NEWEST + 2, "CREATE TABLE more (id INTEGER)")]  # fmt: skip
    monkeypatch.setattr(migrations, "steps", lambda _dialect: steps)

    with pytest.raises(JournalUnavailable):
        SqliteJournal(path)

    assert raw(path, "SELECT max(version) FROM schema") == [(NEWEST,)]
    assert raw(path, "SELECT count(*) FROM sqlite_master WHERE name = 'more'") == [(0,)]


def test_two_that_make_the_journal_at_once_make_it_once(path, monkeypatch):
    """Two commands after the journal was lost: whoever comes second finds it made."""
    steps, asked = migrations.steps, []

    def another_is_faster(dialect):
        asked.append(dialect)
        if len(asked) == 2:  # it has just seen, for the second time, that nothing is there
            SqliteJournal(path, serves=False).close()
        return steps(dialect)

    monkeypatch.setattr(migrations, "steps", another_is_faster)
    SqliteJournal(path, serves=False).close()

    assert raw(path, "SELECT version FROM schema") == [(each,) for each in range(1, NEWEST + 1)]


def test_a_command_leaves_the_journal_of_an_older_bridge_that_serves_alone(journal, path, monkeypatch):
    """Bringing it up to date under its feet would break it; once it is stopped, anybody may."""
    steps = [*migrations.steps("sqlite"), migrations.Step(NEWEST + 1, "ALTER TABLE events ADD COLUMN more TEXT")]
    monkeypatch.setattr(migrations, "steps", lambda _dialect: steps)

    with pytest.raises(JournalUnavailable, match="is of an older version"):
        SqliteJournal(path, serves=False)
    assert raw(path, "SELECT max(version) FROM schema") == [(NEWEST,)]

    journal.close()
    SqliteJournal(path, serves=False).close()
    assert raw(path, "SELECT max(version) FROM schema") == [(NEWEST + 1,)]


@pytest.mark.parametrize("days", [-1, 0, 1])
def test_waits_survive_a_start_of_the_machine_and_a_clock_that_is_set_after_it(path, clock, monkeypatch, days):
    """The steady clock counts anew then; what follows is told by the new one."""
    journal = SqliteJournal(path, clock=clock, steady=clock.steady)
    journal.record(new_event())
    (claim,) = journal.claim("a", limit=1, terms=TERMS)
    settle(journal, claim, *RETRY)
    journal.close()
    monkeypatch.setattr("glycanbridge.journals.timekeeper._boot", lambda: "another start")

    again = SqliteJournal(path, clock=clock, steady=clock.steady)
    clock.jump(days * 86_400)

    assert again.next_due_in_s("a") == 60
    again.close()


def test_a_clock_that_was_set_back_while_the_machine_was_off_holds_nothing_up(path, clock, monkeypatch):
    """No steady clock ran, but time does not run backwards: what was to come in a minute does."""
    journal = SqliteJournal(path, clock=clock, steady=clock.steady)
    journal.record(new_event())
    (claim,) = journal.claim("a", limit=1, terms=TERMS)
    settle(journal, claim, *RETRY)
    journal.close()
    monkeypatch.setattr("glycanbridge.journals.timekeeper._boot", lambda: "another start")
    clock.jump(-86_400)

    again = SqliteJournal(path, clock=clock, steady=clock.steady)

    assert again.next_due_in_s("a") == 60
    again.close()


def test_what_a_dead_process_left_behind_is_due_at_the_next_start(journal, path, clock):
    """Nobody else serves from the file, so nobody can still be at it: no lease need run out."""
    journal.record(new_event())
    (claim,) = journal.claim("a", limit=1, terms=TERMS)
    journal._database._serving.release()  # as the kernel does when a process dies

    after = SqliteJournal(path, clock=clock, steady=clock.steady)

    assert [each.delivery.attempt for each in after.claim("a", limit=1, terms=TERMS)] == [2]
    assert settle(journal, claim, *DELIVERED) is False
    after.close()


def test_a_version_1_journal_goes_on_where_it_was(path, clock):
    """What was pending, running and dead then is so now, its attempts with it."""
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE schema (version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL)")
    for _ in connection.execute(migrations.steps("sqlite")[0].sql):
        pass
    connection.execute("INSERT INTO schema VALUES (1, 0)")
    for number, (state, due_at, owner, finished_at) in enumerate(
        [("pending", 5, None, None), ("running", 9, "x", None), ("dead", None, None, 7), ("delivered", None, None, 7)]
    ):
        new = new_event(timestamp=number)
        values = (new.id.id, new.id.digest, "report-ready", number, 1, "p", "K", new.body)
        connection.execute(
            "INSERT INTO events (event_id, digest, type, timestamp, received_at, practice_id, kit_code, body) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values,
        )  # fmt: skip
        delivery = (number + 1, "a", state, number, due_at, owner, finished_at)
        connection.execute(
            "INSERT INTO deliveries (event, destination, state, attempt, due_at, lease_owner, finished_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)", delivery,
        )  # fmt: skip
    connection.execute("INSERT INTO attempts VALUES (3, 2, 1, 1, 'permanent', 'no such patient', NULL)")
    connection.close()

    journal = SqliteJournal(path, clock=clock, steady=clock.steady)

    assert [row.state for row in journal.deliveries(Filter())] == ["delivered", "dead", "running", "pending"]
    assert [each.step for each in journal.claim("a", limit=9, terms=TERMS)] == [1, 1]
    dead = journal.deliveries(Filter(state=State.DEAD))[0]
    assert [each.error for each in journal.attempts(dead.id)] == ["no such patient"]
    assert journal.owed_letters() == []
    journal.close()
    assert raw(path, "PRAGMA foreign_key_check") == []
    assert raw(path, "PRAGMA integrity_check") == [("ok",)]


def test_a_file_that_was_taken_away_is_told_and_nothing_is_answered(journal, path):
    """Else the bridge would go on writing into a file without a name, and all of it would be gone at its end."""
    journal.record(new_event())
    path.rename(path.with_name("elsewhere.db"))

    for refused in (lambda: journal.record(new_event("kit-received")), journal.probe):
        with pytest.raises(JournalUnavailable, match="moved, deleted or replaced"):
            refused()
    path.with_name("elsewhere.db").rename(path)

    assert journal.record(new_event("kit-received")).duplicate is False


def test_whatever_the_database_raises_is_an_outage(journal):
    """A table that is gone, say: GlycanAge is told to come again."""
    journal._database.connection.execute("ALTER TABLE events RENAME TO elsewhere")

    with pytest.raises(JournalUnavailable, match="no such table"):
        journal.record(new_event())


def test_a_journal_that_is_locked_at_start_is_told(path, monkeypatch):
    """A restart may help."""
    monkeypatch.setattr("glycanbridge.journals.database.BUSY_MS", 10)
    SqliteJournal(path).close()
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(JournalUnavailable, match="locked"):
        SqliteJournal(path)
    other.close()

    SqliteJournal(path).close()  # nothing of the first try is in the way of the second


def test_a_start_that_fails_at_its_last_step_is_not_in_the_way_of_the_next(path, monkeypatch):
    """The lock goes with it, and its thread."""
    with monkeypatch.context() as patch:
        patch.setattr(Delivering, "take_over", lambda _self: _refuse())
        with pytest.raises(JournalUnavailable, match="not now"):
            SqliteJournal(path)

    SqliteJournal(path).close()


def _refuse():
    raise JournalUnavailable("not now")


def test_an_empty_file_is_a_journal_that_has_not_been_made(path):
    """To those who ask."""
    path.touch()

    with pytest.raises(JournalMissing):
        open_questions(f"sqlite:///{path}")


def test_a_file_that_cannot_be_opened_is_not_held_on_to(path):
    """Whoever keeps the error keeps no lock with it."""
    path.write_bytes(b"no database at all, and long enough to be seen as none" * 99)

    with pytest.raises(JournalUnusable) as kept:
        SqliteJournal(path)

    assert (kept.value is not None, is_served(path)) == (True, False)


def test_a_second_bridge_on_one_file_is_refused(journal, path):
    """It says why; the first one goes on."""
    with pytest.raises(JournalUnavailable, match="another bridge serves from this journal"):
        SqliteJournal(path)

    assert journal.record(new_event()).duplicate is False


def test_the_steps_are_numbered_without_gaps():
    """From 1."""
    versions = [step.version for step in migrations.steps("sqlite")]

    assert versions == list(range(1, len(versions) + 1))


def test_a_file_that_another_process_has_locked_keeps_nothing_and_says_so(path, clock, monkeypatch, caplog):
    """And goes on by itself when the lock is gone; nothing was begun, so nothing is said of undoing it."""
    monkeypatch.setattr("glycanbridge.journals.database.BUSY_MS", 10)
    journal = SqliteJournal(path, clock=clock, steady=clock.steady)
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")

    for refused in (lambda: journal.record(new_event()), journal.probe):
        with pytest.raises(JournalUnavailable):
            refused()
    other.execute("ROLLBACK")

    assert journal.record(new_event()).duplicate is False
    assert caplog.records == []
    other.close()
    journal.close()


def test_a_commit_that_takes_too_long_is_given_up_and_not_repeated(path, clock, monkeypatch):
    """GlycanAge gives up on a request after ten seconds; what was given up before it began is not done later."""
    monkeypatch.setattr("glycanbridge.journals.database.BUSY_MS", 10_000)
    journal = SqliteJournal(path, clock=clock, steady=clock.steady, wait_s=0.05)
    other = apsw.Connection(str(path))
    other.execute("BEGIN IMMEDIATE")

    for number in range(2):
        with pytest.raises(JournalUnavailable, match=r"within 0\.05 s"):
            journal.record(new_event(timestamp=number))
    other.execute("ROLLBACK")
    other.close()
    journal.close()

    assert raw(path, "SELECT timestamp FROM events") == [(0,)]


def test_a_full_disk_keeps_nothing_of_a_group_and_the_next_one_is_kept(path, clock):
    """Every one of the group is told, and everything works again when there is room."""
    journal = SqliteJournal(path, clock=clock, steady=clock.steady)
    journal.probe()
    pages = journal._database.connection.pragma("page_count")
    journal._database.connection.execute(f"PRAGMA max_page_count = {pages}")
    outcomes = []

    def send(number: int) -> None:
        try:
            for step in range(20):
                journal.record(new_event(timestamp=number * 100 + step))
        except JournalUnavailable as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal._database.connection.execute("PRAGMA max_page_count = 1000000")

    assert len(outcomes) == 8
    assert all("full" in each for each in outcomes)
    assert journal.record(new_event(timestamp=10**6)).duplicate is False
    journal.close()


def test_a_probe_writes_to_the_disk_and_changes_nothing(journal, path):
    """SQLite leaves out an UPDATE that changes nothing: a disk without room would seem ready."""
    before, log = raw(path, "SELECT * FROM schema"), path.with_name("journal.db-wal")
    size_bytes = log.stat().st_size
    journal.probe()
    journal.probe()

    assert log.stat().st_size >= size_bytes + 2 * 4096
    assert raw(path, "SELECT * FROM schema") == before


def test_one_that_cannot_be_written_does_not_spoil_its_group(journal, monkeypatch):
    """The group is repeated one by one, and only the one that is at fault is told."""
    recorded, failed = [], []
    insert = journal._recording._insert

    def insert_or_fail(new, *more):
        if new.event.timestamp.microsecond == 7000:
            raise ValueError("a fault of the program's")
        return insert(new, *more)

    monkeypatch.setattr(journal._recording, "_insert", insert_or_fail)

    def send(number: int) -> None:
        try:
            recorded.append(journal.record(new_event(timestamp=number)).event_id)
        except ValueError:
            failed.append(number)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failed == [7]
    assert {row.id for row in journal.events(Filter())} == set(recorded)
    assert len(recorded) == 15


@pytest.fixture
def gated(journal, monkeypatch):
    """Holds back the first commit until `gated.go` is set, and counts all of them."""
    commit, gated = journal._database.commit, SimpleNamespace(commits=0, go=threading.Event(), then=lambda: None)

    def counted():
        gated.commits += 1
        if gated.commits == 1:
            gated.go.wait(20)
        else:
            gated.then()
        commit()

    monkeypatch.setattr(journal._writer._transaction, "commit", counted)
    with ThreadPoolExecutor(3 * LARGEST_GROUP) as callers:

        def many(count: int) -> list[Future]:
            """So many callers that wait for the writer."""
            waiting = [callers.submit(journal._writer.run, lambda: None) for _ in range(count)]
            until(lambda: journal._writer._queue.qsize() == count)
            return waiting

        gated.first, gated.many = callers.submit(journal._writer.run, lambda: None), many
        until(lambda: gated.commits == 1)
        yield gated
        gated.go.set()


def test_a_disk_that_takes_nothing_is_asked_once_for_a_whole_group(gated):
    """Each of sixty on its own would wait for a lock of two seconds, and be told when nobody listens any more."""

    def full():
        raise apsw.FullError("the disk is full")

    gated.then = full
    waiting = gated.many(5)
    gated.go.set()

    gated.first.result()
    for each in waiting:
        with pytest.raises(JournalUnavailable, match="full"):
            each.result()
    assert gated.commits == 2


def test_a_group_is_not_larger_than_it_may_be(gated):
    """What many have sent at once must be on the disk before the first of them gives up."""
    waiting = gated.many(2 * LARGEST_GROUP + 1)
    gated.go.set()

    for each in waiting:
        each.result()
    assert gated.commits == 1 + 3


def test_requests_that_wait_share_a_commit(path, clock):
    """While one commit runs the next group gathers: far fewer commits than events."""
    journal = SqliteJournal(path, clock=clock, steady=clock.steady)
    commits = []
    commit = journal._writer._transaction.commit
    journal._writer._transaction.commit = lambda: (commits.append(1), commit())
    threads = [
        threading.Thread(target=lambda n=number: [journal.record(new_event(timestamp=n * 100 + i)) for i in range(20)])
        for number in range(32)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(journal.events(Filter(limit=1000))) == 640
    assert len(commits) < 320
    journal.close()
