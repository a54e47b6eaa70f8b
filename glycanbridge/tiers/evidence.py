"""What is really there of a plugin: its class, its package, its code, its README, and how its tests end."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import Distribution, PackageMetadata, PackageNotFoundError, distribution
from itertools import accumulate
from pathlib import Path
from typing import Any

from glycanbridge.plugins import InstalledPlugin, Plugin
from glycanbridge.problems import schema_of
from glycanbridge.tiers import code, runs, source
from glycanbridge.tiers.code import Code
from glycanbridge.tiers.readme import Readme


@dataclass(frozen=True)
class Evidence:
    """All that rules are decided by. Each part is looked at when a rule asks for it, once."""

    found: InstalledPlugin
    named_source: Path | None = None
    """The folder of its source, where somebody has said so."""
    run: bool = True
    """Whether its tests may be run, and mypy."""
    within_s: float = 600.0
    """How long each of them may take."""

    @classmethod
    def of(cls, found: InstalledPlugin, *, source_folder: Path | None, run: bool, within_s: float) -> Evidence:
        """The evidence about a plugin. Raises `PluginError` if `source_folder` is another package's."""
        evidence = cls(found, source_folder.absolute() if source_folder else None, run, within_s)
        if evidence.named_source is not None and evidence.distribution is not None:
            source.check_source(evidence.named_source, found.distribution)
        return evidence

    @property
    def plugin(self) -> Plugin | None:
        """The plugin, if it can be used."""
        return self.found.plugin

    @cached_property
    def distribution(self) -> Distribution | None:
        """Its package; a plugin that is a file has none."""
        try:
            return distribution(self.found.distribution)
        except (PackageNotFoundError, ValueError):
            return None

    @property
    def metadata(self) -> PackageMetadata | None:
        """What its package says of itself."""
        return self.distribution.metadata if self.distribution else None

    @cached_property
    def _source(self) -> tuple[Path | None, str]:
        if self.named_source is not None or self.distribution is None:
            folder, why = self.named_source, f"nobody knows where its source is; {source.SHOW_IT}"
        else:
            folder, why = source.noted_source(self.distribution)
        if folder is None or self.distribution is None:
            return folder, why
        other = source.other_than_installed(folder, self.distribution)
        return (
            (folder, "") if other is None else (None, f"{other} in {folder} is not what is installed: install it anew")
        )

    @property
    def source(self) -> Path | None:
        """The folder that it was made in, with its tests."""
        return self._source[0]

    @property
    def no_source(self) -> str:
        """Why there is none, and what to do."""
        return self._source[1]

    @cached_property
    def code_folder(self) -> Path | None:
        """The package's own folder, or the file that its only module is."""
        if self.plugin is None:
            return None
        names = list(accumulate(self.plugin.made_by.__module__.split("."), "{}.{}".format))
        files = [getattr(sys.modules.get(each), "__file__", None) for each in names]  # a namespace package has none
        file = self.plugin.file or next((each for each in files if each), None)
        if file is None:
            return None
        return Path(file).parent if Path(file).name == "__init__.py" else Path(file)

    @cached_property
    def code(self) -> list[Code]:
        """Its modules."""
        if self.code_folder is None:
            return []
        files = self.code_folder.rglob("*.py") if self.code_folder.is_dir() else [self.code_folder]
        return code.read(files, self.code_folder.parent)

    @cached_property
    def tests(self) -> list[Code]:
        """Its tests' modules."""
        folder = self.source / "tests" if self.source else None
        return code.read(folder.rglob("*.py"), folder.parent) if folder else []

    @cached_property
    def readme(self) -> Readme:
        """Its README: those in its source, or the one in the package."""
        files = sorted(self.source.glob("README*")) if self.source else []
        if files:
            return Readme(each.read_text("utf-8", "replace") for each in files if each.is_file())
        return Readme([self.description])

    @property
    def description(self) -> str:
        """The README in the package."""
        return str((self.metadata.json if self.metadata else {}).get("description") or "")

    @cached_property
    def models(self) -> dict[str, dict[str, Any]] | None:
        """The JSON Schema of its settings model and of every model in it; `None` if there is no schema."""
        schema = schema_of(self.plugin.model) if self.plugin else None
        if self.plugin is None or schema is None:
            return None
        inner = {name: each for name, each in schema.get("$defs", {}).items() if each.get("type") == "object"}
        return {self.plugin.model.__name__: schema, **inner}

    @property
    def suite(self) -> Mapping[str, bool]:
        """The tests of its contract suite that were run, and whether each has passed; other plugins' do not count."""
        if self.tested is None or self.tested.code != 0 or self.plugin is None:
            return {}
        made_by = self.plugin.made_by
        return self.tested.suites.get(f"{made_by.__module__}:{made_by.__qualname__}", {})

    def has(self, hook: str) -> bool:
        """Whether the plugin has this hook."""
        return self.plugin is not None and hasattr(self.plugin.made_by, hook)

    @cached_property
    def tested(self) -> runs.Tested | None:
        """How its tests end; `None` if they cannot be run here, or may not."""
        if not self.run or self.source is None or not self.tests or not runs.is_there("pytest"):
            return None
        return runs.run_tests(self.source, within_s=self.within_s)

    @property
    def untyped(self) -> str | None:
        """What keeps mypy from saying what it finds in its code."""
        if self.source is None or self.code_folder is None:
            return None
        files = sorted(self.code_folder.rglob("*.py")) if self.code_folder.is_dir() else [self.code_folder]
        return source.switches_mypy_off(self.source, self.code_folder.stem, files)

    @cached_property
    def typed(self) -> runs.Ran | None:
        """What `mypy --strict` makes of its code; `None` if it cannot be run here, or may not."""
        if not self.run or self.source is None or self.code_folder is None or not runs.is_there("mypy"):
            return None
        roots = (self.source, self.source / "src")
        here = [root / self.code_folder.name for root in roots if (root / self.code_folder.name).exists()]
        return runs.run_mypy(here[0], self.source, within_s=self.within_s) if here else None


def properties(model: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The settings in a model's JSON Schema, by name."""
    found: dict[str, dict[str, Any]] = model.get("properties", {})
    return found
