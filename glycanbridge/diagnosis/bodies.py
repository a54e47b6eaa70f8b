"""The forms of a body that may have been signed instead of the one that is here: line breaks, packing, JSON."""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus, unquote_to_bytes

from glycanbridge.diagnosis.forms import Form, Remark, without_repeats

LARGEST_BYTES = 8_388_608
"""A larger body is only tried as it is; nothing is unpacked to more."""
LARGEST_JSON_BYTES = 1_048_576
"""A larger body is not written anew: some forty forms of it would be held at once."""
_BOM = b"\xef\xbb\xbf"
_ANEW = (
    "what is signed must be the very bytes that are sent: turn off whatever reads and rewrites bodies in between (a "
    "proxy, a gateway, a firewall), and let the sender sign what it sends"
)
_UNCHANGED = "let the proxy, or the program that wrote FILE, pass the body on byte for byte"


def body_forms(body: bytes) -> list[Form]:
    """The body as it is here, and every form of it that may have been signed instead."""
    forms = [Form(body)]
    for make in (_line_breaks, _packed, _json, _read_wrongly) if len(body) <= LARGEST_BYTES else ():
        forms += [Form(value, remark) for value, remark in make(body)]
    return without_repeats(forms)


def _line_breaks(body: bytes) -> Iterator[tuple[bytes, Remark]]:
    ends = f"{_UNCHANGED} (`echo` and editors add one; `curl --data-binary @FILE` changes nothing, `-d @FILE` does)"
    added = Remark("body-newline-added", "a line break was added at the end of the body after it was signed", ends)
    if body.endswith(b"\n"):
        yield body[:-1], added
        yield body.rstrip(b"\r\n"), added
    removed = Remark("body-newline-removed", "the body was signed with a line break at its end, which is lost", ends)
    yield from ((body + end, removed) for end in (b"\n", b"\r\n"))
    unix = body.replace(b"\r\n", b"\n")
    yield unix, Remark("body-lf-to-crlf", "line breaks were changed from LF to CRLF after signing", _UNCHANGED)
    told = "line breaks were changed from CRLF to LF after signing"
    yield unix.replace(b"\n", b"\r\n"), Remark("body-crlf-to-lf", told, _UNCHANGED)
    told = "the body was signed without its line breaks, as `curl -d @FILE` sends it"
    yield unix.replace(b"\n", b"").replace(b"\r", b""), Remark("body-one-line", told, ends)
    yield body.strip(), Remark("body-blanks", "blanks were added around the body after it was signed", _UNCHANGED)
    if body.startswith(_BOM):
        yield body[3:], Remark("body-bom-added", "a byte order mark was put before the body after signing", _UNCHANGED)
    yield (
        _BOM + body,
        Remark("body-bom-removed", "the body was signed with a byte order mark, which is lost", _UNCHANGED),
    )


def _packed(body: bytes) -> Iterator[tuple[bytes, Remark]]:
    told = "the body is compressed here, and was signed as it was before"
    unpacked = _unpacked(body)
    if unpacked is not None:
        yield unpacked, Remark("body-compressed", told, "turn the compression of requests off in the sender or proxy")
    told = "the body is percent-encoded here, as a form's is, and was signed as it was before"
    encoded = Remark("body-percent-encoded", told, "send it as application/json, and not as a form")
    for text in (body, body.partition(b"=")[2]):
        if b"%" in text:
            yield unquote_to_bytes(text), encoded
            yield unquote_to_bytes(text.replace(b"+", b" ")), encoded
    told = "the body was signed in percent-encoded form, and is not so here"
    decoded = Remark("body-percent-decoded", told, "sign the bytes that are sent, as application/json")
    yield from ((form.encode(), decoded) for form in (quote(body, safe=""), quote(body), quote_plus(body)))
    told = "the body is in base64 here, as some gateways hand bodies on, and was signed as it was before"
    if re.fullmatch(rb"[0-9A-Za-z+/\s]+={0,2}", body.rstrip()):  # blanks in one place alone: else it takes hours
        try:
            yield base64.b64decode(body), Remark("body-base64", told, "let the gateway pass bodies on as they are")
        except binascii.Error:
            return


def _unpacked(body: bytes) -> bytes | None:
    """What was compressed, by gzip or zlib; `None` if it is not, is broken, or is too large."""
    unpacking = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    try:
        unpacked = unpacking.decompress(body, LARGEST_BYTES)
    except zlib.error:
        return None
    return unpacked if unpacking.eof else None


def _json(body: bytes) -> Iterator[tuple[bytes, Remark]]:
    """The body read as JSON and written anew, as the usual languages do it."""
    if len(body) > LARGEST_JSON_BYTES:
        return
    try:
        text = body.decode("utf-8-sig")
        exact, rounded = json.loads(text), json.loads(text, parse_float=_as_in_javascript)
    except (ValueError, RecursionError):
        return
    for kind, how, write in _WRITERS:
        told = f"the JSON that was signed is not the one that is here, but the same written anew: {how}"
        try:
            values = (write(rounded), write(exact))
            yield from ((value.encode(), Remark(kind, told, _ANEW)) for value in values)
        except (ValueError, RecursionError):  # a lone surrogate is in no encoding
            continue
    remark = Remark("body-python-repr", "a Python object was signed as `str(...)` writes it, and not its bytes", _ANEW)
    yield str(exact).encode("utf-8", "replace"), remark


def _as_in_javascript(number: str) -> float | int:
    value = float(number)
    return int(value) if value.is_integer() and abs(value) < 1e21 else value


Writer = Callable[[Any], str]


def _writer(*, compact: bool, ascii_only: bool = False, sort: bool = False, indent: int | None = None) -> Writer:
    after = "" if compact else " "
    separators = ("," if compact or indent else ", ", f":{after}")
    return lambda value: json.dumps(
        value, separators=separators, ensure_ascii=ascii_only, sort_keys=sort, indent=indent
    )


def _slashes(write: Writer) -> Writer:
    return lambda value: write(value).replace("/", "\\/")


def _for_html(write: Writer) -> Writer:
    return lambda value: write(value).translate({ord(each): f"\\u{ord(each):04x}" for each in "<>&"})


_WRITERS: tuple[tuple[str, str, Writer], ...] = (
    ("body-json-stringify", "compact, as JavaScript's JSON.stringify does (GlycanAge's own Node sample signs that)",
     _writer(compact=True)),
    ("body-json-python", "with blanks, as Python's json.dumps does", _writer(compact=False, ascii_only=True)),
    ("body-json-python", "with blanks, and letters beyond ASCII as they are", _writer(compact=False)),
    ("body-json-php", "as PHP's json_encode does, with \\/", _slashes(_writer(compact=True, ascii_only=True))),
    ("body-json-php", "as PHP does, with \\/, and letters as they are", _slashes(_writer(compact=True))),
    ("body-json-escaped", "compact, with \\u for letters beyond ASCII", _writer(compact=True, ascii_only=True)),
    ("body-json-sorted", "compact, with its keys sorted", _writer(compact=True, sort=True)),
    ("body-json-sorted", "compact, with its keys sorted and \\u", _writer(compact=True, ascii_only=True, sort=True)),
    ("body-json-sorted", "with blanks and sorted keys", _writer(compact=False, ascii_only=True, sort=True)),
    ("body-json-sorted", "with blanks and sorted keys, letters as they are", _writer(compact=False, sort=True)),
    ("body-json-go", "as Go's json.Marshal does", _for_html(_writer(compact=True, sort=True))),
    ("body-json-go", "as Go's json.Marshal does, with its keys in order", _for_html(_writer(compact=True))),
    *((f"body-json-indent-{indent}", f"indented by {indent}{how}", write)
      for indent in (2, 4)
      for how, write in (
          ("", _writer(compact=False, indent=indent)),
          (", with \\u", _writer(compact=False, indent=indent, ascii_only=True)),
          (", with its keys sorted", _writer(compact=False, indent=indent, sort=True)),
          (", as PHP does", _slashes(_writer(compact=False, indent=indent, ascii_only=True))),
      )),
)  # fmt: skip


def _read_wrongly(body: bytes) -> Iterator[tuple[bytes, Remark]]:
    told = "nothing was signed: an empty body, or the word for none"
    do = "the sender signs before it has the body, or reads it twice: let it sign the bytes that it sends"
    nothing = Remark("body-unread", told, do)
    yield from ((value, nothing) for value in (b"", b"{}", b"null", b"undefined", b"[object Object]"))
    remark = Remark("body-python-repr", "a Python object was signed as `str(...)` writes it, and not its bytes", _ANEW)
    yield repr(body).encode(), remark
    told = "letters beyond ASCII were read in another encoding (Latin-1 or UTF-8) and written anew"
    letters = Remark("body-encoding", told, _ANEW)
    yield body.decode("latin-1").encode(), letters
    try:
        yield body.decode().encode("latin-1"), letters
    except UnicodeError:
        return
