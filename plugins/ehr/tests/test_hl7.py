"""A report as an HL7 v2 message: its mapping, and that nothing in it is ever altered."""

import dataclasses
import os
import re
import subprocess
import sys
import time
from datetime import UTC, datetime

import hl7
import pytest
from glycanbridge_ehr.hl7 import LONGEST_CONTROL_ID, control_id, oru_r01, short_name
from glycanbridge_ehr.hl7_segments import CODECS
from glycanbridge_ehr.patients import Patient
from glycanbridge_ehr.reports import Report
from glycanbridge_ehr.settings_hl7 import Hl7Settings
from glycanbridge_ehr.ways import PatientUnknown, Sending
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from glycanbridge import PermanentError

CREATED = datetime(2023, 8, 27, 7, 56, 40, 123_000, tzinfo=UTC)
REPORT = Report(
    report_id="report_78901",
    test_id="test_56789",
    kit_code="KIT001234",
    patient_id="patient_123",
    practice_id="practice_67890",
    assignment_id="assignment_12345",
    glycan_age="45.2",
    chronological_age="42",
    created_on=CREATED,
    kit_received_at=None,
)
PATIENT = Patient(ehr_id="0042", family="Söhne", given="Zoë", birth_date="1981-04-12", sex="F")
FIRST = Sending(destination="ehr", revision=0)
EXAMPLE = r"""
MSH|^~\&|GLYCANBRIDGE|GLYCANAGE|EHR|practice_67890|20230827075640+0000||ORU^R01^ORU_R01|GK6QKYCHYKMICAIJM3WJ|P|2.5.1||||||UNICODE UTF-8
PID|1||0042^^^CLINIC^MR~patient_123^^^GLYCANAGE^PI||Söhne^Zoë^^^^^L||19810412|F
ORC|RE|assignment_12345^GLYCANAGE|test_56789^GLYCANAGE||CM
OBR|1|assignment_12345^GLYCANAGE|test_56789^GLYCANAGE|glycanage-report^GlycanAge report^99GLY|||20230827075640+0000|||||||||||||||20230827075640+0000||LAB|F
NTE|1|L|GlycanAge report report_78901
OBX|1|NM|glycan-age^GlycanAge biological age^99GLY||45.2|a^year^UCUM|||||F|||20230827075640+0000
OBX|2|NM|30525-0^Age^LN^chronological-age^Chronological age^99GLY||42|a^year^UCUM|||||F|||20230827075640+0000
OBX|3|ST|kit-code^Kit code^99GLY||KIT001234||||||F|||20230827075640+0000
""".lstrip()  # noqa: E501 (as it goes over the wire)


def message(*, sending=FIRST, patient=PATIENT, settings=None, ask_commit=False, **report):
    """The bytes of a message."""
    told = dataclasses.replace(REPORT, **report)
    return oru_r01(told, patient, sending, Hl7Settings(**(settings or {})), ask_commit=ask_commit).data


def fields(data, codec="utf-8"):
    """The message as a receiver without a library reads it: segment name -> fields, raw; of OBX, a list."""
    lines = [line.split("|") for line in data.decode(codec).split("\r")[:-1]]
    found = {line[0]: line for line in lines if line[0] != "OBX"}
    found["MSH"].insert(1, "|")
    return found | {"OBX": [line for line in lines if line[0] == "OBX"]}


def plain(text):
    """A component without its escapes, by the standard's own table (HL7 v2.5.1, 2.7.1)."""
    known = {"E": "\\", "F": "|", "S": "^", "T": "&", "R": "~"}

    def one(match):
        told = match[1]
        return known[told] if told in known else bytes.fromhex(told[1:]).decode("ascii")

    return re.sub(r"\\([EFSTR]|X[0-9A-F]{2})\\", one, text)


def test_the_vendors_sample_becomes_exactly_this_message():
    """Every field is a promise; the control id is written out, so that it is the same on every machine and version."""
    assert message().decode().replace("\r", "\n") == EXAMPLE


@pytest.mark.parametrize("version", ["2.4", "2.5", "2.5.1", "2.6"])
@pytest.mark.parametrize("revision", [0, 3])
def test_a_strict_parser_finds_the_standards_structure(version, revision):
    """Groups, required fields and types as hl7apy has them from the standard's tables."""
    sending = Sending(destination="ehr", revision=revision)
    data = message(settings={"version": version}, sending=sending, kit_received_at=CREATED, ask_commit=True)
    parsed = parse_message(data.decode(), validation_level=VALIDATION_LEVEL.STRICT, find_groups=True)
    result = parsed.oru_r01_patient_result
    observations = result.oru_r01_order_observation.oru_r01_observation

    assert parsed.validate() is True
    assert result.oru_r01_patient.pid.pid_5.pid_5_1.value == "Söhne"
    assert [each.obx.obx_5.value for each in observations] == ["45.2", "42", "KIT001234"]
    assert {each.obx.obx_11.value for each in observations} == {"C" if revision else "F"}


@pytest.mark.parametrize("version", ["2.3", "2.3.1"])
def test_an_older_version_is_named_as_it_was_then(version):
    """MSH-9 has a third component since 2.3.1."""
    header = fields(message(settings={"version": version}))["MSH"]
    assert header[12] == version
    assert header[9] == ("ORU^R01" if version == "2.3" else "ORU^R01^ORU_R01")


@pytest.mark.parametrize("age", ["45.20", "45.2", "44", "044", "149.999"])
def test_an_age_keeps_the_digits_that_glycanage_wrote(age):
    """45.20 is not 45.2: the digits tell how exact it is."""
    assert fields(message(glycan_age=age))["OBX"][0][2:6] == [
        "NM",
        "glycan-age^GlycanAge biological age^99GLY",
        "",
        age,
    ]


def test_the_biological_age_never_bears_the_code_of_the_persons():
    """A chart would show a wrong age: not by us, and not by a setting."""
    data = fields(message())
    assert "30525-0" not in "|".join(data["OBX"][0])
    assert data["OBX"][1][3].startswith("30525-0^Age^LN")
    with pytest.raises(ValidationError, match="never of glycan-age"):
        Hl7Settings(codes={"glycan-age": {"code": "30525-0", "text": "Age", "system": "LN"}})


def test_a_correction_says_so_and_has_a_control_id_of_its_own():
    """OBR-25 and OBX-11 `C`: a receiver replaces what it has."""
    first, second = (message(sending=Sending(destination="ehr", revision=each)) for each in (0, 1))
    before, after = fields(first), fields(second)
    assert (before["OBR"][25], after["OBR"][25]) == ("F", "C")
    assert {each[11] for each in after["OBX"]} == {"C"}
    assert before["MSH"][10] != after["MSH"][10]


def test_times_are_utc_and_say_so_whatever_the_machines_zone(monkeypatch):
    """To the second or the millisecond, with its offset; TZ has no say."""
    here = message(settings={"time_precision": "millisecond"})
    monkeypatch.setenv("TZ", "Pacific/Chatham")
    time.tzset()
    try:
        there = message(settings={"time_precision": "millisecond"})
    finally:
        monkeypatch.undo()
        time.tzset()
    assert here == there
    assert fields(here)["MSH"][7] == "20230827075640.123+0000"
    early = fields(message(created_on=datetime(1, 1, 1, tzinfo=UTC)))
    assert early["OBR"][22] == "00010101000000+0000"


@pytest.mark.parametrize(
    ("effective", "received", "expected"),
    [
        ("created_on", True, "20230827075640+0000"),
        ("kit_received", True, "20230826120000+0000"),
        ("kit_received", False, "20230827075640+0000"),
        ("unknown", True, ""),
    ],
)
def test_the_time_of_the_observation_is_the_sites_choice(effective, received, expected):
    """No event tells when the blood was drawn; OBR-14 tells when the kit came, whenever that is known."""
    came = datetime(2023, 8, 26, 12, tzinfo=UTC) if received else None
    data = fields(message(settings={"effective": effective}, kit_received_at=came))
    assert data["OBR"][7] == expected
    assert {"".join(each[14:15]) for each in data["OBX"]} == {expected}
    assert data["OBR"][14] == ("20230826120000+0000" if received else "")


def test_every_setting_stands_in_its_field():
    """What receivers ask for differs; nothing of it is ours to know."""
    settings = {
        "sending_application": "A^1.2^ISO",
        "sending_facility": "B",
        "receiving_application": "C",
        "receiving_facility": "D",
        "processing_id": "T",
        "mrn_authority": "HOSPITAL^1.2.3^ISO",
        "ordering_provider": {"id": "123", "family": "O'Neil & Sons", "given": "Ann", "authority": "NPI"},
        "codes": {"glycan-age": {"code": "GLY1", "text": "Bio|age", "system": "L"}},
    }
    data = fields(message(settings=settings, ask_commit=True))
    assert data["MSH"][3:7] == ["A^1.2^ISO", "B", "C", "D"]
    assert data["MSH"][11] == "T"
    assert data["MSH"][15:17] == ["AL", "NE"]
    assert data["PID"][3].startswith("0042^^^HOSPITAL&1.2.3&ISO^MR~")
    assert data["OBR"][16] == r"123^O'Neil \T\ Sons^Ann^^^^^^NPI"
    assert data["OBX"][0][3] == r"GLY1^Bio\F\age^L^glycan-age^GlycanAge biological age^99GLY"


@pytest.mark.parametrize(
    "wrong",
    [
        {"sending_application": "A|B"},
        {"receiving_application": "A^B"},
        {"mrn_authority": ""},
        {"character_set": "latin1"},
        {"version": "3"},
        {"longest": {"PID-5": 30}},
        {"ordering_provider": {"id": "1", "family": "a\rb"}},
        {"codes": {"biological-age": {"code": "1", "text": "2", "system": "L"}}},
        {"sending_aplication": "A"},
    ],
)
def test_a_wrong_setting_is_refused_at_start(wrong):
    """Not at the first result."""
    with pytest.raises(ValidationError):
        Hl7Settings(**wrong)


# The patient


def test_a_patient_without_a_name_waits_unless_the_site_takes_unknown_ones():
    """A result without a name is an orphan in most EHRs."""
    nameless = dataclasses.replace(PATIENT, family="", given="")
    with pytest.raises(PatientUnknown, match="no family name"):
        message(patient=nameless)
    assert fields(message(patient=nameless, settings={"unknown_names": True}))["PID"][5] == "^^^^^^U"
    half = dataclasses.replace(nameless, given="Zoë")
    assert fields(message(patient=half, settings={"unknown_names": True}))["PID"][5] == "^Zoë^^^^^U"


@pytest.mark.parametrize(
    "birth_date", ["12.4.1981", "1981-4-12", "1981-13-01", "19810412", "1981-W15-7", "\uff11\uff19\uff18\uff11-04-12"]
)
def test_a_birth_date_that_is_none_is_refused(birth_date):
    """A guess would be matched against the chart."""
    with pytest.raises(PermanentError, match="birth_date in the patients file") as raised:
        message(patient=dataclasses.replace(PATIENT, birth_date=birth_date))
    assert birth_date not in str(raised.value)


@pytest.mark.parametrize("sex", ["f", "female", "X", "F "])
def test_a_sex_that_hl7_does_not_know_is_refused(sex):
    """Table 0001, not ours to translate."""
    with pytest.raises(PermanentError, match="sex in the patients file"):
        message(patient=dataclasses.replace(PATIENT, sex=sex))


def test_a_patient_needs_neither_birth_date_nor_sex():
    """They help the receiver to match; they are not always kept."""
    assert fields(message(patient=Patient(ehr_id="1", family="A")))["PID"][5:] == ["A^^^^^^L"]


# Text


PLAIN = st.text(
    st.characters(exclude_categories=["Cc", "Cs"]) | st.sampled_from('|^&~\\\r\n"ščŽ🧬'), min_size=1
).filter(lambda text: text != '""')
WILD = st.text(st.characters() | st.sampled_from('|\\\r"š\t\x00\x0b\x1c\x85\ud800'), min_size=1)


def assert_read_back(data, *values, codec="utf-8"):
    """Two readers find in a message what was put in: one by the standard's own table, and python-hl7."""
    read, known = fields(data, codec), hl7.parse(data.decode(codec))
    names = read["PID"][5].split("^")
    got = [read["OBX"][2][5], read["OBR"][3].split("^")[0], *names[:2], read["PID"][3].split("^")[0]]
    assert [plain(each) for each in got] == list(values)
    theirs = [str(known.segments("OBX")[2][5]), str(known.segments("PID")[0][5][0][0])]
    assert [known.unescape(each) for each in theirs] == [values[0], values[2]]
    assert not {0x0B, 0x1C} & set(data)


@given(PLAIN, PLAIN, PLAIN, PLAIN, PLAIN)
def test_any_printable_text_and_line_end_comes_out_as_it_went_in(kit, test, family, given_name, mrn):
    """Ids and names are others' to choose, delimiters and all."""
    patient = Patient(ehr_id=mrn, family=family, given=given_name)
    data = message(kit_code=kit, test_id=test, patient=patient)
    assert_read_back(data, kit, test, family, given_name, mrn)


@given(WILD, WILD, st.sampled_from(sorted(CODECS)))
def test_whatever_else_there_is_comes_out_as_it_went_in_or_is_refused(kit, family, character_set):
    """In every character set: never a `?`, never a character less."""
    patient = Patient(ehr_id="0042", family=family, given="Zoë" if character_set == "UNICODE UTF-8" else "Zoe")
    try:
        data = message(kit_code=kit, patient=patient, settings={"character_set": character_set})
    except PermanentError:
        return
    assert_read_back(data, kit, "test_56789", family, patient.given, "0042", codec=CODECS[character_set])


@pytest.mark.parametrize("text", ["\x00", "\x0b", "\x1c", "\x1c\r", "\t", "\x7f", "\x85", "\x9f", "a\x1bb"])
def test_a_control_character_is_refused_and_not_repeated_in_the_error(text):
    """0x0B and 0x1C would end the frame; the others no receiver shows."""
    with pytest.raises(PermanentError, match=r"^OBX-5\.1 holds a control character") as raised:
        message(kit_code=f"KIT{text}")
    assert "KIT" not in str(raised.value)


def test_what_would_mean_delete_is_refused():
    """`""` in a field is HL7's word for "delete what you have"."""
    with pytest.raises(PermanentError, match=r'PID-5\.2 is "", which means "delete this"'):
        message(patient=dataclasses.replace(PATIENT, given='""'))


@pytest.mark.parametrize(
    ("character_set", "name", "expected"),
    [
        ("UNICODE UTF-8", "Žižić 🧬", "Žižić 🧬".encode()),
        ("8859/1", "Söhne", b"S\xf6hne"),
        ("8859/2", "Žižić", b"\xaei\xbei\xe6"),
        ("8859/15", "Œuvre €", b"\xbcuvre \xa4"),
        ("ASCII", "Sohne", b"Sohne"),
    ],
)
def test_the_bytes_are_what_msh_18_says(character_set, name, expected):
    """A receiver believes MSH-18."""
    patient = dataclasses.replace(PATIENT, family=name, given="")
    data = message(patient=patient, settings={"character_set": character_set})
    assert b"||" + expected + b"^^^^^^L|" in data
    assert fields(data, "latin-1")["MSH"][18] == character_set


@pytest.mark.parametrize(("character_set", "name"), [("8859/1", "Žižić"), ("ASCII", "Söhne"), ("8859/2", "Æ")])
def test_a_name_that_does_not_fit_the_character_set_is_refused(character_set, name):
    """Never `?`: a name that is nearly right is a wrong name."""
    with pytest.raises(PermanentError, match=r"^PID-5\.1 cannot be written in .*; set character_set") as raised:
        message(patient=dataclasses.replace(PATIENT, family=name), settings={"character_set": character_set})
    assert name not in str(raised.value)


def test_what_is_longer_than_the_receiver_takes_is_refused_and_not_cut():
    """Some cut silently; the setting knows where."""
    limits = {"longest": {"PID-5.1": 5, "OBX-5.1": 9}}
    assert message(settings=limits) == message()
    with pytest.raises(PermanentError, match=r"^PID-5\.1 has more characters than settings\.longest allows"):
        message(settings=limits, patient=dataclasses.replace(PATIENT, family="Söhnes"))


# MSH-10


def test_a_control_id_is_short_and_tells_destinations_results_patients_and_corrections_apart():
    """At most 20 characters (HL7 v2.5.1); another message has another one, the same message the same."""
    other = Sending(destination="other", revision=0)
    ids = [
        control_id(REPORT, PATIENT, FIRST),
        control_id(REPORT, PATIENT, other),
        control_id(REPORT, PATIENT, Sending(destination="ehr", revision=1)),
        control_id(dataclasses.replace(REPORT, report_id="report_78902"), PATIENT, FIRST),
        control_id(dataclasses.replace(REPORT, glycan_age="45.20"), PATIENT, FIRST),
        control_id(REPORT, dataclasses.replace(PATIENT, ehr_id="0043"), FIRST),
    ]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"G[A-Z2-7]{19}", each) and len(each) == LONGEST_CONTROL_ID for each in ids)
    retold = dataclasses.replace(REPORT, created_on=datetime(2024, 1, 1, tzinfo=UTC))
    renamed = dataclasses.replace(PATIENT, family="Sohne")
    assert control_id(retold, renamed, FIRST) == ids[0]


@pytest.mark.timeout(600)  # five seconds of work, on a machine that may be busy
def test_a_million_reports_have_a_million_control_ids():
    """Two alike, and a receiver would take the second for a repeat of the first."""
    assert control_id(REPORT, PATIENT, FIRST) == short_name("ehr", "report_78901", REPORT.digest, "0042", 0)
    ids = {short_name("ehr", f"report_{number}", REPORT.digest, "0042", 0) for number in range(1_000_000)}
    assert len(ids) == 1_000_000


def test_another_process_in_another_zone_writes_the_same_bytes():
    """No seed, no clock, no machine in it."""
    code = "import sys; from test_hl7 import message; sys.stdout.buffer.write(message())"
    path = os.pathsep.join([os.path.dirname(__file__), *sys.path])  # noqa: PTH120
    env = os.environ | {"PYTHONPATH": path, "PYTHONHASHSEED": "7", "TZ": "Pacific/Chatham", "LC_ALL": "C"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True)
    assert done.stdout == message()
