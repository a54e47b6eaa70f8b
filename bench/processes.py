"""Subprocesses on a core of their own: started, looked at, and ended whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
LISTENING = "listening on "
END_S = 20.0
"""How long a subprocess may take to end in order after SIGTERM."""

Process = subprocess.Popen[str]


class Failed(Exception):
    """A subprocess did not do what it was started for."""


def ended(run: Callable[[], int]) -> int:
    """The exit status of a command that does `run`: its own, 1 after `Failed`, 130 after SIGTERM or Ctrl-C.

    Whatever ends it, every subprocess is ended and every folder removed.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    try:
        return run()
    except Failed as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


class Cores(NamedTuple):
    """The core of the server and the core of the load; `None`: any."""

    server: int | None
    load: int | None

    @property
    def pinned(self) -> bool:
        """Whether each has a core of its own."""
        return self.server is not None


def cores() -> Cores:
    """One core for the server and another one for the load, where the system has both and can pin a process."""
    if not hasattr(os, "sched_getaffinity"):
        return Cores(None, None)
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(allowed[0], allowed[-1]) if len(allowed) > 1 else Cores(None, None)


@contextmanager
def running(
    module: str, *arguments: str, core: int | None, errors: Path, environ: Mapping[str, str] | None = None
) -> Iterator[Process]:
    """`python -m module arguments`, as `started`."""
    with started([sys.executable, "-m", module, *arguments], core=core, errors=errors, environ=environ) as process:
        yield process


@contextmanager
def started(
    command: Sequence[str], *, core: int | None, errors: Path, environ: Mapping[str, str] | None = None
) -> Iterator[Process]:
    """A command that runs from the repository's root, its stderr added to the file `errors`; ended after."""
    with errors.open("ab") as stderr, _on(core):
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environ)
    with process:
        try:
            yield process
        finally:
            _end(process)


@contextmanager
def serving(
    module: str,
    arguments: Sequence[str],
    *,
    core: int | None,
    errors: Path,
    environ: Mapping[str, str] | None = None,
) -> Iterator[tuple[Process, str]]:
    """A server that runs, and its URL. Raises `Failed` with what it wrote to stderr if it does not come to listen."""
    with running(module, *arguments, core=core, errors=errors, environ=environ) as process:
        yield process, announced(process, errors=errors)


def announced(process: Process, beginning: str = LISTENING, *, errors: Path) -> str:
    """The rest of the next line that the process prints. Raises `Failed` if it begins otherwise, or does not come."""
    line = process.stdout.readline().strip() if process.stdout else ""
    if not line.startswith(beginning):
        process.terminate()
        process.wait(END_S)
        raise Failed(f"expected {beginning!r}, got {line!r}\n{errors.read_text(encoding='utf-8')}")
    return line.removeprefix(beginning)


def cpu_s(pid: int) -> float | None:
    """CPU seconds of the process so far, user and system, all threads; `None` on a system without /proc."""
    return _cpu_s(pid, ended_children=False)


def _cpu_s(pid: int, *, ended_children: bool) -> float | None:
    try:
        told = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    after_name = told.rpartition(")")[2].split()  # proc(5): fields 14 to 17 of all, the first here is the third
    ticks = after_name[11 : 15 if ended_children else 13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def descendants(pid: int) -> list[int]:
    """The processes that this one has started, and theirs; none on a system without /proc."""
    parents = {}
    for each in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            told = each.read_text(encoding="ascii", errors="replace")
            parents[int(each.parent.name)] = int(told.rpartition(")")[2].split()[1])
    found = [pid]
    for parent in found:  # grows meanwhile
        found += [child for child, its_parent in parents.items() if its_parent == parent]
    return found[1:]


def tree_cpu_s(pid: int) -> float:
    """CPU seconds of the process, of all that it has started, and of those of them that have ended."""
    return sum(_cpu_s(each, ended_children=True) or 0.0 for each in [pid, *descendants(pid)])


def tree_memory_mb(pid: int) -> float | None:
    """Memory of the process and of all that it has started, each shared page counted once (PSS), in MB."""
    sizes_kib = []
    for each in [pid, *descendants(pid)]:
        with suppress(OSError):  # it has just ended, or the system has no such file
            rollup = Path(f"/proc/{each}/smaps_rollup").read_text(encoding="ascii")
            sizes_kib += [int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")]
    return sum(sizes_kib) * 1024 / 1e6 if sizes_kib else None


def memory_mb(pid: int) -> float | None:
    """The most memory that the process has held so far (VmHWM, shared pages too), in MB of 1,000,000 bytes."""
    try:
        told = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    kib = next((line.split()[1] for line in told.splitlines() if line.startswith("VmHWM:")), None)
    return None if kib is None else int(kib) * 1024 / 1e6


@contextmanager
def _on(core: int | None) -> Iterator[None]:
    """What is started in here runs on `core`: a child has its parent's affinity, with all its threads."""
    if core is None or sys.platform != "linux":
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _end(process: Process) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
