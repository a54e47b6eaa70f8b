"""What waitress leaves open, and the parts of waitress 3.0 that are leaned on to close it."""

from __future__ import annotations

import inspect
import socket
import threading

import pytest
import waitress.channel
import waitress.server
import waitress.task
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from serving import Connection, until
from waitress.adjustments import Adjustments
from waitress.parser import HTTPRequestParser

from glycanbridge.errors import ListenError
from glycanbridge.http_connection import _Parser
from glycanbridge.http_server import IN_TURNS, HttpServer, bind
from glycanbridge.turns import aside


class App:
    """A WSGI application that waits at a gate, if it is closed, before it answers what is not `ahead`."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.begun = 0
        self.meanwhile = lambda: None

    def __call__(self, environ, start_response):
        body = environ["wsgi.input"].read()
        self.begun += 1
        self.entered.set()
        if body != b"ahead" and not self.gate.is_set():
            aside(lambda: self.gate.wait(10))
        if body == b"exit":
            raise SystemExit(1)
        self.meanwhile()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]


@pytest.fixture
def app():
    """An application with an open gate."""
    return App()


@pytest.fixture(params=[True, False], ids=["turns", "threads"])
def running(app, request):
    """A server that runs in a thread, and its address; stopped at the end. With any waitress it must be the same."""
    listening = bind("127.0.0.1", 0)
    address = listening.getsockname()
    server = HttpServer(
        app, listening=listening, max_body_bytes=200_000, request_deadline_s=0.3, in_turns=request.param
    )
    ready = threading.Event()
    thread = threading.Thread(target=server.run, args=(ready.set,))
    thread.start()
    ready.wait(10)
    yield server, address, thread
    app.gate.set()
    server.stop()
    thread.join(20)
    assert not thread.is_alive()


def post(body: bytes) -> bytes:
    """A request."""
    return b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def test_nothing_is_accepted_before_it_runs(app):
    """The port is taken, and a sender is refused until the journal is open."""
    listening = bind("127.0.0.1", 0)
    server = HttpServer(app, listening=listening, max_body_bytes=1000, request_deadline_s=1)

    with pytest.raises(ConnectionRefusedError):
        Connection(*listening.getsockname())
    server.close()


def test_a_port_cannot_be_bound_twice_while_it_listens(running):
    """The second bridge is told at once."""
    _, (_, port), _ = running

    with pytest.raises(ListenError, match=f"127.0.0.1:{port} cannot be listened on: Address already in use"):
        bind("127.0.0.1", port)


def test_an_address_of_ipv6_can_be_listened_on():
    """Where there is IPv6 at all: a Python that knows it may run on a machine that has none."""
    try:
        with socket.socket(socket.AF_INET6) as plain:
            plain.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    listening = bind("::1", 0)

    assert listening.getsockname()[0] == "::1"
    listening.close()


def test_a_fault_of_waitress_ends_one_connection_and_tells_no_values(running, monkeypatch, caplog):
    """Its text may be what a stranger, or a patient's laboratory, has sent."""

    def fails(_parser, _header):
        raise RuntimeError("patient_123")

    _, address, _ = running
    monkeypatch.setattr("glycanbridge.http_connection._Parser.parse_header", fails)
    connection = Connection(*address)
    connection.send(post(b"hello"))

    assert connection.answer() is None
    assert [each.message.partition(" at ")[0] for each in caplog.records] == ["a connection was dropped: RuntimeError"]
    assert "patient_123" not in caplog.text
    connection.close()
    monkeypatch.undo()
    again = Connection(*address)
    again.send(post(b"hello"))
    assert again.answer().body == b"hello"
    again.close()


def test_a_connection_that_says_nothing_is_cut_off_at_the_deadline(running):
    """A thousand of them would shut GlycanAge out for as long as they like."""
    _, address, _ = running
    silent = [Connection(*address) for _ in range(50)]

    for connection in silent:
        assert connection.answer() is None
        connection.close()


def test_a_crowd_of_silent_connections_makes_room_soon(app, monkeypatch):
    """Else whoever holds all of them shuts GlycanAge out for the whole deadline."""
    monkeypatch.setattr("glycanbridge.http_server.CONNECTIONS", 20)
    monkeypatch.setattr("glycanbridge.http_server.CROWDED_DEADLINE_S", 0.1)
    listening = bind("127.0.0.1", 0)
    server = HttpServer(app, listening=listening, max_body_bytes=1000, request_deadline_s=3600)
    thread = threading.Thread(target=server.run, args=(lambda: None,))
    thread.start()
    address = listening.getsockname()
    until(lambda: not refuses(address))
    crowd = [Connection(*address) for _ in range(40)]

    good = Connection(*address)
    good.send(post(b"hello"))
    assert good.answer().body == b"hello"
    for connection in [*crowd, good]:
        connection.close()
    server.stop()
    thread.join(20)


def refuses(address) -> bool:
    """Whether nobody listens there."""
    try:
        Connection(*address).close()
    except OSError:
        return True
    return False


def test_stopping_lets_a_running_request_end(running, app):
    """It gets its answer; a new connection is refused at once."""
    server, address, thread = running
    app.gate.clear()
    connection = Connection(*address)
    connection.send(post(b"hello"))
    assert app.entered.wait(10)
    server.stop()
    until(lambda: refuses(address))
    app.gate.set()
    answer = connection.answer()
    thread.join(20)

    assert (answer.status, answer.body) == (200, b"hello")
    assert not thread.is_alive()
    connection.close()


def test_whoever_comes_back_after_the_end_writes_into_no_file_of_somebody_else(running, tmp_path):
    """The journal's writer may still be at it when the drain is over, and the pipe's number the journal's by then."""
    server, _, thread = running
    server.stop()
    thread.join(20)
    files = [(tmp_path / str(number)).open("w+b", buffering=0) for number in range(64)]

    server._wake()

    assert [each.read() for each in files] == [b""] * len(files)
    assert [each.tell() for each in files] == [0] * len(files)
    for each in files:
        each.close()


def test_stopping_does_not_wait_for_an_idle_connection(running):
    """It is closed."""
    server, address, thread = running
    connection = Connection(*address)
    connection.send(post(b"hello"))
    connection.answer()
    server.stop()
    thread.join(4)

    assert not thread.is_alive()
    assert connection.answer() is None
    connection.close()


def test_sixty_four_connections_at_once_are_all_answered(running, caplog):
    """None of them waits for another to go away, and a burst fills no log."""
    _, address, _ = running
    connections = [Connection(*address) for _ in range(64)]
    for turn in range(3):
        for number, connection in enumerate(connections):
            connection.send(post(b"%d-%d" % (turn, number)))
        for number, connection in enumerate(connections):
            assert connection.answer().body == b"%d-%d" % (turn, number)
    for connection in connections:
        connection.close()
    assert caplog.records == []


def test_who_waits_holds_up_nobody(running, app):
    """One slow request and the next ones are answered meanwhile, on other connections."""
    _, address, _ = running
    app.gate.clear()
    waits, goes = Connection(*address), Connection(*address)
    waits.send(post(b"hello"))
    until(lambda: app.begun)
    for _ in range(3):
        goes.send(post(b"ahead"))
        assert goes.answer().body == b"ahead"
    app.gate.set()

    assert waits.answer().body == b"hello"
    waits.close()
    goes.close()


def test_requests_in_one_packet_are_answered_in_their_order(running, app, monkeypatch):
    """Pipelining: none is begun before the one before it is answered, nor does it wait for the loop to wake up."""
    _, address, _ = running
    monkeypatch.setattr("glycanbridge.http_server.LONGEST_TURN_S", 3600)
    app.gate.clear()
    connection = Connection(*address)
    connection.send(post(b"hello") + post(b"ahead") + post(b"ahead"))
    until(lambda: app.begun)
    other = Connection(*address)
    other.send(post(b"ahead"))
    other.answer()
    assert app.begun == 2
    app.gate.set()

    assert [connection.answer().body for _ in range(3)] == [b"hello", b"ahead", b"ahead"]
    connection.close()
    other.close()


def test_a_sender_that_goes_away_while_its_request_waits_harms_nobody(running, app):
    """Its answer has nowhere to go; the next one on the same file descriptor has its own."""
    server, address, _ = running
    app.gate.clear()
    gone = Connection(*address)
    gone.send(post(b"hello"))
    until(lambda: app.begun)
    gone.reset()
    until(lambda: not server._server.active_channels)
    other = Connection(*address)
    other.send(post(b"other"))
    until(lambda: app.begun == 2)
    app.gate.set()

    assert other.answer().body == b"other"
    other.close()


def test_a_sender_that_goes_away_before_its_answer_is_no_error(running, app, caplog):
    """Anybody can do that as often as he likes, and must not fill the log."""
    server, address, _ = running
    gone = Connection(*address)
    app.meanwhile = gone.reset
    gone.send(post(b"hello"))
    until(lambda: app.begun and not server._server.active_channels)
    app.meanwhile = lambda: None
    other = Connection(*address)
    other.send(post(b"other"))

    assert other.answer().body == b"other"
    assert [each.levelname for each in caplog.records if each.levelname not in ("INFO", "DEBUG")] == []
    other.close()


def test_an_answer_that_the_sender_does_not_read_waits_for_him_alone(running):
    """What the socket does not take at once is sent later, in order, and then the connection is closed as was asked."""
    server, address, _ = running
    server._listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
    slow, other = Connection(*address), Connection(*address)
    for _ in range(8):
        slow.send(post(b"x" * 190_000))
    slow.send(post(b"last").replace(b"Host: x", b"Connection: close"))
    other.send(post(b"other"))
    assert other.answer().body == b"other"

    answers = [slow.answer().body for _ in range(9)]
    assert [len(each) for each in answers] == [190_000] * 8 + [4]
    assert slow.answer() is None
    slow.close()
    other.close()


def test_nobody_is_invited_to_send_on_before_the_answer_that_is_due_to_him(running):
    """The invitation would be taken for the earlier request's."""
    _, address, _ = running
    connection = Connection(*address)
    second = post(b"there")
    head, _, body = second.replace(b"Host: x", b"Expect: 100-continue").partition(b"\r\n\r\n")
    connection.send(post(b"hello") + head + b"\r\n\r\n")
    came = b""
    while not came.endswith(b"100 Continue\r\n\r\n") or b"hello" not in came:
        came += connection.socket.recv(4096)
    connection.send(body)

    assert came.startswith(b"HTTP/1.1 200 OK")
    assert connection.answer().body == b"there"
    connection.close()


def test_an_application_that_wants_to_exit_ends_its_connection_alone(running):
    """The loop goes on for all others."""
    _, address, thread = running
    connection, other = Connection(*address), Connection(*address)
    connection.send(post(b"exit"))
    other.send(post(b"hello"))

    assert other.answer().body == b"hello"
    assert thread.is_alive()
    connection.close()
    other.close()


def test_requests_take_turns_with_the_waitress_that_we_know():
    """With another one each has a thread: slower, and nothing of it depends on what is not public."""
    assert IN_TURNS


def test_worker_threads_leave_the_sending_to_the_loop(running):
    """With waitress's default of 1 they fight for the GIL at each send, and 64 connections collapse on two cores."""
    server, _, _ = running

    assert server._server.adj.send_bytes == 4096


def test_a_body_never_touches_the_disk(running, monkeypatch):
    """A temporary file would hold a patient's data in clear."""
    opened = []
    monkeypatch.setattr("waitress.buffers.FileBasedBuffer.__init__", lambda *_a, **_k: opened.append(1))
    _, address, _ = running
    connection = Connection(*address)
    connection.send(post(b"x" * 200_000))

    assert len(connection.answer().body) == 200_000
    assert opened == []
    connection.close()


def test_waitress_is_as_we_lean_on_it():
    """Each of these is replaced or called in `http_server.py` or `http_connection.py`; if one is gone, look there."""
    channel, server = waitress.channel.HTTPChannel, waitress.server.TcpWSGIServer
    names = {
        channel: ("parser_class", "error_task_class", "received", "handle_write", "handle_read", "readable",
                  "close_when_flushed", "will_close", "total_outbufs_len", "request", "_flush_exception",
                  "_flush_some", "service"),
        server: ("channel_class", "maintenance", "accept_connections", "del_channel", "pull_trigger", "add_task"),
        waitress.task.ThreadedTaskDispatcher: ("set_thread_count", "shutdown", "add_task"),
    }  # fmt: skip

    assert [name for owner, each in names.items() for name in each if not hasattr(owner, name)] == []
    assert {"_start", "_sock", "dispatcher", "adj", "sockinfo", "bind_socket"} <= set(
        inspect.signature(server.__init__).parameters
    )


NAMES = st.sampled_from(
    [
        "Host",
        "host",
        "A-b",
        "X_Y",
        "X-Y",
        "Connection",
        "Expect",
        "Transfer-Encoding",
        "transfer-encoding",
        "Content-Length",
        "content-length",
        "C1",
        "1a",
        "",
        "X Y",
    ]
)
VALUES = st.one_of(
    st.sampled_from(["x", "5", "0", "05", "1234567890", "+5", "chunked", "100-continue", "close", "a b", "a  b", " a"])
    | st.sampled_from(["a ", "\ta", "a\tb", "", "\xe9", "\x00", "a\r\n b", "a\rb", "a\nb", "\x85", "a:b", "a, b"]),
    st.text(st.characters(max_codepoint=255), max_size=12),
)
SPACES = st.sampled_from([" ", "", "  ", "\t"])
LINES = st.builds("{}:{}{}".format, NAMES, SPACES, VALUES)
STARTS = st.builds(
    "{} {}{}".format,
    st.sampled_from(["POST", "GET", "post", "POST ", ""]),
    st.sampled_from(["/", "/a/b", "//a/b", "/a?b", "/a#b", "/%41", "/a:b", "/\xe9", "http://x/a", "*", "/a b", "a"]),
    st.sampled_from([" HTTP/1.1", " HTTP/1.0", " HTTP/1.1 ", "", " HTTP/1.12"]),
)
USUAL_STARTS = st.builds(
    "POST {} HTTP/1.1\r\nContent-Length: {}".format,
    st.sampled_from(["/", "/webhooks/glycanage", "//a/b", "/a.b-c_d/", "/./../x"]),
    st.one_of(st.integers(-1, 2_000_000_000), st.sampled_from(["1_0", "05", ""])),
)
USUAL_LINES = st.builds(
    "{}: {}".format,
    st.sampled_from(["Host", "A-b", "a-B", "C1", "Connection", "Expect", "Transfer-Encoding", "Content-Length"]),
    st.sampled_from(["x", "close", "100-continue", "chunked", "5", "a b"])
    | st.text(st.characters(min_codepoint=31, max_codepoint=127), max_size=9),
)
HEADS = st.builds(
    lambda start, lines: "\r\n".join([start, *lines, "", ""]).encode("latin-1"),
    st.one_of(STARTS, USUAL_STARTS),
    st.one_of(st.lists(LINES, max_size=5), st.lists(USUAL_LINES, max_size=3)),
)


def taken_in(parser) -> dict[str, object]:
    """All that a parser has made of a head."""
    told = {name: value for name, value in vars(parser).items() if name not in ("adj", "body_rcv")}
    names = ("chunked", "expect_continue", "connection_close", "content_length", "version", "error", "completed")
    body = parser.body_rcv
    return (
        told | {name: getattr(parser, name) for name in names} | {"body": (type(body), getattr(body, "remain", None))}
    )


@settings(max_examples=1500, deadline=None)
@given(HEADS)
@example(
    b"POST /webhooks/glycanage HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nX-GlycanAge-Signature: sha256=0\r\n\r\n"
)
def test_a_head_of_the_usual_form_is_taken_in_as_waitress_would(head):
    """Two opinions of where a request ends are the ground of request smuggling."""
    ours, theirs = _Parser(Adjustments()), HTTPRequestParser(Adjustments())
    event(f"plain: {ours._is_plain(head)}")
    if ours.body_rcv is not None:
        theirs.parse_header(head)
        assert taken_in(ours) == taken_in(theirs)


def test_what_glycanage_sends_is_of_the_usual_form():
    """Else the shorter way is there for nobody."""
    head = b"POST /a/b HTTP/1.1\r\nHost: x.y:80\r\nUser-Agent: node-fetch/1.0 (+a b)\r\nContent-Length: 5\r\n\r\n"
    assert _Parser(Adjustments())._is_plain(head)
    assert not _Parser(Adjustments())._is_plain(head.replace(b"Host: x.y:80", b"Transfer-Encoding: chunked"))
