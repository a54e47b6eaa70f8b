"""Receivers of HL7 v2 for tests: two real servers, and one that does whatever a test wants it to do."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from ehr_plugin import PATIENT, PRACTICE, Clock
from glycanbridge_ehr import Ehr, EhrSettings
from hl7.mllp import start_hl7_server
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.core import Message
from hl7apy.mllp import AbstractHandler, MLLPServer
from hl7apy.parser import parse_message

PATIENTS = f"patient_id,ehr_id,family,given,birth_date,sex\n{PATIENT},0042,Söhne,Zoë,1981-04-12,F\n"
START, END = b"\x0b", b"\x1c\x0d"


def control_id_of(message: bytes) -> str:
    """MSH-10."""
    return message.split(b"\r")[0].split(b"|")[9].decode()


def ack(message: bytes, code: str = "AA", *more: str, control_id: str | None = None) -> bytes:
    """A framed acknowledgement of a message, with more segments if there are any."""
    name = control_id_of(message) if control_id is None else control_id
    lines = [r"MSH|^~\&|EHR|CLINIC|GLYCANBRIDGE|GLYCANAGE|20230827||ACK^R01^ACK|1|P|2.5.1", f"MSA|{code}|{name}", *more]
    return START + "".join(f"{line}\r" for line in lines).encode() + END


@dataclass
class Wire:
    """One connection of a receiver's."""

    socket: socket.socket
    number: int
    """Counts from 1."""
    peer: Peer
    data: bytes = b""

    def message(self) -> bytes | None:
        """The next message; `None` once the sender has closed."""
        while END not in self.data:
            more = self.socket.recv(65_536)
            if not more:
                assert self.data == b"", "half a message"
                return None
            self.data += more
        frame, _, self.data = self.data.partition(END)
        assert frame.startswith(START)
        assert self.data == b"", "a second message before the first was acknowledged"
        self.peer.messages.append(frame[1:])
        return frame[1:]

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def closed(self) -> bool:
        """Wait until the sender closes; whether it said nothing more."""
        return self.socket.recv(1) == b""


def acknowledge(wire: Wire) -> None:
    """What a good receiver does."""
    while (message := wire.message()) is not None:
        wire.send(ack(message))


@dataclass
class Peer:
    """A receiver on 127.0.0.1 that does with each connection what it is told to."""

    behave: Callable[[Wire], object]
    tls: ssl.SSLContext | None = None
    messages: list[bytes] = field(default_factory=list)
    wires: list[Wire] = field(default_factory=list)
    faults: list[BaseException] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.threads.append(threading.Thread(target=self._accept))
        self.threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connection.settimeout(30)
            self.wires.append(Wire(connection, len(self.wires) + 1, self))
            self.threads.append(threading.Thread(target=self._serve, args=[self.wires[-1]]))
            self.threads[-1].start()

    def _serve(self, wire: Wire) -> None:
        try:
            if self.tls:
                wire.socket = self.tls.wrap_socket(wire.socket, server_side=True)
            self.behave(wire)
        except OSError:
            pass  # the sender went away, which is its right
        except BaseException as fault:
            self.faults.append(fault)
        finally:
            wire.socket.close()

    def close(self) -> None:
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for wire in self.wires:
            with suppress(OSError):
                wire.socket.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(30)
        assert self.faults == []


@contextmanager
def peer(behave: Callable[[Wire], object] = acknowledge, *, tls: ssl.SSLContext | None = None) -> Iterator[Peer]:
    """A receiver while the block runs."""
    it = Peer(behave, tls)
    try:
        yield it
    finally:
        it.close()


@contextmanager
def nobody() -> Iterator[int]:
    """A port on which nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


class _Strict(AbstractHandler):
    """hl7apy's handler for ORU^R01: what its strict validation takes is acknowledged, the rest refused."""

    def __init__(self, message: str, taken: list[str]) -> None:
        super().__init__(message)
        self.taken = taken

    def reply(self) -> str:
        parsed = parse_message(self.incoming_message, validation_level=VALIDATION_LEVEL.STRICT, find_groups=True)
        answer = Message("ACK", version="2.5.1", validation_level=VALIDATION_LEVEL.TOLERANT)
        answer.msa.msa_1 = "AA" if parsed.validate() else "AE"
        answer.msa.msa_2 = parsed.msh.msh_10.value
        self.taken.append(self.incoming_message)
        return answer.to_mllp()


@contextmanager
def hl7apy_receiver() -> Iterator[tuple[int, list[str]]]:
    """hl7apy's own server, strict, which closes after each acknowledgement: its port, and what it has taken."""
    taken: list[str] = []
    server = MLLPServer("127.0.0.1", 0, {"ORU^R01^ORU_R01": (_Strict, taken)}, timeout=30)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_address[1], taken
    finally:
        server.shutdown()
        server.server_close()
        thread.join(30)


@contextmanager
def python_hl7_receiver(tls: ssl.SSLContext | None = None) -> Iterator[tuple[int, list[object]]]:
    """python-hl7's asyncio server, which keeps connections: its port, and the messages as it parsed them."""
    taken: list[object] = []

    async def serve(reader, writer) -> None:
        try:
            while True:
                message = await reader.readmessage()
                taken.append(message)
                writer.writemessage(message.create_ack())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the sender has closed
        finally:
            writer.transport.abort()
            with suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()

    async def run() -> None:
        server = await start_hl7_server(serve, "127.0.0.1", 0, encoding="utf-8", limit=8 << 20, ssl=tls)
        ports.append(server.sockets[0].getsockname()[1])
        ready.set()
        async with server:
            await stop.wait()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for each in others:
            each.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)  # the transports' last word

    ports: list[int] = []
    ready, stop, loop = threading.Event(), asyncio.Event(), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=[run()])
    thread.start()
    assert ready.wait(30)
    try:
        yield ports[0], taken
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        loop.close()


class Certificates:
    """An authority of the tests' own, and what it has signed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.ca_file = folder / "ca.pem"
        self.authority.cert_pem.write_to_path(self.ca_file)

    def server(self, *names: str, expired: bool = False, asks: bool = False) -> ssl.SSLContext:
        """A receiver's side of TLS, with a certificate for these names; `asks` for one of the sender's."""
        until = datetime.now(UTC) - timedelta(days=1) if expired else None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.authority.issue_cert(*(names or ("127.0.0.1",)), not_after=until).configure_cert(context)
        if asks:
            self.authority.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def own(self, name: str = "bridge.clinic.example") -> dict[str, str]:
        """Settings with a certificate of our own, and its key."""
        issued = self.authority.issue_cert(name)
        certificate, key = self.folder / "own.pem", self.folder / "own.key"
        certificate.write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        return {"certificate_file": str(certificate), "key_file": str(key)}


def hl7_settings(folder: Path, **way: object) -> EhrSettings:
    """Settings for `mllp` or `drop`, with the file of patients that is in `folder`; one is made if there is none."""
    folder.mkdir(exist_ok=True)
    patients = folder / "patients.csv"
    if not patients.exists():
        patients.write_text(PATIENTS, encoding="utf-8")
    told = {"practices": [PRACTICE], "state": str(folder / "state"), "patients": str(patients)}
    return EhrSettings.model_validate(told | way)


@contextmanager
def sender(port: int, folder: Path, *, clock: Clock | None = None, **mllp: object) -> Iterator[Ehr]:
    """The plugin for a receiver on 127.0.0.1, without TLS unless it is told to; closed afterwards."""
    own = {name: mllp.pop(name) for name in list(mllp) if name in EhrSettings.model_fields}
    told = {"host": "127.0.0.1", "port": port, "tls": False, "ack_timeout_s": 10} | mllp
    plugin = Ehr(hl7_settings(folder, mllp=told, **own), clock=clock or Clock())
    try:
        yield plugin
    finally:
        plugin.close()
