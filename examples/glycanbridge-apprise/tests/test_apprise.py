"""What Apprise promises: what every plugin does, then what it alone does, against real far sides on this machine."""

from __future__ import annotations

import logging
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from glycanbridge_apprise import Apprise
from glycanbridge_apprise.message import MOST_SETS, message_of

from glycanbridge import DestinationError, Personal, TemporaryError
from glycanbridge.testing import (
    Answer,
    Fault,
    HandBridge,
    HttpPeer,
    HttpRequest,
    SettingsError,
    SmtpPeer,
    contract_suite,
    deliver,
    make_plugin,
    plugin_settings,
    sample_delivery,
    sample_event,
)

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")  # Apprise looks whether Python still has it
PASSWORD = "correct-horse-4711"
MakePlugin = Callable[..., Apprise]
MakeBridge = Callable[..., HandBridge]


def url_of(peer: HttpPeer, path: str = "", **more: str) -> str:
    """The address of a service that takes JSON, as Apprise writes it, with a login."""
    asked = "&".join(f"{name}={value}" for name, value in {"rto": "1", "cto": "1", **more}.items())
    return f"json://bridge:{PASSWORD}@127.0.0.1:{peer.port}/{path}?{asked}"


def settings(peer: HttpPeer) -> dict[str, Any]:
    """What stands under `settings:` in bridge.yaml."""
    return {"urls": [url_of(peer)], "timeout_s": 3}


TestContract = contract_suite(
    Apprise,
    settings,
    peer=HttpPeer,
    secrets=[PASSWORD],
    check_asks=False,  # Apprise has no way to ask, and check() says just that
    statuses={400: TemporaryError, 422: TemporaryError, 404: DestinationError, 429: None},  # Apprise tells no more
)
TestContractByMail = contract_suite(
    Apprise,
    lambda peer: {"urls": [f"mailto://127.0.0.1:{peer.port}?from=bridge@clinic.example&to=it@clinic.example&cto=1"]},
    peer=SmtpPeer,
    check_asks=False,
    events=["report-ready"],  # between two mails Apprise pauses for 5.5 s
    threads=1,
    repeat_key=lambda mail: mail.message.get_content(),  # Apprise makes a new Message-ID each time
)


@pytest.fixture
def service(glycanbridge_http_peer: HttpPeer) -> HttpPeer:
    """A service that takes JSON: it keeps what it is sent, and answers as a test says."""
    return glycanbridge_http_peer


@pytest.fixture
def make(glycanbridge_plugin: MakePlugin, service: HttpPeer) -> MakePlugin:
    """Makes the plugin, with settings that a test may change."""
    return lambda **told: glycanbridge_plugin(Apprise, settings(service) | told)


# What is told


def test_a_message_says_what_happened_and_nothing_that_points_at_a_patient(make: MakePlugin, service: HttpPeer) -> None:
    """Telephones show it to whoever stands by."""
    outcome = deliver(make(), "report-ready")

    (request,) = service.requests
    assert (outcome.delivered, outcome.receipt) == (True, "taken by JSON (urls.0)")
    assert (request.json["title"], request.json["type"]) == ("Report ready", "info")
    assert request.json["message"].startswith(
        "Kit code: …1234\nPractice id: practice_67890\nCreated on: 2023-08-27 07:56"
    )
    assert "45.2" not in request.json["message"]


@pytest.mark.parametrize(("personal", "told"), [("ids", "Patient id: patient_123"), ("full", "Glycan age: 45.2")])
def test_more_is_told_where_the_settings_say_so(make: MakePlugin, service: HttpPeer, personal: str, told: str) -> None:
    """By whoever may decide that."""
    deliver(make(personal=personal), "report-ready")

    assert told in service.requests[0].json["message"].splitlines()


def test_what_was_given_up_is_told_as_a_warning_with_the_way_to_it(make: MakePlugin, service: HttpPeer) -> None:
    """Whoever reads it types that command."""
    deliver(make(), "delivery-dead")

    (request,) = service.requests
    assert (request.json["title"], request.json["type"]) == ("A delivery was given up", "warning")
    assert request.json["message"].endswith("glycanbridge deliveries show 3f9c2a1b7d4e:results-ehr")
    assert "no such patient" not in request.json["message"]


def test_an_assignment_has_a_line_for_each_of_its_first_kits() -> None:
    """A message that is too long is taken by nobody."""
    one = {"patientId": "p", "kitCode": "KIT001234", "product": "regular\n<b>"}
    event = sample_event("assignment-status-changed", sets=[one] * 37)

    _, text = message_of(event, sample_delivery(event), Personal.NONE)

    assert text.count("Kit: …1234, regular <b>\n") == MOST_SETS
    assert "and 17 more kits" in text


def test_an_order_names_no_kit(make: MakePlugin, service: HttpPeer) -> None:
    """What an event has not is no line."""
    deliver(make(), sample_event("order-status-changed", without=["amount", "currency"]))

    assert "None" not in service.requests[0].json["message"]


# Where it goes


def test_a_mail_goes_to_a_mail_server(glycanbridge_plugin: MakePlugin, glycanbridge_smtp_peer: SmtpPeer) -> None:
    """The second of more than a hundred ways, and the one that every clinic has."""
    url = f"mailto://127.0.0.1:{glycanbridge_smtp_peer.port}?from=bridge@clinic.example&to=it@clinic.example"

    outcome = deliver(glycanbridge_plugin(Apprise, {"urls": [url]}), "kit-received")

    (mail,) = glycanbridge_smtp_peer.mails
    assert outcome.receipt == "taken by E-Mail (urls.0)"
    assert (mail.recipients, mail.message["Subject"]) == (("it@clinic.example",), "Kit received at the laboratory")


def test_what_leaves_and_how_it_is_protected_is_told_without_the_address(tmp_path: Path) -> None:
    """Whoever signs for the clinic's data reads this line."""
    urls = [f"json://bridge:{PASSWORD}@clinic.example", "jsons://clinic.example", "jsons://clinic.example?verify=no"]
    told = make_plugin(Apprise, {"urls": urls, "timeout_s": 5}, folder=tmp_path).tells()

    assert told == (
        "a message by Apprise to JSON (urls.0), JSON (urls.1), JSON (urls.2), with personal: none"
        "; not by TLS that is looked at: JSON (urls.0), JSON (urls.2)"
    )


def test_checking_sends_nothing_and_says_so(make: MakePlugin, service: HttpPeer) -> None:
    """Apprise has no way to ask."""
    assert "Nothing was asked" in make().check()
    assert service.requests == []


def test_a_redirect_is_not_followed(make: MakePlugin, service: HttpPeer) -> None:
    """A result goes where bridge.yaml says, and nowhere else."""
    with HttpPeer() as elsewhere:
        service.answer(Answer.redirect(elsewhere.url, 307))
        outcome = deliver(make(), "report-ready")

    assert (outcome.error, outcome.text) == (DestinationError, "JSON (urls.0) answered 307: see to urls")
    assert elsewhere.requests == []


def test_a_certificate_that_is_not_trusted_gets_nothing(glycanbridge_plugin: MakePlugin) -> None:
    """Apprise does not say why it failed, and so it is unknown; what counts is that nothing has left."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with HttpPeer(tls=context) as peer:
        outcome = deliver(
            glycanbridge_plugin(Apprise, {"urls": [url_of(peer).replace("json:", "jsons:")]}), "report-ready"
        )

    assert (outcome.delivered, outcome.unknown, peer.requests) == (False, True, [])


# What it comes to


@pytest.mark.parametrize("status", [401, 403, 404, 405, 407, 410])
def test_what_is_wrong_with_the_address_stops_the_destination(make: MakePlugin, service: HttpPeer, status: int) -> None:
    """It is wrong for every event."""
    service.answer(Answer(status))

    outcome = deliver(make(), "report-ready")

    assert (outcome.error, outcome.text) == (DestinationError, f"JSON (urls.0) answered {status}: see to urls")


def test_a_service_that_has_had_enough_is_left_alone(make: MakePlugin, service: HttpPeer) -> None:
    """For a minute: Apprise does not pass on for how long."""
    service.answer(Answer(429, headers={"Retry-After": "7"}))

    outcome = deliver(make(), "report-ready")

    assert (outcome.error, outcome.retry_after_s) == (DestinationError, 60)


@pytest.mark.parametrize("status", [400, 413, 422, 500, 503])
def test_all_else_is_made_again(make: MakePlugin, service: HttpPeer, status: int) -> None:
    """Telegram says 400 for a chat that it does not know: who knows what a status means to a hundred services."""
    service.answer(Answer(status))

    outcome = deliver(make(), "report-ready", tries=3)

    assert (outcome.error, outcome.unknown, len(service.requests)) == (TemporaryError, False, 1)


@pytest.mark.parametrize("fault", [Fault.RESET, Fault.HANG, Fault.CLOSE_MIDWAY, Fault.GARBAGE])
def test_without_an_answer_nobody_knows(make: MakePlugin, service: HttpPeer, fault: Fault) -> None:
    """Apprise says only that it failed."""
    service.answer(fault)

    outcome = deliver(make(), "report-ready")

    assert (outcome.error, outcome.unknown) == (TemporaryError, True)
    assert outcome.text == "JSON (urls.0) has not confirmed it, and may have it"


def test_a_dripping_service_leaves_one_thread_at_the_most(make: MakePlugin, service: HttpPeer) -> None:
    """A socket's timeout begins anew with each byte; one thread more with each attempt would fill memory in weeks."""
    service.answer(Fault.DRIP)
    plugin, before = make(timeout_s=1), threading.active_count()

    outcomes = [deliver(plugin, "report-ready") for _ in range(3)]

    assert [each.unknown for each in outcomes] == [True, False, False]
    assert outcomes[2].text == "JSON (urls.0) is still answering an earlier message, and was sent nothing"
    assert (outcomes[2].error, outcomes[2].retry_after_s, len(service.requests)) == (TemporaryError, 0, 1)
    assert threading.active_count() <= before + 2  # the other one is the peer's


def test_a_service_that_has_dripped_is_sent_to_again_when_it_is_well(make: MakePlugin) -> None:
    """By the same instance: nobody needs to start the bridge anew."""
    with HttpPeer(Fault.DRIP) as peer:
        plugin, port = make(urls=[url_of(peer)], timeout_s=1), peer.port
        assert deliver(plugin, "report-ready").unknown
    with HttpPeer(port=port) as peer:
        for thread in [each for each in threading.enumerate() if each.name.startswith("apprise ")]:
            thread.join(10)
        assert deliver(plugin, "report-ready").delivered


def test_a_process_ends_though_a_service_drips(service: HttpPeer, tmp_path: Path) -> None:
    """Else `destinations run NAME try` never comes back, and a bridge with `isolation: thread` never stops."""
    service.answer(Fault.DRIP)
    program = """
import sys
from pathlib import Path
from glycanbridge_apprise import Apprise
from glycanbridge.testing import deliver, make_plugin
plugin = make_plugin(Apprise, {"urls": [sys.argv[1]], "timeout_s": 1}, folder=Path(sys.argv[2]))
assert deliver(plugin, "report-ready").unknown
plugin.close()
"""

    environ = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}  # also where it is not installed

    done = subprocess.run(
        [sys.executable, "-c", program, url_of(service), tmp_path], env=environ, timeout=30, check=False
    )

    assert done.returncode == 0


def test_an_optional_service_that_fails_is_not_delivered(make: MakePlugin, service: HttpPeer) -> None:
    """To Apprise that is a success; the bridge would forget what nobody has."""
    service.answer(Answer(503))

    assert not deliver(make(urls=[url_of(service, optional="yes")]), "report-ready").delivered


# Several services


def test_what_one_has_taken_is_not_sent_to_it_again(glycanbridge_bridge: MakeBridge, service: HttpPeer) -> None:
    """Also after a restart: it is on the disk, and goes when all of them have it."""
    with HttpPeer(Answer(503)) as other:
        told = {"urls": [url_of(service), url_of(other)], "timeout_s": 3, "state": "state"}
        bridge = glycanbridge_bridge(Apprise, told)
        bridge.receive("report-ready")
        bridge.run()
        bridge.restart()
        bridge.clock.turn(10)
        bridge.run()
        assert (len(service.requests), len(other.requests)) == (1, 2)
        (row,) = bridge.deliveries()
        assert (row.state, row.last_error) == ("pending", "JSON (urls.1) answered 503")

        other.answer(Answer(200))
        bridge.clock.turn(3600)
        bridge.run()

    (row,) = bridge.deliveries()
    assert (row.state, row.receipt) == ("delivered", "taken by JSON (urls.1)")
    assert (len(service.requests), len(other.requests)) == (1, 3)


def test_one_that_is_wrong_does_not_stop_the_others(make: MakePlugin, service: HttpPeer) -> None:
    """It counts against the delivery, which becomes a dead letter in the end: that is seen."""
    with HttpPeer(Answer(401)) as other:
        outcome = deliver(make(urls=[url_of(other), url_of(service)]), "report-ready")

    assert (outcome.error, outcome.text, len(service.requests)) == (TemporaryError, "JSON (urls.0) answered 401", 1)


def test_a_memory_that_cannot_be_written_stops_the_destination(
    make: MakePlugin, service: HttpPeer, tmp_path: Path
) -> None:
    """Before anything is sent: else every attempt would send to those that have it."""
    (tmp_path / "file").touch()
    plugin = make(urls=[url_of(service), url_of(service, "b")], state=str(tmp_path / "file" / "state"))

    outcome = deliver(plugin, "report-ready")

    assert (outcome.error, service.requests) == (DestinationError, [])


def test_the_memory_holds_no_address(make: MakePlugin, service: HttpPeer, tmp_path: Path) -> None:
    """Passwords stand in addresses."""
    with HttpPeer(Answer(503)) as other:
        deliver(make(urls=[url_of(service), url_of(other)], state=str(tmp_path / "state")), "report-ready")

    (file,) = (tmp_path / "state").iterdir()
    assert PASSWORD.encode() not in file.read_bytes()
    assert file.parent.stat().st_mode & 0o077 == 0


# Settings


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("nowhere", "no service of Apprise's has this scheme"),
        (f"nobody://{PASSWORD}", "no service of Apprise's has this scheme"),
        (f"tgram://{PASSWORD}", "Telegram does not take this address"),
        (f"xmpp://bridge:{PASSWORD}@clinic.example", "XMPP needs packages that are not installed"),
    ],
)
def test_an_address_that_apprise_cannot_use_is_told_at_the_start(
    url: str, told: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without the address, in the error as in the log."""
    with pytest.raises(SettingsError) as raised, caplog.at_level(logging.DEBUG):
        plugin_settings(Apprise, {"urls": [url]}, folder=tmp_path)

    assert told in str(raised.value)
    assert PASSWORD not in str(raised.value) + caplog.text


def test_all_addresses_together_fit_into_an_attempt(tmp_path: Path) -> None:
    """Else the last one would never have its turn."""
    urls = [f"jsons://clinic.example/{number}" for number in range(3)]

    with pytest.raises(SettingsError, match="expected timeout_s times 3 urls to be less than the destination's"):
        plugin_settings(Apprise, {"urls": urls}, folder=tmp_path)
    plugin_settings(Apprise, {"urls": urls, "timeout_s": 9}, folder=tmp_path)


# The command


def test_a_test_message_is_sent_by_hand(
    make: MakePlugin, service: HttpPeer, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is no other way to see whether a token is right."""
    (command,) = make().commands()

    def answered(request: HttpRequest) -> Answer:
        return Answer(200 if request.json["title"] == "A test" else 500)

    service.answer(answered)
    command.main([], standalone_mode=False)
    assert capsys.readouterr().out == "JSON (urls.0): took it\n"
    service.answer(Answer(401))
    with pytest.raises(Exception, match="not all of them took it"):
        command.main([], standalone_mode=False)
    assert capsys.readouterr().out == "JSON (urls.0) answered 401\n"
