"""The fenced blocks of a page of documentation, for tests that run every one of them; and a reader who does what they say.

A block that opens with a comment such as `# rules.py` is that file. So is one whose fence says it: `csv patients.csv`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML
from serving import Serving

_FENCE = re.compile(r"^```(\w*)[ ]*(\S*)$")
_FILE = re.compile(r"# ([\w./-]+\.[a-z]+)")
_COMMENT = re.compile(r"\s+#.*$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """A fenced block."""

    page: str
    """The page's file name."""
    heading: str
    """The heading that it stands under, of the second or third level; empty before the first."""
    line: int
    """Of the opening fence; counts from 1."""
    language: str
    file: str | None
    """The file that it is, if it says so."""
    text: str

    @property
    def place(self) -> str:
        """`hooks.md:12`."""
        return f"{self.page}:{self.line}"


def snippets(page: Path) -> Iterator[Snippet]:
    """Every fenced block of a page, in order. Raises `ValueError` for a fence that nobody closes."""
    heading, opened, lines = "", None, []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = _FENCE.match(line)
        if opened is not None and line == "```":
            text = "".join(f"{each}\n" for each in lines)
            named = opened[2] or ((_FILE.fullmatch(lines[0]) or [None, None])[1] if lines else None)
            yield Snippet(page=page.name, heading=heading, line=opened[0], language=opened[1], file=named, text=text)
            opened, lines = None, []
        elif opened is not None:
            lines.append(line)
        elif fence is not None:
            opened = (number, *fence.groups())
        elif line.startswith(("## ", "### ")):
            heading = line.lstrip("# ")
    if opened is not None:
        raise ValueError(f"{page.name}:{opened[0]}: this block has no end")


def scenes(page: Path) -> dict[str, list[Snippet]]:
    """The blocks of each heading that has any, behind those that stand before the first heading, which all share."""
    shared, found = [], {}
    for each in snippets(page):
        if each.heading:
            found.setdefault(each.heading, list(shared)).append(each)
        else:
            shared.append(each)
    return found or {"": shared}


class Reader:
    """Does what a page says, block by block, in a bridge's folder: writes files, checks `bridge.yaml`, types commands."""

    def __init__(self, serving: Serving) -> None:
        self.serving = serving
        self.folder = serving.folder
        self.folder.chmod(0o755)
        self.said = ""
        """What the last command said."""
        (self.folder / ".venv" / "bin").mkdir(parents=True)
        for name, module in (("glycanbridge", "glycanbridge"), ("python", ""), ("pip", "pip")):
            program = self.folder / ".venv" / "bin" / name
            program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {f"-m {module}" if module else ""} "$@"\n')
            program.chmod(0o755)

    def follow(self, snippet: Snippet) -> None:
        """Do what one block says; `AssertionError` if it does not work."""
        does = {"yaml": self._configure, "sh": self._type, "text": self._compare}
        if snippet.language in does:
            does[snippet.language](snippet)
        else:
            assert snippet.file is not None, f"{snippet.place}: of which file is this?"
            file = self.folder / snippet.file
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(snippet.text, encoding="utf-8")
            file.chmod(0o644)

    def _configure(self, snippet: Snippet) -> None:
        """Make it the bridge.yaml, or add it to what every one has; `check` says what it thinks of it."""
        told = YAML(typ="safe").load(snippet.text)
        if "receiver" in told:
            self.serving.config.write_text(snippet.text, encoding="utf-8")
        else:
            assert set(told) <= {"plugin_files", "destinations"}, snippet.place
            self.serving.configure(told.pop("destinations"), **told)

    def _type(self, snippet: Snippet) -> None:
        done = subprocess.run(
            ["bash", "-euc", snippet.text], cwd=self.folder, env=self._environ, capture_output=True, text=True,
            timeout=100, check=False,
        )  # fmt: skip
        self.said = done.stdout + done.stderr
        assert done.returncode == 0, f"{snippet.place}: {self.said}"

    def _compare(self, snippet: Snippet) -> None:
        """Each line of the block was said, in this order; a line that is `...` leaves some out."""
        said = iter(_without_folder(line, self.folder).rstrip() for line in self.said.splitlines())
        missing = [line for line in snippet.text.splitlines() if line != "..." and line.rstrip() not in said]
        assert missing == [], f"{snippet.place}: {self.said}"

    def check(self) -> subprocess.CompletedProcess[str]:
        """What `glycanbridge check` says; a text block behind it is compared with that."""
        done = self.serving.run("check")
        self.said = done.stdout
        return done

    @property
    def _environ(self) -> dict[str, str]:
        return {name: value for name, value in self.serving.environ.items() if name != "GLYCANBRIDGE_CONFIG"}


def _without_folder(line: str, folder: Path) -> str:
    return line.replace(f"{folder}{os.sep}", "")
