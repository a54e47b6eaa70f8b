"""The benchmark runs and tells; and would it notice a lost event, another status, an answer that does not come?"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw
import pytest

from bench import backlog, kept, measures, servers
from bench.__main__ import SLOW_SYNC_FLAGS, SLOW_SYNC_US
from bench.goals import Goal, goals
from bench.load import Load, compiled, loopback
from bench.measures import Bench
from bench.processes import Cores, Failed
from bench.report import as_json, as_text
from bench.scenarios import SCENARIOS, Measurement, UnderLoad, cases, measurements
from bench.servers import served

ROOT = Path(__file__).parent.parent
SECRET = "a secret of the benchmark's tests"
PATH = "/webhooks/glycanage"
BARE, OURS = UnderLoad(server="bare", connections=16), UnderLoad(server="ours-4", connections=16)

needs_compiler = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None, reason="the load is a C program for Linux"
)


def measurement(case: UnderLoad, number: int, **figures: float) -> Measurement:
    """What a round would have measured."""
    return Measurement(case=case, round=number, figures=figures, troubles=(), failed=False)


@contextmanager
def answering(*statuses: int) -> Iterator[str]:
    """A server for one connection that answers with these statuses, the last one again and again; 0: it hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=answer, args=(listening, statuses))
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}{PATH}"
        thread.join()


def answer(listening: socket.socket, statuses: tuple[int, ...]) -> None:
    """Answer until the far side closes, each time in two pieces: an answer may come so."""
    connection, _ = listening.accept()
    with connection, connection.makefile("rb") as requests:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        told = iter(statuses)
        while requests.readline():
            lengths = [int(line.split()[1]) for line in iter(requests.readline, b"\r\n") if b"Length" in line]
            requests.read(lengths[0])
            status = next(told, statuses[-1])
            if not status:
                return
            connection.sendall(b"HTTP/1.1 %d Said\r\nContent-Length: 2\r\n\r\no" % status)
            connection.sendall(b"k")


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """The compiled load, with 400 events: a hundred of them are for the warm-up."""
    return Load(tmp_path_factory.mktemp("load"), secret=SECRET, requests=400, path=PATH)


@pytest.fixture
def bench(load, tmp_path):
    """What measures, for a moment only."""
    slow_sync = compiled("slow_sync.c", tmp_path / "slow_sync.so", *SLOW_SYNC_FLAGS)
    within = tmp_path / "within"
    within.mkdir()
    return Bench(
        load=load, secret=SECRET, slow_sync=slow_sync, cores=Cores(None, None), within=within, seconds=0.2, idle_s=0.2
    )


@needs_compiler
def test_the_load_tells_what_was_answered_and_how(load, tmp_path):
    """A rate of answers that were no 200, or of events nobody heard of again, would be a lie."""
    with answering(*[200] * 150, 503, 200, 0) as url:
        answers = load.answers(url, connections=1, seconds=20, core=None, errors=tmp_path / "errors.txt")

    assert answers.accepted == [*range(150), 151]
    assert answers.other_statuses == {"503": 1}
    assert answers.unanswered == 1
    assert 0 < answers.p50_ms <= answers.p99_ms <= answers.worst_ms
    assert answers.events_per_s > 0


@needs_compiler
def test_a_paced_load_sends_no_more_than_is_due(load, tmp_path):
    """Otherwise it would say how the bridge does under full load, and call it an ordinary day."""
    starts = []
    with answering(200) as url:
        answers = load.answers(
            url,
            connections=1,
            seconds=0.3,
            per_s=100,
            core=None,
            errors=tmp_path / "errors.txt",
            at_start=lambda: starts.append("measuring"),
        )

    warm_up, due = 100, 30
    assert 0 < len(answers.accepted) <= warm_up + due + 1
    assert starts == ["measuring"]


@needs_compiler
@pytest.mark.parametrize("address", ["192.0.2.1", "0.0.0.0", "bridge.example"])
def test_the_load_goes_to_this_machine_alone(load, address):
    """Nobody is to aim it at somebody's server by mistake: neither from Python nor by hand."""
    with pytest.raises(ValueError, match=r"loopback|address"):
        loopback(f"http://{address}:8080{PATH}")

    words = [load.program, address, "8080", load.requests, "1", "0", "1", "0"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, "loopback" in done.stderr) == (2, True)


@needs_compiler
@pytest.mark.parametrize(
    ("bounds", "told"),
    [
        (["1001", "0", "1"], "1 to 1000 connections"),
        (["0", "0", "1"], "1 to 1000 connections"),
        (["1", "60", "61"], "0 to 120 seconds"),
        (["1", "0", "0"], "0 to 120 seconds"),
    ],
)
def test_the_load_is_bounded(load, bounds, told):
    """In connections and in time."""
    words = [load.program, "127.0.0.1", "8080", load.requests, *bounds, "0"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)

    assert done.returncode == 2
    assert told in done.stderr


def test_whoever_has_no_compiler_is_told_what_to_install(tmp_path, monkeypatch):
    """Not every laptop has one."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(Failed, match="install gcc"):
        compiled("load.c", tmp_path / "load")


@needs_compiler
def test_a_receiver_that_answers_200_and_keeps_nothing_is_found_out(bench, monkeypatch):
    """That is the one thing the benchmark must not miss: the bare application passes itself off as the bridge."""

    @contextmanager
    def careless(_server, **more):
        with served("bare", **more) as serving:
            backlog.make(serving.made.journal)
            yield measures.Serving(
                process=serving.process, url=serving.url, made=serving.made, destinations=4, taken=[]
            )

    monkeypatch.setattr(measures, "served", careless)
    outcome = bench.under_load("ours-4", connections=4, pinned=False)

    assert outcome.failed
    assert "events were answered 200 and are not in the journal" in outcome.troubles[0]


def test_what_is_missing_in_a_journal_is_told(tmp_path):
    """An event, a delivery, or one too many."""
    journal = tmp_path / "journal.db"
    backlog.make(journal)
    backlog.add(journal, first=0, count=5, owed_to=["one", "two"])
    assert kept.missing(journal, range(5), destinations=2) == []

    with closing(apsw.Connection(str(journal))) as connection:
        connection.execute("DELETE FROM deliveries WHERE event = 1 AND destination = 'two'")

    assert kept.missing(journal, range(5), destinations=2) == ["1 events do not have 2 deliveries"]
    lost, extra, _ = kept.missing(journal, [0, 1, 2, 3, 9], destinations=2)
    assert lost == "1 events were answered 200 and are not in the journal"
    assert extra == "the journal holds 5 events, 5 were answered 200"


@needs_compiler
def test_the_slow_disk_is_slow_for_the_bridge(bench):
    """An answer waits for its commit, and that for a sync: so none can come sooner than the disk."""
    outcome = bench.under_load("ours-1", connections=1, pinned=False, slow_disk=True)

    assert outcome.troubles == []
    assert outcome.figures["p50_ms"] >= SLOW_SYNC_US / 1000


@needs_compiler
@pytest.mark.parametrize("isolation", ["thread", "process"])
def test_what_is_delivered_meanwhile_is_counted(bench, isolation):
    """And nothing is lost by it."""
    outcome = bench.under_load(f"ours-2-{isolation}", connections=4, pinned=False)

    assert outcome.troubles == []
    assert outcome.figures["deliveries_per_s"] > 0


@needs_compiler
def test_a_server_that_does_not_run_is_told_and_the_others_are_measured(bench, monkeypatch):
    """Minutes of measuring are not thrown away for one peer; but the exit status must not say that all was well."""
    monkeypatch.setattr(servers, "PEERS_PYTHON", Path("/bin/false"))
    chosen = [UnderLoad(server="hookrelay", connections=2), UnderLoad(server="bare", connections=2)]

    broken, well = measurements(bench, chosen, rounds=1)

    assert (broken.failed, broken.figures, broken.troubles[0][:8]) == (True, {}, "expected")
    assert (well.failed, well.troubles) == (False, ())
    assert well.figures["events_per_s"] > 0


def test_a_ratio_is_taken_within_a_round():
    """Two rounds on a machine of which half was taken away in between: the ratio is the same in both."""
    goal = Goal(of=OURS, over=BARE, figure="events_per_s", at_least=0.9)
    rounds = {1: (8_000.0, 10_000.0), 2: (4_000.0, 4_000.0), 3: (900.0, 1_000.0)}
    measured = [
        measurement(case, number, events_per_s=rate)
        for number, rates in rounds.items()
        for case, rate in zip((OURS, BARE), rates, strict=True)
    ]

    assert goal.reached(measured) == (0.9, 0.8, 1.0)
    assert goal.reached(measured[::2]) is None


@pytest.mark.parametrize(
    ("bounds", "met"), [({"at_least": 2}, True), ({"at_least": 2.1}, False), ({"at_most": 1.9}, False)]
)
def test_a_goal_is_met_or_not(bounds, met):
    """At the bound, it is."""
    assert Goal(of=OURS, figure="p99_ms", **bounds).met(2) is met


def test_the_report_shows_medians_goals_and_troubles():
    """For people and for machines alike."""
    measured = [
        measurement(
            UnderLoad(server="ours-4", connections=64, pinned=True), number, events_per_s=rate, cpu_s_per_1000=cpu
        )
        for number, rate, cpu in ((1, 9_000.0, 0.1), (2, 10_000.0, 0.11), (3, 12_000.0, 0.3))
    ]
    measured[0] = Measurement(**vars(measured[0]) | {"troubles": ("3 requests were not answered",)})

    text, told = as_text(measured), as_json(measured)

    assert "ours-4, 64 connections, pinned    10,000        0.110" in text
    assert "at most 0.12  0.110 (0.100-0.300)  met" in text
    assert "round 1, ours-4, 64 connections, pinned: 3 requests were not answered" in text
    assert told["medians"][0]["events_per_s"] == 10_000
    assert [(each["median"], each["met"]) for each in told["goals"]] == [(0.11, True)]
    json.dumps(told)


def test_every_goal_is_measured_by_some_scenario():
    """A goal that no default run measures would never be missed."""
    measured = set(cases(SCENARIOS, without=(), pinned=True))

    assert {each for goal in goals() for each in (goal.of, goal.over) if each is not None} <= measured
    assert len(measured) == len(cases(SCENARIOS, without=(), pinned=True))


def test_what_this_machine_lacks_is_left_out():
    """A missing peer, or a single core, is no reason to measure nothing."""
    left = cases(["in"], without={"webhook"}, pinned=False)

    assert {each.server for each in left} >= {"bare", "ours-4", "express"}
    assert not any(each.server == "webhook" or each.pinned for each in left)


@needs_compiler
def test_one_command_measures_and_leaves_nothing_behind(tmp_path):
    """For a moment only: it is about the benchmark, not about the speed."""
    within, report = tmp_path / "within", tmp_path / "report.json"
    within.mkdir()
    short = ["--rounds", "1", "--seconds", "0.2", "--idle-seconds", "0.2", "--most-requests", "2000"]
    command = [sys.executable, "-m", "bench", "slow-disk", "idle", *short, "--folder", within, "--json", report]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)

    assert done.returncode == 0, done.stderr
    told = json.loads(report.read_text())
    assert [each["case"] for each in told["medians"]] == ["ours-4, 32 connections, free, 8 ms a sync", "at rest"]
    assert all(each["median"] >= 0 for each in told["goals"])
    assert "ours-4, 32 connections, free, 8 ms a sync" in done.stdout
    assert list(within.iterdir()) == []
