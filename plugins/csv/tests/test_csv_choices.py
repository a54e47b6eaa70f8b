"""What a clinic may choose: columns, files, forms, how much of a patient; and that no choice spoils a file."""

import json
import re
from pathlib import Path

import pytest
from csv_files import ASSIGNMENTS, README, REPORTS, SETS, deliver, ids, rows, sample
from glycanbridge_csv import COLUMNS, Csv, CsvSettings
from glycanbridge_csv.columns import ENDS, layout, tellable
from glycanbridge_csv.paths import folder_of
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from glycanbridge import EVENT_TYPES, Personal
from glycanbridge.bridge_yaml import BridgeYaml
from glycanbridge.problems import validate

MASK = "kit_code (masked)"
ZAGREB = {"time_zone": "Europe/Zagreb", "date_format": "DD.MM.YYYY", "decimal": ",", "delimiter": ";"}
TODAYS = (
    b"delivery_id,event_id,event_type,timestamp,local_time,received_at,report_id,test_id,kit_code,patient_id"
    b",practice_id,assignment_id,glycan_age,chronological_age,report_url,created_on,created_on_local,local_date\r\n"
    b"event1:results-csv,event1,report-ready,2023-08-27T08:00:00.000Z,2023-08-27T08:00:00.000+00:00"
    b",2023-08-27T08:00:01.500Z,report_78901,test_56789,KIT001234,patient_123,practice_67890,assignment_12345,45.2,42"
    b",/reports/report_78901,2023-08-27T07:56:40.000Z,2023-08-27T07:56:40.000+00:00,2023-08-27\r\n"
)
"""A file as 0.1.0 wrote it, with default settings."""


def header(path, **reading):
    """The titles of a file's columns."""
    return list(rows(path, **reading)[0])


def names(directory):
    """The files in a directory and below it, without locks."""
    found = (each.relative_to(directory).as_posix() for each in directory.rglob("*.csv"))
    return sorted(found)


# Columns


def test_chosen_columns_stand_there_in_their_order_and_what_a_file_needs_behind_them(make, tmp_path):
    """Column A is what was written first; the row's mark and its end are for us."""
    deliver(make(columns={"report-ready": ["report_id", "kit_code", "glycan_age"]}))
    assert (tmp_path / REPORTS).read_bytes() == (
        b"report_id,kit_code,glycan_age,delivery_id,local_date\r\n"
        b"report_78901,KIT001234,45.2,event1:results-csv,2023-08-27\r\n"
    )
    deliver(make(), "kit-received")
    assert header(tmp_path / "kit-received-2023-08.csv") == COLUMNS["kit-received"]


@pytest.mark.parametrize(
    ("event_type", "chosen", "added"),
    [
        ("report-ready", ["delivery_id", "local_date"], []),
        ("report-ready", ["delivery_id", "glycan_age", "timestamp"], []),
        ("report-ready", ["local_date", "glycan_age"], ["delivery_id", "timestamp"]),
        ("report-ready", ["glycan_age", "local_date"], ["delivery_id", "timestamp"]),
        ("report-ready", ["local_date", "timestamp"], ["delivery_id", "received_at"]),
        ("order-status-changed", ["order_id"], ["delivery_id", "local_date"]),
        ("assignment-status-changed", ["product"], ["delivery_id", "set_number", "local_date"]),
        ("assignment-status-changed", ["set_number", "delivery_id", "received_at"], []),
    ],
)
def test_what_a_file_needs_is_added_only_where_it_is_missing(event_type, chosen, added):
    """Whoever names it decides where it stands."""
    assert layout(event_type, chosen, Personal.FULL) == [*chosen, *added]


@pytest.mark.parametrize("event_type", EVENT_TYPES)
@pytest.mark.parametrize("personal", list(Personal))
def test_nothing_chosen_is_all_that_may_be_told(event_type, personal):
    """And each of these layouts ends as it must."""
    assert layout(event_type, None, personal) == tellable(event_type, personal)
    assert layout(event_type, None, personal)[-1] in ENDS


CHOICES = [
    ("report-ready", ["report_id", "glycan_age"], {}),
    ("report-ready", ["local_date", "report_url"], {}),
    ("report-ready", ["report_url", "delivery_id", "local_date"], {}),
    ("report-ready", ["delivery_id", "report_url", "received_at"], {"date_format": "MM/DD/YYYY"}),
    ("report-ready", ["local_time", "report_url"], ZAGREB),
    ("report-ready", ["report_url", "glycan_age"], {"date_format": "DD.MM.YYYY.", "decimal": ","}),
    ("assignment-status-changed", ["product"], {}),
    ("assignment-status-changed", ["local_date", "kit_code"], {"personal": "none", "date_format": "YYYY/MM/DD"}),
]


@pytest.mark.usefixtures("without_syncs")
@pytest.mark.parametrize(("event_type", "chosen", "more"), CHOICES)
def test_a_row_of_chosen_columns_that_was_cut_off_anywhere_is_made_whole(make, tmp_path, event_type, chosen, more):
    """At any byte, also when another delivery comes first."""
    plugin, path = make(columns={event_type: chosen}, **more), tmp_path / f"{event_type}-2023-08.csv"
    told = {"sets": SETS} if event_type == "assignment-status-changed" else {"reportUrl": 'a"b,;c'}
    deliver(plugin, event_type, 1, **told)
    start = path.stat().st_size
    deliver(plugin, event_type, 2, **told)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    reading = {"delimiter": more.get("delimiter", ",")}
    for offset in range(start, len(whole)):
        path.write_bytes(whole[:offset])
        plugin.close()
        deliver(plugin, event_type, 2, **told)
        assert path.read_bytes() == whole, f"cut at byte {offset}"
        path.write_bytes(whole[:offset])
        plugin.close()
        deliver(plugin, event_type, 3, **told)
        deliver(plugin, event_type, 2, **told)
        found = path.read_bytes().splitlines(keepends=True)
        assert set(lines) < set(found), f"cut at byte {offset}"
        assert len(found) == len(set(found)) == len(lines) + len(told.get("sets", [0])), f"cut at byte {offset}"
        assert ids(path, **reading).count("event2:results-csv") == len(told.get("sets", [0]))


@pytest.mark.parametrize(("event_type", "chosen", "more"), CHOICES)
def test_a_row_of_chosen_columns_that_only_lost_its_line_end_is_kept(make, tmp_path, event_type, chosen, more):
    """An editor left it away. That row had its receipt, and never comes again; one byte less, and it was not whole."""
    plugin, path = make(columns={event_type: chosen}, **more), tmp_path / f"{event_type}-2023-08.csv"
    deliver(plugin, event_type, 1)
    whole = path.read_bytes()
    path.write_bytes(whole.rstrip())
    deliver(plugin, event_type, 2)
    assert path.read_bytes().startswith(whole)
    assert path.read_bytes().count(b"\r\n") == 3
    path.write_bytes(whole.rstrip()[:-1])
    deliver(plugin, event_type, 2)
    assert b"event1" not in path.read_bytes()
    assert path.read_bytes().count(b"\r\n") == 2


@pytest.mark.parametrize(("event_type", "chosen", "more"), CHOICES)
def test_a_repeat_of_chosen_columns_changes_not_a_byte(make, tmp_path, event_type, chosen, more):
    """By the same instance and by one after a restart."""
    first, again = (make(columns={event_type: chosen}, **more) for _ in range(2))
    told = {"sets": SETS} if event_type == "assignment-status-changed" else {}
    receipts = {deliver(first, event_type, **told)}
    before = (tmp_path / f"{event_type}-2023-08.csv").read_bytes()
    receipts |= {deliver(first, event_type, **told), deliver(again, event_type, **told)}
    assert receipts == {f"{event_type}-2023-08.csv"}
    assert (tmp_path / f"{event_type}-2023-08.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("told", "place", "words"),
    [
        ("columns: {report-raedy: [report_id]}", "2:11", "unknown key; did you mean 'report-ready'?"),
        ("columns: {report-ready: [report_id, glycanage]}", "2:37", "got 'glycanage'; did you mean 'glycan_age'?"),
        ("columns: {report-ready: [order_id]}", "2:26", "expected one of 'delivery_id', "),
        ("columns: {report-ready: []}", "2:25", "expected at least 1 item(s)"),
        ("columns: {report-ready: [report_id, kit_code, report_id]}", "2:25", "and report_id stands there again"),
        ("columns: {report-ready: [local_date, timestamp, received_at, kit_code]}", "2:25", "expected delivery_id in"),
        ("personal: ids\ncolumns: {report-ready: [glycan_age]}", "3:26", "at personal: ids, got 'glycan_age'"),
        ("columns: {kit-received: [status, test_id]}\npersonal: none", "2:34", "at personal: none, got 'test_id'"),
        ("date_format: DD.MM", "2:14", "such as DD.MM.YYYY, got 'DD.MM'"),
        ("date_format: '%d.%m.%Y'", "2:14", "expected iso, or DD, MM and YYYY"),
        ("date_format: DD.MM.MM", "2:14", "expected iso, or DD, MM and YYYY"),
        ("date_format: DD.MM/YYYY", "2:14", "expected iso, or DD, MM and YYYY"),
        ("rotate: monthly", "2:9", "'never', got 'monthly'; did you mean 'month'?"),
        ("decimal: ;", "2:10", "expected one of '.', ',', got ';'"),
        ("personal: all", "2:11", "expected it to be 'none', 'ids' or 'full'"),
        ("marker: ../x", "2:9", "expected the name of a file in the directory"),
        ("marker: ..", "2:9", "expected the name of a file in the directory"),
        ("marker: ''", "2:9", "expected the name of a file in the directory"),
        ("lock_timeout_s: 30", "2:17", "expected less than the destination's timeout_s, 30"),
        ("lock_timeout_s: 0", "2:17", "expected it to be greater than 0"),
    ],
)
def test_a_wrong_setting_is_told_with_its_line_and_what_to_write(tmp_path, told, place, words):
    """As `glycanbridge check` tells it: at the very word where that can be."""
    (tmp_path / "settings.yaml").write_text(f"directory: x\n{told}\n")
    source = BridgeYaml(tmp_path / "settings.yaml")
    model, (problem,) = validate(CsvSettings, source.data, source, timeout_s=30)
    assert model is None
    assert words in problem.message
    assert f"{problem.line}:{problem.column}" == place


def test_an_editor_knows_the_columns_of_each_event_type():
    """The JSON Schema that `glycanbridge schema` prints completes them."""
    definition = CsvSettings.model_json_schema()["$defs"]["Columns"]
    assert list(definition["properties"]) == list(EVENT_TYPES)
    for event_type, each in definition["properties"].items():
        assert each["anyOf"][0]["items"]["enum"] == COLUMNS[event_type]


@pytest.mark.parametrize("zone", ["Europe/Zagrab", "Europe", "", "/etc/passwd", "../etc/passwd", "CEST+2"])
def test_an_unknown_time_zone_is_refused_with_what_to_write(tmp_path, zone):
    """At start, not at the first event."""
    with pytest.raises(ValidationError, match="expected an IANA time zone, such as Europe/Zagreb or UTC"):
        CsvSettings(directory=tmp_path, time_zone=zone)


def test_every_setting_is_described_and_no_other_is_taken(tmp_path):
    """`glycanbridge schema` shows the descriptions; a misspelt key is an error."""
    properties = CsvSettings.model_json_schema()["properties"]
    assert {name for name, each in properties.items() if len(each["description"]) > 20} == set(CsvSettings.model_fields)
    with pytest.raises(ValidationError):
        CsvSettings(directory=tmp_path, delimeter=";")
    with pytest.raises(ValidationError):
        CsvSettings(directory=tmp_path, delimiter="\t")


def test_the_columns_in_the_readme_are_those_in_the_files():
    """Each event type's header stands there as it is written."""
    readme = README.read_text(encoding="utf-8")
    for columns in COLUMNS.values():
        own = columns[6:-1]
        assert re.search(r"\|\s*" + ", ".join(f"`{name}`" for name in own) + r"\s*\|", readme), own
    assert ", ".join(f"`{name}`" for name in COLUMNS["report-ready"][:6]) in readme


# Files


@pytest.mark.parametrize(
    ("rotate", "name"),
    [("day", "-2023-09-01"), ("month", "-2023-09"), ("year", "-2023"), ("never", "")],
)
def test_a_file_is_a_days_a_months_a_years_or_for_ever(make, tmp_path, rotate, name):
    """By the local day: half past midnight in Zagreb is the next one."""
    plugin = make(rotate=rotate, time_zone="Europe/Zagreb")
    assert deliver(plugin, timestamp=1693521000000) == f"report-ready{name}.csv"
    assert deliver(plugin, number=2, timestamp=1693521000000 + 400 * 86_400_000) == {
        "day": "report-ready-2024-10-05.csv",
        "month": "report-ready-2024-10.csv",
        "year": "report-ready-2024.csv",
        "never": "report-ready.csv",
    }.get(rotate)


def test_each_practice_has_a_folder_of_its_own(make, tmp_path):
    """So that a share can give each the right to its own; the receipt names it."""
    plugin = make(folder_per_practice=True, rotate="year")
    receipts = [
        deliver(plugin, event_type, f"{event_type}-{practice}", practiceId=practice)
        for practice in ("split", "zagreb", "split")
        for event_type in ("report-ready", "kit-received")
    ]
    assert receipts[:4] == [f"{p}/{t}-2023.csv" for p in ("split", "zagreb") for t in ("report-ready", "kit-received")]
    assert names(tmp_path) == sorted(set(receipts))
    for each in names(tmp_path):
        (row,) = rows(tmp_path / each)
        assert row["practice_id"] == each.split("/")[0]


WICKED = [
    *(
        "..",
        ".",
        "../x",
        "/etc",
        "a/b",
        "a\\b",
        "C:x",
        "~",
        "-rf",
        "x.",
        "x ",
        " x",
        "con",
        "nul",
        "com1",
        "LPT9",
        "%2e",
    ),
    *(
        "Split",
        "SPLIT",
        "split\n",
        "sp\u00e9lit",
        "spe\u0301lit",
        "ﬁ",
        "x" * 65,
        "X" * 5000,
        "💉",
        "split~1",
        "\t",
        "*?<>|",
    ),
    *(".report-ready-2023.csv.lock", "report-ready-2023.csv", ".mounted"),
]


@pytest.mark.parametrize("practice", WICKED)
def test_no_practice_id_chooses_a_path(make, tmp_path, practice):
    """It comes from outside: whatever it is, there is one folder, right in the directory."""
    directory = tmp_path / "exports"
    plugin = Csv(CsvSettings(directory=directory, folder_per_practice=True))
    receipt = deliver(plugin, practiceId=practice)
    assert [each.name for each in tmp_path.iterdir()] == ["exports"]
    (folder,) = directory.iterdir()
    assert receipt == f"{folder.name}/{REPORTS}"
    assert re.fullmatch(r"[a-z0-9_]{1,32}~[0-9a-f]{32}", folder.name)
    assert rows(folder / REPORTS)[0]["practice_id"].strip("'") == re.sub("[\r\n]", " ", practice)


def test_a_harmless_practice_id_is_its_folders_name_and_another_is_told_as_the_readme_says():
    """What is promised to whoever looks for a folder."""
    for harmless in ("practice_67890", "0b8f7e5c-1d2a-4c3b-9e8f-0a1b2c3d4e5f", "x" * 64, "concord", "1"):
        assert folder_of(harmless) == harmless
    assert folder_of("Practice 1").startswith("practice_1~d279")
    assert "`practice_1~d279...`" in README.read_text(encoding="utf-8")


@given(st.sets(st.text(st.characters(codec="utf-8") | st.sampled_from("aAbB./\\~_-1"), min_size=1), min_size=2))
def test_no_two_practices_share_a_folder(practices):
    """Not even where a file system takes letters of either case for one."""
    folders = {folder_of(each).casefold() for each in practices}
    assert len(folders) == len(practices)
    assert all(re.fullmatch(r"[a-z0-9_][a-z0-9_~-]*", each) and len(each) <= 65 for each in folders)


# Forms


@pytest.mark.parametrize(
    ("date_format", "day"),
    [
        ("DD.MM.YYYY", "01.09.2023"),
        ("DD.MM.YYYY.", "01.09.2023."),
        ("DD/MM/YYYY", "01/09/2023"),
        ("MM/DD/YYYY", "09/01/2023"),
        ("YYYY-MM-DD", "2023-09-01"),
    ],
)
def test_local_dates_and_times_are_as_a_spreadsheet_takes_them(make, tmp_path, date_format, day):
    """What is in UTC stays ISO 8601, and so exact; the header tells which of 01/09 is the month, and the zone."""
    plugin = make(time_zone="Europe/Zagreb", date_format=date_format)
    told = {"timestamp": 1693521000000, "createdOn": 1693521000000}
    deliver(plugin, **told)
    deliver(plugin, "kit-received", timestamp=1693521000000, receivedAt=1693521001999)
    form = f"({date_format} Europe/Zagreb)"
    (report,) = rows(tmp_path / "report-ready-2023-09.csv")
    assert (report[f"local_time {form}"], report[f"local_date {form}"]) == (f"{day} 00:30:00", day)
    assert (report[f"created_on_local {form}"], report["created_on"]) == (f"{day} 00:30:00", "2023-08-31T22:30:00.000Z")
    assert report["timestamp"] == "2023-08-31T22:30:00.000Z"
    (kit,) = rows(tmp_path / "kit-received-2023-09.csv")
    assert kit[f"kit_received_at_local {form}"] == f"{day} 00:30:01"


@pytest.mark.parametrize("delimiter", [",", ";"])
@pytest.mark.parametrize(
    ("age", "told"),
    [
        *(("45.20", "45,20"), ("44", "44"), ("-1.5", "-1,5"), ("+3.0", "+3,0"), ("45,2", "45,2"), ("1e3", "1e3")),
        *(("n/a.", "n/a."), ("1.2.3", "1.2.3"), ("=1.5", "'=1.5"), ("", ""), ("\u0664.5", "\u0664.5")),
    ],
)
def test_with_a_decimal_comma_only_the_sign_of_a_number_changes(make, tmp_path, age, told, delimiter):
    """Digits stay as GlycanAge wrote them, and what is no number stays whole; a comma never splits a cell."""
    deliver(make(decimal=",", delimiter=delimiter), glycanAge=age, reportUrl="1.5")
    (row,) = rows(tmp_path / REPORTS, delimiter=delimiter)
    assert row["glycan_age (decimal comma)"] == told
    assert row["chronological_age (decimal comma)"] == "42"
    assert row["report_url"] == "1.5"
    assert ('"45,20"' in (tmp_path / REPORTS).read_text()) == (told == "45,20" and delimiter == ",")


def test_the_ends_of_time_have_a_date_too(make, tmp_path):
    """Four digits of a year, always: else a torn date could look whole."""
    told = {"timestamp": -62135596800000, "createdOn": -62135596800000}
    deliver(make(date_format="DD.MM.YYYY", columns={"report-ready": ["local_time", "created_on_local"]}), **told)
    (row,) = rows(tmp_path / "report-ready-0001-01.csv")
    assert list(row.values())[:2] == ["01.01.0001 00:00:00"] * 2
    assert list(row.values())[-1] == "01.01.0001"


# How much of a patient


NEEDLES = ["patient_123", "KIT001234", "test_56789", "assignment_12345", "report_78901", "45.2"]


@pytest.mark.parametrize("event_type", EVENT_TYPES)
@pytest.mark.parametrize("personal", ["none", "ids", "full"])
def test_what_may_not_be_told_is_no_column_and_nowhere_in_the_file(make, tmp_path, event_type, personal):
    """The header says what is there; of a kit code the last four letters, and the header says that too."""
    deliver(make(personal=personal), event_type)
    path = tmp_path / f"{event_type}-2023-08.csv"
    found, text = header(path), path.read_text()
    missing = [name for name in COLUMNS[event_type] if name not in found and name != "kit_code"]
    hidden = {"glycan_age", "chronological_age"}
    hidden |= {"patient_id", "test_id", "report_id", "assignment_id", "report_url"} if personal == "none" else set()
    assert set(missing) == (set() if personal == "full" else hidden & set(COLUMNS[event_type]))
    leaked = {needle for needle in NEEDLES if needle in text}
    full = {needle for needle in NEEDLES if needle in sample(event_type)[1].body.decode()}
    assert leaked == {"none": set(), "ids": full - {"45.2"}, "full": full}[personal]
    if personal == "none" and event_type != "order-status-changed":
        assert rows(path)[0][MASK] == "…1234"


def test_the_sets_of_an_assignment_are_told_as_far_as_they_may_be(make, tmp_path):
    """A row each all the same, and recognised when it is repeated."""
    plugin = make(personal="none")
    for _ in range(2):
        deliver(plugin, "assignment-status-changed", sets=SETS)
        deliver(plugin, "assignment-status-changed", 2, sets=[])
    found = rows(tmp_path / ASSIGNMENTS)
    assert [(row["set_number"], row["sets"], row[MASK]) for row in found] == [
        *((str(n), "3", "…") for n in (1, 2, 3)),  # four letters: all of it
        ("", "0", ""),
    ]
    assert "patient" not in (tmp_path / ASSIGNMENTS).read_text()


def test_the_readme_says_what_leaves():
    """Each column that is missing at a level is named there, and no other."""
    lines = README.read_text(encoding="utf-8").splitlines()
    for personal in Personal:
        (line,) = (each for each in lines if each.startswith(f"| `{personal}` |"))
        named = set(re.findall("`([a-z_]+)`", line)) - {str(personal)}
        everything = {name for each in COLUMNS.values() for name in each}
        missing = everything - {name for each in EVENT_TYPES for name in tellable(each, personal)}
        assert named == missing


# No choice spoils a file


def test_a_file_of_an_earlier_version_goes_on(make, tmp_path):
    """With default settings the header is what it always was, a row of then is known, and an own one is alike."""
    path = tmp_path / REPORTS
    path.write_bytes(TODAYS)
    plugin = make()
    assert [deliver(plugin, number=number) for number in (1, 2)] == [REPORTS] * 2
    assert path.read_bytes() == TODAYS + TODAYS.splitlines(keepends=True)[1].replace(b"event1", b"event2")


OTHERS = [
    {"columns": {"report-ready": ["report_id", "kit_code"]}},
    {"columns": {"report-ready": ["kit_code", "report_id"]}},
    {"columns": {"report-ready": ["kit_code"]}},
    {"columns": {"report-ready": ["kit_code"]}, "personal": "none"},
    {"personal": "ids"},
    {"personal": "none"},
    {"delimiter": ";"},
    {"decimal": ","},
    {"date_format": "DD/MM/YYYY"},
    {"date_format": "MM/DD/YYYY"},
    {"date_format": "MM/DD/YYYY", "time_zone": "Europe/Zagreb"},
    {"decimal": ",", "date_format": "DD.MM.YYYY", "delimiter": ";", "bom": True},
]


@pytest.mark.parametrize("rotate", ["month", "never"])
def test_what_changes_a_rows_look_begins_a_new_file(make, tmp_path, rotate):
    """Each in a file of its own, of which nobody else changes a byte; what was set before goes on in its own."""
    stem = {"month": "report-ready-2023-08", "never": "report-ready"}[rotate]
    expected = [f"{stem}.csv", *(f"{stem}-{number}.csv" for number in range(2, len(OTHERS) + 2))]
    contents = {}
    for number, chosen in enumerate([{}, *OTHERS]):
        receipt = deliver(make(rotate=rotate, **chosen), number=number)
        contents[receipt] = (tmp_path / receipt).read_bytes()
    assert list(contents) == expected
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == contents
    for number, chosen in enumerate([{}, *OTHERS]):
        plugin = make(rotate=rotate, **chosen)
        assert [deliver(plugin, number=each) for each in (number, number + 100)] == [expected[number]] * 2
        lines = (tmp_path / expected[number]).read_bytes().splitlines(keepends=True)
        assert lines[:2] == contents[expected[number]].splitlines(keepends=True)
        assert len(lines) == 3


def test_a_change_that_no_row_shows_goes_on_in_the_same_file(make, tmp_path):
    """Nobody wants a new file for nothing."""
    chosen = {"columns": {"report-ready": ["kit_code", "delivery_id", "timestamp"]}}
    same = ({}, {"personal": "ids"}, {"decimal": ","}, {"date_format": "DD.MM.YYYY"}, {"bom": True})
    assert {deliver(make(**chosen, **each), number=n) for n, each in enumerate(same)} == {REPORTS}
    assert len(rows(tmp_path / REPORTS)) == len(same)


def test_a_byte_order_mark_alone_makes_no_new_file(make, tmp_path):
    """It is no part of the header; a file keeps the one that it has, or has not."""
    deliver(make(bom=True), number=1)
    assert deliver(make(bom=False), number=2) == REPORTS
    assert ids(tmp_path / REPORTS) == ["event1:results-csv", "event2:results-csv"]


def test_settings_as_they_come_out_of_yaml_are_taken(tmp_path):
    """Lists, words and all; and the model is frozen, so that no delivery can change another's form."""
    told = json.loads(json.dumps({"directory": "x", "columns": {"report-ready": ["kit_code"]}, **ZAGREB}))
    settings = CsvSettings.model_validate(told, context={"folder": tmp_path})
    assert settings.directory == tmp_path / "x"
    assert settings.columns.of("report-ready") == ("kit_code",)
    assert settings.columns.of("kit-received") is None
    with pytest.raises(ValidationError):
        settings.decimal = "."


@pytest.mark.usefixtures("without_syncs")
def test_a_process_does_not_remember_every_file_that_there_ever_was(make, tmp_path):
    """A year of daily files for many practices; one that was forgotten is read again, and has no row twice."""
    plugin = make(rotate="day")
    for number in range(300):
        deliver(plugin, number=number, timestamp=1693123200000 + number * 86_400_000)
    assert len(plugin._files._known) == 256
    deliver(plugin, number=0)
    assert ids(tmp_path / "report-ready-2023-08-27.csv") == ["event0:results-csv"]
    assert len(list(Path(tmp_path).glob("*.csv"))) == 300
