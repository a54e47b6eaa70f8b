"""A new secret for the webhook, step by step, with no event lost: each run does the next step and says what follows.

GlycanAge has no call to change a secret, so a second webhook is registered with the new one beside the old, and the old
one goes once an event has come that the new one signed. Where it stands is read from `bridge.yaml`, the journal and
GlycanAge's list each time: a run that was broken off is simply run again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from glycanbridge.bridge_yaml import BridgeYaml
from glycanbridge.errors import GlycanAgeError
from glycanbridge.glycanage.notes import (
    DELETED,
    REGISTERED,
    ROTATED,
    SIGNED,
    about_secret,
    about_webhook,
    last,
    lost_sight_of,
    moment_of,
    note_registered,
    registered_at,
    secret_history,
    taken,
    takes,
    when,
)
from glycanbridge.glycanage.registering import public_url_of, wanted
from glycanbridge.glycanage.registrations import Registration
from glycanbridge.glycanage.secret_files import NotEdited, SecretList
from glycanbridge.glycanage.webhooks import SUPPORT, Webhooks
from glycanbridge.journal import Done, Journal
from glycanbridge.settings import Settings
from glycanbridge.signature import fingerprint

AGAIN = "`glycanbridge webhooks rotate`"
REST = timedelta(days=1)
"""For so long after a rotation another one is begun only if that is said: a run too many must not begin it."""


class Step(StrEnum):
    """What a run has come to."""

    BEGIN = "begin"
    RESTART = "restart"
    REGISTER = "register"
    WAIT = "wait"
    FINISH = "finish"
    REST = "rest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a run did and what comes next; `stuck`: a person must do or say something before it goes on."""

    step: Step
    next: str
    stuck: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sorted:
    """The registrations of our own URL, by the secret that they were made with."""

    new: list[Registration]
    old: list[Registration]
    unknown: list[Registration]
    """Made with a secret that we do not have, or by somebody else."""


def sort_out(listed: Sequence[Registration], url: str, *, new: str, old: str, made: dict[str, str]) -> Sorted:
    """Which registration belongs to which secret, by the fingerprint in its name or by what was noted, `made`."""
    found = Sorted(new=[], old=[], unknown=[])
    for each in listed:
        if each.is_at(url):
            secret = each.fingerprint or made.get(each.id or "")
            place = {new: found.new, old: found.old}.get(secret or "", found.unknown)
            place.append(each)
    return found


class Rotation:
    """One run. `say` is told each thing as it is done."""

    def __init__(
        self,
        *,
        settings: Settings,
        source: BridgeYaml,
        journal: Journal | None,
        webhooks: Webhooks,
        who: str,
        say: Callable[[str], None],
        yes: bool,
        again: bool,
    ) -> None:
        self._settings, self._source, self._webhooks = settings, source, webhooks
        self._journal, self._who, self._say, self._yes, self._again = journal, who, say, yes, again
        self._secrets = [fingerprint(each.get_secret_value()) for each in settings.receiver.secrets]
        self._list = SecretList(source)
        self._url = public_url_of(settings, source)

    def run(self, today: date) -> Told:
        """Do the next step. Raises `GlycanAgeError`, `JournalError` or `SettingsError`; what was done until then is
        found again by the next run.
        """
        if len(self._secrets) == 1:
            return self._rest() or self._begin(today)
        if len(self._secrets) > 2:
            raise GlycanAgeError(
                f"receiver.secrets has {len(self._secrets)} secrets, and a rotation goes from one to another: take out "
                "those that are no longer used"
            )
        old, new = self._secrets
        if old == new:
            raise GlycanAgeError("receiver.secrets has the same secret twice: take one out")
        if self._journal is None or new not in takes(self._journal):
            self._say(f"bridge.yaml has the new secret {new}, and the bridge that was started last does not take it.")
            return Told(step=Step.RESTART, next=f"restart the bridge, then run {AGAIN} again")
        if _first_start(old, self._journal) > _first_start(new, self._journal):
            raise GlycanAgeError(
                f"receiver.secrets: the last one must be the new one, and {old} is newer than {new}: change their order"
            )
        listed = self._webhooks.listed()
        found = sort_out(listed, self._url, new=new, old=old, made=self._made())
        if not found.new:
            return self._missing(new) or self._register(new, listed)
        signed = self._signed(new)
        if signed is None or all(each.approved is False for each in found.new):
            return self._wait(new, found.new, signed)
        return self._finish(self._journal, found)

    def _begin(self, today: date) -> Told:
        path = self._list.new_path(today)
        trouble = self._list.trouble() or self._begun(path)
        if not trouble:
            return Told(step=Step.BEGIN, next=f"restart the bridge now, then run {AGAIN} again")
        self._say(f"{self._source.file} was not changed: {trouble}.")
        todo = (
            f"write a new secret into {path} (`openssl rand -base64 48`, mode 0600), put "
            f'"${{file:{path}}}" at the end of receiver.secrets, restart the bridge, then run {AGAIN} again'
        )
        return Told(step=Step.BEGIN, next=todo, stuck=True)

    def _begun(self, path: str) -> str:
        """Write a new secret and name it in `bridge.yaml`; why that could not be done, and then nothing was."""
        file = self._list.write_secret(path)
        try:
            self._list.add(path)
        except NotEdited as error:
            file.unlink()  # it has never been used
            return error.why
        self._say(f"A new secret is in {file}, and {self._source.file} has a line for it beside the old one.")
        return ""

    def _rest(self) -> Told | None:
        ended = self._last(self._secrets[0], ROTATED)
        if self._again or ended is None or datetime.now(UTC) - moment_of(ended) > REST:
            return None
        self._say(f"The rotation to the secret {self._secrets[0]} ended {when(ended)}.")
        todo = f"restart the bridge, if that has not been done since the end {when(ended)}"
        restarted = takes(self._journal) == tuple(self._secrets)
        return Told(step=Step.REST, next=f"{'nothing' if restarted else todo}; --again begins another one")

    def _missing(self, new: str) -> Told | None:
        registered = registered_at(self._journal, new, self._url)
        if registered is None:
            return None
        self._say(f"{lost_sight_of(registered)}.")
        todo = f"ask {SUPPORT}, or `glycanbridge webhooks register --again` for another one; then run {AGAIN} again"
        return Told(step=Step.REGISTER, next=todo, stuck=True)

    def _register(self, new: str, listed: Sequence[Registration]) -> Told:
        made = self._webhooks.register(wanted(self._settings, self._source, url=self._url), before=listed)
        self._say(
            f"Registered the webhook {made.registration.id} for {self._url} with the new secret {new}: "
            f"{made.registration.standing}{f' ({made.note})' if made.note else ''}."
        )
        note_registered(self._journal, made.registration.id, new, url=self._url, who=self._who)
        self._say(
            "Until the end both webhooks may send each event: the journal knows a duplicate, and nothing doubles."
        )
        return Told(
            step=Step.REGISTER,
            next=f"GlycanAge's team must approve it (write to {SUPPORT}); after the next event run {AGAIN} again",
        )

    def _wait(self, new: str, found: list[Registration], signed: Done | None) -> Told:
        registered = self._last(new, REGISTERED)
        ids = ", ".join(f"{each.id} ({each.standing})" for each in found)
        since = f", registered {when(registered)}" if registered is not None else ""
        self._say(f"The webhook with the new secret {new} is {ids}{since}.")
        if signed is None:
            self._say("No event that was signed with it has come yet. A bridge notes one within half a minute.")
        else:
            self._say(f"An event was signed with it {when(signed)}: a rehearsal, as it is not approved.")
        return Told(
            step=Step.WAIT,
            next="`glycanbridge webhooks list` shows its status: if it is not approved, write to "
            f"{SUPPORT}; after the next event run {AGAIN} again",
        )

    def _finish(self, journal: Journal, found: Sorted) -> Told:
        old, new = self._secrets
        left = [*found.unknown, *(each for each in found.old if each.id is None)]
        if left:
            for each in left:
                self._say(f"{described(each)}: not known to be of the secret {old}, so it is left alone.")
            ids = " ".join(each.id or "ID" for each in left)
            return Told(
                step=Step.FINISH,
                next=f"if they are not needed any more, `glycanbridge webhooks delete {ids} --yes`, then {AGAIN} again",
                stuck=True,
            )
        lost = _lost(found)
        if lost:
            self._say(f"The webhook with the new secret is not registered for {lost}, and the old one is.")
            return Told(
                step=Step.FINISH,
                next=f"write it into glycanage.events and `glycanbridge webhooks register --again`, or `glycanbridge "
                f"webhooks delete {' '.join(each.id or 'ID' for each in found.old)} --yes` if nobody wants it",
                stuck=True,
            )
        self._say(f"An event has come that was signed with the new secret {new}. Now the old one, {old}, goes:")
        for each in found.old:
            self._say(f"to delete: {described(each)}")
        self._say(f"to take out: its line in {self._source.file}")
        if not self._yes:
            return Told(step=Step.FINISH, next="nothing was done: say --yes to do it", stuck=True)
        for each in found.old:
            delete(self._webhooks, journal, each, who=self._who, say=self._say)
        return self._take_out(journal, new)

    def _take_out(self, journal: Journal, new: str) -> Told:
        path = self._list.path_of(0)
        journal.note(who=self._who, what=ROTATED, about=about_secret(new), reason=None)
        try:
            self._list.remove(0)
        except NotEdited as error:
            self._say(f"{error}.")
            todo = f"take the first of receiver.secrets out and restart the bridge; {AFTERWARDS}"
            return Told(step=Step.FINISH, next=todo, stuck=True)
        self._say(f"Took the old secret's line out of {self._source.file}.")
        if path is not None:
            self._say(f"Its file is left: {self._source.folder / path}. Remove it when the bridge has restarted.")
        return Told(step=Step.FINISH, next=f"restart the bridge; {AFTERWARDS}")

    def _last(self, secret: str, what: str) -> Done | None:
        return None if self._journal is None else last(secret_history(self._journal, secret), what)

    def _signed(self, new: str) -> Done | None:
        """The note that an event was signed with it, unless that was before it was registered: a rehearsal's."""
        history = [] if self._journal is None else secret_history(self._journal, new)
        registered = last(history, REGISTERED)
        return last(history if registered is None else history[history.index(registered) :], SIGNED)

    def _made(self) -> dict[str, str]:
        """What was noted of registrations: the secret of each, by id."""
        return {
            (each.reason or "").partition(" ")[0]: secret
            for secret in self._secrets
            for each in ([] if self._journal is None else secret_history(self._journal, secret))
            if each.what == REGISTERED
        }


def _first_start(secret: str, journal: Journal) -> int:
    """Which of the noted starts was the first one with a secret; -1 if none was."""
    return next((number for number, secrets in enumerate(taken(journal)) if secret in secrets), -1)


def _lost(found: Sorted) -> str:
    """The events, in words, that no webhook would send any more without the old ones; empty if that is not told."""
    if not all(each.events for each in found.new):
        return ""
    kept = {event for each in found.new if each.approved is not False for event in each.events}
    return ", ".join(dict.fromkeys(event for each in found.old for event in each.events if event not in kept))


AFTERWARDS = "an hour from now is best, as what GlycanAge still tries again is signed with the old secret"


def delete(
    webhooks: Webhooks, journal: Journal | None, which: Registration, *, who: str, say: Callable[[str], None]
) -> None:
    """Delete a registration, which has an id, and note it. Raises `GlycanAgeError` and `JournalUnavailable`."""
    told = webhooks.delete(which.id or "")
    say(f"deleted: {which.id}{f' ({told})' if told else ''}")
    if journal is not None:
        journal.note(who=who, what=DELETED, about=about_webhook(which.id or ""), reason=f"{which.name} for {which.url}")


def described(which: Registration) -> str:
    """A registration in a line."""
    return f"{which.id or 'no id'} {which.name or 'without a name'!r} for {which.url or 'no URL'} ({which.standing})"
