"""`python -m bench.sinks KIND FILE`: a far side on loopback that takes all it is sent, and only counts it.

KIND is `smtp`, `slack`, `fhir` or `mllp`. It prints `listening on PORT`, and when it is ended writes to FILE how many
different things it has taken. It is as plain as can be: what is measured is who sends.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter
CAPABILITIES = {
    "resourceType": "CapabilityStatement",
    "fhirVersion": "4.0.1",
    "status": "active",
    "date": "2026-01-01",
    "kind": "instance",
    "format": ["json"],
    "rest": [
        {
            "mode": "server",
            "interaction": [{"code": "transaction"}],
            "resource": [
                {"type": name, "conditionalCreate": True, "conditionalUpdate": "single"}
                for name in ("DiagnosticReport", "Observation", "Patient")
            ],
        }
    ],
}


class Taken:
    """What was taken, each thing once."""

    def __init__(self) -> None:
        self._keys: set[str] = set()

    def add(self, told: bytes | str) -> None:
        """Take something."""
        content = told.encode() if isinstance(told, str) else told
        self._keys.add(hashlib.sha256(content).hexdigest())

    def __len__(self) -> int:
        return len(self._keys)


async def smtp(taken: Taken, reader: Reader, writer: Writer) -> None:
    """SMTP without anything: what is taken is a Message-ID."""
    writer.write(b"220 sink\r\n")
    while line := await reader.readline():
        word = line.split()[0].upper() if line.split() else b""
        if word == b"DATA":
            writer.write(b"354 go on\r\n")
            message = await reader.readuntil(b"\r\n.\r\n")
            found = re.search(rb"(?im)^message-id:\s*(\S+)", message)
            taken.add(found[1] if found else message)
            writer.write(b"250 taken\r\n")
        elif word == b"QUIT":
            writer.write(b"221 bye\r\n")
            return
        else:
            writer.write(b"250 yes\r\n")


async def mllp(taken: Taken, reader: Reader, writer: Writer) -> None:
    """HL7 v2 in frames: what is taken is a control id."""
    while True:
        frame = await reader.readuntil(b"\x1c\r")
        header = frame.split(b"\r")[0].split(b"|")
        taken.add(header[9])
        own = b"|".join([*header[:8], b"ACK", b"A1", b"P", b"2.5.1"])
        writer.write(own + b"\rMSA|AA|" + header[9] + b"\r\x1c\r")


async def slack(taken: Taken, reader: Reader, writer: Writer) -> None:
    """An incoming webhook: what is taken is a body."""
    async for _, _, body in requests(reader):
        taken.add(body)
        respond(writer, b"ok", "text/plain")


async def fhir(taken: Taken, reader: Reader, writer: Writer) -> None:
    """A FHIR server that takes transactions, and finds whatever is searched for."""
    async for method, target, body in requests(reader):
        path = urlsplit(target)
        name = path.path.rpartition("/")[2]
        if name == "metadata":
            told: Mapping[str, object] = CAPABILITIES
        elif method == "GET":
            system, _, value = parse_qs(path.query).get("identifier", ["|"])[0].partition("|")
            resource = {"resourceType": name, "id": "1", "identifier": [{"system": system, "value": value}]}
            entry = {"resource": resource, "search": {"mode": "match"}}
            told = {"resourceType": "Bundle", "type": "searchset", "total": 1, "entry": [entry]}
        else:
            taken.add(body)
            entries = json.loads(body)["entry"]
            made = [{"response": {"status": "201", "location": f"{_type(each)}/1/_history/1"}} for each in entries]
            told = {"resourceType": "Bundle", "type": "transaction-response", "entry": made}
        respond(writer, json.dumps(told).encode(), "application/fhir+json")


def _type(entry: dict[str, dict[str, str]]) -> str:
    return entry["resource"]["resourceType"]


async def requests(reader: Reader) -> AsyncIterator[tuple[str, str, bytes]]:
    """Each request on a connection that is kept open: its method, target and body."""
    while True:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError:
            return
        length = re.search(r"(?im)^content-length:\s*(\d+)", head)
        body = await reader.readexactly(int(length[1])) if length else b""
        method, target, _ = head.split(" ", 2)
        yield method, target, body


def respond(writer: Writer, body: bytes, content_type: str) -> None:
    """200, in one piece."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)


KINDS: dict[str, Callable[[Taken, Reader, Writer], Awaitable[None]]] = {
    "smtp": smtp, "mllp": mllp, "slack": slack, "fhir": fhir,
}  # fmt: skip


async def _connection(kind: str, taken: Taken, reader: Reader, writer: Writer) -> None:
    try:
        await KINDS[kind](taken, reader, writer)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # it has gone
    finally:
        writer.close()


async def _serve(kind: str) -> Taken:
    taken, ended = Taken(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    server = await asyncio.start_server(partial(_connection, kind, taken), "127.0.0.1", 0, limit=8 << 20)
    print(f"listening on {server.sockets[0].getsockname()[1]}", flush=True)
    await ended.wait()
    return taken


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(str(len(asyncio.run(_serve(sys.argv[1])))), encoding="ascii")
