"""Real peers for the HTTP plugin: an HTTP(S) server that can misbehave in every way, and a proxy that tunnels."""

import base64
import json
import socket
import socketserver
import ssl
import struct
import threading
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import trustme
from glycanbridge_http import Http, HttpSettings
from glycanbridge_http.samples import KNOWN
from serving import sample

from glycanbridge import Delivery
from glycanbridge.events import parse

PATH = "/hooks/zXcVbNeedleOfTheUrl"


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 64

    def handle_error(self, *_):
        """A client that goes away in the middle is no news."""


class Request:
    """A request as it came."""

    def __init__(self, handler, body):
        self.method, self.path, self.body = handler.command_as_it_came, handler.path, body
        self.headers = {name.lower(): value for name, value in handler.headers.items()}
        self.connection = handler.client_address

    @property
    def json(self):
        """The body's JSON."""
        return json.loads(self.body)


class Peer:
    """A service that takes everything, or makes whatever fault `answer` is: it gets the request's handler."""

    def __init__(self, tls=None):
        self.requests, self.answer, self.over, self.taken = [], None, threading.Event(), 0
        peer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def setup(self):
                peer.taken += 1
                super().setup()

            def parse_request(self):
                heard = super().parse_request()
                self.command_as_it_came, self.command = self.command, "POST"  # one method takes them all
                return heard

            def do_POST(self):
                length = int(self.headers.get("Content-Length") or 0)
                peer.requests.append(Request(self, self.rfile.read(length)))
                if peer.answer is None:
                    self.say(200, "taken")
                else:
                    peer.answer(self)

            def say(self, status, body="", **headers):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body.encode())))
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_):
                """Nothing: the tests ask."""

        self.server = _Server(("127.0.0.1", 0), Handler)
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.server.server_address[1]
        self.origin = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
        self.url = self.origin + PATH
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self._thread.start()

    def says(self, status, body="", **headers):
        """Answer everything so."""
        self.answer = lambda handler: handler.say(status, body, **headers)

    def sends(self, data, *, drop=False):
        """Answer everything with these bytes, then close the connection, or cut it off with a reset."""

        def answer(handler):
            handler.wfile.write(data)
            handler.close_connection = True
            if drop:
                handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                handler.connection.close()

        self.answer = answer

    def is_silent(self):
        """Take everything and say nothing, until the test is over."""
        self.answer = lambda _: self.over.wait(30)

    def drips(self, begun, every_s):
        """Say `begun`, then a letter now and then, and never come to an end."""

        def answer(handler):
            handler.wfile.write(begun)
            handler.close_connection = True
            with suppress(OSError):
                while not self.over.wait(every_s):
                    handler.wfile.write(b"o")

        self.answer = answer

    def close(self):
        """End it, with all of its threads."""
        self.over.set()
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


class Proxy:
    """Takes CONNECT, and leads every host to one address; a user and a password, if it wants them, as `user:word`."""

    def __init__(self, to_port, proof=None, answer=None):
        self.heads = []
        proxy = self

        class Handler(socketserver.StreamRequestHandler):
            timeout = 30

            def handle(self):
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    line = self.rfile.readline()
                    if not line:
                        return
                    head += line
                proxy.heads.append(head.decode())
                wanted = base64.b64encode((proof or "").encode()).decode()
                if answer is not None:
                    self.wfile.write(answer)
                    return
                if proof and f"proxy-authorization: basic {wanted}".lower() not in head.decode().lower():
                    self.wfile.write(b"HTTP/1.1 407 Refused\r\nContent-Length: 0\r\n\r\n")
                    return
                with socket.create_connection(("127.0.0.1", to_port), timeout=30) as there:
                    self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    back = threading.Thread(target=pump, args=(there, self.connection))
                    back.start()
                    pump(self.connection, there)
                    back.join()

        def pump(source, sink):
            with suppress(OSError):
                while data := source.recv(65_536):
                    sink.sendall(data)
            with suppress(OSError):
                sink.shutdown(socket.SHUT_WR)

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None
        self.port = self.server.server_address[1]
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self):
        """End it, with all of its threads."""
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


@pytest.fixture
def closed():
    """Gives a thing back, and closes it when the test is over: the last one first."""
    with ExitStack() as stack:

        def closed(thing):
            stack.callback(thing.close)
            return thing

        yield closed


@pytest.fixture
def peer(closed):
    """A service on this machine, without TLS."""
    return closed(Peer())


@pytest.fixture
def another_peer(closed):
    """Makes one more."""
    return lambda: closed(Peer())


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """A certificate authority of the tests' own, and its certificate's file."""
    authority = trustme.CA()
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    authority.file = file
    return authority


@pytest.fixture
def tls_peer(closed, authority):
    """Makes a service with TLS, whose certificate is for the names given; it may want one of the client's."""

    def make(*names, wants_certificate=False):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(*names).configure_cert(context)
        if wants_certificate:
            authority.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        return closed(Peer(context))

    return make


@pytest.fixture
def proxied(closed):
    """Makes a proxy before a peer."""
    return lambda peer, **told: closed(Proxy(peer.port, **told))


@pytest.fixture
def make(peer, closed):
    """Makes the plugin, by default for the service without TLS."""

    def make(*, events=KNOWN, **told):
        context = {"timeout_s": 30, "events": events}
        return closed(Http(HttpSettings.model_validate({"url": peer.url} | told, context=context)))

    return make


@pytest.fixture(scope="session")
def deliver():
    """Calls the hook of an event type with the vendor's sample, changed as told; its receipt."""

    def deliver(plugin, event_type="report-ready", *, event_id="a" * 64, attempt=1, **data):
        body = sample(event_type, data=data)
        delivery = Delivery(
            id=f"{event_id}:there", event_id=event_id, event_type=event_type, destination="there", attempt=attempt,
            received_at=datetime(2026, 11, 24, tzinfo=UTC), body=body,
        )  # fmt: skip
        return getattr(plugin, f"on_{event_type.replace('-', '_')}")(event=parse(body), delivery=delivery)

    return deliver
