"""Real FHIR R4 servers and validators for tests, each a process of its own behind a door that can do harm (`Front`).

`sekmet()` is SEKMET (Python): transactions, conditional references, SMART's token endpoint. `medplum()` is Medplum's
router (Node): transactions, or a server that takes them for batches. `validators()` are four, each of which finds what
others do not.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fhirkit
import httpx2
import pytest
from fhir.resources.R4B import get_fhir_model_class
from fhir_front import Front
from pydantic import ValidationError

HERE = Path(__file__).parent
NODE_PACKAGES = HERE / "medplum"
TESTS_TOKEN = "the-tests-own-way-in"
"""A bearer token that SEKMET takes whatever else it asks for: tests look behind the scenes with it."""

Resource = dict[str, Any]


class Program:
    """A process that says a line when it is ready, and answers each line that it is told with a line."""

    def __init__(self, command: list[str], log: Path, *, cwd: Path | None = None) -> None:
        self._log = log
        with log.open("ab") as stderr:
            self._process = subprocess.Popen(
                command, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True
            )
        self.ready = self._answer()

    def tell(self, line: object) -> Any:
        """Its answer to a line of JSON."""
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End it: it goes with its standard input."""
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _answer(self) -> Any:
        line = self._process.stdout.readline()
        if not line:
            self.close()
            pytest.fail(f"{' '.join(map(str, self._process.args))[:200]}: {self._log.read_text()[-2000:]}")
        return json.loads(line)


class Peer:
    """A FHIR server behind its door.

    `url` is its base URL as the plugin uses it, through `front`; what tests do and see by the other methods goes past
    the door and is not in `front.received`.
    """

    def __init__(self, url: str, front: Front, program: Program) -> None:
        self.url = url
        self.front = front
        self._program = program
        front.behind_port = program.ready["port"]
        behind = url.replace(f":{front.port}", f":{front.behind_port}")
        headers = {"Authorization": f"Bearer {TESTS_TOKEN}", "Content-Type": "application/fhir+json"}
        self._client = httpx2.Client(base_url=behind, headers=headers, timeout=30)

    def create(self, resource: Resource) -> Resource:
        """A resource as the server has it: with its id."""
        return self._told("POST", resource["resourceType"], json=resource)

    def patient(self, system: str, value: str, **more: object) -> Resource:
        """A new patient with an identifier."""
        return self.create({"resourceType": "Patient", "identifier": [{"system": system, "value": value}], **more})

    def read(self, reference: str) -> Resource:
        """What a reference such as `Patient/1` points at."""
        return self._told("GET", reference)

    def every(self, resource_type: str, **search: str) -> list[Resource]:
        """All resources of a type that the server has."""
        bundle = self._told("GET", resource_type, params={"_count": "1000", **search})
        return [
            entry["resource"] for entry in bundle.get("entry", []) if entry.get("search", {}).get("mode") != "outcome"
        ]

    def count(self, *resource_types: str) -> tuple[int, ...]:
        """How many there are of each type."""
        return tuple(len(self.every(each)) for each in resource_types)

    def let_in(self, *types: str, **more: object) -> None:
        """SEKMET only: who is let in from now on: `none`, `basic`, `bearer`, `smart`; the rest as its `ServerAuth`."""
        tokens = [TESTS_TOKEN, *more.pop("tokens", ())]
        self._program.tell({"server_auth": {"types": ["bearer", *types], "tokens": tokens, **more}})

    def begin_anew(self) -> None:
        """Forget all resources, faults and requests."""
        self._program.tell({"clear": True})
        self.front.be_well()

    def close(self) -> None:
        """End the server and its door."""
        self._client.close()
        self.front.close()
        self._program.close()

    def _told(self, method: str, path: str, **more: object) -> Any:
        answer = self._client.request(method, path, **more)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        return answer.json()


@contextmanager
def sekmet(folder: Path, **settings: object) -> Iterator[Peer]:
    """SEKMET with its data in `folder`. It lets everybody in until `let_in` says otherwise."""
    front = Front()
    url = f"{front.url}/fhir"
    told = {
        "base_url": url,
        "host": "127.0.0.1",
        "data_dir": str(folder),
        "own_private_key_path": str(folder / "none.pem"),
        "simulator": {"enabled": False},
        "server_auth": {"types": ["none"]},
        **settings,
    }
    yield from _served(url, front, [sys.executable, str(HERE / "sekmet_server.py"), json.dumps(told)], folder)


@contextmanager
def medplum(folder: Path, *, transactions: bool = True) -> Iterator[Peer]:
    """Medplum's router; without `transactions` it runs them as batches. Skips where Node or its packages lack."""
    node = needs_node()
    front = Front()
    url = f"{front.url}/fhir/R4"
    mode = "transactions" if transactions else "batch"
    yield from _served(url, front, [node, str(NODE_PACKAGES / "server.js"), url, mode], folder)


def _served(url: str, front: Front, command: list[str], folder: Path) -> Iterator[Peer]:
    try:
        program = Program(command, folder / "peer.log", cwd=folder)
    except BaseException:
        front.close()
        raise
    peer = Peer(url, front, program)
    try:
        yield peer
    finally:
        peer.close()


class Validators:
    """Medplum's validator, npm's `fhir`, `fhirkit-rs` and `fhir.resources`: no single one finds everything."""

    names = ("medplum", "npm-fhir", "fhirkit", "fhir.resources")

    def __init__(self, program: Program) -> None:
        self._program = program

    def problems_of(self, resource: Resource | bytes | str) -> dict[str, list[str]]:
        """The errors that each validator finds in a resource (or its JSON); in a Bundle, also those of its entries."""
        resource = json.loads(resource) if isinstance(resource, bytes | str) else resource
        inside = [entry["resource"] for entry in resource.get("entry", []) if "resource" in entry]
        found: dict[str, list[str]] = {name: [] for name in self.names}
        for each in [resource, *inside]:
            told = self._program.tell(each) | {"fhirkit": _fhirkit_errors(each), "fhir.resources": _model_errors(each)}
            for name, errors in told.items():
                found[name] += errors
        return found


@contextmanager
def validators(folder: Path) -> Iterator[Validators]:
    """All validators. Skips where Node or its packages are missing."""
    program = Program([needs_node(), str(NODE_PACKAGES / "validate.js")], folder / "validators.log")
    try:
        yield Validators(program)
    finally:
        program.close()


def needs_node() -> str:
    """Where Node is. Skips the test if it or its packages are missing, unless CI is set: there it fails."""
    node = shutil.which("node")
    if node and all((NODE_PACKAGES / "node_modules" / each).exists() for each in ("@medplum/fhir-router", "fhir")):
        return node
    lacking = "Node and the packages of plugins/ehr/tests/medplum: npm install --no-package-lock in that folder"
    if os.environ.get("CI"):
        pytest.fail(f"needs {lacking}")
    pytest.skip(f"needs {lacking}")


def _fhirkit_errors(resource: Resource) -> list[str]:
    try:
        issues = fhirkit.validate(json.dumps(resource))
    except ValueError as error:
        return [str(error)]
    return [f"{each.path}: {each.message}" for each in issues if each.severity == "error"]


def _model_errors(resource: Resource) -> list[str]:
    try:
        get_fhir_model_class(resource["resourceType"]).model_validate(resource)
    except ValidationError as error:
        return [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
    except ValueError as error:
        return [str(error)]
    return []
