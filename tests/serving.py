"""A real bridge for tests: its folder, its plugins, the server's process, and a socket to speak HTTP over."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from glycanbridge.delivery import Delivery
from glycanbridge.signature import sign
from glycanbridge.testing import SECRET, sample_body

PATH = "/webhooks/glycanage"

RECORDER = '''
import os
from pathlib import Path

from pydantic import BaseModel

from glycanbridge import DestinationError, LocalPath, NotYetError, PermanentError, TemporaryError, hookimpl


class RecorderSettings(BaseModel, extra="forbid"):
    file: LocalPath
    mode: str = "take"


class Recorder:
    """Appends a line for each delivery to a file, or does with it what `mode` says."""

    Settings = RecorderSettings

    def __init__(self, settings):
        self.settings = settings

    def _take(self, event, delivery):
        mode = self.settings.mode
        errors = {"wait": TemporaryError, "refused": DestinationError, "unknown": NotYetError}
        if mode in errors and not Path(str(self.settings.file) + ".go").exists():
            raise errors[mode]("not yet")
        if mode == "permanent":
            raise PermanentError("no such patient")
        if mode == "exit":
            raise SystemExit(1)
        if mode == "bug":
            raise ValueError(f"cannot take {event.data}")
        if mode == "print":
            print("patient_123")
        with open(self.settings.file, "a", encoding="utf-8") as file:
            file.write(f"{delivery.id} {event.type} {delivery.attempt}\\n")
            file.flush()
            os.fsync(file.fileno())
        if mode == "die":
            os._exit(9)
        return "taken"

    @hookimpl
    def on_order_status_changed(self, event, delivery):
        return self._take(event, delivery)

    @hookimpl
    def on_assignment_status_changed(self, event, delivery):
        return self._take(event, delivery)

    @hookimpl
    def on_kit_received(self, event, delivery):
        return self._take(event, delivery)

    @hookimpl
    def on_report_ready(self, event, delivery):
        return self._take(event, delivery)

    @hookimpl
    def tells(self):
        return f"a line in\\n{self.settings.file.name}"

    @hookimpl
    def check(self):
        if self.settings.mode == "permanent":
            raise PermanentError("the far side refuses us")
        return "the file can be written"
'''


def sample(event_type: str = "report-ready", **changes: object) -> bytes:
    """The vendor's payload of a type, with changes to its top level; `data` is merged into its data."""
    return sample_body(event_type, **changes.pop("data", {}), top=changes)


def delivery(body: bytes | None = None, *, event_id="e1", event_type="report-ready", attempt=1) -> Delivery:
    """A delivery of a sample event to the destination `a`."""
    body = sample(event_type) if body is None else body
    now = datetime(2026, 11, 24, tzinfo=UTC)
    return Delivery(id=f"{event_id}:a", event_id=event_id, event_type=event_type, destination="a", attempt=attempt,
                    received_at=now, body=body)  # fmt: skip


def install_plugin(packages: Path, name: str, code: str, *, distribution: str | None = None) -> None:
    """Put a plugin into `packages` as pip would leave it: a module and its metadata. Its class is named like it."""
    distribution = distribution or f"glycanbridge-{name}"
    module = distribution.replace("-", "_")
    packages.mkdir(exist_ok=True)
    (packages / f"{module}.py").write_text(textwrap.dedent(code), encoding="utf-8")
    metadata = packages / f"{module}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[glycanbridge]\n{name} = {module}:{name.capitalize()}\n")


@dataclass(frozen=True)
class Answer:
    """An HTTP answer as it came over the socket."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def told(self) -> dict[str, str]:
        """The JSON in it."""
        return json.loads(self.body)


class Connection:
    """One connection, on which bytes are sent as they are."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), timeout=20)
        self._file = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answer(self) -> Answer | None:
        """The next answer (a 100 Continue is passed over); `None` if the connection was closed without one."""
        while True:
            line = self._file.readline()
            if not line:
                return None
            status, headers = int(line.split()[1]), {}
            while (line := self._file.readline()) not in (b"\r\n", b""):
                name, _, value = line.decode("latin-1").partition(":")
                headers[name.lower()] = value.strip()
            if status != 100:
                return Answer(status, headers, self._file.read(int(headers.get("content-length", 0))))

    def reset(self) -> None:
        """Go away without a word, as a sender's machine that was switched off."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        self._file.close()
        self.socket.close()


class Serving:
    """A bridge's folder, and the server's process when it runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.packages = folder / "packages"
        self.log = folder / "serve.log"
        self.config = folder / "bridge.yaml"
        self.program = [sys.executable, "-m", "glycanbridge"]
        (folder / "var").mkdir(parents=True, exist_ok=True)
        (folder / "secret").write_text(SECRET + "\n")
        self.configure({})

    def configure(self, destinations: dict[str, object], **more: object) -> None:
        """Write bridge.yaml (JSON is YAML): any free port, the tests' secret, these destinations."""
        receiver = {"listen": "127.0.0.1:0", "path": PATH, "secrets": ["${file:secret}"]}
        receiver |= more.pop("receiver", {})
        self.config.write_text(json.dumps({"receiver": receiver, "destinations": destinations, **more}, indent=1))

    @property
    def environ(self) -> dict[str, str]:
        """The environment in which the folder's plugins are installed."""
        path = os.pathsep.join(filter(None, [str(self.packages), os.environ.get("PYTHONPATH")]))
        return os.environ | {"PYTHONPATH": path, "GLYCANBRIDGE_CONFIG": str(self.config)}

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command of ours to its end."""
        command = [*self.program, *arguments]
        return subprocess.run(
            command, env=self.environ | more, cwd=self.folder, capture_output=True, text=True, timeout=60, check=False
        )

    def rows(self, *arguments: str) -> list[dict[str, object]]:
        """What a listing command says as JSON."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def start(self, *, under: Sequence[str] = ()) -> None:
        """Start the server, `under` a command such as strace's, and wait until it says where it listens."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*under, *self.program, "serve"],
                env=self.environ,
                cwd=self.folder,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        line = self.process.stdout.readline()
        assert line.startswith("listening on "), self.log.read_text()
        self.url = line.removeprefix("listening on ").strip()

    def stop(self, *, kill: bool = False) -> int:
        """End the server, in order or with SIGKILL; its exit code."""
        process = self.process  # once it has ended, whoever waits for that may start the next one
        if kill:
            process.kill()
        else:
            process.terminate()
        code = process.wait(30)
        process.stdout.close()
        return code

    def connect(self) -> Connection:
        """A new connection to the server."""
        parts = urlsplit(self.url)
        return Connection(parts.hostname, parts.port)

    def ask(self, data: bytes) -> Answer | None:
        """Send bytes on a new connection and read one answer."""
        connection = self.connect()
        try:
            connection.send(data)
            return connection.answer()
        finally:
            connection.close()

    def post(self, body: bytes, *headers: str, signature: str | None = "") -> Answer:
        """Post a body as GlycanAge would, correctly signed unless `signature` says otherwise (`None`: not at all)."""
        answer = self.ask(request(body, *headers, signature=signature))
        assert answer is not None
        return answer


def request(body: bytes, *headers: str, signature: str | None = "", method: str = "POST", path: str = PATH) -> bytes:
    """An HTTP request, correctly signed unless `signature` says otherwise."""
    lines = [f"{method} {path} HTTP/1.1", "Host: bridge", "Content-Type: application/json", *headers]
    if signature is not None:
        lines.append(f"X-GlycanAge-Signature: {signature or sign(body, SECRET)}")
    if not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


@contextmanager
def served(serving: Serving) -> Iterator[Serving]:
    """The server while the block runs; ended in order afterwards, whatever happened."""
    serving.start()
    try:
        yield serving
    finally:
        if serving.process.poll() is None:
            serving.stop()


def until(condition: object, *, timeout_s: float = 20) -> None:
    """Return as soon as `condition()` holds; fail if it does not within `timeout_s`."""
    tick, waited = threading.Event(), 0.0
    while not condition():
        assert waited < timeout_s, "it did not come to pass"
        tick.wait(0.02)
        waited += 0.02


def alive(pid: int) -> bool:
    """Whether a process runs: one that only waits for its parent to look at it does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
