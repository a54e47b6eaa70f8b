"""`glycanbridge plugins new` and `check`: from nothing to a plugin that delivers, in an environment of its own."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from serving import RECORDER, SECRET, Serving, install_plugin, sample, until

from glycanbridge.testing import Answer, HttpPeer

ROOT = Path(__file__).parent.parent
NAME = "my-2nd-lab"
PLUGIN = "glycanbridge-my-2nd-lab"


class Environment:
    """An empty virtual environment, in a folder of its own; it knows nothing of the packages of this one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        venv = folder / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True, timeout=60)
        self.scripts = venv / ("Scripts" if os.name == "nt" else "bin")
        self.python = self.scripts / "python"
        outside = {"VIRTUAL_ENV", "PYTHONPATH", "GLYCANBRIDGE_CONFIG"}
        self.environ = {name: value for name, value in os.environ.items() if name not in outside}
        self.environ["PATH"] = f"{self.scripts}{os.pathsep}{os.environ['PATH']}"
        self.environ["MYPY_CACHE_DIR"] = str(folder / "mypy-cache")  # mypy is run twice

    def run(self, *command: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            command, cwd=cwd or self.folder, env=self.environ, capture_output=True, text=True, timeout=200, check=False
        )

    def pip(self, *arguments: str | Path) -> None:
        """Run pip for this environment: this one's pip, which need not be installed there first."""
        quick = ["--no-compile"] if "install" in arguments else []
        done = self.run(sys.executable, "-m", "pip", "--python", self.python, *arguments, *quick)
        if "No matching distribution" in done.stderr and "CI" not in os.environ:
            pytest.skip("pip reaches no package registry from here")
        assert done.returncode == 0, done.stderr

    def passes(self, *command: str | Path, cwd: Path | None = None) -> str:
        """What a command says that must succeed."""
        done = self.run(*command, cwd=cwd)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


class ServingThere(Serving):
    """A bridge that is served from an environment, by the bridge.yaml of the plugin's README."""

    def __init__(self, environment: Environment, peer: HttpPeer) -> None:
        self.environment = environment
        super().__init__(environment.folder / "bridge")
        self.program = [environment.python, "-m", "glycanbridge"]
        readme = (environment.folder / PLUGIN / "README.md").read_text()
        self.config.write_text(re.search(r"```yaml\n(.*?)```", readme, re.DOTALL)[1])
        (self.folder / "var" / "webhook-secret").write_text(SECRET)
        (self.folder / "var" / "service-token").write_text("a-token-of-the-clinic")
        self._told = {"GLYCANBRIDGE_LISTEN": "127.0.0.1:0", "SERVICE_URL": f"{peer.url}/events"}

    @property
    def environ(self) -> dict[str, str]:
        return self.environment.environ | self._told | {"GLYCANBRIDGE_CONFIG": str(self.config)}


@pytest.mark.timeout(300)
def test_a_generated_plugin_is_good_at_once_and_delivers(tmp_path):
    """Its author has never seen the project: nothing needs an edit before it works, in every way that we know of.

    The environment has only what the packages themselves ask for. All is done in one, which takes its time to be made.
    """
    there = Environment(tmp_path)
    there.pip("install", "-q", "-c", ROOT / "constraints.txt", f"{ROOT}[testing]")

    told = there.passes("glycanbridge", "plugins", "new", NAME)
    *_, install, test, check = told.splitlines()
    assert shlex.split(install)[:2] == ["pip", "install"]
    there.pip(*shlex.split(install)[1:])

    # its own tests, by the command that was told; the contract suite's are run by `plugins check`
    assert "passed" in there.passes(*shlex.split(test), "-q", "-p", "no:cacheprovider", "-k", "not TestContract")
    standing = json.loads(there.passes(*shlex.split(check), "--at-least", "gold", "--json"))
    assert_is_gold(standing)
    for program in (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]):
        there.passes(*program, cwd=tmp_path / PLUGIN)

    # a second one, whose class cannot be called as its name says; its module is found where it stands
    there.passes("glycanbridge", "plugins", "new", "event", "--dir", "more")
    there.passes("mypy", cwd=tmp_path / "more" / "glycanbridge-event")

    with HttpPeer(Answer(201)) as peer:
        it_delivers_and_says_so_when_it_is_gone(there, ServingThere(there, peer), peer)


def assert_is_gold(standing: dict) -> None:
    """And says how each thing was seen."""
    state = {each["rule"]: (each["state"], each["told"]) for each in standing["rules"]}
    assert (standing["tier"], standing["next"]) == ("gold", "platinum")
    assert re.fullmatch(r"[4-9][0-9] have passed in .*" + PLUGIN, state["tests"][1])
    assert state["idempotency-key"] == ("met", "the contract suite has seen it in what is sent")
    assert state["strict-types"][0] == "met"
    assert {rule for rule, (kept, _) in state.items() if kept != "met"} == {"py-typed", "samples"}


def it_delivers_and_says_so_when_it_is_gone(there: Environment, serving: Serving, peer: HttpPeer) -> None:
    """A served bridge, a signed event, a real peer; then `pip uninstall`, and what is owed waits."""
    checked = serving.run("check", "--online")
    assert checked.returncode == 0, checked.stdout
    assert f"{NAME}: 127.0.0.1:{peer.port} answered 201" in checked.stdout
    serving.start()
    assert serving.post(sample("kit-received")).status == 200
    until(lambda: [each for each in peer.requests if each.method == "POST"])
    (request,) = [each for each in peer.requests if each.method == "POST"]
    assert request.headers["Authorization"] == "Bearer a-token-of-the-clinic"
    assert request.json["data"]["kit_code"] == "…1234"
    until(lambda: serving.rows("deliveries", "list")[0]["state"] == "delivered")
    assert serving.stop() == 0

    there.pip("uninstall", "-q", "-y", PLUGIN)
    checked = serving.run("check")
    assert checked.returncode == 78
    assert f"destinations.{NAME}.plugin: no plugin {NAME!r} is installed" in checked.stdout
    serving.start()
    assert serving.post(sample("report-ready")).status == 200
    assert serving.rows("deliveries", "list", "--state", "pending")
    assert f"no plugin {NAME!r} is installed" in serving.log.read_text()
    assert serving.stop() == 0


@pytest.fixture
def serving(tmp_path):
    """A bridge's folder."""
    return Serving(tmp_path)


def test_what_was_written_is_told_and_what_comes_next(serving):
    """The three commands are to be copied: they hold for where the folder is."""
    done = serving.run("plugins", "new", "my-lab", "--dir", "made/here")

    written = {line.removeprefix("written  ") for line in done.stdout.splitlines() if line.startswith("written")}
    folder = "made/here/glycanbridge-my-lab"
    assert {str(each.relative_to(serving.folder)) for each in (serving.folder / folder).rglob("*.*")} < written
    assert done.stdout.splitlines()[-3:] == [
        f'  pip install -e "./{folder}[test]"',
        f"  python -m pytest {folder}",
        "  glycanbridge plugins check my-lab",
    ]
    assert done.stderr == ""


def test_the_commands_can_be_typed_where_a_folder_has_a_space_in_its_name(serving):
    """Else pytest is asked for two folders that are not there."""
    done = serving.run("plugins", "new", "my-lab", "--dir", "my plugins")

    *_, install, test, _check = done.stdout.splitlines()
    assert shlex.split(install)[2:] == ["-e", "./my plugins/glycanbridge-my-lab[test]"]
    assert shlex.split(test) == ["python", "-m", "pytest", "my plugins/glycanbridge-my-lab"]


def test_nothing_is_overwritten_and_a_name_that_is_taken_is_said(serving):
    """The second run changes nothing; two plugins of one name would both be useless."""
    first = serving.run("plugins", "new", "slack")
    again = serving.run("plugins", "new", "slack")
    odd = serving.run("plugins", "new", "My Lab")

    assert first.stderr == ("warning: a plugin 'slack' is installed already; of two with one name neither is used\n")
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == "glycanbridge-slack is there already, and nothing was written: choose another name\n"
    assert (odd.returncode, odd.stdout) == (1, "")
    assert "my-lab would do" in odd.stderr


def test_a_check_says_what_is_missing_and_its_exit_code_counts_from_bronze_on(serving):
    """The line says what to do; an author's CI asks for a tier by its name."""
    install_plugin(serving.packages, "recorder", RECORDER)
    done = serving.run("plugins", "check", "recorder", "--without-tests")

    assert done.returncode == 1
    assert "recorder (glycanbridge-recorder 1.0): no tier yet\nFor bronze:\n" in done.stdout
    lines = dict(line.strip().split(": ", 1) for line in done.stdout.partition("For bronze:\n")[2].splitlines())
    assert set(lines) == {"contract", "settings", "package", "tests"}
    assert lines["settings"].startswith("describe RecorderSettings.file, RecorderSettings.mode: Field(description=...)")
    assert lines["tests"].startswith("not known: it was not installed from a folder, so its tests are not here")


def test_a_check_runs_the_tests_and_shows_the_end_of_what_fails(serving):
    """Of tests that fail the last lines, on stderr."""
    folder = serving.folder / "glycanbridge-recorder"
    (folder / "tests").mkdir(parents=True)
    (folder / "pyproject.toml").write_text('[project]\nname = "GlycanBridge_Recorder"\n')
    (folder / "tests" / "test_it.py").write_text("def test_it():\n    assert not 'well'\n")
    install_plugin(serving.packages, "recorder", RECORDER)

    failed = serving.run("plugins", "check", "recorder", "--source", folder.name)
    wrong = serving.run("plugins", "check", "recorder", "--source", ".")

    assert failed.returncode == 1
    assert "tests: mend them: pytest ended with 1 (in " in failed.stdout
    assert "The last lines of tests:\n" in failed.stderr
    assert "assert not 'well'" in failed.stderr
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "pyproject.toml cannot be read: No such file or directory; --source is the folder it is in" in wrong.stderr


def test_a_plugin_that_nobody_knows_is_said(serving):
    """With what may have been meant."""
    done = serving.run("plugins", "check", "slak")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "no plugin 'slak' is installed; did you mean 'slack'?\n"
