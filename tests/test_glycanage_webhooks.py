"""`glycanbridge webhooks register`, `list` and `delete`, as they are typed, against a GlycanAge on a real socket.

The table of errors in docs/glycanage.md is walked through: each answer is made, and the line compared.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
from contextlib import closing
from pathlib import Path

import pytest
import trustme
from glycanage_peers import PUBLIC, SECRET, TOKEN, Clinic, serve_glycanage

from glycanbridge.errors import GlycanAgeError
from glycanbridge.glycanage.notes import DELETED, REGISTERED
from glycanbridge.glycanage.registrations import Registration, path_of, read_all, read_one
from glycanbridge.journals.opening import open_journal
from glycanbridge.signature import fingerprint
from glycanbridge.testing import Answer, Fault, HttpPeer

PAGE = (Path(__file__).parent.parent / "docs" / "glycanage.md").read_text(encoding="utf-8")
ROWS = [
    (case, said[2:-2].strip() if said.startswith("``") else said[1:-1])
    for case, said in re.findall(r"^\| ([^`|]*?) \| (`[^|]*`) \|", PAGE.split("## What GlycanAge's")[1], re.MULTILINE)
]
FP = fingerprint(SECRET)
ALL = ["order-status-changed", "assignment-status-changed", "kit-received", "report-ready"]


@pytest.fixture
def peer():
    """A GlycanAge, or whatever a test makes of it."""
    with HttpPeer() as peer:
        yield peer


@pytest.fixture
def glycanage(peer):
    """What it remembers of webhooks."""
    return serve_glycanage(peer)


@pytest.fixture
def clinic(tmp_path, peer):
    """A bridge's folder."""
    return Clinic(tmp_path / "bridge", f"{peer.url}/v1")


def with_journal(clinic: Clinic) -> str:
    """Make the clinic's journal; its URL."""
    url = f"sqlite:///{clinic.folder}/var/journal.db"
    open_journal(url).close()
    return url


def history(clinic: Clinic, about: str) -> list[tuple[str, str | None]]:
    """What the journal was told about something."""
    with closing(open_journal(f"sqlite:///{clinic.folder}/var/journal.db")) as journal:
        return [(each.what, each.reason) for each in journal.history(about)]


def test_a_bridge_is_registered_with_its_newest_secret_and_is_told_apart_by_it(clinic, peer, glycanage):
    """What is sent is the vendor's page word for word; what is printed holds no secret."""
    with_journal(clinic)

    done = clinic.run("webhooks", "register")

    look, post = peer.requests
    assert (look.method, look.path, post.method, post.path) == ("GET", "/v1/webhooks", "POST", "/v1/webhooks")
    assert post.headers["Content-Type"] == "application/json"
    assert post.json == {
        "name": f"GlycanBridge (secret {FP})", "description": post.json["description"], "url": PUBLIC, "events": ALL,
        "secret": SECRET,
    }  # fmt: skip
    assert done.exit_code == 0
    assert re.search(r"^id +wh_1$", done.stdout, re.MULTILINE)
    assert re.search(r"^status +pending$", done.stdout, re.MULTILINE)
    assert "must approve it before anything comes: write to support@glycanage.com" in done.stderr
    assert "the bridge does not take this secret yet" in done.stderr
    assert SECRET not in done.output
    assert TOKEN not in done.output
    assert history(clinic, f"secret {FP}") == [(REGISTERED, f"wh_1 for {PUBLIC}")]


def test_the_last_secret_in_the_list_is_the_newest(clinic, peer, glycanage):
    """Where `rotate` puts it."""
    (clinic.folder / "var" / "new").write_text("a-new-secret-of-more-than-32-characters\n")
    clinic.change("    - ${file:var/webhook-secret}", "    - ${file:var/webhook-secret}\n    - ${file:var/new}")

    assert clinic.run("webhooks", "register", "--json").exit_code == 0
    assert peer.requests[-1].json["secret"] == "a-new-secret-of-more-than-32-characters"


def test_what_is_registered_already_stays_as_it_is(clinic, peer, glycanage):
    """Run twice, by two people, by a script: there is one webhook."""
    clinic.run("webhooks", "register")
    glycanage.approve()

    done = clinic.run("webhooks", "register", "--json")

    assert done.exit_code == 0
    assert json.loads(done.stdout)["id"] == "wh_1"
    assert "registered already; nothing was changed" in done.stderr
    assert [each.method for each in peer.requests].count("POST") == 1


@pytest.mark.parametrize("otherwise", ["secret", "events"])
def test_the_same_url_otherwise_is_a_persons_decision(clinic, glycanage, otherwise):
    """Each event might come twice; a webhook that nobody remembers would stay for ever."""
    clinic.run("webhooks", "register", "--name", "mine")
    if otherwise == "secret":
        (clinic.folder / "var" / "webhook-secret").write_text("another-secret-of-more-than-32-characters")
    more = ["--event", "report-ready"] if otherwise == "events" else []

    refused = clinic.run("webhooks", "register", *more)
    again = clinic.run("webhooks", "register", *more, "--again", "--json")

    assert refused.exit_code == 1
    assert f"there is: wh_1 'mine (secret {FP})' for {PUBLIC} (pending): order-status-changed" in refused.stderr
    assert "nothing was done" in refused.stderr
    assert "webhooks rotate" in refused.stderr
    assert "--again" in refused.stderr
    assert (again.exit_code, json.loads(again.stdout)["id"], len(glycanage.webhooks)) == (0, "wh_2", 2)
    assert glycanage.webhooks[1]["events"] == (["report-ready"] if more else ALL)


@pytest.mark.parametrize(
    ("secret", "told"),
    [
        ("short", "has 5 characters, and GlycanAge asks for 32 or more"),
        ("test-secret-key-for-development", "is printed on GlycanAge's page"),
        ("your-secure-32-character-or-longer-secret", "is printed on GlycanAge's page"),
    ],
)
def test_a_secret_that_is_none_is_refused_before_anything_is_sent(clinic, peer, secret, told):
    """With its place in bridge.yaml, and without the secret."""
    (clinic.folder / "var" / "webhook-secret").write_text(secret)

    done = clinic.run("webhooks", "register")

    assert done.exit_code == 78
    assert f"bridge.yaml:5:7: receiver.secrets.0: {told}" in done.stderr
    assert secret not in done.output
    assert peer.connections == 0


@pytest.mark.parametrize(
    ("change", "arguments", "code", "told"),
    [
        (
            (f"  public_url: {PUBLIC}\n", ""),
            [],
            78,
            "glycanage.public_url: is missing: write the receiver as GlycanAge",
        ),
        ((PUBLIC, PUBLIC.replace("https", "http")), [], 78, "glycanage.public_url: expected https://: results"),
        (("glycanage:\n", "x:\n"), [], 78, "unknown key"),
        ((), ["--url", "http://bridge.clinic.example/x"], 2, "--url: expected https://"),
        ((), ["--url", "https://u@bridge.clinic.example/x"], 2, "--url: expected a whole address"),
        ((), ["--url", "https://bridge.clinic.example/../x"], 2, "--url: expected a whole address"),
        ((), ["--url", "https://bridge.clinic.example:0/"], 2, "--url: expected a whole address"),
        ((), ["--url", "https://bridge.clinic.example:99999/"], 2, "--url: expected a whole address"),
        ((), ["--event", "report-redy"], 2, "report-ready"),
    ],
)
def test_what_cannot_be_registered_is_refused_with_what_to_write(clinic, change, arguments, code, told):
    """Results of patients would travel in clear, or nothing would ever come."""
    if change:
        clinic.change(*change)

    done = clinic.run("webhooks", "register", *arguments)

    assert (done.exit_code, told in done.stderr) == (code, True), done.stderr


def test_without_the_part_glycanage_every_command_says_what_to_write(clinic):
    """A bridge that only receives has none."""
    text = clinic.config.read_text()
    clinic.config.write_text(text[: text.index("glycanage:\n")] + "destinations: {}\n")

    for command in (["register"], ["list"], ["delete", "x"], ["rotate"]):
        done = clinic.run("webhooks", *command)
        assert (done.exit_code, "glycanage: is missing: write base_url, email and token" in done.stderr) == (78, True)


def test_a_rehearsal_and_another_path_are_said_and_done(clinic, glycanage):
    """A simulator on this machine is a good thing to register at first."""
    done = clinic.run("webhooks", "register", "--url", "http://127.0.0.1:8080/hook")

    assert done.exit_code == 0
    assert "http://127.0.0.1:8080/hook is this machine: good for a rehearsal" in done.stderr
    assert "does not end in receiver.path, /webhooks/glycanage" in done.stderr


@pytest.mark.parametrize(
    "lost",
    [Fault.RESET, Fault.CLOSE_MIDWAY, Fault.HANG, Answer(502, "<html>"), Answer(201), Answer(200, "<html>"),
     Answer(201, '{"ok": true}')],
)  # fmt: skip
def test_after_a_lost_answer_it_looks_and_registers_no_second_one(clinic, peer, glycanage, lost):
    """The webhook was made: asked blindly again, there would be two."""
    clinic.change("timeout_s: 5 ", "timeout_s: 0.3 ")
    glycanage.lose, glycanage.lost = {"POST"}, lost

    done = clinic.run("webhooks", "register", "--json")

    assert (done.exit_code, json.loads(done.stdout)["id"]) == (0, "wh_1")
    assert [each.method for each in peer.requests] == ["GET", "POST", "GET"]
    assert "listed" in done.stderr or "found in the list" in done.stderr


def test_an_answer_that_was_lost_with_the_request_is_an_error(clinic, peer):
    """Nothing was made, or nobody can tell: both are said."""
    empty = Answer(200, "[]")
    peer.answer(empty, Fault.RESET, empty)
    nothing = clinic.run("webhooks", "register")
    peer.answer(empty, Fault.RESET, Answer(500))
    unknown = clinic.run("webhooks", "register")
    peer.answer(empty, Answer(201), empty)
    hidden = clinic.run("webhooks", "register")

    assert [nothing.exit_code, unknown.exit_code, hidden.exit_code] == [1, 1, 1]
    assert "it is not listed either: run it again later" in nothing.stderr
    assert "whether it was done is not known: `glycanbridge webhooks list` tells" in unknown.stderr
    assert "took the webhook and told no id, and does not list it: ask support@glycanage.com" in hidden.stderr


def test_what_was_there_before_is_not_taken_for_the_new_one(clinic, peer):
    """Also if its status has changed meanwhile."""
    there = {"id": 1, "name": f"GlycanBridge (secret {FP})", "url": PUBLIC, "status": "pending"}
    approved = {**there, "status": "approved"}
    peer.answer(Answer(200, json.dumps([there])), Fault.RESET, Answer(200, json.dumps([approved])))

    done = clinic.run("webhooks", "register", "--again")

    assert (done.exit_code, "it is not listed either" in done.stderr) == (1, True)


def test_one_that_was_registered_and_is_not_listed_is_not_registered_blindly_again(clinic, glycanage):
    """A list may not be whole, or show only what is approved; what was deleted from here is no riddle."""
    with_journal(clinic)
    clinic.run("webhooks", "register")
    kept, glycanage.webhooks = glycanage.webhooks, []

    refused = clinic.run("webhooks", "register")
    glycanage.webhooks = kept
    clinic.run("webhooks", "delete", "wh_1", "--yes")
    done = clinic.run("webhooks", "register", "--json")

    assert refused.exit_code == 1
    assert "nothing was done: The webhook wh_1 was registered on" in refused.stderr
    assert "and GlycanAge does not list it" in refused.stderr
    assert json.loads(done.stdout)["id"] == "wh_2"


def test_a_refused_post_is_not_looked_for(clinic, peer):
    """It was not done, and its own words are the best."""
    peer.answer(Answer(200, "[]"), Answer(422, '{"message": "url taken"}'))

    done = clinic.run("webhooks", "register")

    assert (done.exit_code, len(peer.requests)) == (1, 2)
    assert "answered 422: it does not take what was sent; it says: url taken" in done.stderr


def test_a_list_is_asked_for_once_more_after_a_connection_error(clinic, peer, glycanage):
    """A far side that restarts is no reason to trouble a person; a POST is no such thing."""
    glycanage.lose, glycanage.lost = {"GET"}, Fault.RESET

    assert clinic.run("webhooks", "list").exit_code == 0
    assert [each.method for each in peer.requests] == ["GET", "GET"]


def test_the_list_says_which_are_ours_and_of_which_secret(clinic, peer):
    """One account may have several bridges, and webhooks that somebody made by hand."""
    other = "0" * 8
    elsewhere = "https://other.clinic.example/webhooks/glycanage"
    ours = f"GlycanBridge (secret {FP})"
    named = [(ours, PUBLIC), (f"x (secret {other})", f"{PUBLIC}/"), ("by hand", PUBLIC), (ours, elsewhere)]
    told = [{"id": n, "name": name, "url": url, "events": ALL[:1]} for n, (name, url) in enumerate(named)]
    peer.answer(Answer(200, json.dumps(told)))

    rows = [json.loads(line) for line in clinic.run("webhooks", "list", "--json").stdout.splitlines()]

    assert [each["ours"] for each in rows] == [
        f"yes, secret {FP} (newest)", f"yes, secret {other} (not in bridge.yaml)", "yes, its secret is not known", "no",
    ]  # fmt: skip
    assert {each["status"] for each in rows} == {"status unknown"}
    assert "ID  NAME" in clinic.run("webhooks", "list").stdout


def test_deleting_says_what_and_waits_for_a_yes(clinic, peer, glycanage):
    """There is no way back."""
    with_journal(clinic)
    clinic.run("webhooks", "register")

    shown = clinic.run("webhooks", "delete", "wh_1")
    unknown = clinic.run("webhooks", "delete", "wh_1", "wh_9", "--yes")
    done = clinic.run("webhooks", "delete", "wh_1", "--yes")

    assert (shown.exit_code, unknown.exit_code, done.exit_code) == (1, 1, 0)
    assert "to delete: wh_1" in shown.stderr
    assert "say --yes" in shown.stderr
    assert "GlycanAge lists no webhook wh_9; nothing was deleted" in unknown.stderr
    assert done.stdout == "deleted: wh_1\n"
    assert glycanage.webhooks == []
    assert history(clinic, "webhook wh_1") == [(DELETED, f"GlycanBridge (secret {FP}) for {PUBLIC}")]


def test_the_last_approved_one_of_our_url_goes_only_on_purpose(clinic, glycanage):
    """Nothing would come any more, and nobody would notice for days."""
    clinic.run("webhooks", "register")
    clinic.run("webhooks", "register", "--url", "https://other.clinic.example/webhooks/glycanage")
    clinic.run("webhooks", "register", "--again")
    glycanage.webhooks[0]["status"] = glycanage.webhooks[1]["status"] = "approved"

    refused = clinic.run("webhooks", "delete", "wh_1", "--yes")
    other = clinic.run("webhooks", "delete", "wh_2", "--yes")
    pending = clinic.run("webhooks", "delete", "wh_3", "--yes")
    done = clinic.run("webhooks", "delete", "wh_1", "--yes", "--last")

    assert [each.exit_code for each in (refused, other, pending, done)] == [1, 0, 0, 0]
    assert "nothing would come any more: say --last" in refused.stderr
    assert glycanage.webhooks == []


def test_where_no_url_is_told_the_last_one_of_our_secret_is_ours(clinic, glycanage):
    """It was registered with --url, and everything comes through it."""
    clinic.change("  public_url: https://bridge.clinic.example/webhooks/glycanage\n", "")
    clinic.run("webhooks", "register", "--url", PUBLIC)
    glycanage.approve()

    refused = clinic.run("webhooks", "delete", "wh_1", "--yes")
    done = clinic.run("webhooks", "delete", "wh_1", "--yes", "--last")

    assert (refused.exit_code, "no other webhook of this bridge is approved" in refused.stderr) == (1, True)
    assert done.exit_code == 0


def test_one_that_glycanage_has_taken_back_is_no_other_one(clinic, glycanage):
    """Nothing comes through it: the last one that works is still the last."""
    clinic.run("webhooks", "register")
    clinic.run("webhooks", "register", "--again")
    glycanage.approve()
    glycanage.webhooks[1]["status"] = "revoked"

    assert clinic.run("webhooks", "delete", "wh_1", "--yes").exit_code == 1


@pytest.mark.parametrize(
    ("lost", "code", "told"),
    [
        (Fault.RESET, 0, "could not be read, and it is gone"),
        (Answer(502), 0, "could not be read, and it is gone"),
        (Answer(200, "OK"), 0, "could not be read, and it is gone"),
        (Answer(404), 0, "it was gone already"),
        (Answer(200, "{}"), 0, "deleted: a b"),
        (Answer(403), 1, "answered 403: this account may not do that"),
    ],
)
def test_after_a_lost_answer_to_a_delete_it_looks(clinic, peer, lost, code, told):
    """Whether it is gone is what counts. An id is escaped, whatever is in it."""
    listed = Answer(200, '[{"id": "a b", "url": "https://x.clinic.example/"}]')
    peer.answer(listed, lost, Answer(200, "[]"))

    done = clinic.run("webhooks", "delete", "a b", "--yes")

    assert (done.exit_code, told in done.output) == (code, True), done.output
    assert peer.requests[1].path == "/v1/webhooks/a%20b"


def test_what_is_still_there_after_a_lost_delete_is_an_error(clinic, peer):
    """It did not happen."""
    peer.answer(Answer(200, '[{"id": 7, "url": "https://x.clinic.example/"}]'), Answer(500), Answer(200, '[{"id": 7}]'))

    done = clinic.run("webhooks", "delete", "7", "--yes")

    assert done.exit_code == 1
    assert "answered 500: it cannot do it now: try again later; it is still there" in done.stderr


@pytest.mark.parametrize("webhook_id", ["", "/", "a/b", "..", "a..b", ".", "\\", "a\nb", "x" * 201, "\ud800"])
def test_an_id_that_would_be_another_path_is_none(webhook_id):
    """It stands in a path, with credentials."""
    with pytest.raises(GlycanAgeError, match="is no id of a webhook"):
        path_of(webhook_id)
    assert read_all([{"id": webhook_id}], to="x")[0].id is None


def test_an_id_is_escaped():
    """Whatever else is in it."""
    assert path_of("a b?c#d%2e@é") == "/webhooks/a%20b%3Fc%23d%252e%40%C3%A9"


ONE = {"id": "w1", "name": "n", "url": PUBLIC, "events": ["report-ready"], "status": "active"}
READ = Registration(id="w1", name="n", url=PUBLIC, events=("report-ready",), status="active", approved=True)


@pytest.mark.parametrize(
    "told",
    [
        [ONE], {"data": [ONE]}, {"webhooks": [ONE]}, {"items": [ONE], "total": 1}, {"data": {"webhooks": [ONE]}},
        {"data": {"data": [ONE]}}, {"whatever": [ONE]}, {"webhooks": [ONE], "errors": []},
        [{**ONE, "events": [{"type": "report-ready"}]}], [{**ONE, "events": "report-ready"}],
        [{"webhookId": "w1", "name": "n", "endpoint": PUBLIC, "eventTypes": ["report-ready"], "state": "active"}],
    ],
)  # fmt: skip
def test_a_list_is_read_however_it_is_written(told):
    """Its shape is not documented."""
    assert read_all(told, to="x") == [READ]


@pytest.mark.parametrize(
    ("more", "status", "approved"),
    [
        ({"status": "pending"}, "pending", False),
        ({"status": "PENDING_APPROVAL"}, "PENDING_APPROVAL", False),
        ({"status": "not approved"}, "not approved", False),
        ({"status": "unapproved"}, "unapproved", False),
        ({"status": "Approved"}, "Approved", True),
        ({"status": "Approval pending", "active": True}, "Approval pending", False),
        ({"status": "in review"}, "in review", False),
        ({"status": "revoked"}, "revoked", False),
        ({"status": "Expired"}, "Expired", False),
        ({"approved": True, "active": False}, "not active", False),
        ({"status": "approved", "enabled": False}, "approved", False),
        ({"status": "green"}, "green", None),
        ({"approved": True, "status": "pending"}, "pending", True),
        ({"approved": False, "status": "active"}, "active", False),
        ({"approvedAt": None, "status": "active"}, "active", False),
        ({"approvedAt": 1693123200000}, None, True),
        ({"active": False}, "not active", False),
        ({"enabled": True}, "active", True),
        ({"status": None}, None, None),
        ({"status": ["x"], "approved": "yes"}, None, None),
        ({}, None, None),
    ],
)
def test_whether_it_is_approved_is_read_from_what_is_there(more, status, approved):
    """In whatever words; what cannot be told is not guessed."""
    (read,) = read_all([{"id": 1, **more}], to="x")

    assert (read.id, read.status, read.approved) == ("1", status, approved)


@pytest.mark.parametrize(
    "told",
    [
        None,
        {},
        7,
        "x",
        [1],
        [[]],
        {"a": [], "b": []},
        {"data": {}},
        {"data": [None]},
        {"message": "down", "errors": []},
    ],
)
def test_what_is_no_list_of_webhooks_is_a_line(told):
    """To take it for an empty list would register a second webhook."""
    with pytest.raises(GlycanAgeError, match=r"GET x: it answered .*, and a list of webhooks was expected"):
        read_all(told, to="GET x")


@pytest.mark.parametrize(
    ("told", "found"),
    [(ONE, READ), ({"data": ONE}, READ), ({"webhook": ONE}, READ), ({"data": {"webhook": ONE}}, READ), (None, None),
     ([], None), ({"ok": True}, None), ({"id": True}, None), ({"id": "../x"}, None)],
)  # fmt: skip
def test_what_a_post_answers_is_read_however_it_is_written(told, found):
    """Or the list is asked."""
    assert read_one(told) == found


def test_what_could_steer_a_terminal_is_shown_as_a_question_mark(clinic, peer):
    """A name is somebody else's text."""
    named = {"id": 1, "name": "\x1b[2J\u202e" + "x" * 999, "url": "\x07", "status": "\r"}
    peer.answer(Answer(200, json.dumps([named])))

    for command in (["list"], ["list", "--json"], ["delete", "1"]):
        output = clinic.run("webhooks", *command).output
        assert not set("\x1b\u202e\x07\r") & set(output)
        assert len(output) < 1500


BRACKETS = re.compile(r"\[([^\]]*)\]")
LARGE = b"[" + b" " * 10_485_760 + b"]"
ANSWERS = {
    "400": Answer(400, '{"message": "url is not reachable"}'),
    "422": Answer(422, '{"error": {"message": "events: unknown type"}}'),
    "429 with Retry-After": Answer(429, headers={"Retry-After": "7"}),
    "503 as a web page": Answer(503, "<html>down", {"Content-Type": "text/html; charset=utf-8"}),
    "a web page instead of JSON": Answer(200, "<html>log in", {"Content-Type": "text/html"}),
    "an empty answer": Answer(200),
    "JSON of another kind": Answer(200, '{"ok": true, "message": "hello"}'),
    "a redirect": Answer.redirect("https://evil.example/"),
    "a status that nobody knows": Answer(418),
    "silence": Fault.HANG,
    "a body that comes drop by drop": Fault.DRIP,
    "a head that comes drop by drop": Answer(raw=b"HTTP/1.1 200 OK\r\n", then=Fault.DRIP),
    "more than 10 MB": Answer(200, LARGE),
    "a connection that is reset": Fault.RESET,
    "a connection that is closed": Fault.CLOSE,
    "an answer that breaks off": Fault.CLOSE_MIDWAY,
    "no HTTP": Fault.GARBAGE,
    **{str(status): Answer(status) for status in (401, 403, 404, 405, 409, 500)},
}
SLOW = {"silence", "a body that comes drop by drop", "a head that comes drop by drop"}


def test_the_table_of_errors_is_whole():
    """A row that nobody reads proves nothing."""
    elsewhere = {"a connection that is refused", "a name that is not known", "a certificate that is not trusted",
                 "another protocol than TLS", "a proxy that refuses"}  # fmt: skip
    assert {case for case, _ in ROWS} == {*ANSWERS, *elsewhere}


@pytest.mark.parametrize(("case", "said"), ROWS, ids=[case for case, _ in ROWS])
def test_what_glycanage_answers_is_the_line_in_the_table(clinic, peer, monkeypatch, case, said):
    """One line for a person, exit 1, and no traceback."""
    base = f"{peer.url}/v1"
    if case in ANSWERS:
        peer.answer(ANSWERS[case])
        if case in SLOW:
            clinic.change("timeout_s: 5 ", "timeout_s: 0.3 ")
    else:
        base = unreachable(case, clinic, peer, monkeypatch)

    done = clinic.run("webhooks", "list")

    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == f"GET {base}/webhooks: {BRACKETS.sub(lambda found: found[1], said)}\n"


def unreachable(case: str, clinic: Clinic, peer: HttpPeer, monkeypatch) -> str:
    """Make an API that there is no way to; its address."""
    before = f"{peer.url}/v1"
    base = {
        "a name that is not known": "https://api.glycanage.invalid/v1",
        "another protocol than TLS": before.replace("http:", "https:"),
        "a certificate that is not trusted": before.replace("http:", "https:"),
        "a proxy that refuses": "https://api.glycanage.invalid/v1",
    }.get(case, before)
    clinic.change(before, base)
    if case == "a connection that is refused":
        peer.close()
    elif case == "a name that is not known":

        def unknown(*_: object, **__: object) -> None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)
    elif case == "a certificate that is not trusted":
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
        peer._tls, peer._implicit = tls, True
    elif case == "a proxy that refuses":
        clinic.change("  timeout_s: 5 ", f"  proxy: {peer.url}\n  timeout_s: 5 ")
        peer.answer(Answer(407))
    return base
