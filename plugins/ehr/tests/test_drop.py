"""Results as files for an interface engine: whole or not there, once, under names that nobody else chose."""

import json
import os
import stat
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from ehr_plugin import Clock, deliver
from glycanbridge_ehr import Ehr
from glycanbridge_ehr.settings_hl7 import DropSettings
from hl7_peers import PATIENTS, control_id_of, hl7_settings
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message
from pydantic import ValidationError

from glycanbridge import DestinationError, NotYetError, PermanentError, TemporaryError


@contextmanager
def dropper(folder, **drop):
    """The plugin for the folder `results`, which is there."""
    (folder / "results").mkdir(exist_ok=True)
    plugin = Ehr(hl7_settings(folder, drop={"directory": str(folder / "results")} | drop), clock=Clock())
    try:
        yield plugin
    finally:
        plugin.close()


def names(folder):
    """Everything in the folder, hidden files too."""
    return sorted(each.name for each in (folder / "results").iterdir())


def test_a_result_is_a_message_and_an_object_under_the_same_name(tmp_path):
    """Both whole; the receipt names them."""
    with dropper(tmp_path, formats=["oru", "json"]) as plugin:
        receipt = deliver(plugin)
    assert receipt.split(", ") == names(tmp_path)
    oru, told = ((tmp_path / "results" / name).read_bytes() for name in receipt.split(", "))
    parsed = parse_message(oru.decode(), validation_level=VALIDATION_LEVEL.STRICT, find_groups=True)
    assert parsed.validate() is True
    assert receipt.split(", ")[0] == f"20230827T075640-{control_id_of(oru)}.hl7"
    assert json.loads(told)["control_id"] == control_id_of(oru)


def test_the_readmes_object_is_the_one_that_is_written(tmp_path):
    """Byte for byte, but for the control id, which depends on the destination's name."""
    readme = (Path(__file__).parents[1] / "README-hl7.md").read_text(encoding="utf-8")
    shown = readme.partition("```json\n")[2].partition("```")[0]
    with dropper(tmp_path, formats=["json"]) as plugin:
        written = (tmp_path / "results" / deliver(plugin)).read_text(encoding="utf-8")
    control_id = json.loads(written)["control_id"]
    assert written == shown.replace(json.loads(shown)["control_id"], control_id)


def test_a_correction_has_another_name_and_says_so(tmp_path):
    """The engine may not have taken the first yet; neither overwrites the other."""
    with dropper(tmp_path, formats=["json", "oru"]) as plugin:
        first, second = deliver(plugin), deliver(plugin, 2, glycanAge="45.20")
    assert len(names(tmp_path)) == 4
    told = [json.loads((tmp_path / "results" / each.split(", ")[0]).read_bytes()) for each in (first, second)]
    assert [(each["status"], each["revision"], each["report"]["glycan_age"]) for each in told] == [
        ("final", 0, "45.2"),
        ("corrected", 1, "45.20"),
    ]


def test_a_repeat_writes_nothing(tmp_path):
    """Also when the engine has taken the file: it is written down that it was sent."""
    with dropper(tmp_path) as plugin:
        first = deliver(plugin)
        (tmp_path / "results" / first).unlink()
        assert deliver(plugin, 2) == f"{first} (it has this result already)"
    assert names(tmp_path) == []


def test_after_a_crash_before_it_was_written_down_the_file_that_is_there_is_left_alone(tmp_path):
    """Same name, same content: the engine may be reading it."""
    with dropper(tmp_path) as plugin:
        file = tmp_path / "results" / deliver(plugin)
        before = file.stat()
        (tmp_path / "state" / "sent.db").unlink()
        assert deliver(plugin) == file.name
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert names(tmp_path) == [file.name]


def test_what_has_another_content_is_never_overwritten(tmp_path):
    """It waits until the engine has taken what is there; the other format does not appear before."""
    with dropper(tmp_path, formats=["oru", "json"]) as plugin:
        with dropper(tmp_path, formats=["oru", "json"]) as another:
            oru, _ = (tmp_path / "results" / name for name in deliver(another).split(", "))
        (tmp_path / "state" / "sent.db").unlink()
        for name in names(tmp_path):
            (tmp_path / "results" / name).unlink()
        oru.write_text("something else")
        with pytest.raises(TemporaryError, match="has another content; it is not overwritten") as raised:
            deliver(plugin)
        assert raised.value.retry_after_s == 60
        assert names(tmp_path) == [oru.name]
        assert oru.read_text() == "something else"
        oru.unlink()
        deliver(plugin, attempt=2)
    assert len(names(tmp_path)) == 2


def test_no_id_from_outside_is_in_a_name(tmp_path):
    """A report called `../../x` stays in the folder."""
    with dropper(tmp_path, formats=["oru", "json"]) as plugin:
        receipt = deliver(plugin, reportId="../../x", kitCode="a/b", testId="..\\c")
    assert names(tmp_path) == sorted(receipt.split(", "))
    assert all(name.startswith("20230827T075640-G") for name in names(tmp_path))


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")
@pytest.mark.parametrize(("readable_by", "mode"), [("owner", 0o600), ("group", 0o640)])
def test_the_files_are_readable_by_whom_the_site_says(tmp_path, readable_by, mode):
    """Whatever the umask; while they are hidden, too."""
    mask = os.umask(0o077)
    try:
        with dropper(tmp_path, readable_by=readable_by) as plugin:
            file = tmp_path / "results" / deliver(plugin)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(file.stat().st_mode) == mode


def run(code, *arguments, under=()):
    """A program of the tests in a process of its own."""
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    command = [*under, sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False)


def test_files_are_on_the_disk_before_they_are_seen(tmp_path, monkeypatch):
    """Written and synced under hidden names, then renamed, then their directory synced: in this order."""
    steps, sync, rename = [], os.fsync, Path.rename

    def spy_sync(descriptor):
        sync(descriptor)
        kind = "directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else f"file {names(tmp_path)}"
        steps.append(kind)

    def spy_rename(self, target):
        steps.append(f"rename {self.name} {Path(target).name}")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", spy_sync)
    monkeypatch.setattr(Path, "rename", spy_rename)
    with dropper(tmp_path, formats=["oru", "json"]) as plugin:
        oru, told = deliver(plugin).split(", ")
    assert steps == [
        f"file ['.{oru}.tmp']",
        f"file ['.{oru}.tmp', '.{told}.tmp']",
        f"rename .{oru}.tmp {oru}",
        f"rename .{told}.tmp {told}",
        "directory",
    ]


FULL = """
import resource, signal, sys
from pathlib import Path
from test_drop import DestinationError, deliver, dropper, names

folder, limit = Path(sys.argv[1]), int(sys.argv[2])
with dropper(folder, formats=["oru", "json"]) as plugin:
    deliver(plugin, reportId="before")
    before = names(folder)
    send = plugin._way.send

    def full(*arguments):  # only while the files are written: the journal of what was sent is on another disk
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            return send(*arguments)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    plugin._way.send = full
    try:
        deliver(plugin)
    except DestinationError as error:
        print(error)
    assert names(folder) == before
    plugin._way.send = send
    deliver(plugin)
    assert len(names(folder)) == len(before) + 2
"""


@pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE is POSIX's")
@pytest.mark.parametrize("limit", [0, 100, 700])
def test_a_full_disk_shows_nothing_half_written_and_loses_nothing(tmp_path, limit):
    """All results wait; with space again, both files come."""
    done = run(FULL, tmp_path, limit)
    assert done.returncode == 0, done.stderr
    assert f"{tmp_path / 'results'}: File too large; see that it is there, has space" in done.stdout


KILLED = """
import os, signal, sys
from pathlib import Path
from test_drop import deliver, dropper

folder, point, rename, sync = Path(sys.argv[1]), int(sys.argv[2]), Path.rename, os.fsync
steps = 0

def step(*arguments, then):
    global steps
    steps += 1
    if steps == point:
        os.kill(os.getpid(), signal.SIGKILL)
    return then(*arguments)

Path.rename = lambda *arguments: step(*arguments, then=rename)
os.fsync = lambda *arguments: step(*arguments, then=sync)
with dropper(folder, formats=["oru", "json"]) as plugin:
    print(deliver(plugin))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX's")
@pytest.mark.parametrize("point", [1, 2, 3, 4, 5])
def test_a_kill_at_any_step_leaves_whole_files_and_the_next_attempt_ends_with_both(tmp_path, point):
    """An engine that looks for *.hl7 and *.json at any time sees only whole ones; nothing hidden is left in the end."""
    assert run(KILLED, tmp_path, point).returncode == -9
    shown = {each: (tmp_path / "results" / each).read_bytes() for each in names(tmp_path) if not each.startswith(".")}
    assert len(shown) == max(0, point - 3)
    done = run(KILLED, tmp_path, 0)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.strip().split(", ")) == names(tmp_path)
    assert all((tmp_path / "results" / name).read_bytes() == data for name, data in shown.items())


def test_a_hidden_file_that_somebody_else_put_there_is_not_written_through(tmp_path):
    """The folder belongs to another program too: a link under our hidden name leads nowhere."""
    outside = tmp_path / "outside"
    outside.write_text("kept")
    with dropper(tmp_path) as plugin:
        name = deliver(plugin)
        (tmp_path / "results" / name).unlink()
        (tmp_path / "state" / "sent.db").unlink()
        (tmp_path / "results" / f".{name}.tmp").symlink_to(outside)
        deliver(plugin)
    assert outside.read_text() == "kept"
    assert names(tmp_path) == [name]


def test_a_directory_that_is_away_stops_the_destination_and_is_not_made(tmp_path):
    """A share that is not mounted: what was written to the empty place would never be taken."""
    with dropper(tmp_path) as plugin:
        (tmp_path / "results").rmdir()
        for call in (lambda: deliver(plugin), plugin.check):
            with pytest.raises(DestinationError, match=r"results is no directory; make it, or mount the share"):
                call()
        assert not (tmp_path / "results").exists()
        (tmp_path / "results").mkdir()
        deliver(plugin)
    assert len(names(tmp_path)) == 1


def test_the_empty_place_of_a_share_that_is_away_is_known_by_the_missing_marker(tmp_path):
    """A mount point is there also when nothing is mounted on it."""
    with dropper(tmp_path, marker=".share") as plugin:
        for call in (lambda: deliver(plugin), plugin.check):
            with pytest.raises(DestinationError, match=r"has no file \.share \(marker\); mount the share"):
                call()
        assert names(tmp_path) == []
        (tmp_path / "results" / ".share").touch()
        deliver(plugin)


@pytest.mark.skipif(sys.platform != "linux", reason="/sys is Linux's: nobody may make a file there, not even root")
def test_a_directory_that_may_not_be_written_to_stops_the_destination(tmp_path):
    """A right is missing: a person's to mend."""
    with dropper(tmp_path, directory="/sys") as plugin:
        for call in (lambda: deliver(plugin), plugin.check):
            with pytest.raises(
                DestinationError, match=r"/sys: .*(denied|Read-only|permitted).*; see that it .* written to"
            ):
                call()


def test_a_name_that_is_taken_by_a_directory_stops_the_destination(tmp_path):
    """Whatever the system says, in its own words, and nothing of the patient's."""
    with dropper(tmp_path) as plugin:
        name = deliver(plugin)
        (tmp_path / "results" / name).unlink()
        (tmp_path / "results" / name).mkdir()
        (tmp_path / "state" / "sent.db").unlink()
        with pytest.raises(DestinationError, match="results: Is a directory"):
            deliver(plugin)


def test_the_check_leaves_nothing_and_looks_into_the_patients_file(tmp_path):
    """It writes and takes away; the line says what was found."""
    with dropper(tmp_path, formats=["oru", "json"], readable_by="group") as plugin:
        assert plugin.check() == f"{tmp_path / 'results'} can be written to; the patients file has 1 patients"
        assert plugin.tells() == (
            "names, birth dates, sexes, all ids and both ages go into files (oru and json) in"
            f" {tmp_path / 'results'}, readable by their group"
        )
    assert names(tmp_path) == []


def test_a_patient_who_is_not_in_the_file_or_has_no_name_waits(tmp_path):
    """Nothing is written before."""
    patients = tmp_path / "patients.csv"
    with dropper(tmp_path) as plugin:
        for text, told in [
            ("patient_id,ehr_id,family\n", "has no row for this patient"),
            ("patient_id,ehr_id\npatient_123,0042\n", "has no family name for this patient"),
        ]:
            patients.write_text(text, encoding="utf-8")
            with pytest.raises(NotYetError, match=told):
                deliver(plugin)
        assert names(tmp_path) == []
        patients.write_text(PATIENTS, encoding="utf-8")
        deliver(plugin)
        patients.write_text("patient_id,ehr_id\npatient_123,0042\npatient_123,0043\n", encoding="utf-8")
        with pytest.raises(PermanentError, match="2 different rows"):
            deliver(plugin, 2, reportId="r2")
    assert len(names(tmp_path)) == 1


def test_a_patients_file_that_cannot_be_read_stops_the_destination(tmp_path):
    """Its share is away: every result waits, and the file is named."""
    with dropper(tmp_path) as plugin:
        (tmp_path / "patients.csv").rename(tmp_path / "elsewhere.csv")
        for call in (lambda: deliver(plugin), plugin.check):
            with pytest.raises(DestinationError, match=r"patients\.csv: No such file"):
                call()
        (tmp_path / "elsewhere.csv").rename(tmp_path / "patients.csv")
        deliver(plugin)


@pytest.mark.parametrize("age", ["", "N/A", "45,2", "NaN", "1e9", "0", "-3", "150"])
def test_what_is_no_age_is_never_written(tmp_path, age):
    """Least of all as 0."""
    with dropper(tmp_path, formats=["oru", "json"]) as plugin, pytest.raises(PermanentError, match="glycanAge is not"):
        deliver(plugin, glycanAge=age)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "wrong", [{"formats": []}, {"formats": ["pdf"]}, {"marker": "a/b"}, {"marker": ".."}, {"create": True}]
)
def test_a_wrong_setting_is_refused_at_start(wrong):
    """Not at the first result."""
    with pytest.raises(ValidationError):
        DropSettings(directory="results", **wrong)
