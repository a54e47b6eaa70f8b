"""`glycanbridge simulate` as somebody types it, against a bridge that really serves."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import threading

import pypdf
import pytest
from click.testing import CliRunner
from serving import SECRET

from glycanbridge.cli import main
from glycanbridge.cli.simulating import NewestWebhook
from glycanbridge.event_types import EVENT_TYPES
from glycanbridge.glycanage.api import Api
from glycanbridge.glycanage_settings import GlycanAgeSettings
from glycanbridge.signature import verify
from glycanbridge.simulator.api import EMAIL, TOKEN, SimulatedApi
from glycanbridge.simulator.story import story
from glycanbridge.testing import Answer, HttpPeer

NOBODY = "http://127.0.0.1:9/x"


def simulate(server, *arguments):
    """What the command does, in this process; it ends as it would for a person."""
    return CliRunner().invoke(main, ["simulate", "-c", str(server.config), *map(str, arguments)])


def rows(done):
    """The rows of `--json`, by event type."""
    return {row.pop("type"): row for row in map(json.loads, done.stdout.splitlines())}


def test_a_story_is_told_and_every_answer_is_as_it_should_be(server):
    """Exit 0, a table for people, and the events are in the journal."""
    done = simulate(server, "--to", server.url, "--kits", 4, "--begin", "2026-01-01")
    lines = done.stdout.splitlines()
    codes = {row["type"] for row in server.rows("events", "list", "--since", "10m", "--limit", "1000")}

    assert (done.exit_code, len(lines)) == (0, 7)
    assert lines[0].split()[:3] == ["TYPE", "SENT", "ACCEPTED"]
    assert [line.split()[0] for line in lines[1:]] == [*EVENT_TYPES, "kit-rejected", "all"]
    assert f"requests to {server.url}" in done.stderr
    assert codes >= set(EVENT_TYPES)


def test_the_same_story_again_is_known_already(server):
    """A second run has other events, unless it is told to have the same ones: then it says so, and is no success."""
    same = ("--to", server.url, "--seed", 7, "--begin", "2026-02-01", "--json", "--clean")
    first, again = simulate(server, *same), simulate(server, *same)
    other = simulate(server, "--to", server.url, "--seed", 7, "--json", "--clean")

    assert [each.exit_code for each in (first, again, other)] == [0, 1, 0]
    assert rows(again)["all"]["duplicate"] == rows(again)["all"]["unexpected"] == rows(first)["all"]["accepted"]
    assert "another --seed or --begin makes other events" in again.stderr


def test_only_some_types_are_sent(server):
    """Named once or more often."""
    done = simulate(server, "--to", server.url, "--seed", 8, "--only", "report-ready", "--json", "--clean")

    assert (done.exit_code, set(rows(done))) == (0, {"report-ready", "all"})


def test_nobody_there_is_said_at_once_and_every_event_is_lost(server):
    """With what to do about it."""
    done = simulate(server, "--to", NOBODY, "--kits", 1, "--back-off", "0,0.01", "--json")
    told = rows(done)["all"]

    assert (done.exit_code, told["lost"], told["retried"], told["p50_ms"]) == (1, told["sent"], 2 * told["sent"], None)
    assert "does `glycanbridge serve` run there?" in done.stderr.splitlines()[1]


def test_a_wrong_secret_is_said_at_once(server, tmp_path):
    """It is told from a file, and the receiver has another."""
    (tmp_path / "secret").write_text("not the one that the receiver has\n")
    done = simulate(server, "--to", server.url, "--secret-file", tmp_path / "secret", "--back-off", "", "--json")

    assert (done.exit_code, rows(done)["all"]["accepted"]) == (1, 0)
    assert "is this secret one of the receiver's?" in done.stderr
    assert "... and " in done.stderr  # there is an end to the lines about single events


def test_ctrl_c_ends_in_order_with_the_table(server):
    """What was not sent to its end is told, and is no success."""
    main_thread = threading.main_thread().ident
    begun = threading.Event()

    def answer(_request):
        begun.set()
        return Answer(503)

    def interrupt():
        begun.wait(20)
        signal.pthread_kill(main_thread, signal.SIGTERM)

    with HttpPeer(answer) as peer:
        interrupting = threading.Thread(target=interrupt)
        interrupting.start()
        done = simulate(server, "--to", peer.url, "--back-off", "600,600")
        interrupting.join()

    assert done.exit_code == 1
    assert "requests not sent to their end" in done.stderr
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--api", "0.0.0.0:8090"], "the simulator serves this machine alone: write 127.0.0.1:8090"),
        (["--api", "clinic.example:1"], "the simulator serves this machine alone"),
        (["--api", "x"], "write a port such as 8090"),
        (["--api", "0", "--to", NOBODY], "--api sends to whatever is registered there"),
        (["--api", "0", "--load"], "--api sends to whatever is registered there"),
        (["--back-off", "1,2,3,4"], "write at most three waits in seconds"),
        (["--back-off", "soon"], "write at most three waits in seconds"),
        (["--to", "ftp://127.0.0.1/"], "--to ftp://127.0.0.1/: expected http://HOST:PORT/PATH"),
        (["--to", NOBODY, "--secret-file", "nowhere"], "--secret-file nowhere: No such file"),
        (["--load", "--to", "http://clinic.example/x"], "clinic.example is not this machine"),
        (["--load", "--rate", "2001"], "--rate"),
        (["--load", "--rate", "nan"], "--rate"),
        (["--speed", "nan"], "--speed"),
        (["--speed", "0"], "--speed"),
        ([], "receiver.listen has port 0"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_wrong_usage_is_exit_2_and_says_what_to_write(server, arguments, said):
    """Before anything is sent."""
    done = simulate(server, *arguments)

    assert (done.exit_code, said in " ".join(done.stderr.split())) == (2, True), done.stderr


def test_an_empty_secret_or_no_text_is_refused(server, tmp_path):
    """The file is named."""
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff")

    for name, said in (("empty", "it is empty"), ("binary", "it is no text")):
        done = simulate(server, "--to", NOBODY, "--secret-file", tmp_path / name)
        assert (done.exit_code, said in done.stderr) == (2, True)


def test_a_load_says_how_fast_the_bridge_was(server):
    """For a short time, over a few connections that are kept; every event becomes a row."""
    load = ("--load", "--rate", 100, "--seconds", 0.5, "--connections", 4)
    done = simulate(server, "--to", server.url, *load, "--json")
    row = json.loads(done.stdout)
    broken = simulate(server, "--to", NOBODY, "--load", "--rate", 100, "--seconds", 0.05)

    assert (done.exit_code, row["sent"], row["errors"]) == (0, 50, {})
    assert 0 < row["p50_ms"] <= row["p99_ms"] <= row["max_ms"]
    assert 0 < row["reached_per_s"] < 120
    assert broken.exit_code == 1
    assert "5 x Connection refused" in broken.stdout


def test_its_api_takes_a_registration_and_sends_the_story_there(server):
    """As `glycanbridge webhooks register` makes it; reports can be fetched, and Ctrl-C ends it with exit 0."""
    command = [*server.program, "simulate", "--api", "0", "--kits", "5", "--approve-after", "0.05", "--json"]
    process = subprocess.Popen(
        command, env=server.environ, cwd=server.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    line = process.stderr.readline()
    client = Api(GlycanAgeSettings(base_url=line.split()[0], email=EMAIL, token=TOKEN))
    wanted = {"name": "GlycanBridge", "description": "a rehearsal", "url": server.url, "secret": SECRET}
    assert client.call("GET", "/webhooks") == []
    client.call("POST", "/webhooks", wanted | {"events": ["report-ready", "kit-received"]})
    told = [json.loads(process.stdout.readline()) for _ in range(4)]
    (page,) = [client.call("GET", "/reports")]
    accept = {"accept": "application/pdf", "largest_bytes": 100_000}
    report = client.file(f"{client.base_url}{page['data'][0]['reportUrl']}", **accept)
    client.close()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)

    assert process.returncode == 0, said
    assert "put `glycanage: {base_url: http://127.0.0.1:" in line
    assert "public_url: http://127.0.0.1:8080/webhooks/glycanage}` into bridge.yaml" in line
    assert "type `glycanbridge webhooks register`" in line
    assert [row["type"] for row in told] == ["kit-received", "report-ready", "kit-rejected", "all"]
    assert told[-1]["unexpected"] == 0
    assert len(page["data"]) == told[1]["accepted"]
    assert len(pypdf.PdfReader(io.BytesIO(report.body), strict=True).pages) == 1
    assert "stopped" in said


def test_the_newest_webhook_that_is_approved_gets_the_events():
    """A secret is rotated by registering another webhook and deleting the first; without any nothing is sent."""
    sending = next(each for each in story(seed=1, begin_ms=0).sendings if each.type == "report-ready")
    with SimulatedApi(approve_after_s=0) as api, HttpPeer() as peer:
        account = GlycanAgeSettings(base_url=api.base_url, email=EMAIL, token=TOKEN)
        webhook, client = NewestWebhook(api), Api(account)
        wanted = {"description": "a rehearsal", "url": peer.url, "events": ["report-ready"]}
        secrets = ["the first of two secrets, long enough", "the second of two secrets, long enough"]
        none = webhook.post(sending)
        ids = [client.call("POST", "/webhooks", wanted | {"name": each, "secret": each})["id"] for each in secrets]
        webhook.post(sending)
        client.call("DELETE", f"/webhooks/{ids[1]}")
        webhook.post(sending)
        client.close()
        signed = [each.headers["X-GlycanAge-Signature"] for each in peer.requests]

    assert none.error == "no webhook is registered and approved"
    assert signed == [sending.signed_with(secrets[1]), sending.signed_with(secrets[0])]


def test_a_webhook_that_is_approved_when_the_story_is_told_gets_one_more_event(server):
    """A rotation waits for an event that the new secret signed, and this GlycanAge has nothing else to tell."""
    secrets = [f"number {each} of several secrets, long enough" for each in range(4)]
    command = [*server.program, "simulate", "--api", "0", "--approve-after", "0", "--back-off", "0", "--clean"]
    with HttpPeer(Answer(200, '{"status": "accepted"}')) as peer:
        process = subprocess.Popen(
            command, env=server.environ, cwd=server.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        line = process.stderr.readline()
        client = Api(GlycanAgeSettings(base_url=line.split()[0], email=EMAIL, token=TOKEN))

        def register(number, *events):
            wanted = {"name": str(number), "description": "a rehearsal", "url": peer.url, "secret": secrets[number]}
            client.call("POST", "/webhooks", wanted | {"events": events})

        register(0, "report-ready")
        assert any("the story is told" in line for line in process.stderr)
        told, lines = len(peer.requests), []
        for number, events in enumerate([["report-ready", "kit-received"], ["order-status-changed"]], 1):
            register(number, *events)
            lines.append(process.stderr.readline())
        peer.answer(Answer(401))
        register(3, "report-ready")
        lines += [process.stderr.readline() for _ in range(2)]
        client.close()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
        later = peer.requests[told:]

    assert (process.returncode, said) == (1, "stopped\n")  # one of them was not taken
    types = ["kit-received", "order-status-changed", "report-ready", "report-ready"]
    assert [json.loads(each.body)["type"] for each in later] == types
    assert [verify(each.body, each.headers["X-GlycanAge-Signature"], secrets) for each in later] == [1, 2, 3, 3]
    assert lines[0].startswith(f"approved: 1, {peer.url}: one more event was sent to it, kit-received of KIT")
    assert lines[1].endswith(": accepted\n")
    assert "is this secret one of the receiver's?" in lines[2]
    assert lines[3].endswith("expected accepted, came the last of 2 times: 401\n")


def test_an_api_that_nobody_registers_at_has_sent_nothing(server):
    """Ctrl-C ends it all the same, and says so."""
    command = [*server.program, "simulate", "--api", "127.0.0.1:0"]
    process = subprocess.Popen(
        command, env=server.environ, cwd=server.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stderr.readline()
    process.terminate()
    told, said = process.communicate(timeout=20)

    assert (process.returncode, told) == (1, "")
    assert "no webhook was registered, so nothing was sent" in said
