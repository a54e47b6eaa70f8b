"""The way to Slack and back: where a message may go, what each answer means, and what none of it ever shows."""

import json
import logging
import re
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from glycanbridge_slack import Slack, SlackSettings
from glycanbridge_slack.settings import ProxyAddress, WebhookAddress
from glycanbridge_slack.webhook import Webhook
from pydantic import ValidationError
from slack_sdk.webhook import WebhookClient

from glycanbridge import EVENT_TYPES, DestinationError, PermanentError, TemporaryError
from glycanbridge.testing import Answer, Fault

README = Path(__file__).parents[1] / "README.md"
HOST, GOV = "hooks.slack.com", "hooks.slack-gov.com"
SERVICE = "/services/T0NEEDLE/B0NEEDLE/zXcVbNmNeedleOfTheWebhook"
PROOF = "needleclerk:p@ss:word/needle"
PROOF_IN_URL = "needleclerk:p%40ss%3Aword%2Fneedle"
NEEDLES = {
    name: f"{name}Needle7Q"
    for name in ("reportId", "testId", "kitCode", "patientId", "assignmentId", "glycanAge", "chronologicalAge")
} | {"practiceId": "practiceNeedle7Q", "reportUrl": "/reports/urlNeedle7Q"}
SECRETS = ["T0NEEDLE", "B0NEEDLE", "NeedleOfTheWebhook", "p@ss", "p%40ss", "needle", "Needle7Q"]


def slacks(host=HOST, path=SERVICE):
    """A webhook of Slack's own."""
    return f"https://{host}{path}"


@pytest.fixture
def told(caplog, capfd):
    """Everything that was logged, at every level and of every logger, and printed."""
    for name in (None, "slack_sdk", "glycanbridge_slack", "slack_sdk.webhook.client"):
        caplog.set_level(logging.DEBUG, logger=name)
    return lambda: caplog.text + "".join(capfd.readouterr())


@pytest.fixture
def failure(deliver, told):
    """What a delivery full of needles fails with; none of them shows in the error, its representation, or a log."""

    def failure(plugin, kind):
        with pytest.raises((TemporaryError, DestinationError, PermanentError)) as raised:
            deliver(plugin, **NEEDLES)
        assert type(raised.value) is kind
        shown = (
            f"{raised.value} {raised.value!r} {vars(raised.value)} {told()} {plugin!r} {vars(plugin)} {plugin.tells()}"
        )
        assert [each for each in SECRETS if each in shown] == []
        return raised.value

    return failure


# Where a message may go


@pytest.mark.parametrize(
    "settings",
    [
        {"webhook_url": slacks()},
        {"webhook_url": slacks(GOV)},
        {"webhook_url": slacks(HOST.upper() + ":443")},
        {"webhook_url": "http://127.0.0.1:9/x"},
        {"webhook_url": "http://localhost/x"},
        {"webhook_url": "http://[::1]:9/x?y=z"},
        {"webhook_url": slacks("relay.clinic.example", "/slack"), "allow_host": "Relay.clinic.example"},
    ],
)
def test_a_webhook_of_slacks_of_this_machine_or_of_a_host_that_is_named_is_taken(settings):
    """And the host, nothing else of it, is shown."""
    told = Slack(SlackSettings(**settings)).tells()
    assert re.fullmatch(r"a message to Slack at [a-z0-9.:\[\]-]+: kind of event, .* letters of the kit code", told)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("", "expected a webhook's address"),
        (f"{HOST}{SERVICE}", "expected a webhook's address"),
        (f"ftp://{HOST}{SERVICE}", "expected a webhook's address"),
        (f" {slacks()}", "expected a webhook's address"),
        (f"{slacks()}\n", "expected a webhook's address"),
        (f"{slacks()}#x", "expected a webhook's address"),
        (slacks(f"{HOST}@evil.example"), "expected a webhook's address"),
        (slacks(f"evil.example\\@{HOST}"), "expected a webhook's address"),
        (slacks(path=""), "expected a webhook's address"),
        (slacks(f"{HOST}:99999"), "expected a webhook's address"),
        (f"http://{HOST}{SERVICE}", "expected https://"),
        ("http://127.0.0.1.evil.example/x", "expected https://"),
        (slacks(f"{HOST}.evil.example"), "only if allow_host names it"),
        (slacks(f"evil{HOST}"), "only if allow_host names it"),
        (slacks("relay.clinic.example.evil.example"), "only if allow_host names it"),
        (slacks(path="/triggers/T0/1/2"), "expected an incoming webhook"),
        (slacks(path="/services/T0/B0"), "expected an incoming webhook"),
        (slacks(path="/services/T0/B0/x/y"), "expected an incoming webhook"),
    ],
)
def test_any_other_address_is_refused_without_being_shown(url, expected):
    """Results must not reach a wrong place, and an address is a secret."""
    with pytest.raises(ValidationError) as raised:
        SlackSettings(webhook_url=url, allow_host="relay.clinic.example")
    assert expected in str(raised.value)
    assert [each for each in SECRETS if each in str(raised.value)] == []
    assert "evil" not in str(raised.value)


@pytest.mark.parametrize(
    "proxy",
    [
        slacks("127.0.0.1:3128", ""),
        "http://proxy",
        "127.0.0.1:3128",
        "http://a:needle@",
        "http://needle:b@c@d:1",
        "http://x:70000",
    ],
)
def test_a_proxy_that_could_not_be_used_as_it_is_written_is_refused_without_being_shown(proxy):
    """To one called https the password would go in clear all the same; one without a port would be asked at another."""
    with pytest.raises(ValidationError, match="expected http://HOST:PORT or ") as raised:
        SlackSettings(webhook_url=slacks(), proxy=proxy)
    assert "needle" not in str(raised.value)


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"allow_host": "https://x"}, "expected the name of a host alone"),
        ({"time_zone": "Europe/Zagrab"}, "expected an IANA time zone, such as Europe/Zagreb or UTC"),
        ({"ca_file": "missing.pem"}, "expected a file of certificates in PEM: No such file"),
        ({"ca_file": __file__}, "expected a file of certificates in PEM"),
        (
            {"connect_timeout_s": 15, "read_timeout_s": 15},
            "to be less together than the destination's timeout_s, 30; they",
        ),
        ({"read_timeout_s": 30}, "expected less than the destination's timeout_s, 30"),
        ({"personal": "some"}, "'none', 'ids' or 'full'"),
        ({"webhock_url": "x"}, "Extra inputs"),
    ],
)
def test_a_setting_that_cannot_work_is_told_at_start_with_what_to_write(wrong, expected):
    """Not at the first event, when it would wait."""
    with pytest.raises(ValidationError, match=re.escape(expected)):
        SlackSettings.model_validate({"webhook_url": slacks(), **wrong}, context={"timeout_s": 30, "folder": Path("/")})


def test_the_defaults_are_held_against_the_destinations_timeout_too():
    """An attempt that is cut off is an unknown outcome; a timeout of ours is not."""
    with pytest.raises(ValidationError, match="less together than"):
        SlackSettings.model_validate({"webhook_url": slacks()}, context={"timeout_s": 20})
    with pytest.raises(ValidationError, match="less than the destination's timeout_s, 8") as raised:
        SlackSettings.model_validate({"webhook_url": slacks()}, context={"timeout_s": 8})
    assert [each["loc"] for each in raised.value.errors()] == [("connect_timeout_s",), ("read_timeout_s",)]


# What goes over the wire


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_each_event_is_one_message_that_slack_takes(slack, make, deliver, kit, event_type):
    """The receipt is what Slack says."""
    assert deliver(make(), event_type) == "ok"
    (request,) = slack.requests
    assert request.headers["Content-Type"].startswith("application/json")
    assert request.headers["Host"] == f"127.0.0.1:{slack.port}"
    (message,) = slack.messages
    assert kit.shown(message)[-1].endswith("\nEvent aaaaaaaaaaaa")


def test_slack_is_spoken_to_by_tls_with_its_own_name_through_a_proxy_with_a_password(
    tls_slack, proxied, authority, deliver
):
    """The real host's name, certificate and path; the proxy sees the name alone."""
    peer = tls_slack(HOST)
    peer.answer(lambda request: Answer(200 if request.headers["Host"] == HOST else 400, "ok"))
    proxy = proxied(peer, proof=PROOF)
    plugin = Slack(SlackSettings(webhook_url=slacks(), ca_file=authority.file,
                                 proxy=f"http://{PROOF_IN_URL}@127.0.0.1:{proxy.port}"))  # fmt: skip
    assert deliver(plugin, **NEEDLES) == "ok"
    (head,) = proxy.heads
    assert head.startswith(f"CONNECT {HOST}:443 HTTP/1.")
    assert [each for each in SECRETS if each in head] == []
    assert [each.path for each in peer.requests] == [SERVICE]
    assert f" through the proxy 127.0.0.1:{proxy.port}: " in plugin.tells()


def test_a_proxy_in_the_environment_is_not_used(slack, make, proxied, deliver, monkeypatch):
    """Which way results take stands in bridge.yaml."""
    proxy = proxied(slack)
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    assert deliver(make()) == "ok"
    assert proxy.heads == []


def test_a_proxy_in_the_settings_is_used_whatever_the_environment_says(slack, make, proxied, deliver, monkeypatch):
    """A clinic that names one has no other way out, or wants none."""
    proxy = proxied(slack)
    monkeypatch.setenv("NO_PROXY", "*")
    assert deliver(make(proxy=f"http://127.0.0.1:{proxy.port}")) == "ok"
    (head,) = proxy.heads
    assert head.startswith(f"CONNECT 127.0.0.1:{slack.port} HTTP/1.")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(slack, make, failure, closed, status):
    """The SDK's transport would ask the other place with GET, and take its `ok` for Slack's."""
    elsewhere = closed(type(slack)())
    slack.answer(Answer(status, "ok", {"Location": elsewhere.url}))
    error = failure(make(), DestinationError)
    assert f"answered {status} ok: a redirect, which is not followed" in str(error)
    assert elsewhere.requests == []


def test_one_instance_serves_several_threads_and_makes_no_tls_context_anew(tls_slack, authority, deliver, monkeypatch):
    """With isolation thread all lanes share one; a context costs more than a message."""
    peer = tls_slack("127.0.0.1")
    plugin = Slack(SlackSettings(webhook_url=peer.url, ca_file=authority.file))
    monkeypatch.setattr("ssl.create_default_context", lambda **_: pytest.fail("another TLS context"))
    ids = [f"event-{number}" for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda each: deliver(plugin, event_id=each), ids)) == {"ok"}
    assert sorted(re.findall(r"event-\d+", json.dumps(peer.messages))) == sorted(ids)


def test_after_close_nothing_is_held_and_closing_twice_is_no_mistake(make, deliver):
    """The bridge may close what it has closed."""
    plugin = make()
    deliver(plugin)
    plugin.close()
    plugin.close()


# What each answer means


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("404 no_service", "make a new one"),
        ("404 no_active_hooks", "make a new one"),
        ("404 no_team", "make a new one"),
        ("403 invalid_token", "make a new one"),
        ("404 channel_not_found", "the channel is gone"),
        ("410 channel_is_archived", "the channel is archived: bring it back"),
        ("400 user_not_found", "make a new one"),
        ("403 action_prohibited", "an administrator"),
        ("403 posting_to_general_channel_denied", "an administrator"),
        ("403 team_disabled", "the workspace is closed"),
        ("403 a_word_of_tomorrow", "something between"),
        ("410", "something between"),
    ],
)
def test_what_is_wrong_with_the_webhook_stops_the_destination_and_burns_nothing(slack, make, failure, said, advice):
    """Every delivery would fail alike, until a person mends it; the text says how."""
    status, _, word = said.partition(" ")
    slack.answer(Answer(int(status), word))
    error = failure(make(), DestinationError)
    assert f"127.0.0.1:{slack.port} answered {said}: " in str(error)
    assert advice in str(error)
    assert error.retry_after_s == 300


@pytest.mark.parametrize(
    ("headers", "asked"),
    [({"Retry-After": "7"}, "7"), ({}, 30), ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None)],
)
def test_too_many_requests_leave_the_whole_destination_alone_for_as_long_as_slack_says(
    slack, make, failure, headers, asked
):
    """Slack's limit is the webhook's, about one message a second; nobody sleeps in the lane."""
    slack.answer(Answer(429, "rate_limited", headers))
    error = failure(make(), DestinationError)
    assert error.retry_after_s == (asked or headers["retry-after"])
    assert len(slack.requests) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599, 408])
def test_slacks_own_faults_are_temporary(slack, make, failure, status):
    """Once for each attempt: what failed may have been posted."""
    slack.answer(Answer(status, "rollup_error", {"Retry-After": "90"}))
    assert failure(make(), TemporaryError).retry_after_s == "90"
    slack.answer(Answer(status, "<html>"))
    assert failure(make(), TemporaryError).retry_after_s == 0
    assert len(slack.requests) == 2


@pytest.mark.parametrize("word", ["invalid_payload", "invalid_blocks", "no_text", "too_many_attachments"])
def test_a_message_that_slack_refuses_is_a_dead_letter(slack, make, failure, word):
    """It would be refused for ever; its neighbours are not."""
    slack.answer(Answer(400, word))
    assert f"answered 400 {word}: it does not take this message as it is" in str(failure(make(), PermanentError))


@pytest.mark.parametrize(
    "body", ["<html>Log in to the guests' network</html>", "OK", '{"ok":true}', "ok ok", "no_service", SERVICE]
)
@pytest.mark.parametrize("status", [200, 204, 404, 400])
def test_only_slacks_own_word_counts_as_delivered(slack, make, failure, status, body):
    """A portal's page answers 200 to everything; what it says is not repeated, for it may hold the webhook."""
    slack.answer(Answer(status, body))
    error = failure(make(), DestinationError)
    assert "Log in" not in str(error)
    assert f"answered {status}" in str(error)


def test_an_answer_without_end_is_not_read_to_its_end(slack, make, failure):
    """Whatever stands between must not fill the memory: after 64 KiB it is no word of Slack's, whatever may follow."""
    begun = b"HTTP/1.1 200 OK\r\nContent-Length: 8000000\r\n\r\n" + b"x" * 65_536
    slack.answer(Answer(raw=begun, then=Fault.HANG))
    assert "no known answer of Slack's" in str(failure(make(), DestinationError))


# What goes wrong on the way


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no",
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 15\r\n\r\ninvalid_pay",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 10\r\n\r\nno_",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\no",
        b"\x16\x03\x01 no HTTP at all\r\n\r\n",
    ],
)
@pytest.mark.parametrize("then", [Fault.CLOSE, Fault.RESET])
def test_half_an_answer_is_no_answer(slack, make, failure, data, then):
    """The message may be there: it is made again by the schedule, not within the attempt."""
    slack.answer(Answer(raw=data, then=then))
    error = failure(make(), TemporaryError)
    assert "the message may be there already" in str(error)
    assert (error.unknown, error.retry_after_s) == (True, None)
    assert len(slack.requests) == 1


class Given(list):
    """How long each connection was given; `then` is what our sockets were given after that, the answer's last."""

    then = ()


@pytest.fixture
def given(monkeypatch):
    """How long our sockets wait."""
    given = Given()

    class Watched(socket.socket):
        def connect(self, address):
            given.append(self.gettimeout())
            self.ours = True
            super().connect(address)

        def settimeout(self, seconds):
            given.then += (seconds,) if hasattr(self, "ours") else ()
            super().settimeout(seconds)

    monkeypatch.setattr("socket.socket", Watched)
    return given


def test_an_answer_that_does_not_come_in_time_is_unknown_without_a_quick_try(slack, make, failure, given):
    """Another try would not fit into the attempt."""
    slack.answer(Fault.HANG)
    error = failure(make(read_timeout_s=0.05), TemporaryError)
    assert "did not answer within 0.05 s: the message may be there already" in str(error)
    assert (error.unknown, error.retry_after_s) == (True, None)
    assert given.then[-1] == 0.05


@pytest.fixture
def full_door():
    """An address where a connection is neither taken nor refused, as behind a firewall."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(door.getsockname())
        yield door.getsockname()[1]
        for each in waiting:
            each.close()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse what does not fit into the queue")
def test_a_connection_that_is_not_taken_in_time_is_temporary(make, failure, full_door):
    """Nothing was sent."""
    error = failure(make(webhook_url=f"http://127.0.0.1:{full_door}{SERVICE}", connect_timeout_s=0.05), TemporaryError)
    assert f"127.0.0.1:{full_door}: no connection within 0.05 s" in str(error)
    assert (error.unknown, error.retry_after_s) == (False, 0)


@pytest.fixture
def resolved(monkeypatch):
    """Makes every host have these ports of this machine for its addresses."""

    def resolve(*ports):
        found = [each for port in ports for each in socket.getaddrinfo("127.0.0.1", port, type=socket.SOCK_STREAM)]
        monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)

    return resolve


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse what does not fit into the queue")
def test_a_dead_first_address_leaves_time_for_a_living_second(make, deliver, full_door, resolved, given):
    """A network whose IPv6 leads nowhere, say."""
    living = int(make()._webhook.place.partition(":")[2])
    resolved(full_door, living)
    assert deliver(make(connect_timeout_s=0.3)) == "ok"
    assert given[0] <= 0.15


def test_a_living_first_address_leaves_all_of_the_time_for_tls(make, deliver, resolved, given):
    """Its share was for the connection alone."""
    living = int(make()._webhook.place.partition(":")[2])
    resolved(living, living)
    assert deliver(make(connect_timeout_s=30)) == "ok"
    assert given[0] <= 15 < given.then[0] <= 30


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse what does not fit into the queue")
def test_all_addresses_of_a_host_share_the_time(make, failure, full_door, resolved, given):
    """Six behind a firewall must not take six times as long: the attempt would be cut off, its outcome unknown."""
    plugin = make(connect_timeout_s=0.3)
    resolved(*[full_door] * 6)
    failure(plugin, TemporaryError)
    assert len(given) == 6
    assert sum(given) <= 0.35
    resolved()
    assert "the host has no address" in str(failure(plugin, TemporaryError))


@pytest.fixture
def nobody():
    """A port at which nobody listens, and which nobody else can get."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def test_a_refused_connection_is_temporary(make, failure, nobody):
    """Nothing was sent."""
    error = failure(make(webhook_url=f"http://127.0.0.1:{nobody}{SERVICE}"), TemporaryError)
    assert str(error) == f"127.0.0.1:{nobody}: Connection refused"
    assert (error.unknown, error.retry_after_s) == (False, 0)


def test_a_name_that_cannot_be_resolved_is_temporary(failure, monkeypatch):
    """The clinic's own network is away; it is told whom to ask."""

    def unknown(*_, **__):
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr("socket.getaddrinfo", unknown)
    error = failure(Slack(SlackSettings(webhook_url=slacks())), TemporaryError)
    assert f"{HOST}: its name cannot be resolved; see to this machine's DNS" in str(error)


def test_a_certificate_that_is_not_trusted_stops_the_destination_before_anything_is_sent(tls_slack, failure):
    """By the system's certificates nobody knows the tests' authority."""
    peer = tls_slack("127.0.0.1")
    error = failure(Slack(SlackSettings(webhook_url=peer.url)), DestinationError)
    assert f"the certificate of 127.0.0.1:{peer.port} is not trusted (" in str(error)
    assert peer.requests == []


def test_another_hosts_certificate_stops_the_destination_before_anything_is_sent(
    tls_slack, proxied, authority, failure
):
    """Who leads Slack's name elsewhere gets nothing."""
    peer = tls_slack("evil.example")
    proxy = f"http://127.0.0.1:{proxied(peer).port}"
    plugin = Slack(SlackSettings(webhook_url=slacks(), ca_file=authority.file, proxy=proxy))
    assert f"the certificate of {HOST} is not trusted (Hostname mismatch" in str(failure(plugin, DestinationError))
    assert peer.requests == []


def test_what_speaks_no_tls_stops_the_destination_before_anything_is_sent(slack, make, failure):
    """A portal that takes every connection, say."""
    plugin = make(webhook_url=slack.url.replace("http:", "https:"))
    assert "speaks no TLS that can be trusted (" in str(failure(plugin, DestinationError))
    assert slack.requests == []


@pytest.mark.parametrize("through", [False, True])
def test_a_handshake_that_does_not_go_on_is_no_connection(failure, through):
    """Neither Slack's nor the proxy's: what takes a connection and then says nothing is behind a firewall, say."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        here = f"127.0.0.1:{door.getsockname()[1]}"
        settings = {"webhook_url": slacks(), "proxy": f"http://{here}"} if through else {"webhook_url": slacks(here)}
        error = failure(Slack(SlackSettings(**settings, connect_timeout_s=0.05)), TemporaryError)
    assert f"{here}: no connection within 0.05 s" in str(error)
    assert (error.unknown, error.retry_after_s) == (False, 0)


def test_a_connection_that_ends_within_the_handshake_is_temporary(failure):
    """Slack's machines are restarted now and then."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        plugin = Slack(SlackSettings(webhook_url=slacks(f"127.0.0.1:{door.getsockname()[1]}")))

        def end():
            taken, _ = door.accept()
            with taken:
                taken.recv(5000)

        ending = threading.Thread(target=end)
        ending.start()
        failure(plugin, TemporaryError)
        ending.join()


@pytest.mark.parametrize(
    ("refuses", "kind"),
    [(407, DestinationError), (403, DestinationError), (502, TemporaryError), (503, TemporaryError)],
)
def test_a_proxys_refusal_is_told_as_the_proxys(tls_slack, proxied, failure, refuses, kind):
    """A wrong password stops the destination; a proxy that finds no way now may find one later."""
    proxy = proxied(tls_slack(HOST), refuses=refuses)
    plugin = Slack(SlackSettings(webhook_url=slacks(), proxy=f"http://{PROOF_IN_URL}@127.0.0.1:{proxy.port}"))
    error = failure(plugin, kind)
    assert str(error).startswith(f"the proxy 127.0.0.1:{proxy.port}")
    assert str(refuses) in str(error)


def test_a_wrong_password_for_the_proxy_stops_the_destination(tls_slack, proxied, failure):
    """And the text names neither user nor password."""
    proxy = proxied(tls_slack(HOST), proof="needleclerk:another")
    plugin = Slack(SlackSettings(webhook_url=slacks(), proxy=f"http://{PROOF_IN_URL}@127.0.0.1:{proxy.port}"))
    assert "with 407: see to proxy, its user and password" in str(failure(plugin, DestinationError))


def test_a_proxy_that_is_away_is_told_as_the_proxy(make, failure, nobody):
    """Else somebody looks for the fault at Slack."""
    plugin = make(webhook_url=slacks(), proxy=f"http://127.0.0.1:{nobody}")
    assert str(failure(plugin, TemporaryError)) == f"the proxy 127.0.0.1:{nobody}: Connection refused"


# What the check says


def test_the_check_finds_a_known_webhook_and_posts_nothing(slack, make):
    """Slack refuses a message without text, after it has looked for the webhook."""
    assert make().check() == f"127.0.0.1:{slack.port} knows the webhook; nothing was posted (no_text)"
    assert slack.messages == []
    assert [each.json for each in slack.requests] == [{"text": ""}]


def test_the_check_finds_an_unknown_webhook(slack, make):
    """Before the first event has to wait for it."""
    with pytest.raises(DestinationError, match="404 no_service: Slack does not know this webhook"):
        make(webhook_url=slack.url + "x").check()


def test_the_check_takes_no_page_for_slack(slack, make):
    """Nor a proxy's 400."""
    for status in (200, 400):
        slack.answer(Answer(status, "<html>"))
        with pytest.raises(DestinationError, match="no known answer of Slack's"):
            make().check()
    slack.answer(Answer(200, "ok"))
    assert make().check() == f"127.0.0.1:{slack.port} answered ok to a message without text"


# What is never shown, and what is promised


def test_neither_webhook_nor_message_is_logged_at_any_level(make, deliver, told):
    """The SDK logs both at DEBUG, and errors with the address; the bridge's root logger may be set to that."""
    assert deliver(make(personal="full"), **NEEDLES) == "ok"
    assert [each for each in SECRETS if each in told()] == []


def test_the_sdk_would_have_logged_them(slack, told):
    """So the test above can fail."""
    logger = logging.getLogger("slack_sdk.webhook.client")
    WebhookClient(slack.url, logger=logger).send(text="Needle7Q")
    shown = told()
    assert "NeedleOfTheWebhook" in shown
    assert "Needle7Q" in shown


def test_the_settings_show_no_secret():
    """Not in a representation or a dump, nor their parts."""
    settings = SlackSettings(webhook_url=slacks(), proxy=f"http://{PROOF_IN_URL}@127.0.0.1:1")
    parts = WebhookAddress.of(settings.webhook_url), ProxyAddress.of(settings.proxy)
    shown = (
        f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()} {parts} {parts[0]} {parts[1]}"
    )
    assert [each for each in SECRETS if each in shown] == []


def test_the_sdks_own_transport_leads_nowhere(slack, make):
    """Should the SDK ever go past ours, nothing may leave: a proxy that cannot be is what it would use."""
    webhook = make()._webhook
    assert webhook.proxy.startswith("http://nowhere.invalid:")
    assert webhook.retry_handlers == []
    assert "_perform_http_request_internal" in vars(Webhook)
    assert webhook.post({"text": ""}).status_code == 400
    assert len(slack.requests) == 1


def test_importing_the_plugin_costs_less_than_the_core_and_brings_nothing_heavy():
    """`glycanbridge check` imports every plugin there is."""
    code = """
import sys, time
began = time.process_time()
import glycanbridge.events, glycanbridge.settings, glycanbridge.hookspecs
core = time.process_time() - began
import glycanbridge_slack
both = time.process_time() - began
print(both - core, core, *sorted({name.split(".")[0] for name in sys.modules}))
"""
    ratios, modules = [], set()
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
        own, core, *modules = done.stdout.split()
        ratios.append(float(own) / float(core))
    assert min(ratios) < 1
    assert set(modules) & {"aiohttp", "requests", "httpx", "websocket", "websockets", "sqlalchemy", "boto3"} == set()


def test_the_settings_in_the_readme_are_those_of_the_plugin():
    """Each with what it needs and its default."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (\w+) \| (.*?) ?\| ", README.read_text(encoding="utf-8"), re.MULTILINE)
    schema = SlackSettings.model_json_schema()
    for (name, required, secret, default), (field, each) in zip(rows, SlackSettings.model_fields.items(), strict=True):
        property_ = json.dumps(schema["properties"][name])
        assert (name, required, secret) == (
            field, "yes" if each.is_required() else "no", "yes" if "password" in property_ else "no"
        )  # fmt: skip
        assert default == ("" if each.is_required() or each.default is None else f"`{each.default}`")
        assert len(schema["properties"][name]["description"]) > 20
