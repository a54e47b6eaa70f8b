"""What goes wrong: each row of the README's table, and what is left in the files afterwards."""

import errno
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from csv_files import ASSIGNMENTS, README, REPORTS, SETS, child, deliver, ids
from filelock import FileLock
from glycanbridge_csv import LONGEST_VALUE, Csv, CsvSettings

from glycanbridge import DestinationError, PermanentError, TemporaryError

ONE, TWO = "event1:results-csv", "event2:results-csv"


@contextmanager
def raises(kind, text):
    """An error of exactly this kind with this text in it, and no patient's; it says when to come again."""
    with pytest.raises(kind, match=re.escape(text)) as raised:
        yield
    assert type(raised.value) is kind
    assert not re.search("patient|KIT00|report_7", str(raised.value))
    assert kind is not DestinationError or raised.value.retry_after_s == 60


@contextmanager
def mounted(directory, options):
    """A file system of its own there; the test is skipped where none may be mounted."""
    command = ["mount", "-t", "tmpfs", "-o", options, "none", directory]
    if sys.platform != "linux" or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a file system")
    try:
        yield
    finally:
        subprocess.run(["umount", directory], check=True)


# The whole destination


def test_a_full_disk_is_the_whole_destinations_trouble_and_leaves_the_file_as_it_was(tmp_path):
    """A real file system, filled to its last block: there is nowhere to write to; with space again, the row comes."""
    with mounted(tmp_path, "size=256k"):
        plugin = Csv(CsvSettings(directory=tmp_path))
        number = 0
        deliver(plugin, number=number)
        with (tmp_path / "filler").open("wb", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(bytes(512))
        with raises(DestinationError, f"{REPORTS}: No space left on device; see that it is there, has space"):
            while True:
                number += 1
                before = (tmp_path / REPORTS).read_bytes()
                deliver(plugin, number=number)
        assert (tmp_path / REPORTS).read_bytes() == before
        with raises(DestinationError, f"{tmp_path}: No space left on device; see that"):
            plugin.check()
        (tmp_path / "filler").unlink()
        deliver(plugin, number=number)
        assert ids(tmp_path / REPORTS) == [f"event{n}:results-csv" for n in range(number + 1)]


FULL = """
import resource, sys
from pathlib import Path
from csv_files import SETS, deliver
from glycanbridge import DestinationError
from glycanbridge_csv import Csv, CsvSettings

directory, limit = sys.argv[1:]
plugin = Csv(CsvSettings(directory=Path(directory)))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
try:
    deliver(plugin, "assignment-status-changed", 2, sets=SETS)
except DestinationError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
if int(limit) % 2:
    deliver(plugin, "assignment-status-changed", 2, sets=SETS)  # space again: the same instance goes on
"""


@pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE is POSIX's")
@pytest.mark.parametrize("more", [0, 1, 300, 700, 701])
def test_a_write_that_the_system_takes_in_part_is_undone(make, tmp_path, more):
    """At any byte of three rows; with space again, all of them come."""
    path = tmp_path / ASSIGNMENTS
    deliver(make(), "assignment-status-changed", 1)
    before = path.read_bytes()
    limit = len(before) + more
    process = child(FULL, tmp_path, limit, stdout=subprocess.PIPE)
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert told.startswith(f"{path}: File too large; ")
    assert "patient" not in told
    if limit % 2:
        assert ids(path) == ["event1:results-csv", *["event2:results-csv"] * 3]
    else:
        assert path.read_bytes() == before


def test_a_read_only_share_is_the_whole_destinations_trouble(tmp_path):
    """As after an error of its disk; once it can be written to again, the row comes."""
    with mounted(tmp_path, "size=1m"):
        plugin = Csv(CsvSettings(directory=tmp_path))
        deliver(plugin, number=1)
        subprocess.run(["mount", "-o", "remount,ro", tmp_path], check=True)
        for call in (lambda: deliver(plugin, number=2), plugin.check):
            with raises(DestinationError, "Read-only file system; see that it is there"):
                call()
        subprocess.run(["mount", "-o", "remount,rw", tmp_path], check=True)
        deliver(plugin, number=2)
        assert ids(tmp_path / REPORTS) == [ONE, TWO]


def test_a_directory_that_cannot_be_is_the_whole_destinations_trouble(tmp_path):
    """A path below a regular file stands for a share that is away; no delivery shall lose an attempt over it."""
    (tmp_path / "file").write_text("")
    plugin = Csv(CsvSettings(directory=tmp_path / "file" / "exports"))
    with raises(DestinationError, f"{tmp_path / 'file' / 'exports' / REPORTS}: Not a directory; see that it is there"):
        deliver(plugin)
    with raises(DestinationError, f"{tmp_path / 'file' / 'exports'}: Not a directory; see that it is there"):
        plugin.check()


@pytest.mark.skipif(sys.platform != "linux", reason="a place where nobody at all may make a file")
def test_a_directory_that_is_not_writable_is_the_whole_destinations_trouble():
    """Not even root may make a file there."""
    with raises(DestinationError, "Permission denied; see that it is there, has space, may be written to"):
        deliver(Csv(CsvSettings(directory="/sys/kernel")))


def test_a_directory_that_went_away_is_made_again(tmp_path):
    """The next attempt simply works."""
    plugin = Csv(CsvSettings(directory=tmp_path / "exports"))
    deliver(plugin, number=1)
    shutil.rmtree(tmp_path / "exports")
    assert deliver(plugin, number=2) == REPORTS
    assert ids(tmp_path / "exports" / REPORTS) == ["event2:results-csv"]


@pytest.mark.parametrize("there", [True, False])
def test_nothing_is_made_or_written_without_the_marker(tmp_path, there):
    """The share is not mounted: its mount point is an empty directory of this machine, or there is none."""
    share = tmp_path / "mnt" / "share"
    if there:
        share.mkdir(parents=True)
    plugin = Csv(CsvSettings(directory=share, marker=".mounted", folder_per_practice=True))
    for call in (lambda: deliver(plugin), plugin.check):
        with raises(DestinationError, f"{share / '.mounted'} is not there, so nothing is written; see that the share"):
            call()
    assert list(tmp_path.rglob("*")) == ([tmp_path / "mnt", share] if there else [])
    share.mkdir(parents=True, exist_ok=True)
    (share / ".mounted").touch()
    assert plugin.check() == f"{share} can be written to"
    assert deliver(plugin) == f"practice_67890/{REPORTS}"


def test_a_share_that_comes_and_goes_has_every_row_once_and_its_mount_point_none(tmp_path):
    """A real one: what is owed while it is away is refused, and written once it is back."""
    share = tmp_path / "share"
    share.mkdir()
    kept = tmp_path / "kept"
    kept.mkdir()
    plugin = Csv(CsvSettings(directory=share, marker=".mounted"))
    with mounted(kept, "size=1m"):
        (kept / ".mounted").touch()
        for number in (1, 2):
            with raises(DestinationError, ".mounted is not there"):
                deliver(plugin, number=number)
            assert list(share.iterdir()) == []
            subprocess.run(["mount", "--bind", kept, share], check=True)
            deliver(plugin, number=number)
            subprocess.run(["umount", share], check=True)
        assert ids(kept / REPORTS) == [ONE, TWO]


def test_a_share_that_goes_away_while_a_row_is_written_has_no_receipt(tmp_path, monkeypatch):
    """The row may have gone into the empty mount point: it is looked for the marker once more, after the write."""
    (tmp_path / ".mounted").touch()
    plugin, sync = Csv(CsvSettings(directory=tmp_path, marker=".mounted")), os.fsync

    def goes_away(descriptor):
        sync(descriptor)
        (tmp_path / ".mounted").unlink(missing_ok=True)

    monkeypatch.setattr(os, "fsync", goes_away)
    with raises(DestinationError, ".mounted is not there"):
        deliver(plugin)
    monkeypatch.setattr(os, "fsync", sync)
    (tmp_path / ".mounted").touch()
    assert deliver(plugin) == REPORTS
    assert ids(tmp_path / REPORTS) == [ONE]


# One file


def in_its_place(path, what):
    """Something that no row can be written to."""
    if what == "a directory":
        path.mkdir()
        return "Is a directory"
    path.symlink_to(path)
    return "Too many levels of symbolic links"


@pytest.mark.skipif(sys.platform == "win32", reason="other words there")
@pytest.mark.parametrize("what", ["a directory", "a loop"])
def test_a_file_that_cannot_be_written_to_holds_back_no_other(make, tmp_path, what):
    """As one that is open in Excel on Windows: it may be written to soon, and the others can be now."""
    words = in_its_place(tmp_path / REPORTS, what)
    plugin = make()
    with raises(TemporaryError, f"{REPORTS}: {words}; see that it is there, has space, may be written to, and is open"):
        deliver(plugin)
    assert deliver(plugin, "kit-received") == "kit-received-2023-08.csv"
    (tmp_path / REPORTS).rmdir() if what == "a directory" else (tmp_path / REPORTS).unlink()
    assert deliver(plugin) == REPORTS


def test_a_practice_whose_folder_cannot_be_made_holds_back_no_other(make, tmp_path):
    """There is a file in its place."""
    (tmp_path / "split").touch()
    plugin = make(folder_per_practice=True)
    with raises(TemporaryError, "see that it is there"):
        deliver(plugin, practiceId="split")
    assert deliver(plugin, practiceId="zagreb") == f"zagreb/{REPORTS}"


def test_a_row_that_the_disk_refuses_is_undone(make, tmp_path, monkeypatch):
    """After EIO nobody knows what is on the disk: no receipt, no row, and the next attempt writes it anew."""
    path, plugin, sync = tmp_path / REPORTS, make(), os.fsync
    deliver(plugin, number=1)
    before = path.read_bytes()

    def refuse(_descriptor):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", refuse)
    with raises(TemporaryError, f"{REPORTS}: Input/output error; "):
        deliver(plugin, number=2)
    assert path.read_bytes() == before
    monkeypatch.setattr(os, "fsync", sync)
    deliver(plugin, number=2)
    assert ids(path) == [ONE, TWO]


def test_a_value_that_no_cell_can_hold_is_permanent_and_not_repeated_in_the_error(make, tmp_path):
    """Excel would cut it silently; the dead letter has all of it. Nothing of an assignment is written halfway."""
    long = [*SETS, SETS[0] | {"product": "patient" * LONGEST_VALUE}]
    with raises(PermanentError, "product has more than 32,766 characters"):
        deliver(make(), "assignment-status-changed", sets=long)
    assert list(tmp_path.iterdir()) == []


# Locks


HOLD = """
import sys
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_file_that_another_process_has_locked_is_a_temporary_error(make, tmp_path):
    """After the timeout, and without another try in the same attempt; once its holder is gone, the next one works."""
    process = child(HOLD, tmp_path / f".{REPORTS}.lock", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(TemporaryError, match=rf"{REPORTS} was locked .* for 0.02 s; .*lock_timeout_s") as raised:
            deliver(make(lock_timeout_s=0.02))
        assert raised.value.retry_after_s == 1
        assert "patient" not in str(raised.value)
        assert deliver(make(lock_timeout_s=0.02), "kit-received") == "kit-received-2023-08.csv"  # a lock of its own
        process.kill()
    assert deliver(make(lock_timeout_s=5)) == REPORTS


SLOW = """
import os, sys
from pathlib import Path
from csv_files import deliver
from glycanbridge_csv import Csv, CsvSettings

sync = os.fsync

def slow(descriptor):
    print("at it", flush=True)
    sys.stdin.readline()
    sync(descriptor)

os.fsync = slow
deliver(Csv(CsvSettings(directory=Path(sys.argv[1]))), number=1)
"""


@pytest.mark.parametrize("ends", ["in time", "killed"])
def test_a_slow_share_makes_other_lanes_wait_and_loses_nothing(make, tmp_path, ends):
    """A flush takes longer than another lane waits: that one is told to come again; both rows are there, once."""
    with child(SLOW, tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == "at it\n"
        with raises(TemporaryError, f"{REPORTS} was locked by another process for 0.05 s"):
            deliver(make(lock_timeout_s=0.05), number=2)
        assert ids(tmp_path / REPORTS) == [ONE]  # and nobody has been told so
        if ends == "killed":  # as the bridge does with a lane that takes longer than `timeout_s`
            process.kill()
        process.communicate("go on\n" * 3)
    plugin = make()
    assert [deliver(plugin, number=number) for number in (2, 1)] == [REPORTS] * 2
    assert ids(tmp_path / REPORTS) == [ONE, TWO]


def test_the_lock_is_let_go_after_an_error(make, tmp_path):
    """An error in one delivery must not lock out the next."""
    (tmp_path / REPORTS).mkdir()
    with pytest.raises(TemporaryError):
        deliver(make())
    with FileLock(tmp_path / f".{REPORTS}.lock", timeout=0):
        pass


# Check and close


def test_the_check_writes_no_row_and_leaves_nothing(tmp_path):
    """It makes the directory, though: that is what it found out."""
    plugin = Csv(CsvSettings(directory=tmp_path / "exports"))
    assert plugin.check() == f"{tmp_path / 'exports'} can be written to"
    assert list((tmp_path / "exports").iterdir()) == []


def test_what_leaves_is_told_in_a_line(make, tmp_path):
    """`glycanbridge check` prints it, whether or not the directory is there."""
    assert make().tells() == f"patients' ids, kit codes and ages go into CSV files in {tmp_path}"
    assert make(personal="ids").tells().startswith("patients' ids and kit codes, no ages go into")
    told = make(personal="none", folder_per_practice=True).tells()
    assert told.startswith("no id of a patient's, no age, kit codes masked go into")
    assert told.endswith(", in a folder for each practice")


def test_after_close_nothing_is_held(make, tmp_path):
    """A closed instance has no file open and no memory of one."""
    plugin = make()
    deliver(plugin)
    plugin.close()
    assert plugin._files._known == {}
    if sys.platform == "linux":
        assert not [each for each in Path("/proc/self/fd").iterdir() if str(tmp_path) in os.path.realpath(each)]


def test_each_row_of_the_readmes_table_has_its_test():
    """The words that the clinic sees are those above and in `test_csv_bridge.py`."""
    table = README.read_text(encoding="utf-8").split("## When it fails")[1]
    tests = "".join(each.read_text(encoding="utf-8") for each in Path(__file__).parent.glob("test_*.py"))
    seen = re.findall(r"(?:is not there, so|No space left|Not a directory|was locked by|Input/output|no answer)", table)
    assert len(seen) == 6
    assert [words for words in seen if words not in tests] == []
