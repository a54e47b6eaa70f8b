"""What a FHIR server's answer means: fine, later, never, or a matter of the whole server. Pure.

Of what a server says about a failure, only its codes and the places it names are kept: its texts may quote a patient.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from glycanbridge import DestinationError, PermanentError, TemporaryError
from glycanbridge_ehr import fhir_json
from glycanbridge_ehr.ways import Fault

Failure = DestinationError | PermanentError | TemporaryError

_ISSUES = frozenset(
    """
    invalid structure required value invariant security login unknown expired forbidden suppressed processing
    not-supported duplicate multiple-matches not-found deleted too-long code-invalid extension too-costly
    business-rule conflict transient lock-error no-store exception timeout incomplete throttled informational
    """.split()  # noqa: SIM905 (one word a line says no more)
)
"""FHIR's value set issue-type: nothing else is taken for a code."""
_PLACES = frozenset(
    """
    Bundle Observation DiagnosticReport DocumentReference Patient OperationOutcome type entry fullUrl resource
    request method url ifNoneExist response status identifier system value category coding code display text
    subject reference effective effectiveDateTime issued performer valueQuantity unit result basedOn specimen
    conclusion meta profile id extension valueCode masterIdentifier content attachment contentType data title
    creation context related date description presentedForm language docStatus
    """.split()  # noqa: SIM905 (one word a line says no more)
)
"""The names that a place within what we send is made of."""
_LONGEST_PLACES = 5
_TOO_MANY_S = 60
"""Seconds to leave a server alone that has had too many requests and does not say for how long."""
_LATER = {408, 425, 500, 502, 503, 504}
_NOT_HERE = {404, 405, 406, 415, 501}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer. Its body is no part of what may be shown."""

    status: int
    body: bytes
    retry_after: str | None = None
    location: str | None = None

    def __repr__(self) -> str:
        return f"Answer({self.status})"

    @property
    def ok(self) -> bool:
        """Did the server say that all is well?"""
        return 200 <= self.status < 300

    @property
    def resource(self) -> dict[str, Any]:
        """The FHIR resource in it. Raises `DestinationError` if there is none: something else sits at that address."""
        try:
            found = fhir_json.read(self.body)
        except ValueError:
            found = {}
        if not isinstance(found.get("resourceType"), str):
            raise DestinationError(f"HTTP {self.status} without a FHIR resource: is url the base of a FHIR server?")
        return found


def failure(answer: Answer, *, doing: str) -> Failure:  # noqa: PLR0911 (a table)
    """What an answer that is not `ok` means; `doing` says for people what was asked for."""
    status, told = answer.status, f"{doing}: HTTP {answer.status}{evidence(answer.body)}"
    asked_s = _seconds_or_date(answer.retry_after)
    if status == 429:
        return DestinationError(f"{told}; it has had too many requests", retry_after_s=asked_s or _TOO_MANY_S)
    if status in {401, 403, 407}:
        return DestinationError(f"{told}; it does not let the bridge in: see its auth and rights")
    if status in _NOT_HERE:
        return DestinationError(f"{told}; see that url is the base of a FHIR R4 server that takes this")
    if 300 <= status < 400:
        return DestinationError(f"{told}; it points elsewhere, and results follow no pointer: set url to the right one")
    if status == 500 and evidence(answer.body):
        return Fault(told, fingerprint=_fingerprint(answer), retry_after_s=asked_s)
    if status in _LATER or status >= 500:
        return TemporaryError(told, retry_after_s=asked_s)
    if status == 409:
        return TemporaryError(f"{told}; somebody else was writing")
    if status == 412:
        return PermanentError(
            f"{told}; the EHR has several results under this key: a person must merge them, then replay"
        )
    return PermanentError(f"{told}; the EHR refuses it as it is")


def worst(answers: list[Answer]) -> Answer | None:
    """The first of the failed answers of the worst kind; `None` if none failed."""
    failed = [each for each in answers if not each.ok]
    order = (PermanentError, DestinationError, TemporaryError)
    return min(
        failed, key=lambda each: [isinstance(failure(each, doing=""), kind) for kind in order].index(True), default=None
    )


def entries_of(bundle: dict[str, Any]) -> list[Answer]:
    """The answers in a transaction's response, in the order of what was sent."""
    answers = []
    for entry in _dicts(bundle.get("entry")):
        response = entry.get("response")
        response = response if isinstance(response, dict) else {}
        status = re.match(r"\s*([1-5][0-9]{2})\b", str(response.get("status", "")))
        location = response.get("location")
        answers.append(
            Answer(
                status=int(status[1]) if status else 500,
                body=json.dumps(response.get("outcome"), default=str).encode(),
                location=location if isinstance(location, str) else None,
            )
        )
    return answers


def evidence(body: bytes) -> str:
    """The codes and places of an OperationOutcome: ` (required at Observation.status)`; nothing if there are none."""
    told = []
    for issue in _issues(body)[:_LONGEST_PLACES]:
        code = issue.get("code")
        places = issue.get("expression")
        named = [_place(each) for each in places if isinstance(each, str)] if isinstance(places, list) else []
        at = ", ".join(filter(None, named[:_LONGEST_PLACES]))
        if isinstance(code, str) and code in _ISSUES:
            told.append(f"{code} at {at}" if at else code)
    return f" ({'; '.join(dict.fromkeys(told))})" if told else ""


def _place(expression: str) -> str:
    """As much of a FHIRPath as is made of names that we know: `Bundle.entry[2].resource.status`."""
    place = ""
    for step in expression.split("."):
        found = re.match(r"([A-Za-z]+)(\[[0-9]{1,4}\])?(?=$|[(/])", step)
        if found is not None and found[1] == "ofType":
            continue
        if found is None or found[1] not in _PLACES:
            break
        place += ("." if place else "") + found[1] + (found[2] or "")
    return place


def _issues(body: bytes) -> list[dict[str, Any]]:
    try:
        found = fhir_json.read(body)
    except ValueError:
        return []
    return _dicts(found.get("issue")) if found.get("resourceType") == "OperationOutcome" else []


def _fingerprint(answer: Answer) -> str:
    """The same for the same OperationOutcome, and not to be read."""
    told = [(each.get("code"), each.get("expression"), each.get("diagnostics")) for each in _issues(answer.body)]
    return hashlib.sha256(repr((answer.status, told)).encode()).hexdigest()


def _seconds_or_date(retry_after: str | None) -> str | None:
    """A `Retry-After` header, if it is one: whatever else came is as if nothing had."""
    told = (retry_after or "").strip()
    return told if re.fullmatch(r"[0-9]{1,9}|[A-Z][a-z]{2,8}, .{8,40}", told) else None


def _dicts(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
