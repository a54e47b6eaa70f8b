"""What the journal is told of secrets, by fingerprint: which a bridge takes, which have signed, which are registered.

A rotation looks here where it stands: the bridge that serves and the person who rotates are two processes.
"""

from __future__ import annotations

from glycanbridge.journal import Done, Journal, Questions
from glycanbridge.signature import Secrets

TAKES = "takes the secret"
SIGNED = "an event was signed with the secret"
REGISTERED = "registered a webhook with the secret"
ROTATED = "ended the rotation to the secret"
DELETED = "deleted a webhook"
WHO = "glycanbridge"
"""Who notes what no person did."""


def about_secret(fingerprint: str) -> str:
    """What a note about a secret is about."""
    return f"secret {fingerprint}"


def about_webhook(webhook_id: str) -> str:
    """What a note about a registration is about."""
    return f"webhook {webhook_id}"


def last(history: list[Done], what: str) -> Done | None:
    """The newest note that says `what`."""
    return next((each for each in reversed(history) if each.what == what), None)


def secret_history(questions: Questions, fingerprint: str) -> list[Done]:
    """All that was noted about a secret, the first thing first."""
    return questions.history(about_secret(fingerprint))


class SecretNotes:
    """Notes once that a secret is taken, and that one has signed: the first time, and again after a registration."""

    def __init__(self, journal: Journal, secrets: Secrets) -> None:
        self._journal, self._secrets = journal, secrets
        self._to_take = list(dict.fromkeys(secrets.fingerprints))
        self._signed: set[str] = set()

    def write(self) -> None:
        """Note what is news; nothing is read or written while nothing has happened. Raises `JournalUnavailable`.

        What could not be noted is noted the next time.
        """
        while self._to_take:  # in the order of the list: the last one is the newest
            each = self._to_take[0]
            self._note(each, TAKES, news=last(secret_history(self._journal, each), TAKES) is None)
            del self._to_take[0]
        self._signed |= self._secrets.signed()
        for each in sorted(self._signed):
            self._note(each, SIGNED, news=self._is_news(each))
            self._signed.discard(each)

    def _is_news(self, fingerprint: str) -> bool:
        """Whether it has not been noted yet, or not since it was registered: a rehearsal may have signed before."""
        history = secret_history(self._journal, fingerprint)
        signed, registered = last(history, SIGNED), last(history, REGISTERED)
        return signed is None or (registered is not None and history.index(registered) > history.index(signed))

    def _note(self, fingerprint: str, what: str, *, news: bool) -> None:
        if news:
            self._journal.note(who=WHO, what=what, about=about_secret(fingerprint), reason=None)
