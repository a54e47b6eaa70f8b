"""What a mail may tell of an event: the body as much as `personal` allows, the subject nothing about a patient."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from glycanbridge import Event, Personal, ReportReady
from glycanbridge_email.report_files import NOT_ASKED, ReportFile
from glycanbridge_email.words import Words, clean

_NOT_IN_A_SUBJECT = {"kit_code", "sets"}


def in_body(event: Event, personal: Personal, words: Words, file: ReportFile = NOT_ASKED) -> dict[str, Any]:
    """What a body's template gets: `event`, in which what may not be told is not there at all.

    That of a report gets what is said of its file, too.
    """
    told = _of(event, personal.told(event), words)
    if isinstance(event, ReportReady):
        told |= {name: clean(each) if isinstance(each, str) else each for name, each in file.told.items()}
    return told


def in_subject(event: Event, words: Words) -> dict[str, Any]:
    """What a subject's template gets: nothing personal whatever `personal` says, not even a kit code's last letters.

    Subjects are never encrypted, and stand in lists and logs.
    """
    told = {name: value for name, value in Personal.NONE.told(event).items() if name not in _NOT_IN_A_SUBJECT}
    return _of(event, told, words)


def of_digest(events: list[dict[str, Any]], practice_id: str, frozen_at: datetime, words: Words) -> dict[str, Any]:
    """What a digest's body gets; `events` are the `event` of `in_body`, in the order of their timestamps."""
    return of_digests_subject(len(events), practice_id, frozen_at, words) | {"events": events}


def of_digests_subject(count: int, practice_id: str, frozen_at: datetime, words: Words) -> dict[str, Any]:
    """What a digest's subject gets."""
    return {"count": count, "practice_id": clean(practice_id), "date": words.day(frozen_at)}


def _of(event: Event, told: dict[str, Any], words: Words) -> dict[str, Any]:
    return {"event": words.shown(told) | {"type": event.type, "timestamp": words.moment(event.timestamp)}}
