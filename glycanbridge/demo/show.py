"""The demo itself: a simulated GlycanAge, a real bridge, and a mail server that is away for a while.

The bridge has the main thread, as in `serve`; the story is told in another one.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic, time

from glycanbridge.bridge_yaml import BridgeYaml
from glycanbridge.demo.folder import Account, DemoError, DemoFolder, make_folder
from glycanbridge.demo.mails import MailCatcher
from glycanbridge.demo.stage import Stage
from glycanbridge.demo.view import Say, View, where_to_look
from glycanbridge.identity import event_id
from glycanbridge.journals import open_questions
from glycanbridge.logs import set_up_logs
from glycanbridge.server import Server
from glycanbridge.settings import Settings, read_settings
from glycanbridge.simulator.api import SimulatedApi
from glycanbridge.simulator.lives import WEEK_MS
from glycanbridge.simulator.sender import Fate, Sender
from glycanbridge.simulator.story import Story, story

WEEKS = 6
SETTLED_S = 0.4
"""So long an event's line waits for where it goes; a destination that is slower has a line of its own later."""
LAST_S = 30.0
"""So long the demo waits for what is still owed when the story is told."""
LOOK_EVERY_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to be shown."""

    kits: int = 10
    seconds: float = 20.0
    """How long the story takes: some weeks in so many seconds."""
    seed: int = 1
    once: bool = False
    """End when the story is told, instead of serving on."""
    folder: Path | None = None
    """An empty folder; default: a new one for temporary files."""
    program: str = "glycanbridge"
    """What somebody types to run our commands."""


class _Over(Exception):
    """Somebody has ended the demo in the middle of the story."""


class Demo:
    """One demo, from its folder to its end."""

    def __init__(self, wish: Wish, say: Say) -> None:
        """`say` prints a line."""
        self._wish, self._say = wish, say
        self._over = threading.Event()
        self._failed: Exception | None = None
        self.fine = False
        """The story was told to its end, every event was answered as it should be, and nothing is owed to anybody."""

    def run(self) -> None:
        """Show it; returns when it is over. Raises `DemoError` and what a bridge raises that cannot start."""
        with SimulatedApi(approve_after_s=1.0) as api, closing(MailCatcher()) as mails:
            account = Account(base_url=api.base_url, email=api.email, token=api.token)
            folder = make_folder(self._wish.folder, account, port=_free_port(), mail_port=mails.port)
            mails.folder = folder.mails
            os.umask(0o077)
            with folder.log.open("w", encoding="utf-8") as log, redirect_stdout(log):
                set_up_logs(log)
                settings, source = read_settings(folder.config)
                server = _server(settings, source)
                stage = Stage(settings, source, api, mails)
                thread = threading.Thread(target=self._tell, args=(folder, stage, server), name="story")
                server.run(thread.start)
                self._over.set()
                thread.join()
        if self._failed is not None:
            raise self._failed

    def _tell(self, folder: DemoFolder, stage: Stage, server: Server) -> None:
        try:
            url = server.url
            self._say(f"A bridge serves at {url}. Everything is invented, and stays in {folder.path}")
            self._say(stage.register(partial(self._wait, server)))
            self._say(
                f"{WEEKS} weeks in the life of {self._wish.kits} kits, in about {self._wish.seconds:g} seconds:\n"
            )
            self._play(stage, server)
            self._say(where_to_look(folder, program=self._wish.program, url=None if self._wish.once else url))
        except _Over:
            pass
        except Exception as error:
            self._failed = None if server.stops else error  # what fails because of that is nobody's fault
        if self._wish.once or self._failed is not None:
            server.stop()

    def _play(self, stage: Stage, server: Server) -> None:
        fates = list[Fate]()
        with closing(open_questions(stage.settings.journal)) as questions:
            view = View(questions, self._say)
            for share, fate in self._sent(stage):
                self._go_on(server)
                fates.append(fate)
                self._show(fate, view, server)
                if (news := stage.at(share)) is not None:
                    self._say(news)
            if (news := stage.at(1.0)) is not None:
                self._say(news)
            self._wait(server, lambda: not questions.owed(), LAST_S)
            view.show_settled()
            view.summary(fates)
            self.fine = all(each.fits for each in fates) and not questions.owed()

    def _sent(self, stage: Stage) -> Iterator[tuple[float, Fate]]:
        """Every fate, as soon as it is known, with the share of the story that is told by then."""
        told = self._story()
        span_s = max(1.0, (told.sendings[-1].at_ms - told.sendings[0].at_ms) / 1000)
        sender = Sender(told.sendings, post=stage.post, speed=span_s / self._wish.seconds, sleep=self._sleep)
        for number, fate in enumerate(sender.run(), 1):
            yield number / len(told.sendings), fate

    def _show(self, fate: Fate, view: View, server: Server) -> None:
        accepted = event_id(fate.sending.body).id if fate.outcome == "accepted" else None
        if accepted is not None:
            self._wait(server, lambda: view.all_have(accepted), SETTLED_S)
        view.show(fate, accepted)
        view.show_settled()

    def _story(self) -> Story:
        begin_ms = int(time() * 1000) - WEEKS * WEEK_MS
        return story(seed=self._wish.seed, begin_ms=begin_ms, kits=self._wish.kits, weeks=WEEKS)

    def _sleep(self, seconds: float) -> None:
        if self._over.wait(seconds):
            raise _Over

    def _wait(self, server: Server, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Whether the condition comes to hold in time. Raises `_Over`."""
        until_s = monotonic() + timeout_s
        while not condition():
            self._go_on(server)
            if monotonic() > until_s:
                return False
            self._sleep(LOOK_EVERY_S)
        return True

    def _go_on(self, server: Server) -> None:
        """Raise `_Over` if the bridge takes no more: it ends its attempts first, and nothing is told of that."""
        if server.stops:
            raise _Over


def _server(settings: Settings, source: BridgeYaml) -> Server:
    server = Server(settings, source)
    missing = [f"{each.name}: {each.error}" for each in server.destinations.values() if each.error is not None]
    if missing:
        raise DemoError(f"the demo needs the plugins csv and email; {'; '.join(missing)}")
    return server


def _free_port() -> int:
    """One that nobody has now: it has to stand in the bridge's file before the bridge begins."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
