"""What must stand in no error, no receipt, no log and nowhere else: secrets, and patients' values."""

from __future__ import annotations

from glycanbridge.delivery import Delivery
from glycanbridge.testing.attempts import Attempted
from glycanbridge.testing.contract.plan import Case, Trouble, fail
from glycanbridge.testing.contract.watching import Heard, Needles, patients_in
from glycanbridge.testing.samples import read_event


def no_secret_can_be_read_in_the_settings_and_the_plugin(case: Case) -> None:
    """A debugger, a traceback and a careless log line show them: keep secrets as `SecretStr`."""
    heard, plugin, model = Heard(), case.make(), case.model()
    heard.add("repr of the settings", repr(model))
    heard.add("str of the settings", str(model))
    heard.add("repr of the plugin", repr(plugin))
    heard.add("str of the plugin", str(plugin))
    case.secrets().check(heard)


def nothing_leaks_while_a_delivery_succeeds(case: Case) -> None:
    """Neither a secret nor a patient's value, in the receipt, in the log at any level, and in what is printed."""
    deliveries, secrets = case.deliveries(), case.secrets()
    with case.listening() as heard:
        plugin = case.make()
        outcomes = [case.delivered(plugin, each) for each in deliveries]
    _check(heard, outcomes, deliveries, secrets)


def nothing_leaks(case: Case, trouble: Trouble) -> None:
    """Neither a secret nor a patient's value, in the error, in the log at any level, and in what is printed.

    Where the far side answers, it quotes all that it was sent: what it says must not be told on.
    """
    deliveries, secrets = case.deliveries(), case.secrets()
    if trouble.slow:
        deliveries = deliveries[-1:]

    def attempt(plugin: object) -> list[Attempted]:
        if case.peer is not None:
            trouble.begin(case.peer)
        return [case.attempted(plugin, each) for each in deliveries]

    with case.listening() as heard:
        outcomes = case.with_new(attempt, trouble.source)
    _check(heard, outcomes, deliveries, secrets)
    if all(each.delivered for each in outcomes):
        fail(f"no delivery failed: {outcomes}")


def _check(heard: Heard, outcomes: list[Attempted], deliveries: list[Delivery], secrets: Needles) -> None:
    __tracebackhide__ = True
    for outcome in outcomes:
        heard.add("the receipt", outcome.receipt)
        heard.add("the error", outcome.text)
    secrets.check(heard)
    for each in deliveries:
        Needles(patients_in(read_event(each.body))).check(heard)
