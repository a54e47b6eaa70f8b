"""Opens a journal to be written to: for a bridge, for a person's decisions, for the upkeep of its file."""

from __future__ import annotations

from glycanbridge.delivery import Clock, wall_clock
from glycanbridge.journal import Journal
from glycanbridge.journals import path_of
from glycanbridge.journals.questions import SqliteQuestions
from glycanbridge.journals.sqlite import SqliteJournal
from glycanbridge.journals.upkeep import JournalFile


def open_journal(url: str, *, clock: Clock = wall_clock) -> Journal:
    """The journal at `url` (`sqlite:///PATH`), made or brought up to date.

    Raises `JournalUnusable` if it is not one or a newer program's, `JournalUnavailable` if it cannot be opened now.
    """
    return SqliteJournal(path_of(url), clock=clock)


def open_by_hand(url: str, *, make: bool = False) -> Journal:
    """The journal at `url` for a person's decisions, also while a bridge serves from it: it delivers nothing.

    Raises as `open_journal` does, and `JournalMissing` if there is none yet, unless it is to be made.
    """
    path = path_of(url)
    if not make:
        SqliteQuestions(path).close()
    return SqliteJournal(path, serves=False)


def open_file(url: str) -> JournalFile:
    """The file of the journal at `url`, for its upkeep. Raises `JournalMissing` if there is none yet."""
    return JournalFile(path_of(url))
