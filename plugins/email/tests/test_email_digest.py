"""One mail a day for each practice: what waits, when it goes, and that nothing is lost or told twice on the way."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, time
from email import message_from_bytes, policy
from zoneinfo import ZoneInfo

import pytest
from glycanbridge_email.digests import FRESH_S, GATHER_S, Schedule
from glycanbridge_email.state import RETENTION_S

from glycanbridge import DestinationError, NotYetError, PermanentError, TemporaryError
from glycanbridge.testing import Fault

ZAGREB = {"time_zone": "Europe/Zagreb", "digest": {"at": "18:00"}}
EIGHT_HOURS = 8 * 3600  # from 10:00, when the clock begins, to 18:00


def text_of(content):
    """A mail's text."""
    return message_from_bytes(content, policy=policy.default).get_body(("plain",)).get_content()


def name_of(content):
    """A mail's Message-ID."""
    return message_from_bytes(content)["Message-ID"]


def child_environ():
    """The environment for a process of our own, in which the tests' modules are found."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


@pytest.fixture
def server(peer):
    """A mail server that takes all."""
    return peer()


@pytest.fixture
def plugin(make, server):
    """An instance whose digest goes at 18:00 in Zagreb."""
    return make(server.port, **ZAGREB)


class Owed:
    """Deliveries as the bridge keeps them: each comes again when it asked to, until it has its receipt."""

    def __init__(self, deliver, clock):
        self._deliver, self._clock = deliver, clock
        self.waiting = {}
        self.receipts = {}
        self.mistakes = []
        self._calls = {}
        self._attempts = {}

    def add(self, number, event_type="report-ready", **data):
        self._calls[number] = (event_type, {"received_at": self._clock.moment} | data)
        self.waiting[number] = self._clock.now

    def come(self, plugin, *numbers):
        """Those that are due come, or those that are named."""
        for number in numbers or [each for each, at in sorted(self.waiting.items()) if at <= self._clock.now]:
            event_type, how = self._calls[number]
            self._attempts[number] = self._attempts.get(number, 0) + 1
            try:
                receipt = self._deliver(plugin, event_type, number, attempt=self._attempts[number], **how)
            except (NotYetError, TemporaryError, DestinationError) as error:
                self.waiting[number] = self._clock.now + min(float(error.retry_after_s or 5), 3600)
                self.mistakes += [] if isinstance(error, NotYetError) else [error]
            else:
                self.receipts[number] = receipt
                self.waiting.pop(number, None)

    def until(self, plugin, seconds, step_s=600):
        """Let time pass, and come when it is time."""
        end = self._clock.now + seconds
        while self._clock.now < end:
            self._clock.turn(min(step_s, end - self._clock.now))
            self.come(plugin)


@pytest.fixture
def owed(deliver, clock):
    """The journal's part."""
    return Owed(deliver, clock)


# When


@pytest.mark.parametrize(
    ("at", "days", "zone", "moment", "next_one"),
    [
        ("18:00", range(7), "Europe/Zagreb", "2026-11-23T09:00", "2026-11-23T17:00"),
        ("18:00", range(7), "Europe/Zagreb", "2026-11-23T17:00", "2026-11-24T17:00"),  # exactly then: the next one
        ("18:00", range(7), "Europe/Zagreb", "2026-11-23T16:59", "2026-11-23T17:00"),
        ("00:00", range(7), "Asia/Tokyo", "2026-11-23T14:59", "2026-11-23T15:00"),
        ("18:00", range(5), "Europe/Zagreb", "2026-11-27T18:00", "2026-11-30T17:00"),  # Friday evening: Monday
        ("18:00", [6], "UTC", "2026-11-22T18:00", "2026-11-29T18:00"),  # a week later
        ("18:00", range(7), "Europe/Zagreb", "2026-10-24T17:00", "2026-10-25T17:00"),  # winter begins in between
        ("02:30", range(7), "Europe/Zagreb", "2026-03-28T12:00", "2026-03-29T01:30"),  # a time that there is not
        ("02:30", range(7), "Europe/Zagreb", "2026-10-24T12:00", "2026-10-25T00:30"),  # one that there is twice
        ("02:30", range(7), "Europe/Zagreb", "2026-10-25T00:30", "2026-10-26T01:30"),
    ],
)
def test_a_digest_goes_at_its_time_in_the_clinics_zone(at, days, zone, moment, next_one):
    """Also over a weekend, and when clocks are changed."""
    schedule = Schedule(time.fromisoformat(at), frozenset(days), ZoneInfo(zone))
    found = schedule.next_after(datetime.fromisoformat(moment).replace(tzinfo=UTC))
    assert found == datetime.fromisoformat(next_one).replace(tzinfo=UTC)


def test_a_delivery_waits_for_its_digest_and_says_for_which(plugin, deliver, server):
    """It loses no attempt; nothing is asked of the mail server."""
    with pytest.raises(NotYetError, match=r"^waits for the digest of 2026-11-23 18:00 Europe/Zagreb$") as raised:
        deliver(plugin)
    assert raised.value.retry_after_s == EIGHT_HOURS + 1
    assert server.connections == 0


def test_a_days_events_are_one_mail_and_each_has_its_receipt(plugin, owed, server):
    """In the order of their timestamps, by type, told once; and the next day's are the next day's."""
    owed.add(1, timestamp=1693123200002, kitCode="KITSECOND2222")
    owed.add(2, timestamp=1693123200001, kitCode="KITFIRST1111")
    owed.add(3, "kit-received")
    owed.add(4, "assignment-status-changed")
    owed.add(5, "order-status-changed")
    owed.until(plugin, EIGHT_HOURS - 1)
    assert (server.connections, owed.receipts) == (0, {})
    owed.until(plugin, 700)
    ((to, content),) = server.taken
    assert to == ["staff@clinic.example"]
    assert owed.receipts == dict.fromkeys((1, 2, 3, 4, 5), f"{name_of(content)} 250 2.0.0")
    text = text_of(content)
    assert text.index("…1111") < text.index("…2222") < text.index("Kits that have arrived") < text.index("Orders that")
    assert "Reports that are ready: 2" in text
    assert message_from_bytes(content)["Subject"] == "GlycanAge: 5 events, November 23, 2026"
    owed.add(6)
    owed.until(plugin, 25 * 3600)
    assert len(server.taken) == 2
    assert "GlycanAge: 1 event, November 24, 2026" in message_from_bytes(server.taken[1][1])["Subject"]
    assert owed.mistakes == []


def test_each_practice_has_a_digest_of_its_own(make, owed, server):
    """Nothing reaches the wrong place: to its own recipients, with its own events alone."""
    plugin = make(server.port, practices={"practice_2": {"to": ["two@clinic.example"]}}, **ZAGREB)
    owed.add(1, kitCode="KIT-OF-ONE-1111")
    owed.add(2, practiceId="practice_2", kitCode="KIT-OF-TWO-2222")
    owed.until(plugin, EIGHT_HOURS + 700)
    mails = {to[0]: text_of(content) for to, content in server.taken}
    assert set(mails) == {"staff@clinic.example", "two@clinic.example"}
    assert ("…1111" in mails["staff@clinic.example"], "…2222" in mails["staff@clinic.example"]) == (True, False)
    assert ("…1111" in mails["two@clinic.example"], "…2222" in mails["two@clinic.example"]) == (False, True)


def test_two_destinations_share_the_state_and_not_their_digests(make, owed, server, deliver, clock):
    """The directory is the same by default."""
    plugin = make(server.port, **ZAGREB)
    owed.add(1)
    owed.come(plugin)
    with sqlite3.connect(plugin._settings.state / "state.db") as connection:
        connection.execute("UPDATE entries SET destination = 'b', delivery_id = 'event1:b'")
    connection.close()
    owed.add(2)
    owed.until(plugin, EIGHT_HOURS + 700)
    assert "Reports that are ready: 2" in text_of(server.taken[0][1])
    with sqlite3.connect(plugin._settings.state / "state.db") as connection:
        assert connection.execute("SELECT digest FROM entries WHERE destination = 'b'").fetchall() == [(None,)]
    connection.close()


def test_what_comes_after_the_freeze_is_in_the_next_digest(plugin, owed, server, clock):
    """Received a moment before 18:00, it reaches the plugin a moment after the mail has gone."""
    owed.add(1)
    owed.until(plugin, EIGHT_HOURS - 1)
    owed.add(2, kitCode="KIT-LATE-2222")
    clock.turn(3)
    owed.come(plugin, 1)
    owed.come(plugin, 2)
    owed.until(plugin, 23 * 3600)
    assert len(server.taken) == 1
    owed.until(plugin, 3600)
    assert [("…2222" in text_of(content)) for _, content in server.taken] == [False, True]


def test_those_that_are_late_gather_and_go_together(plugin, owed, server, clock):
    """The destination was paused for three days: one mail, as soon as it is back, not one for each."""
    for number in range(1, 6):
        owed.add(number)
        clock.turn(16 * 3600)
    owed.come(plugin)
    assert server.taken == []
    owed.until(plugin, GATHER_S + 2, step_s=1)
    assert len(server.taken) == 1
    assert len(owed.receipts) == 5


@pytest.mark.parametrize("personal", ["none", "ids", "full"])
def test_a_digest_and_what_is_kept_for_it_tell_what_personal_allows(make, owed, server, tmp_path, personal):
    """The file on the disk holds no more than the mail will; its subject nothing of a patient."""
    plugin = make(server.port, personal=personal, **ZAGREB)
    owed.add(1)
    owed.come(plugin)
    kept = (tmp_path / "email" / "state.db").read_bytes()
    owed.until(plugin, EIGHT_HOURS + 700)
    text = text_of(server.taken[0][1])
    for needle, level in (("patient_123", "ids"), ("KIT001234", "ids"), ("45.2", "full")):
        is_told = personal in {"full", level}
        assert (needle in text, needle.encode() in kept) == (is_told, is_told)
    assert "patient" not in message_from_bytes(server.taken[0][1])["Subject"]
    assert b"patient_123" not in (tmp_path / "email" / "state.db").read_bytes(), "what is sent is wiped from the disk"


def test_a_template_of_the_clinics_own_makes_the_digest(make, owed, server, tmp_path):
    """All three parts."""
    folder = tmp_path / "mails"
    folder.mkdir()
    (folder / "digest.txt").write_text(
        "{% for event in events if event.kit_code is defined %}{{ event.type }} {{ event.kit_code }}{% endfor %}"
    )
    (folder / "digest.subject.txt").write_text("{{ count }} novosti")
    (folder / "digest.html").write_text("<p>{{ practice_id }}</p>")
    owed.add(1)
    plugin = make(server.port, templates=folder, **ZAGREB)
    owed.until(plugin, EIGHT_HOURS + 700)
    mail = message_from_bytes(server.taken[0][1], policy=policy.default)
    assert mail["Subject"] == "1 novosti"
    assert mail.get_body(("plain",)).get_content().strip() == "report-ready …1234"
    assert mail.get_body(("html",)).get_content().strip() == "<p>practice_67890</p>"


# What goes wrong


@pytest.mark.parametrize("end", [Fault.HANG, Fault.RESET, "451 no", "421 no"])
def test_a_digest_whose_end_is_unknown_is_sent_again_as_it_was(make, owed, server, end):
    """The same set and the same Message-ID, though others have come meanwhile; by a new instance, too."""
    owed.add(1)
    owed.add(2)
    server.answer(end=end)
    owed.until(make(server.port, read_timeout_s=0.2, **ZAGREB), EIGHT_HOURS + 2, step_s=1200)
    assert (server.taken, owed.receipts) == ([], {})
    assert owed.mistakes
    owed.add(3, kitCode="KIT-NEW-3333")
    server.answer(end="250 2.0.0 ok")
    owed.until(make(server.port, **ZAGREB), 3600)
    ((_, content),) = server.taken
    assert set(owed.receipts) == {1, 2}
    assert "…3333" not in text_of(content)


def test_a_crash_between_sending_and_remembering_sends_the_same_bytes_again(make, owed, server, tmp_path, clock):
    """The state file as it was on the disk when the mail server had taken the mail; the journal knows of no receipt."""
    state, cut = tmp_path / "email" / "state.db", tmp_path / "cut.db"
    server.answer(end=lambda _mail: shutil.copy(state, cut) and "250 2.0.0 ok")
    for number in (1, 2, 3):
        owed.add(number)
    owed.until(make(server.port, **ZAGREB), EIGHT_HOURS + 2)
    assert set(owed.receipts) == {1, 2, 3}
    shutil.copy(cut, state)
    owed.receipts.clear()
    owed.add(4, kitCode="KIT-NEW-4444")
    clock.turn(90)
    owed.come(make(server.port, **ZAGREB), 4, 1, 2, 3)
    (_, first), (_, second) = server.taken
    assert first == second
    assert set(owed.receipts) == {1, 2, 3}


def test_a_lost_state_file_loses_no_event(make, owed, server, tmp_path):
    """The journal still owes them: they are written anew when they come."""
    plugin = make(server.port, **ZAGREB)
    owed.add(1)
    owed.add(2)
    owed.come(plugin)
    shutil.rmtree(tmp_path / "email")
    owed.until(plugin, EIGHT_HOURS + 700)
    assert set(owed.receipts) == {1, 2}
    assert "Reports that are ready: 2" in text_of(server.taken[0][1])


def test_a_state_file_that_is_lost_after_the_freeze_loses_no_event(make, owed, server, tmp_path):
    """They are late now, and go as soon as they have gathered."""
    server.answer(end="451 no")
    plugin = make(server.port, **ZAGREB)
    owed.add(1)
    owed.add(2)
    owed.until(plugin, EIGHT_HOURS + 700)
    assert owed.mistakes
    shutil.rmtree(tmp_path / "email")
    server.answer(end="250 ok")
    owed.until(plugin, 3700, step_s=10)
    assert set(owed.receipts) == {1, 2}
    assert len(server.taken) == 1


def test_what_one_lane_has_sent_marks_nothing_that_another_has_frozen(make, *, owed, deliver, server, tmp_path, clock):
    """The file is lost while a digest is sent, and made anew with another digest in it, which could not be sent yet."""
    plugin, other = make(server.port, **ZAGREB), make(server.port, **ZAGREB)
    owed.add(1)
    owed.until(plugin, EIGHT_HOURS - 1)
    at = clock.moment

    def lose_the_file(_mail):
        server.answer(end="451 no")
        shutil.rmtree(tmp_path / "email")
        with pytest.raises(NotYetError):
            deliver(other, number=2, received_at=at)
        clock.turn(GATHER_S + 1)
        with pytest.raises(TemporaryError):
            deliver(other, number=2, received_at=at)
        return "250 2.0.0 ok"

    server.answer(end=lose_the_file)
    owed.until(plugin, 3, step_s=1)
    assert set(owed.receipts) == {1}
    server.answer(end="250 2.0.0 ok")
    receipt = deliver(other, number=2, received_at=at)
    assert len(server.taken) == 2
    assert receipt == f"{name_of(server.taken[1][1])} 250 2.0.0"


@pytest.mark.parametrize("at", ["10:30", "09:00", "23:00"])
@pytest.mark.parametrize("turned", [0, 4 * 3600])
def test_changing_the_time_of_the_digest_loses_nothing(make, owed, server, at, turned):
    """To earlier today, to a time that is past, to later; each event is told once."""
    owed.add(1)
    owed.add(2)
    owed.until(make(server.port, **ZAGREB), turned + 60)
    owed.add(3)
    owed.until(make(server.port, time_zone="Europe/Zagreb", digest={"at": at}), 26 * 3600)
    assert set(owed.receipts) == {1, 2, 3}
    told = sum(message_from_bytes(content).as_string().count("Kit:") for _, content in server.taken)
    assert told == 3
    assert owed.mistakes == []


def test_without_the_digest_what_waited_goes_out_at_once_and_is_not_told_again(make, owed, server):
    """`digest` is taken out of the settings, and put back in later."""
    owed.add(1)
    owed.until(make(server.port, **ZAGREB), EIGHT_HOURS - 1800)
    single = make(server.port)
    owed.come(single, 1)
    assert message_from_bytes(server.taken[0][1])["Subject"] == "GlycanAge: a report is ready"
    owed.add(2, kitCode="KIT-TWO-2222")
    owed.until(make(server.port, **ZAGREB), 1800 + 700)
    assert "Reports that are ready: 1" in text_of(server.taken[1][1])


def test_without_the_digest_what_it_has_told_is_not_told_again(make, deliver, owed, server, clock):
    """The mail was sent, and the bridge killed before it wrote that down; then `digest` was taken out."""
    owed.add(1)
    at = clock.moment
    owed.until(make(server.port, **ZAGREB), EIGHT_HOURS + 2)
    assert deliver(make(server.port), number=1, received_at=at) == owed.receipts[1]
    assert len(server.taken) == 1


def test_what_was_written_for_a_higher_level_is_not_told_at_a_lower_one(make, owed, server):
    """`personal` is lowered while events wait: what leaves afterwards keeps to it."""
    owed.add(1)
    owed.add(2)
    owed.come(make(server.port, personal="full", **ZAGREB))
    owed.until(make(server.port, **ZAGREB), EIGHT_HOURS + 3700, step_s=10)
    assert set(owed.receipts) == {1, 2}
    assert not [content for _, content in server.taken if b"patient_123" in content or b"45.2" in content]
    assert len(server.taken) == 1


def test_a_frozen_digest_is_not_told_at_a_higher_level_either(make, owed, server):
    """It could not be sent; `personal` is lowered; then the server is back."""
    server.answer(end="451 no")
    owed.add(1)
    owed.add(2)
    owed.until(make(server.port, personal="full", **ZAGREB), EIGHT_HOURS + 10)
    server.answer(end="250 ok")
    owed.until(make(server.port, **ZAGREB), 3700, step_s=10)
    assert set(owed.receipts) == {1, 2}
    assert not [content for _, content in server.taken if b"patient_123" in content or b"45.2" in content]


def test_a_recipient_of_a_digest_who_is_refused_for_now_gets_it_later_and_nobody_twice(make, owed, server):
    """As with single mails; the receipt comes when all have it."""
    two = {"to": ["first@clinic.example", "second@clinic.example"]}
    server.answer(RCPT={"second@clinic.example": "450 no"})
    owed.add(1)
    owed.add(2)
    owed.until(make(server.port, **two, **ZAGREB), EIGHT_HOURS + 1200)
    assert owed.receipts == {}
    server.answer(RCPT="250 ok")
    owed.until(make(server.port, **two, **ZAGREB), 4000)
    assert set(owed.receipts) == {1, 2}
    assert [to for to, _ in server.taken] == [["first@clinic.example"], ["second@clinic.example"]]
    assert len({content for _, content in server.taken}) == 1


def test_a_recipient_of_a_digest_who_is_refused_for_good_is_corrected_and_replayed(make, owed, server, deliver, clock):
    """The events become dead letters; replayed, they bring it to him alone."""
    two = {"to": ["first@clinic.example", "second@clinic.example"]}
    server.answer(RCPT={"second@clinic.example": "550 no"})
    at = clock.moment
    plugin = make(server.port, **two, **ZAGREB)
    for _ in range(8):
        for number in (1, 2):
            with pytest.raises(NotYetError):
                deliver(plugin, number=number, received_at=at)
        clock.turn(3600.1)
    for number in (1, 2):
        with pytest.raises(PermanentError, match=r"1 of 2 recipients have the mail; refused: to, number 2 \(550\)"):
            deliver(plugin, number=number, received_at=at)
    corrected = make(server.port, to=["first@clinic.example", "secund@clinic.example"], **ZAGREB)
    receipts = {deliver(corrected, number=number, received_at=at, attempt=3) for number in (1, 2)}
    assert len(receipts) == 1
    assert [to for to, _ in server.taken] == [["first@clinic.example"], ["secund@clinic.example"]]


def test_an_event_that_was_discarded_while_it_waited_is_not_told(make, owed, server):
    """Its delivery comes no more; those that wait come every hour."""
    plugin = make(server.port, **ZAGREB)
    owed.add(1)
    owed.add(2, kitCode="KIT-DISCARDED-2222")
    owed.come(plugin)
    del owed.waiting[2]
    owed.until(plugin, EIGHT_HOURS + 700)
    assert FRESH_S < EIGHT_HOURS
    assert "Reports that are ready: 1" in text_of(server.taken[0][1])


def test_a_night_without_the_bridge_costs_one_mail_and_no_event(make, owed, server, clock):
    """It was stopped from before the digest's time until the morning: all that waited goes together."""
    for number in (1, 2, 3):
        owed.add(number)
    owed.come(make(server.port, **ZAGREB))
    clock.turn(22 * 3600)
    plugin = make(server.port, **ZAGREB)
    owed.come(plugin)
    owed.until(plugin, GATHER_S + 2, step_s=1)
    assert set(owed.receipts) == {1, 2, 3}
    assert len(server.taken) == 1


def test_a_repeat_after_the_digest_sends_nothing(plugin, owed, deliver, server, clock):
    """The same receipt, as long as it is remembered; then it is forgotten, and so is its name on the disk."""
    at = clock.moment
    owed.add(1)
    owed.until(plugin, EIGHT_HOURS + 2)
    assert deliver(plugin, number=1, received_at=at, attempt=9) == owed.receipts[1]
    assert len(server.taken) == 1
    clock.turn(RETENTION_S + 60)
    owed.add(2)
    owed.until(plugin, 25 * 3600)
    assert b"event1:a" not in (plugin._settings.state / "state.db").read_bytes()


SEND = """
import sys
from pathlib import Path
from datetime import UTC, datetime
from glycanbridge import NotYetError
from glycanbridge.events import parse
from glycanbridge_email import Email, EmailSettings
from serving import delivery, sample

port, state, number, now = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], float(sys.argv[4])
settings = dict(host="127.0.0.1", port=port, security="plain", sender="b@c.example", to=["s@c.example"], state=state)
plugin = Email(EmailSettings(**settings, digest={"at": "18:00"}, time_zone="Europe/Zagreb"), clock=lambda: now)
owed = delivery(event_id=f"event{number}")
print("ready", flush=True)
sys.stdin.readline()
try:
    print(plugin.on_report_ready(event=parse(owed.body), delivery=owed))
except NotYetError as error:
    print("not yet:", error)
plugin.close()
"""


def test_lanes_in_processes_of_their_own_send_a_digest_once(plugin, owed, server, clock, tmp_path):
    """Six come at the same moment, when it is due: one sends, and the others find it sent or come again."""
    for number in range(6):
        owed.add(number)
    owed.come(plugin)
    with sqlite3.connect(tmp_path / "email" / "state.db") as connection:
        connection.execute("UPDATE entries SET seen_ms = seen_ms + ?", (EIGHT_HOURS * 1000,))
    connection.close()
    clock.turn(EIGHT_HOURS + 1)
    path = [sys.executable, "-c", SEND, str(server.port), str(tmp_path / "email")]
    processes = [
        subprocess.Popen([*path, str(number), str(clock.now)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                         env=child_environ())
        for number in range(6)
    ]  # fmt: skip
    for each in processes:
        assert each.stdout.readline() == "ready\n"
    told = [each.communicate("go\n", timeout=60)[0].strip() for each in processes]
    assert [each.returncode for each in processes] == [0] * 6
    assert len(server.taken) == 1
    receipts = {each for each in told if not each.startswith("not yet: another lane sends a digest")}
    assert receipts == {f"{name_of(server.taken[0][1])} 250 2.0.0"}


def test_a_lock_that_another_process_holds_is_waited_for_elsewhere(plugin, owed, server, tmp_path, clock):
    """No lane hangs on it: the delivery comes again in a few seconds."""
    owed.add(1)
    owed.until(plugin, EIGHT_HOURS - 100)
    hold = "import sys; from filelock import FileLock\nwith FileLock(sys.argv[1]): print(1, flush=True); input()"
    command = [sys.executable, "-c", hold, str(tmp_path / "email" / "digest.lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "1\n"
        owed.until(plugin, 200, step_s=20)
        assert (server.taken, owed.receipts) == ([], {})
        process.kill()
    owed.until(plugin, 30, step_s=5)
    assert set(owed.receipts) == {1}
    assert len(server.taken) == 1


def test_the_check_of_a_digest_looks_at_its_directory_too(make, server, tmp_path):
    """Else it would be found out at six in the evening."""
    assert make(server.port, **ZAGREB).check().endswith(f"nothing was sent; {tmp_path / 'email'} can be written to")
    (tmp_path / "file").write_text("")
    with pytest.raises(TemporaryError, match="see that it may be written to"):
        make(server.port, state=tmp_path / "file" / "email", **ZAGREB).check()
