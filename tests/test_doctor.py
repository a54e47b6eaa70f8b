"""The doctor, without a network: each thing that may be wrong with a bridge is made wrong for real, and found."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import Taker, make_destination, make_lane
from serving import SECRET, sample
from test_journal import new_event

from glycanbridge import DestinationError, NotYetError, PermanentError
from glycanbridge.bridge_yaml import BridgeYaml
from glycanbridge.cli import main
from glycanbridge.destinations import Destination, Destinations
from glycanbridge.doctor.checks import CHECKS, examine
from glycanbridge.doctor.deliveries import outdated
from glycanbridge.doctor.facts import Machine, Usage, gather, usage
from glycanbridge.doctor.findings import Level
from glycanbridge.doctor.receiver import receiver
from glycanbridge.doctor.storage import file_system
from glycanbridge.events import parse
from glycanbridge.journals.sqlite import SqliteJournal
from glycanbridge.plugins import Plugin
from glycanbridge.settings import PUBLISHED_SECRETS, DestinationSettings, RetrySettings
from glycanbridge.signature import sign
from glycanbridge.testing import Answer, HttpPeer

ROOM = Usage(10**12, 10**11, 10**7, 10**6)
NOW_MS = 1_800_000_000_000


class Folder:
    """A bridge's folder in which all is well, until a test does something to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "var").mkdir(mode=0o700)
        self.write("var/secret", SECRET)
        self.told = {"receiver": {"listen": f"127.0.0.1:{free_port()}", "secrets": ["${file:var/secret}"]}}
        self.configure()

    def write(self, name: str, text: str, mode: int = 0o600) -> Path:
        """Write a file with this very mode."""
        (self.path / name).write_text(text, encoding="utf-8")
        (self.path / name).chmod(mode)
        return self.path / name

    def configure(self, **more) -> None:
        """Write bridge.yaml."""
        self.told |= more
        self.write("bridge.yaml", json.dumps(self.told), 0o644)

    def facts(self, **machine):
        """What the doctor looks at."""
        machine = {"usage": lambda _folder: ROOM, "clock": lambda: NOW_MS, "patience_s": 2.0} | machine
        return gather(BridgeYaml(self.path / "bridge.yaml"), Machine(**machine))

    def look(self, *, online: bool = False, **machine) -> list:
        """Everything that is found."""
        return list(examine(self.facts(**machine), online=online))

    def bad(self, **machine) -> list[tuple[str, str]]:
        """What is a warning or a problem, by id and level; each says what to do."""
        found = [each for each in self.look(**machine) if each.level in {Level.WARNING, Level.PROBLEM}]
        assert all(each.do for each in found)
        return [(each.id, each.level.value) for each in found]

    def one(self, identity: str, **machine):
        """The only finding of this id."""
        (found,) = [each for each in self.look(**machine) if each.id == identity]
        return found


def free_port() -> int:
    """A port that nobody has just now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


@pytest.fixture
def folder(tmp_path):
    """A folder in which all is well."""
    tmp_path.chmod(0o700)
    return Folder(tmp_path)


def test_nothing_is_found_where_all_is_well(folder):
    """Whoever types it on a good day is not frightened."""
    found = folder.look()

    assert folder.bad() == []
    assert {each.id for each in found if each.level is Level.OK} >= {
        "configuration", "secrets.length", "secrets.mode", "files.folder", "disk.room", "disk.inodes", "disk.network",
    }  # fmt: skip


def test_every_check_has_a_name_of_its_own():
    """By which one that fails is told."""
    assert len({each.name for each in CHECKS}) == len(CHECKS)


def test_a_check_that_fails_is_a_finding_and_holds_nothing_up(folder):
    """A doctor that falls over helps nobody; the text of somebody else's error is not shown."""
    found = folder.look(mounts=folder.path / "patient_123")

    failed = next(each for each in found if each.id == "network-drive.failed")
    assert (failed.level, "FileNotFoundError at" in failed.found) == (Level.WARNING, True)
    assert "patient_123" not in failed.found
    assert found[-1].id == "online"


def test_all_problems_of_a_bridge_yaml_are_told_and_the_rest_is_looked_at(folder):
    """Also when nothing of it can be used."""
    folder.configure(journal="nowhere", destinations={"a": {"plugin": "cvs"}})
    found = folder.look()

    told = [f"{each.found}" for each in found if each.id == "configuration"]
    assert [each.partition(":")[0] for each in told] == ["journal", "destinations.a.plugin"]
    assert "secrets.length" in {each.id for each in found}
    folder.write("bridge.yaml", "receiver: [")
    assert folder.one("configuration").level is Level.PROBLEM
    (folder.path / "bridge.yaml").unlink()
    assert "no such file" in folder.one("configuration").found


def test_what_is_unwise_is_told_once(folder):
    """The secrets' own findings tell about those."""
    folder.write("var/secret", "short")
    folder.configure(destinations={"a": {"plugin": "csv", "settings": {"directory": "x"}, "retry": {"schedule_s": []}}})

    assert folder.bad() == [("configuration.unwise", "warning"), ("secrets.length", "warning")]


@pytest.mark.parametrize(
    ("secrets", "found"),
    [
        (["x" * 31], [("secrets.length", "warning")]),
        ([min(PUBLISHED_SECRETS)], [("secrets.published", "problem")]),
        ([SECRET, SECRET], [("secrets.twice", "warning")]),
        ([f"{SECRET} "], [("secrets.blanks", "warning")]),
        ([f"{SECRET}\n{SECRET}"], [("secrets.blanks", "warning")]),
        ([f"\t{SECRET}"], [("secrets.blanks", "warning")]),
    ],
)
def test_a_bad_secret(folder, secrets, found):
    """In whatever way it is bad."""
    names = [folder.write(f"var/secret-{number}", each).name for number, each in enumerate(secrets)]
    folder.configure(receiver=folder.told["receiver"] | {"secrets": [f"${{file:var/{name}}}" for name in names]})

    assert folder.bad() == found
    assert SECRET not in repr(folder.look())


def test_a_token_that_is_the_webhooks_secret(folder):
    """Whoever reads the one has the other."""
    api = {"base_url": "https://api.example", "email": "a@b.example", "token": "${file:var/secret}"}
    folder.configure(glycanage=api)

    assert folder.bad() == [("secrets.twice", "problem")]


@pytest.mark.parametrize(
    ("name", "mode", "found"),
    [
        ("var/secret", 0o644, [("secrets.mode", "problem")]),
        ("var/secret", 0o640, [("secrets.mode", "problem")]),
        ("var", 0o755, [("files.folder", "warning")]),
        ("var", 0o770, [("secrets.folder", "problem"), ("files.folder", "warning"), ("files.folder", "problem")]),
        ("bridge.yaml", 0o666, []),
    ],
)
def test_a_mode_that_lets_others_in(folder, name, mode, found):
    """The command that closes it is told."""
    (folder.path / name).chmod(mode)

    assert folder.bad() == found
    told = [each.do for each in folder.look() if "chmod" in each.do]
    assert all(each.endswith(f" {folder.path / name}`") for each in told)


def test_a_secret_that_stands_in_bridge_yaml_itself(folder):
    """Then that file must be for its owner alone."""
    folder.configure(receiver=folder.told["receiver"] | {"secrets": [SECRET]})
    assert folder.bad() == [("secrets.mode", "problem")]

    (folder.path / "bridge.yaml").chmod(0o600)
    assert folder.bad() == []


def test_a_secret_of_roots_is_read_by_its_group(folder, monkeypatch):
    """As packages hand secrets down: `root:bridge`, 0640."""
    (folder.path / "var" / "secret").chmod(0o640)
    real = Path.stat

    def of_root(path, **more):
        told = real(path, **more)
        return os.stat_result((*told[:4], 0, *told[5:])) if path.name == "secret" else told

    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    monkeypatch.setattr(Path, "stat", of_root)
    assert [each.id for each in folder.look() if each.level is Level.PROBLEM] == []
    (folder.path / "var" / "secret").chmod(0o644)
    assert ("secrets.mode", "problem") in folder.bad()


def test_files_of_another_user_are_told(folder, monkeypatch):
    """Whoever runs the doctor as root sees what the bridge's user may not."""
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)

    found = {identity for identity, _ in folder.bad()}

    assert found == ({"files.owner"} if os.getuid() == 0 else {"secrets.owner", "files.owner"})  # root hands down


def test_patients_data_that_others_can_read(folder):
    """The journal, its log, and each dead letter; many are told in one line."""
    SqliteJournal(folder.path / "var" / "journal.db").close()
    (folder.path / "var" / "journal.db").chmod(0o644)
    (folder.path / "var" / "dead-letters").mkdir(mode=0o700)
    for number in range(9):
        folder.write(f"var/dead-letters/{number}.txt", "", 0o640)
    found = [each for each in folder.look() if each.id == "files.mode" and each.level is Level.PROBLEM]

    assert found[0].do == f"`chmod 600 {folder.path}/var/journal.db`"
    assert len(found) == 5
    assert found[-1].do == f"`find {folder.path}/var/dead-letters -type f -exec chmod 600 {{}} +`"


def test_a_clock_that_cannot_be_right(folder):
    """A machine without a battery wakes up in 1970."""
    assert folder.one("clock.year", clock=lambda: 0).level is Level.PROBLEM


@pytest.mark.parametrize(("ahead_ms", "level"), [(0, "ok"), (60_000, "warning"), (3_600_000, "problem")])
def test_a_clock_that_is_behind_the_newest_event(folder, ahead_ms, level):
    """It was put back, or GlycanAge's is right and ours is not."""
    bridge_with(folder, sample(timestamp=NOW_MS + ahead_ms), received_at=NOW_MS)

    assert folder.one("clock.events").level == level


@pytest.mark.parametrize(("days", "level"), [(13, "ok"), (15, "warning")])
def test_how_long_nothing_has_come(folder, days, level):
    """The bridge's own alarms are no news from GlycanAge."""
    bridge_with(folder, sample(), received_at=NOW_MS - days * 86_400_000)

    assert folder.one("events.last").level == level


def bridge_with(folder, body: bytes, *, received_at: int) -> None:
    """A journal with one event, received then."""
    from_then = SqliteJournal(folder.path / "var" / "journal.db", clock=lambda: received_at)
    from_then.record(replace(new_event(owed_to=()), body=body, event=parse(body)))
    from_then.close()


@pytest.mark.parametrize(
    ("told", "identity", "level"),
    [
        (Usage(10**12, 199_000_000, 0, 0), "disk.room", "problem"),
        (Usage(20 * 10**9, 300_000_000, 0, 0), "disk.room", "problem"),
        (Usage(10**12, 999_000_000, 0, 0), "disk.room", "problem"),
        (Usage(30 * 10**9, 999_000_000, 0, 0), "disk.room", "warning"),
        (Usage(10**13, 10**10, 0, 0), "disk.room", "ok"),
        (Usage(10**12, 10**11, 10**6, 999), "disk.inodes", "problem"),
        (Usage(10**12, 10**11, 10**6, 10_000), "disk.inodes", "warning"),
    ],
)
def test_a_disk_that_is_nearly_full(folder, told, identity, level):
    """Bytes or names may run out; two percent of a large disk is room enough."""
    assert folder.one(identity, usage=lambda _folder: told).level == level


def test_the_real_disk_is_asked(tmp_path):
    """The figures of the system's own."""
    told = usage(tmp_path)

    assert 0 < told.free_bytes < told.total_bytes


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p", "fuse.sshfs", "smb3"])
def test_a_journal_on_a_network_drive(folder, kind):
    """The longest mount point counts, and blanks in it are written as numbers."""
    inner = folder.path / "var"
    told = f"/dev/sda1 / ext4 rw 0 0\nserver:/x {inner} {kind} rw 0 0\nproc /proc proc rw 0 0\n"
    mounts = folder.write("mounts", told)

    assert folder.one("disk.network", mounts=mounts).level is Level.PROBLEM
    assert file_system(Path("/a b/c"), "x / ext4 rw\ny /a\\040b nfs rw\n") == "nfs"
    assert file_system(Path("/ab/c"), "x / ext4 rw\ny /a nfs rw\n\nbroken\n") == "ext4"
    assert file_system(Path("/a b/c"), "y /a\\040b nfs rw\nx / ext4 rw\n") == "nfs"
    assert file_system(Path("/a"), "") == ""


def test_a_journal_that_is_none(folder):
    """Nothing is changed in it."""
    folder.write("var/journal.db", "x" * 5000)

    assert (folder.one("journal.state").level, "not an SQLite" in folder.one("journal.state").found) == (
        "problem",
        True,
    )


def test_a_journal_that_is_served_and_one_that_is_damaged(folder):
    """The lock tells the one, a glance at its pages the other; and no lock file is left behind by looking."""
    file = folder.path / "var" / "journal.db"
    serving = SqliteJournal(file)
    assert "version 3; a bridge serves from it" in folder.one("journal.state").found
    serving.close()
    Path(f"{file}.lock").unlink(missing_ok=True)
    assert "no bridge serves" in folder.one("journal.state").found
    assert not Path(f"{file}.lock").exists()

    pages = bytearray(file.read_bytes())
    pages[8192:12288] = b"\xff" * 4096
    file.write_bytes(pages)
    assert ("journal.integrity", "problem") in folder.bad() or ("journal.state", "problem") in folder.bad()


def test_a_port_that_another_program_has(folder):
    """Be it a web server or something that speaks no HTTP; on Linux it is told which."""
    with HttpPeer(Answer(200, "<html>")) as peer:
        folder.configure(receiver=folder.told["receiver"] | {"listen": f"127.0.0.1:{peer.port}"})
        found = folder.one("receiver.address")
        peer.answer(Answer(raw=b"220 mail.example ESMTP\r\n"))
        mail = folder.one("receiver.address")

    assert (found.level, found.found) == (Level.PROBLEM, "another program answers there")
    assert f"process {os.getpid()}" in found.do
    assert mail.found == "another program answers there"


def test_a_port_that_is_taken_in_silence(folder):
    """It takes connections, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        folder.configure(receiver=folder.told["receiver"] | {"listen": f"127.0.0.1:{silent.getsockname()[1]}"})
        found = folder.one("receiver.address", patience_s=0.2)
    assert "cannot be listened on: Address already in use" in found.found


def test_a_port_whose_program_sends_a_byte_now_and_then(folder):
    """Each byte begins the time for the next one anew: the doctor would wait for ever."""
    over = threading.Event()

    def drip(listening):
        connection, _ = listening.accept()
        with connection, suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            while not over.wait(0.05):
                connection.sendall(b"X")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=drip, args=(listening,), daemon=True).start()
        late = threading.Timer(20, over.set)
        late.start()
        folder.configure(receiver=folder.told["receiver"] | {"listen": f"127.0.0.1:{listening.getsockname()[1]}"})
        facts, began_s = folder.facts(patience_s=0.2), time.monotonic()
        found = next(receiver(facts))
        took_s = time.monotonic() - began_s
        late.cancel()
        over.set()

    assert found.found == "another program answers there"
    assert took_s < 10


def test_a_bridge_that_hangs_is_not_another_program(folder):
    """Who is told to listen elsewhere has two bridges then."""
    serving = SqliteJournal(folder.path / "var" / "journal.db")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        folder.configure(receiver=folder.told["receiver"] | {"listen": f"127.0.0.1:{silent.getsockname()[1]}"})
        found = folder.one("receiver.address", patience_s=0.2)
    serving.close()

    assert "it hangs" in found.found
    assert "start it anew" in found.do


def test_of_a_journal_that_cannot_be_read_nothing_is_claimed(folder):
    """Neither that nothing has come yet, nor that no bridge has served: nobody knows."""
    folder.write("var/journal.db", "this is no database" * 100)
    found = {each.id: each for each in folder.look()}

    assert found["journal.state"].level is Level.PROBLEM
    assert found["receiver.address"].found == "nobody answers: the bridge does not run"
    assert {"events.last", "clock.events"}.isdisjoint(found)
    folder.told["journal"] = "nowhere"
    folder.configure()
    assert "events.last" not in {each.id for each in folder.look()}


def test_what_this_user_may_not_look_at_is_no_fault_of_the_program(folder, monkeypatch):
    """It was run as another user than the bridge."""

    def refuse(_folder):
        raise PermissionError(13, "Permission denied", "patient_123")

    found = folder.one("room.failed", usage=refuse)

    assert found.found == "this user may not look at it"
    assert "as the user that the bridge runs as" in found.do


def test_commands_can_be_typed_and_files_are_found_whatever_their_names_are(tmp_path):
    """Blanks end a word for the shell, and brackets are a pattern for whoever looks for files."""
    place = tmp_path / "a bridge [1]"
    place.mkdir(mode=0o700)
    folder = Folder(place)
    file = folder.write("var/jour nal[1].db", "", 0o644)
    folder.configure(journal=f"sqlite:///{file}")
    found = folder.one("files.mode")

    assert (found.level, found.about) == (Level.PROBLEM, str(file))
    subprocess.run(["/bin/sh", "-c", found.do.strip("`")], check=True)
    assert folder.one("files.mode").level is Level.OK


def test_an_address_that_is_not_this_machines(folder):
    """192.0.2.1 is nobody's (RFC 5737)."""
    folder.configure(receiver=folder.told["receiver"] | {"listen": "192.0.2.1:8080"})

    assert "cannot be listened on: Cannot assign" in next(receiver(folder.facts())).found


def test_a_bridge_that_does_not_run(folder):
    """It has served before, or it serves elsewhere."""
    SqliteJournal(folder.path / "var" / "journal.db").close()
    assert folder.one("receiver.address").found == "nobody answers: the bridge does not run"

    serving = SqliteJournal(folder.path / "var" / "journal.db")
    assert "started with another address" in folder.one("receiver.address").found
    serving.close()
    folder.configure(receiver=folder.told["receiver"] | {"listen": "127.0.0.1:0"})
    assert folder.one("receiver.address").level is Level.NOTE


def test_a_bridge_that_takes_no_events(folder):
    """It lives, and says why it is not ready; it is not the one of this journal."""
    trouble = json.dumps({"title": "Not ready", "description": "the journal takes no writes"})
    healthy = Answer(200, '{"status": "alive"}')
    with HttpPeer(healthy, Answer(503, trouble)) as peer:
        folder.configure(receiver=folder.told["receiver"] | {"listen": f"127.0.0.1:{peer.port}"})
        found = folder.look()

    ready = next(each for each in found if each.id == "receiver.ready")
    assert (ready.level, ready.found) == (Level.PROBLEM, "it takes no events now: the journal takes no writes")
    assert "receiver.journal" in {each.id for each in found}


@pytest.fixture
def owing(folder, make_bridge, taker, clock):
    """A bridge that owes, over the folder's journal; what is found of its deliveries after something was done to it."""
    folder.configure(
        journal="sqlite:///journal.db",
        dead_letters="dead-letters",
        destinations={"a": {"plugin": "csv", "settings": {"directory": "x"}}},
    )

    def found_after(raises=None, *, times: int = 1, later_s: float = 0, **settings) -> list:
        destination = make_destination("a", taker, **settings)
        bridge, lane = make_bridge(destination), make_lane(destination)
        taker.raises = raises
        for number in range(times):
            body = sample(timestamp=clock.ms - number)
            bridge.accept(body, sign(body, SECRET))
            if raises is not False:
                bridge.deliver_next(lane)
        clock.turn(later_s)
        return [each for each in folder.look(clock=clock) if each.id.startswith(("deliveries.", "letters."))]

    return found_after


def levels(found) -> list[tuple[str, str]]:
    """Each by its id and level."""
    return [(each.id, each.level.value) for each in found]


def test_all_is_delivered(owing):
    """Nothing is owed any more."""
    assert levels(owing()) == [("deliveries.pending", "ok"), ("letters.quarantine", "ok")]


def test_a_delivery_that_is_dead(owing):
    """A result that has not arrived, and never will by itself."""
    dead, _ = owing(PermanentError("no such patient"))

    assert (dead.id, dead.level) == ("deliveries.dead", Level.PROBLEM)
    assert "dead-letters replay --destination a --yes" in dead.do


def test_a_destination_that_fails(owing):
    """With what it is told, and how it is tried at once."""
    failing, _ = owing(DestinationError("the password is wrong"))

    assert (failing.id, failing.level) == ("deliveries.circuit", Level.PROBLEM)
    assert failing.found.endswith("the password is wrong")


def test_what_is_due_and_nobody_makes(owing):
    """The bridge does not run, or its lane is stuck."""
    assert levels(owing(raises=False))[0] == ("deliveries.pending", "ok")
    assert levels(owing(raises=False, later_s=4000))[0] == ("deliveries.late", "warning")


def test_what_waits_for_something_of_its_own_is_no_trouble(owing):
    """A patient whom the EHR does not know yet is looked for again by the hour."""
    assert levels(owing(NotYetError("unknown")))[0] == ("deliveries.pending", "ok")


def test_a_destination_that_is_paused(owing, journal, folder):
    """By whom and why, and how it goes on."""
    owing(raises=False)
    journal.pause("a", who="ana", reason="update of the EHR")
    found = {each.id: each for each in folder.look()}

    assert found["deliveries.paused"].found == "paused by ana: update of the EHR; what it is owed waits"
    assert found["deliveries.paused"].do == "`glycanbridge destinations resume a`"


def test_what_is_held(owing, journal, folder, clock):
    """An attempt that was cut off, where only the far side knows how it ended."""
    owing(raises=False)
    held = make_destination("a", Taker(), on_unknown="hold").terms
    (claim,) = journal.claim("a", limit=1, terms=held)
    clock.turn(1000)
    journal.let_go([claim])
    journal.claim("a", limit=0, terms=held)

    assert "deliveries.held" in {each.id for each in folder.look(clock=clock)}


def test_a_destination_that_is_gone_disabled_or_unusable(owing, folder):
    """What it is owed waits, and that is told with the way out."""
    owing(raises=False)
    for told, identity in (
        ({}, "deliveries.gone"),
        ({"a": {"plugin": "csv", "enabled": False, "settings": {"directory": "x"}}}, "deliveries.disabled"),
        ({"a": {"plugin": "cvs"}}, "deliveries.unusable"),
    ):
        folder.configure(destinations=told)
        assert identity in {each.id for each in folder.look()}


def test_of_a_destination_that_is_gone_only_what_can_be_decided_is_told(owing, folder):
    """It was left alone once: nobody can mend that now, nor replay what it was owed; nor is it owed nothing."""
    owing(PermanentError("no such patient"), later_s=1)
    owing(DestinationError("the password is wrong"))
    folder.configure(destinations={})
    found = {each.id: each for each in folder.look() if each.id.startswith("deliveries.")}

    assert set(found) == {"deliveries.gone", "deliveries.dead"}
    assert "deliveries discard --destination a" in found["deliveries.gone"].do
    assert "dead-letters discard --destination a" in found["deliveries.dead"].do


def test_dead_letters_that_were_not_understood_or_are_damaged(folder, dead_letters):
    """Those that were given up are told with their destination."""
    folder.configure(dead_letters="dead-letters")
    dead_letters.quarantine(b"[]", reason="not an object")
    folder.write("dead-letters/broken.json", "{")

    assert folder.bad() == [("letters.quarantine", "warning"), ("letters.damaged", "warning")]


def test_an_outdated_plugin(folder):
    """Before the update that it would not survive."""
    plugin = Plugin("old", Taker, RetrySettings, ("report-ready",), warnings=("glycanbridge.x will be gone: use y",))
    own = DestinationSettings(plugin="old")
    old = Destination(name="a", settings=own, retry=RetrySettings(), folder=folder.path, plugin=plugin)
    facts = folder.facts()
    facts = replace(facts, configured=facts.configured._replace(destinations=Destinations([old])))

    assert levels(outdated(facts)) == [("plugins.outdated", "warning")]


@pytest.fixture
def typed(folder, monkeypatch):
    """Types `doctor` in the folder; its exit code and what it says."""
    monkeypatch.chdir(folder.path)

    def type_it(*arguments: str) -> tuple[int, list[str]]:
        done = CliRunner().invoke(main, ["doctor", *arguments], catch_exceptions=False)
        return done.exit_code, done.stdout.splitlines()

    return type_it


def test_the_command_tells_problems_last(typed, folder):
    """They stand at the bottom of the terminal, with what to do under each."""
    (folder.path / "var" / "secret").chmod(0o644)
    code, lines = typed()

    assert code == 1
    assert lines[0].startswith("ok  configuration: ")
    assert lines[-3].startswith("X   secrets.mode: ")
    assert lines[-2] == f"      `chmod 600 {folder.path}/var/secret`"
    assert lines[-1].startswith("problems: 1, warnings: 0, ok: ")


def test_the_commands_exit_code_says_what_kind_of_trouble_there_is(typed, folder):
    """0, 1, and 78 where bridge.yaml cannot be used; the rest is told all the same."""
    assert typed()[0] == 0
    folder.configure(journal="nowhere")
    code, lines = typed()

    assert code == 78
    assert any(line.startswith("ok  secrets.length") for line in lines)


def test_the_command_tells_programs_the_same(typed, folder):
    """One object a line, with the fixed word, the level, and what to do."""
    (folder.path / "var").chmod(0o755)
    code, lines = typed("--json")

    rows = [json.loads(line) for line in lines]
    assert code == 0
    assert {row.keys() == {"id", "level", "about", "found", "do"} for row in rows} == {True}
    assert rows[-1] | {"found": ""} == {
        "id": "files.folder", "level": "warning", "about": f"{folder.path}/var", "found": "",
        "do": f"`chmod 700 {folder.path}/var`",
    }  # fmt: skip
