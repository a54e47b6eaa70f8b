# ruff: noqa: RUF001 (full-width signs are what it is about)
"""The CSV plugin against real files: what stands in them, and what no crash, repeat or neighbour may do to them."""

import os
import re
import shutil
import stat
import sys
from pathlib import Path

import pytest
from csv_files import ASSIGNMENTS, REPORTS, SETS, child, deliver, ids, rows
from glycanbridge_csv import COLUMNS, LONGEST_VALUE, Csv, CsvSettings
from hypothesis import given, settings
from hypothesis import strategies as st

from glycanbridge import EVENT_TYPES, PermanentError

SHARED_HEADER = "delivery_id,event_id,event_type,timestamp,local_time,received_at"
ROWS = {
    "order-status-changed": """
order_id,order_type,previous_status,current_status,practice_id,number_of_kits,amount,currency

order_12345,bulk-order,pending,paid,practice_67890,50,25000,USD""",
    "assignment-status-changed": """
assignment_id,previous_status,current_status,practice_id,payment_type,amount,currency
,set_number,sets,patient_id,kit_code,product

assignment_12345,pending,approved,practice_67890,bank-transfer,15000,USD,1,1,patient_123,KIT001234,regular""",
    "kit-received": """
kit_code,test_id,patient_id,practice_id,assignment_id,kit_received_at,kit_received_at_local,status

KIT001234,test_56789,patient_123,practice_67890,assignment_12345
,2023-08-27T07:06:40.000Z,2023-08-27T09:06:40.000+02:00,inAnalysis""",
    "report-ready": """
report_id,test_id,kit_code,patient_id,practice_id,assignment_id,glycan_age,chronological_age
,report_url,created_on,created_on_local

report_78901,test_56789,KIT001234,patient_123,practice_67890,assignment_12345,45.2,42
,/reports/report_78901,2023-08-27T07:56:40.000Z,2023-08-27T09:56:40.000+02:00""",
}
"""What stands between the first six columns and the last: in the header, and in the vendor's sample's row."""


# What stands in a file


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_each_sample_becomes_a_header_and_exactly_this_row(make, tmp_path, event_type):
    """Columns, their order and every cell are a promise to whoever reads the files."""
    assert deliver(make(time_zone="Europe/Zagreb"), event_type) == f"{event_type}-2023-08.csv"
    header, row = (part.replace("\n", "") for part in ROWS[event_type].split("\n\n"))
    shared = "2023-08-27T08:00:00.000Z,2023-08-27T10:00:00.000+02:00,2023-08-27T08:00:01.500Z"
    assert (tmp_path / f"{event_type}-2023-08.csv").read_bytes().decode() == (
        f"{SHARED_HEADER},{header},local_date\r\nevent1:results-csv,event1,{event_type},{shared},{row},2023-08-27\r\n"
    )


def test_an_assignment_has_a_row_for_each_set(make, tmp_path):
    """A spreadsheet user looks for a patient or a kit, not for a list in a cell."""
    deliver(make(), "assignment-status-changed", sets=SETS)
    found = rows(tmp_path / ASSIGNMENTS)
    assert [(row["set_number"], row["sets"], row["patient_id"], row["kit_code"]) for row in found] == [
        ("1", "3", "patient_1", "KIT1"),
        ("2", "3", "patient_2", "KIT2"),
        ("3", "3", "patient_3", "KIT3"),
    ]
    assert {row["product"] for row in found} == {'reg"ular, č'}


def test_an_assignment_without_sets_still_has_its_row_and_nothing_is_an_empty_cell(make, tmp_path):
    """One event, one row at the least; `null` is no text."""
    plugin = make()
    for _ in range(2):
        deliver(plugin, "assignment-status-changed", sets=[], amount=None, currency=None, previousStatus=None)
    (row,) = rows(tmp_path / ASSIGNMENTS)
    empty = ("amount", "currency", "previous_status", "set_number", "patient_id", "kit_code", "product")
    assert row["sets"] == "0"
    assert {row[name] for name in empty} == {""}


def test_fields_that_we_do_not_know_fill_no_column(make, tmp_path):
    """Neither a new one nor one that is named like a column of ours."""
    deliver(make(), "assignment-status-changed", sets=[], patient_id="x", set_number=9, new="x", delivery_id="x")
    (row,) = rows(tmp_path / ASSIGNMENTS)
    assert (row["patient_id"], row["set_number"], row["delivery_id"]) == ("", "", "event1:results-csv")
    assert list(row) == COLUMNS["assignment-status-changed"]


@pytest.mark.parametrize("age", ["45.20", "044", "1e3", "45,2", "unknown"])
def test_ages_stay_as_glycanage_wrote_them(make, tmp_path, age):
    """A result is never reformatted."""
    deliver(make(), glycanAge=age)
    assert rows(tmp_path / REPORTS)[0]["glycan_age"] == age


@pytest.mark.parametrize(
    ("zone", "month", "local"),
    [
        ("UTC", "2023-08", "2023-08-31T22:30:00.000+00:00"),
        ("Europe/Zagreb", "2023-09", "2023-09-01T00:30:00.000+02:00"),
        ("America/New_York", "2023-08", "2023-08-31T18:30:00.000-04:00"),
    ],
)
def test_the_month_of_an_event_is_that_of_the_configured_zone(make, tmp_path, zone, month, local):
    """A report released after midnight in Zagreb belongs to the new month there."""
    assert deliver(make(time_zone=zone), timestamp=1693521000000) == f"report-ready-{month}.csv"
    (row,) = rows(tmp_path / f"report-ready-{month}.csv")
    assert (row["local_time"], row["local_date"]) == (local, local[:10])
    assert row["timestamp"] == "2023-08-31T22:30:00.000Z"


@pytest.mark.parametrize(
    ("timestamp", "zone", "month"),
    [(253402300799999, "Asia/Tokyo", "9999-12"), (-62135596800000, "America/New_York", "0001-01")],
)
def test_the_ends_of_time_have_a_file_too(make, timestamp, zone, month):
    """An absurd timestamp must not keep a result from being written: the day that no zone can shift stays UTC."""
    assert deliver(make(time_zone=zone), timestamp=timestamp) == f"report-ready-{month}.csv"


# Cells


DANGEROUS = [
    *("=1+1", "+1+1", "-1+1", "@SUM(1)", "\tx", "\rx", "\nx", "\0x", "＝1", "＋1", "－1", "＠x"),
    *(" =1", '"=1', "'=1", "\n=1", "\r\n =1", "\u00a0=1", "\ufeff=1", "\u200b@x", "-1.5.2", "+", "-", "=", "-1e5"),
    *("- 1", "-1\n", "-١", "“=1"),
]
HARMLESS = ["", "-1.5", "+3", "0", "45.2", "KIT-1", "a=1", "'quoted'", "1=1", "ČĆŽ", " x", "a,b", "a;b", 'a"b', "/r/1"]


@pytest.mark.parametrize("value", DANGEROUS)
def test_what_a_spreadsheet_would_run_begins_with_an_apostrophe(make, tmp_path, value):
    """OWASP "CSV Injection", ASVS 1.2.10: also in full width, and behind what spreadsheets trim."""
    deliver(make(), testId="t", reportUrl=value)
    assert rows(tmp_path / REPORTS)[0]["report_url"] == "'" + re.sub("[\r\n\0]", " ", value)


@pytest.mark.parametrize("value", HARMLESS)
def test_a_harmless_value_stays_as_it_is(make, tmp_path, value):
    """Plain numbers, signs and all, are left to be counted with."""
    deliver(make(), reportUrl=value)
    assert rows(tmp_path / REPORTS)[0]["report_url"] == value


@settings(deadline=None)  # each example writes files, and disks have moods
@given(st.lists(st.text(st.characters(codec="utf-8") | st.sampled_from("=+-@\t\r\n\0 \"';,1.＝＋－＠")), min_size=1))
def test_any_text_comes_back_and_none_is_a_formula(tmp_path_factory, values):
    """Less an apostrophe what csv reads is the value; only line ends and NUL have become spaces."""
    directory = tmp_path_factory.mktemp("any")
    plugin = Csv(CsvSettings(directory=directory, time_zone="Europe/Zagreb"))
    for number, value in enumerate(values):
        deliver(plugin, number=number, reportUrl=value)
    path = directory / REPORTS
    assert path.read_bytes().count(b"\n") == path.read_bytes().count(b"\r") == len(values) + 1
    for value, row in zip(values, rows(path), strict=True):
        kept, cell = re.sub("[\r\n\0]", " ", value), row["report_url"]
        assert cell in (kept, "'" + kept)
        number = re.fullmatch(r"[+-]?[0-9]+(\.[0-9]+)?", cell)
        assert number or not re.match(r"\t|[\s\"']*[=+\-@＝＋－＠]", cell) or cell == "'" + kept
    shutil.rmtree(directory)


def test_a_value_that_no_cell_can_hold_is_permanent_and_not_repeated_in_the_error(make, tmp_path):
    """Excel would cut it silently; the dead letter has all of it."""
    deliver(make(), number=1, reportUrl="=" + "p" * (LONGEST_VALUE - 1))
    with pytest.raises(PermanentError, match="report_url has more than 32,766 characters") as raised:
        deliver(make(), number=2, reportUrl="p" * (LONGEST_VALUE + 1))
    assert "ppp" not in str(raised.value)
    assert len(rows(tmp_path / REPORTS)[0]["report_url"]) == 32_767


def test_excel_gets_its_byte_order_mark_once_and_its_semicolons(make, tmp_path):
    """Every line ends with CRLF, and a later instance does not begin anew."""
    for number in (1, 2):
        deliver(make(bom=True, delimiter=";"), number=number, reportUrl="a;b")
    content = (tmp_path / REPORTS).read_bytes()
    assert content.startswith(b"\xef\xbb\xbfdelivery_id;event_id;")
    assert content.count(b"\xef\xbb\xbf") == 1
    assert content.count(b"\r\n") == content.count(b"\n") == 3
    assert [row["report_url"] for row in rows(tmp_path / REPORTS, delimiter=";")] == ["a;b", "a;b"]


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")
def test_only_the_bridges_user_can_read_the_files(tmp_path):
    """Directory 0700, files 0600, the lock file too."""
    directory = tmp_path / "var" / "exports"
    deliver(Csv(CsvSettings(directory=directory)))
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {each.name: stat.S_IMODE(each.stat().st_mode) for each in directory.iterdir()} == {
        REPORTS: 0o600,
        f".{REPORTS}.lock": 0o600,
    }


# Once, and whole


def test_a_repeated_delivery_has_one_row_and_the_same_receipt(make, tmp_path):
    """A repeat changes not a byte: by the same instance, by a fresh one, and after others."""
    plugin = make()
    receipts = {deliver(plugin, number=1), deliver(plugin, number=1), deliver(make(), number=1)}
    deliver(plugin, number=2)
    before = (tmp_path / REPORTS).read_bytes()
    receipts |= {deliver(plugin, number=1), deliver(make(), number=1)}
    assert receipts == {REPORTS}
    assert (tmp_path / REPORTS).read_bytes() == before
    assert ids(tmp_path / REPORTS) == ["event1:results-csv", "event2:results-csv"]


@pytest.mark.usefixtures("without_syncs")
@pytest.mark.parametrize("bom", [False, True])
@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_a_row_that_was_cut_off_anywhere_is_made_whole_by_the_next_attempt(make, tmp_path, event_type, bom):
    """A crash at any byte of the header or of the last delivery's rows, then the same delivery again."""
    told = {"sets": SETS} if event_type == "assignment-status-changed" else {}
    path = tmp_path / f"{event_type}-2023-08.csv"
    plugin = make(bom=bom)
    sizes = [0]
    for number in (1, 2):
        deliver(plugin, event_type, number, **told)
        sizes.append(path.stat().st_size)
    whole = path.read_bytes()
    for number, start, end in ((1, 0, sizes[1]), (2, sizes[1], sizes[2])):
        for offset in range(start, end):
            path.write_bytes(whole[:offset])
            # an instance that knew the file before, and one that is new
            deliver(plugin if offset % 2 else make(bom=bom), event_type, number, **told)
            assert path.read_bytes() == whole[:end], f"cut at byte {offset}"


@pytest.mark.usefixtures("without_syncs")
def test_a_cut_off_row_does_not_spoil_the_row_of_another_delivery(make, tmp_path):
    """Cut at any byte of an assignment's three rows, another delivery comes first, then the same again."""
    path = tmp_path / ASSIGNMENTS
    deliver(make(), "assignment-status-changed", 1)
    start = path.stat().st_size
    deliver(make(), "assignment-status-changed", 2, sets=SETS)
    whole = path.read_bytes()
    lines = set(whole.splitlines(keepends=True))
    for offset in range(start, len(whole)):
        path.write_bytes(whole[:offset])
        plugin = make()
        deliver(plugin, "assignment-status-changed", 3)
        deliver(plugin, "assignment-status-changed", 2, sets=SETS)
        found = path.read_bytes().splitlines(keepends=True)
        assert sorted(ids(path)) == sorted(["event1:results-csv", *["event2:results-csv"] * 3, "event3:results-csv"])
        assert lines < set(found), f"cut at byte {offset}"
        assert len(found) == 6, f"cut at byte {offset}"


def test_a_tail_of_nul_bytes_is_cut_off(make, tmp_path):
    """What some file systems leave behind after a power cut."""
    path = tmp_path / REPORTS
    deliver(make(), number=1)
    with path.open("ab") as file:
        file.write(b"event2:res" + bytes(300))
    deliver(make(), number=2)
    assert ids(path) == ["event1:results-csv", "event2:results-csv"]
    assert b"\0" not in path.read_bytes()


def test_a_last_row_that_only_lost_its_line_end_is_kept(make, tmp_path):
    """Editors and other programs leave the last line end away; that row had its receipt, and must not be lost."""
    path = tmp_path / REPORTS
    deliver(make(), number=1)
    path.write_bytes(path.read_bytes().rstrip(b"\r\n"))
    deliver(make(), number=2)
    assert ids(path) == ["event1:results-csv", "event2:results-csv"]


def test_a_row_that_somebody_deleted_or_a_stray_quote_costs_no_other_row(make, tmp_path):
    """The clinic's edits stay as they are, and what comes goes below."""
    path = tmp_path / ASSIGNMENTS
    plugin = make()
    deliver(plugin, "assignment-status-changed", 1, sets=SETS)
    kept = path.read_bytes().splitlines(keepends=True)[:3]
    kept[1] = kept[1].replace(b"pending", b'"pending')
    path.write_bytes(b"".join(kept))
    deliver(plugin, "assignment-status-changed", 2)
    found = path.read_bytes()
    assert found.startswith(b"".join(kept))
    assert found.count(b"event2:results-csv") == 1
    assert found.count(b"\r\n") == 4


APPEND = """
import sys, threading
from pathlib import Path
from csv_files import deliver
from glycanbridge_csv import Csv, CsvSettings

process, directory = sys.argv[1:]
plugin = Csv(CsvSettings(directory=Path(directory), lock_timeout_s=90))

def lane(thread):
    for number in range(50):
        for kind in ("report-ready", "assignment-status-changed"):
            deliver(plugin, kind, f"{process}-{thread}-{number}")
            deliver(plugin, kind, f"both-{thread}-{number}")  # the other process has this one, too

threads = [threading.Thread(target=lane, args=[number]) for number in range(3)]
[each.start() for each in threads]
[each.join() for each in threads]
"""


def test_processes_and_lanes_write_one_file_without_tearing_a_row(tmp_path):
    """Three processes of three lanes each, 50 deliveries a lane of their own and 50 that all have."""
    processes = [child(APPEND, number, tmp_path) for number in range(3)]
    assert [each.wait(100) for each in processes] == [0, 0, 0]
    expected = {f"event{process}-{lane}-{n}" for process in (0, 1, 2, "both") for lane in range(3) for n in range(50)}
    for name in (REPORTS, ASSIGNMENTS):
        found = rows(tmp_path / name)
        assert len(found) == len(expected)
        assert {row["event_id"] for row in found} == expected
        assert all(None not in row and row["local_date"] == "2023-08-27" for row in found)


def test_a_row_is_on_the_disk_before_the_receipt(make, tmp_path, monkeypatch):
    """The file at its full size, a new file's name too; and a row that a dying process left unsynced is synced."""
    synced, sync = [], os.fsync

    def spy(descriptor):
        sync(descriptor)
        synced.append((os.fstat(descriptor).st_ino, os.fstat(descriptor).st_size))

    monkeypatch.setattr(os, "fsync", spy)
    path, plugin = tmp_path / REPORTS, make()
    for number, each, names in ((1, plugin, 1), (2, plugin, 0), (2, make(), 1)):
        synced.clear()
        deliver(each, number=number)
        assert synced[0] == (path.stat().st_ino, path.stat().st_size)
        assert [inode for inode, _ in synced[1:]] == [tmp_path.stat().st_ino] * names * (sys.platform != "win32")


@pytest.mark.skipif(sys.platform == "win32", reason="has no such thing")
def test_the_names_of_new_folders_are_on_the_disk_before_the_receipt(tmp_path, monkeypatch):
    """A row whose folder is gone after a power cut is lost as well."""
    synced, sync = [], os.fsync

    def spy(descriptor):
        sync(descriptor)
        synced.append(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", spy)
    deliver(Csv(CsvSettings(directory=tmp_path / "var" / "exports", folder_per_practice=True)))
    folders = [
        tmp_path,
        tmp_path / "var",
        tmp_path / "var" / "exports",
        tmp_path / "var" / "exports" / "practice_67890",
    ]
    assert {each.stat().st_ino for each in folders} < set(synced)


def test_a_file_that_was_deleted_replaced_or_emptied_is_read_anew(make, tmp_path):
    """What this instance remembers of the former file must not swallow a row, nor a replaced file's rows be doubled."""
    plugin, path, other = make(), tmp_path / REPORTS, tmp_path / "other"
    for number in (1, 2):
        deliver(plugin, number=number)
    path.rename(other)
    deliver(plugin, number=1)
    assert ids(path) == ["event1:results-csv"]
    other.replace(path)
    deliver(plugin, number=2)
    assert ids(path) == ["event1:results-csv", "event2:results-csv"]
    path.write_bytes(b"")
    deliver(plugin, number=3)
    assert ids(path) == ["event3:results-csv"]
    path.parent.joinpath(f".{REPORTS}.lock").unlink()
    path.unlink()
    deliver(plugin, number=3)
    assert ids(path) == ["event3:results-csv"]


def test_a_file_with_another_header_is_left_alone_and_the_next_name_taken(make, tmp_path):
    """An older version's, another delimiter's, or one that was edited: results are neither stuck nor mixed in."""
    path = tmp_path / REPORTS
    path.write_bytes(b"delivery_id,mine\r\nevent1:results-csv,1\r\n")
    plugin = make()
    assert deliver(plugin, number=1) == "report-ready-2023-08-2.csv"
    assert deliver(make(delimiter=";"), number=1) == "report-ready-2023-08-3.csv"
    assert [deliver(plugin, number=each) for each in (1, 2)] == ["report-ready-2023-08-2.csv"] * 2
    assert path.read_bytes() == b"delivery_id,mine\r\nevent1:results-csv,1\r\n"
    assert ids(tmp_path / "report-ready-2023-08-2.csv") == ["event1:results-csv", "event2:results-csv"]


def test_a_header_that_is_edited_while_the_bridge_runs_is_seen(make, tmp_path):
    """Though nothing else has changed, not even the size."""
    path = tmp_path / REPORTS
    plugin = make()
    deliver(plugin, number=1)
    path.write_bytes(path.read_bytes().replace(b"glycan_age", b"GlycanAge_", 1))
    assert deliver(plugin, number=2) == "report-ready-2023-08-2.csv"


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="Linux counts the bytes that a process reads")
def test_a_large_file_is_read_once(make, tmp_path):
    """At 20,000 rows a delivery costs what it costs at ten, also after another process has appended."""
    path = tmp_path / REPORTS
    plugin = make()
    deliver(plugin, number=0)
    header, row = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(header + b"".join(row.replace(b"event0", b"event%d" % n) for n in range(20_000)))

    def bytes_read(number):
        before = int(re.search(r"rchar: (\d+)", Path("/proc/self/io").read_text())[1])
        deliver(plugin, number=number)
        return int(re.search(r"rchar: (\d+)", Path("/proc/self/io").read_text())[1]) - before

    size = path.stat().st_size
    assert size > 4_000_000
    assert bytes_read(19_999) > size
    deliver(make(), number=20_001)  # somebody else's
    assert bytes_read(20_002) < 50_000
    assert bytes_read(20_001) < 50_000
    assert bytes_read(7) < 50_000
    assert len(rows(path)) == 20_002
