"""A kill at any storage or socket call loses nothing that was answered 200, and leaves nothing half done."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from kept import damage
from serving import Answer, Serving, sample, served
from tracing import needs_strace, trouble

pytestmark = needs_strace

JOURNAL = ("var", "var/journal.db", "var/journal.db-wal")
DEAD_LETTERS = ("var", "var/dead-letters")
BEFORE, EVENT, NO_EVENT = sample("kit-received"), sample(), b'["%s"]' % (b"x" * 20_000)
MOST = 60


@pytest.fixture(scope="module")
def before(tmp_path_factory) -> Serving:
    """A bridge that was stopped in order, and has answered 200 to one event."""
    serving = bridge(tmp_path_factory.mktemp("before"))
    with served(serving):
        serving.post(BEFORE)
    return serving


def bridge(folder: Path) -> Serving:
    """A bridge with one destination, which is owed every event and takes none."""
    serving = Serving(folder)
    serving.configure({"all": {"plugin": "nobody"}})
    return serving


def killed(serving: Serving, inject: str, paths: tuple[str, ...], body: bytes) -> tuple[bool, Answer | None]:
    """Send one body and stop, with the kill in wait: whether it struck, and the answer to the body."""
    answer = None
    serving.start()
    try:
        with trouble(serving, inject, paths=paths):
            with suppress(OSError, AssertionError):  # the server is gone
                answer = serving.post(body)
            return serving.stop() == -9, answer
    finally:
        serving.stop(kill=True)


def sweep(before: Serving, folder: Path, call: str, paths: tuple[str, ...], body: bytes) -> int:
    """Kill at a thread's first such call, at its second, and so on; how many there are."""
    for number in range(1, MOST):
        serving = bridge(folder / str(number))
        shutil.copytree(before.folder / "var", serving.folder / "var", dirs_exist_ok=True)
        struck, answer = killed(serving, f"{call}:signal=KILL:when={number}", paths, body)
        if not struck:
            assert answer.status == 200
            return number - 1
        with served(serving):
            again, earlier = serving.post(body).told, serving.post(BEFORE).told
        assert earlier["status"] == "duplicate"
        assert answer is None or again["id"] == answer.told["id"]
        assert answer is None or again["status"] != "accepted", "it was answered 200, and is not known any more"
        promised = {told["id"]: told["status"] for told in (earlier, again)}
        assert damage(serving.folder / "var", promised, {again["id"]: body, earlier["id"]: BEFORE}) == []
        assert list(serving.folder.glob("var/**/*.partial")) == []
    raise AssertionError(f"{call} has no end")


@pytest.mark.parametrize(
    ("call", "paths", "at_least"),
    [
        ("pwrite64", ("var/journal.db-wal",), 8),
        ("fdatasync", JOURNAL, 2),
        ("ftruncate", JOURNAL, 1),
        ("unlink", JOURNAL, 1),
        ("accept4", (), 1),
        ("recvfrom", (), 1),
        ("sendto", (), 1),
    ],
)
def test_an_event_outlives_a_kill_at_any_call(before, tmp_path, call, paths, at_least):
    """What was answered 200 is there after the next start, nothing is there by half, and the event may come again."""
    assert sweep(before, tmp_path, call, paths, EVENT) >= at_least


@pytest.mark.parametrize(
    ("call", "paths", "at_least"),
    [("openat", DEAD_LETTERS, 2), ("write", (), 3), ("fsync", (), 3), ("rename", (), 1)],
)
def test_a_quarantined_body_outlives_a_kill_at_any_call(before, tmp_path, call, paths, at_least):
    """No dead letter is seen half written, none that was answered 200 is gone, and no half of one is left."""
    assert sweep(before, tmp_path, call, paths, NO_EVENT) >= at_least
