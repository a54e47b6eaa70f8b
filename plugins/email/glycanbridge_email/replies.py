"""What a mail server's answers mean: about this mail, about one recipient, or about everything it is given.

Only an answer's numbers are ever told: its text may quote a recipient, or a patient.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from glycanbridge import DestinationError, PermanentError, TemporaryError

SOON_S = 60.0
"""When to ask again a server that answered "not now"."""
MENDED_S = 300.0
"""When to ask again after something that a person has to mend."""
_ENHANCED = re.compile(rb"([245]\.\d{1,3}\.\d{1,3})(?=\s|$)")
_LOGIN_WANTED = {530, 534, 535, 538}
LAST_STEP = "the end of DATA"
"""The mail has been told, or a part of it: until the server answers, nobody knows whether it has it."""
_BEFORE_ANY_MAIL = {"the greeting", "EHLO", "STARTTLS", "AUTH", "RSET", "NOOP"}


class Reply(NamedTuple):
    """An answer of a mail server's: its code (RFC 5321) and its enhanced status (RFC 3463), if it has one."""

    code: int
    status: str | None = None

    @classmethod
    def of(cls, code: int, text: bytes | str) -> Reply:
        """The answer as smtplib tells it."""
        found = _ENHANCED.match(text if isinstance(text, bytes) else text.encode("utf-8", "replace"))
        return cls(code, found[1].decode() if found else None)

    def __str__(self) -> str:
        return f"{self.code} {self.status}" if self.status else str(self.code)

    @property
    def is_smtp(self) -> bool:
        """Whether it is an answer at all."""
        return 200 <= self.code <= 599

    @property
    def is_yes(self) -> bool:
        """The first digit says so (RFC 5321, 4.2.1)."""
        return 200 <= self.code <= 299

    @property
    def is_about_everything(self) -> bool:
        """It leaves (421), or wants another login: whatever it is asked."""
        return self.code == 421 or self.code in _LOGIN_WANTED

    @property
    def refuses_recipient_for_now(self) -> bool:
        """As an answer to RCPT. There 552 is "too many recipients" or a full mailbox (RFC 5321, 4.5.3.1.10)."""
        return 400 <= self.code <= 499 or self.code == 552

    @property
    def is_not_allowed(self) -> bool:
        """It would take the mail from another: it does not relay for this bridge, or this login (RFC 3463, X.7.X)."""
        return self.code >= 500 and (self.status or "").startswith("5.7.")

    @property
    def is_of_size(self) -> bool:
        """The mail is too large for it."""
        return self.code == 552 or (self.status or "").endswith(".3.4")


def refusal(server: str, step: str, reply: Reply) -> Exception:
    """The error to raise when `server` answered `step` with `reply`, which is not what should have come."""
    told = f"{server} answered {step} with {reply}"
    if not reply.is_smtp:
        told = f"{server} gave no SMTP answer to {step}; see that `host` and `port` are those of a mail server"
        return TemporaryError(told, retry_after_s=SOON_S, unknown=step == LAST_STEP)
    if reply.is_about_everything or step in _BEFORE_ANY_MAIL:
        return _of_everything(told, step, reply)
    if reply.code < 500:
        return TemporaryError(f"{told}: not now", retry_after_s=SOON_S)
    if step == "MAIL" and not reply.is_of_size:
        advice = "see that this account may send as `sender`"
        return DestinationError(f"{told}: it refuses the sender; {advice}", retry_after_s=MENDED_S)
    return PermanentError(f"{told}: it refuses this mail")


def _of_everything(told: str, step: str, reply: Reply) -> DestinationError:
    if reply.code in _LOGIN_WANTED or (step == "AUTH" and reply.code >= 500):
        advice = "see that `username` and `password` are right, and that the account may send by SMTP"
        return DestinationError(f"{told}: it refuses the login, or wants one; {advice}", retry_after_s=MENDED_S)
    if reply.code < 500:
        return DestinationError(f"{told}: it takes nothing for now", retry_after_s=SOON_S)
    return DestinationError(f"{told}: it takes nothing from this bridge", retry_after_s=MENDED_S)
