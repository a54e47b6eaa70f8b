"""The fenced blocks of a page of documentation, for tests that run all of them, and a reader who does what they say.

A block that opens with a comment such as `# rules.py` is that file. So is one whose fence says it: `csv patients.csv`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML
from serving import SECRET, Serving, served

PAGES = Path(__file__).parent.parent / "docs" / "plugins"
_FENCE = re.compile(r"^```(\w*)[ ]*(\S*)$")
_FILE = re.compile(r"# ([\w./-]+\.[a-z]+)")


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
    """Does what a part of a page says, block by block, in a bridge's folder: writes files, types commands."""

    def __init__(self, serving: Serving, blocks: Sequence[Snippet]) -> None:
        self.serving = serving
        self.folder = serving.folder
        self.left = list(blocks)
        """What is not done yet."""
        self.said = ""
        """What the last command said."""
        self.folder.chmod(0o755)
        (self.folder / "var" / "webhook-secret").write_text(SECRET)
        (self.folder / ".venv" / "bin").mkdir(parents=True)
        for name, does in {"glycanbridge": '-m glycanbridge "$@"', "python": '"$@"', "pip": self._installs}.items():
            program = self.folder / ".venv" / "bin" / name
            program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {does}\n')
            program.chmod(0o755)

    @property
    def _installs(self) -> str:
        """What `pip install -e FOLDER[test]` does here: nothing from a registry, and nothing into this environment."""
        options = "--quiet --no-index --no-deps --no-build-isolation --target"
        return f'-m pip install {options} "{self.serving.packages}" "${{3%\\[*}}"'

    def until(self, language: str) -> Snippet:
        """Do what the blocks say up to the next one in `language`, and what that says; `AssertionError` if it fails."""
        while True:
            done = self._follow(self.left.pop(0))
            if done.language == language:
                return done

    def type(self) -> str:
        """Do what the blocks say up to the next command, type that, and compare what it says with what is shown."""
        self.until("sh")
        if self.left and self.left[0].language == "text":
            self._compare(self.left.pop(0))
        return self.said

    @contextmanager
    def serve(self) -> Iterator[None]:
        """Type the next command, which serves, and let it run."""
        snippet = self.left.pop(0)
        assert snippet.text == ".venv/bin/glycanbridge serve\n", snippet.place
        with served(self.serving):
            config = self.serving.config.read_text(encoding="utf-8")  # where `send` looks for the port
            address = self.serving.url.split("/")[2]
            self.serving.config.write_text(config.replace("127.0.0.1:0", address), encoding="utf-8")
            yield

    def configure(self, text: str) -> None:
        """Make it the bridge.yaml, or add it to what every one has."""
        told = YAML(typ="safe").load(text)
        if "receiver" in told:
            self.serving.config.write_text(text, encoding="utf-8")
        else:
            assert set(told) <= {"plugin_files", "destinations", "glycanage"}
            self.serving.configure(told.pop("destinations"), **told)

    def _follow(self, snippet: Snippet) -> Snippet:
        if snippet.language == "yaml":
            self._configure(snippet)
        elif snippet.language == "sh":
            self._type(snippet)
        else:
            assert snippet.file is not None, f"{snippet.place}: which file is this?"
            file = self.folder / snippet.file
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(snippet.text, encoding="utf-8")
            file.chmod(0o644)
        return snippet

    def _configure(self, snippet: Snippet) -> None:
        """`check` takes it; or, where a block of text follows, finds that wrong."""
        self.configure(snippet.text)
        named = YAML(typ="safe").load(snippet.text).get("plugin_files", ())
        if any(not (self.folder / each).exists() for each in named):
            return  # they come now
        wrong = bool(self.left) and self.left[0].language == "text"
        done = self.serving.run("check")
        self.said = done.stdout
        assert done.returncode == (78 if wrong else 0), f"{snippet.place}: {done.stdout}{done.stderr}"
        if wrong:
            assert len(self.said.splitlines()) == len(self.left[0].text.splitlines()), self.said
            self._compare(self.left.pop(0))

    def _type(self, snippet: Snippet) -> None:
        environ = {name: value for name, value in self.serving.environ.items() if name != "GLYCANBRIDGE_CONFIG"}
        done = subprocess.run(
            ["bash", "-euc", snippet.text], cwd=self.folder, env=environ, capture_output=True, text=True, timeout=100,
            check=False,
        )  # fmt: skip
        self.said = done.stdout + done.stderr
        assert done.returncode == 0, f"{snippet.place}: {self.said}"

    def _compare(self, snippet: Snippet) -> None:
        """Each line of the block was said, in this order; `...` leaves lines out, or the rest of one."""
        said = iter(" ".join(line.replace(f"{self.folder}{os.sep}", "").split()) for line in self.said.splitlines())
        for line in snippet.text.splitlines():
            shown, dots, _ = " ".join(line.split()).partition("...")
            found = any(each.startswith(shown) if dots else each == shown for each in said)
            assert found or line == "...", f"{snippet.place}: {line!r} is not in\n{self.said}"
