"""The benchmark of deliveries runs and tells; and would it notice a delivery that is lost, repeated or made up?"""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from conftest import make_destination, make_lane

from bench import backlog
from bench.deliveries import Plan, cases, measurements
from bench.deliveries_report import Case, as_text
from bench.events import number_of, report_id
from bench.noop import BLOCK, Noop, NoopSettings, Taken

ROOT = Path(__file__).parent.parent


def lose(journal: Path) -> None:
    """Have the journal owe again what was delivered."""
    with closing(apsw.Connection(str(journal))) as connection:
        connection.execute(
            "UPDATE deliveries SET state = 'pending', due_at = 0, finished_at = NULL "
            "WHERE state = 'delivered' AND destination = 'noop-1' AND id % 2"
        )


def test_the_benchmark_measures_every_case_and_finds_nothing_wrong(tmp_path):
    """With backlogs so short that the figures say nothing: it is about the benchmark, not about the speed."""
    tiny = ["--pending", "100", "200", "300", "--deliveries", "60", "--rounds", "1", "--folder", str(tmp_path)]
    command = [sys.executable, "-m", "bench.deliveries", *tiny]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)

    assert done.returncode == 0, done.stderr + done.stdout
    commits = []
    for case in cases(100, 200, 300):
        figures = re.search(rf"^{re.escape(str(case))}  +(.*)$", done.stdout, re.MULTILINE)[1].split()
        assert float(figures[0].replace(",", "")) > 0
        commits.append(float(figures[4]))
    assert "300 pending, process / 100 pending, process" in done.stdout
    assert list(tmp_path.iterdir()) == []
    assert max(commits) > 0, "no commits were seen"  # so short a case may fall between two of them


def test_a_short_backlog_is_filled_up_until_enough_is_measured_and_a_doctored_loss_is_told(tmp_path):
    """A harness that cannot fail proves nothing."""
    case = Case(pending=40, destinations=2)
    plan = Plan(cases=(case,), deliveries=100, rounds=1, spoil=lose, within=tmp_path)

    (measured,) = measurements(plan)

    assert measured.figures.deliveries >= 100
    first, second = measured.wrong
    assert re.fullmatch(r"noop-1: \d+ deliveries were taken and not settled", first)
    assert re.fullmatch(r"noop-1: \d+ deliveries are neither settled by one attempt nor untouched", second)
    assert f"BROKEN: round 1, {case}: {first}" in as_text([measured])


@pytest.mark.parametrize(
    ("spoil", "complaints"),
    [
        ("SELECT 1", []),
        (
            "UPDATE deliveries SET state = 'pending', due_at = 0, finished_at = NULL WHERE id = 1",
            [
                "1 deliveries were taken and not settled",
                "1 deliveries are neither settled by one attempt nor untouched",
            ],
        ),
        (
            "UPDATE deliveries SET state = 'delivered', attempt = 1, due_at = NULL, finished_at = 0 WHERE id = 5",
            [
                "1 deliveries were settled and not taken",
                "1 deliveries are neither settled by one attempt nor untouched",
            ],
        ),
        ("DELETE FROM attempts WHERE delivery = 2", ["1 deliveries are neither settled by one attempt nor untouched"]),
        (
            "INSERT INTO attempts VALUES (1, 2, 0, 1, 'delivered', NULL, NULL)",
            ["1 deliveries are neither settled by one attempt nor untouched"],
        ),
        (
            "UPDATE deliveries SET state = 'running', due_at = 0, lease_owner = 'us' WHERE id = 5",
            ["1 deliveries are neither settled by one attempt nor untouched"],
        ),
        ("DELETE FROM deliveries WHERE id = 5", ["1 deliveries are missing"]),
        ("taken twice", ["1 deliveries were taken more than once"]),
    ],
)
def test_each_way_to_differ_between_journal_and_plugin_is_told(make_bridge, clock, tmp_path, spoil, complaints):
    """Lost, made up, made twice or left in the middle: each by itself, and nothing of a journal that is right."""
    journal, file = tmp_path / "journal.db", tmp_path / "noop.counts"
    taken = Taken(file, first=0)
    plugin = Noop(NoopSettings.model_validate({"counts": file}, context={"folder": tmp_path}))
    destination = make_destination("noop", plugin, isolation="process")
    bridge = make_bridge(destination)
    backlog.add(journal, first=0, count=6, owed_to=["noop"])
    lane = make_lane(destination)
    clock.turn(1_000_000_000)  # the rows were due when they were added, by the machine's own clock
    bridge.deliver_next(lane)
    bridge.deliver_next(lane)
    assert len(taken) == 3
    if spoil == "taken twice":
        taken._counts[1] += 1
    else:
        with closing(apsw.Connection(str(journal))) as connection:
            connection.execute(spoil)

    assert backlog.wrong(journal, {"noop": taken}, owed=6) == [f"noop: {each}" for each in complaints]


def test_the_counts_are_right_also_when_some_events_come_long_after_those_behind_them(tmp_path):
    """Four lanes are ahead of each other."""
    taken = Taken(tmp_path / "counts", first=1000)
    for number in (1000, 1001, 1003, 1500, 1003):
        taken._counts[number] += 1
    assert len(taken) == 4
    assert taken.times() == {1000: 1, 1001: 1, 1003: 2, 1500: 1}

    taken._counts[1000 : 1000 + 3 * BLOCK] = bytes(1 for _ in range(3 * BLOCK))
    taken._counts[1002] = 0
    assert len(taken) == 3 * BLOCK - 1
    taken._counts[1002] = 1
    assert len(taken) == 3 * BLOCK


def test_a_number_comes_back_from_the_id_that_was_made_of_it():
    """The plugin knows an event by its `reportId` alone."""
    assert number_of(report_id(1500)) == 1500
