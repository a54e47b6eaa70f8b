"""What somebody sees while the demo runs: a line for each event, where it went, and what waits."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from glycanbridge.delivery import State
from glycanbridge.demo.folder import DemoFolder
from glycanbridge.journal import DeliveryRow, Questions
from glycanbridge.simulator.sender import Fate

Say = Callable[[str], object]
_WORDS = {State.DELIVERED: "has it", State.DEAD: "gave up"}
_MEANS = {
    "duplicate": "known already: nothing happens twice",
    "quarantined": "not understood: kept as a dead letter, to be replayed after an update",
    "refused_401": "not signed by GlycanAge: refused with 401",
    "lost": "LOST",
}


class View:
    """Says what happens, a line at a time."""

    def __init__(self, questions: Questions, say: Say) -> None:
        self._questions = questions
        self._say = say
        self.waiting: dict[str, tuple[str, str]] = {}
        """Deliveries that are still owed: by id, the destination and what they are about."""

    def show(self, fate: Fate, event_id: str | None) -> None:
        """What came, and where it went so far."""
        sending = fate.sending
        day = datetime.fromtimestamp(sending.at_ms / 1000, UTC).strftime("%d %b %H:%M")
        what = f"{day}  {sending.type:<25}  {sending.about:<17}"
        twist = f" ({sending.twist})" if sending.twist else ""
        if fate.outcome != "accepted" or event_id is None:
            self._say(f"{what}{_MEANS.get(fate.outcome, fate.outcome)}{twist}")
            return
        rows = self._questions.deliveries_of(event_id)
        self._say(f"{what}{', '.join(map(_where, rows)) or 'kept in the journal'}{twist}")
        self.waiting |= {each.id: (each.destination, sending.about) for each in rows if each.state not in _WORDS}

    def all_have(self, event_id: str) -> bool:
        """Whether every destination that is owed the event has it, or gave it up."""
        return all(each.state in _WORDS for each in self._questions.deliveries_of(event_id))

    def show_settled(self) -> None:
        """What waited, and has got through since."""
        came: dict[str, list[str]] = {}
        for delivery_id, (destination, about) in list(self.waiting.items()):
            event_id = delivery_id.rpartition(":")[0]
            (row,) = [each for each in self._questions.deliveries_of(event_id) if each.id == delivery_id]
            if row.state in _WORDS:
                del self.waiting[delivery_id]
                told = f"after {row.attempts} attempts" if row.attempts > 1 else "now"
                came.setdefault(f"{destination} {_WORDS[row.state]} {told}", []).append(about)
        for what, kits in came.items():
            self._say(f"{'':14}{what}: {', '.join(sorted(set(kits)))}")

    def summary(self, fates: Sequence[Fate]) -> None:
        """All of it in a few lines."""
        counted = Counter(each.outcome for each in fates)
        self._say(f"\n{len(fates)} requests: {', '.join(f'{count} {name}' for name, count in counted.items())}")
        owed = self._questions.owed()
        for each in owed:
            self._say(f"{each.destination}: {each.pending + each.running} wait, {each.dead} given up")
        if not owed:
            self._say("every destination has everything that it was owed")


def where_to_look(folder: DemoFolder, *, program: str, url: str | None) -> str:
    """What somebody may do next; `program` is what they type, `url` where the bridge goes on serving, if it does."""
    config = shlex.quote(str(folder.config))
    told = ["", "Look:"]
    told += [f"  {what:<22}{where}" for what, where in (
        ("the CSV files", folder.exports),
        ("the mails", f"{folder.mails} (mail programs open them; the reports are attached)"),
        ("the bridge's file", folder.config),
        ("its log", folder.log),
    )]  # fmt: skip
    told += ["Ask, as you would ask your own bridge:"]
    asked = ("events list", "deliveries list", "dead-letters list", "destinations")
    told += [f"  {program} {each} -c {config}" for each in asked]
    if url is not None:
        told += [f"It serves on at {url} until Ctrl-C; from another terminal: {program} send report-ready -c {config}"]
    told += [f"When you have seen enough, delete {folder.path}"]
    return "\n".join(told)


def _where(row: DeliveryRow) -> str:
    return f"{row.destination} {_WORDS.get(row.state, 'waits')}"
