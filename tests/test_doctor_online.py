"""The doctor over the network: far sides, GlycanAge's API and the public address, each a real peer on loopback."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import trustme
from serving import served
from test_doctor import Folder

from glycanbridge.doctor.findings import Level
from glycanbridge.testing import Answer, Fault, HttpPeer

HOOK = "/webhooks/glycanage"
ALL = ["order-status-changed", "assignment-status-changed", "kit-received", "report-ready"]
CSV = {"results": {"plugin": "csv", "settings": {"directory": "exports"}}}


@pytest.fixture
def folder(tmp_path):
    """A folder in which all is well."""
    tmp_path.chmod(0o700)
    return Folder(tmp_path)


@pytest.fixture
def asked(folder):
    """What is found with the API and the public address as given, by id."""

    def ask(*, api: HttpPeer, public_url: str | None = None, clock=lambda: time.time_ns() // 1_000_000, **more) -> dict:
        block = {"base_url": api.url, "email": "a@b.example", "token": "t-o-k-e-n", "timeout_s": 1} | more
        folder.configure(glycanage=block | ({} if public_url is None else {"public_url": public_url}))
        (folder.path / "bridge.yaml").chmod(0o600)
        found = folder.look(online=True, clock=clock)
        assert not [each for each in found if each.id.endswith(".failed")]
        assert "t-o-k-e-n" not in repr(found)
        return {each.id: each for each in found}

    return ask


PLUGIN = """
import threading

from glycanbridge import PermanentError, hookimpl


class {name}:
    @hookimpl
    def on_report_ready(self, event): ...

    @hookimpl
    def check(self):
        {does}
"""
STILLBORN = """
    def __init__(self):
        __import__("os")._exit(0)
"""


def test_every_far_side_is_asked_and_none_that_hangs_is_waited_for(folder):
    """One that is well, one that refuses, one with a mistake in it, and one that never answers."""
    plugins = {
        "wellside": 'return "it answers"',
        "refuser": 'raise PermanentError("the password is wrong")',
        "mistaken": 'raise KeyError("patient_123")',
        "hanger": "threading.Event().wait()",
    }
    for name, does in plugins.items():
        folder.write(f"{name}.py", PLUGIN.format(name=name.capitalize(), does=does))
    folder.configure(
        plugin_files=[f"{name}.py" for name in plugins], destinations={name: {"plugin": name} for name in plugins}
    )
    began = time.monotonic()
    found = {
        each.about: each for each in folder.look(online=True, patience_s=0.5) if each.id.startswith("destinations.")
    }

    assert time.monotonic() - began < 15
    assert {name: (each.level.value, each.found) for name, each in found.items() if name != "mistaken"} == {
        "wellside": ("ok", "it answers"),
        "refuser": ("problem", "the password is wrong"),
        "hanger": ("problem", "check() does not come back within 0.5 s"),
    }
    assert found["mistaken"].found.startswith("check() failed: KeyError at mistaken.py")


def test_a_far_side_that_hangs_does_not_keep_the_command_from_ending(serving):
    """Not even where its plugin waits in a pool of threads, which Python would wait for in turn."""
    waits = "with __import__('concurrent.futures').futures.ThreadPoolExecutor(1) as pool:\n"
    waits += " " * 12 + "pool.submit(threading.Event().wait).result()"
    (serving.folder / "hanger.py").write_text(PLUGIN.format(name="Hanger", does=waits))
    serving.configure({"h": {"plugin": "hanger", "timeout_s": 0.3}}, plugin_files=["hanger.py"])
    done = serving.run("doctor", "--online")

    assert done.returncode == 1
    assert "destinations.hangs: h: check() does not come back within 0.3 s" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("problems: ")


def test_a_plugin_that_ends_its_process_does_not_end_the_doctor(folder):
    """Nothing at all would be told, and its exit code would be taken for the doctor's."""
    folder.write("leaver.py", PLUGIN.format(name="Leaver", does="__import__('os')._exit(0)"))
    folder.write("stillborn.py", PLUGIN.format(name="Stillborn", does="...") + STILLBORN)
    folder.configure(
        plugin_files=["leaver.py", "stillborn.py"],
        destinations={each: {"plugin": each} for each in ("leaver", "stillborn")},
    )
    command = [sys.executable, "-m", "glycanbridge", "doctor", "--online", "-c", folder.path / "bridge.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert "destinations.check: leaver: check() ends the process (exit code 0)" in done.stdout
    assert "the plugin 'stillborn' ends the process (exit code 0) when it is made" in done.stdout
    assert done.returncode == 78


def test_without_the_block_glycanage_is_not_asked(folder):
    """And it is said how it could be."""
    (found,) = [each for each in folder.look(online=True) if each.id == "glycanage.registration"]

    assert (found.level, "add `glycanage:`" in found.do) == (Level.NOTE, True)


HERE = f"https://127.0.0.1:9{HOOK}"
OURS = {"id": "w1", "url": HERE, "events": ALL}
REGISTRATIONS = [
    ([OURS | {"status": "approved"}], {"registration": "ok", "approval": "ok", "events": "ok"}),
    ({"webhooks": [OURS | {"status": "Pending"}]}, {"registration": "ok", "approval": "problem", "events": "ok"}),
    ({"data": {"items": [OURS | {"approved": False}]}}, {"approval": "problem"}),
    ([OURS | {"isActive": True}], {"approval": "ok"}),
    ([OURS], {"registration": "ok", "approval": "note"}),
    ([OURS | {"status": "in-orbit", "events": None}], {"approval": "note"}),
    ({"errors": [], "webhooks": [OURS]}, {"registration": "ok"}),
    ([OURS | {"approvedAt": None}], {"approval": "problem"}),
    ([OURS | {"events": ["kit-received"], "status": "approved"}], {"events": "problem"}),
    ([OURS | {"status": "pending"}, OURS | {"status": "approved"}], {"registration": "warning", "approval": "ok"}),
    ([{"url": "https://other.example/x"}], {"registration": "problem"}),
    ([OURS | {"name": "GlycanBridge (secret 00000000)"}], {"registration": "ok", "secret": "problem"}),
    ([], {"registration": "problem"}),
    ({"webhooks": []}, {"registration": "problem"}),
    ({"message": "hello"}, {"registration": "note"}),
    ([1, 2], {"registration": "note"}),
]


@pytest.mark.parametrize(("answer", "levels"), REGISTRATIONS)
def test_what_glycanage_knows_of_us(asked, folder, answer, levels):
    """The answer's form is not documented: wherever the list stands in it, and whatever its words are."""
    folder.configure(destinations=CSV)
    with HttpPeer(Answer(200, json.dumps(answer))) as api:
        found = asked(api=api, public_url=HERE)

    assert {name: found[f"glycanage.{name}"].level.value for name in levels} == levels
    assert [each.path for each in api.requests if each.headers["Authorization"]] == ["/webhooks"]


@pytest.mark.parametrize(
    ("answer", "level", "told"),
    [
        (Answer(401, '{"message": "no"}'), "problem", "glycanage.token"),
        (Answer(200, "<html>", {"Content-Type": "text/html"}), "problem", "not JSON"),
        (Answer(503), "warning", "try again later"),
        (Fault.RESET, "warning", "GET "),
        (Fault.HANG, "warning", "no whole answer within 1 s"),
    ],
)
def test_when_glycanage_does_not_answer_as_it_should(asked, answer, level, told):
    """What passes by itself is no problem of ours."""
    with HttpPeer(answer) as api:
        found = asked(api=api)["glycanage.api"]

    assert (found.level.value, told in found.found) == (level, True)


@pytest.mark.parametrize(
    ("ahead_s", "level"), [(0, "ok"), (-60, "warning"), (60, "warning"), (4000, "problem"), (-4000, "problem")]
)
def test_the_clock_is_held_against_glycanages(asked, ahead_s, level):
    """No credentials are sent for it."""
    date = format_datetime(datetime.now(UTC), usegmt=True)
    with HttpPeer(Answer(200, "[]", {"Date": date})) as api:
        found = asked(api=api, clock=lambda: time.time_ns() // 1_000_000 + ahead_s * 1000)

    assert found["clock.glycanage"].level.value == level
    assert api.requests[-1].headers["Authorization"] is None


@pytest.mark.parametrize("date", [{}, {"Date": "yesterday"}])
def test_an_answer_without_a_date(asked, date):
    """Then it is not known, and not wrong."""
    with HttpPeer(Answer(200, "[]", date)) as api:
        assert asked(api=api)["clock.glycanage"].level is Level.NOTE


AUTHORITY = trustme.CA()


@pytest.fixture
def public(folder, asked):
    """What is found of a public address with this certificate and this answer, by id."""
    ca_file = folder.path / "ca.pem"
    AUTHORITY.cert_pem.write_to_path(str(ca_file))

    def ask(*answers, until: timedelta = timedelta(days=90), name: str = "127.0.0.1", path: str = HOOK) -> dict:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        now = datetime.now(UTC)
        AUTHORITY.issue_cert(name, not_before=now - timedelta(days=99), not_after=now + until).configure_cert(context)
        with HttpPeer(Answer(200, "[]")) as api, HttpPeer(*answers, tls=context) as peer:
            return asked(api=api, public_url=f"{peer.url}{path}", ca_file=str(ca_file))

    return ask


OURS_405 = Answer(405, '{"title": "405 Method Not Allowed", "description": "x"}', {"Allow": "POST"})
HTML = {"Content-Type": "text/html"}


@pytest.mark.parametrize(
    ("answer", "level", "told"),
    [
        (OURS_405, "ok", "our receiver answers"),
        (Answer(405, "<html>", HTML), "problem", "a web page that is not our receiver's"),
        (Answer(200, "<html>", HTML), "problem", "a web page that is not our receiver's"),
        (Answer(200, "ok"), "problem", "something that is not our receiver's"),
        (Answer(404, "<html>", HTML), "problem", "the proxy does not know this path"),
        (Answer(404, '{"title": "404 Not Found", "description": "x"}'), "problem", "the bridge has another path"),
        (Answer(502, "<html>", HTML), "problem", "the proxy has no bridge behind it"),
        (Answer.redirect("https://www.bridge.example/"), "problem", "sends the request elsewhere"),
        (Answer(403), "problem", "lets not everybody in"),
        (Fault.RESET, "problem", "no answer ("),
        (Fault.GARBAGE, "problem", "no answer (BadStatusLine)"),
        (Fault.HANG, "problem", "no answer in time"),
    ],
)
def test_what_the_public_address_answers(public, answer, level, told):
    """A GET of our receiver is 405 in its own words; all else is a proxy's, or somebody else's."""
    found = public(answer)["public-url.answer"]

    assert (found.level.value, told in found.found) == (level, True), found
    assert bool(found.do) == (level != "ok")


@pytest.mark.parametrize(
    ("days", "name", "level", "told"),
    [
        (90, "127.0.0.1", "ok", "runs out in 90 days"),
        (10, "127.0.0.1", "warning", "runs out in 10 days"),
        (-1, "127.0.0.1", "problem", "certificate has expired"),
        (90, "other.example", "problem", "mismatch"),
    ],
)
def test_the_certificate_of_the_public_address(public, days, name, level, told):
    """When it has run out, nothing arrives any more."""
    found = public(OURS_405, until=timedelta(days=days), name=name)["public-url.certificate"]

    assert (found.level.value, told in found.found) == (level, True), found


def test_a_certificate_of_no_public_authority(asked):
    """It is trusted here by nobody, and by GlycanAge neither."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("127.0.0.1").configure_cert(context)
    with HttpPeer(Answer(200, "[]")) as api, HttpPeer(tls=context) as peer:
        found = asked(api=api, public_url=f"{peer.url}{HOOK}")["public-url.certificate"]

    assert (found.level, "not trusted" in found.found) == (Level.PROBLEM, True)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (f"https://nowhere.invalid{HOOK}", "cannot be resolved"),
        (f"https://127.0.0.1:9{HOOK}", "Connection refused"),
    ],
)
def test_a_public_address_where_nobody_is(asked, url, told):
    """A name that does not exist, and a port that is closed."""
    with HttpPeer(Answer(200, "[]")) as api:
        assert told in asked(api=api, public_url=url)["public-url.answer"].found


def test_a_port_that_speaks_no_tls(asked):
    """It was registered with https, and the proxy speaks http there."""
    with HttpPeer(Answer(200, "[]")) as api:
        found = asked(api=api, public_url=f"{api.url.replace('http:', 'https:')}{HOOK}")["public-url.answer"]

    assert "no TLS can be agreed on" in found.found


def test_a_public_address_without_tls(asked):
    """Patients' results would travel in clear; on this machine alone it is a rehearsal."""
    with HttpPeer(Answer(200, "[]")) as api:
        assert "public-url.scheme" not in asked(api=api, public_url=f"{api.url}{HOOK}")
        found = asked(api=api, public_url=f"http://192.0.2.1{HOOK}", timeout_s=0.2)

    assert found["public-url.scheme"].level is Level.PROBLEM


@pytest.mark.parametrize("text", [None, "no certificate"])
def test_authorities_that_cannot_be_read_are_no_trouble_of_the_proxys(asked, folder, text):
    """Nobody was asked: who looks at the proxy and the firewall looks in vain."""
    if text is not None:
        folder.write("ca.pem", text)
    with HttpPeer(Answer(200, "[]")) as api:
        found = asked(api=api, public_url=f"https://127.0.0.1:9{HOOK}", ca_file="ca.pem")["public-url.answer"]

    assert f"glycanage.ca_file: {folder.path / 'ca.pem'}: " in found.found
    assert "a file of certificates" in found.do


def test_the_public_path_is_the_receivers(public):
    """Or the proxy must translate it."""
    assert public(OURS_405, path="/other")["public-url.path"].level is Level.WARNING
    assert public(OURS_405)["public-url.path"].level is Level.OK


def test_the_way_out_is_the_configured_proxy(asked):
    """With its password, which is told nobody."""
    with HttpPeer(Answer(200, "[]")) as api, HttpPeer(Answer(403)) as proxy:
        way = f"http://user:p-a-s-s@127.0.0.1:{proxy.port}"
        found = asked(api=api, public_url="https://bridge.example/x", proxy=way)

    request = next(each for each in proxy.requests if each.method == "CONNECT")
    assert (request.path, request.headers["Proxy-Authorization"]) == ("bridge.example:443", "Basic dXNlcjpwLWEtcy1z")
    assert found["public-url.answer"].level is Level.PROBLEM
    assert "p-a-s-s" not in repr(found)


def test_a_bridge_that_serves_is_found_to_be_well(serving, asked, folder):
    """The real one: it answers at its address, is ready, and says 405 to a GET."""
    with served(serving), HttpPeer(Answer(200, "[]")) as api:
        address = serving.url.split("/")[2]
        folder.configure(
            receiver={"listen": address, "secrets": ["${file:var/secret}"]},
            journal=f"sqlite:///{serving.folder}/var/journal.db",
        )
        found = asked(api=api, public_url=serving.url)

    assert [found[each].level.value for each in ("receiver.address", "receiver.ready", "public-url.answer")] == [
        "ok"
    ] * 3
    assert "receiver.journal" not in found
    assert "a bridge serves from it" in found["journal.state"].found
