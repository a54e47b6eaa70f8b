"""Logs: one JSON object a line, for our own records and a plugin's alike."""

from __future__ import annotations

import io
import json
import logging
import warnings

import pytest

from glycanbridge.logs import set_up_logs


@pytest.fixture
def lines():
    """Sets logs up over a stream, and reads what was logged; puts the root logger back afterwards."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    stream = io.StringIO()
    set_up_logs(stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:], root.level = before[0], before[1]
    logging.captureWarnings(capture=False)


def test_a_record_is_a_line_of_json_with_its_extras(lines):
    """Whoever's it is; what is `None` is left out."""
    logging.getLogger("somebodys.plugin").warning("took %s", "long", extra={"event": "e", "error": None})

    (told,) = lines()
    assert told.pop("time").endswith("Z")
    assert told == {"message": "took long", "level": "warning", "logger": "somebodys.plugin", "event": "e"}


def test_a_value_can_forge_no_second_line(lines):
    """Nor steer a terminal."""
    logging.getLogger("x").error('a\n{"level": "info"}\x1b[2J\u2028é')

    (told,) = lines()
    assert told["message"].startswith("a\n{")


def test_a_traceback_stays_within_its_line(lines):
    """As text in `exception`."""
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        logging.getLogger("x").exception("failed")

    (told,) = lines()
    assert "Traceback" in told["exception"]


def test_a_traceback_for_people_shows_no_values():
    """Local variables may be a patient's."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    root, stream = logging.getLogger(), Terminal()
    before = root.handlers[:]
    set_up_logs(stream)
    patient = "patient_123"
    try:
        _ = 1 / (len(patient) - len(patient))
    except ZeroDivisionError:
        logging.getLogger("x").exception("failed")
    root.handlers[:] = before
    logging.captureWarnings(capture=False)

    assert "ZeroDivisionError" in stream.getvalue()
    assert "patient_123" not in stream.getvalue()


def test_warnings_and_levels(lines):
    """Python's warnings are records, debug ones are not shown."""
    logging.getLogger("x").debug("not shown")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)

    assert ["old" in each["message"] for each in lines()] == [True]
