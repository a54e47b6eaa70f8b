"""The journal: can it be read, which version is it, does a bridge serve from it, is it whole at a glance?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from glycanbridge.doctor.facts import Facts
from glycanbridge.doctor.findings import Finding, note, ok, problem
from glycanbridge.errors import JournalError, JournalMissing, JournalUnavailable, JournalUnusable
from glycanbridge.journals import open_questions
from glycanbridge.journals.opening import open_file
from glycanbridge.journals.upkeep import JournalFile

GLANCE_S = 3.0
"""How long a glance at its pages may take; `db check` takes all the time that it needs."""


def journal(facts: Facts) -> Iterator[Finding]:
    """The journal's file."""
    if facts.places is None:
        return
    about = str(facts.journal)
    try:
        with closing(open_file(facts.places.journal)) as file:
            yield from _file(file, about)
        open_questions(facts.places.journal).close()
    except JournalMissing:
        yield note("journal.state", about, "there is no journal: nothing has been received yet", "`glycanbridge serve`")
    except JournalUnavailable as error:
        do = "look at the disk and at who owns the file; `glycanbridge db migrate` brings an older version up to date"
        yield problem("journal.state", about, str(error), do)
    except JournalUnusable as error:
        do = "unless another program wrote it, or a newer GlycanBridge: docs/operations.md, 'The journal is damaged'"
        yield problem("journal.state", about, str(error), do)
    except JournalError as error:
        do = "`glycanbridge db check`, and docs/operations.md, 'The journal is damaged': every minute counts"
        yield problem("journal.state", about, str(error), do)


def _file(file: JournalFile, about: str) -> Iterator[Finding]:
    served = "a bridge serves from it" if file.is_served() else "no bridge serves from it now"
    yield ok("journal.state", about, f"version {file.version()}; {served}")
    damaged = file.quick_check(GLANCE_S)
    if damaged is None:
        told = f"its pages could not all be looked at within {GLANCE_S:g} s"
        yield note("journal.integrity", about, told, "`glycanbridge db check` reads all of it")
    elif damaged:
        do = "`glycanbridge db check` tells more; docs/operations.md, 'The journal is damaged', is the way back"
        yield problem("journal.integrity", about, f"it is damaged: {damaged[0]}", do)
    else:
        yield ok("journal.integrity", about, "its pages are whole; `glycanbridge db check` also reads each event")


def served(facts: Facts) -> bool:
    """Whether a bridge serves from the journal. Raises `JournalError` if there is none that can be opened."""
    if facts.places is None:
        return False
    with closing(open_file(facts.places.journal)) as file:
        return file.is_served()
