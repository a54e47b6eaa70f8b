"""The plugins in examples/: built and installed as a stranger's, switched on by their README, in a real bridge."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from serving import sample, served, until

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def apprise(serving):
    """A bridge with the Apprise plugin, built and installed by pip beside it, and its README's bridge.yaml."""
    serving.packages.mkdir(exist_ok=True)
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation",
         "--target", serving.packages, EXAMPLES / "glycanbridge-apprise"],
        check=True, capture_output=True, timeout=110,
    )  # fmt: skip
    readme = (EXAMPLES / "glycanbridge-apprise" / "README.md").read_text(encoding="utf-8")
    (serving.folder / "var" / "webhook-secret").write_text((serving.folder / "secret").read_text())
    serving.config.write_text(re.search(r"```yaml\n(.*?)```", readme, re.DOTALL)[1])
    return serving


def test_the_readme_of_apprise_is_right(apprise):
    """Its example is one that `check` takes, and every setting is in its table."""
    done = apprise.run("check")
    (row,) = [each for each in apprise.rows("plugins", "list") if each["name"] == "apprise"]
    (listed,) = re.findall(r"## Settings\n(.*?)\n\n\*\*", (EXAMPLES / "glycanbridge-apprise" / "README.md").read_text(),
                           re.DOTALL)  # fmt: skip
    schema = json.loads(apprise.run("schema").stdout)["$defs"]["apprise"]

    assert done.returncode == 0, done.stdout + done.stderr
    assert "nurses: a message by Apprise to ntfy (urls.0), with personal: none\n" in done.stdout
    assert "delivery-dead -> nurses, ops" not in done.stdout
    assert (row["package"], row["contract"], row["error"]) == ("glycanbridge-apprise 0.1.0", ">=1.0,<2", None)
    assert set(re.findall(r"^\| `(\w+)`", listed, re.MULTILINE)) == set(schema["properties"])


def test_apprise_tells_what_was_given_up_in_a_real_bridge(apprise, glycanbridge_http_peer):
    """From GlycanAge's report over a destination that refuses it to a message, with nothing of Apprise's in the log."""
    far = glycanbridge_http_peer
    address = f"json://bridge:correct-horse-4711@127.0.0.1:{far.port}"
    apprise.configure({
        "ehr": {"plugin": "recorder", "settings": {"file": "taken.txt", "mode": "permanent"}},
        "ops": {"plugin": "apprise", "events": ["delivery-dead"], "settings": {"urls": [address]}},
    })  # fmt: skip

    with served(apprise):
        apprise.post(sample())
        until(lambda: far.requests)
        until(lambda: apprise.rows("deliveries", "list", "--destination", "ops", "--state", "delivered"))
    tried = apprise.run("destinations", "run", "ops", "try")

    assert far.requests[0].json["title"] == "A delivery was given up"
    assert "no such patient" not in far.requests[0].json["message"]
    assert (tried.stdout, tried.returncode) == ("JSON (urls.0): took it\n", 0)
    assert "correct-horse" not in apprise.log.read_text() + tried.stderr
