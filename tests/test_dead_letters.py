"""Dead letters: readable, whole, private, and never fatal."""

from __future__ import annotations

import json
import os
import shutil
import stat
import threading
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from serving import sample

from glycanbridge.dead_letters import DeadLetter, DeadLetters
from glycanbridge.delivery import Delivery
from glycanbridge.errors import DeadLetterError

BAD_TIME = json.dumps(
    {"version": 1, "id": "x", "kind": "quarantine", "event_id": None, "destination": None, "plugin": None, "reason": "",
     "died_at": "", "received_at": "yesterday", "attempts": 0, "body": "", "body_encoding": "utf-8"}
)  # fmt: skip


def delivery(body: bytes = b"{}", **changes) -> Delivery:
    """A delivery that is to be buried."""
    told = {"event_id": "e1", "destination": "ehr", "attempt": 3} | changes
    received_at = datetime(2026, 11, 24, 18, 0, 0, 250_000, tzinfo=UTC)
    return Delivery(id=f"{told['event_id']}:ehr", event_type="report-ready", received_at=received_at, body=body, **told)


def test_a_dead_delivery_is_readable_with_cat(dead_letters):
    """Everything that contract.md names is in the file, the body as it was signed."""
    letter = dead_letters.bury(delivery(sample()), plugin="fhir", reason="no such patient")

    (file,) = dead_letters.directory.iterdir()
    told = json.loads(file.read_text())
    assert told == {
        "version": 1,
        "id": letter.id,
        "kind": "delivery",
        "event_id": "e1",
        "destination": "ehr",
        "plugin": "fhir",
        "reason": "no such patient",
        "died_at": "2023-11-14T22:13:20.000Z",
        "received_at": "2026-11-24T18:00:00.250Z",
        "attempts": 3,
        "body": sample().decode(),
        "body_encoding": "utf-8",
    }
    assert file.read_text().splitlines()[2] == f'  "id": "{letter.id}",'  # a line each
    assert dead_letters.load(letter.id) == letter


def test_what_names_a_delivery_and_is_a_body_too_is_two_dead_letters(dead_letters):
    """Neither may overwrite the other."""
    buried = dead_letters.bury(delivery(), plugin="fhir", reason="")
    kept = dead_letters.quarantine(delivery().id.encode(), reason="not JSON")

    assert {each.id for each in dead_letters.letters()} == {buried.id, kept.id}
    assert buried.id != kept.id


def test_a_name_that_could_not_be_synced_is_refused_until_it_can_be(dead_letters, monkeypatch):
    """The file is seen, but a power cut would take its name: GlycanAge must send the body again."""

    def fails(_path):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("glycanbridge.dead_letters.sync", fails)
        for _ in range(2):
            with pytest.raises(DeadLetterError, match="cannot be synced"):
                dead_letters.quarantine(b"x", reason="not JSON")

    assert dead_letters.quarantine(b"x", reason="not JSON").body == b"x"


def test_the_directorys_own_name_is_synced_too(dead_letters, monkeypatch):
    """Whoever made it may have been killed before."""
    dead_letters.directory.mkdir()
    synced = []
    monkeypatch.setattr("glycanbridge.dead_letters.sync", synced.append)

    dead_letters.bury(delivery(), plugin="fhir", reason="")

    assert synced == [dead_letters.directory, dead_letters.directory.parent]


def test_its_name_sorts_by_time_and_holds_nothing_that_an_outsider_chose(dead_letters):
    """An event's id may be the sender's."""
    dead_letters.bury(delivery(event_id="../../etc/passwd"), plugin="fhir", reason="")

    (file,) = dead_letters.directory.iterdir()
    assert file.name.startswith("20261124T180000250Z-")
    assert "passwd" not in file.name


def test_files_are_for_their_owner_alone(dead_letters):
    """They hold patients' data."""
    dead_letters.bury(delivery(), plugin="fhir", reason="")

    (file,) = dead_letters.directory.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(dead_letters.directory.stat().st_mode) == 0o700


def test_the_folders_above_are_made_too_and_are_for_their_owner_alone(tmp_path):
    """Whatever path bridge.yaml has, nothing need be there before."""
    DeadLetters(tmp_path / "var" / "lib" / "dead").quarantine(b"x", reason="not JSON")

    made = [tmp_path / "var", tmp_path / "var" / "lib", tmp_path / "var" / "lib" / "dead"]
    assert [stat.S_IMODE(each.stat().st_mode) for each in made] == [0o700] * 3


def test_the_same_delivery_dies_into_the_same_file(dead_letters, clock):
    """A crash between file and journal leaves no second one."""
    first = dead_letters.bury(delivery(), plugin="fhir", reason="first")
    clock.turn(100)
    second = dead_letters.bury(delivery(), plugin="fhir", reason="second")

    assert first.id == second.id
    assert [each.reason for each in dead_letters.letters()] == ["second"]


def test_the_same_bytes_are_quarantined_once(dead_letters, clock):
    """GlycanAge may send them four times."""
    first = dead_letters.quarantine(b"\xff\x00 not text", reason="not JSON")
    clock.turn(100)
    again = dead_letters.quarantine(b"\xff\x00 not text", reason="not JSON")
    other = dead_letters.quarantine(b"other", reason="not JSON")

    assert first == again
    assert first.body == b"\xff\x00 not text"
    assert [each.id for each in dead_letters.letters()] == [first.id, other.id]


def test_a_dead_letter_is_found_by_the_beginning_of_its_id(dead_letters):
    """And a message says how many there are if it is not one."""
    letter = dead_letters.quarantine(b"x", reason="not JSON")

    assert dead_letters.load(letter.id[:6]) == letter
    for wrong in ("zzz", f"{letter.id[0]}zzz"):
        with pytest.raises(DeadLetterError, match="0 dead letters"):
            dead_letters.load(wrong)
    with pytest.raises(DeadLetterError, match="name a dead letter"):
        dead_letters.load("")


def test_dead_letters_are_told_from_the_oldest_on_and_nothing_else_is(dead_letters):
    """A folder has no order of its own; a note that somebody left there is no damaged letter."""
    for day in (3, 5, 1, 4, 2):
        told = delivery(event_id=f"e{day}")
        dead_letters.bury(replace(told, received_at=told.received_at.replace(day=day)), plugin="fhir", reason="")
    (dead_letters.directory / "notes.txt").write_text("called the clinic")

    assert [each.event_id for each in dead_letters.letters()] == ["e1", "e2", "e3", "e4", "e5"]


def test_a_damaged_file_is_told_and_passed_over(dead_letters):
    """The others are still there."""
    letter = dead_letters.quarantine(b"x", reason="not JSON")
    for name, text in {"a": "", "b": "{", "c": "[]", "d": '{"version": 1}', "e": "null", "f": BAD_TIME}.items():
        (dead_letters.directory / f"{name}.json").write_text(text)

    found = list(dead_letters.letters())

    assert [each for each in found if isinstance(each, DeadLetter)] == [letter]
    assert all("not a dead letter" in str(each) for each in found if isinstance(each, DeadLetterError))
    assert len(found) == 7


def test_half_a_file_is_never_seen(dead_letters, monkeypatch):
    """It is written under another name, synced, and put in place whole."""

    def fails(*_arguments):
        raise OSError(28, "No space left on device")

    dead_letters.directory.mkdir()  # else the directory's own sync is what fails
    monkeypatch.setattr("os.fsync", fails)

    with pytest.raises(DeadLetterError, match="No space left on device"):
        dead_letters.quarantine(b"x", reason="not JSON")
    assert list(dead_letters.directory.iterdir()) == []


def test_the_same_bytes_at_once_are_one_dead_letter(dead_letters, clock, monkeypatch):
    """A retry may overtake the request that it repeats; and a copy made by hand does no harm."""
    writers, found, write = threading.Barrier(2), [], dead_letters._write

    def write_when_the_other_does(letter):
        with suppress(threading.BrokenBarrierError):  # as it should: the other one waits for this to be written
            writers.wait(0.3)
        write(letter)

    def quarantine() -> None:
        clock.turn(1)
        found.append(dead_letters.quarantine(b"x", reason="not JSON"))

    monkeypatch.setattr(dead_letters, "_write", write_when_the_other_does)
    threads = [threading.Thread(target=quarantine) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    (file,) = dead_letters.directory.iterdir()
    assert found == [found[0]] * 2
    shutil.copy(file, file.with_name(f"20200101T000000000Z-{found[0].id}.json"))
    assert dead_letters.quarantine(b"x", reason="again").id == dead_letters.load(found[0].id).id
    assert len(list(dead_letters.letters())) == 2


def test_what_a_killed_process_left_half_written_is_tidied_away(dead_letters):
    """It holds a patient's data, and no command lists it."""
    letter = dead_letters.quarantine(b"x", reason="not JSON")
    (dead_letters.directory / "20200101T000000000Z-abc.0123.partial").write_text("half")

    dead_letters.tidy()

    assert [each.stem.rpartition("-")[2] for each in dead_letters.directory.iterdir()] == [letter.id]


def test_a_directory_that_cannot_be_made_is_told(tmp_path):
    """With its path."""
    (tmp_path / "file").write_text("")

    with pytest.raises(DeadLetterError, match=r"file/dead-letters: cannot be listed: Not a directory"):
        DeadLetters(tmp_path / "file" / "dead-letters").quarantine(b"x", reason="not JSON")
    assert list(DeadLetters(tmp_path / "nowhere").letters()) == []


def test_a_dead_letter_is_removed_also_under_another_name(dead_letters):
    """Whoever put it back by hand may have renamed it; the others stay."""
    mine, other = dead_letters.bury(delivery(), plugin="fhir", reason=""), dead_letters.quarantine(b"x", reason="")
    dead_letters.remove_of(delivery())
    assert list(dead_letters.letters()) == [other]

    dead_letters.bury(delivery(), plugin="fhir", reason="")
    (file,) = dead_letters.directory.glob(f"*-{mine.id}.json")
    file.rename(file.with_name("put back by ana.json"))
    assert dead_letters.load(mine.id[:8]).id == mine.id
    dead_letters.remove(mine.id, received_at=mine.received_at)
    dead_letters.remove("nothing")
    assert list(dead_letters.letters()) == [other]


@pytest.mark.parametrize("change", [{"id": "*"}, {"id": "../x"}, {"kind": "other"}, {"version": 2}])
def test_what_this_program_cannot_have_written_is_no_dead_letter(dead_letters, change):
    """An id becomes part of a file's name: `*` would remove every letter there is."""
    dead_letters.quarantine(b"x", reason="not JSON")
    (file,) = dead_letters.directory.iterdir()
    file.write_text(json.dumps(json.loads(file.read_text()) | change))

    (found,) = dead_letters.letters()
    assert isinstance(found, DeadLetterError)
    with pytest.raises(DeadLetterError, match="name a dead letter"):
        dead_letters.load("")


def test_what_is_no_plain_file_is_not_opened(dead_letters, tmp_path):
    """A pipe would be waited for without end, and a link may lead anywhere."""
    letter = dead_letters.quarantine(b"x", reason="not JSON")
    os.mkfifo(dead_letters.directory / "20200101T000000000Z-pipe.json")
    (tmp_path / "secret").write_text("{}")
    (dead_letters.directory / "20200101T000000000Z-link.json").symlink_to(tmp_path / "secret")

    assert list(dead_letters.letters()) == [letter]
