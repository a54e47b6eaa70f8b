"""Each plugin of this repository, installed by pip beside the core and nothing else, as a clinic does it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PLUGINS = sorted(each.parent.name for each in (ROOT / "plugins").glob("*/pyproject.toml"))


@pytest.fixture
def environment(tmp_path):
    """An empty virtual environment; runs what is in it, and knows nothing of this one's packages."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True, timeout=110)
    environ = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH"}}
    scripts = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin")

    def run(command: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [scripts / command, *arguments], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=200,
            check=False,
        )  # fmt: skip

    return run


@pytest.mark.timeout(300)
@pytest.mark.parametrize("plugin", PLUGINS)
def test_each_plugin_is_found_where_only_the_core_is_installed(environment, plugin):
    """It names everything that it needs itself: nothing is there because another plugin has brought it."""
    done = environment("pip", "install", "-q", "-c", ROOT / "constraints.txt", ROOT, ROOT / "plugins" / plugin)
    if "No matching distribution" in done.stderr and "CI" not in os.environ:
        pytest.skip("pip reaches no package registry from here")
    assert done.returncode == 0, done.stderr

    listed = environment("glycanbridge", "plugins", "list", "--json")

    (row,) = [json.loads(line) for line in listed.stdout.splitlines()]
    assert (row["name"], row["package"].split()[0], row["error"]) == (plugin, f"glycanbridge-{plugin}", None)
    assert row["events"]
    gone = environment("pip", "uninstall", "-q", "-y", f"glycanbridge-{plugin}")
    assert gone.returncode == 0, gone.stderr
    assert environment("glycanbridge", "plugins", "list", "--json").stdout == ""
