"""The page about testing a plugin: every block of Python in it is a file, and all of them pass together."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import glycanbridge.testing
from glycanbridge.testing import fixtures
from glycanbridge.testing.answers import Fault
from glycanbridge.testing.contract import troubles

PAGE = Path(__file__).parent.parent / "docs" / "plugins" / "testing.md"


def fenced(page: Path) -> Iterator[tuple[int, str, str]]:
    """Each fenced block of a page: the line it begins in, its language, its text."""
    text = page.read_text(encoding="utf-8")
    for found in re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield text.count("\n", 0, found.start()) + 1, found[1], found[2]


def test_every_block_runs_as_it_stands(tmp_path):
    """A reader copies each into the file that its first line names."""
    names = []
    for line, language, text in fenced(PAGE):
        assert language in {"python", "sh"}, line
        if language == "python":
            names.append(re.match(r"# (\w+\.py)\n", text)[1])
            (tmp_path / names[-1]).write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run([*command, "-rA"], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout
    tests = [name for name in names if name.startswith("test_")]
    assert len(tests) == len(set(tests)) >= 8
    assert [name for name in tests if f"PASSED {name}" not in done.stdout] == []


def test_every_name_is_told_of():
    """What is public is what is explained, and the other way round."""
    page = PAGE.read_text(encoding="utf-8")
    named = [*glycanbridge.testing.__all__, *(each for each in vars(fixtures) if each.startswith("glycanbridge_"))]

    assert [name for name in named if not re.search(rf"\b{name}\b", page)] == []
    assert [each.name for each in Fault if f"`{each.name}`" not in page] == []


def test_the_statuses_are_those_of_the_suite():
    """The table is what is checked."""
    page = PAGE.read_text(encoding="utf-8")
    told = {}
    for statuses, classes in re.findall(r"^\| ((?:\d{3}(?:, )?)+) \| (.*?) \|", page, re.MULTILINE):
        kinds = set(re.findall(r"`(\w+Error)`", classes))
        told |= {int(status): kinds for status in statuses.split(", ")}

    assert told == {status: {kind.__name__ for kind in kinds} for status, kinds in troubles.STATUSES.items()}
