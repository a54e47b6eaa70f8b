"""What GlycanAge has, held against the journal: what is found, what is made of it, and whatever an export may hold."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving import sample

from glycanbridge.destinations import Destinations
from glycanbridge.errors import ExportError, GlycanAgeError
from glycanbridge.events import ReceivedKit, Report, parse
from glycanbridge.glycanage.api import Api
from glycanbridge.glycanage_settings import GlycanAgeSettings, ListedField, ListSettings
from glycanbridge.identity import event_id
from glycanbridge.journal import Filter, NewEvent
from glycanbridge.reconciling import listing
from glycanbridge.reconciling.comparing import FUTURE_MS, compare
from glycanbridge.reconciling.export import Export
from glycanbridge.reconciling.held import Held
from glycanbridge.reconciling.listing import listed
from glycanbridge.reconciling.making import keep
from glycanbridge.reconciling.rows import FIELDS, KINDS, KITS, REPORTS, Row, read_instant
from glycanbridge.testing import Answer, Fault, HttpPeer
from glycanbridge.testing.strategies import bodies

NOBODY = Destinations([])
ROW = {name: str(value) for name, value in json.loads(sample())["data"].items()}
"""The sample report as a list has it."""
KIT_ROW = {name: str(value) for name, value in json.loads(sample("kit-received"))["data"].items()}
NEW = {**ROW, "reportId": "report_2", "reportUrl": "/reports/report_2", "createdOn": "1693123000001"}
"""Another report of the same test, a moment later."""


def record(journal, *bodies: bytes) -> None:
    """Keep events as a bridge does."""
    for body in bodies:
        journal.record(NewEvent(event=parse(body), id=event_id(body), body=body, owed_to={}))


def found(journal, *rows: dict[str, str], kind=REPORTS, **more) -> list[tuple[str, str]]:
    """What is found of rows, and why."""
    places = [Row(f"export.csv:{number}", values) for number, values in enumerate(rows, 2)]
    return [(each.what, each.why) for each in compare(places, kind=kind, journal=journal, **more).findings]


def made(journal, *rows: dict[str, str], kind=REPORTS) -> list[dict]:
    """The events that are made of rows."""
    places = [Row("export.csv:2", values) for values in rows]
    return [json.loads(each.body) for each in compare(places, kind=kind, journal=journal).missing]


def without(values: dict[str, str], *names: str, **changes: str) -> dict[str, str]:
    """A row that lacks some of its values."""
    return {name: value for name, value in (values | changes).items() if name not in names}


def test_the_fields_are_those_of_the_events():
    """Each that an event must have, and no other; the settings know the same."""
    required = {
        kind.event_type: {model.model_fields[name].alias for name in model.model_fields}
        for kind, model in ((REPORTS, Report), (KITS, ReceivedKit))
    }

    assert {each.event_type: set(each.fields) for each in KINDS.values()} == required
    assert set(get_args(ListedField)) == set(FIELDS)


def test_what_is_held_is_not_missing(journal):
    """Also where the list has less of it, or writes an age with another zero."""
    record(journal, sample(), sample("kit-received"))

    for row in (
        ROW,
        without(ROW, "patientId", "createdOn"),
        without(ROW, glycanAge="45.20"),
        {"reportId": "report_78901"},
    ):
        assert found(journal, row) == []
    assert found(journal, KIT_ROW, without(KIT_ROW, "testId", status="reported"), kind=KITS) == []


def test_a_report_that_was_corrected_is_held_in_each_of_its_versions(journal):
    """A list that is behind tells the first one, and nothing is missing."""
    record(journal, sample(), sample(data={"glycanAge": "46"}, timestamp=2))

    assert found(journal, ROW, without(ROW, glycanAge="46")) == []
    assert found(journal, without(ROW, glycanAge="47")) == [("different", "the journal has another glycanAge")]


def test_of_several_events_that_differ_the_one_that_came_last_is_told(journal):
    """With the fields in which it differs, and no others; what is passed through once more is that type alone."""
    record(journal, sample(), sample(data={"glycanAge": "46"}, timestamp=2), sample("kit-received"))
    record(journal, sample(data={"glycanAge": "46", "chronologicalAge": "41"}, timestamp=3))
    rows = [Row("", without(ROW, glycanAge="47")), Row("", without(KIT_ROW, "kitCode", patientId="patient_9"))]

    ((report,), (kit,)) = (
        compare([row], kind=kind, journal=journal).findings for row, kind in zip(rows, (REPORTS, KITS), strict=True)
    )

    assert (report.opposing.row, report.opposing.held) == ({"glycanAge": "47"}, {"glycanAge": "46"})
    assert report.opposing.id == event_id(sample(data={"glycanAge": "46"}, timestamp=2)).id
    assert (kit.opposing.row, kit.opposing.held) == ({"patientId": "patient_9"}, {"patientId": "patient_123"})
    assert "patient" not in repr((report.opposing, kit.opposing))


@pytest.mark.parametrize(("row", "passes"), [(ROW, 1), (without(ROW, glycanAge="46"), 2)])
def test_only_a_row_that_differs_costs_a_second_pass(journal, monkeypatch, row, passes):
    """A clinic's whole history is read for it."""
    record(journal, sample())
    pages, asked = journal.pages, []
    monkeypatch.setattr(journal, "pages", lambda which: asked.append(which) or pages(which))

    compare([Row("", row)], kind=REPORTS, journal=journal)

    assert asked == [Filter(type="report-ready")] * passes


@pytest.mark.parametrize("known", [("testId", "kitCode"), ("testId",), ("kitCode",)])
def test_a_report_that_is_older_than_one_of_its_test_that_has_come_is_a_persons_decision(journal, known):
    """Made now it would come after the newer one, and whoever reads the last word reads the old one."""
    record(journal, sample(data={"reportId": "report_0", "createdOn": 1693122000000}, timestamp=1), sample())
    older = without(NEW, *({"testId", "kitCode"} - {*known}), createdOn="1693122999999")

    (finding,) = compare([Row("", older)], kind=REPORTS, journal=journal).findings

    newer = event_id(sample()).id
    assert (finding.what, finding.made, finding.opposing.id) == ("contradicts", None, newer)
    assert finding.why == f"a newer report of its test has come: {newer[:12]}; is this one still wanted?"


def test_a_report_that_is_newer_than_all_that_have_come_is_missing(journal):
    """So are both of a test of which none has come, the older one first; and a kit has no newer arrival."""
    older = without(NEW, reportId="report_3", createdOn="1693122999999")
    assert [each["data"]["reportId"] for each in made(journal, NEW, older)] == ["report_3", "report_2"]
    record(journal, sample(), sample("kit-received"))

    assert [what for what, _ in found(journal, NEW)] == ["missing"]
    assert found(journal, without(older, createdOn="2023-08-26"))[0][0] == "contradicts"
    assert found(journal, without(older, "createdOn"))[0] == ("incomplete", "not known: createdOn")
    assert found(journal, without(older, testId="test_9", kitCode="K9"))[0][0] == "missing"
    earlier = without(KIT_ROW, kitCode="KIT9", testId="test_9", receivedAt="1693000000000")
    assert found(journal, earlier, kind=KITS)[0][0] == "missing"


def test_what_is_of_the_future_is_not_made(journal):
    """A time in the year 2286 is a slip of somebody's. A day is left for clocks and zones that differ."""
    now = int(NEW["createdOn"])
    told = [("incomplete", "createdOn is in the future")]

    assert found(journal, without(NEW, createdOn="9999999999999")) == told
    assert found(journal, without(NEW, createdOn=str(now + FUTURE_MS + 1)), clock=lambda: now) == told
    assert found(journal, without(NEW, createdOn=str(now + FUTURE_MS)), clock=lambda: now)[0][0] == "missing"
    kit = without(KIT_ROW, receivedAt="2286-01-01")
    assert found(journal, kit, kind=KITS) == [("incomplete", "receivedAt is in the future")]


def test_a_kit_without_a_status_has_the_one_of_glycanages_page(journal):
    """Code, test and arrival are enough where its assignment was told. What a row does tell goes before."""
    sets = [{"patientId": "patient_123", "kitCode": "KIT001234", "product": "regular"}]
    record(journal, sample("assignment-status-changed", data={"sets": sets}))
    row = {name: KIT_ROW[name] for name in ("kitCode", "testId", "receivedAt")}

    assert [each["data"] for each in made(journal, row, kind=KITS)] == [json.loads(sample("kit-received"))["data"]]
    assert made(journal, row | {"status": "reported"}, kind=KITS)[0]["data"]["status"] == "reported"
    assert found(journal, without(row, "testId"), kind=KITS) == [("incomplete", "not known: testId")]


def test_a_report_id_without_an_age_is_incomplete(journal):
    """There is a report then: passed over, nobody would look for it."""
    assert found(journal, without(NEW, "glycanAge")) == [("incomplete", "not known: glycanAge")]


def test_what_is_held_with_other_values_is_told_and_never_made(journal):
    """With the names of the fields, and none of their values."""
    record(journal, sample(), sample("kit-received"))
    other = without(ROW, glycanAge="46", patientId="patient_9", createdOn="1693123000001")

    assert found(journal, other) == [("different", "the journal has another patientId, glycanAge, createdOn")]
    assert made(journal, other) == []
    assert found(journal, without(KIT_ROW, patientId="patient_9"), kind=KITS)[0][0] == "different"


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("1693123000000", True),
        ("2023-08-27T07:56:40Z", True),
        ("2023-08-27T09:56:40+02:00", True),
        ("2023-08-27T07:56Z", True),
        ("2023-08-27 07:56:40,000 UTC", True),
        ("2023-08-27", True),
        ("2023-08-27T17:56", True),  # in some zone it is
        ("2023-08-29", False),
        ("2023-08-27T07:57Z", False),
        ("2023-08-27T07:56:40.001Z", False),
        ("27.08.2023", True),  # cannot be read, so nothing speaks against it
    ],
)
def test_a_time_is_compared_as_exactly_as_it_is_written(journal, text, same):
    """A day, or a time in a zone that nobody has told, is no other time."""
    record(journal, sample())

    assert found(journal, without(ROW, createdOn=text)) == (
        [] if same else [("different", "the journal has another createdOn")]
    )


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1693123000000", 1693123000000),
        ("2023-08-27", 1693094400000),
        ("2023-08-27 07:56:40", 1693123000000),
        ("2023-08-27T07:56:40.123456Z", 1693123000123),
        ("2023-08-27T09:56:40+0200", 1693123000000),
        ("1693123000000.0", 1693123000000),
        ("1693123000", None),  # seconds
        ("20260403120000", None),  # no day in the year 2612
        ("202604031200", None),  # nor one in 1976
        ("2023-13-27", None),
        ("2023-08-27T25:00", None),
        ("27/08/2023", None),
        ("45165.33", None),
        ("2023-08-27T07:56.5Z", None),
        ("", None),
        (None, None),
    ],
)
def test_times_are_read_as_they_are_written_or_not_at_all(text, ms):
    """A guess would put a result on another day."""
    instant = read_instant(text)

    assert (None if instant is None else instant.ms) == ms


def test_a_missing_report_is_made_in_glycanages_words(journal):
    """Marked, and with an id that is the same each time."""
    (event,) = made(journal, without(NEW, "reportUrl", createdOn="2023-08-27T07:56:40Z"))

    assert event == {
        "id": "reconciled:report-ready:report_2",
        "type": "report-ready",
        "timestamp": 1693123000000,
        "data": json.loads(sample())["data"] | {"reportId": "report_2", "reportUrl": "/reports/report_2"},
        "reconciled": True,
    }


def test_what_a_row_lacks_is_taken_from_what_is_known_of_its_kit_or_its_test(journal):
    """From whichever event knows it; a row that has the test alone finds its kit, and what is known of that."""
    sets = [{"patientId": "patient_5", "kitCode": "KIT5", "product": "regular"}]
    kit = {"kitCode": "KIT6", "testId": "test_6", "patientId": "patient_6", "assignmentId": "assignment_6"}
    record(journal, sample("assignment-status-changed", data={"sets": sets}), sample("kit-received", data=kit))
    ids = ("patientId", "practiceId", "assignmentId")
    rows = [
        without(NEW, *ids, kitCode="KIT5", testId="test_5"),
        without(NEW, *ids, "testId", kitCode="KIT6", reportId="report_6"),
        without(NEW, *ids, "kitCode", testId="test_6", reportId="report_7"),
    ]

    told = [tuple(each["data"][name] for name in ("kitCode", "testId", *ids)) for each in made(journal, *rows)]

    six = ("KIT6", "test_6", "patient_6", "practice_67890", "assignment_6")
    assert told == [("KIT5", "test_5", "patient_5", "practice_67890", "assignment_12345"), six, six]


def test_a_kit_that_was_received_is_made_from_what_the_assignment_and_the_report_tell(journal):
    """Its id holds no kit code: ids stand in logs."""
    record(journal, sample())
    row = without(KIT_ROW, "testId", "patientId", "practiceId", "assignmentId")

    (event,) = made(journal, row, kind=KITS)

    assert event["data"] == json.loads(sample("kit-received"))["data"]
    assert (event["id"], event["timestamp"]) == ("reconciled:kit-received:test_56789", event["data"]["receivedAt"])


@pytest.mark.parametrize("name", ["patientId", "testId", "practiceId", "assignmentId"])
def test_a_row_that_contradicts_the_journal_is_not_made(journal, name):
    """Another patient for this kit: one of the two is somebody else's result."""
    record(journal, sample("kit-received"))
    ((what, why),) = found(journal, without(NEW, **{name: "another"}))

    assert what == "contradicts"
    assert f"another {name} for its kit or test" in why
    assert ("could this be the wrong patient?" in why) == (name in {"patientId", "testId"})
    assert "another_" not in why
    assert "patient_123" not in why


def test_a_journal_that_contradicts_itself_makes_nothing(journal):
    """Whichever of the two patients the list names."""
    record(journal, sample("kit-received"), sample(data={"patientId": "patient_9"}))

    assert [what for what, _ in found(journal, NEW)] == ["contradicts"]


def test_a_test_that_is_of_another_kit_contradicts(journal):
    """A spreadsheet has taken the zeros off a kit code."""
    record(journal, sample("kit-received", data={"kitCode": "001234"}))

    ((what, why),) = found(journal, without(NEW, kitCode="1234"))
    assert (what, "another kitCode" in why) == ("contradicts", True)


@pytest.mark.parametrize(
    ("held", "listed"),
    [
        ("report_7", "REPORT_7"),
        ("report_7", "report _7"),
        ("report_7", "report_7\u200b"),
        ("report_7", "report_\uff17"),
        ("007", "7"),
        ("7", "7.0"),
    ],
)
def test_what_is_held_in_another_spelling_is_not_made_again(journal, held, listed):
    """A patient would have two results; and of two spellings in a list nobody knows the right one."""
    told = "the journal has another spelling of its reportId: could it be the same?"
    spelt = [without(ROW, reportId=each) for each in (held, listed)]
    assert [what for what, _ in found(journal, *spelt)] == ["contradicts", "contradicts"]
    record(journal, sample(data={"reportId": held}))

    assert found(journal, spelt[1]) == [("contradicts", told)]


@pytest.mark.parametrize("created_on", ["1693123000000", "2023-08-27T07:56:40Z", "2023-08-27"])
def test_a_report_of_the_same_test_and_time_is_not_made_under_another_id(journal, created_on):
    """A list that has ids of its own would tell every result a second time. One issued anew has another time."""
    record(journal, sample())
    told = [("contradicts", "the journal has another reportId of the same test and time: could it be the same?")]

    assert found(journal, without(NEW, reportId="4711", createdOn=created_on)) == told
    assert found(journal, without(NEW, createdOn="2023-08-29"))[0][0] == "missing"


def test_a_kit_in_another_spelling_is_still_the_same_kit(journal):
    """Else nobody would see that it is another patient's."""
    record(journal, sample("kit-received"))
    other = without(NEW, kitCode="kit001234", testId="test_9", patientId="patient_9")

    assert [what for what, _ in found(journal, other)] == ["contradicts"]
    assert [what for what, _ in found(journal, without(NEW, testId="TEST_56789", kitCode="K9"))] == ["contradicts"]


def test_a_row_that_has_the_test_alone_is_held_against_all_that_is_known_of_its_kit(journal):
    """What was received is held; and another patient in the assignment counts, whose event names no test."""
    record(journal, sample("kit-received"))
    row = without(KIT_ROW, "kitCode")
    assert compare([Row("", row)], kind=KITS, journal=journal).held == 1
    assert found(journal, without(row, patientId="patient_9"), kind=KITS)[0][0] == "different"
    assert found(journal, without(KIT_ROW, testId="test_9"), kind=KITS)[0][0] == "contradicts"

    sets = [{"patientId": "patient_9", "kitCode": "KIT001234", "product": "regular"}]
    record(journal, sample("assignment-status-changed", data={"sets": sets}))
    assert found(journal, without(NEW, "kitCode"))[0][0] == "contradicts"


def test_a_patient_in_another_spelling_than_the_journals_is_a_persons_decision(journal):
    """A spreadsheet has taken the zeros off, of a patient whose kit nobody has told of: 7 may be somebody else."""
    record(journal, sample(data={"patientId": "007", "reportId": "report_0"}))
    other = without(NEW, kitCode="K9", testId="test_9")

    told = [("contradicts", "the journal has another spelling of its patientId: could it be the same?")]
    assert found(journal, without(other, patientId="7")) == told
    assert found(journal, without(other, patientId="007"))[0][0] == "missing"
    record(journal, sample(data={"patientId": "7", "reportId": "report_1", "kitCode": "K1", "testId": "test_1"}))
    assert found(journal, without(other, patientId="7"))[0][0] == "missing"


def test_rows_that_contradict_each_other_are_not_made(journal):
    """Neither the first nor the second: nobody knows which is right. What is merely said twice is made once."""
    two = [NEW, without(NEW, glycanAge="60")]
    kits = [NEW, without(NEW, reportId="report_3", patientId="patient_9")]

    assert [what for what, _ in found(journal, *two)] == ["contradicts", "contradicts"]
    assert [what for what, _ in found(journal, *kits)] == ["contradicts", "contradicts"]
    assert "export.csv:3" in found(journal, *two)[0][1]
    assert [what for what, _ in found(journal, NEW, NEW, ROW)] == ["missing", "missing"]


def test_a_column_that_is_the_same_in_all_rows_fills_no_memory(journal):
    """Somebody has told the wrong one: each row would name all the others."""
    told = found(journal, *(without(NEW, reportId="ready", glycanAge=str(age)) for age in range(9)))

    assert {what for what, _ in told} == {"contradicts"}
    assert told[8][1].endswith("otherwise: export.csv:2, export.csv:3, export.csv:4, and more")
    assert told[0][1].endswith("otherwise: export.csv:3, export.csv:4, export.csv:5, and more")


def test_what_is_still_not_known_is_named(journal):
    """So is that several assignments are, of which none is more likely."""
    for number in (1, 2):
        told = {"assignmentId": f"assignment_{number}"}
        record(journal, sample("assignment-status-changed", data=told))
    lacking = without(NEW, "assignmentId", "testId", "chronologicalAge")

    assert found(journal, lacking) == [
        ("incomplete", "not known: testId, assignmentId, chronologicalAge (several: assignmentId)")
    ]
    assert found(journal, without(NEW, "reportId", assignmentId="assignment_1"))[0] == (
        "incomplete",
        "not known: reportId",
    )
    assert found(journal, without(NEW, assignmentId="assignment_2"))[0][0] == "missing"


def test_what_is_no_event_is_not_made(journal):
    """A time that cannot be read, a sign that no id may have: with the field, without what stood there."""
    assert found(journal, without(NEW, createdOn="27.08.2023"))[0][1].startswith("data.createdOn: expected")
    ((what, why),) = found(journal, without(NEW, patientId="pat\0ient"))

    assert (what, why.startswith("data.patientId"), "pat" in why.removeprefix("data.pat")) == ("incomplete", True, True)


@pytest.mark.parametrize("name", ["glycanAge", "chronologicalAge"])
@pytest.mark.parametrize("text", ["45,2", "05. Feb", "N/A", "-", "2026-05-02", "4.52E+01", "452", "-3", "٤٥"])
def test_what_is_no_age_is_made_no_result(journal, name, text):
    """A comma that was left, a date that a spreadsheet has made of 5.2: nobody's age."""
    assert found(journal, without(NEW, **{name: text})) == [
        ("incomplete", f"data.{name}: expected years from 0 to 130, such as 45.2")
    ]


def test_rows_without_a_result_yet_and_of_other_times_are_passed_over(journal):
    """A test in the laboratory has a row, too. A time that cannot be read is looked at."""
    rows = [{"kitCode": "KIT9"}, NEW, without(NEW, reportId="report_3", createdOn="2020-01-01")]
    rows.append(without(NEW, reportId="report_4", createdOn="?"))
    at = read_instant(NEW["createdOn"]).ms
    until = at + 1

    told = compare([Row("", each) for each in rows], kind=REPORTS, journal=journal, since=at, until=until)
    kits = compare([Row("", {"kitCode": "KIT9"})], kind=KITS, journal=journal)

    assert (told.not_yet, told.outside, len(told.missing), told.count("incomplete")) == (1, 1, 1, 1)
    assert compare([Row("", NEW)], kind=REPORTS, journal=journal, until=at).outside == 1
    assert (kits.not_yet, kits.findings) == (1, ())
    day = Row("", without(NEW, createdOn="2023-08-27"))
    assert compare([day], kind=REPORTS, journal=journal, until=until).outside == 1  # it may be later than that
    assert compare([day], kind=REPORTS, journal=journal, until=read_instant("2023-08-28").ms).outside == 0


def test_a_body_that_a_disk_has_damaged_counts_as_not_held(journal):
    """Made once more it is there twice; left out it is lost."""
    record(journal, sample())
    (row,) = journal.events(Filter())
    new = NewEvent(event=parse(row.body), id=event_id(sample(data={"reportId": "report_2"})), body=b"{", owed_to={})
    journal.record(new)

    assert [what for what, _ in found(journal, NEW, ROW)] == ["missing"]


def test_an_event_that_was_made_is_kept_like_any_other_and_once(journal):
    """Flagged; the second time it is a duplicate. The genuine one is another event, kept besides: none is lost."""
    record(journal, sample("kit-received"))
    (event,) = compare([Row("", NEW)], kind=REPORTS, journal=journal).missing

    first, again = (keep(event, journal=journal, destinations=NOBODY) for _ in range(2))
    (row,) = journal.events(Filter(type="report-ready"))
    genuine = sample(data={"reportId": "report_2", "reportUrl": "/reports/report_2"})
    record(journal, genuine)

    assert (first.duplicate, again.duplicate, row.flags, row.id) == (False, True, "reconciled", event.id)
    assert found(journal, NEW) == []
    assert [each.flags for each in journal.events(Filter(type="report-ready"))] == ["", "reconciled"]


@given(st.lists(bodies("report-ready"), max_size=2), st.lists(bodies("kit-received"), max_size=2))
@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_what_the_journal_holds_is_never_missing(reports, kits):
    """Whatever it is, and whoever's spreadsheet it has broken."""
    for kind, told in ((REPORTS, reports), (KITS, kits)):
        events = [json.loads(body)["data"] for body in told]
        held = Held(kind)
        for each in events:
            held.add(each)
        for each in events:
            values = {name: str(each[name]) for name in kind.fields if str(each[name])}
            assert held.differences(Row("", values)) == ()


_UNUSUAL = ["", " ", "\0", "45,2", "2023-08-27", "1693123000000", "x" * 300, "\ud800"]
_texts = st.text(max_size=12) | st.sampled_from(_UNUSUAL)


_rows = st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, _texts)) | st.dictionaries(
    st.sampled_from(FIELDS), st.sampled_from(_UNUSUAL), max_size=3
).map(lambda changes: KIT_ROW | NEW | changes)


@given(st.lists(_rows, max_size=3))
@settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
def test_nothing_but_events_is_made_and_each_of_them_once(journal, rows):
    """Whatever a row holds; what was made is held from then on."""
    for kind in KINDS.values():
        told = [Row("", {name: text for name, text in each.items() if text}) for each in rows]
        for each in compare(told, kind=kind, journal=journal).missing:
            assert parse(each.body).type == kind.event_type
            keep(each, journal=journal, destinations=NOBODY)
            assert keep(each, journal=journal, destinations=NOBODY).duplicate
        assert compare(told, kind=kind, journal=journal).missing == []


HEADER = "Report ID,kit_code,Glycan-Age"
THREE = [("report_1", "KIT1", "45.2")]


def read(tmp_path, content: bytes | str, kind=REPORTS, **columns: str) -> list[tuple[str, ...]]:
    """The values of each row of an export."""
    file = tmp_path / "export.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return [tuple(each.values.values()) for each in Export(file, kind, columns).rows()]


@pytest.mark.parametrize(
    "content",
    [
        f"{HEADER}\nreport_1,KIT1,45.2\n",
        f"{HEADER}\nreport_1,KIT1,45.2",
        f"{HEADER}\r\nreport_1,KIT1,45.2\r\n",
        f"{HEADER}\rreport_1,KIT1,45.2\r",
        f"\n{HEADER}\n\n , ,\nreport_1,KIT1,45.2\n\n",
        f"\ufeff{HEADER}\nreport_1,KIT1,45.2\n",
        f"{HEADER}\nreport_1,KIT1,45.2\n".encode("utf-16"),
        f"{HEADER}\nreport_1,KIT1,45.2\n".encode("utf-16-le"),
        f"{HEADER}\nreport_1,KIT1,45.2\n".encode("utf-16-be"),
        b"\xfe\xff" + f"{HEADER}\nreport_1,KIT1,45.2\n".encode("utf-16-be"),
        "Report ID;Kit Code;glycanAge\nreport_1;KIT1;45.2\n",
        "Report ID\tKit Code\tglycanAge\nreport_1\tKIT1\t45.2\n",
        "sep=;\nReport ID;Kit Code;glycanAge\nreport_1;KIT1;45.2\n",
        '"REPORT ID";"KIT CODE";"GLYCANAGE"\n"report_1";"KIT1";"45.2"\n',
        'Note,Report ID,Kit Code,glycanAge\n"a; ""note""\nof; two; lines",report_1,KIT1,45.2\n',
        "Report ID;Kit Code;glycanAge\nreport_1;KIT1;45,2\n",
        'Report ID,Kit Code,glycanAge\nreport_1,="KIT1",\'+45.2\n'.replace("'+45.2", "45.2"),
        "Report ID,Kit Code,glycanAge\n report_1 , KIT1,45.2,,\n",
    ],
)
def test_an_export_may_come_in_many_forms(tmp_path, content):
    """From whatever program, with whatever delimiter, byte order mark and end of line."""
    assert read(tmp_path, content) == THREE


def test_cells_are_as_they_were_meant(tmp_path):
    """What keeps a spreadsheet from reading a formula goes; a comma is a point only where the whole column says so."""
    escaped = read(tmp_path, "Report ID,Patient ID\n'=1+1,'-x\n'x,'\n")
    mixed = read(tmp_path, "Report ID;glycanAge;chronologicalAge\nr1;45,2;44\nr2;45.1;43,5\nr3;;7\n")
    words = read(tmp_path, "Report ID;glycanAge\nr1;45,2\nr2;1,234,5\n")

    assert escaped == [("=1+1", "-x"), ("'x", "'")]
    assert mixed == [("r1", "45,2", "44"), ("r2", "45.1", "43.5"), ("r3", "7")]
    assert words == [("r1", "45,2"), ("r2", "1,234,5")]


def test_of_a_line_with_too_few_cells_nothing_is_made(tmp_path, journal):
    """One cell that was left out puts the next one's number in its place. What is held is held all the same."""
    record(journal, sample())
    names = [*ROW, "note", "weight"]
    names.insert(names.index("glycanAge"), "bmi")
    lines = [",".join({**values, "bmi": "23"}.get(name, "70") for name in names if name != "bmi") for values in (NEW,)]
    lines.append(",".join(ROW[name] for name in names[:6]))
    (tmp_path / "export.csv").write_text("\n".join([",".join(names), *lines]))

    told = compare(Export(tmp_path / "export.csv", REPORTS, {}).rows(), kind=REPORTS, journal=journal)

    assert [(each.what, each.why.partition(",")[0]) for each in told.findings] == [
        ("incomplete", "its line has fewer cells than there are columns")
    ]
    assert told.held == 1


def test_columns_may_be_told(tmp_path):
    """What is told goes before what would be guessed."""
    assert read(tmp_path, "Test ID,Kit Code\nr1,K1\n", reportId="Test ID") == [("r1", "K1")]
    content = "Test ID,Nr,Kit\nr1,t1,K1\n"

    assert read(tmp_path, content, reportId="test id", testId="Nr", kitCode="KIT") == [("r1", "t1", "K1")]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", ":1: it is empty"),
        ("\n\n", ":1: it is empty"),
        ("Report Nr,Kit Code\nx,y\n", ":1: no column is called 'reportId': did you mean 'Report Nr'?"),
        ("report_78901,KIT001234\n", ":1: no column is called 'reportId'."),
        ("Report ID,reportId\nx,y\n", ":1: the columns 1 and 2 are both reportId"),
        ("\nReport ID,Kit Code\na,b\nc,d,patient_123\n", ":4: 3 cells under 2 columns"),
        ('Report ID,Kit Code\na,b\nc,"patient_123\ne,f\n', ":3: not CSV: a quotation mark has no end"),
        ('Report ID,Kit Code\na,"b"patient_123\n', ":2: not CSV"),
        ("Report ID,Kit Code\na,b\nc\0,d\n", ":3: a NUL byte"),
        (b"Report ID,Kit Code\na,b\n\xe9patient_123,d\n", ":3: not UTF-8"),
        ("Report ID,Kit Code\na,b\n".encode("utf-16") + b"\x00\xd8\n\x00", "not UTF-16"),
        ("Report ID,Kit Code\n1.23E+11,b\n", ":2: a spreadsheet has shortened reportId"),
        ("Report ID,Kit Code\na,1.23e+11\n", ":2: a spreadsheet has shortened kitCode"),
        (b"PK\x03\x04...", ": this is a spreadsheet's workbook: save it as CSV UTF-8"),
        (b"\xd0\xcf\x11\xe0...", ": this is a spreadsheet's workbook: save it as CSV UTF-8"),
        ("<html>", ":1: no column is called 'reportId'"),
        (f"Report ID,Kit Code\na,{'x' * 200_000}\n", ":2: not CSV: field larger"),
    ],
)
def test_an_export_that_cannot_be_read_is_told_with_its_line(tmp_path, content, told):
    """And with none of its values: cells that have moved by one are another patient's."""
    with pytest.raises(ExportError) as raised:
        read(tmp_path, content)

    assert str(raised.value).startswith(f"{tmp_path / 'export.csv'}:")
    assert told in str(raised.value)
    assert "patient" not in str(raised.value).replace("patientId", "")
    assert "78901" not in str(raised.value)


def test_a_column_that_was_told_must_be_there(tmp_path):
    """A slip in bridge.yaml would leave the patient out of the comparison; and a file must be one."""
    with pytest.raises(ExportError, match="no column is called 'Patients': did you mean 'Patient'"):
        read(tmp_path, "Report ID,Patient\nx,y\n", patientId="Patients")
    for path in (tmp_path / "not-there.csv", tmp_path):
        with pytest.raises(ExportError, match="there is no such file"):
            Export(path, REPORTS, {})


def test_what_has_no_column_is_told(tmp_path):
    """So that nobody takes a comparison without patients for one with them."""
    (tmp_path / "export.csv").write_text("Report ID,Kit Code,Test ID,Glycan Age,Chronological Age,Created On\n")

    assert Export(tmp_path / "export.csv", REPORTS, {}).lacking == ("patientId", "practiceId", "assignmentId")


def test_a_large_export_is_read_row_by_row(tmp_path, journal):
    """20,000 rows of which one is new: what is held is counted, and not kept."""
    record(journal, sample())
    line = ",".join(ROW.values()) + "\n"
    file = tmp_path / "export.csv"
    file.write_text(",".join(ROW) + "\n" + line * 19_999 + line.replace("report_78901", "report_2"))

    told = compare(Export(file, REPORTS, {}).rows(), kind=REPORTS, journal=journal)

    assert (told.held, len(told.findings), told.findings[0].row.place) == (19_999, 1, f"{file}:20001")


@pytest.fixture
def peer():
    """GlycanAge's API, which is well."""
    with HttpPeer() as peer:
        yield peer


def listed_at(peer, **told) -> list[dict[str, str]]:
    """Every row of a list."""
    account = GlycanAgeSettings(base_url=peer.url, email="a@clinic.example", token="t", timeout_s=30)
    told = {"path": "/reports?status=ready", "items": "data.items", "next": "links.next"} | told
    with closing(Api(account)) as api:
        return [dict(each.values) for each in listed(api, ListSettings(**told), REPORTS)]


def page(*items: object, following: object = None) -> Answer:
    """A page of a list."""
    return Answer(200, json.dumps({"data": {"items": items}, "links": {"next": following}}))


def test_a_list_is_read_page_by_page(peer):
    """By a path or a whole URL of the same host; numbers become text, `null` and blanks nothing."""
    first = {"reportId": 7, "glycanAge": 45.2, "createdOn": 1693123000000, "patientId": None, "more": [1]}
    first |= {"testId": "  ", "kitCode": ""}
    peer.answer(page(first, following="/reports?page=2"), page(following=f"{peer.url}/reports?page=3"), page(ROW))

    assert listed_at(peer) == [{"reportId": "7", "glycanAge": "45.2", "createdOn": "1693123000000"}, ROW]
    assert [each.path for each in peer.requests] == ["/reports?status=ready", "/reports?page=2", "/reports?page=3"]


def test_a_list_may_be_the_answer_itself_and_call_its_fields_otherwise(peer):
    """A key that has a dot in it is taken as it is."""
    peer.answer(Answer(200, json.dumps([{"id": "r1", "patient": {"id": "p1"}, "a.b": "45"}])))
    fields = {"reportId": "id", "patientId": "patient.id", "glycanAge": "a.b"}

    assert listed_at(peer, items="", next=None, fields=fields) == [
        {"reportId": "r1", "patientId": "p1", "glycanAge": "45"}
    ]


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ([page(following="/reports?status=ready"), page()], "page 2: it is a page that came before"),
        ([page(following="/reports?a"), page(following="/reports?a")], "page 3: it is a page that came before"),
        ([page(following="https://evil.example/reports")], "page 2: it leads away from"),
        ([page(following="//evil.example/reports")], "page 2: it leads away from"),
        ([page(following=2)], "'links.next' is no path and no URL"),
        ([page(ROW, following="/reports?2"), Answer(500)], "answered 500"),
        ([Answer(401, '{"message": "no such token"}')], "answered 401: it does not know this e-mail address"),
        ([Answer(200, "<html>", headers={"Content-Type": "text/html"})], "answered 200 with text/html, not JSON"),
        ([Answer(200, "")], "there is no list at 'data.items'"),
        ([Answer(200, '{"data": {"items": {}}}')], "there is no list at 'data.items'"),
        ([page({"id": "patient_123"})], "page 1, 1: it has no 'reportId'"),
        ([page(ROW, "patient_123")], "page 1, 2: it has no 'reportId'"),
        ([page(ROW | {"patientId": {"is": "patient_123"}})], "'patientId' is neither text nor a number"),
        ([page(ROW | {"patientId": True})], "'patientId' is neither text nor a number"),
        ([Fault.RESET], "GET"),
    ],
)
def test_a_list_that_cannot_be_read_to_its_end_is_an_error(peer, answers, told):
    """A line, which holds no value of a row."""
    peer.answer(*answers)
    with pytest.raises(GlycanAgeError) as raised:
        listed_at(peer)

    assert told in str(raised.value)
    assert "patient_123" not in str(raised.value)


def test_a_list_has_an_end(peer, monkeypatch):
    """One that always knows a next page is not followed for ever."""
    monkeypatch.setattr(listing, "MOST_PAGES", 5)
    peer.answer(lambda request: page(following=f"{request.path}0"))

    with pytest.raises(GlycanAgeError, match="page 6: more than 5 pages"):
        listed_at(peer)
    assert len(peer.requests) == 5


def test_a_kind_cannot_be_changed():
    """It is shared by everything that compares."""
    with pytest.raises(AttributeError):
        REPORTS.at = "x"
    assert replace(REPORTS, at="x").at == "x"
