"""What a signature's header claims, read with patience: without its prefix, in base64, in quotes, cut off."""

from __future__ import annotations

import base64
import binascii
import re
from typing import NamedTuple

from glycanbridge.diagnosis.forms import Remark
from glycanbridge.signature import HEADER

_FORM = "`sha256=` and 64 hex digits"
_NAME = re.compile(rf"\A\s*{HEADER}\s*:", re.IGNORECASE)
_PREFIX = re.compile(r"\s*(?:hmac[-_]?)?(sha-?[0-9]{1,3}|md5|v[0-9])\s*[=:]\s*", re.IGNORECASE)
_DIGESTS = {64: "sha256", 40: "sha1", 128: "sha512", 96: "sha384", 56: "sha224", 32: "md5"}
"""Which digest has so many hex digits."""
_FOUND = re.compile(r"(?<![0-9a-f])(?:[0-9a-f]{64}|[0-9a-f]{2}(?:[-: ][0-9a-f]{2}){31})(?![0-9a-f])", re.IGNORECASE)
"""A whole digest within other text, or with its bytes apart."""
_FEWEST_DIGITS = 16
"""A piece of a digest that is shorter says nothing."""
_MOST_PARTS = 4


class Reading(NamedTuple):
    """What a header may mean: a digest's name, its first hex digits (most: all), and what is wrong with its form."""

    digest: str
    digits: str
    remarks: tuple[Remark, ...]


def readings(header: str | None) -> tuple[list[Reading], list[Remark]]:
    """What `header` may mean, and what is to be said of it if it means nothing."""
    if header is None or not header.strip():
        do = f"send it with every request: {HEADER}: sha256=... ; a proxy may drop headers that it does not know"
        return [], [Remark("header-missing", f"there is no signature: the header {HEADER} is missing or empty", do)]
    text, remarks = _unwrapped(header)
    parts = list(dict.fromkeys(each.strip() for each in text.split(",") if each.strip()))[:_MOST_PARTS]
    if "," in text and all(_reading(part, remarks)[0] for part in parts):
        do = "send it once: the sender and a proxy may both set it; it is refused, since nobody may choose"
        remarks.append(Remark("header-twice", "the header came twice, joined by a comma", do))
    elif "," in text:
        told = "the header is a list with commas, and not one signature"
        remarks.append(Remark("header-list", told, f"send {_FORM}, and nothing else"))
    found = [_reading(part, remarks) for part in parts]
    readable = [reading for several, _ in found for reading in several]
    return readable, [*remarks, *(remark for _, remark in found if remark is not None)]


def _unwrapped(header: str) -> tuple[str, list[Remark]]:
    remarks = []
    text = _NAME.sub("", header, count=1)
    if text != header:
        remarks.append(Remark("header-name", "the header's name was taken along", "give its value alone"))
    if text != text.strip() and text == header:
        told = "there are blanks or a line break around the signature"
        remarks.append(Remark("header-blanks", told, f"send {_FORM}, and nothing around them"))
    text = text.strip()
    if len(text) > 1 and text[0] in "\"'`" and text[0] == text[-1]:
        remarks.append(Remark("header-quotes", "the signature stands in quotes", f"send {_FORM}, without quotes"))
        text = text[1:-1].strip()
    return text, remarks


def _reading(part: str, before: list[Remark]) -> tuple[list[Reading], Remark | None]:
    """What a part of the header may mean, the likeliest first, or why it means nothing."""
    remarks = list(before)
    prefix = _PREFIX.match(part)
    if prefix is None:
        remarks.append(Remark("header-prefix", "the prefix `sha256=` is missing", f"send {_FORM}"))
    elif prefix[0].lower() == "sha256=" != prefix[0]:
        remarks.append(Remark("header-case", "the prefix must be `sha256=` in lower case", f"send {_FORM}"))
    elif "".join(prefix[0].split()) == "sha256=" != prefix[0]:
        remarks.append(
            Remark("header-blanks", "there are blanks within the signature", f"send {_FORM}, without blanks")
        )
    elif prefix[0] != "sha256=":
        told = f"the prefix is not `sha256=` (it says {prefix[1].lower()})"
        remarks.append(Remark("header-other-prefix", told, f"send {_FORM}"))
    value = part[prefix.end() :] if prefix else part
    digits, in_base64 = _digits(value)
    if digits is None and (found := _FOUND.search(value)):
        told = "something else stands around or within the digest, as openssl, sha256sum and C#'s BitConverter write it"
        remarks.append(Remark("header-more", told, f"send {_FORM}, and nothing else (`openssl ... | sed 's/.* //'`)"))
        digits = re.sub(r"[^0-9a-f]", "", found[0].lower())
    if in_base64:
        remarks.append(Remark("header-base64", "the digest is in base64, not in hex", f"send {_FORM}"))
    if digits is None or len(digits) < _FEWEST_DIGITS:
        told = f"the signature is no digest in hex or base64 (it has {len(value)} characters)"
        return [], Remark("header-unreadable", told, f"send {_FORM}")
    return _read(digits, remarks), None


def _read(digits: str, remarks: list[Remark]) -> list[Reading]:
    """A digest by its length, and the piece of a SHA-256 that it may be as well."""
    digest = _DIGESTS.get(len(digits))
    if digest == "sha256":
        return [Reading(digest, digits, tuple(remarks))]
    told = f"the signature has {len(digits)} hex digits, and not 64: was it cut off, or copied with something else?"
    piece = Reading("sha256", digits[:64], (*remarks, Remark("header-length", told, f"send {_FORM}")))
    if digest is None:
        return [piece]
    told = f"the signature has the length of {digest.upper()}"
    remark = Remark("header-other-digest", told, f"sign with HMAC-SHA256, and send {_FORM}")
    return [Reading(digest, digits, (*remarks, remark)), piece]


def _digits(value: str) -> tuple[str | None, bool]:
    """The hex digits that stand there, in lower case, and whether they stood there in base64."""
    if re.fullmatch(r"[0-9a-fA-F]+", value, re.ASCII):
        return value.lower(), False
    if re.fullmatch(r"[0-9A-Za-z+/_-]+={0,2}", value, re.ASCII) is None:
        return None, False
    text = value.translate(str.maketrans("-_", "+/"))
    try:
        decoded = base64.b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        return None, False
    if re.fullmatch(rb"[0-9a-fA-F]{40,128}", decoded):  # the hex digits themselves were put into base64
        return decoded.decode("ascii").lower(), True
    return (decoded.hex(), True) if len(decoded) * 2 in _DIGESTS else (None, False)
