"""The way to a far side and back: what is sent, what each answer means, and what none of it ever shows."""

import json
import logging
import re
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import httpx2
import pytest
from click.testing import CliRunner
from glycanbridge_http import Http, HttpSettings
from glycanbridge_http.answers import LONGEST_RECEIPT
from glycanbridge_http.far_side import LARGEST_ANSWER_BYTES

from glycanbridge import EVENT_TYPES, DestinationError, PermanentError, TemporaryError

HOST = "portal.clinic.example"
PROOF = "needleclerk:p@ss:word/needle"
PROOF_IN_URL = "needleclerk:p%40ss%3Aword%2Fneedle"
VALUES = {
    name: f"{name}Needle7Q"
    for name in ("reportId", "testId", "kitCode", "patientId", "assignmentId", "glycanAge", "chronologicalAge")
} | {"practiceId": "practiceNeedle7Q", "reportUrl": "/reports/urlNeedle7Q"}
SECRETS = ["NeedleOfTheUrl", "Needle7Q", "p@ss", "p%40ss", "needle"]
KEY = "whsec_bmVlZGxlbmVlZGxlbmVlZGxlbmVlZGxl"
SECRET_SETTINGS = {"headers": {"X-Key": "needle-key"}, "auth": {"bearer": "needle-token"}}


@pytest.fixture
def told(caplog, capfd):
    """Everything that was logged, at every level and of every logger, and printed."""
    for name in (None, "httpx2", "httpcore2", "glycanbridge_http"):
        caplog.set_level(logging.DEBUG, logger=name)
    return lambda: caplog.text + "".join(capfd.readouterr())


@pytest.fixture
def failure(deliver, told):
    """What a delivery full of needles fails with; none of them shows in the error, its representation, or a log."""

    def failure(plugin, kind):
        with pytest.raises((TemporaryError, DestinationError, PermanentError)) as raised:
            deliver(plugin, **VALUES)
        shown = (
            f"{raised.value} {raised.value!r} {vars(raised.value)} {told()} {plugin!r} {vars(plugin)} {plugin.tells()}"
        )
        assert [each for each in SECRETS if each in shown] == []
        assert type(raised.value) is kind, raised.value
        return raised.value

    return failure


@pytest.fixture
def secretive(make):
    """Makes the plugin with a secret in every setting that can have one."""
    return lambda **more: make(**SECRET_SETTINGS, personal="full", **more)


# What goes over the wire


@pytest.mark.parametrize("event_type", EVENT_TYPES)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_each_event_is_one_request(peer, make, deliver, event_type, method):
    """With what a far side needs to know it again, and nothing that it need not know."""
    assert deliver(make(method=method), event_type) == "200"
    (request,) = peer.requests
    assert (request.method, request.path) == (method, "/hooks/zXcVbNeedleOfTheUrl")
    assert request.json["type"] == event_type
    assert request.headers == {
        "host": f"127.0.0.1:{peer.port}", "accept": "*/*", "accept-encoding": "identity", "connection": "close",
        "content-type": "application/json", "user-agent": "glycanbridge-http", "idempotency-key": f"{'a' * 64}:there",
        "content-length": str(len(request.body)),
    }  # fmt: skip


def test_the_same_delivery_is_the_same_request_in_every_attempt(peer, make, deliver):
    """So that a far side that looks at the key never finds another body under it."""
    plugin = make()
    deliver(plugin, attempt=1)
    deliver(plugin, attempt=2)
    first, second = peer.requests
    assert (first.body, first.headers) == (second.body, second.headers)


def test_headers_and_proofs_are_sent_as_they_are_set(peer, make, deliver):
    """Each kind of them."""
    deliver(
        make(
            headers={"X-Api-Key": "a key: of=signs", "user-agent": "ours", "accept": "text/x"},
            idempotency_header="X-Delivery",
        )
    )
    deliver(make(auth={"basic": {"user": "žena", "password": "a:b"}}, idempotency_header=None))
    deliver(make(auth={"bearer": "t.o_k-e/n="}))
    deliver(make(auth={"hmac": [KEY, KEY]}))
    ours, basic, bearer, hmac = (each.headers for each in peer.requests)
    assert (ours["x-api-key"], ours["user-agent"], ours["x-delivery"]) == (
        "a key: of=signs",
        "ours",
        f"{'a' * 64}:there",
    )
    assert ("idempotency-key" in ours, ours["accept"]) == (False, "text/x")
    assert (basic["authorization"], "idempotency-key" in basic) == ("Basic xb5lbmE6YTpi", False)
    assert bearer["authorization"] == "Bearer t.o_k-e/n="
    assert re.fullmatch(r"(v1,[A-Za-z0-9+/]{43}=) \1", hmac["webhook-signature"])
    assert hmac["webhook-id"] == hmac["idempotency-key"]


@pytest.mark.parametrize(
    "rest",
    ["/workflows/0a/triggers/manual/paths/invoke?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=_a-B~",
     "/a%20b;c=(d)/%7Be%7D?f=g%26h", "/", "?x", "/a//b"],
)  # fmt: skip
def test_an_address_is_asked_for_as_it_was_copied(peer, make, deliver, rest):
    """Power Automate's has a signature over it; another spelling is another address."""
    deliver(make(url=peer.origin + rest))
    assert peer.requests[0].path == (rest if rest.startswith("/") else f"/{rest}")


def test_values_in_an_address_arrive_as_values(peer, make, deliver):
    """In the path and in the query."""
    plugin = make(url=peer.origin + "/orders/{{ event.data.order_id }}?at={{ event.timestamp }}&of={{ delivery.id }}",
                  events=["order-status-changed"], method="PUT")  # fmt: skip
    deliver(plugin, "order-status-changed", orderId="order 1?x=#ž")
    assert peer.requests[0].path == (
        f"/orders/order%201%3Fx%3D%23%C5%BE?at=2023-08-27T08%3A00%3A00.000Z&of={'a' * 64}%3Athere"
    )


def test_a_far_side_is_spoken_to_by_tls_with_its_own_name_through_a_proxy_with_a_password(
    tls_peer, proxied, authority, make, deliver
):
    """The proxy sees the host's name alone."""
    peer = tls_peer(HOST)
    proxy = proxied(peer, proof=PROOF)
    plugin = make(url=f"https://{HOST}/needle", ca_file=authority.file, personal="full", **SECRET_SETTINGS,
                  proxy=f"http://{PROOF_IN_URL}@127.0.0.1:{proxy.port}")  # fmt: skip
    assert deliver(plugin, **VALUES) == "200"
    (head,) = proxy.heads
    assert head.startswith(f"CONNECT {HOST}:443 HTTP/1.")
    assert [each for each in SECRETS if each in head] == []
    (request,) = peer.requests
    assert (request.path, request.headers["host"]) == ("/needle", HOST)
    assert "proxy-authorization" not in request.headers


@pytest.mark.parametrize("host", ["xn--a.example", "xn--99999999999.example"])
def test_a_host_that_only_the_network_finds_to_be_none_is_told_plainly(make, deliver, host):
    """Whatever the settings let through, no error but the contract's comes out."""
    with pytest.raises((DestinationError, TemporaryError), match=f"^{host}"):
        deliver(make(url=f"https://{host}/x", connect_timeout_s=2))


def test_a_proxy_in_the_environment_is_not_used(peer, make, proxied, deliver, monkeypatch):
    """Which way results take stands in bridge.yaml; nor is a password from ~/.netrc."""
    proxy = proxied(peer)
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    assert deliver(make()) == "200"
    assert proxy.heads == []


def test_a_proxy_in_the_settings_is_used_whatever_the_environment_says(
    tls_peer, authority, make, *, proxied, deliver, monkeypatch
):  # fmt: skip
    """A clinic that names one has no other way out, or wants none."""
    peer = tls_peer("127.0.0.1")
    proxy = proxied(peer)
    monkeypatch.setenv("NO_PROXY", "*")
    plugin = make(url=peer.url, ca_file=authority.file, proxy=f"http://127.0.0.1:{proxy.port}")
    assert deliver(plugin) == "200"
    (head,) = proxy.heads
    assert head.startswith(f"CONNECT 127.0.0.1:{peer.port} HTTP/1.")


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(peer, another_peer, secretive, failure, status):
    """Elsewhere nobody vouches for what becomes of a result, or of a token."""
    elsewhere = another_peer()
    peer.says(status, "ok", Location=elsewhere.url)
    assert f"answered {status}: a redirect, which is not followed: set url" in str(
        failure(secretive(), DestinationError)
    )
    assert elsewhere.requests == []
    assert len(peer.requests) == 1


def test_no_cookie_is_kept(peer, make, deliver):
    """One event knows nothing of another."""
    peer.says(200, "", Set_Cookie="a=needle; Path=/")
    plugin = make()
    deliver(plugin)
    deliver(plugin)
    assert "cookie" not in peer.requests[1].headers


def test_each_request_has_a_connection_of_its_own(peer, make, deliver):
    """One that is used again may be closed in that very moment, and nobody would know whether the event was taken."""
    plugin = make()
    for _ in range(5):
        deliver(plugin)
    assert (len(peer.requests), peer.taken) == (5, 5)


def test_one_instance_serves_several_threads(tls_peer, authority, make, deliver, monkeypatch):
    """With isolation thread all lanes share one; and no TLS context is made anew."""
    peer = tls_peer("127.0.0.1")
    plugin = make(url=peer.url, ca_file=authority.file)
    monkeypatch.setattr("ssl.create_default_context", lambda **_: pytest.fail("another TLS context"))
    ids = [f"event-{number}" for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda each: deliver(plugin, event_id=each), ids)) == {"200"}
    assert sorted(each.json["event_id"] for each in peer.requests) == sorted(ids)


def test_after_close_nothing_is_held_and_closing_twice_is_no_mistake(peer, make, deliver):
    """The bridge may close what it has closed."""
    plugin = make()
    deliver(plugin)
    plugin.close()
    plugin.close()


# What each answer means


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_success_is_one_and_its_status_the_receipt(peer, make, deliver, status):
    """Teams answers 202, Zapier 200, others 201 or 204; what they say besides may quote a patient."""
    peer.says(status, "" if status == 204 else '{"kit": "KIT001234"}')
    assert deliver(make()) == str(status)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599, 408, 425])
def test_its_own_faults_are_temporary(peer, secretive, failure, status):
    """Once for each attempt: what failed may be there."""
    peer.says(status, "needle", Retry_After="90")
    error = failure(secretive(), TemporaryError)
    assert str(error) == f"127.0.0.1:{peer.port} answered {status}: it cannot take it now"
    assert (error.retry_after_s, error.unknown) == ("90", False)
    peer.says(status, "<html>")
    assert failure(secretive(), TemporaryError).retry_after_s == 0
    assert len(peer.requests) == 2


@pytest.mark.parametrize(
    ("headers", "asked"),
    [
        ({"Retry-After": "7"}, "7"), ({}, 30), ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"Retry-After": "soon"}, 30), ({"Retry-After": "-1"}, 30), ({"Retry-After": ""}, 30),
    ],
)  # fmt: skip
def test_too_many_requests_leave_the_whole_destination_alone_for_as_long_as_it_says(
    peer, secretive, failure, headers, asked
):
    """Nobody sleeps in the lane."""
    peer.says(429, "needle", **{name.replace("-", "_"): value for name, value in headers.items()})
    error = failure(secretive(), DestinationError)
    assert error.retry_after_s == (asked or headers["Retry-After"])
    assert str(error).endswith("answered 429: it asks to be left alone for a while")
    assert len(peer.requests) == 1


@pytest.mark.parametrize(
    ("status", "advice"),
    [(401, "see to auth"), (403, "see to auth"), (404, "see to url"), (405, "see to method"), (407, "see to proxy"),
     (410, "see to url: it is gone"), (304, "a redirect"), (600, "no status that this destination knows"),
     (999, "no status that this destination knows")],
)  # fmt: skip
def test_what_is_wrong_with_the_way_stops_the_destination_and_burns_nothing(peer, secretive, failure, status, advice):
    """Every delivery would fail alike, until a person mends it; the text says how."""
    peer.says(status, "")
    error = failure(secretive(), DestinationError)
    assert f"answered {status}: {advice}" in str(error)
    assert error.retry_after_s == 300


@pytest.mark.parametrize("status", [400, 402, 406, 409, 411, 412, 413, 415, 418, 422, 451, 499])
def test_what_is_refused_for_itself_is_a_dead_letter(peer, secretive, failure, status):
    """It would be refused for ever; its neighbours are not. What the answer says is not repeated."""
    peer.says(status, json.dumps({"error": "no such patient: patientIdNeedle7Q"}))
    error = failure(secretive(), PermanentError)
    assert str(error) == f"127.0.0.1:{peer.port} answered {status}: it does not take this event as it is sent"


def test_the_operator_may_overrule_what_a_status_means(peer, make, deliver, failure):
    """A service whose 409 means that it has the event already, and whose 404 will never be another."""
    plugin = make(success=[200, 409], temporary=["2xx"], permanent=[404, "5xx"], destination=[400])
    for status, kind in ((201, TemporaryError), (404, PermanentError), (503, PermanentError), (400, DestinationError)):
        peer.says(status)
        failure(plugin, kind)
    peer.says(409)
    assert deliver(plugin) == "409"


@pytest.mark.parametrize(
    ("receipt", "body", "headers", "kept"),
    [
        ("/id", '{"status": "success", "id": "0197-ab"}', {}, "200 0197-ab"),
        ("/a~1b/1/~0c", '{"a/b": [0, {"~c": 17}]}', {}, "200 17"),
        ("X-Request-Id", "", {"x-request-id": "r-1"}, "200 r-1"),
        ("X-Request-Id", "", {}, "200"),
        ("/id", '{"id": {"a": 1}}', {}, "200"),
        ("/id", '{"id": true}', {}, "200"),
        ("/id", '{"id": null}', {}, "200"),
        ("/id", '{"id": ""}', {}, "200"),
        ("/id", '{"id": "a\\nb"}', {}, "200"),
        ("/id", json.dumps({"id": "x" * LONGEST_RECEIPT}), {}, "200 " + "x" * LONGEST_RECEIPT),
        ("/id", json.dumps({"id": "x" * (LONGEST_RECEIPT + 1)}), {}, "200"),
        ("/id", "<html>", {}, "200"),
        ("/id", "[" * 50_000, {}, "200"),
        ("/9", "[1]", {}, "200"),
        ("/id/x", '{"id": "a"}', {}, "200"),
        ("/id", "", {}, "200"),
    ],
)
def test_what_the_far_side_gave_back_is_kept_where_it_is_a_short_line(
    peer, make, deliver, *, receipt, body, headers, kept
):
    """Anything else there is as if nothing were: the event is delivered all the same."""
    peer.says(200, body, **{name.replace("-", "_"): value for name, value in headers.items()})
    assert deliver(make(receipt=receipt)) == kept


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnone",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200\r\n\r\n\xff\xfe",
    ],
)
def test_of_a_success_nothing_is_looked_at_but_what_is_asked_for(peer, make, deliver, data):
    """The far side has said yes: what it says besides cannot take it back."""
    peer.sends(data)
    assert deliver(make(receipt="/id")) == "200"


@pytest.mark.parametrize("head", ["Content-Length: 100000000", "Connection: close"])
def test_an_answer_without_end_is_not_read_to_its_end(peer, make, deliver, head):
    """It must not fill the memory, nor hold the lane; and its connection is not used again."""
    sent = []

    def flood(handler):
        handler.wfile.write(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode())
        handler.close_connection = True
        with suppress(OSError):
            while len(sent) < 500:
                handler.wfile.write(b"x" * 65_536)
                sent.append(1)

    peer.answer = flood
    plugin = make(receipt="/id")
    assert deliver(plugin) == "200"
    assert len(sent) < 500
    assert LARGEST_ANSWER_BYTES == 65_536
    peer.answer = None
    assert deliver(plugin) == "200"


def test_an_answer_that_drips_is_not_waited_for(peer, make, deliver):
    """Its status has come: that is what counts."""
    peer.drips(b"HTTP/1.1 202 Accepted\r\nContent-Length: 100000\r\n\r\n", 0.01)
    assert deliver(make(connect_timeout_s=0.1, read_timeout_s=0.1, receipt="/id")) == "202"


def test_an_answer_whose_body_never_comes_is_not_waited_for(peer, make, deliver):
    """Not longer than the time limits, whatever time the head took."""
    peer.drips(b"HTTP/1.1 202 Accepted\r\nContent-Length: 100000\r\n\r\n", 30)
    began = time.monotonic()
    assert deliver(make(connect_timeout_s=0.1, read_timeout_s=0.1)) == "202"
    assert time.monotonic() - began < 5


# What goes wrong on the way


@pytest.mark.parametrize(
    "data",
    [
        b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nContent-Le", b"\x16\x03\x01 no HTTP at all\r\n\r\n",
        b"HTTP/9.9 x\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 300_000, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
        b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"id": "', b"HTTP/1.1 422 No\r\nContent-Length: 9\r\n\r\nno",
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{"',
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("drop", [False, True])
def test_half_an_answer_is_no_answer(peer, secretive, failure, data, drop):
    """It may be there: it is made again by the schedule, not within the attempt."""
    peer.sends(data, drop=drop)
    error = failure(secretive(), TemporaryError)
    assert "broke off before it had answered (" in str(error)
    assert str(error).endswith("): it may have taken the event already")
    assert (error.unknown, error.retry_after_s) == (True, None)
    assert len(peer.requests) == 1


def test_an_answer_that_does_not_come_in_time_is_unknown_without_a_quick_try(peer, secretive, failure):
    """Another try would not fit into the attempt."""
    peer.is_silent()
    error = failure(secretive(read_timeout_s=0.05), TemporaryError)
    assert "did not answer within 0.05 s: it may have taken the event already" in str(error)
    assert (error.unknown, error.retry_after_s) == (True, None)


def test_a_far_side_that_hangs_up_after_each_answer_loses_none(peer, make, deliver):
    """With a connection that is used again, now and then one would look lost."""
    plugin = make()

    def last(handler):
        handler.say(200, "")
        handler.close_connection = True
        handler.connection.shutdown(socket.SHUT_RDWR)

    peer.answer = last
    assert [deliver(plugin) for _ in range(50)] == ["200"] * 50


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
def test_a_connection_that_is_not_taken_in_time_is_temporary(secretive, failure, full_door):
    """Nothing was sent."""
    error = failure(secretive(url=f"http://127.0.0.1:{full_door}/needle", connect_timeout_s=0.05), TemporaryError)
    assert f"127.0.0.1:{full_door}: no connection within 0.05 s" in str(error)
    assert (error.unknown, error.retry_after_s) == (False, 0)


@pytest.fixture
def nobody():
    """A port at which nobody listens, and which nobody else can get."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def test_a_refused_connection_is_temporary(secretive, failure, nobody):
    """Nothing was sent."""
    error = failure(secretive(url=f"http://127.0.0.1:{nobody}/needle"), TemporaryError)
    assert str(error) == f"127.0.0.1:{nobody}: Connection refused"
    assert (error.unknown, error.retry_after_s) == (False, 0)


def test_a_name_that_cannot_be_resolved_is_temporary(secretive, failure, monkeypatch):
    """The clinic's own network is away; it is told whom to ask."""

    def unknown(*_, **__):
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr("socket.getaddrinfo", unknown)
    error = failure(secretive(url=f"https://{HOST}/needle"), TemporaryError)
    assert f"{HOST}: its name cannot be resolved; see to this machine's DNS" in str(error)
    assert (error.unknown, error.retry_after_s) == (False, 0)


def test_a_certificate_that_is_not_trusted_stops_the_destination_before_anything_is_sent(tls_peer, secretive, failure):
    """By the system's certificates nobody knows the tests' authority."""
    peer = tls_peer("127.0.0.1")
    error = failure(secretive(url=peer.url), DestinationError)
    assert f"the certificate of 127.0.0.1:{peer.port} is not trusted (" in str(error)
    assert peer.requests == []


def test_another_hosts_certificate_stops_the_destination_before_anything_is_sent(
    tls_peer, proxied, authority, secretive, failure
):
    """Who leads a name elsewhere gets nothing; through a proxy, and without one."""
    peer = tls_peer("evil.example")
    proxy = f"http://127.0.0.1:{proxied(peer).port}"
    for told in ({"url": f"https://{HOST}/needle", "proxy": proxy}, {"url": peer.url}):
        error = failure(secretive(ca_file=authority.file, **told), DestinationError)
        assert re.search(r"the certificate of .* is not trusted \((Hostname|IP address) mismatch", str(error))
    assert peer.requests == []


def test_what_speaks_no_tls_stops_the_destination_before_anything_is_sent(peer, secretive, failure):
    """A portal that takes every connection, say."""
    plugin = secretive(url=peer.url.replace("http:", "https:"))
    assert "speaks no TLS that can be trusted (" in str(failure(plugin, DestinationError))
    assert peer.requests == []


def test_a_far_side_that_wants_a_certificate_stops_the_destination(tls_peer, authority, secretive, failure):
    """TLS 1.3 says so only after the request was sent."""
    peer = tls_peer("127.0.0.1", wants_certificate=True)
    error = failure(secretive(url=peer.url, ca_file=authority.file), DestinationError)
    assert "wants a certificate of the bridge's" in str(error)
    assert peer.requests == []


@pytest.mark.parametrize("through", [False, True])
def test_a_handshake_that_does_not_go_on_is_no_connection(secretive, failure, through):
    """What takes a connection and then says nothing is behind a firewall, say; the proxy too."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        here = f"127.0.0.1:{door.getsockname()[1]}"
        told = {"url": f"https://{HOST}/n", "proxy": f"http://{here}"} if through else {"url": f"https://{here}/n"}
        error = failure(secretive(**told, connect_timeout_s=0.05, read_timeout_s=0.05), TemporaryError)
    assert f"{here}: no connection within 0.05 s" in str(error)
    assert (error.unknown, error.retry_after_s) == (False, 0)


def test_a_connection_that_ends_within_the_handshake_is_temporary(secretive, failure):
    """Machines are restarted now and then; nothing was sent."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        plugin = secretive(url=f"https://127.0.0.1:{door.getsockname()[1]}/n")

        def end():
            taken, _ = door.accept()
            with taken:
                taken.recv(5000)

        ending = threading.Thread(target=end)
        ending.start()
        assert failure(plugin, TemporaryError).unknown is False
        ending.join()


@pytest.mark.parametrize(
    ("answer", "kind", "expected"),
    [
        (b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n", DestinationError, "with 407: see to proxy, its user"),
        (b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", DestinationError, "with 403: see to proxy, its user"),
        (b"HTTP/1.1 302 No\r\nContent-Length: 0\r\n\r\n", DestinationError, "with 302: see to proxy"),
        (b"HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n", TemporaryError, f"there is no way to {HOST} now (502)"),
        (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", TemporaryError, f"there is no way to {HOST} now (503)"),
        (b"", TemporaryError, "no connection ("),
        (b"garbage\r\n\r\n", TemporaryError, "no connection ("),
    ],
)
def test_a_proxys_refusal_is_told_as_the_proxys(tls_peer, proxied, secretive, failure, *, answer, kind, expected):
    """A wrong password stops the destination; a proxy that finds no way now may find one later. Nothing was sent."""
    proxy = proxied(tls_peer(HOST), answer=answer)
    error = failure(secretive(url=f"https://{HOST}/n", proxy=f"http://{PROOF_IN_URL}@127.0.0.1:{proxy.port}"), kind)
    assert str(error).startswith(f"the proxy 127.0.0.1:{proxy.port}")
    assert expected in str(error)
    assert getattr(error, "unknown", False) is False


def test_a_wrong_password_for_the_proxy_stops_the_destination(tls_peer, proxied, secretive, failure):
    """And the text names neither user nor password."""
    proxy = proxied(tls_peer(HOST), proof="needleclerk:another")
    plugin = secretive(url=f"https://{HOST}/n", proxy=f"http://{PROOF_IN_URL}@127.0.0.1:{proxy.port}")
    assert "with 407: see to proxy, its user and password" in str(failure(plugin, DestinationError))


def test_a_proxy_that_is_away_is_told_as_the_proxy(secretive, failure, nobody):
    """Else somebody looks for the fault at the far side."""
    plugin = secretive(url=f"https://{HOST}/n", proxy=f"http://127.0.0.1:{nobody}")
    assert str(failure(plugin, TemporaryError)) == f"the proxy 127.0.0.1:{nobody}: Connection refused"


# What the check says


def test_the_check_connects_and_sends_nothing(peer, tls_peer, authority, make):
    """An honest one: whether events are taken it cannot know."""
    assert make().check() == f"127.0.0.1:{peer.port}: a connection; whether it takes events only an event will show"
    encrypted = tls_peer("127.0.0.1")
    found = make(url=encrypted.url, ca_file=authority.file).check()
    assert found.startswith(f"127.0.0.1:{encrypted.port}: a connection, and its certificate is trusted; whether it")
    assert (peer.requests, encrypted.requests) == ([], [])
    assert encrypted.taken == 1


def test_the_check_goes_through_the_proxy_and_sends_the_far_side_nothing(tls_peer, proxied, authority, make):
    """The same way as an event."""
    peer = tls_peer(HOST)
    proxy = proxied(peer)
    plugin = make(url=f"https://{HOST}/n", ca_file=authority.file, proxy=f"http://127.0.0.1:{proxy.port}")
    assert "its certificate is trusted" in plugin.check()
    assert (len(proxy.heads), peer.requests) == (1, [])


def test_the_check_finds_what_an_event_would_find(tls_peer, make, nobody):
    """Before it has to wait for it."""
    with pytest.raises(DestinationError, match=r"the certificate of .* is not trusted"):
        make(url=tls_peer("127.0.0.1").url).check()
    with pytest.raises(TemporaryError, match="Connection refused"):
        make(url=f"http://127.0.0.1:{nobody}/n").check()


def test_a_check_url_is_asked_with_the_same_proofs_and_tells_nothing(peer, make):
    """A wrong token is found before the first event; nothing of an event, and no body, is in it."""
    plugin = make(check_url=f"{peer.origin}/health", auth={"bearer": "token"}, headers={"X-Key": "key"})
    assert plugin.check() == f"127.0.0.1:{peer.port} answered 200 to a GET of check_url; nothing was sent"
    (request,) = peer.requests
    assert (request.method, request.path, request.body) == ("GET", "/health", b"")
    assert (request.headers["authorization"], request.headers["x-key"]) == ("Bearer token", "key")
    assert {"content-type", "content-length", "idempotency-key"} & set(request.headers) == set()
    peer.says(401)
    with pytest.raises(DestinationError, match="answered 401: see to auth"):
        plugin.check()
    make(check_url=peer.origin, auth={"hmac": [KEY]}, success=[401]).check()
    assert peer.requests[-1].headers["webhook-id"] == "check"


# The preview


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_the_preview_shows_what_would_be_sent_and_sends_nothing(peer, make, deliver, event_type):
    """For each event type: method, place, headers and body."""
    plugin = make(headers={"X-Key": "needle"}, idempotency_header="X-Delivery")
    (command,) = plugin.commands()
    done = CliRunner().invoke(command, [event_type])
    assert done.exit_code == 0, done.output
    head, _, body = done.output.partition("\n\n")
    assert head.splitlines() == [
        f"POST {peer.origin}/***", "Content-Type: application/json", "User-Agent: glycanbridge-http", "X-Key: ***",
        "X-Delivery: sample:preview",
    ]  # fmt: skip
    assert json.loads(body)["type"] == event_type
    assert peer.requests == []
    assert "needle" not in done.output.lower()


def test_the_preview_shows_secrets_only_where_it_is_told_to(peer, make):
    """On the operator's own screen, to find a mistake in them."""
    (command,) = make(auth={"hmac": [KEY]}, headers={"X-Key": "needle"}).commands()
    hidden, shown = (CliRunner().invoke(command, more).output for more in ([], ["--secrets"]))
    assert "webhook-signature: ***" in hidden
    assert "needle" not in hidden.lower()
    assert f"POST {peer.url}\n" in shown
    assert "X-Key: needle\n" in shown
    assert "webhook-signature: v1," in shown
    assert '"type": "report-ready"' in hidden  # what most destinations are for


def test_the_preview_of_what_cannot_be_made_says_why(peer, make):
    """A template for reports alone, asked for an order."""
    plugin = make(events=["report-ready"], body='{"at": "{{ event.data.created_on }}"}')
    done = CliRunner().invoke(plugin.commands()[0], ["order-status-changed"])
    assert done.exit_code == 1
    assert "body: line 1 of it: it names something that is not told of this event" in done.output
    assert CliRunner().invoke(plugin.commands()[0], ["no-such"]).exit_code == 2


# What is never shown, and what is promised


def test_neither_address_nor_secrets_nor_body_are_logged_at_any_level(secretive, deliver, told):
    """The client logs both at INFO and DEBUG; the bridge's root logger may be set to that."""
    logging.getLogger("httpcore2").setLevel(logging.NOTSET)
    plugin = secretive()
    logging.getLogger().setLevel(logging.DEBUG)
    assert deliver(plugin, **VALUES) == "200"
    assert [each for each in SECRETS if each in told()] == []


def test_the_client_would_have_logged_them(peer, told):
    """So the test above can fail."""
    for name in ("httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    httpx2.post(peer.url, headers={"X-Key": "needle-key"}, trust_env=False)
    assert "NeedleOfTheUrl" in told()


def test_what_is_made_for_a_delivery_shows_nothing(peer, secretive, deliver):
    """In a traceback's representation, say."""
    plugin = secretive()
    peer.says(200, "needle")
    seen = []
    ask = plugin._far_side.send
    plugin._far_side.send = lambda outgoing: seen.extend([outgoing, ask(outgoing)]) or seen[1]
    deliver(plugin, **VALUES)
    assert [each for each in SECRETS if each in repr(seen)] == []
    assert repr(seen) == "[Outgoing(method='POST'), Answer(status=200)]"


def test_importing_the_plugin_costs_less_than_the_core_and_brings_nothing_heavy():
    """`glycanbridge check` imports every plugin there is."""
    code = """
import sys, time
began = time.process_time()
import glycanbridge.events, glycanbridge.settings, glycanbridge.hookspecs
core = time.process_time() - began
import glycanbridge_http
both = time.process_time() - began
print(both - core, core, *sorted({name.split(".")[0] for name in sys.modules}))
"""
    ratios, modules = [], set()
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
        own, core, *modules = done.stdout.split()
        ratios.append(float(own) / float(core))
    assert min(ratios) < 1
    assert set(modules) & {"asyncio", "anyio", "requests", "aiohttp", "rich", "h2", "slack_sdk"} == set()


def test_the_class_names_its_settings_and_its_contract():
    """As every plugin."""
    assert Http.Settings is HttpSettings
    assert Http.contract == ">=1.0,<2"


@pytest.mark.parametrize("tls", [False, True])
def test_an_answers_body_is_waited_for_no_longer_than_both_timeouts_together(
    make, deliver, peer, tls_peer, authority, *, tls
):
    """A letter shortly before the end, then nothing: it was taken, and that is known from its status."""
    there = tls_peer("127.0.0.1") if tls else peer

    def answer(handler):
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        handler.close_connection = True
        there.over.wait(1.7)
        with suppress(OSError):
            handler.wfile.write(b"o")
        there.over.wait(10)

    there.answer = answer
    begun = time.monotonic()
    assert deliver(make(url=there.url, connect_timeout_s=1, read_timeout_s=1, ca_file=authority.file)) == "200"
    assert time.monotonic() - begun < 3


def test_a_host_with_several_addresses_is_tried_no_longer_than_connect_timeout_s(make, deliver, monkeypatch):
    """Otherwise the attempt would be cut off, and be unknown though nothing left."""
    with ExitStack() as stack:
        door = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = door.getsockname()
        for _ in range(8):  # until nobody is let in any more
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            with suppress(BlockingIOError):
                one.connect(address)
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address)] * 4
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        begun = time.monotonic()
        with pytest.raises(TemporaryError, match=r"no connection within 0\.5 s"):
            deliver(make(url="https://portal.clinic.example/", connect_timeout_s=0.5, read_timeout_s=1))
        assert time.monotonic() - begun < 1.5
