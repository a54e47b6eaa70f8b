"""What every plugin has promised, held against the e-mail plugin."""

import ssl

import trustme
from glycanbridge_email import Email

from glycanbridge.testing import SmtpPeer, contract_suite

AUTHORITY = trustme.CA()


def mail_server():
    """One with TLS and a login."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("127.0.0.1").configure_cert(context)
    return SmtpPeer(tls=context, implicit=True, EHLO="250-peer\r\n250 AUTH PLAIN")


def settings(peer, folder):
    """All that may be told is told: so there is something to leak."""
    AUTHORITY.cert_pem.write_to_path(str(folder / "ca.pem"))
    return {
        "host": "127.0.0.1", "port": peer.port, "security": "tls", "ca_file": "ca.pem",
        "username": "bridge", "password": "correct-horse-4711", "personal": "full", "report": "attach",
        "sender": "bridge@clinic.example", "to": ["staff@clinic.example"],
        "connect_timeout_s": 2, "read_timeout_s": 1, "mail_timeout_s": 5,
    }  # fmt: skip


TestContract = contract_suite(Email, settings, peer=mail_server)
