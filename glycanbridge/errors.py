"""Every exception that GlycanBridge raises on purpose, in one tree.

```
GlycanBridgeError
├── SettingsError             bridge.yaml cannot be used as it stands; lists every problem
├── SignatureError            a request that GlycanAge did not sign, with the reason
├── ParseError                a signed body that is not an event we understand
├── JournalError              the journal
│   ├── JournalUnavailable        cannot commit now; trying again later may help
│   ├── JournalMissing            has not been made yet: nothing was received so far
│   └── JournalUnusable           cannot be used by this program at all; trying again will not help
├── GlycanAgeError            GlycanAge's API did not do what it was asked
├── ExportError               a file of what GlycanAge has that cannot be compared
├── ListenError               the receiver's address cannot be listened on
├── DeadLetterError           a dead letter that cannot be read or written
├── HostStopped               a plugin's process was ended because the bridge stops
├── PluginError               an installed plugin that cannot be used
└── DeliveryError             what a plugin raises when a delivery did not succeed
    ├── TemporaryError            try again later
    ├── NotYetError               the far side is well, and cannot take this one yet
    ├── DestinationError          the destination as a whole takes nothing: leave it alone
    └── PermanentError            never try again
```

The text of a `DeliveryError` ends up in the journal, in logs and in dead letters: keep patients' values and secrets out
of it.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path


class GlycanBridgeError(Exception):
    """The root of the tree: catch this to catch everything that GlycanBridge raises on purpose."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake in `bridge.yaml`: where it is (line and column count from 1), and what to do about it."""

    file: Path
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}: "
        return f"{where}{self.path}: {self.message}" if self.path else f"{where}{self.message}"


class SettingsError(GlycanBridgeError):
    """`bridge.yaml` cannot be used as it stands; `problems` holds all of it, in the order of the file."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = sorted(problems)
        super().__init__("\n".join(map(str, self.problems)))


class SignatureError(GlycanBridgeError):
    """A request that was not signed with any of our secrets; `reason` is `missing`, `malformed` or `wrong`.

    `kind` is the reason, and of a malformed one also what can be seen from the header alone, in fixed words.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        self.kind = f"{reason}: {detail}" if detail else reason
        super().__init__(f"signature {reason}")


class ParseError(GlycanBridgeError):
    """A signed body that is not an event we understand; the text names the rule and the place, never a value."""


class JournalError(GlycanBridgeError):
    """The root of the journal's errors."""


class JournalUnavailable(JournalError):
    """The journal cannot commit now (disk full, locked, away, closing); nothing was kept, trying again may help."""


class JournalMissing(JournalError):
    """There is no journal to ask: the bridge has not served yet."""


class JournalUnusable(JournalError):
    """The journal cannot be used by this program: not a journal, or made by a newer GlycanBridge."""


class GlycanAgeError(GlycanBridgeError):
    """GlycanAge's API did not do what it was asked; the text says why and what to do, in one line.

    `status` is the HTTP status, `None` if there was no answer that could be read. `temporary`: asking again later may
    help. `late`: the time was over before there was an answer. `retry_after_s` is what GlycanAge asked for, if it did.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        temporary: bool = False,
        late: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        self.status = status
        self.temporary = temporary
        self.late = late
        self.retry_after_s = retry_after_s
        super().__init__(message)


class ExportError(GlycanBridgeError):
    """A file of what GlycanAge has, exported for a comparison, that cannot be read; the text names file and line."""


class ListenError(GlycanBridgeError):
    """The receiver's address cannot be listened on: another program has it, or it is not this machine's."""


class DeadLetterError(GlycanBridgeError):
    """A dead letter that cannot be read or written."""


class HostStopped(GlycanBridgeError):
    """The process that a plugin ran in was ended because the bridge stops: nothing is known of its attempt."""


class PluginError(GlycanBridgeError):
    """An installed plugin that cannot be used; the text says which, where it comes from, and why."""


class ContractWarning(DeprecationWarning):
    """A plugin uses something that a later version of the contract will not have; the text says what to use instead."""


class DeliveryError(GlycanBridgeError):
    """What a plugin raises when a delivery did not succeed; raise one of its four children."""


class TemporaryError(DeliveryError):
    """The delivery may succeed later: the bridge tries again by its schedule.

    `retry_after_s` is what the far side asked for, if it did: seconds, or a `Retry-After` header as it came (RFC 9110,
    10.2.3: seconds or a date). The next attempt comes no earlier, and there is no quick try before it.

    `unknown`: it was sent, and the answer was lost, so that nobody knows whether the far side has it. There is no quick
    try, and where the destination says `on_unknown: hold` a person decides.
    """

    def __init__(self, message: str, *, retry_after_s: float | str | None = None, unknown: bool = False) -> None:
        self.retry_after_s = retry_after_s
        self.unknown = unknown
        super().__init__(message)


class NotYetError(DeliveryError):
    """The far side is well, but cannot take this delivery yet: it is made again after `retry_after_s`.

    It loses no attempt, and says nothing about its destination. The plugin decides when to give up.
    """

    def __init__(self, message: str, *, retry_after_s: float | str = 3600.0) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class DestinationError(DeliveryError):
    """The destination takes nothing now, whatever it is given: a wrong password or address, a refused certificate, a
    missing right, or it has asked to be left alone.

    Its circuit opens at once, and what it is owed waits and loses no attempts. After `retry_after_s` one delivery is
    tried, so that it goes on by itself once it is mended.
    """

    def __init__(self, message: str, *, retry_after_s: float | str = 300.0) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class PermanentError(DeliveryError):
    """The delivery can never succeed as it is: it becomes a dead letter at once."""


def told_to_people(error: BaseException) -> str:
    """An error in a line: one of our own tree in its words, which were chosen for people; else without its text."""
    return str(error) if isinstance(error, GlycanBridgeError) else without_text(error)


def without_text(error: BaseException) -> str:
    """An error of somebody else's code in a line: its type and the innermost places it came through.

    Its text is left out: a plugin's or a library's message may quote a patient's values, and this goes into logs,
    the journal and dead letters.
    """
    frames = traceback.extract_tb(error.__traceback__)[:-4:-1]
    places = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
    return f"{type(error).__name__} at {places}" if places else type(error).__name__
