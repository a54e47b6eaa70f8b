"""Plugins that do what no plugin should, in a real server: each costs its own attempt, and nobody else anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from serving import install_plugin, sample, served, until

WILD = '''
import ctypes, os, subprocess, sys, threading, time

from pydantic import BaseModel

from glycanbridge import LocalPath, hookimpl


class Wild:
    """Does what its settings say, as Python code; then, if it still can, says that it has taken the event."""

    class Settings(BaseModel):
        deed: str = ""
        file: LocalPath = "taken.txt"

    def __init__(self, settings):
        self.settings = settings

    @hookimpl
    def on_report_ready(self, event, delivery):
        exec(self.settings.deed, globals() | {"delivery": delivery, "file": self.settings.file})
        with open(self.settings.file, "a", encoding="utf-8") as file:
            file.write(f"{delivery.id} {delivery.attempt}\\n")
        return "taken"
'''
ONE_ATTEMPT = {"retry": {"tries": 1, "schedule_s": []}}
HANG_WITH_THE_GIL = "ctypes.PyDLL(None).sleep(60)"
DEEDS = {
    "error": ("raise ValueError('KIT001234')", "ValueError at"),
    "base": ("raise BaseException('KIT001234')", "BaseException at"),
    "exit": ("sys.exit(3)", "SystemExit at"),
    "interrupt": ("raise KeyboardInterrupt", "KeyboardInterrupt at"),
    "sleep": ("time.sleep(60)", "no answer within 1 s: the plugin's process was ended"),
    "busy": ("while True: pass", "no answer within 1 s: the plugin's process was ended"),
    "gil": (HANG_WITH_THE_GIL, "no answer within 1 s: the plugin's process was ended"),
    "memory": ("[bytearray(10**7) for _ in range(10**6)]", "MemoryError"),
    "die": ("os._exit(0)", "the plugin's process died: exit code 0"),
    "segfault": ("ctypes.string_at(0)", "the plugin's process died: SIGSEGV"),
    "signal": ("os.kill(os.getpid(), 9)", "the plugin's process died: SIGKILL"),
    "stdout": ("os.write(1, b'x' * 10**6)", None),
}
"""What each does, and what is said of its attempt; `None`: it is delivered all the same."""


WAIT_FOR_GO = "while not os.path.exists(f'{file}.go'): threading.Event().wait(0.01)"


def wild(deed: str, **more) -> dict[str, object]:
    """A destination whose plugin does `deed`."""
    return {"plugin": "wild", "settings": {"deed": deed}, **more}


@pytest.fixture
def bridge(serving):
    """A bridge's folder with the plugin installed."""
    install_plugin(serving.packages, "wild", WILD)
    return serving


def taken(bridge, name: str) -> list[str]:
    """What one destination has taken."""
    file = bridge.folder / "taken.txt"
    lines = file.read_text().splitlines() if file.exists() else []
    return [line for line in lines if line.split()[0].endswith(f":{name}")]


def test_whatever_a_plugin_does_costs_its_own_attempt_and_nobody_else_anything(bridge):
    """Twelve destinations misbehave at once, each in its own way; the thirteenth gets its results."""
    destinations = {
        name: wild(deed, memory_mb=64, timeout_s=1 if "no answer" in (told or "") else 30, **ONE_ATTEMPT)
        for name, (deed, told) in DEEDS.items()
    }
    bridge.configure(destinations | {"good": wild("", timeout_s=30)})
    with served(bridge):
        for number in range(2):
            assert bridge.post(sample(timestamp=number)).status == 200
        until(lambda: len(taken(bridge, "good")) == 2, timeout_s=60)
        until(
            lambda: {row["state"] for row in bridge.rows("deliveries", "list")} == {"delivered", "dead"}, timeout_s=60
        )
        assert bridge.post(sample(timestamp=9)).status == 200
        until(lambda: len(taken(bridge, "good")) == 3)

        rows = bridge.rows("deliveries", "list", "--until", "2100-01-01", "--limit", "100")
        told = {row["destination"]: str(row["last_error"] or "") for row in rows if row["state"] == "dead"}
        assert told.keys() == {name for name, (_, error) in DEEDS.items() if error is not None}
        assert {name: error[: len(DEEDS[name][1])] for name, error in told.items()} == {
            name: error for name, (_, error) in DEEDS.items() if error is not None
        }
        outcomes = {
            name: bridge.rows("deliveries", "show", f"{rows[-1]['event_id']}:{name}")[0]["attempts"] for name in told
        }
        unknown = {name for name, attempts in outcomes.items() if attempts[0]["outcome"] == "unknown"}
        assert unknown == {"sleep", "busy", "gil", "die", "segfault", "signal"}
    log = bridge.log.read_text()
    assert "KIT001234" not in log
    assert "lane failed" not in log


def test_nothing_of_a_plugin_is_left_when_the_bridge_is_killed(bridge):
    """Neither its process, which hangs with the GIL held, nor what it has started."""
    deed = "open('pids', 'w').write(f'{os.getpid()} {subprocess.Popen([\"sleep\", \"60\"]).pid}'); " + HANG_WITH_THE_GIL
    bridge.configure({"a": wild(deed, timeout_s=60)})
    bridge.start()
    bridge.post(sample())
    pids = bridge.folder / "pids"
    until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    bridge.stop(kill=True)

    until(lambda: not any(runs(int(pid)) for pid in pids.read_text().split()))


def runs(pid: int) -> bool:
    """Whether a process runs: one that only waits to be looked at by its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_signal_to_everybody_lets_the_running_attempt_end(bridge):
    """As systemd and Ctrl-C send it: to the bridge, the fork server and the plugin's process alike."""
    bridge.configure({"a": wild(f"open(file + '.began', 'w')\n{WAIT_FOR_GO}", timeout_s=30)})
    bridge.start()
    bridge.post(sample())
    until((bridge.folder / "taken.txt.began").exists)
    for pid in children(bridge.process.pid):
        os.kill(pid, 15)
    bridge.process.terminate()
    until(lambda: refuses(bridge))
    (bridge.folder / "taken.txt.go").touch()

    assert bridge.process.wait(30) == 0
    bridge.process.stdout.close()
    assert len(taken(bridge, "a")) == 1
    assert [row["state"] for row in bridge.rows("deliveries", "list")] == ["delivered"]


def refuses(bridge) -> bool:
    """Whether nobody listens any more."""
    try:
        bridge.connect().close()
    except OSError:
        return True
    return False


def children(pid: int) -> list[int]:
    """A process's children, and theirs."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            found += [int(stat.parent.name), *children(int(stat.parent.name))]
    return found


def test_threads_that_hang_are_borne_up_to_a_limit_and_then_the_destination_is_paused(bridge):
    """In a thread of the bridge nothing can be ended: it says so, keeps what it is owed, and others go on."""
    hanging = wild("time.sleep(60)", isolation="thread", timeout_s=0.1, circuit={"failures": 0}, **ONE_ATTEMPT)
    bridge.configure({"bad": hanging, "good": wild("")})
    with served(bridge):
        for number in range(10):
            assert bridge.post(sample(timestamp=number)).status == 200
        until(lambda: "paused by glycanbridge" in str(bridge.rows("destinations")[0]["runs"]))
        bad, good = bridge.rows("destinations")
        assert "8 attempts hang in threads that cannot be ended" in bad["runs"]
        assert (bad["pending"], bad["dead"]) == (2, 8)
        until(lambda: len(taken(bridge, "good")) == 10)
        assert good["runs"] == "yes"


def test_a_late_outcome_of_a_thread_changes_nothing(bridge):
    """The attempt was given up at its limit, and the next one has been made; it is told in the log."""
    deed = f"if delivery.attempt == 1:\n    {WAIT_FOR_GO}"
    retry = {"tries": 1, "schedule_s": [0]}
    bridge.configure({"a": wild(deed, isolation="thread", timeout_s=1, retry=retry)})
    with served(bridge):
        bridge.post(sample())
        until(lambda: [row["state"] for row in bridge.rows("deliveries", "list")] == ["delivered"])
        (bridge.folder / "taken.txt.go").touch()
        until(lambda: "has ended after all" in bridge.log.read_text())

        (row,) = bridge.rows("deliveries", "list")
        (shown,) = bridge.rows("deliveries", "show", str(row["id"]))
        assert (row["state"], row["attempts"]) == ("delivered", 2)
        assert [each["outcome"] for each in shown["attempts"]] == ["unknown", "delivered"]


def test_what_a_plugin_prints_becomes_log_lines(bridge):
    """Of the bridge's log, and nothing of it is on its standard output."""
    bridge.configure({"a": wild("print('hello from the plugin'); os.system('echo and from its child')")})
    bridge.start()
    bridge.post(sample())
    until(lambda: "and from its child" in bridge.log.read_text())
    bridge.process.terminate()

    assert bridge.process.stdout.read() == ""
    assert bridge.stop() == 0
    assert '"message": "hello from the plugin"' in bridge.log.read_text()


@pytest.mark.parametrize("isolation", ["process", "thread"])
def test_an_attempt_that_a_stop_cannot_wait_for_is_made_again_and_has_lost_nothing(bridge, isolation):
    """Not even where the schedule allows one attempt: nobody knows what became of it, and it is no dead letter."""
    deed = "open(f'{file}.began', 'w'); os.path.exists(f'{file}.go') or time.sleep(60)"
    bridge.configure({"a": wild(deed, timeout_s=30, isolation=isolation, **ONE_ATTEMPT)})
    bridge.start()
    bridge.post(sample())
    until((bridge.folder / "taken.txt.began").exists)

    assert bridge.stop() == 0
    (row,) = bridge.rows("deliveries", "list")
    (shown,) = bridge.rows("deliveries", "show", str(row["id"]))
    assert (row["state"], [each["outcome"] for each in shown["attempts"]]) == ("pending", ["unknown"])
    (bridge.folder / "taken.txt.go").touch()
    with served(bridge):
        until(lambda: len(taken(bridge, "a")) == 1)
    assert bridge.rows("dead-letters", "list") == []


def test_one_that_kills_the_bridge_from_a_thread_dies_of_it_and_what_was_claimed_with_it_does_not(bridge):
    """The first time nobody knows which of a batch it was, and none has lost an attempt; then each goes alone."""
    deed = "b'poison' in delivery.body and os._exit(9)"
    bridge.configure({"a": wild(deed, isolation="thread", **ONE_ATTEMPT)})
    bridge.start()
    assert bridge.run("destinations", "pause", "a", "--reason", "to be many").returncode == 0
    for number in range(20):
        bridge.post(sample(timestamp=number, data={"reportId": "poison" if number == 5 else "r"}))

    assert bridge.run("destinations", "resume", "a").returncode == 0
    assert bridge.process.wait(20) == 9
    cut_off = [row for row in bridge.rows("deliveries", "list") if row["state"] == "running"]
    bridge.stop()
    bridge.start()
    assert bridge.process.wait(20) == 9
    bridge.stop()
    with served(bridge):
        until(lambda: {row["state"] for row in bridge.rows("deliveries", "list")} == {"delivered", "dead"})

    assert len(cut_off) > 1
    rows = bridge.rows("deliveries", "list", "--until", "2100-01-01", "--limit", "100")
    (dead,) = [row for row in rows if row["state"] == "dead"]
    assert "the last of 2 attempts did not come to an end" in str(dead["last_error"])
    assert len({line.split()[0] for line in taken(bridge, "a")}) == len(rows) - 1 == 19
