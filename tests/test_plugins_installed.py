"""Each plugin of this repository, installed by pip beside the core and nothing else, as a clinic does it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PLUGINS = sorted(each.parent.name for each in (ROOT / "plugins").glob("*/pyproject.toml"))
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Run:
    """A virtual environment with the core alone; runs what is in it, and knows nothing of this one's packages."""
    folder = tmp_path_factory.mktemp("clinic")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True, timeout=110)
    environ = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH"}}
    scripts = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")

    def run(command: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [scripts / command, *arguments], cwd=folder, env=environ, capture_output=True, text=True, timeout=200,
            check=False,
        )  # fmt: skip

    install(run, ROOT)
    return run


def install(run: Run, package: Path) -> None:
    """Install a package with what it needs."""
    done = run("pip", "install", "-q", "-c", ROOT / "constraints.txt", package)
    if "No matching distribution" in done.stderr and "CI" not in os.environ:
        pytest.skip("pip reaches no package registry from here")
    assert done.returncode == 0, done.stderr


def packages(run: Run) -> set[str]:
    """What is installed."""
    done = run("pip", "list", "--format", "json")
    return {each["name"] for each in json.loads(done.stdout)}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("plugin", PLUGINS)
def test_each_plugin_is_found_where_only_the_core_is_installed(environment, plugin):
    """It names everything that it needs itself: nothing is there because another plugin has brought it.

    Afterwards all that came with it goes, so that the next one finds the core alone.
    """
    before = packages(environment)
    assert not [each for each in before if each.startswith("glycanbridge-")]
    install(environment, ROOT / "plugins" / plugin)

    listed = environment("glycanbridge", "plugins", "list", "--json")

    (row,) = [json.loads(line) for line in listed.stdout.splitlines()]
    assert (row["name"], row["package"].split()[0], row["error"]) == (plugin, f"glycanbridge-{plugin}", None)
    assert row["events"]
    gone = environment("pip", "uninstall", "-q", "-y", *sorted(packages(environment) - before))
    assert gone.returncode == 0, gone.stderr
    assert environment("glycanbridge", "plugins", "list", "--json").stdout == ""
    assert packages(environment) == before
