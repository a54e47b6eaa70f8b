"""The HTTP peer: it keeps what it is asked, answers as it is told, misbehaves as it is told, and ends cleanly."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading

import pytest
import trustme
from serving import until

from glycanbridge.testing import Answer, Fault, HttpPeer


def ask(peer, method="POST", path="/x?y=1", body=b"{}", headers=None, *, timeout=5, context=None):
    """A request, and the answer with its body read."""
    kind = http.client.HTTPSConnection if context else http.client.HTTPConnection
    more = {"context": context} if context else {}
    connection = kind("127.0.0.1", peer.port, timeout=timeout, **more)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        answer.content = answer.read()
        return answer
    finally:
        connection.close()


@pytest.fixture
def peer(glycanbridge_http_peer):
    """An HTTP server on loopback."""
    return glycanbridge_http_peer


def test_what_it_is_asked_is_kept_whole(peer):
    """Method, path, headers in any case, body; and what it says is what it was told."""
    peer.answer(Answer(201, "Zoë", {"X-Kept": "yes"}))
    answer = ask(peer, "PUT", body=b'{"a": 1}', headers={"Idempotency-Key": "e1:a"})

    assert (answer.status, answer.content.decode(), answer.headers["X-Kept"]) == (201, "Zoë", "yes")
    (request,) = peer.requests
    assert (request.method, request.path, request.json) == ("PUT", "/x?y=1", {"a": 1})
    assert (request.headers["idempotency-key"], request.headers["nothing"]) == ("e1:a", None)
    assert peer.connections == 1


def test_each_answer_is_given_once_and_the_last_for_ever(peer):
    """A script is how most far sides recover."""
    peer.answer(Answer(500), Answer(429, headers={"Retry-After": "7"}), Answer(200, "ok"))

    answers = [ask(peer) for _ in range(4)]
    assert [each.status for each in answers] == [500, 429, 200, 200]
    assert answers[1].headers["Retry-After"] == "7"
    peer.answer(lambda request: Answer(404 if request.path == "/gone" else 200, request.body))
    assert (ask(peer, path="/gone").status, ask(peer, body=b"echo").content) == (404, b"echo")
    peer.be_well()
    assert ask(peer).status == 200
    with pytest.raises(ValueError, match="at least one"):
        peer.answer()


def test_a_redirect_says_where_to(peer):
    """Following it with a patient's data would be a mistake, and a test should show it."""
    peer.answer(Answer.redirect("https://elsewhere.example/"))

    answer = ask(peer)
    assert (answer.status, answer.headers["Location"]) == (302, "https://elsewhere.example/")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.RESET, ConnectionResetError),
        (Fault.CLOSE, http.client.RemoteDisconnected),
        (Fault.CLOSE_MIDWAY, http.client.IncompleteRead),
        (Fault.GARBAGE, http.client.BadStatusLine),
        (Fault.HANG, TimeoutError),
    ],
)
def test_it_misbehaves_as_it_is_told(peer, fault, error):
    """Each is an error of its own for whoever asks."""
    peer.answer(fault)

    with pytest.raises(error):
        ask(peer, timeout=0.3)
    assert len(peer.requests) == 1


def test_a_reset_in_the_middle_comes_after_the_beginning(peer):
    """Part of the answer is there: the request was taken."""
    peer.answer(Fault.RESET_MIDWAY)
    with socket.create_connection(("127.0.0.1", peer.port), timeout=5) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")

        with pytest.raises(ConnectionResetError), connection.makefile("rb") as answer:
            answer.read()


def test_bytes_can_be_said_as_they_are_and_what_comes_then(peer):
    """For a far side that is wrong in a way of its own."""
    peer.answer(Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", then=Fault.CLOSE))
    with pytest.raises(http.client.IncompleteRead):
        ask(peer)
    peer.answer(Answer(200, "whole", then=Fault.RESET))
    assert ask(peer).content == b"whole"


def test_it_can_come_back_where_it_was():
    """A plugin finds it again by its old address."""
    with HttpPeer() as peer:
        ask(peer)
    with HttpPeer(Answer(202), port=peer.port) as again:
        assert ask(again).status == 202


def test_a_drip_defeats_a_timeout_for_each_read(peer):
    """Something always comes, and it never ends."""
    peer.answer(Fault.DRIP)
    with socket.create_connection(("127.0.0.1", peer.port), timeout=5) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")

        while (come := connection.recv(1000)) and not come.endswith(b"."):
            pass
        assert connection.recv(1000) == b"."


def test_a_connection_can_be_used_again(peer):
    """Clients that keep theirs are served, and it can be seen which request came on which."""
    connection = http.client.HTTPConnection("127.0.0.1", peer.port, timeout=5)
    for _ in range(2):
        connection.request("GET", "/")
        assert connection.getresponse().read() == b""
    connection.close()
    ask(peer, headers={"Connection": "close"})

    assert [each.connection for each in peer.requests] == [1, 1, 2]


def test_a_body_in_chunks_and_one_that_waits_for_a_word_are_read(peer):
    """Other clients than ours send them."""
    ask(peer, body=iter([b"one ", b"two"]), headers={})
    with socket.create_connection(("127.0.0.1", peer.port), timeout=5) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"ok")
        assert b"200 OK" in connection.recv(100)

    assert [each.body for each in peer.requests] == [b"one two", b"ok"]


def test_what_does_not_come_whole_is_no_request(peer):
    """Nor is what is no HTTP, which is told so; and the next one is served all the same."""
    half, bad = b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nhalf", b"HTTP/1.1 400 Bad Request"
    for sent, comes in {b"": b"", half: b"", b"what?\r\n\r\n": bad, b"\x16\x03\x01 TLS": bad}.items():
        with socket.create_connection(("127.0.0.1", peer.port), timeout=5) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1000).startswith(comes)
            assert connection.recv(1000) == b""

    assert ask(peer, "HEAD", body=None).status == 200
    assert [each.method for each in peer.requests] == ["HEAD"]


def test_it_speaks_tls_with_an_authors_context():
    """Certificates are the author's: what is tested is the plugin's trust."""
    authority, server = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    with HttpPeer(Answer(200, "safe"), tls=server) as peer:
        with pytest.raises(ssl.SSLCertVerificationError):
            ask(peer, context=client)
        authority.configure_trust(client)
        assert ask(peer, context=client).content == b"safe"
        assert peer.url.startswith("https://127.0.0.1:")
        assert len(peer.requests) == 1
        peer.answer(Fault.RESET)
        with pytest.raises(ConnectionError):
            ask(peer, context=client)


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.DRIP, None])
def test_nothing_is_left_of_it(fault):
    """No thread and no socket, whatever it was in the middle of; a second close does no harm."""
    before = threading.active_count()
    peer = HttpPeer(fault or Answer())
    clients = [socket.create_connection(("127.0.0.1", peer.port), timeout=5) for _ in range(3)]
    for each in clients:
        each.sendall(b"GET / HTTP/1.1\r\n\r\n")
    until(lambda: len(peer.requests) == 3)

    peer.close()
    peer.close()

    assert threading.active_count() == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", peer.port), timeout=5)
    for each in clients:
        each.close()


def test_many_clients_at_once_are_served(peer):
    """Lanes are many."""
    threads = [threading.Thread(target=ask, args=(peer,)) for _ in range(20)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert len(peer.requests) == 20
