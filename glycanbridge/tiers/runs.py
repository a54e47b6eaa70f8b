"""Runs a plugin's tests, and mypy over it, in processes of their own: bounded in time, and leaving nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree as ET

LAST_LINES = 15
"""Of what was printed, as much as is shown of a failure."""
NOTHING_COLLECTED = 5
"""pytest's exit code for that there are no tests."""


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ended; `code` is `None` if it took too long and was ended."""

    code: int | None
    output: str

    @property
    def last_lines(self) -> str:
        """The end of what it printed."""
        return "\n".join(self.output.rstrip().splitlines()[-LAST_LINES:])


@dataclass(frozen=True, slots=True)
class Tested(Ran):
    """How the tests ended."""

    suites: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)
    """By plugin class, as `module:name`: the tests of its contract suites, and whether each has passed."""
    number: int = 0
    """How many have passed."""


def is_there(program: str) -> bool:
    """Whether pytest or mypy is installed beside GlycanBridge."""
    return find_spec(program) is not None


def run_tests(source: Path, *, within_s: float) -> Tested:
    """Run all tests in a plugin's folder, by pytest, with its own configuration."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        ran = run(["pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"], source, within_s=within_s)
        cases = _cases(report)
    suites: dict[str, dict[str, bool]] = {}
    for case in cases:
        for plugin in case.contract_of:
            suites.setdefault(plugin, {}).setdefault(case.name, True)
            suites[plugin][case.name] &= case.passed
    return Tested(ran.code, ran.output, suites=suites, number=sum(each.passed for each in cases))


def run_mypy(target: Path, source: Path, *, within_s: float) -> Ran:
    """Run `mypy --strict` over a module or package, with the plugin's own configuration.

    Its cache is written only where `MYPY_CACHE_DIR` says.
    """
    cache = [] if "MYPY_CACHE_DIR" in os.environ else ["--cache-dir", os.devnull]
    return run(["mypy", "--strict", *cache, str(target)], source, within_s=within_s)


def run(arguments: Sequence[str], folder: Path, *, within_s: float) -> Ran:
    """Run a Python program in a folder. What takes too long is ended, with all that it has started."""
    with tempfile.TemporaryFile() as output:  # no pipe: whatever it leaves behind would hold it open
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=folder,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(within_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:  # Ctrl-C too: it is in a session of its own, and would go on
            _end(process)
        output.seek(0)
        return Ran(code, output.read().decode("utf-8", "replace"))


def _end(process: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        process.kill()
    else:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@dataclass(frozen=True, slots=True)
class _Case:
    name: str
    passed: bool
    contract_of: tuple[str, ...]


def _cases(report: Path) -> list[_Case]:
    """The tests, by pytest's own report."""
    try:
        cases = ET.parse(report).getroot().iter("testcase")  # noqa: S314 (pytest has written it just now)
    except (OSError, ET.ParseError):
        return []
    ends = {"failure", "error", "skipped"}
    return [
        _Case(case.get("name", ""), not ends & {each.tag for each in case}, tuple(_contract_of(case))) for case in cases
    ]


def _contract_of(case: ET.Element) -> Iterator[str]:
    """What the hook in `testing.fixtures` has noted."""
    for each in case.iter("property"):
        if each.get("name") == "glycanbridge_contract_of":
            yield each.get("value", "")
