"""What a receiver's acknowledgement means: taken, refused for good, or to be sent again. Pure.

Only codes and places are told of it: MSA-3, ERR-7 and ERR-8 may repeat a patient's values.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from glycanbridge import DestinationError, PermanentError, TemporaryError
from glycanbridge_ehr.ways import Fault

TAKEN = frozenset({"AA", "CA"})
"""CA: committed to safe storage, so it is the receiver's from then on."""
CODES = TAKEN | {"AE", "AR", "CE", "CR"}
"""HL7's table 0008."""
CONDITIONS = {
    "100": "segment sequence error",
    "101": "required field missing",
    "102": "data type error",
    "103": "table value not found",
    "104": "value too long",
    "200": "unsupported message type",
    "201": "unsupported event code",
    "202": "unsupported processing id",
    "203": "unsupported version id",
    "204": "unknown key identifier",
    "205": "duplicate key identifier",
    "206": "application record locked",
    "207": "application internal error",
}
"""HL7's table 0357."""
_OF_THE_SETTINGS = frozenset({"200", "201", "202", "203"})
"""What it says against MSH-9, MSH-11 and MSH-12 it says against every result: none of them is at fault."""
_DUPLICATE = "205"
_PASSING = frozenset({"206", "207"})
_HOPELESS = CONDITIONS.keys() - _OF_THE_SETTINGS - _PASSING - {_DUPLICATE}
_BUSY_S = 30
_DOWN_S = 60


@dataclass(frozen=True, slots=True)
class Complaint:
    """What one ERR segment complains of."""

    condition: str
    """HL7's table 0357; empty where it says nothing of the kind."""
    place: str
    """Such as `PID-5`; empty where it does not say."""

    def __str__(self) -> str:
        told = f"{self.condition} {CONDITIONS.get(self.condition, 'which we do not know')}" if self.condition else ""
        return " in ".join(filter(None, (told, self.place)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """An acknowledgement: MSA-1, MSA-2, and what it complains of."""

    code: str
    control_id: str
    complaints: tuple[Complaint, ...] = ()

    def __str__(self) -> str:
        return ", ".join([self.code, *filter(None, map(str, self.complaints))])


def ack_in(data: bytes, *, control_id: str) -> Ack:
    """The acknowledgement of the message `control_id` in a frame. Raises `ValueError` if it is anything else."""
    lines = re.split(r"[\r\n]+", data.decode("latin-1").strip())  # only ASCII is looked at
    header = lines[0]
    if not header.startswith("MSH") or len(header) < 9:
        raise ValueError("no message")
    segments = [each.split(header[3]) for each in lines[1:]]
    answers = [_filled(each) for each in segments if each[0] == "MSA"]
    if len(answers) != 1 or answers[0][1] not in CODES:
        raise ValueError("no acknowledgement")
    if answers[0][2] != control_id:  # MSA-2: a late one, of a message before
        raise ValueError("not of this message")
    answer = answers[0]
    complaints = [_complaint(_filled(each), header[4], header[7]) for each in segments if each[0] == "ERR"]
    if not complaints and (condition := _condition(answer[6].split(header[4])[0])):  # before version 2.5
        complaints = [Complaint(condition, "")]
    return Ack(code=answer[1], control_id=answer[2], complaints=tuple(filter(None, complaints)))


def judged(ack: Ack, *, again: bool, ar_retry: bool) -> str:
    """The receipt of a message that was taken. `again`: the receiver may have had it before.

    Raises `PermanentError` for one that never will be, `TemporaryError` for one that may be later, `Fault` if the
    receiver does not say, and `DestinationError` if it takes no such messages at all.
    """
    if ack.code in TAKEN:
        return f"{ack.control_id}: {ack.code}"
    conditions = {each.condition for each in ack.complaints}
    if conditions & _OF_THE_SETTINGS:
        raise DestinationError(f"the receiver takes no such messages; see processing_id and version: {ack}")
    if conditions & _HOPELESS:
        raise PermanentError(f"the receiver refused the result: {ack}")
    if _DUPLICATE in conditions:
        if again:
            return f"{ack.control_id}: {ack.code} (the receiver had it already)"
        raise PermanentError(f"the receiver has something else under the same key; a person must look: {ack}")
    if conditions & _PASSING:
        raise TemporaryError(f"the receiver cannot take the result now: {ack}", retry_after_s=_BUSY_S)
    if ack.code in {"AE", "CE"}:
        told = f"the receiver failed over the result, and does not say why: {ack}"
        raise Fault(told, fingerprint=str(ack), retry_after_s=_DOWN_S)
    if ar_retry:
        raise TemporaryError(f"the receiver says that it is down: {ack}", retry_after_s=_DOWN_S)
    raise PermanentError(f"the receiver rejected the result: {ack}")


def _filled(fields: list[str]) -> list[str]:
    return [*fields, *[""] * 10]


def _complaint(fields: list[str], component: str, subcomponent: str) -> Complaint | None:
    """What an ERR segment says; none if it only warns or informs (ERR-4)."""
    if fields[4] in {"W", "I"}:
        return None
    old, where = fields[1].split(component), fields[2].split(component)  # ERR-1 is all there was before version 2.5
    place = where if where[0] else old
    code = fields[3].split(component)[0] or "".join(old[3:4]).split(subcomponent)[0]
    return Complaint(_condition(code), _place(place))


def _condition(told: str) -> str:
    return told if re.fullmatch(r"[0-9]{1,4}", told) else ""


def _place(told: list[str]) -> str:
    segment, number = told[0], "".join(told[2:3])
    if not re.fullmatch(r"[A-Z][A-Z0-9]{2}", segment):
        return ""
    return f"{segment}-{number}" if re.fullmatch(r"[0-9]{1,3}", number) else segment
