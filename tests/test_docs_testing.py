"""The page about testing a plugin: every block of Python in it is a file, and all of them pass together."""

from __future__ import annotations

import re
import subprocess
import sys

from snippets import PAGES, snippets

import glycanbridge.testing
from glycanbridge.testing import fixtures
from glycanbridge.testing.answers import Fault
from glycanbridge.testing.contract import troubles

PAGE = PAGES / "testing.md"


def test_every_block_runs_as_it_stands(tmp_path):
    """A reader copies each into the file that its first line names."""
    names = []
    for each in snippets(PAGE):
        assert each.language in {"python", "sh"}, each.place
        if each.language == "python":
            names.append(each.file)
            (tmp_path / each.file).write_text(each.text, encoding="utf-8")
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
