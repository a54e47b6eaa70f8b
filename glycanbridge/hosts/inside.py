"""What runs in a host's process: it makes the plugin's instance, then makes one attempt after another until it is told
to close.

The process is a session of its own, so that the bridge can end it with all that the plugin has started. When the bridge
dies, by whatever means, so does it.
"""

from __future__ import annotations

import faulthandler
import gc
import logging
import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TextIO

from glycanbridge.attempt import OUT_OF_MEMORY, Attempts
from glycanbridge.errors import PluginError, told_to_people, without_text
from glycanbridge.hosts import Stint
from glycanbridge.hosts.messages import HostPlan, Inbox, deliveries_of, send, told_of_made
from glycanbridge.hosts.reports import Asking
from glycanbridge.plugins import installed_plugins, usable_plugin

if sys.platform != "win32":
    import fcntl
    import resource

F_SETSIG = 10
"""Linux's; the module `fcntl` names it on some Pythons only."""


def run(plan: HostPlan, talk: socket.socket, life: Connection, output: Connection) -> None:
    """Be a host's process. It does not return: a plugin's threads and exit handlers must not keep it alive."""
    try:
        _settle_in(life, output)
        _serve(plan, talk)
    except EOFError:  # the bridge has nothing more to say
        pass
    except BaseException as error:
        print(f"the host ends: {without_text(error)}", file=sys.stderr)  # noqa: T201 (a log line of the bridge)
    finally:
        with suppress(Exception):  # a plugin may have closed it
            sys.stdout.flush()
        os._exit(1)


def _serve(plan: HostPlan, talk: socket.socket) -> None:
    try:
        _limit_memory(plan.memory_mb)
        attempts = _attempts(plan)
    except BaseException as error:
        reason = str(error) if isinstance(error, PluginError) else f"the plugin cannot be made: {told_to_people(error)}"
        send(talk, {"unusable": reason})
        return
    send(talk, {"ready": True})
    inbox = Inbox(talk)
    deliver = Asking(talk, inbox).during(attempts.deliver) if plan.reports else attempts.deliver
    while True:
        while (message := inbox.message()) is None:
            inbox.fill()
        if "close" in message[0]:
            attempts.close()
            return
        stint = Stint()
        for delivery in deliveries_of(*message):
            made = stint.make(deliver, delivery)
            send(talk, told_of_made(made) | {"last": made.outcome is OUT_OF_MEMORY, "over": stint.over})
            if stint.over:
                break


def _attempts(plan: HostPlan) -> Attempts:
    files = () if plan.plugin_file is None else (plan.plugin_file,)
    plugin = usable_plugin(plan.plugin, installed_plugins({plan.plugin}, files=files))
    settings = plugin.model.model_validate(dict(plan.settings), context={"folder": plan.folder})
    return Attempts(plugin.make(settings), tries=plan.tries)


def _settle_in(life: Connection, output: Connection) -> None:
    gc.freeze()  # what came with the fork is for ever: looking at it would copy it
    if sys.platform == "win32":
        os.dup2(2, 1)  # the bridge's stderr: nothing may reach its stdout
    else:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number in (1, 2):
            os.dup2(output.fileno(), number)
    _die_with_the_bridge(life)
    sys.stdout, sys.stderr = _printer(1), _printer(2)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", force=True)
    faulthandler.enable()
    # Whoever stops the bridge may signal every process of it, and a running attempt must come to its end. By handlers:
    # what is ignored stays ignored in the plugin's own children.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)


def _printer(number: int) -> TextIO:
    return os.fdopen(number, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)


def _die_with_the_bridge(life: Connection) -> None:
    """The bridge holds the only write end of `life`: when it is gone, so is the bridge."""
    if sys.platform == "linux":  # the kernel itself sees to it, also when a plugin holds the GIL for ever
        fcntl.fcntl(life, F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(life, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)
        if life.poll():  # it was gone before that
            os.killpg(0, signal.SIGKILL)
        return
    threading.Thread(target=_end_after, args=(life,), name="life", daemon=True).start()


def _end_after(life: Connection) -> None:
    with suppress(EOFError, OSError):
        life.recv_bytes()
    if sys.platform != "win32":
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _limit_memory(memory_mb: int | None) -> None:
    """Let this process have `memory_mb` more than it has now, where the system can hold it to that.

    It is data that is counted, not address space: each thread of a plugin reserves 64 MB of that and uses none of it.
    """
    if sys.platform == "win32" or memory_mb is None:
        return
    limit_bytes = _data_bytes() + memory_mb * 1024 * 1024
    _, most_bytes = resource.getrlimit(resource.RLIMIT_DATA)
    if most_bytes == resource.RLIM_INFINITY or limit_bytes < most_bytes:  # else the operator's own is narrower
        resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))


def _data_bytes() -> int:
    """What Linux counts against RLIMIT_DATA (proc(5): statm's sixth figure, in pages); 0 where that is not known."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
