"""From socket to plugin: the real server process, a real journal file, and what happens to it in between."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import threading
from pathlib import Path
from types import SimpleNamespace

import apsw
import pytest
from serving import SECRET, request, sample, served, until

from glycanbridge.server import Server

TAKE = {"all": {"plugin": "recorder", "settings": {"file": "taken.txt"}}}
NODE = shutil.which("node")


def taken(serving) -> list[str]:
    """What the plugin has taken: delivery id, event type, attempt."""
    file = serving.folder / "taken.txt"
    return file.read_text().splitlines() if file.exists() else []


def with_mode(mode: str, **more) -> dict[str, object]:
    """A destination whose plugin does something else than take."""
    return {"all": {"plugin": "recorder", "settings": {"file": "taken.txt", "mode": mode}, **more}}


def test_kill_9_right_after_a_200_loses_nothing(serving):
    """The event is there after the start, is delivered, and is still known when it comes again."""
    serving.configure(with_mode("wait", retry={"schedule_s": [0.1] * 100}))
    serving.start()
    accepted = serving.post(sample())
    serving.stop(kill=True)

    (serving.folder / "taken.txt.go").touch()
    with served(serving):
        until(lambda: len(taken(serving)) == 1)
        again = serving.post(sample())

    assert accepted.status == 200
    assert again.told == {"status": "duplicate", "id": accepted.told["id"]}
    assert taken(serving)[0].startswith(f"{accepted.told['id']}:all report-ready")
    assert [row["state"] for row in serving.rows("deliveries", "list")] == ["delivered"]


def test_kill_9_under_load_loses_nothing_that_was_answered_200(serving):
    """Four senders, one kill in the middle; everything acknowledged is delivered after the start, once."""
    serving.configure(with_mode("wait", retry={"schedule_s": [0.1] * 100}))
    serving.start()
    acknowledged, enough = [], threading.Event()

    def send(sender: int) -> None:
        for number in range(10_000):
            try:
                answer = serving.post(sample(timestamp=sender * 10_000 + number))
            except (OSError, AssertionError, ValueError):
                return
            acknowledged.append(answer.told["id"])
            if len(acknowledged) > 200:
                enough.set()

    senders = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    for sender in senders:
        sender.start()
    assert enough.wait(60)
    serving.stop(kill=True)
    for sender in senders:
        sender.join()

    (serving.folder / "taken.txt.go").touch()
    with served(serving):
        until(lambda: {f"{each}:all" for each in acknowledged} <= {line.split()[0] for line in taken(serving)})

    delivered = [line.split()[0] for line in taken(serving)]
    assert len(delivered) == len(set(delivered))


def test_a_plugin_that_kills_the_process_comes_to_an_end_as_a_dead_letter(serving):
    """In a thread of the bridge each claim counts, also one that never ended: one event cannot kill it for ever."""
    serving.configure(with_mode("die", isolation="thread", retry={"schedule_s": [0.1]}))
    serving.start()
    serving.post(sample())
    for _ in range(2):
        assert serving.process.wait(20) == 9
        serving.process.stdout.close()
        serving.start()

    until(lambda: serving.rows("dead-letters", "list"))
    assert serving.stop() == 0
    (letter,) = serving.rows("dead-letters", "list")
    assert "2 attempts did not come to an end" in letter["reason"]
    assert len(taken(serving)) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_in_order(serving, number):
    """Exit 0, and the journal is closed: nothing is left of its write-ahead log."""
    serving.configure(TAKE)
    serving.start()
    serving.post(sample())
    serving.process.send_signal(number)

    assert serving.process.wait(20) == 0
    serving.process.stdout.close()
    assert sorted(each.name for each in (serving.folder / "var").iterdir()) == ["journal.db", "journal.db.lock"]


def test_a_request_that_comes_while_stopping_is_503_and_comes_again(serving):
    """Half of it was there before the signal: it is answered, and the sender told when to try again."""
    serving.configure(TAKE)
    serving.start()
    whole = request(sample())
    connection = serving.connect()
    connection.send(whole[:-10])
    until(lambda: serving.post(sample("kit-received")).status == 200)
    serving.process.send_signal(signal.SIGTERM)
    until(lambda: refuses(serving))
    connection.send(whole[-10:])
    answer = connection.answer()

    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert serving.process.wait(20) == 0
    serving.process.stdout.close()
    connection.close()
    with served(serving):
        assert serving.post(sample()).told["status"] == "accepted"


def refuses(serving) -> bool:
    """Whether the server takes no new connection."""
    try:
        serving.connect().close()
    except OSError:
        return True
    return False


def test_a_running_attempt_comes_to_its_end_before_the_process_does(serving):
    """What was taken is settled, so that it is not made again after the next start."""
    serving.configure(TAKE)
    with served(serving):
        for number in range(30):
            serving.post(sample(timestamp=number))
    lines = taken(serving)

    states = [row["state"] for row in serving.rows("deliveries", "list")]
    assert "running" not in states
    assert states.count("delivered") == len(lines)


def test_a_second_signal_ends_it_at_once(serving):
    """Even with a request half received, for which the first one waits a while."""
    serving.configure(TAKE)
    serving.start()
    connection = serving.connect()
    connection.send(request(sample())[:-10])
    until(lambda: serving.post(sample("kit-received")).status == 200)
    serving.process.send_signal(signal.SIGTERM)
    until(lambda: refuses(serving))
    serving.process.send_signal(signal.SIGTERM)

    assert serving.process.wait(4) == 1
    serving.process.stdout.close()
    connection.close()


def test_a_journal_that_cannot_commit_is_503_until_it_can(serving):
    """Another process holds the file: nothing is answered 200 that is not on disk, and it recovers by itself."""
    serving.configure(TAKE)
    with served(serving):
        other = apsw.Connection(str(serving.folder / "var" / "journal.db"))
        other.set_busy_timeout(5000)
        other.execute("BEGIN IMMEDIATE")
        refused = serving.post(sample())
        not_ready = serving.ask(request(b"", method="GET", path="/readyz"))
        other.execute("ROLLBACK")
        other.close()

        assert (refused.status, refused.headers["retry-after"]) == (503, "5")
        assert set(refused.told) == {"title", "description"}
        assert (not_ready.status, not_ready.told["description"]) == (503, "the last event could not be kept")
        until(lambda: serving.post(sample()).status == 200)
        until(lambda: serving.ask(request(b"", method="GET", path="/readyz")).status == 200)


def test_a_dead_letter_directory_that_cannot_be_written_is_503(serving):
    """What cannot be quarantined must come again."""
    serving.configure({}, dead_letters="secret/dead-letters")
    with served(serving):
        assert serving.post(b"[]").status == 503
        assert serving.post(sample()).status == 200


def test_what_a_killed_process_left_half_written_is_tidied_away_at_the_start(serving):
    """Among the dead letters; nobody was told that it was kept."""
    half = serving.folder / "var" / "dead-letters" / "20200101T000000000Z-abc.0123.partial"
    half.parent.mkdir()
    half.write_text("half")

    with served(serving):
        assert not half.exists()


def test_every_file_that_is_written_is_for_its_owner_alone(serving):
    """Journal, dead letters and what plugins write: all of it is patients' data."""
    serving.configure(TAKE)
    with served(serving):
        serving.post(sample())
        serving.post(b"[]")
        until(lambda: taken(serving))

    var = serving.folder / "var"
    files = [serving.folder / "taken.txt", *(each for each in var.rglob("*") if each.is_file())]
    assert len(files) == 4
    assert {stat.S_IMODE(each.stat().st_mode) for each in files} == {0o600}


def test_an_address_of_ipv6_is_told_as_a_browser_takes_it():
    """In brackets: else its last group reads as the port."""
    bound = SimpleNamespace(getsockname=lambda: ("::1", 8080, 0, 0), family=socket.AF_INET6)
    server = SimpleNamespace(_socket=bound, _receiver=SimpleNamespace(path="/webhooks"))

    assert Server.url.fget(server) == "http://[::1]:8080/webhooks"


def test_no_log_line_holds_a_patients_value_or_a_secret(serving):
    """Not even when a plugin's error text does."""
    serving.configure(with_mode("bug", retry={"schedule_s": []}))
    with served(serving):
        serving.post(sample(data={"glycanAge": "45.2000000001"}))  # no clock in a log line shows that
        serving.post(b'{"type": "report-ready", "data": {"patientId": "patient_123"}}')
        serving.post(sample(), signature="sha256=" + "0" * 64)
        until(lambda: len(serving.rows("dead-letters", "list")) == 2)

    log = serving.log.read_text()
    reasons = " ".join(str(row["reason"]) for row in serving.rows("dead-letters", "list"))
    assert "ValueError" in log
    for needle in ("patient_123", "KIT001234", "45.2000000001", "report_78901", SECRET):
        assert needle not in log + reasons


def test_what_a_plugin_prints_does_not_stand_beside_our_line(serving):
    """Standard output has the one line that says where the bridge listens."""
    serving.configure(with_mode("print"))
    serving.start()
    serving.post(sample())
    until(lambda: taken(serving))
    serving.process.terminate()

    assert serving.process.stdout.read() == ""
    assert serving.stop() == 0


def test_a_destination_whose_plugin_is_gone_is_delivered_when_it_is_back(serving):
    """The bridge starts and receives without it, and says so."""
    serving.configure({"all": {"plugin": "recordr", "settings": {"file": "taken.txt"}}})
    with served(serving):
        assert serving.post(sample()).status == 200
    (row,) = serving.rows("destinations")
    assert (row["pending"], row["runs"]) == (1, "no: no plugin 'recordr' is installed; did you mean 'recorder'?")
    assert "this destination stops until it is mended" in serving.log.read_text()

    serving.configure(TAKE)
    with served(serving):
        until(lambda: len(taken(serving)) == 1)


def test_a_disabled_destination_takes_nothing_new_and_keeps_what_it_is_owed(serving):
    """Switched on again, it goes on."""
    serving.configure(with_mode("wait", retry={"schedule_s": [0.1] * 100}))
    with served(serving):
        serving.post(sample(timestamp=1))
    (serving.folder / "taken.txt.go").touch()
    serving.configure(with_mode("wait", enabled=False))
    with served(serving):
        serving.post(sample(timestamp=2))
    assert [row["pending"] for row in serving.rows("destinations")] == [1]

    serving.configure(TAKE)
    with served(serving):
        until(lambda: len(taken(serving)) == 1)
    assert len(serving.rows("events", "list")) == 2


def test_a_port_that_is_taken_is_told(serving):
    """Exit 1: a restart may help."""
    serving.configure(TAKE)
    with served(serving):
        port = serving.url.split(":")[2].split("/")[0]
        serving.configure(TAKE, receiver={"listen": f"127.0.0.1:{port}"})
        done = serving.run("serve")

    assert done.returncode == 1
    assert f"127.0.0.1:{port} cannot be listened on: Address already in use" in done.stderr


def test_a_newer_journal_is_refused_at_start(serving):
    """Exit 78: a restart does not help."""
    serving.configure(TAKE)
    with served(serving):
        pass
    connection = apsw.Connection(str(serving.folder / "var" / "journal.db"))
    connection.execute("INSERT INTO schema VALUES (99, 0)")
    connection.close()

    for command in ("serve", "check"):
        done = serving.run(command)
        assert done.returncode == 78
        assert "version 99" in done.stderr


@pytest.mark.skipif(NODE is None and "CI" not in os.environ, reason="Node.js is not installed")
def test_a_program_written_after_the_vendors_page_is_understood(serving):
    """Node's own HMAC and JSON: the four payloads are accepted, the same again are duplicates, also after a restart."""
    serving.configure(TAKE)
    sender = Path(__file__).parent / "vendor_sender.js"

    def send() -> list[str]:
        done = subprocess.run(
            [NODE, sender, serving.url, SECRET], capture_output=True, text=True, timeout=60, check=True
        )
        return [json.loads(line.partition(" ")[2])["status"] for line in done.stdout.splitlines()]

    with served(serving):
        assert send() == ["accepted"] * 4
        assert send() == ["duplicate"] * 4
    with served(serving):
        assert send() == ["duplicate"] * 4
        until(lambda: len(taken(serving)) == 4)
