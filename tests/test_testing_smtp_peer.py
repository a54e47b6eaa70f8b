"""The SMTP peer: it keeps the mails that it takes, says at each step what it is told, and ends cleanly."""

from __future__ import annotations

import smtplib
import ssl
import threading

import pytest
import trustme

from glycanbridge.testing import Fault, SmtpPeer

MAIL = b"Subject: Report\r\n\r\nIt is ready.\r\n.hidden\r\n"
TO = ["a@clinic.example", "b@clinic.example"]


def send(peer, *, to=TO, mail=MAIL, timeout=5):
    """A mail, sent by the standard library's client; whom it was refused for."""
    with smtplib.SMTP("127.0.0.1", peer.port, "client.example", timeout) as client:
        return client.sendmail("bridge@clinic.example", to, mail)


@pytest.fixture
def peer(glycanbridge_smtp_peer):
    """A mail server on loopback."""
    return glycanbridge_smtp_peer


def test_a_mail_that_it_takes_is_kept_whole(peer):
    """From whom, to whom, and every byte: the dots that hide dots are gone."""
    assert send(peer) == {}

    (mail,) = peer.mails
    assert (mail.sender, mail.recipients, mail.content) == ("bridge@clinic.example", tuple(TO), MAIL)
    assert mail.message["Subject"] == "Report"
    assert [each.partition(" ")[0].upper() for each in peer.commands] == [
        "EHLO",
        "MAIL",
        "RCPT",
        "RCPT",
        "DATA",
        "QUIT",
    ]
    assert peer.connections == 1


@pytest.mark.parametrize(
    ("steps", "error", "code"),
    [
        ({"connect": "421 4.3.2 busy"}, smtplib.SMTPConnectError, 421),
        ({"MAIL": "550 5.7.1 not you"}, smtplib.SMTPSenderRefused, 550),
        ({"DATA": "451 4.3.0 later"}, smtplib.SMTPDataError, 451),
        ({"end": "554 5.6.0 no"}, smtplib.SMTPDataError, 554),
    ],
)
def test_every_step_says_what_it_is_told(peer, steps, error, code):
    """And nothing is taken then."""
    peer.answer(**steps)

    with pytest.raises(error) as raised:
        send(peer)
    assert raised.value.smtp_code == code
    assert peer.mails == []


def test_each_address_and_each_time_can_have_its_own_reply(peer):
    """Some recipients are refused, some are asked to come back, and the next time all is well."""
    peer.answer(RCPT={TO[1]: "550 5.1.1 nobody"})
    assert list(send(peer)) == [TO[1]]

    peer.answer(end=["451 4.3.0 later", "250 ok"])
    with pytest.raises(smtplib.SMTPDataError):
        send(peer)
    assert send(peer) == {}
    peer.answer(RCPT=lambda line: f"550 not {line}")
    with pytest.raises(smtplib.SMTPRecipientsRefused, match=r"not rcpt TO:<a@clinic.example>"):
        send(peer, to=TO[:1])
    peer.be_well()
    assert send(peer) == {}
    assert [each.recipients for each in peer.mails] == [(TO[0],), tuple(TO), tuple(TO)]


def test_a_step_that_there_is_not_is_refused(peer):
    """It would never be asked, and the test would test nothing."""
    with pytest.raises(ValueError, match="rcpt is no step: write a command in capitals"):
        peer.answer(rcpt="550 no")
    with pytest.raises(ValueError, match="context is no step"):
        SmtpPeer(context=None)


@pytest.mark.parametrize("step", ["connect", "MAIL", "RCPT", "DATA", "content", "end"])
@pytest.mark.parametrize("fault", [Fault.RESET, Fault.CLOSE, Fault.RESET_MIDWAY, Fault.CLOSE_MIDWAY, Fault.HANG])
def test_every_step_can_misbehave(peer, step, fault):
    """After the end of the mail nobody knows whether it was taken; it was not."""
    peer.answer(**{step: fault})

    with pytest.raises((OSError, smtplib.SMTPException)):
        send(peer, timeout=0.3)
    assert peer.mails == []


def test_a_drip_never_comes_to_an_end(peer):
    """A client whose timeout is for each read alone would wait for ever: it must have another one."""
    peer.answer(connect=Fault.DRIP)
    ended = []

    def wait():
        with pytest.raises((OSError, smtplib.SMTPException)):
            send(peer, timeout=0.5)
        ended.append(True)

    client = threading.Thread(target=wait)
    client.start()
    client.join(1.5)

    assert client.is_alive()
    peer.close()
    client.join(10)
    assert ended


@pytest.fixture
def contexts():
    """The two sides of TLS."""
    authority, server = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


def test_it_speaks_starttls_and_takes_a_login(contexts):
    """As most mail servers want it; a login that it refuses is one more step."""
    server, trusting = contexts
    with SmtpPeer(tls=server) as peer:
        with smtplib.SMTP("127.0.0.1", peer.port, "client.example", timeout=5) as client:
            client.starttls(context=trusting)
            client.ehlo()
            client.esmtp_features["auth"] = "PLAIN"
            client.login("bridge", "word")
            client.sendmail("bridge@clinic.example", TO, MAIL)
        assert len(peer.mails) == 1
        peer.answer(AUTH="535 5.7.8 no")
        with smtplib.SMTP("127.0.0.1", peer.port, "client.example", timeout=5) as client:
            client.starttls(context=trusting)
            client.ehlo()
            client.esmtp_features["auth"] = "PLAIN"
            with pytest.raises(smtplib.SMTPAuthenticationError):
                client.login("bridge", "word")


def test_it_speaks_tls_from_the_first_byte(contexts):
    """Port 465 is so."""
    server, trusting = contexts
    with SmtpPeer(tls=server, implicit=True) as peer:
        with smtplib.SMTP_SSL("127.0.0.1", peer.port, "client.example", timeout=5, context=trusting) as client:
            client.sendmail("bridge@clinic.example", TO, MAIL)
        assert len(peer.mails) == 1
        with pytest.raises((OSError, smtplib.SMTPException)):
            smtplib.SMTP("127.0.0.1", peer.port, "client.example", timeout=0.5)


def test_nothing_is_left_of_it():
    """No thread and no socket, whatever it was in the middle of."""
    before = threading.active_count()
    with SmtpPeer(end=Fault.HANG) as peer, pytest.raises((OSError, smtplib.SMTPException)):
        send(peer, timeout=0.3)

    peer.close()

    assert threading.active_count() == before
    with pytest.raises(ConnectionRefusedError):
        send(peer)
