"""Whether the report file goes with a mail, and what is said where it does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from glycanbridge import NotYetError, PermanentError

Choice = Literal["none", "attach", "wait"]
FILE_NAME = "glycanage-report.pdf"
"""In every mail: it says nothing of anybody."""
MB = 1_000_000


@dataclass(frozen=True, slots=True)
class ReportFile:
    """What is known of a report's file when its mail is written; without either, nobody has asked for it."""

    content: bytes | None = field(default=None, repr=False)
    why_missing: str | None = None

    @property
    def told(self) -> dict[str, Any]:
        """What a report's template gets of it."""
        sentence = ""
        if self.content is not None:
            sentence = f"The report is attached: {FILE_NAME}."
        elif self.why_missing is not None:
            sentence = f"The report file is missing: {self.why_missing.removeprefix('the report: ').rstrip('.')}."
        return {"report_file": sentence, "attached": self.content is not None}


NOT_ASKED = ReportFile()


def report_file(choice: Choice, fetch: Callable[[], bytes], *, max_mb: float) -> ReportFile:
    """The file, or why the mail goes without it. Raises what `fetch` does where the mail must wait for it.

    One that is larger than `max_mb` is as one that never will be had.
    """
    if choice == "none":
        return NOT_ASKED
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
