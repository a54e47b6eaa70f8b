"""Mail servers for the tests: a real one with TLS and a login, and one that does as it is told."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from email import message_from_bytes, policy

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from glycanbridge_email import Email, EmailSettings
from serving import delivery, sample

from glycanbridge.bridge_events import parse_kept
from glycanbridge.testing import SmtpPeer

PASSWORD = "correct-horse-4711"


class Listening(Controller):
    """aiosmtpd on any free port: it must be told which one that was."""

    def _trigger_server(self):
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


class Mailbox:
    """A real mail server: STARTTLS or TLS, a login, and what it has taken."""

    def __init__(self, context, *, implicit=False, login=True):
        self.taken = []
        """(recipients, bytes) of each mail."""
        self.logins = 0
        self.greeted = 0
        """EHLOs: two for each connection with STARTTLS."""
        self.when_taken = lambda: None
        more = {"authenticator": self._log_in, "auth_required": True} if login else {}
        more |= {"ssl_context": context} if implicit else {"tls_context": context, "require_starttls": True}
        self.controller = Listening(self, hostname="127.0.0.1", port=0, auth_require_tls=not implicit, **more)
        self.controller.start()
        self.port = self.controller.port

    def _log_in(self, server, session, envelope, mechanism, data):
        self.logins += 1
        right = (data.login, data.password) == (b"bridge", PASSWORD.encode())
        return AuthResult(success=right, handled=False)

    async def handle_EHLO(self, server, session, envelope, hostname, responses):  # noqa: N802 (aiosmtpd's name)
        session.host_name = hostname
        self.greeted += 1
        return responses

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 (aiosmtpd's name)
        self.taken.append((list(envelope.rcpt_tos), bytes(envelope.original_content)))
        self.when_taken()
        return "250 2.0.0 taken as 4711 for patient_123"

    @property
    def mails(self):
        """What it has taken, as mail programs read it."""
        return [message_from_bytes(content, policy=policy.default) for _, content in self.taken]

    def stop(self):
        self.controller.stop()


class Peer(SmtpPeer):
    """A mail server without manners: what it answers at each step is chosen by the test."""

    @property
    def taken(self):
        """(recipients, bytes) of each mail, as a `Mailbox` has them."""
        return [(list(each.recipients), each.content) for each in self.mails]


@pytest.fixture(scope="session")
def authority():
    """A clinic's own certificate authority."""
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority, tmp_path_factory):
    """Its certificate, as a file."""
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(file)
    return file


@pytest.fixture(scope="session")
def context_for():
    """Makes a server's side of TLS, with a certificate of an authority."""

    def make(authority, name="localhost", **more):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name, **more).configure_cert(context)
        return context

    return make


@pytest.fixture
def mailbox(authority, context_for):
    """A real mail server with STARTTLS and a login."""
    mailbox = Mailbox(context_for(authority))
    yield mailbox
    mailbox.stop()


@pytest.fixture
def make_mailbox():
    """Makes real mail servers."""
    made = []

    def make(*args, **how):
        made.append(Mailbox(*args, **how))
        return made[-1]

    yield make
    for each in made:
        each.stop()


@pytest.fixture
def peer():
    """Makes mail servers without manners."""
    made = []

    def make(**told):
        made.append(Peer(**told))
        return made[-1]

    yield make
    for each in made:
        each.close()


class HandClock:
    """Seconds since the epoch, turned by hand. It begins on Monday, 23 November 2026, at 10:00 in Zagreb."""

    def __init__(self):
        self.now = datetime(2026, 11, 23, 9, tzinfo=UTC).timestamp()

    def __call__(self):
        return self.now

    def turn(self, seconds):
        """Let time pass."""
        self.now += seconds

    @property
    def moment(self):
        """Now, as a delivery tells times."""
        return datetime.fromtimestamp(self.now, UTC)


@pytest.fixture
def clock():
    """A wall clock to turn by hand."""
    return HandClock()


@pytest.fixture
def settings(tmp_path):
    """Makes settings for a server on this machine, without TLS unless told otherwise."""

    def make(port=1, *, context=None, **more):
        told = {"host": "127.0.0.1", "port": port, "security": "plain", "sender": "bridge@clinic.example"}
        told |= {"to": ["staff@clinic.example"], "state": tmp_path / "email"} | more
        return EmailSettings.model_validate(told, context=context)

    return make


@pytest.fixture
def make(settings, clock):
    """Makes instances of the plugin, and closes them."""
    made = []

    def make_it(port=1, **more):
        made.append(Email(settings(port, **more), clock=clock))
        return made[-1]

    yield make_it
    for each in made:
        each.close()


@pytest.fixture
def secure(make, ca_file):
    """Makes instances that log in by STARTTLS, as a clinic has them."""

    def make_it(mailbox, **more):
        login = {"username": "bridge", "password": PASSWORD, "ca_file": ca_file}
        return make(mailbox.port, **{"host": "localhost", "security": "starttls"} | login | more)

    return make_it


@pytest.fixture
def deliver(clock):
    """Calls the hook for an event of a type, changed by what is given."""

    def call(plugin, event_type="report-ready", number=1, *, attempt=1, received_at=None, timestamp=None, **data):
        changes = {} if timestamp is None else {"timestamp": timestamp}
        body = sample(event_type, data=data, **changes)
        owed = delivery(body, event_id=f"event{number}", event_type=event_type, attempt=attempt)
        owed = type(owed)(
            id=owed.id, event_id=owed.event_id, event_type=event_type, destination="a", attempt=attempt,
            received_at=received_at or clock.moment, body=body,
        )  # fmt: skip
        return getattr(plugin, f"on_{event_type.replace('-', '_')}")(event=parse_kept(body), delivery=owed)

    return call
