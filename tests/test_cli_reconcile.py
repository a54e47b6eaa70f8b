"""`glycanbridge reconcile` as a person types it, docs/reconcile.md as it stands, and a bridge that delivers it."""

from __future__ import annotations

import json
import re
import shlex
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from serving import sample, served, until
from test_reconciling import NEW, ROW, page, record, without
from test_story import taken

from glycanbridge.cli import main
from glycanbridge.dead_letters import DeadLetters
from glycanbridge.journal import Filter
from glycanbridge.journals.opening import open_journal
from glycanbridge.testing import SECRET, Answer, HttpPeer

PAGE = (Path(__file__).parent.parent / "docs" / "reconcile.md").read_text(encoding="utf-8")
ACCOUNT = {"email": "a@clinic.example", "token": "t", "timeout_s": 30}
LIST = {"path": "/reports", "items": "data.items", "next": "links.next"}


class Clinic:
    """A bridge's folder with a journal that holds the sample report, and the commands in this process."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.config, self.export = folder, folder / "bridge.yaml", folder / "export.csv"
        (folder / "var").mkdir()
        self.configure()
        with closing(open_journal(f"sqlite:///{folder}/var/journal.db")) as journal:
            record(journal, sample())

    def configure(self, **more: object) -> None:
        self.config.write_text(json.dumps({"receiver": {"secrets": [SECRET]}, **more}))

    def write(self, *rows: dict[str, str]) -> None:
        """An export of rows; what one lacks is an empty cell."""
        lines = [ROW.keys(), *([row.get(name, "") for name in ROW] for row in rows)]
        self.export.write_text("".join(";".join(line) + "\n" for line in lines))

    def run(self, *arguments: object) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        done = CliRunner().invoke(main, ["reconcile", *map(str, arguments), "-c", str(self.config)])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.stdout, done.stderr

    def compare(self, *arguments: object) -> tuple[int, list[str]]:
        """Exit code, and what was found of each row."""
        code, out, _ = self.run(*(arguments or (self.export,)), "--json")
        return code, [json.loads(line)["what"] for line in out.splitlines()]

    @property
    def held(self) -> list[tuple[str, str]]:
        """The events in the journal, the newest first, with their flags."""
        with closing(open_journal(f"sqlite:///{self.folder}/var/journal.db")) as journal:
            return [(each.id, each.flags) for each in journal.events(Filter())]


@pytest.fixture
def clinic(tmp_path):
    """A clinic whose journal holds the sample report."""
    return Clinic(tmp_path)


@pytest.fixture
def peer():
    """GlycanAge's API, which is well."""
    with HttpPeer() as peer:
        yield peer


def test_what_is_held_is_nothing_to_do(clinic):
    """Exit 0; nothing on stdout."""
    clinic.write(ROW)

    code, out, err = clinic.run(clinic.export)

    assert (code, out) == (0, "")
    assert err == f"nothing is missing\n{clinic.export}: 1 reports: 1 held\n"


def test_what_is_missing_is_listed_and_made_only_with_yes(clinic):
    """Exit 1 while it is missing; made once, however often it is said."""
    clinic.write(ROW, NEW)
    code, out, err = clinic.run(clinic.export)
    assert (code, len(clinic.held)) == (1, 1)
    assert out.splitlines()[1].split()[:4] == ["report_2", "KIT001234", "2023-08-27T07:56:40.001Z", "missing"]
    assert err.endswith("2 reports: 1 held, 1 missing\nnothing was done: say --yes to make what is missing\n")

    code, out, err = clinic.run(clinic.export, "--yes", "--json")
    assert (code, clinic.held[0]) == (0, ("reconciled:report-ready:report_2", "reconciled"))
    assert json.loads(out) == {
        "report_id": "report_2", "test_id": "test_56789", "kit_code": "KIT001234",
        "created_on": "2023-08-27T07:56:40.001Z", "what": "made", "why": "no event of it has come",
        "place": f"{clinic.export}:3", "event_id": "reconciled:report-ready:report_2", "made": True,
        "row": None, "held": None,
    }  # fmt: skip
    assert err.endswith("\n1 made\n")
    assert clinic.run(clinic.export, "--yes")[:2] == (0, "")
    assert len(clinic.held) == 2


def test_what_cannot_be_made_is_left_and_told_by_the_exit_code(clinic):
    """What differs is no reason to fail: it was received. What is made is made all the same."""
    different = without(ROW, glycanAge="46")
    wrong = without(NEW, reportId="report_3", patientId="patient_9")  # with NEW's kit: neither of the two is made
    good = without(NEW, reportId="report_4", kitCode="KIT4", testId="test_4")
    less = without(good, "glycanAge", reportId="report_5", createdOn="1693123000002")
    clinic.write(different)
    assert clinic.compare() == (0, ["different"])
    clinic.write(different, NEW, wrong, good, less)

    code, out, err = clinic.run(clinic.export, "--yes")

    assert (code, len(clinic.held)) == (1, 2)
    assert "could this be the wrong patient?" in out
    assert [line.split()[3] for line in out.splitlines()[1:]] == [
        "different", "contradicts", "contradicts", "made", "incomplete",
    ]  # fmt: skip
    assert err.endswith("5 reports: 1 missing, 1 different, 2 contradicts, 1 incomplete\n1 made\n")
    assert clinic.compare() == (1, ["different", "contradicts", "contradicts", "incomplete"])


def test_of_what_differs_both_values_are_told_and_the_event_can_be_shown(clinic):
    """A person compares them: nobody else can say which is right. The table has no patient in it."""
    clinic.write(without(ROW, glycanAge="46", patientId="patient_9", createdOn="2023-08-27T07:57Z"), NEW)
    (held,) = clinic.held

    (line, _) = clinic.run(clinic.export, "--json")[1].splitlines()
    told = json.loads(line)
    out = clinic.run(clinic.export)[1]

    assert told["row"] == {"patientId": "patient_9", "glycanAge": "46", "createdOn": "2023-08-27T07:57:00.000Z"}
    assert told["held"] == {"patientId": "patient_123", "glycanAge": "45.2", "createdOn": "2023-08-27T07:56:40.000Z"}
    assert (told["event_id"], told["made"]) == (held[0], False)
    cells = [line.split()[3:5] for line in out.splitlines()[1:]]
    assert out.splitlines()[0].split()[-3:] == ["WHAT", "EVENT", "WHY"]
    assert cells == [["different", held[0][:12]], ["missing", "-"]]
    assert ("patient_" in out, "46" in out.replace(held[0][:12], "")) == (False, False)
    shown = CliRunner().invoke(main, ["events", "show", cells[0][1], "-c", str(clinic.config)])
    assert '"glycanAge": "45.2"' in shown.stdout


def test_what_waits_in_quarantine_is_told_where_something_is_missing(clinic):
    """It may be just that, in a form which was not understood: made from a list it would come twice."""
    letters = DeadLetters(clinic.folder / "var" / "dead-letters")
    clinic.configure(dead_letters=str(letters.directory))
    told = "in quarantine; `glycanbridge dead-letters list`: replay them first\n"
    clinic.write(NEW)
    assert "in quarantine" not in clinic.run(clinic.export)[2]
    letters.quarantine(b"[]", reason="not an event")
    assert clinic.run(clinic.export)[2].startswith(f"1 body waits {told}")
    letters.quarantine(b"{}", reason="not an event")
    (letters.directory / "damaged.json").write_text("{")
    assert clinic.run(clinic.export)[2].startswith(f"2 bodies wait {told}")
    clinic.write(ROW)
    assert "in quarantine" not in clinic.run(clinic.export)[2]


def test_a_directory_of_dead_letters_that_cannot_be_read_stops_nothing(clinic):
    """It is only a hint."""
    (clinic.folder / "file").write_text("")
    clinic.configure(dead_letters=str(clinic.folder / "file"))
    clinic.write(NEW)

    assert clinic.run(clinic.export, "--yes")[0] == 0
    assert len(clinic.held) == 2


def test_times_without_a_zone_rows_without_a_report_and_other_times_are_told(clinic):
    """What was passed over, and what was taken for granted."""
    clinic.write(without(NEW, createdOn="2023-08-27"), {"kitCode": "KIT7"}, without(NEW, createdOn="2019-01-01"))

    _, _, err = clinic.run(clinic.export, "--since", "2020-01-01", "--until", "2024-01-01")

    assert "; passed over: 1 of another time, 1 without reports yet; 1 times have no zone" in err


def test_one_source_is_named(clinic):
    """A file, or the API, which lists reports; wrong usage is exit 2, a setting that is not there is 78."""
    clinic.write(ROW)

    assert [clinic.run(*each)[0] for each in ((), (clinic.export, "--api"), ("--api", "--type", "kit-received"))] == [
        2
    ] * 3
    code, _, err = clinic.run("--api")
    assert (code, "glycanage: not told: --api needs to know where" in err) == (78, True)
    clinic.configure(glycanage={"base_url": "http://127.0.0.1:9", **ACCOUNT})
    code, _, err = clinic.run("--api")
    assert (code, "bridge.yaml:1:" in err, "glycanage.report_list: not told" in err) == (78, True, True)
    clinic.configure(glycanage={"base_url": "http://127.0.0.1:9", **ACCOUNT, "columns": {"reportID": "x"}})
    assert (clinic.run(clinic.export)[0], "glycanage.columns.reportID" in clinic.run(clinic.export)[2]) == (78, True)


def test_a_file_that_cannot_be_read_makes_nothing(clinic):
    """Also if it is only its last line; and columns that are not there are told."""
    clinic.write(NEW)
    with clinic.export.open("a") as file:
        file.write('"no end')
    code, out, err = clinic.run(clinic.export, "--yes")
    assert (code, out, err) == (1, "", f"{clinic.export}:3: not CSV: a quotation mark has no end\n")
    assert len(clinic.held) == 1

    clinic.export.write_text("Report ID\nreport_78901\n")
    code, _, err = clinic.run(clinic.export)
    assert (code, "no column of testId, kitCode, patientId, practiceId" in err) == (0, True)


def test_a_list_is_compared_and_made_like_a_file(clinic, peer):
    """Over a socket, with the account's credentials."""
    clinic.configure(glycanage={"base_url": peer.url, **ACCOUNT, "report_list": LIST})
    peer.answer(page(ROW, following="/reports?page=2"), page(NEW), page(ROW), page())

    assert clinic.run("--api", "--yes")[0] == 0
    assert (len(clinic.held), peer.requests[0].headers["Authorization"][:6]) == (2, "Basic ")
    assert clinic.run("--api")[2].endswith("GlycanAge: 1 reports: 1 held\n")


@pytest.mark.parametrize("fault", [Answer(500), Answer(401), Answer(200, "<html>")])
def test_a_list_that_breaks_off_makes_nothing(clinic, peer, fault):
    """Half of a list says nothing about the other half, and half of the rows may contradict it."""
    clinic.configure(glycanage={"base_url": peer.url, **ACCOUNT, "report_list": LIST})
    peer.answer(page(NEW, following="/reports?page=2"), fault)

    code, out, err = clinic.run("--api", "--yes")

    assert (code, out, err.count("\n"), len(clinic.held)) == (1, "", 1, 1)


def test_without_a_journal_nothing_is_compared(clinic):
    """Everything would be missing."""
    clinic.write(ROW)
    (clinic.folder / "var" / "journal.db").unlink()

    code, _, err = clinic.run(clinic.export)
    assert (code, "there is no journal yet" in err) == (1, True)


def lines(heading: str) -> list[str]:
    """The command lines of a section of docs/reconcile.md."""
    text = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return [
        line
        for block in re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]


def test_the_page_is_walked_through_and_a_serving_bridge_delivers_what_is_made(serving, peer, monkeypatch):
    """Each command as it stands there; the settings, too."""
    monkeypatch.chdir(serving.folder)
    monkeypatch.setenv("GLYCANBRIDGE_CONFIG", str(serving.config))

    def type_it(line: str, code: int = 0) -> str:
        program, *arguments = shlex.split(line)
        assert program == ".venv/bin/glycanbridge"
        if "--yes" in arguments:  # it imports the plugin
            done = serving.run(*arguments)
            assert done.returncode == code, done.stderr
            return done.stdout + done.stderr
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == code, done.output
        return done.output

    glycanage = {"base_url": peer.url, **ACCOUNT, "report_list": LIST, "columns": {"reportId": "Result No"}}
    serving.configure({"all": {"plugin": "recorder", "settings": {"file": "taken.txt"}}}, glycanage=glycanage)
    rows = (ROW, without(NEW, reportId="report_2"))
    text = "Result No,Kit Code,Glycan Age,Chronological Age,Created On\n" + "".join(
        ",".join(row[name] for name in ("reportId", "kitCode", "glycanAge", "chronologicalAge", "createdOn")) + "\n"
        for row in rows
    )
    (serving.folder / "export.csv").write_text(text)
    (serving.folder / "kits.csv").write_text("Kit Code,Received At,Status\nKIT001234,2023-08-27,inAnalysis\n")
    peer.answer(page(ROW, without(NEW, reportId="report_3")))
    look, make, kits = lines("From an export")
    (api,) = lines("From GlycanAge's API")
    listed, shown = lines("What is marked")
    compared, told = lines("What differs")
    with served(serving):
        serving.post(sample("kit-received"))
        until(lambda: len(taken(serving)) == 1)
        assert "2 reports: 2 missing" in type_it(look, 1)
        assert "2 made" in type_it(make)
        until(lambda: len(taken(serving)) == 3)
        assert "1 received kits: 1 held" in type_it(kits)
        assert "report_3" in type_it(api, 1)
        assert serving.post(sample()).told["status"] == "accepted"  # the genuine one comes after all
        until(lambda: len(taken(serving)) == 4)
        (serving.folder / "export.csv").write_text(text.replace("45.2", "46"))
        assert "1 held" not in (differs := type_it(look))
        assert shlex.split(compared)[-1] in differs
        assert '"glycanAge": "45.2"' in type_it(compared)
        assert type_it(f"{told} --to {serving.url}").startswith("200 ")
        until(lambda: len(taken(serving)) == 5)
        assert "2 reports: 1 held, 1 different" in type_it(look)
    assert type_it(listed).count("reconciled\n") == 2
    assert '"patientId": "patient_123"' in type_it(shown)
    assert "reconciled:report-ready:report_2:all report-ready 1" in taken(serving)
    assert "patient" not in serving.log.read_text()
    settings = "".join(re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
    assert set(re.findall(r"^  (\w+):", settings, re.MULTILINE)) == {"columns", "report_list", "reconcile_every_h"}
