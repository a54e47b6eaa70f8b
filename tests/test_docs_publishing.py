"""The page about publishing a plugin: its commands are those that are told, its files those that are written."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from serving import Serving

from glycanbridge.new_plugin import NewPlugin
from glycanbridge.tiers import RULES, Tier, bronze, gold, platinum, silver

PAGE = Path(__file__).parent.parent / "docs" / "plugins" / "publishing.md"


def read(page: str, heading: str) -> list[str]:
    """The blocks under a heading of a page of the same folder."""
    found = re.split(r"^## (.*)\n", (PAGE.parent / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
    sections = dict(zip(found[1::2], found[2::2], strict=True))
    return re.findall(r"^```\w+\n(.*?)^```$", sections[heading], re.MULTILINE | re.DOTALL)


def commands(block: str) -> list[str]:
    """Its lines, without their comments."""
    return [line.partition("#")[0].strip() for line in block.splitlines()]


@pytest.fixture
def serving(tmp_path):
    """A bridge's folder."""
    return Serving(tmp_path)


def test_the_page_begins_with_the_commands_that_are_told(serving):
    """They are run as they were told in `test_cli_plugins_new.py`."""
    (block,) = read("publishing.md", "Begin")
    first, *next_ones = commands(block)

    done = serving.run(*first.split()[1:])

    assert done.returncode == 0, done.stderr
    assert next_ones == [line.strip() for line in done.stdout.splitlines()[-3:]]


def test_the_files_it_shows_are_those_that_are_written():
    """Each line of the first is in `pyproject.toml`, and the range of the contract is in the class."""
    written = dict(NewPlugin.of("my-lab").files())
    (shown,) = read("publishing.md", "What stands in the package")
    (python,) = read("publishing.md", "Versions")

    lines = [line.strip() for line in written["pyproject.toml"].splitlines()]
    assert [line for line in commands(shown) if line and line not in lines] == []
    assert python.splitlines()[0] in written["glycanbridge_my_lab.py"]
    assert python.splitlines()[1] in written["glycanbridge_my_lab.py"]


def test_the_commands_about_tiers_take_these_options(serving):
    """Of a plugin that is there; without its tests it stands at no tier, which is exit code 1."""
    (block,) = read("publishing.md", "The tiers")

    for command in commands(block):
        done = serving.run(*command.replace("my-lab", "slack").split()[1:], "--without-tests")
        assert (done.returncode, done.stderr) == (1, ""), command


def test_a_module_becomes_a_package_by_what_it_says(tmp_path):
    """And is imported as before."""
    folder = NewPlugin.of("my-lab").write(tmp_path)[0]
    (block,) = read("publishing.md", "For platinum")

    subprocess.run(["bash", "-euc", block], cwd=folder, check=True)

    assert sorted(each.name for each in (folder / "glycanbridge_my_lab").iterdir()) == ["__init__.py", "py.typed"]
    subprocess.run([sys.executable, "-B", "-c", "from glycanbridge_my_lab import MyLab"], cwd=folder, check=True)


def test_the_page_shows_the_table_of_rules():
    """Whoever reads it reads what is asked, under the names that the command tells."""
    page = PAGE.read_text(encoding="utf-8")
    shown = re.findall(r"^\| (\w+) \| `([a-z-]+)` \| (.*) \|$", page, re.MULTILINE)

    assert shown == [(each.tier, each.name, each.asks) for each in RULES]
    for tier, rules in zip(Tier, (bronze, silver, gold, platinum), strict=True):
        sentence = rules.__doc__.removeprefix(f"What {tier} asks for: ").removesuffix(".")
        assert f"\n| {tier} | {sentence} |\n" in page
