"""A disk that is full, broken or read-only for a while: every 200 is true, and it passes by itself.

The trouble is the kernel's own where it can be (a limit on file sizes, a small file system), else strace makes the
running server's calls fail.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from kept import Sender
from serving import Answer, Serving, request, served, until
from tracing import needs_strace, trouble

resource = pytest.importorskip("resource", reason="no limits, no signals, no strace: not on this system")
WAL = ("var/journal.db-wal",)


@pytest.fixture
def sender(serving) -> Iterator[Sender]:
    """Sends to a server that has kept an event and is killed at the end; then the books must agree with the journal."""
    serving.configure({"all": {"plugin": "nobody"}})
    serving.start()
    sender = Sender(serving)
    sender.send()
    yield sender
    serving.stop(kill=True)
    assert sender.kept
    assert sender.lost() == []


def ready(serving: Serving) -> Answer:
    """What the bridge says of itself."""
    return serving.ask(request(b"", method="GET", path="/readyz"))


def refuses_while_it_lasts(serving: Serving, sender: Sender) -> None:
    """503 to everything, with the time to come again."""
    assert (ready(serving).status, ready(serving).told["description"]) == (503, "the journal takes no writes")
    for _ in range(3):
        refused = sender.send()
        assert (refused.status, refused.headers["retry-after"]) == (503, "5")
    assert set(sender.send_many(12)) == {503}
    assert ready(serving).status == 503


def takes_again(serving: Serving, sender: Sender) -> None:
    """The very next event is kept, without a restart."""
    assert sender.send().status == 200
    assert set(sender.send_many(12)) == {200}
    until(lambda: ready(serving).status == 200)
    assert serving.process.poll() is None


@needs_strace
@pytest.mark.parametrize(
    "inject",
    [
        "pwrite64:error=ENOSPC",
        "pwrite64:error=EIO",
        "pwrite64:error=EROFS",
        "fdatasync:error=EIO",
        "fdatasync:error=ENOSPC",
    ],
)
def test_a_disk_that_fails_for_a_while_is_503_for_as_long(serving, sender, inject):
    """GlycanAge comes again; nothing needs a restart, and nothing that was answered 200 is lost."""
    with trouble(serving, inject, paths=WAL):
        refuses_while_it_lasts(serving, sender)

    takes_again(serving, sender)


@needs_strace
@pytest.mark.parametrize("inject", ["fdatasync:error=EIO:when=1", "pwrite64:error=ENOSPC:when=2"])
def test_a_disk_that_fails_once_costs_one_answer(serving, sender, inject):
    """The next event is kept while the one before it was refused."""
    with trouble(serving, inject, paths=WAL):
        assert sender.send().status == 503
        takes_again(serving, sender)


@needs_strace
@pytest.mark.parametrize("inject", ["fdatasync:error=EIO:when=1+2", "pwrite64:error=ENOSPC:when=3+50"])
def test_every_answer_is_true_while_the_disk_fails_now_and_then(serving, sender, inject):
    """Some are kept and some refused, several in one commit: who was told 200 can rely on it."""
    with trouble(serving, inject, paths=WAL):
        assert set(sender.send_many(60)) == {200, 503}

    takes_again(serving, sender)


@needs_strace
@pytest.mark.parametrize("inject", ["fdatasync:error=EIO", "pwrite64:error=ENOSPC"])
def test_a_log_that_cannot_be_folded_back_keeps_what_it_holds(serving, sender, inject):
    """The write-ahead log grows meanwhile; the database itself is written when it can be."""
    database = serving.folder / "var" / "journal.db"
    before = database.read_bytes()
    with trouble(serving, inject, paths=("var/journal.db",)):
        assert set(sender.send_many(200)) <= {200, 503}
    assert len(sender.kept) > 100

    takes_again(serving, sender)
    assert sender.send_many(200).count(200) == 200
    assert database.read_bytes() != before


@needs_strace
def test_a_body_that_cannot_be_quarantined_is_503_and_leaves_nothing_behind(serving, sender):
    """It is kept when it comes again."""
    with trouble(serving, "fsync:error=EIO"):
        refused = serving.post(b"[]")
        left = list(serving.folder.glob("var/dead-letters/*"))

    assert (refused.status, refused.headers["retry-after"]) == (503, "5")
    assert left == []
    kept = serving.post(b"[]")
    sender.kept[kept.told["id"]], sender.bodies[kept.told["id"]] = "quarantined", b"[]"


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="this system limits no running process")
def test_a_file_that_may_grow_no_more_is_503_until_it_may(serving, sender):
    """A quota, say. The limit is put on the process while it runs, and taken off again."""
    size_bytes = (serving.folder / WAL[0]).stat().st_size
    with limited(serving.process.pid, size_bytes):
        refuses_while_it_lasts(serving, sender)

    takes_again(serving, sender)


@contextmanager
def limited(pid: int, size_bytes: int) -> Iterator[None]:
    """No file of the process grows beyond this while the block runs."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def test_a_disk_without_room_is_503_until_there_is_some(serving):
    """A real file system, filled with events and with dead letters to its last block."""
    serving.configure({"all": {"plugin": "nobody"}})
    with small_disk(serving, "size=512k"):
        with served(serving):
            sender = Sender(serving)
            until(lambda: sender.send().status == 503)
            assert serving.post(b'["%s"]' % (b"x" * 100_000)).status == 503
            assert ready(serving).status == 503
            mount("-o", "remount,size=8m", str(serving.folder / "var"))
            takes_again(serving, sender)
        assert len(sender.kept) > 12
        assert sender.lost() == []


@contextmanager
def small_disk(serving: Serving, options: str) -> Iterator[None]:
    """The bridge's data lie on a file system of their own; the test is skipped where none may be mounted."""
    var = serving.folder / "var"
    if not mount("-t", "tmpfs", "-o", options, "none", str(var)):
        pytest.skip("this user may not mount a file system")
    try:
        yield
    finally:
        subprocess.run(["umount", var], check=True)


def mount(*arguments: str) -> bool:
    """Whether it could be mounted."""
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0
