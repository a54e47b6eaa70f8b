"""What becomes of a delivery whose report file the plugin asks for, and there is none."""

from __future__ import annotations

from dataclasses import replace
from typing import NoReturn

from glycanbridge.delivery import Delivery
from glycanbridge.errors import DeliveryError, NotYetError, PermanentError
from glycanbridge.events import ReportReady
from glycanbridge.plugins import admits
from glycanbridge.testing.attempts import Attempted
from glycanbridge.testing.contract.plan import Case, fail
from glycanbridge.testing.samples import read_event

_BEFORE = "1.0"
"""The contract that has no `delivery.report()`."""


def may_ask(plugin: type) -> bool:
    """Whether the plugin may ask for reports, by what it says that it is made for."""
    try:
        return hasattr(plugin, "on_report_ready") and not admits(plugin, _BEFORE)
    except (ValueError, TypeError, AttributeError):  # no range at all, which another test says
        return False


def a_report_that_is_late_costs_no_attempt(case: Case) -> None:
    """The delivery waits for it (`NotYetError`), or goes without it and says so."""
    for outcome in _without_report(case, NotYetError("the report is not there yet")):
        if not outcome.delivered and outcome.error is not NotYetError:
            fail(f"the report was late, and it ended in: {outcome}; let the NotYetError pass on, or do without")


def a_report_that_never_comes_is_waited_for_by_nobody(case: Case) -> None:
    """The delivery ends with the reason (`PermanentError`), or goes without it and says so."""
    for outcome in _without_report(case, PermanentError("there will never be a report")):
        if not outcome.delivered and outcome.error is not PermanentError:
            fail(f"no report will ever come, and it ended in: {outcome}; let the PermanentError pass on, or do without")


def _without_report(case: Case, error: DeliveryError) -> list[Attempted]:
    """What attempts end in that ask for the report and get this error; those that do not ask are left out."""
    asked: list[str] = []

    def source(delivery: Delivery) -> NoReturn:
        asked.append(delivery.id)
        raise error

    reports = [each for each in case.deliveries() if isinstance(read_event(each.body), ReportReady)]
    outcomes = [(each.id, case.attempted(case.make(), replace(each, report_source=source))) for each in reports]
    return [outcome for name, outcome in outcomes if name in asked]
