"""Hands a letter to the mail server until each of its recipients has it once, or is refused for good."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime

from glycanbridge import DestinationError, NotYetError, PermanentError, TemporaryError
from glycanbridge_email.letters import Letter
from glycanbridge_email.mail_server import MailServer
from glycanbridge_email.mails import mail
from glycanbridge_email.replies import MENDED_S, SOON_S, Reply
from glycanbridge_email.settings import EmailSettings, Recipients
from glycanbridge_email.state import State
from glycanbridge_email.words import clean

Clock = Callable[[], float]
"""Tells the time in seconds since the epoch."""
GIVE_UP_S = 5 * 86_400.0
"""How long those are waited for who are refused for now, when others have the mail: as long as mail servers do."""
LONGEST_WAIT_S = 3600.0


class Post:
    """Sends, and remembers who has a mail that others have not: nobody gets it twice because of somebody else."""

    def __init__(self, settings: EmailSettings, state: State, *, clock: Clock, server: MailServer) -> None:
        self._settings, self._state, self._clock, self._server = settings, state, clock, server

    def recipients_of(self, practice_id: str) -> Recipients:
        """Who gets a practice's mails. Raises `PermanentError` if `bridge.yaml` names nobody."""
        found = self._settings.recipients_of(practice_id)
        if found is None:
            told = f"nobody is to get mails about {clean(practice_id)[:64]}: name its recipients in"
            raise PermanentError(f"{told} `settings.practices`, or those of all others in `settings.to`; then replay")
        return found

    def send(self, letter: Letter, *, practice_id: str, name: str, at: datetime) -> str:
        """Send the letter as the mail of the Message-ID `name` to those of the practice who do not have it; a receipt.

        Raises `NotYetError` if only some have it and the others were refused for now; `PermanentError` if somebody was
        refused for good; else as `MailServer.send`.
        """
        recipients = self.recipients_of(practice_id)
        had = self._who_has(name)
        missing = [each for each in recipients.everybody if each not in had]
        if not missing:  # they were others, or more, when it was last sent
            self._all_have_it(name, had)
            return f"{name} everybody had it"
        sent = self._server.send(
            mail(letter, name=name, at=at, recipients=recipients, settings=self._settings), missing
        )
        if not sent.refused:
            self._all_have_it(name, had)
            return f"{name} {sent.reply}"
        now_ms = int(self._clock() * 1000)
        have = {each: now_ms for each in missing if each not in sent.refused} | had
        if len(have) > len(had):
            with self._state.change() as changes:
                changes.forget_old(now_ms)
                changes.has_it(name, list(have), now_ms)
        raise self._refused(self._told(sent.refused, recipients, practice_id), sent.refused, have)

    def _who_has(self, name: str) -> dict[str, int]:
        if not self._state.is_there:
            return {}
        with self._state.change() as changes:
            return changes.who_has(name)

    def _all_have_it(self, name: str, had: Mapping[str, int]) -> None:
        if had:
            with suppress(TemporaryError, DestinationError), self._state.change() as changes:  # they do have it
                changes.all_have_it(name)

    def _refused(self, told: str, refused: Mapping[str, Reply], have: Mapping[str, int]) -> Exception:
        of_all = f"{len(have)} of {len(have) + len(refused)} recipients have the mail"
        for_now = any(each.refuses_recipient_for_now for each in refused.values())
        if not have and for_now:
            return TemporaryError(f"nobody has the mail; refused for now: {told}", retry_after_s=SOON_S)
        if not have and all(each.is_not_allowed for each in refused.values()):
            advice = "see that the server takes mail for them from this bridge, and whether it wants a login"
            return DestinationError(f"nobody has the mail; not allowed: {told}; {advice}", retry_after_s=MENDED_S)
        if not for_now:
            advice = "correct the address and replay: only those who do not have it get it"
            return PermanentError(f"{of_all}; refused: {told}; {advice}")
        waited_s = self._clock() - min(have.values()) / 1000
        if waited_s > GIVE_UP_S:
            return PermanentError(f"{of_all}; for five days the others were refused: {told}")
        wait_s = min(max(waited_s, SOON_S), LONGEST_WAIT_S)  # as long again as it has been, so twice as long each time
        return NotYetError(f"{of_all}; those who do not get it later: {told}", retry_after_s=wait_s)

    def _told(self, refused: Mapping[str, Reply], recipients: Recipients, practice_id: str) -> str:
        """Who was refused, by the place in `bridge.yaml`, and how."""
        own = f"practices.{clean(practice_id)[:64]}." if practice_id in self._settings.practices else ""
        places = {each: f"{own}cc, number {number}" for number, each in enumerate(recipients.cc, 1)}
        places |= {each: f"{own}to, number {number}" for number, each in enumerate(recipients.to, 1)}
        return ", ".join(f"{places[address]} ({reply})" for address, reply in refused.items())
