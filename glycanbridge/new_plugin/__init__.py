"""Writes a whole plugin package for somebody to change into what they need: `template/`, with a name put in.

Where a name stands in the template it is written «so»: no language that is in there has these marks.
"""

from __future__ import annotations

import ast
import builtins
import functools
import keyword
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.metadata import version
from pathlib import Path

from glycanbridge.errors import PluginError

LONGEST_NAME = 40
NAME = re.compile(r"[a-z](?:-?[a-z0-9])*")
"""What a new plugin may be called: what pip, Python and `bridge.yaml` all take as it stands."""
FILES = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "CHANGELOG.md": "CHANGELOG.md",
    ".gitignore": "gitignore",
    "«module».py": "module.py",
    "tests/test_«python».py": "test_plugin.py",
}
"""What is written, and which file of the template it is made of."""
_MARK = re.compile("«(.*?)»")


@dataclass(frozen=True, slots=True)
class NewPlugin:
    """The names of a plugin to be: one word in each of the places that have rules of their own."""

    name: str
    """The entry point's, and what `plugin:` in `bridge.yaml` says."""

    @classmethod
    def of(cls, name: str) -> NewPlugin:
        """The names that follow from one. Raises `PluginError` if no plugin can be called so."""
        if NAME.fullmatch(name) is None or len(name) > LONGEST_NAME:
            raise PluginError(
                f"{name!r} is no name for a plugin: expected lower-case letters, digits and single '-' between them, "
                f"a letter first, at most {LONGEST_NAME} in all, such as my-lab{_nearest(name)}"
            )
        plugin = cls(name)
        if keyword.iskeyword(name) or keyword.iskeyword(name.capitalize()):
            raise PluginError(f"{name!r} is a word of Python's own, and nothing can be called so; try {name}-lab")
        if name.startswith("test"):
            raise PluginError(
                f"pytest takes every class {plugin.class_name} for tests: begin the name with another word"
            )
        return plugin

    @property
    def package(self) -> str:
        """What pip installs, and the folder's name."""
        return f"glycanbridge-{self.name}"

    @property
    def module(self) -> str:
        """What Python imports."""
        return self.package.replace("-", "_")

    @property
    def class_name(self) -> str:
        """`my-2nd-lab` is `My2ndLab`, and `event` is `EventPlugin`: there is an `Event` already."""
        words = "".join(word.capitalize() for word in self.name.split("-"))
        return f"{words}Plugin" if words in _taken() else words

    @property
    def marks(self) -> Mapping[str, str]:
        """What stands in the template, and what takes its place."""
        return {
            "name": self.name,
            "module": self.module,
            "python": self.name.replace("-", "_"),
            "Class": self.class_name,
            "version": version("glycanbridge"),
        }

    def files(self) -> Iterator[tuple[str, str]]:
        """Every file of the package: its path in the folder, and what stands in it."""
        for path, source in FILES.items():
            yield self._filled(path), self._filled(_template(source))

    def write(self, within: Path) -> list[Path]:
        """Write the package into a new folder there; every file that was written, the folder first.

        Raises `PluginError` if the folder is there already, or cannot be written.
        """
        folder = within / self.package
        written = [folder]
        try:
            within.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
            for path, text in self.files():
                file = folder / path
                file.parent.mkdir(exist_ok=True)
                with file.open("x", encoding="utf-8", newline="\n") as opened:
                    opened.write(text)
                written.append(file)
        except FileExistsError:
            raise PluginError(f"{folder} is there already, and nothing was written: choose another name") from None
        except OSError as error:
            raise PluginError(f"{error.filename or folder} cannot be written: {error.strerror}") from error
        return written

    def _filled(self, text: str) -> str:
        marks = self.marks
        return _MARK.sub(lambda found: marks[found[1]], text)


def _template(source: str) -> str:
    return (resources.files(__name__) / "template" / f"{source}.txt").read_text("utf-8")


@functools.cache
def _taken() -> frozenset[str]:
    """The names that the template's code imports and gives itself, Python's own, and letters that look like digits."""
    codes = [ast.parse(_MARK.sub("_", _template(source))) for source in FILES.values() if source.endswith(".py")]
    imports = [node for code in codes for node in ast.walk(code) if isinstance(node, ast.Import | ast.ImportFrom)]
    stores = [node for code in codes for node in ast.walk(code) if isinstance(node, ast.Name | ast.ClassDef)]
    own = {node.id if isinstance(node, ast.Name) else node.name for node in stores}
    return (
        frozenset(alias.name for node in imports for alias in node.names) | own | set(dir(builtins)) | {"I", "L", "O"}
    )


def _nearest(name: str) -> str:
    """The same name as it could be, if there is one."""
    near = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-0123456789")[:LONGEST_NAME].strip("-")
    return f"; {near} would do" if NAME.fullmatch(near) else ""
