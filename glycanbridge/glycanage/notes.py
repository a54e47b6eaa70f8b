"""What the journal is told of secrets, by fingerprint: which a bridge takes, which have signed, which are registered.

A rotation looks here where it stands: the bridge that serves and the person who rotates are two processes.
"""

from __future__ import annotations

from datetime import UTC, datetime

from glycanbridge.journal import Done, Journal, Questions
from glycanbridge.signature import Secrets

TAKES = "takes the secrets"
SIGNED = "an event was signed with the secret"
REGISTERED = "registered a webhook with the secret"
ROTATED = "ended the rotation to the secret"
DELETED = "deleted a webhook"
WHO = "glycanbridge"
"""Who notes what no person did."""
_SECRETS = "secrets"
"""What a note is about that tells all which a bridge takes."""


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


def taken(questions: Questions) -> list[tuple[str, ...]]:
    """Which secrets a bridge took at each start at which they were other ones, by fingerprint; the newest last."""
    return [tuple((each.reason or "").split()) for each in questions.history(_SECRETS) if each.what == TAKES]


def takes(questions: Questions | None) -> tuple[str, ...]:
    """Those that the bridge which was started last takes; none if there is no journal, or no bridge was started."""
    starts = [] if questions is None else taken(questions)
    return starts[-1] if starts else ()


def moment_of(done: Done) -> datetime:
    """When it was, in UTC."""
    return datetime.fromtimestamp(done.at / 1000, UTC)


def when(done: Done) -> str:
    """When it was, for people."""
    return f"on {moment_of(done):%Y-%m-%d at %H:%M} UTC"


def note_registered(journal: Journal | None, webhook_id: str | None, secret: str, *, url: str, who: str) -> None:
    """Note a registration, by the fingerprint of its secret. Raises `JournalUnavailable`."""
    if journal is not None:
        journal.note(who=who, what=REGISTERED, about=about_secret(secret), reason=f"{webhook_id} for {url}")


def registered_at(journal: Journal | None, secret: str, url: str) -> Done | None:
    """The note that a URL was registered with a secret, unless that was deleted from here since."""
    history = [] if journal is None else secret_history(journal, secret)
    for each in reversed(history):
        webhook_id, _, noted_url = (each.reason or "").partition(" for ")
        if each.what == REGISTERED and noted_url == url and journal is not None:
            return each if last(journal.history(about_webhook(webhook_id)), DELETED) is None else None
    return None


def lost_sight_of(registered: Done) -> str:
    """What to say of a registration that was noted, and that GlycanAge does not list."""
    webhook_id = (registered.reason or "").partition(" ")[0]
    return f"The webhook {webhook_id} was registered {when(registered)}, and GlycanAge does not list it"


class SecretNotes:
    """Notes at a start which secrets are taken, if these are others than at the last one; and that one has signed.

    That is noted the first time, and again after a registration.
    """

    def __init__(self, journal: Journal, secrets: Secrets) -> None:
        self._journal, self._secrets = journal, secrets
        self._started = False
        self._signed: set[str] = set()

    def write(self) -> None:
        """Note what is news; nothing is read or written while nothing has happened. Raises `JournalUnavailable`.

        What could not be noted is noted the next time.
        """
        if not self._started:
            if takes(self._journal) != self._secrets.fingerprints:
                self._note(TAKES, _SECRETS, " ".join(self._secrets.fingerprints))
            self._started = True
        self._signed |= self._secrets.signed()
        for each in sorted(self._signed):
            if self._is_news(each):
                self._note(SIGNED, about_secret(each))
            self._signed.discard(each)

    def _is_news(self, fingerprint: str) -> bool:
        """Whether it has not been noted yet, or not since it was registered: a rehearsal may have signed before."""
        history = secret_history(self._journal, fingerprint)
        signed, registered = last(history, SIGNED), last(history, REGISTERED)
        return signed is None or (registered is not None and history.index(registered) > history.index(signed))

    def _note(self, what: str, about: str, reason: str | None = None) -> None:
        self._journal.note(who=WHO, what=what, about=about, reason=reason)
