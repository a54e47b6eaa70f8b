"""The README: every command and snippet in it is run, in the order of the page, in a copy of what is committed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from serving import until

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
TOOLS = ("curl", "openssl", "git")


def blocks(language: str) -> list[str]:
    """The README's blocks in one language, in their order."""
    return [text for each, text in BLOCKS if each == language]


DEMO, SERVE, TEST, SEND, CAT, CURL, DOCTOR, LOOK, SCHEMA, INSTALL = blocks("sh")


def test_there_is_no_block_that_nothing_looks_at():
    """A language that no test knows would be a snippet that nobody has run."""
    assert {language for language, _ in BLOCKS} == {"text", "sh", "bat", "yaml", "toml", "python"}
    assert len(blocks("toml")) == len(blocks("python")) == 1


def test_the_windows_lines_are_the_posix_lines():
    """With Windows's names for things; curl and openssl are left to those who have them."""

    def for_windows(command: str) -> str:
        command = command.replace("python3 -m venv", "py -m venv").replace("cat var/exports/", "type var\\exports\\")
        return command.replace(".venv/bin/", ".venv\\Scripts\\").replace("./glycanbridge", ".\\glycanbridge")

    assert blocks("bat") == [for_windows(each) for each in blocks("sh") if each is not CURL]


def test_the_shown_bridge_yaml_is_the_shipped_one_and_the_one_that_init_writes():
    """Three copies, one text."""
    shown = blocks("yaml")[0]

    assert shown == (ROOT / "bridge.yaml").read_text() == (ROOT / "glycanbridge" / "bridge.yaml").read_text()


def test_ci_calls_the_test_command_as_it_stands():
    """Nothing else is tested than what a reader runs."""
    assert TEST in (ROOT / ".ci" / "run").read_text()


@pytest.fixture
def fresh(tmp_path):
    """A copy of what is committed or about to be, in an empty folder, with a free port in the place of 8080."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing and "CI" not in os.environ:
        pytest.skip(f"not installed: {', '.join(missing)}")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    for name in ("bridge.yaml", "README.md"):
        file = tmp_path / name
        file.write_text(file.read_text().replace("127.0.0.1:8080", f"127.0.0.1:{port}"))
    return tmp_path, port


class Terminal:
    """A terminal in the fresh folder, whose environment knows nothing of this one's packages."""

    def __init__(self, folder: Path, port: str) -> None:
        self.folder = folder
        self.port = port
        self.environ = {
            name: value
            for name, value in os.environ.items()
            if name not in {"VIRTUAL_ENV", "PYTHONPATH", "COVERAGE_PROCESS_START"}
        }

    def run(self, command: str) -> str:
        """Run a block to its end; what it printed."""
        command = command.replace("127.0.0.1:8080", f"127.0.0.1:{self.port}")
        done = subprocess.run(
            ["bash", "-euc", command], cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=110,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def serve(self, command: str, *, says: str = "listening on ") -> subprocess.Popen[str]:
        """Start a block that serves, and wait until it says so."""
        with (self.folder / "serve.log").open("a") as log:
            process = subprocess.Popen(
                ["bash", "-euc", command], cwd=self.folder, env=self.environ, stdout=subprocess.PIPE, stderr=log,
                text=True, start_new_session=True,
            )  # fmt: skip
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith(says):
                return process
        reason = "".join(said) + (self.folder / "serve.log").read_text()
        if "No matching distribution" in reason and "CI" not in os.environ:
            pytest.skip("pip reaches no package registry from here")
        raise AssertionError(reason)


def stop(process: subprocess.Popen[str]) -> int:
    """Press Ctrl-C in the terminal where it runs."""
    os.killpg(process.pid, signal.SIGINT)
    process.wait(20)
    process.stdout.close()
    return process.returncode


@pytest.mark.skipif(os.name == "nt", reason="the POSIX lines need a POSIX shell")
@pytest.mark.timeout(240)
def test_every_command_works_as_it_stands(fresh):
    """From nothing to the demo, a serving bridge, a first event, a signed curl, and a plugin of one's own."""
    terminal = Terminal(*fresh)
    folder = terminal.folder
    stop(terminal.serve(DEMO, says="Registered at the simulated GlycanAge"))
    process = terminal.serve(SERVE)
    try:
        assert '200 {"status":"accepted"' in terminal.run(SEND)
        until(lambda: list(folder.glob("var/exports/report-ready-*.csv")))
        until(lambda: "report_78901" in terminal.run(CAT))
        assert '{"status":"accepted"' in terminal.run(CURL)
        until(lambda: list(folder.glob("var/exports/kit-received-2023-08.csv")))
        looked = terminal.run(LOOK)
        assert "report-ready -> results-csv" in looked
        assert "kit-received" in looked
        terminal.run(DOCTOR)
        terminal.run(SCHEMA)
        assert '"CsvSettings"' in (folder / "bridge.schema.json").read_text()
        (folder / "glycanbridge-hello").mkdir()
        for language in ("toml", "python"):
            (text,) = blocks(language)
            (folder / text.splitlines()[0].removeprefix("# ")).write_text(text)
        terminal.run(INSTALL)
    finally:
        stop(process)

    with (folder / "bridge.yaml").open("a") as config:
        config.write(blocks("yaml")[1])
    assert YAML(typ="safe").load(folder / "bridge.yaml")["destinations"]["hello"]["plugin"] == "hello"
    again = re.search(r"start it anew: `(.+?)`", README)[1]
    process = terminal.serve(again)
    try:
        terminal.run(SEND)
        until((folder / "var" / "hello.txt").exists)
    finally:
        stop(process)
    assert (folder / "var" / "hello.txt").read_text() == "hello, report report_78901\n"
    assert "Traceback" not in (folder / "serve.log").read_text()
