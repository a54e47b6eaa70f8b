"""What is left when the process is killed again and again, or paused; and would the harness see it if it were less?"""

from __future__ import annotations

import re
import signal
from collections import Counter
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from conftest import make_destination, make_lane
from serving import SECRET, install_plugin, sample, served, until

from bench import receipts
from bench.crashes import Plan, as_text, crash
from bench.promise import Counts, broken, counted, cut_off, unexplained, unrest
from bench.receipts import Receipt, received
from glycanbridge.delivery import State, wall_clock
from glycanbridge.journal import AttemptRow, Filter
from glycanbridge.journals import open_questions
from glycanbridge.signature import sign

SEED = 20
"""Of the moments of the kills; `python -m bench.crashes --kills 20 --seed 20` is the same again, by hand."""


def forget(journal: Path) -> None:
    """Delete from the journal whatever is still owed to one destination."""
    with closing(apsw.Connection(str(journal))) as connection:
        connection.execute("DELETE FROM deliveries WHERE state <> 'delivered' AND destination = 'slow'")
        connection.execute("DELETE FROM events WHERE id NOT IN (SELECT event FROM deliveries)")


def unsettle(journal: Path) -> None:
    """Have the journal owe again what was delivered, at the first attempt and without a kill."""
    with closing(apsw.Connection(str(journal))) as connection:
        connection.execute(
            "UPDATE deliveries SET state = 'pending', due_at = 0, finished_at = NULL "
            "WHERE state = 'delivered' AND attempt = 1"
        )


def invent(journal: Path) -> None:
    """Have a destination receive what nobody has sent."""
    with journal.with_name("fast.txt").open("a", encoding="utf-8") as file:
        file.write("report_of_nobody nobody:fast 1\n")


def test_twenty_kills_under_load_break_no_promise(tmp_path):
    """Acknowledged is delivered, never sent is never delivered, and a repeat was cut off by a kill."""
    report = crash(Plan(kills=20, seed=SEED, within=tmp_path))

    assert report.broken == [], as_text(report)
    assert report.counts["fast"].acknowledged > report.kills
    assert report.cut_off > 0


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (forget, "slow: .* events were answered 200 and not delivered"),
        (forget, ".* events do not have their 2 deliveries"),
        (unsettle, "fast: .* deliveries were repeated without having been cut off"),
        (invent, "fast: 1 events were delivered and never sent"),
    ],
)
def test_the_harness_sees_a_journal_that_is_spoilt_between_two_lives(tmp_path, spoil, complaint):
    """A harness that cannot fail proves nothing."""
    report = crash(Plan(kills=8, seed=SEED, after_kill=spoil, within=tmp_path))

    assert any(re.match(complaint, each) for each in report.broken), as_text(report)


def test_the_seven_counts_are_jepsens():
    """One event in each of the ways that it can go: kept, lost, invented, doubled, recovered, never made it."""
    counts = counted(
        {"kept", "lost", "recovered", "never made it"}, {"kept", "lost"}, ["kept", "kept", "recovered", "?"]
    )

    assert counts == Counts(attempted=4, acknowledged=2, ok=2, lost=1, unexpected=1, duplicated=1, recovered=1)


@pytest.mark.parametrize(
    ("outcomes", "killed", "receipts_of", "explained"),
    [
        ({1: "delivered"}, set(), [1], True),
        ({1: "delivered"}, set(), [1, 1], False),
        ({2: "delivered"}, {1}, [1, 2], True),
        ({2: "delivered"}, {1}, [1, 2, 2], False),
        ({2: "delivered"}, {1}, [1, 1, 2], False),
        ({2: "delivered"}, set(), [1, 2], False),
        ({1: "unknown", 2: "delivered"}, {1}, [1, 2], True),
        ({1: "unknown", 2: "unknown", 3: "delivered"}, {1, 2}, [1, 2, 3], True),
        ({1: "unknown", 3: "delivered"}, {1, 2}, [1, 2, 3], True),
        ({1: "temporary", 2: "delivered"}, {1}, [1, 2], False),
    ],
)
def test_a_repeat_is_explained_by_attempts_that_a_kill_cut_off_and_by_nothing_else(
    outcomes, killed, receipts_of, explained
):
    """Whether the journal leaves a gap for such an attempt or a row of its own."""
    attempts = [
        AttemptRow(number=number, started_at=0, duration_ms=1, outcome=outcome, error=None, receipt=None)
        for number, outcome in outcomes.items()
    ]
    lines = [Receipt("report_1", "event:all", attempt) for attempt in receipts_of]
    in_flight = {("event:all", number) for number in killed}

    assert unexplained(lines, lambda _delivery: attempts, in_flight) == ([] if explained else ["event:all"])


def test_more_repeats_than_the_lanes_could_hold_at_the_kills_are_told():
    """Even if each of them looks as if it was cut off."""
    counts = counted({"a"}, {"a"}, ["a", "a", "a"])

    assert broken(counts, [], most_repeats=2) == []
    assert broken(counts, [], most_repeats=1) == ["2 repeats, and the kills explain 1 at the most"]


def test_a_delivery_that_was_never_attempted_was_never_cut_off():
    """So that a receipt for one is not explained."""
    assert cut_off([]) == 0


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        ("SELECT 1", []),
        ("DELETE FROM deliveries WHERE destination = 'slow'", ["1 events do not have their 2 deliveries"]),
        (
            "UPDATE sqlite_master SET sql = replace(sql, '''dead''', '''delivered''') WHERE name = 'deliveries_dead'",
            ["integrity_check: row 1 missing from index deliveries_dead"],
        ),
        (
            "UPDATE deliveries SET state = 'pending', due_at = 0, finished_at = NULL WHERE id = 1",
            ["fast: 1 pending, 0 running, 0 dead"],
        ),
        (
            "UPDATE deliveries SET state = 'running', due_at = 0, finished_at = NULL, lease_owner = 'us' WHERE id = 1",
            ["fast: 0 pending, 1 running, 0 dead"],
        ),
        ("UPDATE deliveries SET state = 'dead' WHERE id = 2", ["slow: 0 pending, 0 running, 1 dead"]),
    ],
)
def test_a_journal_is_at_rest_only_if_all_is_whole_and_delivered(make_bridge, taker, tmp_path, spoil, complaint):
    """Each thing that could be wrong with it is told, and nothing else."""
    destinations = [make_destination(name, taker) for name in ("fast", "slow")]
    bridge = make_bridge(*destinations)
    bridge.accept(sample(), sign(sample(), SECRET))
    for each in destinations:
        bridge.deliver_next(make_lane(each))
    with closing(apsw.Connection(str(tmp_path / "journal.db"))) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(spoil)

    assert unrest(tmp_path / "journal.db", destinations=2) == complaint


def test_a_process_that_was_paused_for_longer_than_a_lease_delivers_once(serving):
    """A laptop's lid, a debugger, a frozen container: the lanes come back to leases that have run out meanwhile."""
    install_plugin(serving.packages, "receipts", Path(receipts.__file__).read_text(encoding="utf-8"))
    settings = {"file": "taken.txt", "after_ms": 250}
    retry = {"tries": 1, "schedule_s": [0.1] * 9}
    serving.configure(
        {"all": {"plugin": "receipts", "lanes": 2, "timeout_s": 0.5, "retry": retry, "settings": settings}}
    )
    taken = serving.folder / "taken.txt"
    with served(serving), closing(open_questions(f"sqlite:///{serving.folder}/var/journal.db")) as questions:
        serving.post(sample())
        until(lambda: received(taken))
        serving.process.send_signal(signal.SIGSTOP)
        try:
            (delivery,) = questions.deliveries(Filter())
            assert delivery.state is State.RUNNING
            until(lambda: wall_clock() > delivery.due_at)  # while it runs, this is the end of its lease
        finally:
            serving.process.send_signal(signal.SIGCONT)
        for number in range(2):
            serving.post(sample(timestamp=number))
        until(lambda: not questions.owed())

    times = Counter(each.delivery_id for each in received(taken))
    assert times[delivery.id] == 1
    assert list(times.values()) == [1, 1, 1]
