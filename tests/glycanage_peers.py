"""A small GlycanAge for tests: its webhooks, over a real socket, and a bridge's folder whose settings name it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from contextlib import chdir
from pathlib import Path

from click.testing import CliRunner, Result

from glycanbridge.cli import main
from glycanbridge.testing import Answer, HttpPeer, HttpRequest

EMAIL, TOKEN = "lab@clinic.example", "tok-0123456789abcdef"
SECRET = "an-old-secret-of-more-than-32-characters"
AUTHORIZATION = "Basic " + base64.b64encode(f"{EMAIL}:{TOKEN}".encode()).decode()
PUBLIC = "https://bridge.clinic.example/webhooks/glycanage"
YAML = """\
# A clinic's own file: every word of it stays.
receiver:
  listen: 127.0.0.1:0
  secrets:                          # any one of them may have signed
    - ${{file:var/webhook-secret}}    # the one that init wrote

glycanage:
  base_url: {base_url}
  email: lab@clinic.example
  token: ${{env:GLYCANAGE_TOKEN:-tok-0123456789abcdef}}
  public_url: https://bridge.clinic.example/webhooks/glycanage
  timeout_s: 5   # of patience
destinations: {{}}
"""


class Glycanage:
    """What GlycanAge remembers of webhooks, as the vendor's page has the calls; `answer` is a peer's function."""

    def __init__(self) -> None:
        self.webhooks: list[dict[str, object]] = []
        self.lose: set[str] = set()
        """Methods that are done, and whose answer is not what it should be: `lost`, once."""
        self.lost: object = None
        self._made = 0

    def answer(self, request: HttpRequest) -> object:
        """What it says to a request."""
        if request.headers["Authorization"] != AUTHORIZATION:
            return Answer(401)
        if request.method == "GET":
            return self._lost("GET", Answer(200, json.dumps(self.webhooks)))
        if request.method == "POST":
            self._made += 1
            told = {name: value for name, value in request.json.items() if name != "secret"}
            self.webhooks.append({"id": f"wh_{self._made}", **told, "status": "pending"})
            return self._lost("POST", Answer(201, json.dumps(self.webhooks[-1])))
        kept = [each for each in self.webhooks if request.path != f"/v1/webhooks/{each['id']}"]
        gone, self.webhooks = kept != self.webhooks, kept
        return self._lost("DELETE", Answer(204 if gone else 404))

    def approve(self) -> None:
        """Approve all there are."""
        for each in self.webhooks:
            each["status"] = "approved"

    def _lost(self, method: str, answer: Answer) -> object:
        if method not in self.lose:
            return answer
        self.lose.discard(method)
        return self.lost


class Clinic:
    """A bridge's folder: `bridge.yaml`, a secret, and the commands, run in this process."""

    def __init__(self, folder: Path, base_url: str, *, secret: str = SECRET) -> None:
        self.folder, self.config = folder, folder / "bridge.yaml"
        (folder / "var").mkdir(parents=True, exist_ok=True)
        (folder / "var" / "webhook-secret").write_text(secret + "\n")
        self.config.write_text(YAML.format(base_url=base_url))

    def run(self, *arguments: str, env: Mapping[str, str] | None = None) -> Result:
        """Run a command of ours; its stdout and stderr stand in order in `output`."""
        with chdir(self.folder):
            done = CliRunner().invoke(main, arguments, env=dict(env or {}))
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    def change(self, before: str, after: str) -> None:
        """Change a piece of bridge.yaml."""
        text = self.config.read_text()
        assert before in text
        self.config.write_text(text.replace(before, after))


def serve_glycanage(peer: HttpPeer) -> Glycanage:
    """Let a peer be GlycanAge."""
    glycanage = Glycanage()
    peer.answer(glycanage.answer)
    return glycanage
