"""The journals there are, by the URL in `bridge.yaml`: here to be asked alone, in `opening` to be written to."""

from __future__ import annotations

from pathlib import Path

from glycanbridge.journal import Questions
from glycanbridge.journals.questions import SqliteQuestions


def open_questions(url: str) -> Questions:
    """The journal at `url` (`sqlite:///PATH`) for reading alone, also while a bridge serves from it.

    Raises `JournalUnusable` if it is not one or a newer program's, `JournalUnavailable` if it cannot be opened now,
    `JournalMissing` if there is none yet.
    """
    return SqliteQuestions(path_of(url))


def path_of(url: str) -> Path:
    """The file of the journal at `url`."""
    return Path(url.removeprefix("sqlite:///"))
