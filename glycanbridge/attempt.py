"""One attempt: a plugin's hook is called for one delivery, with quick tries; whatever it does ends in an outcome.

Nothing here knows of schedules, settings or time limits: the same code runs in the bridge and in a host's process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import cast

from glycanbridge.bridge_events import parse_kept
from glycanbridge.delivery import Delivery, Outcome, Result, Scope
from glycanbridge.errors import (
    DestinationError,
    NotYetError,
    ParseError,
    PermanentError,
    TemporaryError,
    without_text,
)
from glycanbridge.hookspecs import Command, hook_name
from glycanbridge.plugins import plugin_manager
from glycanbridge.retry import with_tries

log = logging.getLogger(__name__)

LONGEST_TEXT = 4096
"""Characters of a receipt or an error that are kept."""
_SCOPES = ((NotYetError, Scope.DELIVERY), (DestinationError, Scope.DESTINATION))
OUT_OF_MEMORY = Outcome(result=Result.TEMPORARY, error="MemoryError: the plugin needs more memory than it may have")
"""Made beforehand: when there is no memory left, nothing may be needed to say so."""


class Attempts:
    """The attempts that are made with one instance of a plugin.

    Each has a plugin manager of its own: in one shared hook call the first plugin that raises would stop all others.
    """

    def __init__(self, instance: object, *, tries: int) -> None:
        self.instance = instance
        self._manager = plugin_manager()
        self._manager.register(instance)
        self._tries = tries

    def deliver(self, delivery: Delivery) -> Outcome:
        """Hand one delivery to the plugin, with quick tries; whatever the plugin does, it ends in an outcome."""
        try:
            return self._deliver(delivery)
        except MemoryError:
            return OUT_OF_MEMORY
        except BaseException as error:  # a plugin's SystemExit must end nobody else
            return Outcome(result=Result.TEMPORARY, error=without_text(error))

    def _deliver(self, delivery: Delivery) -> Outcome:
        try:
            receipt = with_tries(self._call(delivery), tries=self._tries)
        except PermanentError as error:
            return Outcome(result=Result.PERMANENT, error=kept_text(str(error)))
        except ParseError as error:  # kept by a version that understood it
            return Outcome(result=Result.PERMANENT, error=f"this version does not understand the event: {error}")
        except (TemporaryError, NotYetError, DestinationError) as error:
            asked_s = kept_seconds(error.retry_after_s)
            scope = next((scope for kind, scope in _SCOPES if isinstance(error, kind)), None)
            unknown = isinstance(error, TemporaryError) and error.unknown
            result = Result.UNKNOWN if unknown else Result.TEMPORARY
            return Outcome(result=result, error=kept_text(str(error)), retry_after_s=asked_s, scope=scope)
        if receipt is None:
            return Outcome(result=Result.DELIVERED)
        if not isinstance(receipt, str):
            told = f"the hook returned {type(receipt).__name__}, neither a text nor None"
            return Outcome(result=Result.TEMPORARY, error=told)
        return Outcome(result=Result.DELIVERED, receipt=kept_text(receipt))

    def _call(self, delivery: Delivery) -> Callable[[], object]:
        event, name = parse_kept(delivery.body), hook_name(delivery.event_type)
        hook = getattr(self._manager.hook, name)
        if not hook.get_hookimpls():  # owed to another version of the plugin, or while it could not be looked at
            raise PermanentError(f"the plugin has no {name}")
        return lambda: hook(event=event, delivery=delivery)

    def check(self) -> str | None:
        """What the plugin's own `check()` found. Raises what it raises."""
        return cast("str | None", self._manager.hook.check())

    def tells(self) -> str | None:
        """What leaves through the plugin, in its own words. Raises what it raises."""
        return cast("str | None", self._manager.hook.tells())

    def commands(self) -> Sequence[Command]:
        """The plugin's commands, none if it has no such hook. Raises what it raises."""
        return cast("Sequence[Command] | None", self._manager.hook.commands()) or ()

    def close(self) -> None:
        """Let the plugin let go of what it holds; what it raises is a log line."""
        try:
            self._manager.hook.close()
        except BaseException as error:  # the text may hold a patient's values
            log.error("the plugin could not be closed: %s", without_text(error))  # noqa: TRY400


def kept_text(told: str) -> str:
    """A plugin's text as every database takes it: without lone surrogates, and not without end."""
    return told[:LONGEST_TEXT].encode("utf-8", "replace").decode()


def kept_seconds(told: object) -> float | None:
    """A plugin's `retry_after_s`, which may be a header's text, a date too; `None` if it is neither."""
    try:
        seconds = _until(told) if isinstance(told, str) and "," in told else float(told)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return max(0.0, seconds) if seconds == seconds else None  # noqa: PLR0124 (NaN is not itself)


def _until(http_date: str) -> float:
    """Seconds until an HTTP date such as `Wed, 21 Oct 2026 07:28:00 GMT`."""
    return (parsedate_to_datetime(http_date) - datetime.now(UTC)).total_seconds()
