"""docs/troubleshooting.md: its commands are typed as they stand against one bridge that has most of the troubles."""

from __future__ import annotations

import json
import re
import shlex
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML
from serving import SECRET, Serving, sample, served, until

from glycanbridge.cli import COMMANDS, main
from glycanbridge.journals import open_questions
from glycanbridge.signature import sign
from glycanbridge.simulator.api import SimulatedApi

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
SECTIONS = {
    heading: [
        line
        for block in re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]
    for heading, text in re.findall(r"^##? (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
}
PROGRAM = ".venv/bin/glycanbridge "
LINES = {line.removeprefix(PROGRAM) for lines in SECTIONS.values() for line in lines if line.startswith(PROGRAM)}
OF_THE_SYSTEM = {"timedatectl set-ntp true"}
STOPPED = {"db vacuum"}
"""The bridge must not serve then."""
PUBLIC = "https://bridge.example/webhooks/glycanage"

SAID = {
    "doctor": (1, "X   deliveries."), "doctor --online": (1, "destinations.check"),
    "send report-ready": (0, '200 {"status":"accepted"'), f"send report-ready --to {PUBLIC}": (0, "200 "),
    "verify body.json --signature sha256=1f4e": (1, "ends with a line break"),
    "verify body.json --signature sha256=1f4e --secret-file old-secret": (1, "ends with a line break"),
    "events list --kit KIT001234": (0, "report-ready"),
    "events list --type report-ready --since 3d": (0, "report-ready"),
    "deliveries list --kit KIT001234": (0, "ehr"), "dead-letters list": (0, "quarantine"),
    "db check": (0, "whole"), "db vacuum": (0, "bytes"), "db backup journal-moved.db": (0, "journal-moved.db"),
    "destinations": (0, "fails since"), "destinations resume ehr": (0, "ehr goes on"),
    "check": (0, "ehr"), "check --online": (1, "ehr: the password is wrong"),
    "dead-letters replay --all --yes": (1, "left as it is"),
    "deliveries replay --destination ehr --state pending --yes": (0, "to be made"),
    "dead-letters show 4be0": (0, "no such patient"), "dead-letters replay 4be0": (0, "1 "),
    'dead-letters discard 4be0 --reason "a test order"': (0, ""),
    "dead-letters list --destination ehr": (0, "no such patient"),
    "dead-letters replay --destination ehr --yes": (0, ""),
    "webhooks register": (0, "webhook_10001"), "webhooks list": (0, "approved"),
    "webhooks rotate": (0, "next: "), "webhooks delete WEBHOOK_ID": (1, "--last"),
    "reconcile --api": (0, "nothing is missing"), "reconcile export.csv": (0, "nothing is missing"),
    "deliveries show 7f3a:ehr": (0, "no such patient"), "deliveries replay 7f3a:ehr": (0, "1 "),
}  # fmt: skip
"""What each command ends with, and something of what it says."""

MOODY = """
from pathlib import Path

from glycanbridge import DestinationError, PermanentError, hookimpl

MOOD = Path(__file__).with_name("mood.txt")


class Moody:
    @hookimpl
    def on_report_ready(self, event):
        if MOOD.read_text() == "refuses":
            raise DestinationError("the password is wrong")
        raise PermanentError("no such patient")

    @hookimpl
    def check(self):
        raise DestinationError("the password is wrong")
"""


def test_every_entry_has_the_command_that_finds_out_and_every_command_is_known():
    """No line is of another program, but those of the system's that are named here."""
    entries = {heading: lines for heading, lines in SECTIONS.items() if heading != "What the doctor's words mean"}
    others = {line for lines in SECTIONS.values() for line in lines if not line.startswith(PROGRAM)}

    assert [heading for heading, lines in entries.items() if not lines] == []
    assert others == OF_THE_SYSTEM
    assert set(SAID) == LINES
    assert [line for line in LINES if line.split()[0] not in COMMANDS] == []


def test_every_entry_of_the_vendors_page_is_answered():
    """Its troubleshooting has nine points; each is quoted where it is answered."""
    vendors = [
        "Verify webhook is approved by GlycanAge team", "Check that your endpoint returns 200 status codes",
        "Ensure your URL is accessible from the internet", "Verify your HMAC signature verification logic",
        "Check that you're using the correct secret", "Ensure you're computing the signature on the raw request body",
        "Implement proper error handling and logging", "Check webhook delivery logs (contact support for access)",
        "Consider implementing a fallback polling mechanism for critical events",
    ]  # fmt: skip
    told = " ".join(PAGE.split())

    assert [each for each in vendors if f'"{each}"' not in told] == []


def test_every_word_of_the_doctors_is_explained():
    """And none that it does not say."""
    code = "".join(each.read_text() for each in (ROOT / "glycanbridge" / "doctor").glob("*.py"))
    words = set(re.findall(r'\(\s*"((?:[a-z]+-)?[a-z]+\.[a-z]+)", ', code)) | {"configuration", "online"}
    table = set(
        re.findall(r"`([a-z.-]+)`", "".join(re.findall(r"^\| `(?:.*)", PAGE, re.MULTILINE)).replace("`check`", ""))
    )

    assert words - {"glycanage.token"} == table - {"bridge.yaml", "receiver.listen"}


@pytest.fixture
def bridge(tmp_path, monkeypatch):
    """A bridge that serves, in a folder to type in; its EHR has a mood."""
    serving = Serving(tmp_path / "bridge")
    (serving.folder / "moody.py").write_text(MOODY)
    (serving.folder / "mood.txt").write_text("refuses")
    body = sample(timestamp=1)
    (serving.folder / "body.json").write_bytes(body)
    (serving.folder / "old-secret").write_text("an old one")
    serving.signature = sign(body, f"{SECRET}\n")
    (serving.folder / "export.csv").write_text("Report ID,Kit Code\nreport_78901,KIT001234\n")
    monkeypatch.chdir(serving.folder)
    with SimulatedApi(approve_after_s=0) as api:
        listing = {"path": "/reports", "items": "data", "next": "links.next"}
        account = {"base_url": api.base_url, "email": api.email, "token": api.token, "public_url": PUBLIC}
        serving.configure(
            {"ehr": {"plugin": "moody", "retry": {"tries": 1}}}, plugin_files=["moody.py"],
            glycanage=account | {"report_list": listing},
        )  # fmt: skip
        told = json.loads(serving.config.read_text())
        with serving.config.open("w", encoding="utf-8") as file:
            YAML().dump(told, file)  # as people write it: a secret a line
        api.add_report(json.loads(sample())["data"])
        yield serving


def letters(serving) -> list[Path]:
    """The dead letters of deliveries, and not the quarantined body's."""
    folder = serving.folder / "var" / "dead-letters"
    return [each for each in folder.glob("*.json") if '"kind": "delivery"' in each.read_text()]


def fails(serving) -> bool:
    """Whether the EHR is left alone."""
    with closing(open_questions(f"sqlite:///{serving.folder}/var/journal.db")) as questions:
        return any(each.circuit.open_since is not None for each in questions.standings().values())


def type_it(serving, line: str) -> None:
    """Type a line of the page, with an ID that is really there; it ends and says as the table has it."""
    code, said = SAID[line]
    for shown, real in (
        ("sha256=1f4e", serving.signature),
        (PUBLIC, serving.url),
        ("7f3a", serving.event),
        ("WEBHOOK_ID", "webhook_10001"),
    ):
        line = line.replace(shown, real)
    if "4be0" in line:
        until(lambda: letters(serving))
        line = line.replace("4be0", letters(serving)[0].stem.rpartition("-")[2][:8])
    done = CliRunner().invoke(main, shlex.split(line), catch_exceptions=False)

    assert (done.exit_code, said in done.output) == (code, True), f"{line}: {done.exit_code}\n{done.output}"


def test_the_page_is_typed_from_top_to_bottom(bridge):
    """Against a bridge whose EHR first refuses everything, and later refuses patients."""
    with served(bridge):
        address = bridge.url.split("/")[2]
        config = bridge.config.read_text().replace("127.0.0.1:0", address).replace(PUBLIC, bridge.url)
        bridge.config.write_text(config)
        bridge.event = bridge.post(sample()).told["id"][:12]
        bridge.post(b"[]")
        CliRunner().invoke(main, ["webhooks", "register"], catch_exceptions=False)
        until(lambda: fails(bridge))
        for heading, lines in SECTIONS.items():
            if heading == "There are dead letters":
                (bridge.folder / "mood.txt").write_text("no such patient")
                CliRunner().invoke(main, ["destinations", "resume", "ehr"])
                until(lambda: len(letters(bridge)) >= 3)
            for line in lines:
                command = line.removeprefix(PROGRAM)
                if line.startswith(PROGRAM) and command not in STOPPED:
                    type_it(bridge, command)
    for command in sorted(STOPPED):
        type_it(bridge, command)
