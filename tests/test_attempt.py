"""An attempt: a plugin's every way to return or to fail ends in an outcome that every journal can keep."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from conftest import Taker
from serving import delivery, sample

from glycanbridge import DestinationError, NotYetError, PermanentError, TemporaryError, hookimpl
from glycanbridge.attempt import LONGEST_TEXT, OUT_OF_MEMORY, Attempts
from glycanbridge.delivery import Result, Scope


class Nasty:
    """An object that ends whoever looks at it."""

    def __str__(self) -> str:
        raise SystemExit(4)


def test_a_lost_answer_is_an_unknown_outcome_and_not_tried_again_at_once(taker):
    """The far side may have it: whether it is made again is the destination's setting."""
    taker.raises = TemporaryError("its answer was lost", unknown=True)

    outcome = Attempts(taker, tries=3).deliver(delivery())

    assert (outcome.result, outcome.error, outcome.retry_after_s) == (Result.UNKNOWN, "its answer was lost", None)
    assert len(taker.taken) == 1


class TokenRefused(DestinationError):
    """A plugin may have errors of its own."""


@pytest.fixture
def attempts(taker):
    """The attempts made with `taker`, one try each."""
    return Attempts(taker, tries=1)


def test_a_plugin_gets_the_event_and_the_delivery_and_gives_a_receipt(attempts, taker):
    """The event is the one that its hook is for."""
    outcome = attempts.deliver(delivery())

    ((event, handed),) = taker.taken
    assert (outcome.result, outcome.receipt) == (Result.DELIVERED, "taken")
    assert (event.data.report_id, handed.id) == ("report_78901", "e1:a")


@pytest.mark.parametrize(
    ("receipt", "kept"), [(None, None), ("x" * 10_000, "x" * LONGEST_TEXT), ("file \udcff", "file ?"), ("", "")]
)
def test_a_receipt_is_none_or_text_that_every_journal_can_keep(attempts, taker, receipt, kept):
    """The far side may have answered anything; a delivery must not be repeated because of it."""
    taker.receipt = receipt

    assert attempts.deliver(delivery()).receipt == kept


@pytest.mark.parametrize("receipt", [17, {"id": 1}, b"bytes", Nasty()])
def test_what_is_no_receipt_is_no_delivery(attempts, taker, receipt):
    """Whatever the hook did, it did not keep the contract: the operator is told."""
    taker.receipt = receipt

    outcome = attempts.deliver(delivery())

    assert (outcome.result, outcome.receipt) == (Result.TEMPORARY, None)
    assert outcome.error == f"the hook returned {type(receipt).__name__}, neither a text nor None"


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ("30", 30.0),
        (-5, 0.0),
        (float("nan"), None),
        ([], None),
        ("soon", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 2015", None),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
    ],
)
def test_a_wait_that_is_asked_for_may_be_a_headers_text(attempts, taker, asked, kept):
    """What is no number of seconds counts as not asked."""
    taker.raises = TemporaryError("busy \udcff" + "x" * 10_000, retry_after_s=asked)

    outcome = attempts.deliver(delivery())

    assert (outcome.result, outcome.retry_after_s) == (Result.TEMPORARY, kept)
    assert len(outcome.error) == LONGEST_TEXT


def test_an_error_that_cannot_be_told_is_an_outcome_all_the_same(attempts, taker):
    """Its text ends whoever looks at it."""
    taker.raises = PermanentError(Nasty())

    assert attempts.deliver(delivery()).result is Result.TEMPORARY


@pytest.mark.parametrize(
    ("error", "result", "told"),
    [
        (TemporaryError("busy", retry_after_s=7), Result.TEMPORARY, "busy"),
        (PermanentError("no such patient"), Result.PERMANENT, "no such patient"),
        (ValueError("KIT001234 is bad"), Result.TEMPORARY, "ValueError at conftest.py"),
        (SystemExit(0), Result.TEMPORARY, "SystemExit at"),
        (KeyboardInterrupt(), Result.TEMPORARY, "KeyboardInterrupt at"),
        (GeneratorExit(), Result.TEMPORARY, "GeneratorExit at"),
        (RecursionError("deep"), Result.TEMPORARY, "RecursionError at"),
        (BaseException("bare"), Result.TEMPORARY, "BaseException at"),
    ],
)
def test_whatever_a_plugin_raises_is_an_outcome(attempts, taker, error, result, told):
    """Any other exception counts as temporary, and only its type and place are told: its text may be a patient's."""
    taker.raises = error

    outcome = attempts.deliver(delivery())

    assert outcome.result is result
    assert outcome.error.startswith(told)
    assert "KIT001234" not in outcome.error
    assert outcome.retry_after_s == getattr(error, "retry_after_s", None)
    assert outcome.scope is None


@pytest.mark.parametrize("header", [lambda at: format_datetime(at, usegmt=True), lambda _: "90"])
def test_a_retry_after_header_may_be_a_date(attempts, taker, header):
    """RFC 9110, 10.2.3: so a plugin hands on what came as it came."""
    taker.raises = TemporaryError("busy", retry_after_s=header(datetime.now(UTC) + timedelta(seconds=90)))

    assert 60 < attempts.deliver(delivery()).retry_after_s <= 90


@pytest.mark.parametrize(
    ("error", "scope", "asked_s"),
    [
        (NotYetError("no such patient yet"), Scope.DELIVERY, 3600),
        (NotYetError("not before six", retry_after_s=60), Scope.DELIVERY, 60),
        (DestinationError("the password is wrong"), Scope.DESTINATION, 300),
        (DestinationError("too many requests", retry_after_s="7"), Scope.DESTINATION, 7),
        (TokenRefused("the token is refused"), Scope.DESTINATION, 300),
    ],
)
def test_what_a_failure_is_about_is_told_and_no_quick_try_is_made(taker, error, scope, asked_s):
    """A second try within a second would find the same password wrong, and the same patient missing."""
    taker.raises = error

    outcome = Attempts(taker, tries=3).deliver(delivery())

    assert (outcome.result, outcome.scope, outcome.retry_after_s) == (Result.TEMPORARY, scope, asked_s)
    assert (outcome.error, len(taker.taken)) == (str(error), 1)


def test_a_plugin_without_memory_has_an_outcome_that_needs_none(attempts, taker):
    """It is known by its identity, so that a host can be replaced after it."""
    taker.raises = MemoryError("KIT001234")

    assert attempts.deliver(delivery()) is OUT_OF_MEMORY
    assert OUT_OF_MEMORY.result is Result.TEMPORARY


def test_a_blip_is_tried_away_within_the_attempt(taker):
    """The schedule never sees it."""
    taker.raises = OSError()

    Attempts(taker, tries=2).deliver(delivery())

    assert len(taker.taken) == 2


def test_an_event_that_this_version_does_not_understand_is_a_dead_letter(attempts, taker):
    """Say after a downgrade; nothing is handed to the plugin."""
    outcome = attempts.deliver(delivery(b'{"type": "report-withdrawn"}'))

    assert (outcome.result, taker.taken) == (Result.PERMANENT, [])


def test_what_the_plugin_has_no_hook_for_is_a_dead_letter(attempts):
    """It was owed to another version of it: that must not pass for delivered."""
    outcome = attempts.deliver(delivery(sample("order-status-changed"), event_type="order-status-changed"))

    assert (outcome.result, outcome.error) == (Result.PERMANENT, "the plugin has no on_order_status_changed")


def test_a_hook_takes_any_of_the_arguments():
    """As pluggy has it."""

    class Small:
        @hookimpl
        def on_report_ready(self, event):
            return event.type

    assert Attempts(Small(), tries=1).deliver(delivery()).receipt == "report-ready"


def test_a_check_says_what_the_plugin_says():
    """Or nothing, if it has none; what it raises comes out, for whoever asks to explain."""

    class Checking(Taker):
        @hookimpl
        def check(self):
            if self.raises:
                raise self.raises
            return "all is well"

    checking = Checking()

    assert Attempts(checking, tries=1).check() == "all is well"
    assert Attempts(Taker(), tries=1).check() is None
    checking.raises = PermanentError("the far side refuses us")
    with pytest.raises(PermanentError, match="refuses us"):
        Attempts(checking, tries=1).check()


def test_a_plugin_tells_what_leaves_through_it():
    """Or nothing, if it does not say."""

    class Telling(Taker):
        @hookimpl
        def tells(self):
            return "report ids, to the moon"

    assert Attempts(Telling(), tries=1).tells() == "report ids, to the moon"
    assert Attempts(Taker(), tries=1).tells() is None


def test_a_plugin_that_cannot_be_closed_is_a_log_line(caplog):
    """Whoever closes it has others to close."""

    class Stubborn(Taker):
        @hookimpl
        def close(self):
            raise SystemExit("KIT001234")

    Attempts(Stubborn(), tries=1).close()

    assert "the plugin could not be closed: SystemExit at test_attempt.py" in caplog.text
    assert "KIT001234" not in caplog.text
