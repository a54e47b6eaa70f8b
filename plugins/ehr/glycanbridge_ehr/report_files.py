"""Whether the report file goes along with a result, and why where it does not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from glycanbridge import NotYetError, PermanentError

Choice = Literal["none", "attach", "wait"]
MB = 1_000_000


@dataclass(frozen=True, slots=True)
class ReportFile:
    """What is known of a report's file when its result is sent; without either, nobody has asked for it."""

    content: bytes | None = field(default=None, repr=False)
    why_missing: str | None = None

    @property
    def digest(self) -> str | None:
        """Which file it is, unreadable."""
        return None if self.content is None else hashlib.sha256(self.content).hexdigest()

    @property
    def remark(self) -> str:
        """What a receipt says of it."""
        return "" if self.why_missing is None else f"without the report file: {self.why_missing}"


def report_file(choice: Choice, fetch: Callable[[], bytes], *, max_mb: float) -> ReportFile:
    """The file, or why the result goes without it. Raises what `fetch` does where the result must wait for it.

    One that is larger than `max_mb` is as one that never will be had.
    """
    if choice == "none":
        return ReportFile()
    try:
        return ReportFile(_not_larger(fetch(), max_mb))
    except (NotYetError, PermanentError) as error:
        if choice == "wait":
            raise
        return ReportFile(why_missing=str(error))


def _not_larger(content: bytes, max_mb: float) -> bytes:
    if len(content) > max_mb * MB:
        raise PermanentError(f"the report file has more than {max_mb:g} MB (report_max_mb)")
    return content
