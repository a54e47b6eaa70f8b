"""Hosts: whatever a real plugin does in a real process, its lane has an outcome and goes on."""

from __future__ import annotations

import json
import logging
import os
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import HandClock
from serving import alive, delivery, install_plugin, sample, until

from glycanbridge.delivery import Delivery, Outcome, Result, Scope
from glycanbridge.errors import HostStopped, NotYetError, PermanentError
from glycanbridge.hosts import Made
from glycanbridge.hosts.forks import Forks
from glycanbridge.hosts.messages import HostPlan, made_of, told_of_made
from glycanbridge.hosts.output import LONGEST_LINE, MOST_LINES, WINDOW_S, Lines
from glycanbridge.hosts.process import ProcessHost

DOER = '''
import ctypes, logging, os, re, signal, subprocess, sys, threading
from pathlib import Path

from pydantic import BaseModel, SecretStr

from glycanbridge import LocalPath, PermanentError, TemporaryError, hookimpl


class Settings(BaseModel, extra="forbid"):
    folder: LocalPath
    key: SecretStr = "none"
    deed: str = ""


class Doer:
    """Does what is asked of it: the event's id is the code."""

    Settings = Settings

    def __init__(self, settings):
        self.settings = settings
        self.do(settings.deed)

    def do(self, deed, delivery=None):
        os.chdir(self.settings.folder)
        names = globals() | {"self": self, "delivery": delivery}
        exec(deed, names)
        return names.get("receipt", str(os.getpid()))

    @hookimpl
    def on_report_ready(self, event, delivery):
        return self.do(delivery.event_id, delivery)

    @hookimpl
    def close(self):
        self.do(getattr(self, "closing", ""))
'''
HANG_WITH_THE_GIL = "ctypes.PyDLL(None).sleep(60)"
FOREVER = "threading.Event().wait()"
FILL_TO_THE_BRIM = """
for size in (1_000_000, 10_000, *range(512, 0, -16)):
    try:
        while True: self.kept = (self.kept, bytes(size))
    except MemoryError: pass
raise MemoryError
"""
WAIT_FOR_GO = "Path('there').touch(); open('go').read()"

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


class Hosts:
    """Makes hosts of the plugin `doer` in a folder of their own, and ends them."""

    def __init__(self, folder: Path, forks: Forks) -> None:
        self.folder = folder
        self.forks = forks
        self.made = []
        os.mkfifo(folder / "go")

    def __call__(
        self, name="a", *, timeout_s=60.0, start_s=60.0, memory_mb=None, forks=None, plugin="doer", reports=None,
        tries=1, **settings
    ):  # fmt: skip
        plan = HostPlan(destination=name, plugin=plugin, settings={"folder": ".", **settings}, folder=self.folder,
                        tries=tries, memory_mb=memory_mb, reports=reports is not None)  # fmt: skip
        host = ProcessHost(plan=plan, timeout_s=timeout_s, start_s=start_s, forks=forks or self.forks, reports=reports)
        self.made.append(host)
        return self.made[-1]

    def go(self) -> None:
        """Let the plugin go on that does `WAIT_FOR_GO`."""
        until((self.folder / "there").exists)
        (self.folder / "there").unlink()
        (self.folder / "go").write_text("go")

    def read(self, name: str) -> str:
        """What the plugin has written into a file, once it has."""
        until(lambda: (self.folder / name).exists() and (self.folder / name).read_text())
        return (self.folder / name).read_text()


@pytest.fixture
def hosts(tmp_path, monkeypatch):
    """Makes process hosts with the plugin `doer` installed."""
    install_plugin(tmp_path / "packages", "doer", DOER)
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    forks = Forks()
    hosts = Hosts(tmp_path, forks)
    yield hosts
    for each in hosts.made:
        each.close()
    forks.close()
    told = tmp_path / "pids"
    for pid in told.read_text().split() if told.exists() else ():
        if alive(int(pid)):  # a test has failed
            os.kill(int(pid), signal.SIGKILL)


def deliver(host: ProcessHost, handed: Delivery) -> Outcome:
    """One attempt."""
    ((outcome, _),) = host.deliver([handed])
    return outcome


def do(host: ProcessHost, deed: str = "", *, timeout_s: float | None = None) -> Outcome:
    """One attempt that does `deed`; with `timeout_s`, in a process that is there already, so that only it counts."""
    if timeout_s is not None:
        assert do(host).result is Result.DELIVERED
        host._timeout_s = timeout_s
    outcome = deliver(host, delivery(event_id=deed))
    host._timeout_s = 60.0
    return outcome


def in_thread(call, *arguments) -> tuple[threading.Thread, list[object]]:
    """A call that runs, and the list that its result will be in."""
    results = []
    thread = threading.Thread(target=lambda: results.append(call(*arguments)), daemon=True)
    thread.start()
    return thread, results


def test_a_process_makes_one_attempt_after_another(hosts):
    """Starting costs more than calling: it is long-lived, and it is not the bridge's."""
    host = hosts()

    first, second = do(host), do(host)

    assert first == second == Outcome(result=Result.DELIVERED, receipt=first.receipt)
    assert int(first.receipt) != os.getpid()


def test_the_plugin_gets_the_delivery_as_it_is(hosts):
    """The body to the byte: it is what GlycanAge signed."""
    handed = delivery(sample(note="naïve \u2028 " * 100_000), event_id="receipt = repr((delivery, len(delivery.body)))")

    assert deliver(hosts(), handed).receipt == repr((handed, len(handed.body)))


@pytest.mark.parametrize(
    ("deed", "result", "told"),
    [
        ("raise TemporaryError('busy', retry_after_s='7')", Result.TEMPORARY, "busy"),
        ("raise TemporaryError('for ever', retry_after_s='1e999')", Result.TEMPORARY, "for ever"),
        ("raise PermanentError('no such patient \\udcff')", Result.PERMANENT, "no such patient ?"),
        ("raise ValueError('KIT001234')", Result.TEMPORARY, "ValueError at"),
        ("raise BaseException", Result.TEMPORARY, "BaseException at"),
        ("raise SystemExit(3)", Result.TEMPORARY, "SystemExit at"),
        ("raise KeyboardInterrupt", Result.TEMPORARY, "KeyboardInterrupt at"),
        ("raise GeneratorExit", Result.TEMPORARY, "GeneratorExit at"),
        ("def deeper(): deeper()\ndeeper()", Result.TEMPORARY, "RecursionError at"),
        ("receipt = 17", Result.TEMPORARY, "the hook returned int"),
    ],
)
def test_whatever_a_plugin_raises_is_an_outcome_and_the_process_stays(hosts, deed, result, told):
    """As in an attempt without a host: only its process is another."""
    host = hosts()
    pid = do(host).receipt

    outcome = do(host, deed)

    assert (outcome.result, outcome.error[: len(told)]) == (result, told)
    assert outcome.retry_after_s == {"busy": 7.0, "for ever": float("inf")}.get(told)
    assert "KIT001234" not in outcome.error
    assert do(host).receipt == pid


@pytest.mark.parametrize(
    "deed",
    [
        FOREVER,
        "while True: pass",
        HANG_WITH_THE_GIL,
        "re.match('(a+)+b', 'a' * 60)",
        "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 64)); " + FOREVER,
        "os.kill(os.getpid(), signal.SIGSTOP)",
    ],
)
def test_a_plugin_that_hangs_is_ended_and_the_next_call_is_made_in_a_new_process(hosts, deed):
    """However deep it hangs; whether the far side has the delivery, nobody knows."""
    host = hosts()
    pid = do(host).receipt

    outcome = do(host, deed, timeout_s=0.2)

    assert outcome.result is Result.UNKNOWN
    assert outcome.error == "no answer within 0.2 s: the plugin's process was ended"
    assert not alive(int(pid))
    assert do(host).receipt != pid


@pytest.mark.parametrize(
    ("deed", "how"),
    [
        ("os._exit(0)", "exit code 0"),
        ("os._exit(7)", "exit code 7"),
        ("ctypes.string_at(0)", "SIGSEGV"),
        ("os.abort()", "SIGABRT"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
        ("os.closerange(3, 99)", "SIGKILL"),
    ],
)
def test_a_plugin_that_kills_its_process_has_an_outcome_that_says_how(hosts, deed, how):
    """And the next call is made in a new one. (One that has closed the bridge's socket is killed for it.)"""
    host = hosts()

    outcome = do(host, deed + "\n" + FOREVER)

    assert (outcome.result, outcome.error) == (Result.UNKNOWN, f"the plugin's process died: {how}")
    assert do(host).result is Result.DELIVERED


def batch(*deeds: str) -> list[Delivery]:
    """Deliveries that do these."""
    return [delivery(event_id=deed) for deed in deeds]


@pytest.mark.parametrize(
    ("deed", "result"),
    [
        ("os._exit(7)", Result.UNKNOWN),
        (FOREVER, Result.UNKNOWN),
        ("raise TemporaryError('away')", Result.TEMPORARY),
    ],
)
def test_a_failure_ends_a_batch_and_what_is_behind_it_was_never_begun(hosts, deed, result):
    """It was in the process's hands already; only the one that it was at is in doubt."""
    host = hosts(timeout_s=1.0)
    host.start()

    made = host.deliver(batch("", "", deed, "open('begun', 'w')", ""))

    assert [each.outcome.result for each in made] == [Result.DELIVERED, Result.DELIVERED, result]
    assert [each.outcome.result for each in host.deliver(batch("", ""))] == [Result.DELIVERED] * 2
    assert not (hosts.folder / "begun").exists()


def test_a_batch_that_takes_too_long_ends_before_its_last(hosts):
    """Its outcomes would not be on the disk for as long, and other lanes would wait for the rest."""
    host = hosts()
    host.start()

    made = host.deliver(batch("", "threading.Event().wait(0.11)", "", ""))

    assert [each.outcome.result for each in made] == [Result.DELIVERED] * 2
    assert 0 < made[0].took_s < made[1].took_s < 60


def test_a_batch_of_large_bodies_is_handed_over_bit_by_bit(hosts):
    """What does not fit into the socket would make the bridge wait in the middle of an attempt."""
    large = sample(note="x" * 300_000)
    handed = [delivery(large, event_id=f"receipt = '{number}'") for number in range(5)]

    assert [each.outcome.receipt for each in hosts().deliver(handed)] == ["0", "1", "2", "3", "4"]


def test_a_batch_that_takes_too_long_bit_by_bit_makes_no_attempt_that_nobody_hears_of(hosts):
    """The process goes on with what it has in hand; an answer left behind would be taken for the next delivery's."""
    host, large = hosts(), sample(note="x" * 20_000)
    host.start()
    deed = "print('x', file=open('made', 'a')); threading.Event().wait(0.03)"

    made = host.deliver([delivery(large, event_id=deed) for _ in range(9)])

    assert len(made) < 9
    assert deliver(host, delivery(event_id="receipt = 'next'")).receipt == "next"
    assert len(hosts.read("made").split()) == len(made)


@linux
@pytest.mark.parametrize(
    "deed", ["while True: self.kept = (self.kept, bytes(1_000_000))", FILL_TO_THE_BRIM, "bytearray(10**12)"]
)
def test_a_plugin_that_wants_too_much_memory_is_told_so_and_its_process_replaced(hosts, deed):
    """The machine's other programs go on; what it has kept is given back."""
    host = hosts(memory_mb=32)
    pid = do(host).receipt

    outcome = do(host, "self.kept = None\n" + deed)

    assert outcome.result is Result.TEMPORARY
    assert outcome.error == "MemoryError: the plugin needs more memory than it may have"
    assert do(host).receipt != pid


@linux
def test_without_a_limit_none_is_set(hosts):
    """A machine's own limits are its operator's business; with one, address space that is only reserved is free."""
    limits = "import resource as r; receipt = str([r.getrlimit(each) for each in (r.RLIMIT_DATA, r.RLIMIT_AS)])"
    reserve = "import mmap; mmap.mmap(-1, 10**9, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ)"

    names = {}
    exec(limits, names)
    assert do(hosts(), limits).receipt == names["receipt"]
    assert do(hosts(memory_mb=32), reserve).result is Result.DELIVERED


APART = """
apart = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], stdin=subprocess.PIPE)
Path("pids").write_text(f"{os.getpid()} {apart.pid}")
"""
FORKED = """
forked = os.fork()
if not forked: threading.Event().wait()
Path("pids").write_text(f"{os.getpid()} {forked}")
"""


@linux
@pytest.mark.parametrize("started", [APART, FORKED], ids=["apart", "forked"])
@pytest.mark.parametrize(
    ("deed", "told"),
    [
        (HANG_WITH_THE_GIL, "no answer within 1 s: the plugin's process was ended"),
        ("os._exit(7)", "the plugin's process died: exit code 7"),
    ],
)
def test_what_a_plugin_has_started_goes_with_it(hosts, started, deed, told):
    """Also if it hangs or dies, and though they hold its socket open: nothing is left to pile up, or to send twice."""
    outcome = do(hosts(), started + deed, timeout_s=1.0)

    assert (outcome.result, outcome.error) == (Result.UNKNOWN, told)
    pids = [int(each) for each in hosts.read("pids").split()]
    until(lambda: not any(alive(pid) for pid in pids))


def test_what_a_plugin_prints_is_log_lines_of_the_bridge(hosts, caplog, capfd):
    """By whatever way; nothing reaches the bridge's stdout, where one line stands that others wait for."""
    host = hosts("results")
    do(
        host,
        "print('from print')\nos.write(1, b'bytes \\xff\\n')\nos.system('echo from a shell')\n"
        "logging.getLogger('x').warning('a record')\nlogging.getLogger('x').info('not this')\n"
        "print('y' * 5000, file=sys.stderr)\nsys.stdout.write('without an end')",
    )
    host.close()
    until(lambda: "without an end" in caplog.text)

    records = [each for each in caplog.records if each.name == "glycanbridge.plugin"]
    assert {each.destination for each in records} == {"results"}
    assert [each.getMessage() for each in records] == [
        "from print", "bytes \ufffd", "from a shell", "WARNING x: a record", "y" * LONGEST_LINE, "without an end",
    ]  # fmt: skip
    assert capfd.readouterr() == ("", "")


def test_a_plugin_that_prints_without_end_does_not_fill_the_log(hosts, caplog):
    """Nor the memory, when it never ends its line."""
    host = hosts()
    do(host)
    tracemalloc.start()

    do(host, "for n in range(5000): print(n)\nfor _ in range(100): os.write(1, b'x' * 100_000)")
    host.close()
    until(lambda: "were dropped" in caplog.text)
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most_bytes < 5_000_000
    assert len(caplog.records) == MOST_LINES + 1
    assert caplog.records[-1].getMessage() == "4901 lines of the plugin were dropped: it prints too many"


def test_dropped_lines_are_told_when_their_time_is_over(caplog):
    """And then as many are logged as before."""
    clock = HandClock()
    lines = Lines("a", clock=lambda: clock.ms / 1000)
    for _ in range(MOST_LINES + 3):
        lines.add(b"early")
    assert (len(caplog.records), lines.left_s()) == (MOST_LINES, WINDOW_S)

    clock.turn(WINDOW_S)
    lines.add(b"late")

    told = [each.getMessage() for each in caplog.records[MOST_LINES:]]
    assert told == ["3 lines of the plugin were dropped: it prints too many", "late"]
    assert lines.left_s() is None


def test_a_plugin_that_spoils_its_surroundings_harms_only_itself(hosts, tmp_path):
    """They are its process's own: the bridge, and the plugin of another destination, have theirs."""
    before = (Path.cwd(), os.environ.get("PATH"), signal.getsignal(signal.SIGTERM), logging.getLogger().level)
    host, other = hosts("a"), hosts("b")
    spoil = (
        "os.chdir('/'); os.environ.clear(); os.umask(0o777); signal.signal(signal.SIGTERM, signal.SIG_DFL);"
        "logging.disable(); logging.getLogger().handlers.clear(); sys.stdout = sys.stderr = None; os.closerange(0, 3)"
    )

    assert do(host, spoil).result is Result.DELIVERED
    assert do(host, "raise TemporaryError('busy')").error == "busy"
    assert do(other, "print('well'); receipt = os.environ['PATH']").receipt == os.environ["PATH"]
    assert before == (Path.cwd(), os.environ.get("PATH"), signal.getsignal(signal.SIGTERM), logging.getLogger().level)


def test_the_number_of_a_process_that_has_ended_is_never_signalled_again(hosts, monkeypatch):
    """The system may have given it to somebody else's by then."""
    host = hosts()
    do(host)
    child = host._child
    do(host, "os._exit(7)")
    signalled = []
    monkeypatch.setattr("os.killpg", lambda *each: signalled.append(each))

    child.kill()

    assert signalled == []


SEND = """
def is_socket(number):
    return os.path.exists(f"/proc/self/fd/{number}") and "socket" in os.readlink(f"/proc/self/fd/{number}")
talk = next(filter(is_socket, range(3, 99)))
"""


def framed(text: bytes, body: bytes = b"") -> bytes:
    """Bytes as a message of a host's process."""
    return struct.pack(">II", len(text), len(body)) + text + body


@linux
@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", "too long"),
        (framed(b"x" * 70_000), "too long"),
        (framed(b"{", b""), "Expecting property name"),
        (framed(b"\xff\xfe"), "codec can't decode"),
        (framed(b"[" * 60_000), "too deep"),
        (framed(b"[]"), "not an object"),
        (framed(b"{}"), "no result"),
        (framed(b'{"result": "held"}'), "no result"),
        (framed(b'{"result": ["delivered"]}'), "no result"),
        (framed(b'{"result": "delivered", "receipt": 17}'), "no text"),
        (framed(b'{"result": "temporary", "error": "%s"}' % (b"x" * 4097)), "no text"),
        (framed(b'{"result": "temporary", "retry_after_s": NaN}'), "no time to wait"),
        (framed(b'{"result": "temporary", "retry_after_s": true}'), "no time to wait"),
        (framed(b'{"result": "delivered", "took_s": -1}'), "no time that it took"),
        (framed(b'{"result": "delivered", "took_s": Infinity}'), "no time that it took"),
    ],
)
def test_a_process_that_talks_nonsense_is_ended_for_it(hosts, sent, why):
    """It is not trusted: what it sends is an outcome, or a reason to end it, and never code."""
    host = hosts()
    pid = do(host).receipt

    outcome = do(host, f"{SEND}\nos.write(talk, {sent!r})\n{FOREVER}")

    assert outcome.result is Result.UNKNOWN
    assert outcome.error.startswith("the plugin's process sent what is no answer (")
    assert why in outcome.error
    assert (alive(int(pid)), do(host).result) == (False, Result.DELIVERED)


@linux
def test_half_an_answer_is_waited_for_no_longer_than_a_whole_one(hosts):
    """Each byte of it could be the last before a hang."""
    half = framed(b'{"result": "delivered"}')[:-3]

    outcome = do(hosts(), f"{SEND}\nos.write(talk, {half!r})\n{FOREVER}", timeout_s=0.2)

    assert outcome.error == "no answer within 0.2 s: the plugin's process was ended"


def test_an_outcome_from_elsewhere_is_text_that_every_journal_can_keep():
    """Lone surrogates come through JSON."""
    assert made_of(json.loads('{"result": "delivered", "receipt": "\\udcff"}')).outcome.receipt == "?"


@pytest.mark.parametrize("scope", [None, *Scope])
def test_what_a_failure_is_about_comes_over_whole(scope):
    """A wrong password is told in the plugin's process, and acted upon in the bridge's."""
    made = Made(Outcome(result=Result.TEMPORARY, error="no", retry_after_s=7.0, scope=scope), 0.5)

    assert made_of(told_of_made(made)) == made


@pytest.mark.parametrize("scope", ["all", 7, []])
def test_what_a_failure_cannot_be_about_is_no_answer(scope):
    """The process is somebody else's code."""
    with pytest.raises(ValueError, match="Scope"):
        made_of({"result": "temporary", "scope": scope})


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"plugin": "gone"}, "no plugin 'gone' is installed"),
        ({"colour": "geheim"}, "the plugin cannot be made: ValidationError at"),
        ({"deed": "raise SystemExit('geheim')"}, "the plugin cannot be made: SystemExit at"),
        ({"deed": "os._exit(7)"}, "the plugin's process died: exit code 7"),
        ({"deed": "ctypes.string_at(0)"}, "the plugin's process died: SIGSEGV"),
    ],
)
def test_a_plugin_that_cannot_be_made_is_tried_again_with_the_next_attempt(hosts, how, told):
    """Nothing was handed to it, so the outcome is plainly temporary; no value of its settings is told."""
    host = hosts(**how)

    for _ in range(2):
        outcome = do(host)
        assert (outcome.result, outcome.error[: len(told)]) == (Result.TEMPORARY, told)
        assert "geheim" not in outcome.error


def test_a_plugin_that_hangs_while_it_is_made_is_ended(hosts):
    """It has its own time for that, so that a short time limit is no trap; nothing was handed to it."""
    outcome = deliver(hosts(start_s=0.5, deed=FOREVER), delivery())

    assert outcome == Outcome(result=Result.TEMPORARY, error="not ready within 0.5 s: the plugin's process was ended")


def test_a_plugin_that_does_not_start_is_told_before_the_first_delivery(hosts):
    """So that nothing is claimed for it; one that does is ready when it comes."""
    bad, good = hosts(deed="raise KeyError('geheim')"), hosts()

    assert bad.start().startswith("the plugin cannot be made: KeyError at")
    assert "geheim" not in bad.start()
    assert good.start() is None
    assert good._child is not None


def test_a_process_that_died_between_two_attempts_costs_none(hosts, caplog):
    """A thread of the plugin may have ended it: the next call has a new one."""
    host = hosts()
    pid = do(host, "threading.Thread(target=lambda: (open('go').read(), os._exit(7))).start()").receipt
    (hosts.folder / "go").write_text("go")
    until(lambda: not alive(int(pid)))

    assert do(host).result is Result.DELIVERED
    assert "died between two attempts: exit code 7" in caplog.text


def test_a_plugin_is_closed_before_its_process_ends(hosts):
    """It may hold a connection that wants to be said goodbye to; afterwards nothing is started any more."""
    host = hosts()
    pid = do(host, 'self.closing = \'Path("closed").write_text("yes")\'\nreceipt = str(os.getpid())').receipt

    host.close()

    assert (hosts.read("closed"), alive(int(pid))) == ("yes", False)
    assert do(host) == Outcome(result=Result.TEMPORARY, error="the bridge is stopping")
    assert host.trouble() is None


def test_a_plugin_that_does_not_close_is_ended(hosts, monkeypatch, caplog):
    """The bridge must stop all the same."""
    monkeypatch.setattr("glycanbridge.hosts.process.CLOSE_S", 0.1)
    host = hosts()
    pid = do(host, f"self.closing = '{HANG_WITH_THE_GIL}'; receipt = str(os.getpid())").receipt

    host.close()

    assert not alive(int(pid))
    assert "the plugin does not close" in caplog.text


def test_a_host_can_be_closed_in_the_middle_of_an_attempt(hosts, monkeypatch):
    """From another thread: the attempt has its outcome, and the lane can end."""
    monkeypatch.setattr("glycanbridge.hosts.process.CLOSE_S", 0.1)
    host = hosts()
    lane, results = in_thread(do, host, "Path('there').touch(); " + HANG_WITH_THE_GIL)
    until((hosts.folder / "there").exists)

    host.close()
    lane.join(20)

    assert [(each.result, each.error) for each in results] == [(Result.UNKNOWN, "the plugin's process died: SIGKILL")]


def test_hosts_start_at_once_and_none_waits_for_another(hosts):
    """A lane's plugin may hang, start or die: its neighbours do not notice."""
    hanging = hosts("hanging")
    lane, late = in_thread(do, hanging, WAIT_FOR_GO)
    until((hosts.folder / "there").exists)

    many = [in_thread(do, hosts(f"a{number}")) for number in range(6)]
    for thread, _ in many:
        thread.join(60)

    assert [each.result for _, results in many for each in results] == [Result.DELIVERED] * 6
    assert late == []
    hosts.go()
    lane.join(20)
    assert [each.result for each in late] == [Result.DELIVERED]


def parent_of(pid: str) -> int:
    """The process that has started a host's: the fork server."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@linux
def test_a_fork_server_that_dies_while_it_starts_a_process_is_replaced(hosts):
    """It has no handler for SIGTERM, and gets it when the whole service is stopped: no attempt fails for it."""
    server = parent_of(do(hosts("a")).receipt)
    os.kill(server, signal.SIGSTOP)
    lane, results = in_thread(do, hosts("b"))
    until(lambda: sys._current_frames()[lane.ident].f_code.co_name == "read_signed")  # it has asked for a process

    os.kill(server, signal.SIGKILL)
    lane.join(20)

    assert [each.result for each in results] == [Result.DELIVERED]


@linux
def test_a_signal_to_every_process_leaves_a_running_attempt_alone(hosts):
    """Systemd and Ctrl-C signal all of them: the attempt comes to its end, and the bridge ends the host itself."""
    host = hosts()
    pid = int(do(host).receipt)
    lane, results = in_thread(do, host, WAIT_FOR_GO)
    until((hosts.folder / "there").exists)
    server = parent_of(str(pid))

    os.kill(server, signal.SIGTERM)  # the fork server; it is this process's own
    until(lambda: not alive(server))
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(pid, number)
    hosts.go()
    lane.join(20)

    assert [(each.result, int(each.receipt)) for each in results] == [(Result.DELIVERED, pid)]
    assert do(host, "os._exit(7)").result is Result.UNKNOWN
    assert do(host).result is Result.DELIVERED


BRIDGE = """
import sys, threading
from pathlib import Path
sys.path[:0] = [{tests!r}, {packages!r}]
from serving import alive, delivery, until
from glycanbridge.errors import HostStopped, NotYetError, PermanentError
from glycanbridge.hosts.forks import Forks
from glycanbridge.hosts.messages import HostPlan
from glycanbridge.hosts.process import ProcessHost

with open("main", "a") as file:
    file.write("run\\n")
plan = HostPlan(destination="a", plugin="doer", settings={{"folder": ".", "key": "geheim"}}, folder=Path(), tries=1)
host = ProcessHost(plan=plan, timeout_s=60, forks=Forks())
lane = threading.Thread(target=host.deliver, args=([delivery(event_id={deed!r})],), daemon=True)
lane.start()
print("listening", flush=True)
until(Path(sys.argv[1]).exists)
"""


@pytest.fixture
def bridge(hosts):
    """Runs a program with one host that does a deed, and ends when a file is there; killed in the end."""
    started = []
    own = tempfile.TemporaryDirectory(prefix="bridge-")  # a killed one leaves its socket there; its path must be short

    def run(deed: str, ends_with: str) -> subprocess.Popen:
        tests, packages = str(Path(__file__).parent), str(hosts.folder / "packages")
        main = hosts.folder / "main.py"
        main.write_text(BRIDGE.format(tests=tests, packages=packages, deed=deed))
        started.append(
            subprocess.Popen(
                [sys.executable, main, ends_with],
                env=os.environ | {"TMPDIR": own.name},
                cwd=hosts.folder,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield run
    for each in started:
        with suppress(ProcessLookupError):
            each.kill()
        each.wait(20)
        each.stdout.close()
    own.cleanup()


@linux
@pytest.mark.parametrize("started", [APART, FORKED], ids=["apart", "forked"])
def test_when_the_bridge_is_killed_its_hosts_are_gone(hosts, bridge, started):
    """With all that they have started, also one that holds the GIL: the next bridge must find nobody at its work."""
    deaf = "signal.signal(signal.SIGIO, signal.SIG_IGN)\n"
    process = bridge(deaf + started + HANG_WITH_THE_GIL, "never")
    pids = [int(each) for each in hosts.read("pids").split()]
    assert all(alive(pid) for pid in pids)

    process.kill()

    until(lambda: not any(alive(pid) for pid in pids))


@linux
@pytest.mark.parametrize("when", ["main", "pids"])
def test_a_bridge_that_ends_waits_for_no_host(hosts, bridge, when):
    """At exit multiprocessing would wait for each: for one that hangs, and for one that is being started."""
    process = bridge(APART + FOREVER, when)

    assert process.wait(20) == 0
    pids = [int(each) for each in hosts.read("pids").split()] if when == "pids" else []
    until(lambda: not any(alive(pid) for pid in pids))


@linux
def test_the_main_module_is_run_once_and_no_secret_can_be_seen_from_outside(hosts, bridge):
    """A host's process runs the plugin and nothing else; its arguments and environment are anybody's to read."""
    process = bridge(APART + "print('printed', flush=True)\n" + FOREVER, "never")
    pid = hosts.read("pids").split()[0]
    seen = [Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ")]
    process.kill()

    assert process.communicate()[0] == "listening\n"
    assert (hosts.folder / "main").read_text() == "run\n"
    assert not [each for each in seen if b"geheim" in each]
    assert "geheim" not in repr(hosts(key="geheim")._plan)


def test_where_there_is_no_fork_server_a_process_is_started_plainly(hosts):
    """As on Windows: it takes longer, and does the same."""
    forks = Forks("spawn")
    host = hosts(forks=forks)

    assert do(host).result is Result.DELIVERED
    assert do(host, FOREVER, timeout_s=0.2).result is Result.UNKNOWN
    assert do(host, "os._exit(7)").error == "the plugin's process died: exit code 7"
    forks.close()
    assert do(host).error.startswith("the plugin's process cannot be started: the bridge is stopping")


@linux
def test_an_ended_process_leaves_nothing_open_in_the_bridge(hosts):
    """A plugin that crashes each time would use up the bridge's files, or its threads."""
    host = hosts()
    do(host, "os._exit(7)")

    def held() -> tuple[int, int]:
        return len([*Path("/proc/self/fd").iterdir()]), threading.active_count()

    until(lambda: "host-output" not in {each.name for each in threading.enumerate()})
    before = held()
    for _ in range(3):
        do(host, "os._exit(7)")

    until(lambda: held() == before)


ELSEWHERE = """
import os, sys, threading, types
from multiprocessing.connection import Connection
from glycanbridge.hosts import inside

inside.sys = types.SimpleNamespace(platform="darwin")
os.setsid()
inside._die_with_the_bridge(Connection(int(sys.argv[1]), writable=False))
print("ready", flush=True)
threading.Event().wait()
"""


def test_where_the_kernel_does_not_see_to_it_a_thread_does(tmp_path):
    """A host dies with the bridge also on other systems than Linux, unless its plugin holds the GIL."""
    life, end = os.pipe()
    command = [sys.executable, "-c", ELSEWHERE, str(life)]
    with subprocess.Popen(command, pass_fds=[life], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"ready\n"
            os.close(end)
            assert process.wait(20) == -signal.SIGKILL
        finally:
            process.kill()
            os.close(life)


WINDOWS = """
import sys
import glycanbridge.server, multiprocessing.connection, multiprocessing.popen_spawn_posix

sys.modules["fcntl"] = sys.modules["resource"] = None
sys.platform = "win32"
import glycanbridge.hosts.process, glycanbridge.hosts.thread
print(glycanbridge.hosts.forks.Forks("spawn"))
"""


def test_it_can_be_imported_where_neither_fcntl_nor_resource_is(tmp_path):
    """On Windows a plugin has a process of its own all the same, with less around it."""
    done = subprocess.run([sys.executable, "-c", WINDOWS], capture_output=True, text=True, timeout=60, check=False)

    assert done.stdout.startswith("<glycanbridge.hosts.forks.Forks"), done.stderr


def test_what_becomes_of_an_attempt_that_the_bridge_itself_has_ended_is_no_outcome(hosts):
    """It stops: else the last attempt of a delivery would make a dead letter of what is only cut off."""
    host, raised = hosts(), []

    def attempt():
        with pytest.raises(HostStopped):
            deliver(host, delivery(event_id=WAIT_FOR_GO))
        raised.append(True)

    thread = threading.Thread(target=attempt)
    thread.start()
    until((hosts.folder / "there").exists)
    hosts.forks.close()
    thread.join(20)

    assert raised == [True]


ASK = "receipt = str(len(delivery.report()))"


def test_a_plugin_asks_the_bridge_for_the_report_and_has_no_credentials(hosts):
    """A large file, in the midst of a batch; each delivery has its own."""
    asked = []

    def report_of(handed: Delivery) -> bytes:
        asked.append(handed.id)
        return b"%PDF-" + bytes(3_000_000 + len(asked))

    host = hosts(reports=report_of)
    left, made = batch(ASK, "receipt = 'none'", f"delivery.report(); {ASK}"), []
    while left:  # a slow machine ends a batch early
        made += host.deliver(left)
        left = left[len(made) :]

    assert [each.outcome.receipt for each in made] == ["3000006", "none", "3000007"]
    assert len(asked) == 2


@pytest.mark.parametrize(
    "deed",
    [
        "import dataclasses\nreceipt = dataclasses.asdict(delivery)['event_type']",
        "import copy\nreceipt = copy.deepcopy(delivery).event_type + str(len(copy.copy(delivery).report()))",
        "import pickle\nreceipt = pickle.loads(pickle.dumps(delivery)).event_type",
    ],
)
def test_a_delivery_can_be_copied_as_ever(hosts, deed):
    """A plugin of the first contract may hand it to a pool of its own, and knows of no reports."""
    assert do(hosts(reports=lambda _: b"%PDF-"), deed).receipt.startswith("report-ready")


@pytest.mark.parametrize(
    ("error", "result", "scope"),
    [
        (NotYetError("answered 404", retry_after_s=45), Result.TEMPORARY, Scope.DELIVERY),
        (PermanentError("no PDF"), Result.PERMANENT, None),
    ],
)
def test_a_report_that_is_missing_is_the_plugins_to_decide_about(hosts, error, result, scope):
    """Let it pass on, and the delivery waits or ends; catch it, and the numbers go without."""

    def report_of(_: Delivery) -> bytes:
        raise error

    host = hosts(reports=report_of)
    passed_on = do(host, ASK)
    catches = "\ntry: delivery.report()\nexcept (NotYetError, PermanentError) as error: receipt = f'without: {error}'"
    caught = do(host, "from glycanbridge import NotYetError, PermanentError" + catches)

    assert passed_on == Outcome(
        result=result, error=str(error), scope=scope, retry_after_s=getattr(error, "retry_after_s", None)
    )
    assert caught.receipt == f"without: {error}"


def test_a_fault_of_the_bridges_own_is_waited_for_and_tells_nothing(hosts, caplog):
    """A text that nobody has chosen may hold anything."""

    def report_of(_: Delivery) -> bytes:
        raise ValueError("patient_123")

    outcome = do(hosts(reports=report_of), ASK)

    assert (outcome.result, outcome.scope) == (Result.TEMPORARY, Scope.DELIVERY)
    assert "patient_123" not in f"{outcome.error}{caplog.text}"


def test_to_fetch_a_report_takes_none_of_the_attempts_time(hosts):
    """GlycanAge's slowness is not the plugin's fault."""
    host = hosts(reports=lambda _: b"%PDF-" if threading.Event().wait(1.2) is False else b"", timeout_s=1)
    assert host.start() is None

    assert do(host, ASK).receipt == "5"


def test_who_is_refused_a_report_asks_the_bridge_once_in_an_attempt(hosts):
    """Each quick try of a plugin that goes without it asks again, and more questions than a few end its process."""
    asked = []

    def report_of(handed: Delivery) -> bytes:
        asked.append(handed.id)
        raise NotYetError("not yet")

    without = "from glycanbridge import NotYetError\ntry: delivery.report()\nexcept NotYetError: pass\n"
    outcome = do(hosts(reports=report_of, tries=6), f"{without}raise TemporaryError('the mail server is away')")

    assert outcome == Outcome(result=Result.TEMPORARY, error="the mail server is away")
    assert len(asked) == 1


@linux
def test_a_plugins_process_that_asks_without_end_is_ended(hosts):
    """It must not keep its lane for ever."""
    question = framed(b'{"report": 1}')
    outcome = do(hosts(reports=lambda _: b"%PDF-"), f"{SEND}\nos.write(talk, {question!r} * 9)\n{FOREVER}")

    assert outcome.result is Result.UNKNOWN
    assert "no answer (no result)" in outcome.error


@pytest.mark.parametrize("comes", [1, 0], ids=["a file", "none"])
def test_a_question_that_a_plugins_own_alarm_ends_leaves_no_answer_to_the_next_delivery(hosts, comes):
    """It would be another patient's report."""
    asked, go_on = [], hosts.folder / "alarmed"

    def report_of(handed: Delivery) -> bytes:
        asked.append(handed.id)
        if len(asked) == 1:
            until(go_on.exists)
            if not comes:
                raise NotYetError("not yet")
        return b"%PDF-" + bytes(len(asked))

    alarm = f"""
def late(*_): raise TimeoutError
signal.signal(signal.SIGALRM, late)
signal.setitimer(signal.ITIMER_REAL, 0.02)
try: delivery.report()
except TimeoutError: receipt = 'without'
signal.setitimer(signal.ITIMER_REAL, 0)
Path({str(go_on)!r}).touch()
"""
    host, left, made = hosts(reports=report_of), batch(alarm, ASK), []
    while left:  # a slow machine ends a batch early
        made += host.deliver(left)
        left = left[len(made) :]

    assert [each.outcome.receipt for each in made] == ["without", "7"]
    assert len(asked) == 2


def test_a_large_report_comes_through_in_little_time(hosts):
    """The largest that the settings allow took longer than an attempt may: it is put together piece by piece."""
    report = b"%PDF-" + bytes(104_857_595)

    assert do(hosts(reports=lambda _: report, timeout_s=15), ASK).receipt == "104857600"


def test_a_thread_that_outlives_its_attempt_gets_no_report(hosts):
    """What it said would be taken for the next attempt's outcome."""
    host = hosts(reports=lambda _: b"%PDF-")
    late = """
def later():
    go.wait()
    try: delivery.report()
    except Exception as error: Path('told').write_text(str(error))
go = threading.Event()
thread = threading.Thread(target=later)
thread.start()
self.late = lambda: (go.set(), thread.join())
"""
    do(host, late)
    assert do(host, "self.late(); receipt = 'well'").receipt == "well"

    assert hosts.read("told") == "the report was asked for when the attempt had ended"


def test_where_nobody_can_be_asked_there_is_no_report(hosts):
    """Nobody is asked."""
    outcome = do(hosts(), ASK)

    assert outcome.result is Result.PERMANENT
    assert "while the bridge serves" in outcome.error
