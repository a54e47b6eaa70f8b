"""A power cut after a failed sync loses nothing that was answered 200, though Linux forgets what it could not write.

After a failed sync the kernel still shows what was written, calls it clean, and lets the next sync succeed without it.
So whoever goes on must write it anew: also the next process, after a restart.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from kept import Sender
from power_loss import CUTS, MODES, TRACE, Traced, calls, losses
from serving import Serving, until
from tracing import ended, needs_strace, trouble, under_strace

pytestmark = needs_strace


@pytest.fixture
def sender(serving) -> Sender:
    """Sends to a server that runs and has kept an event."""
    serving.configure({"all": {"plugin": "nobody"}})
    serving.start()
    sender = Sender(serving)
    sender.send()
    return sender


def files(serving: Serving) -> dict[str, bytes]:
    """What lies on the disk before the trouble."""
    each = [file for file in serving.folder.glob("var/**/*") if file.is_file() and not file.name.endswith("-shm")]
    return {str(file): file.read_bytes() for file in each}


def lost(sender: Sender, before: dict[str, bytes], folder: Path, *traces: Path) -> list[str]:
    """What the power cuts cost."""
    server = Traced(folder=folder, calls=calls(folder, *traces), bodies=sender.bodies, before=before)
    assert any("EIO" in call.result for call in server.calls)
    return [loss for mode in MODES for loss in losses(server, mode, CUTS // 4, folder / "after")][:10]


@pytest.mark.parametrize("when", ["1", "2+3", "5+"])
def test_the_journal_writes_anew_what_could_not_be_synced(serving, sender, when):
    """The events that were refused are not in the way of those that come after them."""
    before, trace = files(serving), serving.folder / "trace"
    with trouble(serving, f"fdatasync:error=EIO:when={when}", *TRACE, "-o", str(trace)):
        assert 503 in sender.send_many(40)

    assert sender.kept
    assert lost(sender, before, serving.folder, trace) == []


@pytest.mark.parametrize("when", ["4+", "9+"])
def test_a_new_process_writes_anew_what_could_not_be_synced(serving, sender, when):
    """It finds in the log what the last one was told is not on the disk, and must not build on it."""
    sender.send_many(100)
    serving.stop()  # what was sent so far is in the database, and the log is gone
    serving.start()
    before, traces = files(serving), [serving.folder / "first", serving.folder / "second"]
    with trouble(serving, f"fdatasync:error=EIO:when={when}", *TRACE, "-o", str(traces[0])):
        assert 503 in sender.send_many(20)
        serving.stop(kill=True)
    serving.start(under=under_strace(*TRACE, "-o", str(traces[1])))
    assert set(sender.send_many(40)) == {200}
    serving.stop(kill=True)
    until(lambda: ended(traces[1]))

    assert lost(sender, before, serving.folder, *traces) == []


@pytest.mark.parametrize("when", [1, 2, 3])
def test_a_quarantined_body_that_comes_again_is_synced_again(serving, sender, when):
    """Its folder's name, its content and its own name: whichever could not be synced is not taken for granted."""
    before, trace = files(serving), serving.folder / "trace"
    with trouble(serving, f"fsync:error=EIO:when={when}", *TRACE, "-o", str(trace)):
        assert serving.post(b"[]").status == 503
        answers = iter(lambda: serving.post(b"[]"), None)
        kept = next(each for each in answers if each.status == 200)  # strace counts the calls of each thread
        sender.bodies[kept.told["id"]] = b"[]"

    assert lost(sender, before, serving.folder, trace) == []
