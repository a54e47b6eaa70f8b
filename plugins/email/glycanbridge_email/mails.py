"""A mail's bytes. The same letter under the same name is the same mail, byte for byte, whenever it is made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from hashlib import sha256

from glycanbridge_email.letters import Letter
from glycanbridge_email.report_files import FILE_NAME
from glycanbridge_email.settings import EmailSettings, Recipients

_POLICY = policy.SMTP.clone(cte_type="7bit", max_line_length=78)


@dataclass(frozen=True, slots=True)
class Mail:
    """What is sent, and under which name."""

    message_id: str
    recipients: Recipients
    content: bytes


def message_id(key: str, sender: str) -> str:
    """The Message-ID that goes with a key: the same for the same, and it gives nothing of the key away."""
    return f"<{sha256(key.encode()).hexdigest()[:40]}@{sender.rpartition('@')[2]}>"


def mail(letter: Letter, *, name: str, at: datetime, recipients: Recipients, settings: EmailSettings) -> Mail:
    """The mail of this Message-ID. `at` is its date: a repeat has the same, however much later it is sent."""
    message = EmailMessage(policy=_POLICY)
    message["From"] = Address(settings.sender_name, addr_spec=settings.sender)
    message["To"] = _addresses(recipients.to)
    if recipients.cc:
        message["Cc"] = _addresses(recipients.cc)
    if settings.reply_to:
        message["Reply-To"] = _addresses([settings.reply_to])
    message["Subject"] = letter.subject
    message["Date"] = at
    message["Message-ID"] = name
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    message["X-Auto-Response-Suppress"] = "All"  # the same for Microsoft's servers
    message.set_content(letter.text, cte="quoted-printable")
    if letter.html:
        message.add_alternative(letter.html + "\n", subtype="html", cte="quoted-printable")
        message.set_boundary(_boundary(name))
    if letter.pdf is not None:
        message.add_attachment(letter.pdf, maintype="application", subtype="pdf", filename=FILE_NAME)
        message.set_boundary(_boundary(f"{name} with a file"))
    return Mail(message_id=name, recipients=recipients, content=message.as_bytes())


def _boundary(key: str) -> str:
    return f"=_{sha256(key.encode()).hexdigest()[:40]}"  # "=_" is never in quoted-printable text, nor in base64


def _addresses(addresses: Sequence[str]) -> tuple[Address, ...]:
    return tuple(Address(addr_spec=each) for each in addresses)
