"""A mail server on loopback that keeps what it takes, and answers or misbehaves at each step as it is told."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from io import BufferedReader

from glycanbridge.testing.answers import Fault, Script
from glycanbridge.testing.listening import Gone, Peer

SmtpAnswer = str | Fault
Step = SmtpAnswer | Sequence[SmtpAnswer] | Mapping[str, SmtpAnswer] | Callable[[str], SmtpAnswer]
"""What is said at a step: a reply, a fault, several in turn (the last one for ever after), by address (for `RCPT`),
or what a function says of the command's line."""

_USUAL: dict[str, str] = {
    "connect": "220 peer",
    "EHLO": "250-peer\r\n250 SIZE 1000000",
    "HELO": "250 peer",
    "MAIL": "250 2.1.0 ok",
    "RCPT": "250 2.1.5 ok",
    "DATA": "354 go on",
    "content": "",
    "end": "250 2.0.0 ok",
    "RSET": "250 ok",
    "NOOP": "250 ok",
    "QUIT": "221 bye",
    "STARTTLS": "220 go on",
    "AUTH": "235 2.7.0 ok",
    "login": "235 2.7.0 ok",
}
_MOMENTS = ("connect", "content", "end", "login")
"""The steps that are no commands."""
_LONGEST_LINE_BYTES = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A mail that was taken."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    """As it was sent, without the dots that hide dots."""

    @property
    def message(self) -> EmailMessage:
        """As mail programs read it."""
        return message_from_bytes(self.content, policy=policy.default)

    @property
    def key(self) -> object:
        """What must be equal for it to be the same mail once more."""
        return self.recipients, self.content

    @property
    def whole(self) -> bytes:
        """All of it."""
        return "\n".join([self.sender, *self.recipients, "", ""]).encode() + self.content


class SmtpPeer(Peer):
    """A mail server on 127.0.0.1 whose every step can be told what to say.

    ```
    with SmtpPeer() as peer:
        peer.answer(RCPT=["450 4.2.0 later", "250 ok"], end=Fault.RESET)
        ...  # the plugin sends to 127.0.0.1, peer.port
        assert peer.mails[0].message["Subject"] == "..."
    ```
    The steps are `connect`, the commands (`EHLO`, `MAIL`, `RCPT`, `DATA`, `RSET`, `QUIT`, `STARTTLS`, `AUTH` ...),
    `end` for the end of a mail, and `login` for what is no command. After a reply of 421 the connection is closed.
    `content` is while a mail is on its way, when nothing is said: it can be a fault.
    """

    def __init__(
        self, *, tls: ssl.SSLContext | None = None, implicit: bool = False, port: int = 0, **steps: Step
    ) -> None:
        """With `tls` there is STARTTLS, or, if `implicit`, TLS from the first byte. `steps`: how it is while well.

        `port`: any free one, unless a far side that was away is to come back where it was.
        """
        self.mails: list[Mail] = []
        """All that were taken with a 250."""
        self.commands: list[str] = []
        """Every line but those of mails."""
        more = {"EHLO": "250-peer\r\n250-STARTTLS\r\n250 SIZE 1000000"} if tls is not None and not implicit else {}
        self._well: dict[str, Step] = {**_USUAL, **more}
        self.answer(**steps)
        self._well |= steps
        super().__init__(tls=tls, implicit=implicit, port=port)

    @property
    def taken(self) -> list[Mail]:
        """What it was given: its mails."""
        return self.mails

    def answer(self, **steps: Step) -> None:
        """From now on say so at these steps, and at the others what is said while it is well.

        Raises `ValueError` for what is no step: `rcpt` would never be asked.
        """
        unknown = [name for name in steps if name not in _MOMENTS and not (name.isalpha() and name.isupper())]
        if unknown:
            raise ValueError(f"{unknown[0]} is no step: write a command in capitals, or one of {', '.join(_MOMENTS)}")
        self._scripts = {name: _script(name, each) for name, each in (self._well | steps).items()}

    def be_well(self) -> None:
        """Answer again as it was told when it was made."""
        self.answer()

    def reply_to(self, mail: Mail) -> SmtpAnswer:
        """What is said to a whole mail: as the step `end` has it. A 250 keeps it."""
        return self._scripts["end"].next(mail.content.decode("latin-1"))

    def talk(self, connection: socket.socket, number: int) -> None:  # noqa: ARG002
        """One client, from the greeting to its QUIT."""
        self._say(connection, "connect", "")
        lines, sender, to = connection.makefile("rb"), "", list[str]()
        try:
            while line := lines.readline(_LONGEST_LINE_BYTES):
                text = line.decode("latin-1").strip()
                self.commands.append(text)
                verb = text.partition(" ")[0].upper()
                reply = self._say(connection, verb if verb in self._scripts else "login", text)
                if verb == "MAIL":
                    sender, to = _address(text), []
                elif verb == "RCPT" and reply.startswith("25"):
                    to.append(_address(text))
                elif verb == "RSET":
                    to = []
                elif verb == "DATA" and reply.startswith("354"):
                    self._take(connection, lines, sender, to)
                elif verb == "STARTTLS" and reply.startswith("220"):
                    lines.close()
                    connection = self.secured(connection)
                    lines = connection.makefile("rb")
                elif verb == "QUIT":
                    return
        finally:
            with suppress(OSError):
                lines.close()
            self.let_go(connection)

    def _take(self, connection: socket.socket, lines: BufferedReader, sender: str, to: list[str]) -> None:
        if isinstance(reply := self._scripts["content"].next(""), Fault):
            self.misbehave(connection, reply, half=b"")
        mail = Mail(sender=sender, recipients=tuple(to), content=_content(lines))
        reply = self.reply_to(mail)
        if isinstance(reply, str) and reply.startswith("250"):
            self.mails.append(mail)
        self._reply(connection, reply)

    def _say(self, connection: socket.socket, step: str, line: str) -> str:
        return self._reply(connection, self._scripts[step].next(line))

    def _reply(self, connection: socket.socket, reply: SmtpAnswer) -> str:
        if isinstance(reply, Fault):
            self.misbehave(connection, reply, half=b"25")
        connection.sendall(reply.encode() + b"\r\n")
        if reply.startswith("421"):
            raise Gone
        return reply


def _script(name: str, step: Step) -> Script[str, SmtpAnswer]:
    if isinstance(step, Mapping):
        return Script(lambda line: step.get(_address(line), _USUAL[name]))
    if isinstance(step, str) or callable(step):
        return Script(step)
    return Script(*step)


def _address(line: str) -> str:
    return line.partition("<")[2].partition(">")[0]


def _content(lines: BufferedReader) -> bytes:
    """A mail as it comes over the wire, without the dots that hide dots. Raises `Gone` if it breaks off."""
    content = bytearray()  # a mail with a report file has a hundred thousand lines
    while (line := lines.readline(_LONGEST_LINE_BYTES)) != b".\r\n":
        if not line:
            raise Gone
        content += line[1:] if line.startswith(b".") else line
    return bytes(content)
