"""docs/testing.md: every block of it is typed in one terminal, from top to bottom, against one bridge that serves."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from serving import until
from snippets import Snippet, snippets

from glycanbridge.event_types import EVENT_TYPES
from glycanbridge.glycanage_settings import GlycanAgeSettings
from glycanbridge.testing import SECRET

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "testing.md"
COLLECTION = ROOT / "docs" / "glycanbridge.postman_collection.json"
NEWMAN = shutil.which("newman", path=str(ROOT / "tests" / "newman" / "node_modules" / ".bin")) or shutil.which("newman")

NOT_TYPED = {
    "$secret = ": "it needs PowerShell 7, which CI does not install",
    "newman run ": "test_the_collection_passes_in_newman types it, where newman is",
    "ngrok http ": "it needs an account and the internet",
    "cloudflared tunnel ": "it needs the internet",
    "curl -i https://": "it needs a tunnel",
    ".venv/bin/glycanbridge send report-ready --to https://": "it needs a tunnel",
}
"""How the blocks begin that the test below does not type, and why."""

CATCHES = ".venv/bin/glycanbridge mailbox rehearsal/mails --port 8025\n"
SERVES = ".venv/bin/glycanbridge serve -c rehearsal/bridge.yaml\n"
SIMULATES = ".venv/bin/glycanbridge simulate --api 8090 -c rehearsal/bridge.yaml\n"
ROTATES = ".venv/bin/glycanbridge webhooks rotate"
SIMULATED = ("GlycanAge's API on this machine", "A new secret")
"""The headings under which the simulator serves; it is ended at the next one."""
LOOKS = re.compile(rf"(\.venv/bin/glycanbridge [a-z-]+ list|{ROTATES}|cat|grep)( .*)?")
"""What only looks may be typed again, as a delivery takes its time; and what is meant to be typed again and again."""


class Terminal:
    """The reader's terminal, one bash for the whole page, and those of what serves: mail server, bridge, simulator."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bridge: subprocess.Popen[str] | None = None
        self.mailbox: subprocess.Popen[str] | None = None
        self.simulator: subprocess.Popen[bytes] | None = None
        self.said = ""
        self._simulator_log = folder / "simulate.log"
        self.ports = free_ports("8081", "8025", "8090")
        program = folder / ".venv" / "bin" / "glycanbridge"
        program.parent.mkdir(parents=True)
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m glycanbridge "$@"\n')
        program.chmod(0o755)
        self.environ = {name: value for name, value in os.environ.items() if name != "GLYCANBRIDGE_CONFIG"}
        self.bash = subprocess.Popen(
            ["bash"], cwd=folder, env=self.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self._run("set -o pipefail; trap 'echo \"<failed> $BASH_COMMAND\"' ERR")

    def type(self, snippet: Snippet, shown: str) -> None:
        """Type a block; all of its commands succeed and, perhaps after a moment, say what is shown."""

        def fits() -> bool:
            self._run(snippet.text)
            return "<failed>" not in self.said and is_said(shown, self.said)

        if all(LOOKS.fullmatch(line) for line in snippet.text.splitlines()):
            until(fits)
        else:
            assert fits(), f"{snippet.place}: it said\n{self.said}"

    def shown(self, text: str) -> str:
        """What the page shows, with ports that are free."""
        return re.sub("|".join(self.ports), lambda found: self.ports[found[0]], text)

    def write(self, snippet: Snippet) -> None:
        """Write the file that a block is, with fewer processes."""
        text = snippet.text.replace("    settings:\n", "    isolation: thread\n    settings:\n")
        (self.folder / snippet.file).write_text(text, encoding="utf-8")

    def catch_mails(self, command: str) -> None:
        """Let the mail server run in its terminal."""
        self.mailbox = subprocess.Popen(
            command.split(),
            cwd=self.folder,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.mailbox.stdout.readline().startswith("listening on 127.0.0.1:")

    def mails(self) -> list[EmailMessage]:
        """What it has kept."""
        files = sorted((self.folder / "rehearsal" / "mails").iterdir())
        return [message_from_bytes(each.read_bytes(), policy=policy.default) for each in files]

    def end_mailbox(self) -> str:
        """Press Ctrl-C there; all that it said."""
        self.mailbox.send_signal(signal.SIGINT)
        said, _ = self.mailbox.communicate(timeout=30)
        assert self.mailbox.returncode == 0, said
        return said

    def serve(self, *, kill: bool) -> None:
        """Start the bridge in the second terminal; one that runs is ended before, with Ctrl-C or as hard as can be."""
        self.stop(kill=kill)
        with (self.folder / "serve.log").open("ab") as log:
            self.bridge = subprocess.Popen(
                SERVES.split(), cwd=self.folder, env=self.environ, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self.bridge.stdout.readline().startswith("listening on "), (self.folder / "serve.log").read_text()

    def simulate(self, command: str) -> None:
        """Let the simulator serve in its terminal, and approve sooner than a reader types."""
        with self._simulator_log.open("wb") as log:
            self.simulator = subprocess.Popen(
                [*command.split(), "--approve-after", "0.3"],
                cwd=self.folder,
                env=self.environ,
                stderr=log,
                stdout=log,
            )
        until(lambda: "is GlycanAge's API now" in self.simulator_said())

    def simulator_said(self) -> str:
        """What is to be read there."""
        return self._simulator_log.read_text(encoding="utf-8")

    def end_simulator(self) -> None:
        """Press Ctrl-C there, if it runs: it ends with 0 if all was answered as it should be."""
        if self.simulator is not None:
            self.simulator.send_signal(signal.SIGINT)
            assert self.simulator.wait(30) == 0, self.simulator_said()
            self.simulator = None

    def stop(self, *, kill: bool = False) -> None:
        """End the bridge, if it serves."""
        if self.bridge is not None:
            self.bridge.send_signal(signal.SIGKILL if kill else signal.SIGINT)
            assert self.bridge.wait(30) == (-signal.SIGKILL if kill else 0)
            self.bridge.stdout.close()
            self.bridge = None

    def close(self) -> None:
        """End all four."""
        for each in (self.simulator, self.mailbox):
            if each is not None:
                each.kill()
                each.wait(30)
        if self.mailbox is not None:
            self.mailbox.stdout.close()
        if self.bridge is not None:
            self.stop(kill=True)
        self.bash.stdin.close()
        self.bash.wait(30)
        self.bash.stdout.close()

    def _run(self, text: str) -> None:
        self.bash.stdin.write(f"{{\n{text}\n}} </dev/null\necho; echo '<done>'\n")
        self.bash.stdin.flush()
        said = iter(self.bash.stdout.readline, "<done>\n")
        whole = "".join(line for line in said if line or pytest.fail("bash has gone"))
        self.said = whole.replace(f"{self.folder}{os.sep}", "")


def free_ports(*shown: str) -> dict[str, str]:
    """For each port that the page shows one that nobody has at the moment."""
    with ExitStack() as taken:
        sockets = [taken.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in shown]
        return {port: str(each.getsockname()[1]) for port, each in zip(shown, sockets, strict=True)}


def is_said(shown: str, said: str) -> bool:
    """Whether every line is said, in this order; `...` leaves lines out, or the rest of one. Ids and times differ."""
    left = iter([plain(line) for line in said.splitlines()])
    for line in shown.splitlines():
        start, dots, _ = plain(line).partition("...")
        if line != "..." and not any(each.startswith(start) if dots else each == start for each in left):
            return False
    return True


def plain(line: str) -> str:
    """A line without what is another each time: ids, times, and the widths of columns that follow from them."""
    line = re.sub(r"\b[0-9a-f]{12,64}\b", "ID", line)
    return " ".join(re.sub(r"\b20[0-9T:.-]+Z", "TIME", line).split())


@pytest.fixture
def terminal(tmp_path) -> Iterator[Terminal]:
    """A terminal in an empty folder, in which only the program is installed."""
    missing = [tool for tool in ("bash", "curl", "openssl") if shutil.which(tool) is None]
    if missing and "CI" not in os.environ:
        pytest.skip(f"not installed: {', '.join(missing)}")
    terminal = Terminal(tmp_path)
    try:
        yield terminal
    finally:
        terminal.close()


def follow(terminal: Terminal, blocks: list[Snippet]) -> list[Snippet]:
    """Do what all blocks say, whatever they are: what is no file and no `NOT_TYPED` is typed. Those left out."""
    left_out = []
    for number, each in enumerate(blocks):
        following = blocks[number + 1] if number + 1 < len(blocks) else each
        if each.language == "text":
            assert blocks[number - 1].language == "sh", f"{each.place}: what says this?"
        elif each.text.startswith(tuple(NOT_TYPED)):
            left_out.append(each)
        elif each.file is not None:
            terminal.write(each)
        elif each.language == "yaml":
            settings = YAML(typ="safe").load(each.text)["glycanage"]
            assert GlycanAgeSettings(**settings).public_url.endswith("/webhooks/glycanage")
        else:
            assert each.language == "sh", f"{each.place}: who types this?"
            enter(terminal, each, following.text if following.language == "text" else "")
    return left_out


def enter(terminal: Terminal, each: Snippet, shown: str) -> None:
    """Type a block in the terminal that it is meant for, after what the lines before it say."""
    serving = {terminal.shown(SERVES): "bridge", terminal.shown(CATCHES): "mails", terminal.shown(SIMULATES): "api"}
    if each.heading not in SIMULATED:
        terminal.end_simulator()
    match serving.get(each.text):
        case "bridge":
            terminal.serve(kill=each.heading == "A stop in the middle")
        case "mails":
            terminal.catch_mails(each.text)
        case "api":
            terminal.simulate(each.text)
        case _:
            prepare(terminal, each.text)
            terminal.type(each, shown)


def prepare(terminal: Terminal, commands: str) -> None:
    """Wait or do what the page asks for before these are typed."""
    if commands == ".venv/bin/glycanbridge reconcile --api\n":
        until(lambda: "the story is told" in terminal.simulator_said())
    elif commands == f"{ROTATES} --yes\n":
        until(lambda: "one more event was sent to it, kit-received of " in terminal.simulator_said())
        terminal.serve(kill=False)  # a bridge that stops notes what has signed; half a minute would do it, too
    elif commands.startswith(("mv ", "unset ")):
        terminal.stop()


def test_every_block_works_as_it_stands(terminal):
    """From nothing to a bridge that has been through everything; each is told once, and one alarm is raised."""
    *blocks, end = [replace(each, text=terminal.shown(each.text)) for each in snippets(PAGE)]

    left_out = follow(terminal, blocks)
    mails = terminal.mails()
    follow(terminal, [end])

    assert {start for start in NOT_TYPED if not any(each.text.startswith(start) for each in left_out)} == set()
    told = [mail["To"] for mail in mails]
    assert told.count("it@clinic.example") == 1
    assert told.count("reception@clinic.example") > 5
    assert len({(mail["Message-ID"], mail["To"]) for mail in mails}) == len(told)
    assert len([mail for mail in mails if list(mail.iter_attachments())]) >= 8  # one kit's of ten is stuck
    assert len(terminal.end_mailbox().splitlines()) == len(told) + 1
    assert not (terminal.folder / "rehearsal").exists()
    assert "Traceback" not in (terminal.folder / "serve.log").read_text()


def test_every_shown_body_is_the_vendors_sample():
    """Field for field: what is rehearsed here is what GlycanAge's page shows."""
    shown = re.findall(r"""'({"type":"[a-z-]+","timestamp":(?:NOW|'\$\(date \+%s000\)'),.*?}})'""", PAGE.read_text())
    bodies = [json.loads(re.sub(r"""NOW|'\$\(date \+%s000\)'""", "1693123200000", each, count=1)) for each in shown]

    assert [each["type"] for each in bodies if each["type"] not in EVENT_TYPES] == ["report-cancelled"]
    assert sorted(each["type"] for each in bodies if each["type"] in EVENT_TYPES) == sorted(
        [*EVENT_TYPES, "kit-received", "report-ready"]
    )
    assert [each for each in bodies if each["type"] in EVENT_TYPES and each != sample(each["type"])] == []


def sample(event_type: str) -> object:
    """What is shipped as the vendor's payload of a type."""
    return json.loads((ROOT / "glycanbridge" / "samples" / f"{event_type}.json").read_bytes())


def test_the_collections_bodies_are_the_vendors_samples():
    """Each type once, the last one again twice, and one that is no type."""
    items = json.loads(COLLECTION.read_bytes())["item"]
    raw = [each["request"]["body"]["raw"].replace("{{timestamp}}", "1693123200000", 1) for each in items]
    bodies = [json.loads(each) for each in raw]

    assert {each["type"] for each in bodies[:4]} == set(EVENT_TYPES)
    assert bodies[:6] == [sample(each["type"]) for each in bodies[:6]]
    assert bodies[3] == bodies[4] == bodies[5]
    assert bodies[6]["type"] not in EVENT_TYPES


def test_the_collection_holds_no_secret_and_can_be_imported():
    """Whoever shares the file shares no secret; Postman imports by the address of the schema alone."""
    collection = json.loads(COLLECTION.read_bytes())
    variables = {each["key"]: each["value"] for each in collection["variable"]}

    assert variables == {
        "url": "http://127.0.0.1:8081/webhooks/glycanage", "secret": "", "timestamp": "", "last_id": ""
    }  # fmt: skip
    assert collection["info"]["schema"] == "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"


def run_newman(url: str, secret: str, collection: Path = COLLECTION) -> subprocess.CompletedProcess[str]:
    """Type the page's line with newman."""
    (block,) = [each for each in snippets(PAGE) if each.text.startswith("newman run ")]
    line = block.text.replace(str(COLLECTION.relative_to(ROOT)), str(collection))
    environ = os.environ | {"url": url, "secret": secret, "PATH": f"{Path(NEWMAN).parent}:{os.environ['PATH']}"}
    return subprocess.run(
        ["bash", "-euc", line], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.skipif(NEWMAN is None and "CI" not in os.environ, reason="newman is not installed: see .ci/run")
def test_the_collection_passes_in_newman(server):
    """All seven requests and their tests, signed by Postman's own runtime, are as the page says."""
    done = run_newman(server.url, SECRET)

    assert done.returncode == 0, done.stdout
    assert re.search(r"requests │ +7 │ +0 ", done.stdout)
    assert re.search(r"assertions │ +7 │ +0 ", done.stdout)
    (letter,) = server.rows("dead-letters", "list")
    assert letter["reason"] == "unknown event type 'report-cancelled'"
    assert sorted(each["type"] for each in server.rows("events", "list")) == sorted(EVENT_TYPES)


@pytest.mark.skipif(NEWMAN is None and "CI" not in os.environ, reason="newman is not installed: see .ci/run")
def test_the_collections_tests_fail_where_the_secret_is_another_one(server):
    """Tests that pass whatever is answered would tell a clinic that a bridge works which does not."""
    done = run_newman(server.url, SECRET + "x")

    assert done.returncode == 1
    assert re.search(r"assertions │ +7 │ +6 ", done.stdout)
