"""What a delivery that is made again must be like, and two at once."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import zip_longest
from typing import Any
from urllib.parse import quote

from glycanbridge.delivery import Delivery
from glycanbridge.testing.attempts import Attempted, deliver
from glycanbridge.testing.contract.plan import Case, again, fail
from glycanbridge.testing.samples import event_body, read_event, sample_delivery


def the_same_delivery_twice_does_not_fail(case: Case) -> None:
    """After a crash, or a lost answer, a delivery is made again: by the same instance, or by another one."""
    for delivery in case.deliveries():
        plugin = case.make()
        case.delivered(plugin, delivery)
        case.delivered(plugin, again(delivery))
        case.delivered(case.make(), again(again(delivery)))


def the_far_side_can_know_a_repeat(case: Case) -> None:
    """By the same idempotency key, by the delivery's id, or by the same content; and tell it from another delivery.

    Both are made by instances that know nothing of each other, as after a crash that took all that was remembered.
    """
    for delivery in case.deliveries():
        first, second = case.sent(case.make(), delivery), case.sent(case.make(), again(delivery))
        for one, other in zip_longest(first, second):
            if one is None or other is None:
                fail(f"{delivery.event_type}: {len(first)} of them the first time, {len(second)} the second time")
            if not _are_the_same(case, one, other, delivery):
                fail(
                    f"{delivery.event_type}: the far side cannot know that this is the same once more; send "
                    f"delivery.id on, as an idempotency key:\n{_shown(one)}\n{_shown(other)}"
                )
        keys = [key for each in first if (key := _keys(each))]
        another = case.sent(case.make(), sample_delivery(_another(delivery.body, 1))) if keys else []
        if any(_keys(each) in keys for each in another):
            fail(f"two deliveries of {delivery.event_type} carry the same idempotency key: the second would be dropped")


def it_can_be_called_by_several_threads_at_once(case: Case) -> None:
    """With `isolation: thread` all lanes share one instance."""
    body, number = case.plan.bodies[-1], case.plan.threads
    deliveries = [sample_delivery(_another(body, each)) for each in range(number)]
    alone = [case.sent(case.make(), each) for each in deliveries] if case.peer else []
    before = len(case.peer.taken) if case.peer else 0
    for outcome in _at_once(case, deliveries):
        if not outcome.delivered:
            fail(f"one of {number} deliveries at once failed, which alone succeeds: {outcome}")
    together = case.peer.taken[before:] if case.peer else []
    for delivery, sent in zip(deliveries, alone, strict=False):
        lost = [each for each in sent if not any(_are_the_same(case, each, other, delivery) for other in together)]
        if lost:
            fail(f"of {number} deliveries at once this is missing, or is mixed with another one:\n{_shown(lost[0])}")


def _at_once(case: Case, deliveries: list[Delivery]) -> list[Attempted]:
    plugin = case.make()
    outcomes: list[Attempted] = []
    ready = threading.Barrier(len(deliveries))

    def run(delivery: Delivery) -> None:
        ready.wait()
        outcomes.append(deliver(plugin, delivery))

    with _switching_often():
        threads = [threading.Thread(target=run, args=(each,), daemon=True) for each in deliveries]
        for each in threads:
            each.start()
        for each in threads:
            each.join()  # one that never comes back is left behind with this one
            case.patience.step()
    return outcomes


@contextmanager
def _switching_often() -> Iterator[None]:
    """Makes a race likely."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _another(body: bytes, number: int) -> bytes:
    """An event like this one, a little later."""
    event = read_event(body)
    moved = event.timestamp.replace(microsecond=(event.timestamp.microsecond + 1000 * number) % 1_000_000)
    return event_body(event.model_copy(update={"timestamp": moved}))


def _are_the_same(case: Case, one: Any, other: Any, delivery: Delivery) -> bool:
    if case.plan.repeat_key is not None:
        return case.plan.repeat_key(one) == case.plan.repeat_key(other)
    keys = _keys(one), _keys(other)
    if any(keys):
        return keys[0] == keys[1]
    if one.key == other.key:
        return True
    return any(name in one.whole and name in other.whole for name in _names(delivery))


def _names(delivery: Delivery) -> list[bytes]:
    ids = (delivery.id, delivery.event_id)
    return [name.encode() for each in ids for name in (each, quote(each, safe=""))]


def _keys(item: Any) -> tuple[str, ...]:
    """The values of its headers for idempotency."""
    headers = getattr(item, "headers", None) or {}
    return tuple(value for name, value in headers.items() if "idempoten" in name.lower())


def _shown(item: Any) -> str:
    text = item.whole.decode("utf-8", "replace")
    return text if len(text) <= 1000 else f"{text[:1000]}..."
