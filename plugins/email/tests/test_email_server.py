"""Mail servers that refuse, hang, lie and go away: what each failure is taken for; nobody gets a mail twice."""

from __future__ import annotations

import socket
import sqlite3
import ssl
import sys
import threading
from contextlib import ExitStack, closing
from datetime import UTC, datetime

import pytest
import trustme
from glycanbridge_email import state
from glycanbridge_email.replies import MENDED_S, SOON_S
from glycanbridge_email.state import RETENTION_S

from glycanbridge import DestinationError, NotYetError, PermanentError, TemporaryError
from glycanbridge.retry import with_tries
from glycanbridge.testing import Fault

TWO = {"to": ["first@clinic.example", "second@clinic.example"]}
NEEDLES = ("patient_123", "KIT001234", "45.2", "clinic.example", "report_78901", "said the server")


def told(raised):
    """An error's text, which quotes neither the server nor the event nor a recipient."""
    text = str(raised.value)
    assert not [needle for needle in NEEDLES if needle in text]
    return text


# TLS


def test_a_server_without_starttls_gets_nothing(peer, make, deliver):
    """Whoever strips STARTTLS from the answer must not read a mail: never a silent downgrade."""
    server = peer()
    plugin = make(server.port, security="starttls")
    for call in (lambda: deliver(plugin), plugin.check):
        with pytest.raises(DestinationError, match="offers no STARTTLS, and nothing is sent without") as raised:
            call()
        assert raised.value.retry_after_s == MENDED_S
    assert {each.split()[0].lower() for each in server.commands} <= {"ehlo", "quit"}


def test_a_login_is_never_told_before_tls(peer, make, deliver):
    """Also when the server offers one at once."""
    server = peer(EHLO="250-peer\r\n250 AUTH PLAIN LOGIN")
    with pytest.raises(DestinationError, match="offers no STARTTLS"):
        deliver(make(server.port, security="starttls", username="bridge", password="secret-4711"))
    assert not [each for each in server.commands if each.upper().startswith(("AUTH", "MAIL"))]


def test_what_was_offered_before_tls_is_forgotten(peer, secure, deliver, authority, context_for):
    """And so is an answer that somebody put behind the STARTTLS answer, before TLS (CVE-2011-0411)."""
    offers = ["250-peer\r\n250-AUTH PLAIN\r\n250 STARTTLS", "250 peer"]
    server = peer(EHLO=offers, STARTTLS="220 go on\r\n250-evil\r\n250 AUTH PLAIN", tls=context_for(authority))
    with pytest.raises(DestinationError, match="offers no login that we know"):
        deliver(secure(server))
    assert not [each for each in server.commands if each.upper().startswith("AUTH")]


@pytest.mark.parametrize("answer", ["454 4.3.0 said the server", "501 said the server", "502 said the server"])
def test_a_server_that_offers_starttls_and_refuses_it_gets_nothing(peer, make, deliver, answer):
    """Nor is the conversation gone on with in plain."""
    server = peer(EHLO="250-peer\r\n250 STARTTLS", STARTTLS=answer)
    with pytest.raises(DestinationError, match=f"answered STARTTLS with {answer[:3]}") as raised:
        deliver(make(server.port, security="starttls"))
    told(raised)
    assert not [each for each in server.commands if each.upper().startswith("MAIL")]


CERTIFICATES = {
    "of an authority that we do not know": (trustme.CA(), "localhost", {}, "unable to get local issuer|self.signed"),
    "of another host": (None, "smtp.other.example", {}, "Hostname mismatch|match"),
    "that has expired": (None, "localhost", {"not_after": datetime(2025, 1, 1, tzinfo=UTC)}, "expired"),
}


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize("which", list(CERTIFICATES))
def test_a_certificate_that_is_not_right_is_refused(peer, *, secure, deliver, authority, context_for, which, security):
    """Always: there is no switch that turns this off."""
    issuer, name, more, why = CERTIFICATES[which]
    context = context_for(issuer or authority, name, **more)
    server = peer(tls=context, implicit=security == "tls", EHLO="250-peer\r\n250-AUTH PLAIN\r\n250 STARTTLS")
    plugin = secure(server, security=security)
    for call in (lambda: deliver(plugin), plugin.check):
        with pytest.raises(DestinationError, match=why) as raised:
            call()
        assert raised.value.retry_after_s == MENDED_S
        assert "its certificate is not taken" in told(raised)
    assert not [each for each in server.commands if each.upper().startswith(("AUTH", "MAIL"))]


def test_tls_from_the_first_byte(make_mailbox, secure, deliver, authority, context_for):
    """`security: tls`, as on port 465."""
    mailbox = make_mailbox(context_for(authority), implicit=True, login=False)
    plugin = secure(mailbox, security="tls", username=None, password=None)
    deliver(plugin)
    assert len(mailbox.taken) == 1
    assert "TLSv1." in plugin.check()


def test_an_old_version_of_tls_is_refused(peer, secure, deliver, authority, context_for):
    """Nothing below 1.2 is spoken."""
    context = context_for(authority)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    server = peer(tls=context, implicit=True)
    with pytest.raises(DestinationError, match="no TLS: "):
        deliver(secure(server, security="tls"))
    assert server.taken == []


def test_tls_where_none_is_spoken_says_which_port_goes_with_which_security(peer, make, deliver):
    """The commonest mistake: 587 and 465 mixed up."""
    server = peer()
    with pytest.raises(DestinationError, match=r"no TLS: .*587 is starttls, 465 tls") as raised:
        deliver(make(server.port, security="tls"))
    told(raised)


# Answers

LOGIN = "the login"
REFUSALS = [
    *(("connect", f"{code} said the server", DestinationError, SOON_S, "the greeting") for code in (421, 450)),
    ("connect", "554 5.7.1 said the server", DestinationError, MENDED_S, "the greeting with 554 5.7.1"),
    *(("EHLO", f"{code} said the server", DestinationError, SOON_S, "EHLO") for code in (421, 451)),
    ("EHLO", "550 said the server", DestinationError, MENDED_S, "EHLO with 550"),
    *(("AUTH", f"{code} said the server", DestinationError, MENDED_S, LOGIN) for code in (530, 534, 535, 538, 500)),
    *(("AUTH", f"{code} 4.7.0 said the server", DestinationError, SOON_S, "AUTH with 4") for code in (421, 454)),
    ("MAIL", "421 4.7.0 said the server", DestinationError, SOON_S, "MAIL with 421 4.7.0"),
    *(("MAIL", f"{code} said the server", TemporaryError, SOON_S, f"MAIL with {code}: not now") for code in (451, 452)),
    *(("MAIL", f"{code} said the server", DestinationError, MENDED_S, LOGIN) for code in (530, 535)),
    *(("MAIL", f"{code} said the server", DestinationError, MENDED_S, "the sender") for code in (501, 550, 553, 554)),
    ("MAIL", "552 5.3.4 said the server", PermanentError, None, "MAIL with 552 5.3.4: it refuses this mail"),
    ("RCPT", "421 said the server", DestinationError, SOON_S, "RCPT with 421"),
    ("RCPT", "530 said the server", DestinationError, MENDED_S, LOGIN),
    *(("RCPT", f"{code} said the server", TemporaryError, SOON_S, "nobody has") for code in (450, 451, 452, 552)),
    *(("RCPT", f"{code} said the server", PermanentError, None, r"to, number 1 \(5") for code in (550, 551, 553, 554)),
    (
        "RCPT",
        "554 5.7.1 said the server",
        DestinationError,
        MENDED_S,
        r"not allowed: to, number 1 \(554 5.7.1\); see that",
    ),
    ("DATA", "421 said the server", DestinationError, SOON_S, "DATA with 421"),
    ("DATA", "451 said the server", TemporaryError, SOON_S, "DATA with 451: not now"),
    ("DATA", "250 said the server", TemporaryError, SOON_S, "DATA with 250: not now"),
    ("DATA", "554 said the server", PermanentError, None, "DATA with 554: it refuses this mail"),
    ("end", "421 said the server", DestinationError, SOON_S, "the end of DATA with 421"),
    *(("end", f"{code} said the server", TemporaryError, SOON_S, "not now") for code in (450, 451, 452)),
    ("end", "530 said the server", DestinationError, MENDED_S, LOGIN),
    *(("end", f"{code} said the server", PermanentError, None, "it refuses this mail") for code in (550, 552, 554)),
]


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "end"])
def test_a_yes_in_another_number_is_a_yes(peer, make, deliver, step):
    """The first digit says it (RFC 5321, 4.2.1): else a mail that was taken is sent again and again."""
    server = peer(**{step: "252 2.0.0 ok"})
    receipt = deliver(make(server.port))
    assert receipt.endswith(" 252 2.0.0" if step == "end" else " 250 2.0.0")


def test_an_answer_to_the_mail_that_is_none_leaves_it_unknown(peer, make, deliver):
    """It was told whole: with `on_unknown: hold` it must not be sent again by itself."""
    server = peer(end="HTTP/1.1 400 Bad Request")
    with pytest.raises(TemporaryError, match="no SMTP answer to the end of DATA") as raised:
        deliver(make(server.port))
    assert raised.value.unknown


@pytest.mark.parametrize(
    ("step", "answer", "kind", "retry_after_s", "why"),
    REFUSALS,
    ids=[f"{step} {answer[:3]}" for step, answer, *_ in REFUSALS],
)
def test_a_refusal_is_taken_for_what_it_is_about(
    peer, *, secure, deliver, authority, context_for, step, answer, kind, retry_after_s, why
):
    """About everything, about this mail, or not for long: each costs something else. Only its numbers are told."""
    server = peer(tls=context_for(authority), implicit=True, EHLO="250-peer\r\n250 AUTH PLAIN")
    steps = {step: answer.replace("said the server", "said the server of patient_123 staff@clinic.example")}
    if (step, answer[0]) == ("EHLO", "5"):
        steps["HELO"] = answer
    server.answer(**steps)
    with pytest.raises(kind, match=why) as raised:
        deliver(secure(server, security="tls"))
    told(raised)
    assert getattr(raised.value, "retry_after_s", None) == retry_after_s
    assert server.taken == []


def test_a_wrong_password_is_tried_once_and_not_told(mailbox, secure, deliver):
    """Each try counts against the account, and what is wrong for one mail is wrong for all."""
    plugin = secure(mailbox, password="wrong-secret-4711")
    for number, call in enumerate((lambda: deliver(plugin), plugin.check), 1):
        with pytest.raises(DestinationError, match=r"AUTH with 535 5.7.8.*see that `username`") as raised:
            call()
        assert "wrong-secret" not in told(raised)
        assert mailbox.logins == number
    assert mailbox.taken == []


@pytest.mark.parametrize(("mechanism", "challenge"), [("LOGIN", "UGFzc3dvcmQ6"), ("CRAM-MD5", "PDEyM0BwZWVyPg==")])
def test_other_ways_to_log_in(peer, *, secure, deliver, authority, context_for, mechanism, challenge):
    """PLAIN is what nearly all have; some have only one of these."""
    server = peer(tls=context_for(authority), implicit=True, EHLO=f"250-peer\r\n250 AUTH {mechanism}")
    server.answer(AUTH=f"334 {challenge}")
    deliver(secure(server, security="tls"))
    assert server.commands[1].upper().startswith(f"AUTH {mechanism}")
    assert len(server.taken) == 1


@pytest.mark.parametrize("offer", ["250 peer", "250-peer\r\n250 AUTH GSSAPI XOAUTH2"])
def test_a_server_without_a_login_that_we_know_is_a_misconfiguration(
    peer, *, secure, deliver, authority, context_for, offer
):
    """Microsoft's and Google's own logins are none of ours: say so."""
    server = peer(tls=context_for(authority), implicit=True, EHLO=offer)
    with pytest.raises(DestinationError, match="offers no login that we know") as raised:
        deliver(secure(server, security="tls"))
    told(raised)


def test_a_server_of_old_that_knows_no_ehlo_is_spoken_to(peer, make, deliver):
    """A relay on the same machine, say."""
    server = peer(EHLO="500 what")
    deliver(make(server.port))
    assert len(server.taken) == 1


# Connections


def test_a_server_that_is_not_there_may_be_tried_again_at_once(make, deliver):
    """Refused at once: a blip costs nothing, and the schedule does the rest."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(TemporaryError, match=f"127.0.0.1:{port}: Connection refused; see that") as raised:
        deliver(make(port))
    assert raised.value.retry_after_s is None


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue is refused at once")
def test_a_host_that_does_not_take_the_connection_is_not_waited_for_for_long(make, deliver):
    """A firewall that drops what comes: here, a queue of connections that is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as waiting:
        for _ in range(3):
            one = waiting.enter_context(closing(socket.socket()))
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        plugin = make(listener.getsockname()[1], connect_timeout_s=0.3)
        with pytest.raises(TemporaryError, match="no answer at connecting in time") as raised:
            deliver(plugin)
    assert raised.value.retry_after_s == SOON_S


def test_a_host_that_nobody_knows_is_a_misconfiguration(make, deliver, monkeypatch):
    """It is asked for again soon, in case it was the name server that was away."""

    def unknown(*_args, **_more):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(DestinationError, match="host's name is not known; see that `host` is right") as raised:
        deliver(make(25, host="smtp.clinik.test"))
    assert raised.value.retry_after_s == SOON_S


STEPS = ["connect", "EHLO", "MAIL", "RCPT", "DATA", "end"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("how", [Fault.RESET, Fault.CLOSE, Fault.CLOSE_MIDWAY])
def test_a_connection_that_breaks_is_temporary_at_every_step(peer, make, deliver, step, how):
    """Half an answer is no answer, even if it could be read as one. After the mail nobody knows, and it says so."""
    server = peer(**{step: how})
    with pytest.raises(TemporaryError, match=r"closed the connection at|reset by peer; see that") as raised:
        deliver(make(server.port))
    text = told(raised)
    assert ("nobody knows whether it has the mail" in text) == (step == "end")
    assert raised.value.retry_after_s == (SOON_S if step == "end" else None)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    ("how", "read_s", "mail_s"), [(Fault.HANG, 0.4, 9), (Fault.DRIP, 9, 0.5)], ids=["hang", "drip"]
)
def test_a_server_that_is_too_slow_is_temporary_and_not_tried_at_once(
    peer, *, make, deliver, step, how, read_s, mail_s
):
    """A quick try would overrun the attempt. One that drips bytes for ever must not hold the lane for ever."""
    server = peer(**{step: how})
    with pytest.raises(TemporaryError, match=r"no answer at .* in time") as raised:
        deliver(make(server.port, read_timeout_s=read_s, mail_timeout_s=mail_s))
    text = told(raised)
    assert ("nobody knows whether it has the mail" in text) == (step == "end")
    assert raised.value.retry_after_s == SOON_S


def test_a_reset_in_the_middle_of_the_mail_is_temporary(peer, make, deliver):
    """The server cannot have it whole; it is sent again under the same name all the same."""
    server = peer(content=Fault.RESET)
    with pytest.raises(TemporaryError, match="closed the connection at the end of DATA; nobody knows"):
        deliver(make(server.port))


@pytest.mark.parametrize("answer", ["HTTP/1.1 400 Bad Request", "999 what", "250" + "x" * 9000])
def test_what_is_no_mail_server_is_told(peer, make, deliver, answer):
    """A wrong port, usually."""
    server = peer(connect=answer)
    with pytest.raises(TemporaryError, match=r"gave no SMTP answer to the greeting|closed the connection") as raised:
        deliver(make(server.port))
    told(raised)


def test_an_answer_without_end_is_cut_off(peer, make, deliver):
    """It must not fill the memory."""
    server = peer(EHLO="250-x\r\n" * 50_000)
    with pytest.raises(TemporaryError, match="closed the connection at EHLO"):
        deliver(make(server.port))


def test_a_repeat_after_an_unknown_end_is_the_same_mail(peer, make, deliver):
    """What the server has twice then, it has under one Message-ID, byte for byte."""
    server = peer(end=["250 taken", Fault.HANG])
    plugin = make(server.port, read_timeout_s=0.2)
    deliver(plugin)
    with pytest.raises(TemporaryError, match="nobody knows"):
        deliver(plugin, attempt=2)
    server.answer(end="250 2.0.0 taken")
    deliver(make(server.port), attempt=3)
    first, second = (content for _, content in server.taken)
    assert first == second


def test_one_connection_takes_mail_after_mail(mailbox, secure, deliver):
    """TLS and a login for each would cost ten times as much."""
    plugin = secure(mailbox)
    for number in range(5):
        deliver(plugin, number=number)
    assert (len(mailbox.taken), mailbox.logins) == (5, 1)


def test_a_server_that_closes_after_each_mail_has_each_mail(peer, make, deliver):
    """It is seen before the next one is begun."""
    server = peer(RSET=Fault.CLOSE)
    plugin = make(server.port)
    for number in range(3):
        deliver(plugin, number=number)
    assert (len(server.taken), server.connections) == (3, 3)


@pytest.mark.parametrize("answer", ["421 4.4.2 timeout", "500 what", Fault.HANG])
def test_an_idle_connection_that_is_no_good_any_more_is_replaced(peer, make, deliver, answer):
    """One new connection, without an error."""
    server = peer(RSET=answer)
    plugin = make(server.port, read_timeout_s=0.2)
    for number in range(2):
        deliver(plugin, number=number)
    assert (len(server.taken), server.connections) == (2, 2)


def test_a_connection_that_was_idle_for_long_is_not_asked(peer, make, deliver):
    """Servers close them, and half of the routers on the way forget them without a word."""
    server = peer()
    plugin = make(server.port)
    turned = [0.0]
    plugin._server._seconds = lambda: turned[0]
    deliver(plugin, number=1)
    turned[0] += 3600
    deliver(plugin, number=2)
    assert server.connections == 2
    assert "rset" not in server.commands


def test_after_a_refusal_the_next_mail_is_unharmed(peer, make, deliver):
    """What one mail left behind at the server is wiped away."""
    server = peer(RCPT=["550 no", "250 ok"])
    plugin = make(server.port)
    with pytest.raises(PermanentError):
        deliver(plugin, number=1)
    deliver(plugin, number=2)
    assert [to for to, _ in server.taken] == [["staff@clinic.example"]]


def test_lanes_that_share_an_instance_send_at_once_and_whole(mailbox, secure, deliver):
    """`isolation: thread`: eight lanes, ten mails each, none lost, torn or doubled."""
    plugin, failed = secure(mailbox), []

    def lane(first):
        try:
            for number in range(first, first + 10):
                deliver(plugin, number=number)
        except Exception as error:
            failed.append(error)

    lanes = [threading.Thread(target=lane, args=(100 * number,)) for number in range(8)]
    for each in lanes:
        each.start()
    for each in lanes:
        each.join()
    assert failed == []
    assert len({mail["Message-ID"] for mail in mailbox.mails}) == len(mailbox.taken) == 80
    assert mailbox.logins <= 8


def test_close_says_goodbye_and_may_be_called_twice(peer, make, deliver):
    """And a closed instance holds no connection."""
    server = peer()
    plugin = make(server.port)
    deliver(plugin)
    plugin.close()
    plugin.close()
    assert server.commands[-1] == "QUIT"
    assert plugin._server._idle == []


def test_a_server_that_hangs_does_not_keep_the_bridge_from_stopping(peer, make, deliver):
    """The goodbye is not waited for."""
    server = peer(QUIT=Fault.HANG)
    plugin = make(server.port)
    deliver(plugin)
    plugin.close()
    assert plugin._server._idle == []


# Recipients


def test_a_recipient_who_is_refused_for_now_gets_it_later_and_nobody_twice(peer, make, deliver, clock):
    """Greylisting: the other has it already, also after a restart of the plugin. It is waited longer each time."""
    server, at = peer(RCPT={"second@clinic.example": "450 4.2.0 said the server"}), clock.moment
    for passed_s, wait_s in ((0, 60), (60, 60), (60, 120), (240, 360), (7200, 3600)):
        clock.turn(passed_s)
        why = r"1 of 2 recipients have the mail; .*to, number 2 \(450 4.2.0\)"
        with pytest.raises(NotYetError, match=why) as raised:
            deliver(make(server.port, **TWO), received_at=at)
        assert raised.value.retry_after_s == pytest.approx(wait_s, abs=0.01)
        told(raised)
    server.answer(RCPT="250 ok")
    assert deliver(make(server.port, **TWO), received_at=at).endswith(" 250 2.0.0")
    assert [to for to, _ in server.taken] == [["first@clinic.example"], ["second@clinic.example"]]
    assert len({content for _, content in server.taken}) == 1


def test_who_has_what_is_forgotten_in_the_end(peer, make, deliver, clock, tmp_path):
    """A recipient's address is not kept on the disk for ever."""
    server = peer(RCPT={"second@clinic.example": "450 no"})
    with pytest.raises(NotYetError):
        deliver(make(server.port, **TWO), number=1)
    clock.turn(RETENTION_S + 1)
    others = {"to": ["third@clinic.example", "second@clinic.example"]}
    with pytest.raises(NotYetError):
        deliver(make(server.port, **others), number=2)
    kept = (tmp_path / "email" / "state.db").read_bytes()
    assert (b"first@" in kept, b"third@" in kept) == (False, True)


def test_a_mail_that_is_replayed_when_everybody_had_it_goes_to_everybody(peer, make, deliver):
    """What was kept of who has it is let go of, once all have it."""
    server = peer(RCPT={"second@clinic.example": "450 no"})
    plugin = make(server.port, **TWO)
    with pytest.raises(NotYetError):
        deliver(plugin)
    server.answer(RCPT="250 ok")
    deliver(plugin, attempt=2)
    deliver(plugin, attempt=3)
    assert [to for to, _ in server.taken][-1] == TWO["to"]


def test_a_recipient_who_is_refused_for_good_is_a_dead_letter_and_the_others_have_it(peer, make, deliver):
    """Whoever should have had it is not forgotten: corrected and replayed, it reaches him, and nobody else again."""
    server = peer(RCPT={"second@clinic.example": "550 5.1.1 said the server"})
    advice = r"1 of 2 recipients have the mail; refused: to, number 2 \(550 5.1.1\); correct the address and replay"
    with pytest.raises(PermanentError, match=advice) as raised:
        deliver(make(server.port, **TWO))
    told(raised)
    corrected = {"to": ["first@clinic.example", "secund@clinic.example"]}
    deliver(make(server.port, **corrected), attempt=2)
    assert [to for to, _ in server.taken] == [["first@clinic.example"], ["secund@clinic.example"]]


def test_a_refused_recipient_who_is_taken_out_leaves_nothing_to_send(peer, make, deliver):
    """She has left the clinic: replayed without her, the delivery is done, and nobody is asked again."""
    server = peer(RCPT={"second@clinic.example": "550 5.1.1 no"})
    with pytest.raises(PermanentError):
        deliver(make(server.port, **TWO))
    assert deliver(make(server.port, to=["first@clinic.example"]), attempt=2).endswith("> everybody had it")
    assert [to for to, _ in server.taken] == [["first@clinic.example"]]
    deliver(make(server.port, to=["first@clinic.example"]), attempt=3)
    assert len(server.taken) == 2, "what is replayed once more is sent once more"


def test_one_recipient_alone_who_may_not_be_written_to_stops_nobody(peer, make, deliver):
    """A closed mailbox is no closed server: the others have it, and it is a dead letter."""
    server = peer(RCPT={"second@clinic.example": "550 5.7.1 no"})
    with pytest.raises(PermanentError, match=r"1 of 2 recipients have the mail; refused: to, number 2 \(550 5.7.1\)"):
        deliver(make(server.port, **TWO))
    assert len(server.taken) == 1


def test_one_refused_for_now_and_one_for_good_are_both_dealt_with(peer, make, deliver):
    """The one who can be waited for is waited for first."""
    refused = {"second@clinic.example": "450 no", "third@clinic.example": "550 no"}
    server = peer(RCPT=refused)
    plugin = make(server.port, to=[*TWO["to"]], cc=["third@clinic.example"])
    with pytest.raises(NotYetError, match=r"to, number 2 \(450\), cc, number 1 \(550\)"):
        deliver(plugin)
    del refused["second@clinic.example"]
    with pytest.raises(PermanentError, match=r"2 of 3 recipients have the mail; refused: cc, number 1 \(550\)"):
        deliver(plugin, attempt=2)
    assert [to for to, _ in server.taken] == [["first@clinic.example"], ["second@clinic.example"]]


def test_whoever_is_refused_for_five_days_is_given_up(peer, make, deliver, clock):
    """As mail servers do; it ends as a dead letter, not as silence."""
    server = peer(RCPT={"second@clinic.example": "452 4.2.2 full"})
    plugin = make(server.port, **TWO)
    with pytest.raises(NotYetError):
        deliver(plugin, received_at=clock.moment)
    came = clock.moment
    clock.turn(5 * 86_400)
    with pytest.raises(NotYetError):
        deliver(plugin, received_at=came, attempt=200)
    clock.turn(1)
    with pytest.raises(PermanentError, match="for five days the others were refused"):
        deliver(plugin, received_at=came, attempt=201)
    assert len(server.taken) == 1


def test_a_mailbox_that_leaves_a_recipient_out_is_told_by_its_practice(peer, make, deliver):
    """The place in `bridge.yaml` that is to be corrected."""
    server = peer(RCPT="550 no")
    practices = {"practice_67890": {"to": ["nobody@clinic.example"]}}
    with pytest.raises(PermanentError, match=r"practices\.practice_67890\.to, number 1 \(550\)"):
        deliver(make(server.port, practices=practices))


def test_a_refused_content_leaves_nobody_with_the_mail(peer, make, deliver):
    """Refused at the end, it is refused for all: the next attempt goes to all."""
    server = peer(end=["451 4.7.1 no", "250 ok"])
    plugin = make(server.port, **TWO)
    with pytest.raises(TemporaryError):
        deliver(plugin)
    deliver(plugin, attempt=2)
    assert [to for to, _ in server.taken] == [TWO["to"]]


# The state file


def test_a_damaged_state_file_is_told_and_stops_the_destination_not_the_events(peer, make, deliver, tmp_path):
    """Until it is moved away: then all goes on."""
    server = peer()
    plugin = make(server.port)
    (tmp_path / "email").mkdir()
    (tmp_path / "email" / "state.db").write_bytes(b"SQLite format 3\0" + b"no database" * 500)
    with pytest.raises(DestinationError, match=r"state.db: SQLITE_.*move it away: no event is lost"):
        deliver(plugin)
    (tmp_path / "email" / "state.db").unlink()
    deliver(plugin)
    assert len(server.taken) == 1


def test_a_state_directory_that_cannot_be_is_temporary(peer, make, deliver, tmp_path):
    """Only who needs it notices: here a recipient is left out."""
    (tmp_path / "file").write_text("")
    server = peer(RCPT={"second@clinic.example": "450 no"})
    with pytest.raises(TemporaryError, match="see that it may be written to, and has space"):
        deliver(make(server.port, **TWO, state=tmp_path / "file" / "email"))


def test_a_state_that_cannot_be_kept_gives_nobody_the_same_mail_again_within_an_attempt(peer, make, deliver, tmp_path):
    """Nothing can be kept of who has the mail: each quick try would send it anew to those who have it."""
    (tmp_path / "file").write_text("")
    server = peer(RCPT={"second@clinic.example": "450 no"})
    plugin = make(server.port, **TWO, state=tmp_path / "file" / "email")
    with pytest.raises(TemporaryError):
        with_tries(lambda: deliver(plugin), tries=3, sleep=lambda _: None)
    assert [to for to, _ in server.taken] == [["first@clinic.example"]]


def test_a_state_file_that_another_program_holds_is_temporary(peer, make, deliver, tmp_path, monkeypatch):
    """A backup that reads it, say."""
    monkeypatch.setattr(state, "BUSY_S", 0.1)
    server = peer(RCPT={"second@clinic.example": "450 no"})
    plugin = make(server.port, **TWO)
    with pytest.raises(NotYetError):
        deliver(plugin)
    with closing(sqlite3.connect(tmp_path / "email" / "state.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TemporaryError, match=r"state.db: SQLITE_BUSY; .*that no other program holds the file"):
            deliver(plugin)
    with pytest.raises(NotYetError):
        deliver(plugin)


def test_the_state_is_for_the_bridges_user_alone(peer, make, deliver, tmp_path):
    """Directory 0700, file 0600; and it is not made where it is not needed."""
    server = peer()
    deliver(make(server.port, **TWO))
    assert not (tmp_path / "email").exists()
    server.answer(RCPT={"second@clinic.example": "450 no"})
    with pytest.raises(NotYetError):
        deliver(make(server.port, **TWO), number=2)
    modes = {each.name: each.stat().st_mode & 0o777 for each in [tmp_path / "email", *(tmp_path / "email").iterdir()]}
    assert modes == {"email": 0o700, "state.db": 0o600}


# The check


def test_the_check_talks_and_sends_nothing(mailbox, secure, peer, make):
    """Connect, encrypt, log in, NOOP: no sender and no recipient is named."""
    assert "answers (TLSv1." in secure(mailbox).check()
    assert (mailbox.logins, mailbox.taken) == (1, [])
    server = peer()
    assert (
        make(server.port).check()
        == f"127.0.0.1:{server.port} answers (not encrypted) and wants no login so far; nothing was sent"
    )
    assert [each.split()[0].upper() for each in server.commands] == ["EHLO", "NOOP", "QUIT"]
