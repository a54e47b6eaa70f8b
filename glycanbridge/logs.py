"""Logs: one JSON object a line on stderr, or coloured lines on a terminal. Ids only, never a payload.

Everything goes through the standard library's root handler, so that a plugin's own records come out alike. Structlog
stands here alone: the other rooms use `logging.getLogger` and `extra={...}`.
"""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog


def set_up_logs(stream: TextIO = sys.stderr, *, level: int = logging.INFO) -> None:
    """Send every log record to `stream`: for people if it is a terminal, else as JSON.

    Each line has `message`, `level`, `logger` and `time`, and what was given as `extra`.
    """
    before: list[structlog.typing.Processor] = [
        structlog.processors.EventRenamer("message"),  # a name that `extra` cannot take: logging itself refuses it
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        _without_nothing,
    ]
    tail: list[structlog.typing.Processor] = (
        [_for_people()]
        if stream.isatty()
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]  # ASCII: forges no second line
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=before,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *tail],
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)


def _for_people() -> structlog.typing.Processor:
    plain = structlog.dev.plain_traceback  # the default shows the values of local variables, a patient's too
    return structlog.dev.ConsoleRenderer(timestamp_key="time", event_key="message", exception_formatter=plain)


def _without_nothing(_logger: object, _name: str, told: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {key: value for key, value in told.items() if value is not None}
