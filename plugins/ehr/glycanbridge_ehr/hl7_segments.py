"""Segments of an HL7 v2 message into bytes, or a refusal: what the format cannot hold as it is, is never altered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from unicodedata import category

from glycanbridge import PermanentError

CODECS = {
    "UNICODE UTF-8": "utf-8",
    "8859/1": "latin-1",
    "8859/2": "iso8859-2",
    "8859/15": "iso8859-15",
    "ASCII": "ascii",
}
"""Python's names of HL7's table 0211, as far as we write it."""
_ESCAPING = str.maketrans(
    {
        "\\": "\\E\\",
        "|": "\\F\\",
        "^": "\\S\\",
        "&": "\\T\\",
        "~": "\\R\\",
        "\r": "\\X0D\\",
        "\n": "\\X0A\\",
    }
)

Components = tuple[str | tuple[str, ...], ...]
"""What `^` parts; one of them may be a tuple itself: what `&` parts."""
Field = str | Components | list[Components]
"""A text, or its components, or repetitions of such: what `~` parts."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One line of a message: what stands in which of its fields."""

    name: str
    fields: Mapping[int, Field]


class Writer:
    """Puts segments into bytes, or refuses to."""

    def __init__(self, *, character_set: str, longest: Mapping[str, int]) -> None:
        self._character_set = character_set
        self._codec = CODECS[character_set]
        self._longest = longest

    def bytes_of(self, segments: list[Segment]) -> bytes:
        """The segments as they go over the wire. Raises `PermanentError` that names the place, and no value."""
        return "".join(f"{self._line(each)}\r" for each in segments).encode(self._codec)

    def _line(self, segment: Segment) -> str:
        texts = {number: self._field(f"{segment.name}-{number}", field) for number, field in segment.fields.items()}
        if segment.name == "MSH":  # where the separators name themselves: the first of them is MSH-1
            texts[2] = "^~\\&"
        first = 2 if segment.name == "MSH" else 1
        last = max(number for number, text in texts.items() if text)
        return "|".join([segment.name, *(texts.get(number, "") for number in range(first, last + 1))])

    def _field(self, place: str, field: Field) -> str:
        repetitions = field if isinstance(field, list) else [field]
        return "~".join(self._components(place, each if isinstance(each, tuple) else (each,)) for each in repetitions)

    def _components(self, place: str, components: Components) -> str:
        texts = []
        for number, each in enumerate(components, 1):
            parts = each if isinstance(each, tuple) else (each,)
            texts.append("&".join(self._text(f"{place}.{number}", part) for part in parts))
        return "^".join(texts).rstrip("^")

    def _text(self, place: str, text: str) -> str:
        if len(text) > self._longest.get(place, len(text)):
            raise PermanentError(f"{place} has more characters than settings.longest allows; it is not cut off")
        if text == '""':
            raise PermanentError(f'{place} is "", which means "delete this" in HL7 v2; it is not sent')
        # A report file has millions of characters, and all can be printed: they are not looked at one by one.
        if not text.isprintable() and any(category(each) == "Cc" for each in text if each not in "\r\n"):
            raise PermanentError(f"{place} holds a control character, which no HL7 v2 message may; it is not sent")
        try:
            text.encode(self._codec)
        except UnicodeEncodeError:
            told = f"{place} cannot be written in {self._character_set}; set character_set to one that has its letters"
            raise PermanentError(told) from None
        return text.translate(_ESCAPING)
