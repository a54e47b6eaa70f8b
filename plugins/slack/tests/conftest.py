"""Real peers for the Slack plugin: an HTTP(S) server that answers as Slack does, and a proxy that tunnels."""

import base64
import re
import socket
import socketserver
import ssl
import threading
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime

import pytest
import trustme
from glycanbridge_slack import Slack, SlackSettings
from serving import sample

from glycanbridge import Delivery
from glycanbridge.events import parse
from glycanbridge.testing import Answer, HttpPeer

TOKEN = "zXcVbNmNeedleOfTheWebhook"
PATH = f"/services/T0NEEDLE/B0NEEDLE/{TOKEN}"


def text_faults(told, longest):
    """What is wrong with a text object: Slack would refuse it, or it would do something, or hide something."""
    text = told["text"]
    if set(told) != {"type", "text", "emoji"} or told["type"] != "plain_text" or told["emoji"] is not False:
        yield f"no plain_text object without emoji: {told}"
    if not 1 <= len(text) <= longest:
        yield f"{len(text)} characters, not 1 to {longest}"
    if re.search(r"[<>]|&(?!(amp|lt|gt);)", text):
        yield f"markup: {text!r}"
    if not all(each.isprintable() or each == "\n" for each in text):
        yield f"what nobody can see: {text!r}"


LIMITS = {
    ("header", "text"): 150,
    ("section", "text"): 3000,
    ("section", "fields"): 2000,
    ("context", "elements"): 2000,
}
"""Characters of each text, by block and what it holds; of fields and elements there may be ten."""


def texts_of(block):
    """A block's text objects, and how long each may be; `None` for a block that we do not make."""
    (held,) = set(block) - {"type"}
    return (block[held] if isinstance(block[held], list) else [block[held]]), LIMITS.get((block["type"], held))


def block_kit_faults(payload):
    """Everything for which Slack would refuse a message, or that would do something in it; told apart from the SDK."""
    if set(payload) != {"text", "blocks", "unfurl_links", "unfurl_media", "link_names"}:
        return ["another shape"]
    faults, length = [], 0
    if not re.fullmatch(r"[A-Z][a-z ]{1,60}", payload["text"]):
        faults.append("a notification that is no plain sentence")
    if any(payload[name] is not False for name in ("unfurl_links", "unfurl_media", "link_names")):
        faults.append("Slack would look for links and names")
    if not 1 <= len(payload["blocks"]) <= 50:
        faults.append(f"{len(payload['blocks'])} blocks")
    for block in payload["blocks"]:
        texts, longest = texts_of(block)
        if longest is None or not 1 <= len(texts) <= 10:
            faults.append(f"no such block: {block['type']} with {len(texts)} texts")
            continue
        faults += [fault for each in texts for fault in text_faults(each, longest)]
        length += sum(len(each["text"]) for each in texts)
    return [*faults, f"{length} characters in all blocks"] if length > 12_000 else faults


def shown_in(payload):
    """What a person reads in a message: every text in it, in order."""
    return [each["text"] for block in payload["blocks"] for each in texts_of(block)[0]]


class Peer(HttpPeer):
    """Slack as its documentation has it, until it is told to answer otherwise."""

    def __init__(self, tls=None):
        self.messages = []
        super().__init__(self.as_slack, tls=tls)

    @property
    def url(self):
        """The address of its one webhook."""
        return super().url + PATH

    def as_slack(self, request):
        """Take a message, refuse one without text, and one that its limits forbid."""
        if request.path != PATH:
            return Answer(404, "no_service")
        if request.headers["Content-Type"].partition(";")[0] != "application/json":
            return Answer(400, "invalid_payload")
        if not request.json.get("text"):
            return Answer(400, "no_text")
        if block_kit_faults(request.json):
            return Answer(400, "invalid_blocks")
        self.messages.append(request.json)
        return Answer(200, "ok")


class Proxy:
    """Takes CONNECT, and leads every host to one address; a user and a password, if it wants them, as `user:word`."""

    def __init__(self, to_port, proof=None, refuses=None):
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
                if refuses or (proof and f"Proxy-Authorization: Basic {wanted}\r\n" not in head.decode()):
                    self.wfile.write(f"HTTP/1.1 {refuses or 407} Refused\r\n\r\n".encode())
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


@contextmanager
def closing_all():
    """A function that has each thing it is given closed in the end."""
    with ExitStack() as stack:

        def closed(thing):
            stack.callback(thing.close)
            return thing

        yield closed


@pytest.fixture
def closed():
    """Gives a thing back, and closes it when the test is over."""
    with closing_all() as closed:
        yield closed


@pytest.fixture
def slack(closed):
    """Slack on this machine, without TLS."""
    return closed(Peer())


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """A certificate authority of the tests' own, and its certificate's file."""
    authority = trustme.CA()
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    authority.file = file
    return authority


@pytest.fixture
def tls_slack(closed, authority):
    """Makes a Slack with TLS, whose certificate is for the names given."""

    def make(*names):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(*names).configure_cert(context)
        return closed(Peer(context))

    return make


@pytest.fixture
def proxied(closed):
    """Makes a proxy before a peer."""
    return lambda peer, **told: closed(Proxy(peer.port, **told))


@pytest.fixture
def make(slack):
    """Makes the plugin, by default for the Slack without TLS."""
    return lambda **told: Slack(SlackSettings(**{"webhook_url": slack.url} | told))


@pytest.fixture(scope="session")
def kit():
    """The checker of messages, and what a person reads in one."""

    class Kit:
        faults = staticmethod(block_kit_faults)
        shown = staticmethod(shown_in)

    return Kit


@pytest.fixture(scope="session")
def deliver():
    """Calls the hook of an event type with the vendor's sample, changed as told; its receipt."""

    def deliver(plugin, event_type="report-ready", *, event_id="a" * 64, attempt=1, **data):
        body = sample(event_type, data=data)
        delivery = Delivery(
            id=f"{event_id}:slack", event_id=event_id, event_type=event_type, destination="slack", attempt=attempt,
            received_at=datetime(2026, 11, 24, tzinfo=UTC), body=body,
        )  # fmt: skip
        return getattr(plugin, f"on_{event_type.replace('-', '_')}")(event=parse(body), delivery=delivery)

    return deliver
