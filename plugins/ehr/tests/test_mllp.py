"""Results over MLLP, to real receivers and to bad ones: taken once, credited only by their own acknowledgement."""

import dataclasses
import os
import socket
import sqlite3
import ssl
import struct
import subprocess
import sys
import threading
from contextlib import ExitStack, closing
from datetime import timedelta

import hl7_peers
import pytest
from ehr_plugin import Clock, deliver, told
from glycanbridge_ehr import Ehr
from glycanbridge_ehr.hl7 import Message
from glycanbridge_ehr.hl7_acks import CONDITIONS
from glycanbridge_ehr.mllp import LARGEST_ANSWER_BYTES, MllpClient
from glycanbridge_ehr.settings_hl7 import MllpSettings
from hl7_peers import (
    PATIENTS,
    Certificates,
    ack,
    acknowledge,
    control_id_of,
    hl7_settings,
    hl7apy_receiver,
    nobody,
    peer,
    python_hl7_receiver,
    sender,
)
from pydantic import ValidationError
from serving import until

from glycanbridge import DestinationError, NotYetError, PermanentError, TemporaryError


def client(port, **settings):
    """Our end alone."""
    told = {"host": "127.0.0.1", "port": port, "tls": False, "ack_timeout_s": 10} | settings
    return MllpClient(MllpSettings(**told))


def sent(name="G1", size=0):
    """A message that needs no report."""
    text = rf"MSH|^~\&|A|B|C|D|20230827||ORU^R01|{name}|P|2.5.1" + "\r" + "NTE|1||" + "x" * size + "\r"
    return Message(control_id=name, data=text.encode())


def nothing():
    """What most tests do when a message leaves."""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """An authority, made once: keys take time."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


# Real receivers


def test_a_strict_receiver_that_closes_after_each_acknowledgement_takes_result_and_correction(tmp_path):
    """hl7apy's server validates ORU_R01 strictly; each message has a connection of its own there, and none is lost."""
    with hl7apy_receiver() as (port, taken), sender(port, tmp_path) as plugin:
        receipts = [deliver(plugin), deliver(plugin, 2, glycanAge="45.20"), deliver(plugin, 3, reportId="r2")]
    assert [each.split(": ") for each in receipts] == [[control_id_of(each.encode()), "AA"] for each in taken]
    assert [each.count("|F|||2023") for each in taken] == [3, 0, 3]
    assert taken[1].count("|C|||2023") == 3
    assert "|45.20|a^year^UCUM" in taken[1]


def test_a_result_that_is_told_again_is_sent_once(tmp_path):
    """By another event, with the same values: the receiver hears of it no second time."""
    with peer() as receiver, sender(receiver.port, tmp_path) as plugin:
        first, second = deliver(plugin), deliver(plugin, 2, createdOn=1_693_123_000_001)
    assert len(receiver.messages) == 1
    assert second == f"{first} (it has this result already)"


def test_a_receiver_that_keeps_the_connection_gets_all_messages_over_one(tmp_path):
    """python-hl7's asyncio server: no connection is made for each message."""
    with python_hl7_receiver() as (port, taken), sender(port, tmp_path) as plugin:
        plugin_socket = []
        for number in range(5):
            deliver(plugin, number, reportId=f"r{number}")
            plugin_socket.append(plugin._way._client._connection.getsockname())
    assert [str(each.segment("OBX")[5]) for each in taken] == ["45.2"] * 5
    assert len(set(plugin_socket)) == 1


def test_five_megabytes_get_through(tmp_path):
    """A report's PDF will be as large."""
    with python_hl7_receiver() as (port, taken):
        mllp = client(port)
        assert mllp.exchange(sent(size=5_000_000), leaving=nothing).code == "AA"
        mllp.close()
    assert len(str(taken[0].segment("NTE")[3])) == 5_000_000


def test_the_kit_that_came_before_is_told_with_its_report(tmp_path):
    """OBR-14, which the report's own event does not know."""
    with peer() as receiver, sender(receiver.port, tmp_path) as plugin:
        event, delivery = told("kit-received")
        plugin.on_kit_received(event=event, delivery=delivery)
        deliver(plugin, 2)
    assert b"|20230827070640+0000||||||||20230827075640+0000||LAB|F\r" in receiver.messages[0]


# Answers


def once(answer):
    """A receiver that says to every message what `answer` makes of it."""

    def behave(wire):
        while (message := wire.message()) is not None:
            wire.send(answer(message))

    return behave


def in_turn(*answers):
    """A receiver that gives one answer after the other."""
    rest = list(answers)

    def next_one(message):
        return rest.pop(0)(message)

    return once(next_one)


OF_THE_SETTINGS = ["200", "201", "202", "203"]
HOPELESS = [each for each in CONDITIONS if each not in {*OF_THE_SETTINGS, "205", "206", "207"}]


@pytest.mark.parametrize("code", ["AA", "CA"])
def test_a_message_that_was_taken_or_safely_stored_is_delivered(tmp_path, code):
    """CA: committed to safe storage, which is all that we need to know."""
    with peer(once(lambda message: ack(message, code))) as receiver, sender(receiver.port, tmp_path) as plugin:
        assert deliver(plugin) == f"{control_id_of(receiver.messages[0])}: {code}"


@pytest.mark.parametrize("condition", HOPELESS)
@pytest.mark.parametrize("code", ["AE", "CE", "AR", "CR"])
def test_a_message_that_the_receiver_cannot_read_is_a_dead_letter_that_names_the_place(tmp_path, code, condition):
    """It would be refused for ever; whoever reads the dead letter sees the field."""
    answer = once(lambda message: ack(message, code, f"ERR||PID^1^5|{condition}^x^HL70357|E||||Söhne is unknown"))
    with (
        peer(answer) as receiver,
        sender(receiver.port, tmp_path, ar_retry=True) as plugin,
        pytest.raises(PermanentError, match=f"{code}, {condition} {CONDITIONS[condition]} in PID-5$"),
    ):
        deliver(plugin)
    with closing(sqlite3.connect(tmp_path / "state" / "hl7.db")) as trail:
        assert trail.execute("SELECT * FROM unsettled").fetchall() == []


@pytest.mark.parametrize("condition", OF_THE_SETTINGS)
@pytest.mark.parametrize("code", ["AE", "CE", "AR", "CR"])
def test_a_receiver_that_takes_no_such_messages_burns_no_result(tmp_path, code, condition):
    """A wrong MSH-11 or MSH-12 is wrong in every message; once the settings are right the same result goes through."""
    answer = in_turn(lambda message: ack(message, code, f"ERR||PID^1^5|{condition}|E||||Söhne"), ack)
    with peer(answer) as receiver, sender(receiver.port, tmp_path) as plugin:
        with pytest.raises(DestinationError, match=f"see processing_id and version: {code}, {condition} ") as raised:
            deliver(plugin)
        assert "Söhne" not in str(raised.value)
        with closing(sqlite3.connect(tmp_path / "state" / "hl7.db")) as trail:
            assert trail.execute("SELECT * FROM unsettled").fetchall() == []
        assert "AA" in deliver(plugin, attempt=2)


@pytest.mark.parametrize("condition", ["206", "207"])
@pytest.mark.parametrize("code", ["AE", "CE", "AR", "CR"])
def test_a_receiver_that_is_locked_or_broken_gets_the_same_message_again(tmp_path, code, condition):
    """Its own trouble, not the result's."""
    with peer(in_turn(ack_of(code, condition), ack)) as receiver, sender(receiver.port, tmp_path) as plugin:
        with pytest.raises(TemporaryError, match=f"{code}, {condition} ") as raised:
            deliver(plugin)
        assert raised.value.retry_after_s == 30
        deliver(plugin, attempt=2)
    assert receiver.messages[0] == receiver.messages[1]


def ack_of(code, condition):
    """An answer with a condition."""
    return lambda message: ack(message, code, f"ERR|||{condition}|E")


def test_a_duplicate_is_delivered_if_we_sent_it_before_and_else_a_dead_letter(tmp_path):
    """205 after an answer that never came says that it was taken; at the first sending it is somebody else's."""
    with peer(once(ack_of("AE", "205"))) as receiver, sender(receiver.port, tmp_path) as plugin:
        for attempt in (1, 2):  # replayed by hand: it is not taken for delivered then
            with pytest.raises(PermanentError, match="under the same key; a person must look"):
                deliver(plugin, attempt=attempt)

    def silent_at_first(wire):
        message = wire.message()
        if len(wire.peer.messages) == 1:
            return
        wire.send(ack(message, "AE", "ERR|||205|E"))

    with peer(silent_at_first) as receiver, sender(receiver.port, tmp_path / "other") as plugin:
        with pytest.raises(TemporaryError):
            deliver(plugin)
        assert deliver(plugin, attempt=2).endswith(": AE (the receiver had it already)")


@pytest.mark.parametrize("code", ["AE", "CE"])
def test_a_failure_without_a_reason_is_tried_five_times_and_then_a_dead_letter(tmp_path, code):
    """It may pass; it must not go on for ever."""
    with peer(once(lambda message: ack(message, code))) as receiver, sender(receiver.port, tmp_path) as plugin:
        for attempt in range(1, 5):
            with pytest.raises(TemporaryError, match=f"does not say why: {code}$") as raised:
                deliver(plugin, attempt=attempt)
            assert raised.value.retry_after_s == 60
        with pytest.raises(PermanentError, match="5 attempts"):
            deliver(plugin, attempt=5)
    assert len(set(receiver.messages)) == 1


@pytest.mark.parametrize("code", ["AR", "CR"])
def test_a_rejection_is_a_dead_letter_unless_the_site_means_that_it_is_down(tmp_path, code):
    """The standard lets AR mean either; only the site knows."""
    with peer(once(lambda message: ack(message, code))) as receiver:
        with sender(receiver.port, tmp_path) as plugin, pytest.raises(PermanentError, match=f"rejected .*: {code}$"):
            deliver(plugin)
        with sender(receiver.port, tmp_path, ar_retry=True) as plugin, pytest.raises(TemporaryError, match="down"):
            deliver(plugin)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["ERR|PID^1^5^101&Required&HL70357"], "101 required field missing in PID-5"),
        (["ERR||OBX^1^3^1^2|103^Table^HL70357|E", "ERR||PID|101|E"], "103 .* in OBX-3, 101 .* in PID$"),
        (["ERR||Söhne^1^5|102|E"], "102 data type error$"),
        (["ERR||PID^1^x|102"], "102 data type error in PID$"),
    ],
)
def test_what_a_receiver_complains_of_is_told_in_codes_and_places_alone(tmp_path, more, expected):
    """As before version 2.5 and since; no text of a receiver's, for it may repeat a patient's values."""
    with (
        peer(once(lambda message: ack(message, "AE", *more))) as receiver,
        sender(receiver.port, tmp_path) as plugin,
        pytest.raises(PermanentError, match=expected) as raised,
    ):
        deliver(plugin)
    assert "Söhne" not in str(raised.value)


def test_an_error_in_msa_6_counts_and_a_mere_warning_does_not(tmp_path):
    """MSA-6 was where it stood before ERR; ERR-4 `W` refuses nothing."""
    answers = [
        lambda message: ack(message, "AE").replace(b"\r" + hl7_peers.END, b"||||102^Data type error\r" + hl7_peers.END),
        lambda message: ack(message, "AE", "ERR||PID^1^5|101|W"),
    ]
    with peer(in_turn(*answers)) as receiver, sender(receiver.port, tmp_path) as plugin:
        with pytest.raises(PermanentError, match="102 data type error"):
            deliver(plugin)
        with pytest.raises(TemporaryError, match="does not say why"):
            deliver(plugin, 2, reportId="r2")


def test_enhanced_mode_asks_for_a_commit_acknowledgement_alone(tmp_path):
    """An application acknowledgement would come later, as a message of its own: it is not asked for."""
    with (
        peer(once(lambda message: ack(message, "CA"))) as receiver,
        sender(receiver.port, tmp_path, acknowledgement="enhanced") as plugin,
    ):
        assert deliver(plugin).endswith(": CA")
    assert receiver.messages[0].split(b"\r")[0].endswith(b"|2.5.1|||AL|NE||UNICODE UTF-8")


# Bad receivers


def test_an_acknowledgement_in_single_bytes_is_read_whole(tmp_path):
    """TCP keeps no boundaries; a well-known client takes the first byte for the answer."""

    def slowly(wire):
        while (message := wire.message()) is not None:
            for byte in ack(message):
                wire.send(bytes([byte]))

    with peer(slowly) as receiver, sender(receiver.port, tmp_path) as plugin:
        assert [deliver(plugin, each, reportId=f"r{each}")[-4:] for each in (1, 2)] == [": AA", ": AA"]
    assert len(receiver.wires) == 1


def test_a_second_acknowledgement_in_the_same_read_ends_the_connection_and_credits_nothing(tmp_path):
    """What comes unasked would be the next message's answer."""

    def twice(wire):
        message = wire.message()
        wire.send(ack(message) + ack(message))
        assert wire.closed()

    with peer(twice) as receiver, sender(receiver.port, tmp_path) as plugin:
        for number in (1, 2):
            deliver(plugin, number, reportId=f"r{number}")
    assert [wire.number for wire in receiver.wires] == [1, 2]


def test_a_late_acknowledgement_never_credits_the_next_message(tmp_path):
    """It comes while the second waits for its own, on the connection that both share: that connection is at its end."""
    answered = []

    def late(wire):
        first = wire.message()
        if wire.number > 1:
            wire.send(ack(first, "AR"))
            return
        wire.send(ack(first))
        second = wire.message()
        answered.append(control_id_of(second))
        wire.send(ack(first))  # once more, and late
        assert wire.closed()

    with peer(late) as receiver, sender(receiver.port, tmp_path) as plugin:
        deliver(plugin)
        with pytest.raises(TemporaryError, match="did not acknowledge this message but something else"):
            deliver(plugin, 2, reportId="r2")
        with pytest.raises(PermanentError):  # what it really says to the second
            deliver(plugin, 2, reportId="r2", attempt=2)
    assert [control_id_of(each) for each in receiver.messages[1:]] == [answered[0]] * 2


def test_an_acknowledgement_that_came_while_nobody_waited_ends_the_connection(tmp_path):
    """It is seen before the next message leaves."""
    first_is_done = threading.Event()

    def unasked(wire):
        message = wire.message()
        wire.send(ack(message))
        if wire.number == 1:
            assert first_is_done.wait(20)
            wire.send(ack(message))
        assert wire.closed()

    with peer(unasked) as receiver, sender(receiver.port, tmp_path) as plugin:
        deliver(plugin)
        kept = plugin._way._client._connection
        first_is_done.set()
        kept.settimeout(20)
        assert kept.recv(1, socket.MSG_PEEK)
        deliver(plugin, 2, reportId="r2")
    assert [wire.number for wire in receiver.wires] == [1, 2]


@pytest.mark.parametrize(
    "answer",
    [
        lambda message: ack(message, control_id="G" + "A" * 19),
        lambda message: ack(message, control_id=""),
        lambda message: ack(message, "OK"),
        lambda message: b"\x0bhello\r\x1c\x0d",
        lambda message: b"\x0b\x1c\x0d",
        lambda message: b"\x0bMSH|^~\\&|\r\x1c\x0d",
        lambda message: ack(message).replace(b"MSA", b"MSB"),
        lambda message: b"\x00\xff" * 100 + b"\x0b\xfe\xff\x1c\x0d",
        lambda message: b"\x0b" + message + b"\x1c\x0d",
    ],
    ids=["another id", "no id", "unknown code", "garbage", "nothing", "a header alone", "no MSA", "binary", "our own"],
)
def test_an_answer_that_is_none_is_temporary_and_ends_the_connection(tmp_path, answer):
    """It is not known whether the message was taken; the same bytes go again, over a new connection."""

    def behave(wire):
        message = wire.message()
        wire.send(answer(message) if wire.number == 1 else ack(message))
        assert wire.closed()

    with peer(behave) as receiver, sender(receiver.port, tmp_path) as plugin:
        with pytest.raises(TemporaryError, match="something else") as raised:
            deliver(plugin)
        assert raised.value.retry_after_s == 5
        deliver(plugin, attempt=2)
    assert receiver.messages[0] == receiver.messages[1]


def test_half_an_answer_is_temporary(tmp_path):
    """The receiver broke off in its midst: nobody knows."""

    def half(wire):
        message = wire.message()
        wire.send(ack(message)[:40])

    with (
        peer(half) as receiver,
        sender(receiver.port, tmp_path) as plugin,
        pytest.raises(TemporaryError, match="something else") as raised,
    ):
        deliver(plugin)
    assert raised.value.retry_after_s == 5
    assert len(receiver.messages) == 1


def test_a_state_directory_that_cannot_be_written_to_sends_nothing(tmp_path):
    """What leaves is noted first; a person's to mend."""
    with peer() as receiver, sender(receiver.port, tmp_path) as plugin:
        (tmp_path / "state").mkdir()
        (tmp_path / "state" / "hl7.db").write_text("no database, but long enough to be looked at as if it were one")
        with pytest.raises(
            DestinationError, match=r"hl7\.db: DatabaseError; see that it is whole and can be written to"
        ):
            deliver(plugin)
    assert receiver.messages == []


def test_an_answer_without_end_is_read_to_a_bound(tmp_path):
    """A receiver must not fill our memory."""
    got = []

    def endless(wire):
        wire.message()
        wire.send(b"\x0b")
        while True:
            wire.send(b"x" * 4096)
            got.append(4096)

    with peer(endless) as receiver, sender(receiver.port, tmp_path) as plugin:
        with pytest.raises(TemporaryError, match="something else"):
            deliver(plugin)
        assert plugin._way._client._connection is None
    assert sum(got) >= LARGEST_ANSWER_BYTES


@pytest.mark.parametrize("half", [b"", b"\x0bMSH|^~\\&|EHR"])
def test_no_acknowledgement_in_time_is_temporary_and_ends_the_connection(tmp_path, half):
    """Also one that never comes to its end; no quick try follows, and the next one has a new connection."""

    def silent(wire):
        message = wire.message()
        wire.send(half if wire.number == 1 else ack(message))
        assert wire.closed()

    with peer(silent) as receiver, sender(receiver.port, tmp_path, ack_timeout_s=0.2) as plugin:
        with pytest.raises(TemporaryError, match=r"no acknowledgement within 0\.2 s \(ack_timeout_s\)") as raised:
            deliver(plugin)
        assert raised.value.retry_after_s == 5
        plugin._way._client._settings = plugin._way._client._settings.model_copy(update={"ack_timeout_s": 10})
        deliver(plugin, attempt=2)
    assert receiver.messages[0] == receiver.messages[1]


def test_a_receiver_that_trickles_is_given_the_time_for_one_answer_and_no_more(tmp_path):
    """The limit is for the answer, not for each byte."""
    stop = threading.Event()

    def trickle(wire):
        wire.message()
        wire.send(b"\x0b")
        while not stop.wait(0.02):
            wire.send(b"x")

    with peer(trickle) as receiver, sender(receiver.port, tmp_path, ack_timeout_s=0.3) as plugin:
        with pytest.raises(TemporaryError, match="no acknowledgement within"):
            deliver(plugin)
        stop.set()


def test_a_receiver_that_reads_nothing_holds_us_no_longer_than_its_time(tmp_path):
    """A half-open peer: the connection stands, and nobody is behind it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:  # the system accepts, and no program does
        mllp = client(listener.getsockname()[1], ack_timeout_s=0.3)
        with pytest.raises(TemporaryError, match="no acknowledgement within") as raised:
            mllp.exchange(sent(size=20_000_000), leaving=nothing)
        assert raised.value.retry_after_s is not None
        mllp.close()


def test_a_receiver_that_closes_when_idle_gets_the_same_bytes_on_a_fresh_connection_at_once(tmp_path):
    """A socket that was kept may be dead by now; nobody need notice."""

    def one_each(wire):
        wire.send(ack(wire.message()))

    with peer(one_each) as receiver, sender(receiver.port, tmp_path) as plugin:
        for number in range(10):
            deliver(plugin, number, reportId=f"r{number}")
    assert len(receiver.wires) == len(receiver.messages) == 10


def test_a_message_that_met_a_closing_connection_is_sent_once_more_at_once(tmp_path):
    """The receiver closes just as the second message arrives: it is sent again, the same bytes, and that is all."""

    def closing(wire):
        message = wire.message()
        wire.send(ack(message))
        if wire.number == 1:
            wire.message()  # and goes, without an answer

    with peer(closing) as receiver, sender(receiver.port, tmp_path) as plugin:
        deliver(plugin)
        assert deliver(plugin, 2, reportId="r2").endswith(": AA")
    assert len(receiver.messages) == 3
    assert receiver.messages[1] == receiver.messages[2]


@pytest.mark.parametrize("reset", [False, True])
def test_a_receiver_that_closes_without_an_answer_is_temporary(tmp_path, reset):
    """On a connection of its own there is no doubt whose fault it is: no second try at once."""

    def gone(wire):
        wire.message()
        if reset:
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with (
        peer(gone) as receiver,
        sender(receiver.port, tmp_path) as plugin,
        pytest.raises(TemporaryError, match="closed the connection without an acknowledgement") as raised,
    ):
        deliver(plugin)
    assert raised.value.retry_after_s == 5
    assert len(receiver.messages) == 1


def test_nobody_listening_is_temporary_and_sends_nothing(tmp_path):
    """A restart of theirs; the quick tries may find it over."""
    with (
        nobody() as port,
        sender(port, tmp_path) as plugin,
        pytest.raises(TemporaryError, match=rf"127\.0\.0\.1:{port}: Connection refused; nothing was sent") as raised,
    ):
        deliver(plugin)
    assert raised.value.retry_after_s is None
    assert not (tmp_path / "state" / "hl7.db").exists()


def test_a_name_that_is_not_known_is_temporary_and_not_asked_for_again_at_once(tmp_path):
    """Their name server, or ours: three quick tries of one that is slow would outlast the attempt."""
    with (
        sender(1, tmp_path, host="receiver.invalid") as plugin,
        pytest.raises(TemporaryError, match="nothing was sent") as raised,
    ):
        deliver(plugin)
    assert raised.value.retry_after_s == 5


def test_a_receiver_that_does_not_take_the_connection_in_time_is_temporary():
    """Its queue is full, or a firewall swallows us."""
    with socket.socket() as listener, ExitStack() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):  # until the queue is full, the system says nothing any more
            connection = waiting.enter_context(socket.socket())
            connection.setblocking(False)
            connection.connect_ex(listener.getsockname())
        mllp = client(listener.getsockname()[1], connect_timeout_s=0.2)
        with pytest.raises(TemporaryError, match=r"did not answer within 0\.2 s; nothing was sent") as raised:
            mllp.exchange(sent(), leaving=nothing)
        assert raised.value.retry_after_s == 5


# Several messages


def test_never_are_two_messages_outstanding(tmp_path):
    """Eight threads share an instance; the receiver fails if a second message comes before its answer to the first."""
    with peer() as receiver, sender(receiver.port, tmp_path) as plugin:
        threads = [
            threading.Thread(target=deliver, args=[plugin, number], kwargs={"reportId": f"r{number}"})
            for number in range(8)
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join(30)
    assert len(set(receiver.messages)) == 8
    assert len(receiver.wires) == 1


def test_a_thousand_messages_leave_no_thread_and_no_socket_behind():
    """A bridge runs for months."""

    def held():
        return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0  # noqa: PTH208

    with peer() as receiver:
        mllp = client(receiver.port)
        mllp.exchange(sent("G0"), leaving=nothing)
        before = held(), threading.active_count()
        for number in range(1, 1001):
            mllp.exchange(sent(f"G{number}"), leaving=nothing)
        until(lambda: (held(), threading.active_count()) == before)
        mllp.close()
    assert len(receiver.messages) == 1001


def test_who_waits_too_long_for_a_turn_sends_nothing(tmp_path):
    """An attempt has its limit; the message before may take all of it."""
    first_is_here, go_on = threading.Event(), threading.Event()

    def slow(wire):
        message = wire.message()
        first_is_here.set()
        assert go_on.wait(20)
        wire.send(ack(message))

    with peer(slow) as receiver:
        mllp = client(receiver.port, connect_timeout_s=0.1)
        thread = threading.Thread(target=mllp.exchange, args=[sent("G1")], kwargs={"leaving": nothing})
        thread.start()
        assert first_is_here.wait(20)
        with pytest.raises(TemporaryError, match="has not acknowledged the message before; this one was not sent"):
            mllp.exchange(sent("G2"), leaving=nothing)
        go_on.set()
        thread.join(20)
        mllp.close()
    assert len(receiver.messages) == 1


def test_a_receiver_that_needs_a_pause_gets_it():
    """Counted from the end of the message before; turned by hand here."""
    now, slept = [100.0], []

    def sleep(seconds):
        slept.append(round(seconds, 3))
        now[0] += seconds

    with peer() as receiver:
        settings = MllpSettings(host="127.0.0.1", port=receiver.port, tls=False, pause_s=2)
        mllp = MllpClient(settings, clock=lambda: now[0], sleep=sleep)
        mllp.exchange(sent("G1"), leaving=nothing)
        now[0] += 0.5
        mllp.exchange(sent("G2"), leaving=nothing)
        now[0] += 5
        mllp.exchange(sent("G3"), leaving=nothing)
        mllp.close()
    assert slept == [1.5, 0]


@pytest.mark.parametrize(("idle_close_s", "connections"), [(0, 3), (30, 1)])
def test_a_connection_is_kept_or_is_one_messages_own(tmp_path, idle_close_s, connections):
    """As the site likes it."""
    with peer() as receiver, sender(receiver.port, tmp_path, idle_close_s=idle_close_s) as plugin:
        for number in range(3):
            deliver(plugin, number, reportId=f"r{number}")
    assert len(receiver.wires) == connections


def test_an_idle_connection_is_closed_and_made_anew(tmp_path):
    """Receivers have few places, and firewalls forget."""
    closed = []

    def until_closed(wire):
        acknowledge(wire)
        closed.append(wire.number)

    with peer(until_closed) as receiver, sender(receiver.port, tmp_path, idle_close_s=0.05) as plugin:
        deliver(plugin)
        until(lambda: closed == [1])
        deliver(plugin, 2, reportId="r2")
        until(lambda: closed == [1, 2])
        plugin.close()
        plugin.close()


# TLS


def over_tls(port, certificates, **settings):
    """Our end, with the tests' authority."""
    return client(port, **{"tls": True, "ca_file": str(certificates.ca_file)} | settings)


def test_results_go_over_tls_with_certificates_on_both_sides(tmp_path, certificates):
    """To python-hl7's server, which asks for one of ours."""
    tls = certificates.server("127.0.0.1", asks=True)
    settings = {"tls": True, "ca_file": str(certificates.ca_file), **certificates.own()}
    with python_hl7_receiver(tls) as (port, taken), sender(port, tmp_path, **settings) as plugin:
        deliver(plugin)
        deliver(plugin, 2, reportId="r2")
        assert "TLSv1.3, its certificate is good until" in plugin.check()
        assert "over TLS" in plugin.tells()
    assert len(taken) == 2


def test_a_connection_over_tls_is_kept(tmp_path, certificates):
    """The tickets that TLS 1.3 sends on its own are no late answer."""
    with peer(tls=certificates.server()) as receiver:
        mllp = over_tls(receiver.port, certificates)
        for number in range(3):
            mllp.exchange(sent(f"G{number}"), leaving=nothing)
        mllp.close()
    assert len(receiver.wires) == 1


@pytest.mark.parametrize(
    ("server", "settings", "expected"),
    [
        ({}, {"ca_file": None}, "not trusted: .*(unable to get local issuer|self.signed)"),
        ({"names": ["other.clinic.example"]}, {}, "not trusted: .*not valid for '127.0.0.1'"),
        ({}, {"server_name": "other.clinic.example"}, "not trusted: Hostname mismatch"),
        ({"expired": True}, {}, "not trusted: certificate has expired"),
    ],
    ids=["unknown authority", "another host", "another name", "expired"],
)
def test_a_certificate_that_proves_nothing_stops_the_destination_and_nothing_is_sent(
    certificates, server, settings, expected
):
    """Every result waits until a person has looked, and none has left. Nothing turns this off."""
    tls = certificates.server(*server.get("names", ["127.0.0.1"]), expired=server.get("expired", False))
    with peer(tls=tls) as receiver:
        mllp = over_tls(receiver.port, certificates, **settings)
        for call in (mllp.check, lambda: mllp.exchange(sent(), leaving=nothing)):
            with pytest.raises(DestinationError, match=expected):
                call()
    assert receiver.messages == []


def test_a_name_of_the_certificates_own_is_checked_instead_of_the_host(certificates):
    """A receiver that is reached by an address or through a tunnel."""
    with peer(tls=certificates.server("hl7.clinic.example")) as receiver:
        mllp = over_tls(receiver.port, certificates, server_name="hl7.clinic.example")
        assert mllp.exchange(sent(), leaving=nothing).code == "AA"
        mllp.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("stranger", [False, True])
def test_a_receiver_that_asks_for_a_certificate_and_gets_none_stops_the_destination(
    tmp_path, certificates, version, stranger
):
    """With TLS 1.3 it says so only after our message; it has not read it."""
    tls = certificates.server(asks=True)
    tls.maximum_version = version
    (tmp_path / "stranger").mkdir()
    own = Certificates(tmp_path / "stranger").own() if stranger else {}
    with peer(tls=tls) as receiver:
        mllp = over_tls(receiver.port, certificates, **own)
        for call in (mllp.check, lambda: mllp.exchange(sent(), leaving=nothing)):
            with pytest.raises(DestinationError, match=r"TLS failed: .*asks for a certificate"):
                call()
    assert receiver.messages == []


def test_a_receiver_without_tls_stops_the_destination(certificates):
    """Nothing is ever sent in the clear because the other side has no TLS."""

    def plain(wire):
        wire.socket.recv(100)
        wire.send(b"\x0bMSH|^~\\&|\r\x1c\x0d")

    with (
        peer(plain) as receiver,
        pytest.raises(DestinationError, match=r"TLS failed: .*; see whether the receiver speaks"),
    ):
        over_tls(receiver.port, certificates).exchange(sent(), leaving=nothing)


def test_a_handshake_that_breaks_off_is_temporary(certificates):
    """A restart of theirs, a balancer with nobody behind it."""
    with (
        peer(lambda wire: wire.socket.recv(100)) as receiver,
        pytest.raises(TemporaryError, match=r"TLS handshake.*; nothing was sent"),
    ):
        over_tls(receiver.port, certificates).exchange(sent(), leaving=nothing)


def test_a_handshake_that_hangs_is_temporary(certificates):
    """Within the time for the connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(TemporaryError, match="in the TLS handshake; nothing was sent") as raised:
            over_tls(port, certificates, connect_timeout_s=0.5).exchange(sent(), leaving=nothing)
        assert raised.value.retry_after_s == 5


@pytest.mark.parametrize("broken", ["ca_file", "certificate_file", "key_file", "key_password", "no key_password"])
def test_a_file_of_ours_that_cannot_be_used_stops_the_destination_and_is_named(tmp_path, certificates, broken):
    """Expired, renewed, moved, unreadable: a person's to mend. No password is asked for at a terminal, or told."""
    settings = {"ca_file": str(certificates.ca_file), **certificates.own()}
    if "key_password" in broken:
        locked = tmp_path / "locked.key"
        _lock(settings["key_file"], locked, b"right")
        settings |= {"key_file": str(locked)} | ({} if "no" in broken else {"key_password": "wrong-needle"})
    else:
        settings[broken] = str(tmp_path / "missing.pem")
    with pytest.raises(DestinationError, match="key_file" if "password" in broken else broken) as raised:
        client(1, tls=True, **settings).exchange(sent(), leaving=nothing)
    assert "needle" not in str(raised.value)


def test_a_key_with_a_password_and_renewed_files_are_taken_without_a_restart(tmp_path, certificates):
    """Certificates are renewed while the bridge runs."""
    own = certificates.own()
    locked = tmp_path / "locked.key"
    _lock(own["key_file"], locked, b"right")
    settings = {"certificate_file": own["certificate_file"], "key_file": str(locked), "key_password": "right"}
    with peer(tls=certificates.server(asks=True)) as receiver:
        mllp = over_tls(receiver.port, certificates, idle_close_s=0, **settings)
        mllp.exchange(sent("G1"), leaving=nothing)
        (tmp_path / "new").mkdir()
        locked.write_bytes(b"broken")
        with pytest.raises(DestinationError):
            mllp.exchange(sent("G2"), leaving=nothing)
        _lock(own["key_file"], locked, b"right")
        mllp.exchange(sent("G2"), leaving=nothing)


def _lock(key, locked, password):
    """The same key with a password."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    with open(key, "rb") as file:  # noqa: PTH123
        loaded = serialization.load_pem_private_key(file.read(), None)
    kind = serialization.BestAvailableEncryption(password)
    locked.write_bytes(
        loaded.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, kind),
    )


# The check, the settings


def test_the_check_connects_sends_nothing_and_looks_into_the_patients_file(tmp_path):
    """What `glycanbridge check --online` prints."""
    with peer() as receiver, sender(receiver.port, tmp_path, ack_timeout_s=0.1) as plugin:
        found = plugin.check()
        assert "WITHOUT TLS" in plugin.tells()
        (tmp_path / "patients.csv").unlink()
        with pytest.raises(DestinationError, match=r"patients\.csv"):
            plugin.check()
    assert found == (
        f"127.0.0.1:{receiver.port} takes connections (without TLS); nothing was sent; the patients file has 1 patients"
    )
    assert receiver.messages == []


def test_the_check_tells_of_a_receiver_that_wants_none_of_us(tmp_path):
    """One that closes at once has us on no list of its own."""
    with (
        peer(lambda wire: None) as receiver,
        sender(receiver.port, tmp_path) as plugin,
        pytest.raises(TemporaryError, match="takes the connection, and closes it"),
    ):
        plugin.check()


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"tls": False, "ca_file": "ca.pem"}, "tls: false leaves no use for ca_file"),
        ({"certificate_file": "own.pem"}, "certificate_file and key_file go together"),
        ({"port": 0}, "port"),
        ({"verify": False}, "verify"),
        ({"ack_timeout_s": 26}, "make 31 s together; expected less than the destination's timeout_s, 30"),
        ({"ack_timeout_s": 30}, "ack_timeout_s"),
        ({"pause_s": 5}, "make 30 s together"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_start(wrong, expected):
    """No switch turns verification off, and no wait outlasts the attempt."""
    told = {"host": "mllp.clinic.example", "port": 2575} | wrong
    with pytest.raises(ValidationError, match=expected):
        MllpSettings.model_validate(told, context={"timeout_s": 30})


def test_tls_is_on_unless_it_is_turned_off_and_the_defaults_fit_an_attempt():
    """The plain protocol has to be asked for."""
    settings = MllpSettings.model_validate({"host": "mllp.clinic.example", "port": 2575}, context={"timeout_s": 30})
    assert settings.tls is True


def test_mllp_and_drop_ask_for_the_patients_file(tmp_path):
    """Without it no result could ever be sent."""
    with pytest.raises(ValidationError, match="mllp and drop need patients"):
        hl7_settings(tmp_path, patients=None, mllp={"host": "h", "port": 1})


def test_a_patient_who_is_not_in_the_file_waits(tmp_path):
    """And is sent once the file has them; nothing has left before."""
    (tmp_path / "patients.csv").write_text("patient_id,ehr_id,family\npatient_9,9,Else\n", encoding="utf-8")
    with peer() as receiver, sender(receiver.port, tmp_path) as plugin:
        with pytest.raises(NotYetError, match="has no row for this patient; the result waits"):
            deliver(plugin)
        assert receiver.messages == []
        (tmp_path / "patients.csv").write_text(hl7_peers.PATIENTS, encoding="utf-8")
        assert deliver(plugin, attempt=2).endswith(": AA")


@pytest.mark.parametrize("way", ["mllp", "drop"])
def test_a_correction_does_not_go_into_another_chart(tmp_path, way):
    """The patients file has changed since: a person must look at both charts. A first result goes where it says."""
    (tmp_path / "results").mkdir()
    patients = tmp_path / "patients.csv"
    with peer() as receiver, ExitStack() as opened:
        if way == "mllp":
            plugin = opened.enter_context(sender(receiver.port, tmp_path))
        else:
            plugin = Ehr(hl7_settings(tmp_path, drop={"directory": str(tmp_path / "results")}), clock=Clock())
        deliver(plugin)
        patients.write_text(hl7_peers.PATIENTS.replace("0042", "0043"), encoding="utf-8")
        with pytest.raises(PermanentError, match="went to another ehr_id: a person must look at both charts"):
            deliver(plugin, 2, glycanAge="50")
        deliver(plugin, 3, reportId="r2")
        patients.write_text(hl7_peers.PATIENTS.replace("Söhne", "Sohne"), encoding="utf-8")
        deliver(plugin, 2, glycanAge="50")
    assert len(receiver.messages) + len(list((tmp_path / "results").iterdir())) == 3


def test_a_patient_who_never_comes_ends_as_a_dead_letter(tmp_path):
    """After `patient_wait_days`, and not before."""
    clock = Clock()
    (tmp_path / "patients.csv").write_text("patient_id,ehr_id,family\n", encoding="utf-8")
    with peer() as receiver, sender(receiver.port, tmp_path, clock=clock) as plugin:
        clock.now += timedelta(days=14, seconds=-1)
        with pytest.raises(NotYetError):
            deliver(plugin)
        clock.now += timedelta(seconds=1)
        with pytest.raises(PermanentError, match="no row for this patient; it waited for 14 days"):
            deliver(plugin)
    assert receiver.messages == []


def test_neither_fhirs_http_client_nor_its_tokens_are_loaded(tmp_path):
    """A clinic with MLLP starts without them."""
    code = """if True:
        import sys
        from pathlib import Path
        from glycanbridge_ehr import Ehr
        from hl7_peers import hl7_settings

        Ehr(hl7_settings(Path(sys.argv[1]), mllp={"host": "h", "port": 1})).close()
        assert not {"httpx2", "jwt"} & set(sys.modules)
    """
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, tmp_path]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def telling(plugin, number, *, after_s, **data):
    """Hand over a report that the bridge was told of so much later."""
    event, delivery = told(number=number, **data)
    delivery = dataclasses.replace(delivery, received_at=delivery.received_at + timedelta(seconds=after_s))
    return plugin.on_report_ready(event=event, delivery=delivery)


def test_of_two_tellings_of_one_time_the_one_that_came_later_stands(tmp_path):
    """The first one waited for its next attempt meanwhile: it must not undo the second."""
    with peer() as receiver, sender(receiver.port, tmp_path) as plugin:
        telling(plugin, 2, after_s=10, glycanAge="44.1")
        assert telling(plugin, 1, after_s=0).endswith("(it has a later result)")
        assert len(receiver.messages) == 1


def test_what_was_told_again_later_is_not_undone_by_what_was_told_in_between(tmp_path):
    """One value at one o'clock and again at three, another one at two that comes last."""
    with peer() as receiver, sender(receiver.port, tmp_path) as plugin:
        deliver(plugin, 1, createdOn=1693123001000)
        deliver(plugin, 3, createdOn=1693123003000)
        assert deliver(plugin, 2, glycanAge="44.1", createdOn=1693123002000).endswith("(it has a later result)")
        assert len(receiver.messages) == 1


def test_a_result_that_may_be_in_one_chart_does_not_go_into_another(tmp_path):
    """Its acknowledgement was lost, and the file has another `ehr_id` by then: nobody but a person can know."""

    def silent_at_first(wire):
        message = wire.message()
        if len(wire.peer.messages) > 1:
            wire.send(ack(message))

    with peer(silent_at_first) as receiver, sender(receiver.port, tmp_path) as plugin:
        with pytest.raises(TemporaryError):
            deliver(plugin)
        (tmp_path / "patients.csv").write_text(PATIENTS.replace("0042", "0043"), encoding="utf-8")
        with pytest.raises(PermanentError, match="another ehr_id"):
            deliver(plugin, attempt=2)


def test_a_result_stays_in_its_chart_also_where_what_was_sent_is_forgotten(tmp_path):
    """`sent.db` is gone, and the chart still known."""
    with peer() as receiver, sender(receiver.port, tmp_path) as plugin:
        deliver(plugin)
        next(tmp_path.rglob("sent.db")).unlink()
        (tmp_path / "patients.csv").write_text(PATIENTS.replace("0042", "0043"), encoding="utf-8")
        with pytest.raises(PermanentError, match="another ehr_id"):
            deliver(plugin, 2)
