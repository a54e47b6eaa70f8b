"""The HTTP table of the contract, row by row, over a real socket against the real server."""

from __future__ import annotations

import gzip
import json

import falcon.testing
import pytest
from serving import PATH, SECRET, request, sample, until

from glycanbridge.errors import JournalUnavailable
from glycanbridge.receiver import Readiness, create_app
from glycanbridge.signature import sign


def taken(server) -> list[str]:
    """The ids of the deliveries that the plugin has taken."""
    file = server.folder / "taken.txt"
    return [line.split()[0] for line in file.read_text().splitlines()] if file.exists() else []


def letters(server) -> dict[str, dict[str, object]]:
    """The dead letters, by id."""
    return {row["id"]: row for row in server.rows("dead-letters", "list", "--limit", "1000")}


def assert_json_error(answer, status: int) -> None:
    """An error is JSON with title and description, and names no internals."""
    assert answer is not None
    assert answer.status == status
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.told) == {"title", "description"}
    text = (answer.body + json.dumps(answer.headers).encode()).lower()
    assert not any(word in text for word in (b"waitress", b"falcon", b"python", b"traceback", b"sqlite", b"max_body"))


def test_new_is_accepted_and_delivered(server):
    """200, and then it is at its destination."""
    answer = server.post(sample(timestamp=1))

    assert (answer.status, answer.told["status"]) == (200, "accepted")
    assert answer.headers["content-type"] == "application/json"
    until(lambda: f"{answer.told['id']}:all" in taken(server))


def test_seen_before_is_a_duplicate_however_it_is_serialised(server):
    """White space and order of keys are no difference; the signature is over the new bytes."""
    first = server.post(sample(timestamp=2))
    event = json.loads(sample(timestamp=2))

    for body in (sample(timestamp=2), json.dumps(dict(reversed(event.items())), indent=3).encode()):
        again = server.post(body)
        assert (again.status, again.told) == (200, {"status": "duplicate", "id": first.told["id"]})


def test_two_reports_with_one_timestamp_are_both_kept(server):
    """The vendor's own sample code would drop the second."""
    ids = {server.post(sample(timestamp=3, data={"reportId": name})).told["id"] for name in ("r1", "r2")}

    assert len(ids) == 2
    until(lambda: {f"{each}:all" for each in ids} <= set(taken(server)))


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("not JSON", b"hello"),
        ("empty", b""),
        ("unknown type", sample(type="report-withdrawn")),
        ("required field missing", b'{"type": "report-ready", "timestamp": 1, "data": {}}'),
        ("byte order mark", b"\xef\xbb\xbf" + sample()),
        ("UTF-16", sample().decode().encode("utf-16")),
        ("NaN", sample()[:-1] + b', "more": NaN}'),
        ("key twice", sample()[:-1] + b', "type": "report-ready"}'),
        ("5,000 deep", sample()[:-1] + b', "more": ' + b"[" * 5000 + b"]" * 5000 + b"}"),
        ("timestamp of 400 digits", sample().replace(b"1693123200000", b"9" * 400)),
        ("gzip", gzip.compress(sample())),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_signed_but_not_understood_is_quarantined(server, name, body):
    """200, and the raw body is a dead letter."""
    headers = ["Content-Encoding: gzip"] if name == "gzip" else []

    answer = server.post(body, *headers)

    assert (answer.status, answer.told["status"]) == (200, "quarantined")
    assert letters(server)[answer.told["id"]]["kind"] == "quarantine"
    assert server.post(body, *headers).told == answer.told


def test_a_400_digit_integer_in_a_field_that_nobody_knows_is_kept(server):
    """It is JSON, and not our business."""
    answer = server.post(sample(timestamp=4)[:-1] + b', "more": ' + b"9" * 400 + b"}")

    assert (answer.status, answer.told["status"]) == (200, "accepted")


def test_a_content_encoding_says_nothing_about_the_bytes_that_were_signed(server):
    """The body is taken as it came."""
    assert server.post(sample(timestamp=5), "Content-Encoding: gzip").told["status"] == "accepted"


@pytest.mark.parametrize(
    "header",
    [
        None,
        " ",
        "sha256=" + "0" * 64,
        "sha1=" + "0" * 40,
        "sha256=" + "é" * 64,
        "sha256=\xff\xfe",
        sign(sample(), SECRET).upper(),
        sign(sample(), SECRET).removeprefix("sha256="),
        sign(sample(), SECRET + "x"),
        sign(sample() + b"\n", SECRET),
        f"{sign(sample(), SECRET)}, {sign(sample(), SECRET)}",
    ],
)
def test_a_missing_malformed_or_wrong_signature_is_401(server, header):
    """One and the same answer for all of them."""
    answer = server.post(sample(), signature=header)

    assert_json_error(answer, 401)
    assert answer.told == {"title": "Unauthorized", "description": "X-GlycanAge-Signature does not fit"}


def test_two_signature_headers_are_401(server):
    """Even if both are right: never "any of them matches"."""
    right = sign(sample(), SECRET)

    assert_json_error(server.post(sample(), f"X-GlycanAge-Signature: {right}", signature=right), 401)


def test_what_is_refused_leaves_a_counted_line_in_the_log_and_nothing_else(server):
    """Not a line each: a flood must not fill the disk."""
    events, dead = server.rows("events", "list"), letters(server)
    for _ in range(50):
        server.post(sample(), signature="sha256=" + "1" * 64)

    lines = [json.loads(line) for line in server.log.read_text().splitlines() if "refused" in line]
    assert 1 <= len(lines) <= 20
    assert (server.rows("events", "list"), letters(server)) == (events, dead)


def test_the_signatures_digits_may_be_in_upper_case_and_the_header_in_any(server):
    """They name the same bytes."""
    body = sample(timestamp=6)
    digits = sign(body, SECRET).removeprefix("sha256=").upper()

    assert server.post(body, f"x-glycanage-SIGNATURE:   sha256={digits}  ", signature=None).status == 200


@pytest.mark.parametrize("size", [1_048_577, 50_000_000])
def test_a_body_over_the_limit_is_413(server, size):
    """The sender gets the answer, also in the middle of sending."""
    assert_json_error(server.post(b"x" * size), 413)


def test_a_chunked_body_over_the_limit_is_413(server):
    """Its size is not known before it comes."""
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    head = request(b"", "Transfer-Encoding: chunked", signature="sha256=" + "0" * 64)

    assert_json_error(server.ask(head + chunk * 20 + b"0\r\n\r\n"), 413)


def test_a_body_of_exactly_the_limit_is_read(server):
    """And quarantined, since it is no event."""
    assert server.post(b"x" * 1_048_576).told["status"] == "quarantined"


def test_a_chunked_body_is_taken(server):
    """Its signature is over the bytes without their framing."""
    body = sample(timestamp=7)
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:100], body[100:]))
    head = request(b"", "Transfer-Encoding: chunked", signature=sign(body, SECRET))

    assert server.ask(head + chunks + b"0\r\n\r\n").told["status"] == "accepted"


def test_a_content_length_that_is_too_short_is_401(server):
    """What was signed is not what was sent."""
    body = sample()

    assert_json_error(server.ask(request(body, f"Content-Length: {len(body) - 5}")), 401)


def test_a_content_length_that_is_too_long_is_cut_off_at_the_deadline(server):
    """No answer, no row, and the connection is freed."""
    body = sample(timestamp=8)

    assert server.ask(request(body, f"Content-Length: {len(body) + 5}")) is None
    assert server.post(body).told["status"] == "accepted"


@pytest.mark.parametrize("length", ["-1", "+5", "5, 5", "five", "5\r\nContent-Length: 6", "9" * 5000])
def test_a_content_length_that_is_no_length_is_400(server, length):
    """In our own form."""
    assert_json_error(server.ask(request(b"hello", f"Content-Length: {length}")), 400)


@pytest.mark.parametrize(
    "headers",
    [
        ["Transfer-Encoding: chunked", "Content-Length: 5"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked, chunked"],
        ["Header without colon"],
        ["Folded: a\rb"],
    ],
)
def test_framing_that_two_readers_could_read_in_two_ways_is_400(server, headers):
    """The ground of request smuggling behind a proxy."""
    assert_json_error(server.ask(request(b"0\r\n\r\n", *headers)), 400)


def test_another_http_is_400_and_an_unknown_coding_501(server):
    """In our own form."""
    old = request(sample()).replace(b"HTTP/1.1", b"HTTP/2.0", 1)

    assert_json_error(server.ask(old), 400)
    assert_json_error(server.ask(request(b"", "Transfer-Encoding: gzip, chunked")), 501)


@pytest.mark.parametrize("path", ["http://[", "http://[SECRETPATIENT]/", "http://[::1"])
def test_an_address_that_cannot_be_read_is_400_and_leaves_no_word_of_it(server, path):
    """Unsigned, in one packet: it must neither fill the log nor write into it."""
    before = server.log.read_text()

    assert_json_error(server.ask(request(sample(), path=path)), 400)
    assert server.log.read_text() == before


def test_empty_lines_are_no_activity(server):
    """A connection that sends nothing else is cut off at the deadline, like a silent one, however long it goes on."""
    connection = server.connect()

    def cut_off() -> bool:
        try:
            connection.send(b"\r\n" * 10)
        except OSError:
            return True
        return False

    until(cut_off, timeout_s=10)
    connection.close()


def test_an_empty_line_before_a_request_is_passed_over(server):
    """As RFC 9112 has it."""
    assert server.ask(b"\r\n" + request(sample(timestamp=15))).status == 200


def test_an_idle_connection_is_let_go(server):
    """A thousand of them would shut GlycanAge out."""
    connection = server.connect()
    connection.send(request(sample(timestamp=16)))

    assert connection.answer().status == 200
    assert connection.answer() is None
    connection.close()


def test_nobody_is_invited_to_send_what_is_too_large(server):
    """413 at once, and no 100 Continue before it."""
    connection = server.connect()
    connection.send(request(b"", "Expect: 100-continue", "Content-Length: 9999999"))

    assert b" 413 " in connection._file.readline()
    connection.close()


def test_headers_without_end_are_431(server):
    """Sixteen kilobytes are enough."""
    assert_json_error(server.ask(request(sample(), "More: " + "x" * 20_000)), 431)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE"])
def test_a_wrong_method_is_405(server, method):
    """POST is all there is."""
    connection = server.connect()
    connection.send(request(sample(), method=method))
    line = connection._file.readline()
    connection.close()

    assert b" 405 " in line


def test_a_405_says_what_is_allowed(server):
    """And is JSON."""
    answer = server.ask(request(sample(), method="OPTIONS"))

    assert_json_error(answer, 405)
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("path", ["/", "/webhooks", PATH + "/more", "/desk", "/webhooks/glycanage2"])
@pytest.mark.parametrize("accept", ["*/*", "text/html", "application/xml"])
def test_a_wrong_path_is_404_in_json_whatever_is_asked_for(server, path, accept):
    """Never XML or HTML."""
    assert_json_error(server.ask(request(sample(), f"Accept: {accept}", path=path)), 404)


@pytest.mark.parametrize("path", [PATH + "/", PATH + "?source=lab"])
def test_a_slash_or_a_query_too_many_loses_no_event(server, path):
    """A registration is typed by hand."""
    assert server.ask(request(sample(timestamp=9), path=path)).status == 200


def test_a_connection_is_kept_for_the_next_request(server):
    """Also after an error."""
    connection = server.connect()
    statuses = []
    for body, signature in ((sample(timestamp=10), ""), (sample(), "wrong"), (sample(timestamp=11), "")):
        connection.send(request(body, signature=signature))
        statuses.append(connection.answer().status)
    connection.close()

    assert statuses == [200, 401, 200]


def test_expect_100_continue_is_answered(server):
    """Some clients wait for it."""
    body = sample(timestamp=12)
    connection = server.connect()
    head = request(body, "Expect: 100-continue").removesuffix(body)
    connection.send(head)
    assert connection._file.readline() == b"HTTP/1.1 100 Continue\r\n"
    connection._file.readline()
    connection.send(body)

    assert connection.answer().status == 200
    connection.close()


def test_slow_senders_do_not_hold_up_others_and_are_cut_off(server):
    """Each of 60 sends a byte now and then; a good request is answered all the same."""
    slow = [server.connect() for _ in range(60)]
    for connection in slow:
        connection.send(b"POST " + PATH.encode() + b" HTTP/1.1\r\nX")

    assert server.post(sample(timestamp=13)).status == 200
    for connection in slow:
        assert connection.answer() is None
        connection.close()


def test_health_and_readiness_are_told(server):
    """The process lives; the journal takes writes and the lanes live."""
    assert server.ask(request(b"", method="GET", path="/healthz")).told == {"status": "alive"}
    assert server.ask(request(b"", method="GET", path="/readyz")).told == {"status": "ready"}
    for path in ("/healthz", "/readyz"):
        connection = server.connect()
        connection.send(request(b"", method="HEAD", path=path))
        assert b" 200 " in connection._file.readline()
        connection.close()


def test_no_answer_names_the_server(server):
    """Nor its version."""
    assert "server" not in server.post(sample(timestamp=14)).headers


def test_none_of_it_left_a_traceback_or_a_500(server):
    """In the whole of the log so far."""
    log = server.log.read_text()

    assert "Traceback" not in log
    assert "answered 500" not in log


@pytest.fixture
def client(make_bridge):
    """The application without a socket, over a bridge and a readiness that a test can break."""
    bridge, readiness = make_bridge(), Readiness(lambda: None, lambda: True)
    app = create_app(bridge, path=PATH, max_body_bytes=1000, readiness=readiness)
    return falcon.testing.TestClient(app), bridge, readiness


def test_a_fault_of_the_programs_own_is_a_500_that_tells_nobody_anything(client, monkeypatch, caplog):
    """GlycanAge sends it again; the log has the place, and not the text, which may be a patient's."""
    http, bridge, _ = client

    def fails(_body, _signature):
        raise ValueError("patient_123")

    monkeypatch.setattr(bridge, "accept", fails)
    answer = http.simulate_post(PATH, body=sample())

    assert (answer.status_code, set(answer.json)) == (500, {"title", "description"})
    assert "ValueError at test_receiver.py" in caplog.text
    assert "patient_123" not in answer.text + caplog.text


def test_the_log_says_in_which_way_signatures_are_malformed(client, monkeypatch, caplog):
    """Whoever looks for the reason of a 401 need not guess; nothing of what was sent is in it."""
    http, _, _ = client
    monkeypatch.setattr("glycanbridge.receiver.LOGGED_EVERY_S", 0)
    for header in ("0" * 64, "patient_123", "sha256=" + "0" * 64):
        assert http.simulate_post(PATH, body=sample(), headers={"X-GlycanAge-Signature": header}).status_code == 401

    told = [each.requests for each in caplog.records]
    assert told == [{"malformed: without sha256=": 1}, {"malformed": 1}, {"wrong": 1}]


def test_what_cannot_be_kept_is_counted_and_makes_the_bridge_unready_for_a_while(client, monkeypatch, caplog):
    """A full disk under load: a line now and then, not one for each request."""
    http, bridge, readiness = client
    accept = bridge.accept

    def fails(_body, _signature):
        raise JournalUnavailable("the disk is full")

    monkeypatch.setattr(bridge, "accept", fails)
    answers = [http.simulate_post(PATH, body=sample()) for _ in range(50)]
    assert {(each.status_code, each.headers["retry-after"]) for each in answers} == {(503, "5")}
    assert [each.requests for each in caplog.records] == [{"the disk is full": 1}]
    assert readiness.trouble() == "the last event could not be kept"

    readiness.refused_at -= readiness.REFUSED_FOR_S  # nobody sends anything to a bridge that is not ready
    assert readiness.trouble() == ""

    http.simulate_post(PATH, body=sample())
    assert readiness.trouble() == "the last event could not be kept"
    monkeypatch.setattr(bridge, "accept", accept)
    signed = {"X-GlycanAge-Signature": sign(sample(), SECRET)}
    assert http.simulate_post(PATH, body=sample(), headers=signed).status_code == 200
    assert readiness.trouble() == ""


def test_readiness_says_what_is_in_the_way(client):
    """Stopping, a dead lane, a journal that takes no writes; each is a 503."""

    def refuses() -> None:
        raise JournalUnavailable("the disk is full")

    http, bridge, _ = client
    stopping = Readiness(lambda: None, lambda: True)
    stopping.stopping = True
    for readiness, reason in [
        (stopping, "stopping"),
        (Readiness(lambda: None, lambda: False), "a lane has died"),
        (Readiness(refuses, lambda: True), "the journal takes no writes"),
    ]:
        app = create_app(bridge, path=PATH, max_body_bytes=1000, readiness=readiness)
        answer = falcon.testing.TestClient(app).simulate_get("/readyz")
        assert (answer.status_code, answer.json["description"], answer.headers["retry-after"]) == (503, reason, "5")
    assert http.simulate_get("/readyz").status_code == 200


def test_readiness_looks_no_more_than_once_a_second(client):
    """Each look costs a disk sync, and anybody may ask."""
    looks = []
    readiness = Readiness(lambda: looks.append(1), lambda: True)

    assert [readiness.trouble() for _ in range(100)] == [""] * 100
    assert len(looks) <= 2
