"""The benchmark of the plugins runs and tells; and would it notice a delivery that never arrived?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.plugins import CASES, Case, as_text, measurements

ROOT = Path(__file__).parent.parent


def test_every_plugin_is_measured_beside_one_that_does_nothing(tmp_path):
    """With so few deliveries that the figures say nothing: it is about the benchmark, not about the speed."""
    tiny = ["--deliveries", "30", "--rounds", "1", "--folder", str(tmp_path), "--json", str(tmp_path / "told.json")]
    command = [sys.executable, "-m", "bench.plugins", *tiny]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)

    assert done.returncode == 0, done.stderr + done.stdout
    lines = done.stdout.splitlines()
    assert [case.name for case in CASES if not any(line.startswith(f"{case.name} ") for line in lines)] == []
    assert {case.plugin for case in CASES} == {"noop", *(each.name for each in (ROOT / "plugins").iterdir())}
    assert [each.name for each in tmp_path.iterdir()] == ["told.json"]


def test_deliveries_that_reached_nobody_are_told(tmp_path):
    """A harness that cannot fail proves nothing."""
    liar = Case(name="liar", plugin="noop", settings="counts: counts", sink="slack")

    (measured,) = measurements([liar], deliveries=20, rounds=1, within=tmp_path)

    assert measured.wrong == "the far side took 0 of 20 deliveries"
    assert "BROKEN: round 1, liar: the far side took 0 of 20 deliveries" in as_text([measured])
