"""The forms in which a secret is used by mistake: with a line break, decoded, cut, in quotes."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

from glycanbridge.diagnosis.forms import Form, Remark, without_repeats

_BOM = "\ufeff"
_SAME = "both sides must use the very same characters, and nothing around them"
_PREFIX = re.compile(r"[A-Za-z]{2,10}_(?=.)")
UNSET = Remark(
    "secret-unset",
    "the sender has no secret: it signs with an empty one, or with a word such as `undefined`",
    "give the sender its secret: its setting or environment variable is not set",
)
UNSET_WORDS = (b"", b"undefined", b"null", b"None")
"""What is used as a key where there is none."""


def key_forms(secret: str) -> list[Form]:
    """The key as it is used here, and every form of it that a sender may have used by mistake."""
    forms = [Form(secret.encode())]
    forms += [Form(text.encode("utf-8", "replace"), remark) for text, remark in _texts(secret)]
    forms += [Form(value, remark) for value, remark in _decoded(secret)]
    forms += [Form(value, remark) for value, remark in _encoded(secret)]
    return without_repeats(forms)


def _texts(secret: str) -> Iterator[tuple[str, Remark]]:
    newline = Remark(
        "secret-newline",
        "the sender's secret ends with a line break, and ours does not",
        f"take it off at the sender's side (`echo` writes one, `printf %s` does not): {_SAME}",
    )
    yield from ((secret + end, newline) for end in ("\n", "\r\n", "\r"))
    blanks = Remark("secret-blanks", "the sender's secret has a blank at an end, and ours has not", _SAME)
    yield from ((text, blanks) for text in (f"{secret} ", f" {secret}", f" {secret} ", f"{secret}\t"))
    mark = Remark("secret-bom", "the sender's secret begins with a byte order mark", f"save it without one: {_SAME}")
    yield from ((text, mark) for text in (_BOM + secret, f"{_BOM}{secret}\n", f"{_BOM}{secret}\r\n"))
    quotes = Remark(
        "secret-quotes", "the sender's secret stands in quotes, and they were taken for a part of it", _SAME
    )
    yield from ((f"{quote}{secret}{quote}", quotes) for quote in "\"'`")
    ours = Remark(
        "secret-ours",
        "our secret has blanks, line breaks, quotes or a byte order mark at an end, and the sender's has not",
        f"correct it in bridge.yaml or in the file that it names: {_SAME}",
    )
    yield from ((text, ours) for text in (secret.strip(), secret.strip(f"{_BOM} \t\r\n\"'`")) if text)
    prefix = Remark("secret-prefix", "the sender left out the beginning of the secret, up to the underscore", _SAME)
    if found := _PREFIX.match(secret):
        yield secret[found.end() :], prefix


def _decoded(secret: str) -> Iterator[tuple[bytes, Remark]]:
    do = "the secret is text: use its characters as they stand (UTF-8), and decode nothing"
    texts = {secret.strip(), _PREFIX.sub("", secret.strip(), count=1)}
    for text in texts:
        hexed = Remark("secret-hex", "the secret was decoded from hex before it was used", do)
        coded = Remark("secret-base64", "the secret was decoded from base64 before it was used", do)
        if re.fullmatch(r"([0-9a-fA-F]{2})+", text, re.ASCII):
            yield bytes.fromhex(text), hexed
        if re.fullmatch(r"[0-9A-Za-z+/_-]+={0,2}", text, re.ASCII):
            padded = text.translate(str.maketrans("-_", "+/"))
            try:
                yield base64.b64decode(padded + "=" * (-len(padded) % 4)), coded
            except binascii.Error:  # a length that base64 does not have
                continue


def _encoded(secret: str) -> Iterator[tuple[bytes, Remark]]:
    do = "the secret is text: use its characters as they stand (UTF-8)"
    told = "the secret was encoded (base64, hex, UTF-16 or Latin-1) before it was used"
    remark = Remark("secret-encoded", told, do)
    raw = secret.encode()
    yield from ((value, remark) for value in (base64.b64encode(raw), raw.hex().encode(), secret.encode("utf-16-le")))
    try:
        yield secret.encode("latin-1"), remark
    except UnicodeEncodeError:
        return
