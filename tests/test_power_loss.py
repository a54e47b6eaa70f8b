"""A power cut after any system call of the real server loses nothing that was answered 200.

`GLYCANBRIDGE_POWER_CUTS=1000` makes more cuts than the usual 200. Killing the process would not do: what was written
and not synced outlives a process, but no power cut.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from power_loss import CUTS, MODES, TRACE, Traced, calls, losses
from serving import RECORDER, Serving, install_plugin, request, sample, until
from tracing import ended, needs_strace, under_strace

pytestmark = needs_strace

CONNECTIONS, REQUESTS = 4, 60
CARELESS = Path(__file__).parent / "careless_bridge.py"


def load(serving: Serving, sender: int) -> dict[str, bytes]:
    """Send many events on one connection: every fifth is the other senders' as well, every tenth is no event."""
    sent, connection = {}, serving.connect()
    with closing(connection):
        for number in range(REQUESTS):
            timestamp = number if number % 5 == 0 else 1000 * (sender + 1) + number
            body = sample(timestamp=timestamp, data={"note": "x" * 1500})
            if number % 10 == 1:
                body = b"[%d]" % timestamp
            connection.send(request(body))
            answer = connection.answer()
            assert answer.status == 200
            sent[answer.told["id"]] = body
    return sent


def traced(folder: Path, *, synchronous: str = "") -> Traced:
    """A server's whole life under load: a new journal in a new folder, checkpoints in between, a stop in order."""
    serving = Serving(folder)
    (folder / "var").rmdir()  # the bridge shall make it, and see to it that it stays
    install_plugin(serving.packages, "recorder", RECORDER)
    serving.configure({"all": {"plugin": "recorder", "settings": {"file": "taken.txt"}}})
    if synchronous:
        serving.program = [sys.executable, str(CARELESS), synchronous]
    trace = folder / "trace"
    serving.start(under=under_strace(*TRACE, "-o", str(trace)))
    try:
        with ThreadPoolExecutor(CONNECTIONS) as senders:
            sent = list(senders.map(lambda sender: load(serving, sender), range(CONNECTIONS)))
    finally:
        serving.stop()
    until(lambda: ended(trace))
    bodies = {letter: body for each in sent for letter, body in each.items()}
    return Traced(folder=folder, calls=calls(folder, trace), bodies=bodies)


@pytest.fixture(scope="module")
def careful(tmp_path_factory) -> Traced:
    """The bridge as it is."""
    return traced(tmp_path_factory.mktemp("careful") / "bridge")


@pytest.mark.parametrize("mode", MODES)
def test_a_power_cut_loses_nothing_that_was_answered_200(careful, mode, tmp_path):
    """Nor a quarantined body; whatever else is kept is whole, and the journal opens again."""
    assert losses(careful, mode, CUTS, tmp_path / "after")[:10] == []


@pytest.mark.parametrize("synchronous", ["OFF", "NORMAL"])
def test_the_model_finds_what_a_careless_bridge_loses(tmp_path, synchronous):
    """Else the test above would prove nothing: SQLite without a sync of each commit loses acknowledged events."""
    careless = traced(tmp_path / "bridge", synchronous=synchronous)
    lost = [each for each in losses(careless, "dropped", 20, tmp_path / "after") if each.endswith("is lost")]

    assert any(": accepted" in each for each in lost)


def test_an_answer_is_sent_after_the_sync_of_what_it_promises(careful):
    """The order itself: frames of the event written to the write-ahead log, that log synced, 200 sent."""
    wal = [call for call in careful.calls if call.path.endswith("-wal")]
    syncs = [call for call in wal if call.name in ("fsync", "fdatasync") and call.result == "0"]
    written = [(call, call.bytes_of(1)) for call in wal if call.name == "pwrite64"]
    accepted = 0
    for answer in careful.calls:
        for status, event_id in answer.answers():
            if status == "accepted":
                accepted += 1
                frame = next(call for call, data in written if bytes.fromhex(event_id) in data)
                assert any(frame.ended < sync.begun and sync.ended < answer.begun for sync in syncs), event_id

    assert accepted > CONNECTIONS * REQUESTS // 2


def test_the_load_reaches_every_kind_of_call(careful):
    """The events come at once, some twice; the log is folded back into the database while they do."""
    statuses = {status for call in careful.calls for status, _ in call.answers()}
    answered = [number for number, call in enumerate(careful.calls) if call.answers()]
    during = careful.calls[answered[0] : answered[-1]]

    assert statuses == {"accepted", "duplicate", "quarantined"}
    assert any(call.name == "pwrite64" and call.path.endswith("journal.db") for call in during)
