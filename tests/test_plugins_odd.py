"""Plugins in odd surroundings: whatever a package, an import or a machine is like, the bridge starts and goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from serving import delivery, install_plugin, sample, until

from glycanbridge.attempt import Attempts
from glycanbridge.delivery import Result
from glycanbridge.plugins import installed_plugins

GOOD = """
from glycanbridge import hookimpl

class {name}:
    @hookimpl
    def on_report_ready(self, event, delivery): ...
"""


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """A folder of installed packages, on the path for this test alone."""
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if name.startswith("glycanbridge_"):
            del sys.modules[name]


@pytest.fixture
def rules(tmp_path):
    """Writes `rules.py` into a folder that nobody else may write to; what is said of it."""

    def rules(code: str, name: str = "rules.py"):
        folder = tmp_path / "own"
        folder.mkdir(mode=0o755, exist_ok=True)
        file = folder / name
        file.write_text(code)
        file.chmod(0o644)
        return next(each for each in installed_plugins([file.stem], files=[file]) if each.name == file.stem)

    return rules


def alone(code: str) -> str:
    """What some code prints in a process with one thread: in a test's own there are more, and nothing is rehearsed."""
    names = "import os, subprocess, sys, time; from pathlib import Path; from glycanbridge.rehearsal import killed_by"
    command = [sys.executable, "-c", f"{names}\n{code}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


def found(name: str):
    """What is said of one plugin."""
    (told,) = installed_plugins([name])
    return told


# --- the class that is looked at ---


PROPERTY = """
from glycanbridge import hookimpl

class Urled:
    def __init__(self, settings):
        self._settings = settings

    @property
    def url(self):
        return self._settings.url

    @hookimpl
    def on_report_ready(self, event, delivery): ...
"""


def test_a_property_that_needs_the_settings_is_no_mistake(packages):
    """Pluggy asks the bare instance for every attribute; a property is no hook."""
    install_plugin(packages, "urled", PROPERTY)
    assert found("urled").error is None


CACHED = PROPERTY.replace("@property", "@functools.cached_property").replace(
    "import hookimpl", "import hookimpl\nimport functools"
)


def test_a_cached_property_that_needs_the_settings_is_no_mistake(packages):
    """`functools.cached_property` is how authors write a client that is made when it is first needed."""
    install_plugin(packages, "urled", CACHED)
    assert found("urled").error is None


def test_looking_at_a_plugin_evaluates_no_cached_property_of_its(packages):
    """`check` without --online promises to talk to nobody."""
    code = LAZY.replace("@property", "@functools.cached_property")
    install_plugin(packages, "lazy", code.replace("import hookimpl", "import hookimpl\nimport functools"))
    plugin = found("lazy").plugin
    Attempts(plugin.make(None), tries=1)
    assert plugin.made_by.opened == []


LAZY = """
from glycanbridge import hookimpl

class Lazy:
    opened = []

    @property
    def connection(self):
        self.opened.append(1)
        return object()

    @hookimpl
    def on_report_ready(self, event, delivery): ...
"""


def test_looking_at_a_plugin_opens_no_connection_of_its(packages):
    """`check` without --online promises to talk to nobody; a lazy property may do anything."""
    install_plugin(packages, "lazy", LAZY)
    plugin = found("lazy").plugin
    Attempts(plugin.make(None), tries=1)
    assert plugin.made_by.opened == []


@pytest.mark.parametrize(
    "code",
    [
        "@dataclasses.dataclass(slots=True)\nclass Slotted:\n    settings: object\n",
        "class Slotted:\n    __slots__ = ('settings',)\n    def __init__(self, settings): self.settings = settings\n",
    ],
)
def test_a_plugin_may_have_slots(packages, code):
    """A dataclass with slots is a class like any other."""
    hook = "    @hookimpl\n    def on_report_ready(self, event, delivery): ...\n"
    install_plugin(packages, "slotted", f"import dataclasses\nfrom glycanbridge import hookimpl\n{code}{hook}")
    assert found("slotted").error is None


SPECNAME = """
from glycanbridge import hookimpl

class Renamed:
    @hookimpl(specname="on_kit_received")
    def on_report_ready(self, event, delivery):
        return "taken"
"""


def test_a_hook_under_another_name_is_refused_or_called(packages):
    """No plugin is ever half loaded: what it is owed is what it has a hook for."""
    install_plugin(packages, "renamed", SPECNAME)
    told = found("renamed")
    if told.plugin is not None and "report-ready" in told.plugin.event_types:
        outcome = Attempts(told.plugin.make(None), tries=1).deliver(delivery(sample()))
        assert outcome.result is Result.DELIVERED, outcome


CALLABLE = """
from glycanbridge import hookimpl

class traced:
    def __init__(self, call): self.call = call
    def __call__(self, event, delivery): return self.call(None, event, delivery)

class Wrapped:
    @hookimpl
    @traced
    def on_report_ready(self, event, delivery):
        return "taken"
"""


def test_a_hook_that_is_no_routine_is_refused_or_called(packages):
    """Pluggy leaves out what is no routine; then the bridge may not count on it."""
    install_plugin(packages, "wrapped", CALLABLE)
    told = found("wrapped")
    if told.plugin is not None and "report-ready" in told.plugin.event_types:
        outcome = Attempts(told.plugin.make(None), tries=1).deliver(delivery(sample()))
        assert outcome.result is Result.DELIVERED, outcome


QUIET = """
import warnings
from glycanbridge import hookimpl

class Noise(UserWarning): ...

warnings.simplefilter("ignore", Noise)

class Quiet:
    @hookimpl
    def on_report_ready(self, event, delivery):
        warnings.warn("patient_123", Noise)
"""


def test_what_a_plugin_says_of_warnings_as_it_is_imported_holds(packages):
    """`urllib3.disable_warnings()` at the top of a module is what authors write."""
    install_plugin(packages, "quiet", QUIET)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("default")
        plugin = found("quiet").plugin
        assert Attempts(plugin.make(None), tries=1).deliver(delivery(sample())).result is Result.DELIVERED
    assert [str(each.message) for each in heard] == []


# --- what is installed beside it ---


@pytest.mark.parametrize(
    "entries", [b"[glycanbridge]\nbroken\n", b"\xff\xfe[glycanbridge]\nbroken = x:Y\n", b"[glycanbridge]\nbroken =\n"]
)
def test_broken_metadata_of_one_package_cost_nobody_else(packages, entries):
    """A half-written install must not keep the bridge from starting."""
    install_plugin(packages, "good", GOOD.format(name="Good"))
    install_plugin(packages, "broken", GOOD.format(name="Broken"))
    (packages / "glycanbridge_broken-1.0.dist-info" / "entry_points.txt").write_bytes(entries)
    assert found("good").error is None


@pytest.mark.parametrize("metadata", [b"", b"Metadata-Version: 2.1\n", b"\xff\xff", None])
def test_a_package_without_a_name_costs_nobody_else(packages, metadata):
    """The same, of METADATA."""
    install_plugin(packages, "good", GOOD.format(name="Good"))
    install_plugin(packages, "broken", GOOD.format(name="Broken"))
    file = packages / "glycanbridge_broken-1.0.dist-info" / "METADATA"
    file.unlink() if metadata is None else file.write_bytes(metadata)
    told = {each.name: each for each in installed_plugins()}
    assert told["good"].error is None
    assert "None" not in told["broken"].origin


# --- files ---

HOOK = "from glycanbridge import hookimpl\n\nclass Rules:\n    @hookimpl\n    def on_report_ready(self, event): ...\n"


def test_a_helper_with_a_close_is_no_second_plugin(rules):
    """`close` is what half of all classes have."""
    assert rules(HOOK + "\nclass Connection:\n    def close(self): ...\n").error is None


def test_a_second_name_of_the_class_is_no_second_class(rules):
    """An alias is the same class."""
    assert rules(HOOK + "\nPlugin = Rules\n").error is None


def test_two_files_whose_names_differ_in_a_dash_do_not_share_a_module(rules):
    """A model that names a class below it looks for it in its own file."""
    code = """
from __future__ import annotations
from pydantic import BaseModel
from glycanbridge import hookimpl

class Settings(BaseModel):
    more: More

class More(BaseModel):
    {name}: str

class Rules:
    Settings = Settings
    @hookimpl
    def on_report_ready(self, event): ...
"""
    first, second = rules(code.format(name="a"), "my-rules.py"), rules(code.format(name="b"), "my_rules.py")
    assert (first.error, second.error) == (None, None)
    assert first.plugin.model.model_validate({"more": {"a": "x"}})


def test_a_link_does_not_hide_a_folder_that_everybody_may_write_to(rules, tmp_path):
    """Whoever may write to the folder of the file itself can put another one in its place."""
    public = tmp_path / "public"
    public.mkdir()
    public.chmod(0o777)
    (public / "rules.py").write_text(HOOK)
    (public / "rules.py").chmod(0o644)
    own = tmp_path / "own"
    own.mkdir(mode=0o755)
    (own / "rules.py").symlink_to(public / "rules.py")
    (told,) = installed_plugins(["rules"], files=[own / "rules.py"])
    assert "can be written by others" in (told.error or "")


def test_a_file_of_nobodys_home_is_a_problem_and_no_traceback(serving):
    """`check` and `plugins list` tell mistakes in a line."""
    serving.configure({"csv": {"plugin": "csv"}}, plugin_files=["~nosuchuser/rules.py"])
    for line in (["check"], ["plugins", "list"]):
        assert "Traceback" not in serving.run(*line).stderr, line


# --- the rehearsal ---


def gone(pid: int) -> bool:
    """Whether a process is no more, or a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def hanging(serving) -> Path:
    """A plugin whose import writes down where it is, and never ends."""
    pid = serving.folder / "pid.txt"
    install_plugin(
        serving.packages,
        "hanging",
        f"import os, time\nopen({str(pid)!r}, 'w').write(str(os.getpid()))\ntime.sleep(3600)\n",
    )
    serving.configure({"hanging": {"plugin": "hanging"}})
    return pid


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("line", ["serve", "check"])
def test_a_command_that_is_ended_while_it_rehearses_ends_and_leaves_nothing(serving, line, number):
    """Whoever waits for an import that hangs presses Ctrl-C. (Tests may run where that is not heard.)"""
    pid = hanging(serving)
    heard = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
    process = subprocess.Popen([sys.executable, "-c", heard, *serving.program, line], env=serving.environ,
                               cwd=serving.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    until(lambda: pid.exists() and pid.read_text())
    child = int(pid.read_text())
    try:
        process.send_signal(number)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            pytest.fail("it does not end")
        until(lambda: gone(child))
    finally:
        process.kill()
        process.wait()
        if not gone(child):
            os.kill(child, signal.SIGKILL)


def test_what_an_import_has_started_does_not_outlive_its_rehearsal(tmp_path):
    """Each `check` would leave another process behind."""
    told = tmp_path / "pid"
    sleeper = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid"

    assert alone(f"print(killed_by([lambda: Path({str(told)!r}).write_text(str({sleeper}))]))") == "[None]"

    child = int(told.read_text())
    try:
        until(lambda: gone(child))
    finally:
        if not gone(child):
            os.kill(child, signal.SIGKILL)


def test_an_import_that_closes_every_file_is_no_killer():
    """Libraries that make daemons do that; and nothing of the bridge goes on in the child."""
    assert alone("print(killed_by([lambda: os.closerange(3, 256)])); print('once')") == "[None]\nonce"


def test_it_can_be_rehearsed_with_very_many_files_open():
    """`select` takes no number beyond 1023."""
    held = "held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]"

    assert alone(f"{held}\nprint(killed_by([lambda: None, lambda: os._exit(3)]))") == (
        "[None, 'ends the process (exit code 3)']"
    )


def test_a_bridge_whose_starter_ignores_sigchld_starts(serving):
    """What is ignored stays ignored across exec, and then there is nobody to wait for."""
    serving.configure({"ehr": {"plugin": "recorder", "settings": {"file": "taken.txt"}}})
    code = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", code, *serving.program, "check"], env=serving.environ,
                          cwd=serving.folder, capture_output=True, text=True, timeout=60, check=False)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_a_machine_that_has_no_process_left_does_not_keep_the_bridge_from_starting():
    """It could still receive; the hosts are tried again later."""
    full = "def full():\n    raise BlockingIOError(11, 'Resource temporarily unavailable')"

    assert alone(f"{full}\nos.fork = full\nprint(killed_by([lambda: os._exit(3)]))") == "[None]"


def test_problems_of_a_file_that_cannot_be_loaded_are_all_rehearsed_first(serving):
    """An import that starts a thread must not hide that the next one ends the process."""
    install_plugin(serving.packages, "threaded", "import threading, time\nthreading.Thread(target=time.sleep, "
                   "args=(30,), daemon=True).start()\n" + GOOD.format(name="Threaded"))  # fmt: skip
    install_plugin(serving.packages, "killer", "import os\nos._exit(7)\n")
    serving.configure({"a": {"plugin": "threaded"}, "b": {"plugin": "killer"}}, unknown_key=1)
    done = serving.run("check")
    assert "unknown key" in done.stdout, done
    assert done.returncode == 78


def test_several_imports_that_hang_are_given_up_together():
    """Nobody answers GlycanAge meanwhile."""
    hang = "began = time.monotonic()\ntold = killed_by([lambda: time.sleep(3600)] * 3, within_s=1.0)"

    told = alone(f"{hang}\nprint(set(told), time.monotonic() - began < 2)")

    assert told == "{'does not come back within 1 s'} True"


# --- destinations run ---


@pytest.mark.parametrize("given", ["[lambda: None]", "[None]", "[3]"])
def test_what_is_no_command_is_told_without_a_traceback(serving, given):
    """One broken plugin crashes no command."""
    install_plugin(serving.packages, "odd", GOOD.format(name="Odd") + f"""
    @hookimpl
    def commands(self):
        return {given}
""")  # fmt: skip
    serving.configure({"odd": {"plugin": "odd"}})
    done = serving.run("destinations", "run", "odd")
    assert "Traceback" not in done.stderr


# --- odd surroundings ---


def test_a_good_plugin_is_no_killer_where_the_standard_files_are_closed(tmp_path):
    """A daemon's starter may close 0, 1 and 2; the pipe gets their numbers, and `dup2` takes it away."""
    told = tmp_path / "told"
    code = (
        "import os, sys; from glycanbridge.rehearsal import killed_by; [os.close(each) for each in (0, 1, 2)];"
        "how = killed_by([lambda: None]); open(sys.argv[1], 'w').write(repr(how[0]))"
    )
    subprocess.run([sys.executable, "-c", code, str(told)], timeout=40, check=False)
    assert told.read_text() == "None"


def test_what_an_import_prints_does_not_stand_in_the_json(serving):
    """One JSON object a line, and nothing else: `--json`."""
    install_plugin(serving.packages, "loud", "print('hello')\n" + GOOD.format(name="Loud"))
    for line in serving.run("plugins", "list", "--json").stdout.splitlines():
        json.loads(line)


def test_a_pipe_among_the_files_does_not_stop_check(serving):
    """Opening one waits for a writer, for ever."""
    serving.folder.chmod(0o755)
    os.mkfifo(serving.folder / "rules.py", 0o600)
    serving.configure({}, plugin_files=["rules.py"])
    done = subprocess.run(["timeout", "5", *serving.program, "check"], env=serving.environ, cwd=serving.folder,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 78, done


def test_a_file_may_be_called_like_a_module(serving):
    """`queue.py` is a good name for a clinic's rules, and no module of the program's own may become of it."""
    serving.folder.chmod(0o755)
    file = serving.folder / "queue.py"
    file.write_text(HOOK)
    file.chmod(0o644)
    serving.configure({"queue": {"plugin": "queue"}}, plugin_files=["queue.py"])
    done = serving.run("check")
    assert done.returncode == 0, done.stderr[-300:]
