"""Results from a real bridge to a real receiver or folder: through kills, replays, waiting, and as the README says."""

import json
import re
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from glycanbridge_ehr.settings_hl7 import DropSettings, Hl7Settings, MllpSettings
from hl7_peers import (
    PATIENTS,
    Certificates,
    ack,
    acknowledge,
    control_id_of,
    hl7apy_receiver,
    nobody,
    peer,
    python_hl7_receiver,
)
from serving import SECRET, Serving, sample, served, until

README = (Path(__file__).parents[1] / "README-hl7.md").read_text(encoding="utf-8")


@pytest.fixture
def serving(tmp_path):
    """A bridge's folder with a patients file."""
    it = Serving(tmp_path)
    (tmp_path / "patients.csv").write_text(PATIENTS, encoding="utf-8")
    return it


def configure(serving, **way):
    """One destination `ehr`."""
    settings = {"practices": ["practice_67890"], "patients": "patients.csv", **way}
    serving.configure({"ehr": {"plugin": "ehr", "events": ["report-ready"], "settings": settings}})


def mllp(port, **more):
    """Settings for a receiver on this machine."""
    return {"host": "127.0.0.1", "port": port, "tls": False, **more}


def only(serving):
    """The one delivery."""
    (row,) = serving.rows("deliveries", "list")
    return row


def until_all(serving, holds, *, count=1):
    """Wait until something holds of so many deliveries; straight from the journal, for a command takes its time."""

    def owed():
        with closing(sqlite3.connect(f"file:{serving.folder}/var/journal.db?mode=ro", uri=True)) as journal:
            journal.row_factory = sqlite3.Row
            return journal.execute("SELECT state, attempt, last_error FROM deliveries").fetchall()

    until(lambda: len(rows := owed()) == count and all(map(holds, rows)), timeout_s=60)


def until_delivered(serving, *, attempts=1):
    """Wait for the one delivery; its receipt."""
    until_all(serving, lambda row: row["state"] == "delivered" and row["attempt"] >= attempts)
    return only(serving)["receipt"]


# As written in the README


def example(heading):
    """The block of `bridge.yaml` under a heading."""
    return re.search(rf"## {heading}\n.*?```yaml\n(.*?)```", README, re.DOTALL)[1]


def as_written(serving, heading):
    """The README's `bridge.yaml`, on any free port."""
    (serving.folder / "var" / "webhook-secret").write_text(SECRET)
    text = example(heading).replace("receiver:\n", "receiver:\n  listen: 127.0.0.1:0\n", 1)
    serving.config.write_text(text, encoding="utf-8")


def test_the_readmes_example_for_mllp_runs_as_it_is_written(serving, monkeypatch):
    """Over TLS, to python-hl7's server: the check connects and sends nothing, then the result arrives."""
    certificates = Certificates(serving.folder)
    as_written(serving, "Example: MLLP")
    with python_hl7_receiver(certificates.server()) as (port, taken):
        monkeypatch.setenv("EHR_HOST", "127.0.0.1")
        monkeypatch.setenv("EHR_PORT", str(port))
        monkeypatch.setenv("EHR_CA_FILE", "ca.pem")
        checked = serving.run("check", "--online")
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert f"127.0.0.1:{port} takes connections (TLSv1.3" in checked.stdout
        assert "names, birth dates, sexes, all ids and both ages go to" in checked.stdout
        assert taken == []
        with served(serving):
            assert serving.post(sample()).status == 200
            receipt = until_delivered(serving)
    assert str(taken[0].segment("PID")[5]) == "Söhne^Zoë^^^^^L"
    assert receipt == f"{taken[0].segment('MSH')[10]}: AA"


def test_the_readmes_example_for_a_folder_runs_as_it_is_written(serving, monkeypatch):
    """Both files are there, named as the receipt says."""
    as_written(serving, "Example: a folder")
    (serving.folder / "results").mkdir()
    monkeypatch.setenv("EHR_FOLDER", "results")
    checked = serving.run("check", "--online")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    with served(serving):
        assert serving.post(sample()).status == 200
        receipt = until_delivered(serving)
    assert sorted(each.name for each in (serving.folder / "results").iterdir()) == sorted(receipt.split(", "))


@pytest.mark.parametrize(
    ("model", "begin"),
    [
        (Hl7Settings, "Of the message, in `mllp` and in `drop`:"),
        (MllpSettings, "Of `mllp`:"),
        (DropSettings, "Of `drop`:"),
    ],
)
def test_the_readmes_tables_have_every_setting_with_its_default(model, begin):
    """And no other."""
    rows = re.findall(
        r"^\| `(\w+)` \| (yes|no) \| (yes|no) \| (.*?) ?\| .+ \|$",
        README.partition(begin)[2].partition("\n\n|")[2].partition("\n\n")[0],
        re.MULTILINE,
    )
    own = {
        name: each
        for name, each in model.model_fields.items()
        if model is Hl7Settings or name not in Hl7Settings.model_fields
    }
    expected = []
    for name, each in own.items():
        default = each.default
        shown = "" if each.is_required() or default is None else f"`{_yaml(default)}`"
        expected.append((name, "yes" if each.is_required() else "no", "yes" if "password" in name else "no", shown))
    assert rows == expected
    assert all(len(each.description) > 5 for each in own.values())


def _yaml(value):
    if isinstance(value, tuple):
        return f"[{', '.join(value)}]"
    return json.dumps(value) if isinstance(value, bool | dict) else f"{value}"


def test_the_readmes_message_is_the_one_that_is_sent():
    """The same lines as in the test of the message itself."""
    from test_hl7 import EXAMPLE  # noqa: PLC0415

    assert f"```\n{EXAMPLE}```" in README


# Nothing twice, nothing lost


def test_a_bridge_that_is_killed_before_it_has_the_acknowledgement_sends_the_same_bytes_again(serving):
    """The receiver takes the message and kills the bridge: after a restart it has the same message, and knows it."""

    def kill_first(wire):
        message = wire.message()
        if wire.number == 1:
            serving.process.kill()
            wire.closed()
        else:
            wire.send(ack(message))
            acknowledge(wire)

    with peer(kill_first) as receiver:
        configure(serving, mllp=mllp(receiver.port))
        with served(serving):
            assert serving.post(sample()).status == 200
            serving.process.wait(30)
            serving.process.stdout.close()
        with served(serving):
            receipt = until_delivered(serving)
            assert serving.run("deliveries", "replay", only(serving)["id"]).returncode == 0
            again = until_delivered(serving, attempts=3)
    assert len(receiver.messages) == 2
    assert receiver.messages[0] == receiver.messages[1]
    assert receipt == f"{control_id_of(receiver.messages[0])}: AA"
    assert again == f"{receipt} (it has this result already)"


def test_a_correction_reaches_a_strict_receiver_as_one(serving):
    """The same report with another value: `C`, under an id of its own; with the same value: nothing."""
    with hl7apy_receiver() as (port, taken):
        configure(serving, mllp=mllp(port))
        with served(serving):
            changes = [{}, {"glycanAge": "45.20"}, {"glycanAge": "45.20", "createdOn": 1_693_123_000_001}]
            for number, change in enumerate(changes, 1):
                assert serving.post(sample(data=change)).status == 200
                until_all(serving, lambda row: row["state"] == "delivered", count=number)
    assert [each.split("\r")[3].rpartition("|")[2] for each in taken] == ["F", "C"]


def test_a_patient_who_is_unknown_waits_and_is_delivered_once_the_file_has_them(serving):
    """No attempt is lost over it; a replay by hand need not wait for the hour."""
    (serving.folder / "patients.csv").write_text("patient_id,ehr_id,family\n", encoding="utf-8")
    with peer() as receiver:
        configure(serving, mllp=mllp(receiver.port))
        with served(serving):
            assert serving.post(sample()).status == 200
            until_all(serving, lambda row: row["last_error"])
            row = only(serving)
            assert (row["state"], receiver.messages) == ("pending", [])
            assert row["last_error"].startswith("the patients file has no row for this patient; the result waits")
            (serving.folder / "patients.csv").write_text(PATIENTS, encoding="utf-8")
            assert serving.run("deliveries", "replay", only(serving)["id"]).returncode == 0
            until_delivered(serving)
    assert len(receiver.messages) == 1


def test_a_report_of_another_practice_is_parked_and_sent_nowhere(serving):
    """One clinic's patients never reach another's EHR; the dead letter says where it belongs."""
    with peer() as receiver:
        configure(serving, mllp=mllp(receiver.port))
        with served(serving):
            assert serving.post(sample(data={"practiceId": "practice_other"})).status == 200
            until_all(serving, lambda row: row["state"] == "dead")
    assert receiver.messages == []
    assert "practice is not among settings.practices" in only(serving)["last_error"]


def test_a_dead_letter_tells_why_in_a_line_and_its_replay_has_the_same_keys(serving):
    """The receiver could not read it; once it is mended, the same bytes go again."""
    answers = ["AE", "AA"]

    def mended(wire):
        while (message := wire.message()) is not None:
            wire.send(ack(message, answers.pop(0), *(["ERR||PID^1^5|101|E||||Söhne"] if answers else [])))

    with peer(mended) as receiver:
        configure(serving, mllp=mllp(receiver.port))
        with served(serving):
            assert serving.post(sample()).status == 200
            until_all(serving, lambda row: row["state"] == "dead")
            (letter,) = serving.rows("dead-letters", "list")
            assert letter["reason"] == "the receiver refused the result: AE, 101 required field missing in PID-5"
            assert serving.run("deliveries", "replay", only(serving)["id"]).returncode == 0
            until_delivered(serving)
    assert receiver.messages[0] == receiver.messages[1]


def test_a_receiver_that_is_away_costs_no_result(serving):
    """It is tried again, and arrives once the receiver is back on the same port."""
    with nobody() as port:
        configure(serving, mllp=mllp(port))
        serving.config.write_text(
            json.dumps(json.loads(serving.config.read_text()) | {"retry": {"tries": 1, "schedule_s": [0.1] * 600}})
        )
        with served(serving):
            assert serving.post(sample()).status == 200
            until_all(serving, lambda row: row["last_error"])
            assert "Connection refused; nothing was sent" in only(serving)["last_error"]
            configured = json.loads(serving.config.read_text())
        with peer() as receiver:
            configured["destinations"]["ehr"]["settings"]["mllp"]["port"] = receiver.port
            serving.config.write_text(json.dumps(configured))
            with served(serving):
                until_delivered(serving)
    assert len(receiver.messages) == 1


# Nothing told


NEEDLES = {
    "reportId": "needle-report", "testId": "needle-test", "kitCode": "needle-kit", "patientId": "needle-patient",
    "assignmentId": "needle-assignment", "glycanAge": "77.125", "chronologicalAge": "66.375",
}  # fmt: skip
ROW = "needle-patient,needle-mrn,Needlefamily,Needlegiven,1911-11-11,F\n"
PASSWORD = "needle-password"


ECHO = "ERR||PID^1^5||E|||Needlefamily|needle-mrn"
ANSWERS = {
    "AE": lambda message: ack(message, "AE", ECHO),
    "AR": lambda message: ack(message, "AR", ECHO),
    "hopeless": lambda message: ack(message, "AE", "ERR||needle-mrn^1^5|101^needle-kit|E"),
    "echo": lambda message: b"\x0b" + message + b"\x1c\x0d",
    "garbage": lambda message: b"\x0bneedle-mrn\x1c\x0d",
    "well": ack,
}


def in_every_way_wrong(serving, stack):
    """A destination for each thing that can go wrong, and their patients files; one that goes well among them."""

    def answering(answer):
        def behave(wire):
            while (message := wire.message()) is not None:
                wire.send(answer(message))

        quick = {} if answer is ack else {"ack_timeout_s": 0.5}
        return mllp(stack.enter_context(peer(behave)).port, **quick)

    ways = {name: {"mllp": answering(answer)} for name, answer in ANSWERS.items()}
    ways["close"] = {"mllp": mllp(stack.enter_context(peer(lambda wire: wire.message())).port)}
    silent = stack.enter_context(peer(lambda wire: wire.message() and wire.closed()))
    ways["silent"] = {"mllp": mllp(silent.port, ack_timeout_s=0.2)}
    no_tls = stack.enter_context(peer(lambda wire: wire.socket.recv(100) and wire.send(b"no")))
    ways["tls"] = {"mllp": mllp(no_tls.port, tls=True)}
    key = {"certificate_file": "own.pem", "key_file": "own.key", "key_password": PASSWORD}
    ways["key"] = {"mllp": mllp(no_tls.port, tls=True) | key}
    ways["characters"] = {"mllp": mllp(no_tls.port, character_set="ASCII"), "patients": "letters.csv"}
    ways["sex"] = {"drop": {"directory": "."}, "patients": "sex.csv"}
    ways["folder"] = {"drop": {"directory": "missing"}}
    header = PATIENTS.partition("\n")[0]
    for name, row in {
        "patients": ROW,
        "letters": ROW.replace("Needlefamily", "Needlefamily č"),
        "sex": ROW.replace(",F\n", ",needle-sex\n"),
    }.items():
        (serving.folder / f"{name}.csv").write_text(f"{header}\n{row}", encoding="utf-8")
    return ways


def test_no_patients_value_or_secret_is_told_whatever_goes_wrong(serving):
    """Logs, errors, reasons of dead letters, receipts, what commands print, names of files: none has a needle."""
    with ExitStack() as stack:
        ways = in_every_way_wrong(serving, stack)
        shared = {"practices": ["practice_67890"], "patients": "patients.csv"}
        serving.configure(
            {
                name: {"plugin": "ehr", "events": ["report-ready"], "isolation": "thread", "settings": shared | way}
                for name, way in ways.items()
            },
        )
        with served(serving):
            assert serving.post(sample(data=NEEDLES)).status == 200
            until_all(serving, lambda row: row["last_error"] or row["state"] == "delivered", count=len(ways))
            rows = serving.rows("deliveries", "list")
            letters = serving.rows("dead-letters", "list")
            checked = serving.run("check", "--online")
    errors = {each["destination"]: each["last_error"] for each in rows}
    assert {name for name, error in errors.items() if error is None} == {"well"}
    files = [str(each.relative_to(serving.folder)) for each in (serving.folder / "var" / "ehr").rglob("*")]
    told = [json.dumps(rows), json.dumps(letters), checked.stdout, checked.stderr, serving.log.read_text(), *files]
    needles = [*NEEDLES.values(), *ROW.strip().split(",")[:-1], "needle-sex", PASSWORD, "19111111", "č"]
    assert [each for each in needles if any(each in text for text in told)] == []
