"""A report file: a real PDF of one page, made for one invented report, and marked as a sample.

PDF 1.4 as ISO 32000-1 has it: objects, a cross-reference table of lines of exactly twenty bytes, a trailer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_A4 = (595, 842)
_LINES = (
    ("Report", "reportId"), ("Kit", "kitCode"), ("Test", "testId"),
    ("Glycan age (years)", "glycanAge"), ("Chronological age (years)", "chronologicalAge"),
)  # fmt: skip


def report_pdf(report: Mapping[str, Any]) -> bytes:
    """The file of a report, from the data of its `report-ready` event; the same bytes each time."""
    shown = [f"{name}: {report.get(key, '-')}" for name, key in _LINES]
    content = _content(["GlycanAge report (simulated)", "", *shown, "", "Invented for a rehearsal. Of no person."])
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 %d %d] /Contents 5 0 R "
        b"/Resources << /Font << /F1 4 0 R >> >> >>" % _A4,
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(content), content),
    ]
    file, places = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"), []
    for number, each in enumerate(objects, 1):
        places.append(len(file))
        file += b"%d 0 obj\n%b\nendobj\n" % (number, each)
    table_at = len(file)
    file += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    file += b"".join(b"%010d 00000 n \n" % place for place in places)
    file += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table_at)
    return bytes(file)


def _content(lines: list[str]) -> bytes:
    """What is drawn: SAMPLE across the page in grey, and the lines over it."""
    mark = b"q 0.85 g BT /F1 96 Tf 0.7071 0.7071 -0.7071 0.7071 150 250 Tm (SAMPLE) Tj ET Q"
    text = b"\n".join(b"(%b) Tj T*" % _escaped(line) for line in lines)
    return b"%b\nBT /F1 14 Tf 20 TL 72 760 Td\n%b\nET" % (mark, text)


def _escaped(line: str) -> bytes:
    text = "".join(each if each.isprintable() else "?" for each in line[:80]).encode("cp1252", "replace")
    return text.replace(b"\\", rb"\\").replace(b"(", rb"\(").replace(b")", rb"\)")
