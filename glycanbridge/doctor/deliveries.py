"""What is owed and does not arrive: what waits, is held or dead, and destinations that are left alone or paused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import islice

from glycanbridge.dead_letters import DeadLetter, DeadLetters
from glycanbridge.destinations import Destination
from glycanbridge.doctor.facts import Facts
from glycanbridge.doctor.findings import Finding, note, ok, problem, warning
from glycanbridge.errors import JournalError
from glycanbridge.journal import Owed, Standing
from glycanbridge.journals import open_questions
from glycanbridge.places import destinations_in

LATE_MS = 3_600_000
"""A delivery that has been due for longer, at a destination that runs, has nobody who makes it."""
MOST_LETTERS = 1000
"""So many dead letters are looked at."""


def deliveries(facts: Facts) -> Iterator[Finding]:
    """What each destination is owed, and how it stands."""
    if facts.places is None:
        return
    try:
        with closing(open_questions(facts.places.journal)) as questions:
            owed, standings = {each.destination: each for each in questions.owed()}, questions.standings()
    except JournalError:  # the journal's own finding tells it
        return
    named = destinations_in(facts.source)
    for name in dict.fromkeys([*named, *owed]):
        row, standing = owed.get(name, Owed(destination=name)), standings.get(name, Standing())
        destination = facts.configured.destinations.get(name)
        if name not in named:
            yield from _gone(name, row)
            continue
        told = [*_standing(name, standing), *_owed(name, row)]
        if destination is not None and not destination.runs:
            told += _stopped(destination, row)
        elif not told and row.oldest_due_at is not None and facts.machine.clock() - row.oldest_due_at > LATE_MS:
            waits = f"{row.pending} deliveries are due, one for more than an hour, and nobody makes them"
            told.append(
                warning("deliveries.late", name, waits, "does the bridge run? `glycanbridge serve`; then its log")
            )
        yield from told or [ok("deliveries.pending", name, f"{row.pending + row.running} deliveries on their way")]


def dead_letters(facts: Facts) -> Iterator[Finding]:
    """The directory of dead letters."""
    if facts.places is None:
        return
    about = str(facts.places.dead_letters)
    letters = list(islice(DeadLetters(facts.places.dead_letters).letters(), MOST_LETTERS))
    more = " or more" if len(letters) == MOST_LETTERS else ""
    kinds = Counter(each.kind if isinstance(each, DeadLetter) else "damaged" for each in letters)
    if kinds["quarantine"]:
        told = f"{kinds['quarantine']}{more} signed bodies were not understood: GlycanAge may send something new"
        do = (
            "`glycanbridge dead-letters list` says why; after an update: `glycanbridge dead-letters replay --all --yes`"
        )
        yield warning("letters.quarantine", about, told, do)
    if kinds["damaged"]:
        told = f"{kinds['damaged']}{more} files are no dead letters that can be read"
        yield warning("letters.damaged", about, told, "`glycanbridge dead-letters list` names them; restore a backup's")
    if not kinds["quarantine"] and not kinds["damaged"]:
        yield ok("letters.quarantine", about, "every signed body was understood")


def outdated(facts: Facts) -> Iterator[Finding]:
    """Plugins that use what a later version will not have."""
    for each in facts.configured.destinations.values():
        for line in each.outdated:
            do = "look for a newer version of the plugin before the next update: `glycanbridge plugins list`"
            yield warning("plugins.outdated", each.name, line, do)


def _standing(name: str, standing: Standing) -> Iterator[Finding]:
    resume = f"`glycanbridge destinations resume {name}`"
    if standing.paused_at is not None:
        told = f"paused by {standing.paused_by}: {standing.reason}; what it is owed waits"
        yield warning("deliveries.paused", name, told, resume)
    if standing.circuit.comes_back:
        told = f"it is back, and goes one by one until {standing.circuit.failures} more have got through"
        yield note("deliveries.circuit", name, told, f"nothing; or at once: {resume}")
    elif standing.circuit.open_since is not None:
        told = f"it fails, and is left alone but for a probe now and then: {standing.trouble or 'no error is kept'}"
        do = f"mend it, `glycanbridge check --online` looks whether it is; then, not to wait: {resume}"
        yield problem("deliveries.circuit", name, told, do)


def _owed(name: str, row: Owed) -> Iterator[Finding]:
    if row.dead:
        do = (
            f"`glycanbridge dead-letters list --destination {name}` says why; then "
            f"`glycanbridge dead-letters replay --destination {name} --yes`"
        )
        yield problem("deliveries.dead", name, f"{row.dead} deliveries were given up, and nobody has decided", do)
    yield from _held(name, row)


def _held(name: str, row: Owed) -> Iterator[Finding]:
    if row.held:
        do = f"`glycanbridge deliveries list --destination {name} --held`, then `deliveries confirm` or `replay` each"
        yield problem("deliveries.held", name, f"{row.held} deliveries wait for a person's decision", do)


def _gone(name: str, row: Owed) -> Iterator[Finding]:
    """What is owed to a destination that nothing can be delivered to, whether it failed or was paused before."""
    back = "put it back under this name, or `glycanbridge"
    if row.pending + row.running:
        told = f"it is not in bridge.yaml, and is owed {row.pending + row.running} deliveries"
        yield warning(
            "deliveries.gone", name, told, f"{back} deliveries discard --destination {name} --reason ... --yes`"
        )
    if row.dead:
        told = f"it is not in bridge.yaml, and {row.dead} deliveries were given up"
        yield problem(
            "deliveries.dead", name, told, f"{back} dead-letters discard --destination {name} --reason ... --yes`"
        )
    yield from _held(name, row)


def _stopped(destination: Destination, row: Owed) -> Iterator[Finding]:
    waits = f"it is owed {row.pending} deliveries, which wait"
    if not destination.enabled:
        if row.pending:
            do = "`enabled: true` in bridge.yaml, and start the bridge anew"
            yield warning("deliveries.disabled", destination.name, f"disabled; {waits}", do)
        else:
            yield note("deliveries.disabled", destination.name, "disabled")
    else:
        do = "`glycanbridge check` says where; mend it, and start the bridge anew"
        yield problem("deliveries.unusable", destination.name, f"its plugin cannot be used; {waits}", do)
