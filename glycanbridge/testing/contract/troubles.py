"""What a plugin must make of a far side in trouble."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from glycanbridge.attempt import Attempts
from glycanbridge.errors import DeliveryError, DestinationError, PermanentError, TemporaryError
from glycanbridge.testing.answers import Answer, Fault
from glycanbridge.testing.attempts import Attempted
from glycanbridge.testing.contract.plan import Case, Trouble, fail
from glycanbridge.testing.http_peer import HttpPeer, HttpRequest
from glycanbridge.testing.smtp_peer import SmtpPeer, Step

RETRY_AFTER_S = 7
"""What a far side asks for with 429 and 503."""
STATUSES: dict[int, tuple[type[DeliveryError], ...]] = {
    400: (PermanentError,),
    401: (DestinationError,),
    403: (DestinationError,),
    422: (PermanentError,),
    429: (DestinationError, TemporaryError),
    500: (TemporaryError,),
    502: (TemporaryError,),
    503: (TemporaryError, DestinationError),
    504: (TemporaryError,),
}
"""What an HTTP status means, unless the author says otherwise."""
REDIRECTS = (302, 307, 308)
"""What a far side sends elsewhere with: by another method, and with all that was sent."""
_FAULTS = {
    "it_resets_the_connection": Fault.RESET,
    "it_resets_the_connection_in_the_middle_of_its_answer": Fault.RESET_MIDWAY,
    "it_closes_the_connection_without_an_answer": Fault.CLOSE,
    "it_answers_garbage": Fault.GARBAGE,
    "it_hangs": Fault.HANG,
}


def _quoting_smtp(reply: str) -> Callable[[str], str]:
    """A reply that quotes what it was given, as many do."""
    return lambda told: f"{reply}: {' '.join(told.split())[:900]}"


_SMTP_STEPS: dict[str, dict[str, Step]] = {
    "it_is_busy": {"connect": "421 4.3.2 busy"},
    "it_refuses_the_sender": {"MAIL": _quoting_smtp("550 5.7.1 not from you")},
    "it_refuses_the_recipient": {"RCPT": _quoting_smtp("550 5.1.1 no such user")},
    "it_defers_the_recipient": {"RCPT": _quoting_smtp("450 4.2.0 come back later")},
    "it_refuses_the_mail": {"end": _quoting_smtp("554 5.6.0 not this one")},
    "it_defers_the_mail": {"end": _quoting_smtp("451 4.3.0 come back later")},
    "it_resets_the_connection": {"connect": Fault.RESET},
    "it_resets_the_connection_after_the_mail": {"end": Fault.RESET},
    "it_hangs": {"connect": Fault.HANG},
    "it_hangs_after_the_mail": {"end": Fault.HANG},
}


def quoting(status: int, request: HttpRequest) -> Answer:
    """An answer that quotes all that was sent, as many error pages do."""
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status in {429, 503} else {}
    return Answer(status, b"cannot take this: " + request.whole, headers)


def troubles_of(peer: object, statuses: Iterable[int]) -> tuple[Trouble, ...]:
    """The ways in which a peer of this kind can be in trouble."""
    if isinstance(peer, HttpPeer):
        return (*(_status(each) for each in statuses), *(_fault(name, each) for name, each in _FAULTS.items()))
    if isinstance(peer, SmtpPeer):
        return tuple(_step(name, each) for name, each in _SMTP_STEPS.items())
    return ()


def redirects_of(peer: object, own: Mapping[int, object]) -> tuple[int, ...]:
    """The redirects that a peer of this kind can answer with, but for those that do not apply (`None`)."""
    return tuple(each for each in REDIRECTS if isinstance(peer, HttpPeer) and own.get(each, ()) is not None)


def a_status_means_what_it_says(case: Case, status: int) -> None:
    """Whom it blames decides what the bridge does next: it retries, leaves the destination alone, or gives up."""
    case.peer.answer(lambda request: quoting(status, request))
    outcome = case.with_new(_attempt(case))
    meant = case.plan.statuses[status]
    if outcome.error not in meant:
        fail(f"an answer of {status} is to be {' or '.join(each.__name__ for each in meant)}, and was {outcome}")
    if status == 429 and outcome.retry_after_s != RETRY_AFTER_S:
        fail(f"it asked to wait {RETRY_AFTER_S} s by Retry-After; pass the header on as retry_after_s: {outcome}")


def a_redirect_is_not_followed(case: Case, status: int) -> None:
    """Results and secrets would go wherever an answer says; and what is sent elsewhere has not been taken."""
    with HttpPeer() as elsewhere:
        case.peer.answer(Answer.redirect(f"{elsewhere.url}/", status))
        plugin = case.make()
        outcome = case.attempted(plugin, case.deliveries()[-1])
        if hasattr(plugin, "check"):
            with suppress(Exception):  # whatever it says of it
                Attempts(plugin, tries=1).check()
        if elsewhere.connections:
            fail(f"a redirect ({status}) was followed, to whatever address was in it: {outcome}")
    if outcome.delivered:
        fail(f"a redirect ({status}) was taken for a yes: {outcome}")


def a_connection_that_breaks_is_no_reason_to_give_up(case: Case, trouble: Trouble) -> None:
    """Nobody knows what became of it: temporary, or unknown. And it ends in time, by the plugin's own timeout."""
    trouble.begin(case.peer)
    outcome = case.with_new(_attempt(case))
    if outcome.error is not TemporaryError:
        fail(f"expected TemporaryError, which may be unknown, and it was {outcome}")


def a_far_side_that_is_not_there_is_no_reason_to_give_up(case: Case) -> None:
    """It comes back: the delivery, or the destination as a whole, waits for it."""
    case.peer.close()
    outcome = case.with_new(_attempt(case))
    if outcome.error not in {TemporaryError, DestinationError}:
        fail(f"expected TemporaryError or DestinationError, and it was {outcome}")


def _attempt(case: Case) -> Callable[[object], Attempted]:
    return lambda plugin: case.attempted(plugin, case.deliveries()[-1])


def _status(status: int) -> Trouble:
    def begin(peer: HttpPeer) -> None:
        peer.answer(lambda request: quoting(status, request))

    return Trouble(name=f"it_answers_{status}", begin=begin, status=status)


def _fault(name: str, fault: Fault) -> Trouble:
    def begin(peer: HttpPeer) -> None:
        peer.answer(fault)

    return Trouble(name=name, begin=begin, slow=fault is Fault.HANG, breaks=fault is not Fault.GARBAGE)


def _step(name: str, steps: Mapping[str, Step]) -> Trouble:
    def begin(peer: SmtpPeer) -> None:
        peer.answer(**steps)

    faults = {each for each in steps.values() if isinstance(each, Fault)}
    return Trouble(name=name, begin=begin, slow=Fault.HANG in faults, breaks=bool(faults))
