"""The CSV plugin in a real bridge: the README's example, a replay, kills, a share that is away, and what is logged."""

import json
import os
import re
import signal
import subprocess
import sys

import apsw
import pytest
from csv_files import ASSIGNMENTS, README, REPORTS, ids, rows
from filelock import FileLock
from glycanbridge_csv import CsvSettings
from serving import SECRET, Serving, sample, served, until
from tracing import needs_strace, under_strace

from bench.processes import descendants

ZAGREB = "(DD.MM.YYYY Europe/Zagreb)"


@pytest.fixture
def serving(tmp_path):
    """A bridge's folder; its server is ended, whatever happened."""
    serving = Serving(tmp_path / "bridge")
    yield serving
    process = getattr(serving, "process", None)
    if process is not None and process.poll() is None:
        serving.stop(kill=True)


def to_csv(serving, *, destination=(), **settings):
    """One destination, `csv`, into the folder `exports`."""
    own = {"directory": "exports", **settings}
    serving.configure({"csv": {"plugin": "csv", "settings": own, **dict(destination)}})
    return serving.folder / "exports"


def deliveries(serving, *arguments):
    """What `glycanbridge deliveries list` says."""
    return serving.rows("deliveries", "list", *arguments)


def states(serving):
    """The state of each delivery."""
    return [row["state"] for row in deliveries(serving)]


def has_rows(path, number):
    """Whether so many rows are in a file."""
    return path.exists() and path.read_bytes().count(b"\r\n") == number + 1


def test_the_readmes_example_runs_as_it_stands(tmp_path, monkeypatch):
    """Copied out of the page, on a free port: two signed events arrive, as Excel in Zagreb wants them."""
    serving = Serving(tmp_path / "bridge")
    (block, *_) = re.findall(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    serving.config.write_text(block, encoding="utf-8")
    (serving.folder / "var" / "webhook-secret").write_text(SECRET, encoding="utf-8")
    monkeypatch.setenv("LISTEN", "127.0.0.1:0")
    exports = serving.folder / "var" / "exports"

    checked = serving.run("check", "--online")
    assert checked.returncode == 0, checked.stdout
    assert f"results-csv: patients' ids, kit codes and ages go into CSV files in {exports}\n" in checked.stdout
    assert f"results-csv: {exports} can be written to\n" in checked.stdout
    assert list(exports.iterdir()) == []
    with served(serving):
        for event_type in ("report-ready", "kit-received", "order-status-changed"):
            assert serving.post(sample(event_type)).status == 200
        until(lambda: states(serving) == ["delivered"] * 2)

    (row,) = rows(exports / REPORTS, delimiter=";")
    assert list(row) == [
        f"local_date {ZAGREB}",
        *("report_id", "kit_code", "glycan_age (decimal comma)", "delivery_id", "timestamp"),
    ]
    assert list(row.values())[:4] == ["27.08.2023", "report_78901", "KIT001234", "45,2"]
    assert (exports / REPORTS).read_bytes().startswith(b"\xef\xbb\xbflocal_date (DD.MM.YYYY Europe/Zagreb);report_id;")
    (kit,) = rows(exports / "kit-received-2023-08.csv", delimiter=";")
    assert kit[f"kit_received_at_local {ZAGREB}"] == "27.08.2023 09:06:40"
    assert sorted(each["receipt"] for each in deliveries(serving)) == ["kit-received-2023-08.csv", REPORTS]


def test_the_readmes_table_of_settings_is_the_model():
    """Every setting, whether it is required, its default; and none that is not there."""
    table = README.read_text(encoding="utf-8").split("## Settings")[1].split("## ")[0]
    told = {line.split("|")[1].strip(" `"): line for line in table.splitlines() if line.startswith("| `")}
    assert list(told) == list(CsvSettings.model_fields)
    for name, each in CsvSettings.model_fields.items():
        plain = str(each.default).lower() if isinstance(each.default, bool) else each.default
        default = {"directory": "", "marker": " none", "columns": " all"}.get(name, f" `{plain}`")
        assert f"| `{name}` | {'yes' if each.is_required() else 'no'} | no |{default} | " in told[name]


def test_a_wrong_column_is_told_by_check_with_its_line(serving):
    """Before anything is served."""
    to_csv(serving, columns={"report-ready": ["report_id", "glycanage"]})
    checked = serving.run("check")
    assert checked.returncode == 78
    assert re.search(r"bridge.yaml:\d+:\d+: destinations.csv.settings.columns.report-ready.1: ", checked.stdout)
    assert "did you mean 'glycan_age'?" in checked.stdout


def test_a_replay_leaves_one_row_and_the_same_receipt(serving):
    """Whatever columns were chosen; of an assignment, too."""
    chosen = {"report-ready": ["glycan_age"], "assignment-status-changed": ["kit_code"]}
    exports = to_csv(serving, columns=chosen)
    with served(serving):
        for event_type in ("report-ready", "assignment-status-changed"):
            serving.post(sample(event_type))
        until(lambda: states(serving) == ["delivered"] * 2)
        before = {each.name: each.read_bytes() for each in exports.glob("*.csv")}
        receipts = sorted(each["receipt"] for each in deliveries(serving))
        assert serving.run("deliveries", "replay", "--state", "delivered", "--yes").returncode == 0
        until(lambda: [row["attempts"] for row in deliveries(serving, "--state", "delivered")] == [2, 2])
        assert {each.name: each.read_bytes() for each in exports.glob("*.csv")} == before
        assert sorted(each["receipt"] for each in deliveries(serving)) == receipts == [ASSIGNMENTS, REPORTS]


def test_kill_9_between_the_row_and_its_record_leaves_one_row(serving):
    """Three times over: the row is on the disk, the journal cannot note it, and the bridge is killed."""
    exports = to_csv(serving, lock_timeout_s=25, columns={"report-ready": ["kit_code"]})
    exports.mkdir()
    for number in (1, 2, 3):
        serving.start()
        lock = FileLock(exports / f".{REPORTS}.lock")
        with lock:  # until the delivery is claimed, and the journal held
            assert serving.post(sample(timestamp=1693123200000 + number)).status == 200
            until(lambda: "running" in states(serving))
            journal = apsw.Connection(str(serving.folder / "var" / "journal.db"))
            journal.set_busy_timeout(5000)
            journal.execute("BEGIN IMMEDIATE")
        until(lambda number=number: has_rows(exports / REPORTS, number))
        with lock:  # the plugin has let go: the row is flushed
            serving.stop(kill=True)
        journal.execute("ROLLBACK")
        journal.close()

        with served(serving):
            until(lambda number=number: states(serving) == ["delivered"] * number)
        newest = deliveries(serving)[0]
        assert [each["outcome"] for each in shown(serving, newest["id"])["attempts"]] == ["unknown", "delivered"]
        assert (newest["receipt"], has_rows(exports / REPORTS, number)) == (REPORTS, True)
    assert len(set(ids(exports / REPORTS))) == 3


def test_lanes_and_practices_have_every_row_once(serving):
    """Four processes at once write a hundred events of three practices, in the file of a day each."""
    exports = to_csv(serving, destination={"lanes": 4}, folder_per_practice=True, rotate="day")
    practices = ["split", "zagreb", "../rijeka"]
    with served(serving):
        for number in range(100):
            body = sample(timestamp=1693123200000 + number, data={"practiceId": practices[number % 3]})
            assert serving.post(body).status == 200
        until(lambda: [len(ids(each)) for each in sorted(exports.rglob("*.csv"))] == [33, 34, 33], timeout_s=40)
        until(lambda: set(states(serving)) == {"delivered"})
    files = sorted(each.relative_to(exports).as_posix() for each in exports.rglob("*.csv"))
    assert [re.sub("~[0-9a-f]{32}", "~...", each) for each in files] == [
        f"{folder}/report-ready-2023-08-27.csv" for folder in ("___rijeka~...", "split", "zagreb")
    ]
    assert len({each for file in files for each in ids(exports / file)}) == 100


def test_what_is_owed_waits_for_a_share_that_is_away_and_loses_no_attempt(serving):
    """There is one attempt in its schedule, and it fails: nothing dies, and nothing is written elsewhere."""
    exports = to_csv(serving, destination={"retry": {"tries": 1, "schedule_s": []}}, marker=".mounted")
    exports.mkdir()
    with served(serving):
        for number in range(5):
            serving.post(sample(timestamp=1693123200000 + number))
        until(lambda: len(refused(serving)) == 1)
        for probes in (2, 3):
            assert serving.run("destinations", "resume", "csv").returncode == 0
            until(lambda probes=probes: len(refused(serving)) == probes)
        assert states(serving) == ["pending"] * 5
        assert list(exports.iterdir()) == []
        (exports / ".mounted").touch()
        assert serving.run("deliveries", "replay", "--state", "pending", "--yes").returncode == 0
        assert serving.run("destinations", "resume", "csv").returncode == 0
        until(lambda: states(serving) == ["delivered"] * 5)
    assert len(set(ids(exports / REPORTS))) == len(rows(exports / REPORTS)) == 5


def refused(serving):
    """What the marker's absence has told of the deliveries that were tried."""
    return [row["last_error"] for row in deliveries(serving) if "nothing is written" in str(row["last_error"])]


@needs_strace
def test_lanes_on_a_slow_share_wait_for_one_another_and_lose_nothing(serving):
    """Each flush of the file takes half a second in the kernel, and another lane waits for a tenth."""
    retry = {"retry": {"schedule_s": [0.1] * 100}, "circuit": {"failures": 0}}
    exports = to_csv(serving, destination={"lanes": 2, **retry}, lock_timeout_s=0.1)
    exports.mkdir()
    (exports / REPORTS).touch()
    slow = ("-P", str(exports / REPORTS), "-e", "trace=fsync", "-e", "inject=fsync:delay_exit=500000")
    serving.start(under=under_strace("-o", os.devnull, *slow))
    for number in range(6):
        assert serving.post(sample(timestamp=1693123200000 + number)).status == 200
    until(lambda: states(serving) == ["delivered"] * 6, timeout_s=60)
    attempts = [each for row in deliveries(serving) for each in shown(serving, row["id"])["attempts"]]
    serving.stop()
    refused = [each for each in attempts if each["outcome"] != "delivered"]
    assert refused
    assert {each["outcome"] for each in refused} == {"temporary"}
    assert all(f"{REPORTS} was locked by another process for 0.1 s" in each["error"] for each in refused)
    assert len(set(ids(exports / REPORTS))) == len(rows(exports / REPORTS)) == 6


def shown(serving, delivery_id):
    """What `glycanbridge deliveries show` says."""
    (row,) = serving.rows("deliveries", "show", delivery_id)
    return row


def plugins_process(serving):
    """The process that the plugin runs in, which leads a session of its own."""
    (found,) = (each for each in descendants(serving.process.pid) if os.getsid(each) == each)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks for the plugin's process in /proc")
def test_what_takes_longer_than_an_attempt_may_is_made_again_and_has_one_row(serving):
    """The plugin's process stands still, as before a share that does not answer, and is ended at `timeout_s`."""
    retry = {"retry": {"schedule_s": [0.1] * 50}}
    exports = to_csv(serving, destination={"timeout_s": 2, **retry}, lock_timeout_s=1)
    with served(serving):
        serving.post(sample())
        until(lambda: states(serving) == ["delivered"])
        os.kill(plugins_process(serving), signal.SIGSTOP)
        serving.post(sample(timestamp=1693123200001))
        until(lambda: states(serving) == ["delivered"] * 2)
        attempts = shown(serving, deliveries(serving)[0]["id"])["attempts"]
    assert [each["outcome"] for each in attempts] == ["unknown", "delivered"]
    assert "no answer within 2 s" in attempts[0]["error"]
    assert len(ids(exports / REPORTS)) == 2


NEEDLES = {
    "report-ready": ["reportId", "testId", "kitCode", "patientId", "assignmentId", "glycanAge", "chronologicalAge"],
    "kit-received": ["kitCode", "testId", "patientId", "assignmentId", "status"],
    "assignment-status-changed": ["assignmentId", "previousStatus", "currentStatus", "paymentType", "currency"],
    "order-status-changed": ["orderId", "orderType", "previousStatus", "currentStatus", "currency"],
}


def needle_events():
    """An event of each type, whose every text begins with a needle."""
    for event_type, names in NEEDLES.items():
        data = {name: f"NEEDLE-{event_type}-{name}" for name in names}
        if event_type == "report-ready":
            data["reportUrl"] = "NEEDLE-url"
        if event_type == "assignment-status-changed":
            data["sets"] = [{"patientId": "NEEDLE-p", "kitCode": "NEEDLE-k", "product": "NEEDLE-q"}]
        yield event_type, data


def test_no_value_of_a_patients_is_in_any_error_receipt_or_log_line(serving):
    """Needles in every field, and all kinds of trouble: a lock, a file's, the whole destination's, too long a value."""
    exports = to_csv(
        serving,
        destination={"retry": {"tries": 1, "schedule_s": [0.1]}},
        marker=".mounted",
        lock_timeout_s=0.05,
    )
    exports.mkdir()
    (exports / REPORTS).mkdir()
    (exports / ".mounted").touch()
    told = []
    with served(serving):
        with FileLock(exports / ".kit-received-2023-08.csv.lock"):
            for event_type, data in needle_events():
                assert serving.post(sample(event_type, data=data)).status == 200
            serving.post(sample("order-status-changed", data={"currency": "NEEDLE" * 6000}))
            until(lambda: len(serving.rows("dead-letters", "list")) == 3)
        told += deliveries(serving) + serving.rows("dead-letters", "list")
        (exports / ".mounted").unlink()
        serving.run("destinations", "resume", "csv")
        serving.post(sample("order-status-changed", data={"orderId": "NEEDLE"}))
        until(lambda: any("mounted is not there" in str(row["last_error"]) for row in deliveries(serving)))
        told += deliveries(serving) + serving.rows("destinations")
    errors = " ".join(str(row.get("last_error")) for row in told)
    for words in ("Is a directory", "was locked", "is not there", "currency has more than 32,766 characters"):
        assert words in errors
    assert "NEEDLE" in (exports / "assignment-status-changed-2023-08.csv").read_text()
    assert "NEEDLE" not in json.dumps(told) + serving.log.read_text()


def test_importing_the_plugin_costs_little():
    """Less than what its process has in memory anyway, and nothing large besides."""
    code = """
import sys, time
began = time.process_time()
from glycanbridge.hosts import preloaded
between, before = time.process_time(), set(sys.modules)
import glycanbridge_csv
print((time.process_time() - between) / (between - began))
print(*sorted({name.split(".")[0] for name in set(sys.modules) - before}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ratio, imported = done.stdout.splitlines()
    assert float(ratio) < 1
    assert set(imported.split()) <= {"filelock", "glycanbridge", "glycanbridge_csv", *sys.stdlib_module_names}
