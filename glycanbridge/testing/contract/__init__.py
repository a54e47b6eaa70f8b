"""Tests that every plugin should pass, made for one plugin: `TestContract = contract_suite(Hello, {...})`.

`plan` is what its author says of it, `watching` hears what is logged and printed; the checks are in `repeats`,
`secrecy`, `troubles`, `report_files` and `manners`, each a function whose name and docstring become a test's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from glycanbridge.errors import DeliveryError
from glycanbridge.event_types import BRIDGE_EVENT_TYPES, EVENT_TYPES
from glycanbridge.events import Event
from glycanbridge.hookspecs import hook_name
from glycanbridge.problems import schema_of
from glycanbridge.testing.contract import manners, repeats, report_files, secrecy, troubles
from glycanbridge.testing.contract.plan import Case, FarSide, Plan, Source, Trouble
from glycanbridge.testing.contract.watching import Capture
from glycanbridge.testing.http_peer import HttpRequest
from glycanbridge.testing.samples import as_body, read_event, sample_body

__all__ = ["contract_suite"]

Meant = type[DeliveryError] | tuple[type[DeliveryError], ...] | None
Check = Callable[[Case], None]
_MORE: dict[str, dict[str, Any]] = {
    "kit-received": {"patientName": "Zoe Needlewoman"},
    "report-ready": {"glycanAge": "91.7353", "chronologicalAge": "87.1913", "patientName": "Zoe Needlewoman"},
}
"""Values that are looked for in logs and errors: those of the samples are too short for it."""


def contract_suite(
    plugin: type,
    settings: Source,
    *,
    peer: Callable[[], FarSide] | None = None,
    secrets: Iterable[str] = (),
    events: Iterable[str | bytes | Event] | None = None,
    statuses: Mapping[int, Meant] | None = None,
    failing: Mapping[str, Source] | None = None,
    harmless: Callable[[Any], bool] | None = None,
    repeat_key: Callable[[Any], object] | None = None,
    check_asks: bool = True,
    threads: int = 8,
    within_s: float = 10.0,
) -> type:
    """A class of tests for a plugin class; give it a name that begins with `Test`.

    `settings`: as they stand in `bridge.yaml`, secrets too, or a function that makes them of `peer`, `folder` or both.
    `peer`: makes the far side, well: `HttpPeer`, `SmtpPeer`; without one, what needs a far side is not tested.
    `secrets`: further texts that must be told nowhere, such as a token that the far side gives.
    `events`: what to deliver, types, bodies or events; default: a sample of each type that the plugin has a hook for.
    `statuses`: what an HTTP status means to it where that is not the usual (`{404: PermanentError}`); `None`: it does
    not apply, and a redirect may be followed. `failing`: settings with which every delivery fails, by a name for each.
    `harmless`: whether a request (or mail) delivers nothing; default: a `GET`, `HEAD` or `OPTIONS` with no body.
    `repeat_key`: of a request (or mail), what is the same when the same delivery is made again. `check_asks`: `False`
    where `check()` cannot. `threads`: how many call it at once; 1: not at all. `within_s`: how long a call may take.
    """
    kind, bodies = _of_kind(peer), _bodies(plugin, events)
    plan = Plan(
        plugin=plugin,
        settings=settings,
        peer=peer,
        secrets=tuple(secrets),
        bodies=bodies,
        destination={} if events is None else {"events": sorted({read_event(each).type for each in bodies})},
        statuses=(meant := _meant(statuses or {})),
        troubles=(*troubles.troubles_of(kind, meant), *_of_settings(failing or {})),
        redirects=troubles.redirects_of(kind, statuses or {}),
        harmless=harmless or _asks_only,
        repeat_key=repeat_key,
        check_asks=check_asks,
        threads=threads,
        within_s=within_s,
    )
    return _tests_of(plan)


def _tests_of(plan: Plan) -> type:
    name = plan.plugin.__name__
    tests = {f"test_{sentence}": _as_test(plan, sentence, check) for sentence, check in _checks(plan)}
    return type(f"{name}Contract", (), {"__doc__": f"What {name} has promised.", **tests})


def _checks(plan: Plan) -> Iterator[tuple[str, Check]]:
    """The checks that apply to the plugin, by their names as sentences."""
    always: list[Check] = [
        manners.the_bridge_can_use_it,
        manners.an_unknown_setting_is_refused,
        repeats.the_same_delivery_twice_does_not_fail,
        secrecy.nothing_leaks_while_a_delivery_succeeds,
    ]
    for check in [*always, *_of_settings_model(plan), *_of_hooks(plan)]:
        yield check.__name__, check
    if plan.threads > 1:
        yield (
            repeats.it_can_be_called_by_several_threads_at_once.__name__,
            (repeats.it_can_be_called_by_several_threads_at_once),
        )
    for each in plan.troubles:
        yield f"nothing_leaks_when_{each.name}", partial(secrecy.nothing_leaks, trouble=each)
    if plan.peer is not None:
        yield from _with_peer(plan)


def _of_settings_model(plan: Plan) -> Iterator[Check]:
    model = getattr(plan.plugin, "Settings", None)
    schema = schema_of(model) if isinstance(model, type) and issubclass(model, BaseModel) else {}
    if model is not None:
        yield manners.its_settings_have_a_json_schema
        yield manners.every_setting_is_described
    if plan.secrets or schema is None or '"writeOnly"' in json.dumps(schema):  # so pydantic marks a secret
        yield secrecy.no_secret_can_be_read_in_the_settings_and_the_plugin


def _of_hooks(plan: Plan) -> Iterator[Check]:
    if hasattr(plan.plugin, "check"):
        yield manners.check_sends_nothing
        if plan.peer is not None and plan.check_asks:
            yield manners.check_says_so_when_nobody_is_there
    if hasattr(plan.plugin, "tells"):
        yield manners.tells_is_one_line_without_secrets
    if hasattr(plan.plugin, "close"):
        yield manners.closing_twice_is_harmless
    if report_files.may_ask(plan.plugin):
        yield report_files.a_report_that_is_late_costs_no_attempt
        yield report_files.a_report_that_never_comes_is_waited_for_by_nobody


def _with_peer(plan: Plan) -> Iterator[tuple[str, Check]]:
    for check in (
        repeats.the_far_side_can_know_a_repeat,
        troubles.a_far_side_that_is_not_there_is_no_reason_to_give_up,
    ):
        yield check.__name__, check
    for status in plan.redirects:
        yield f"a_redirect_of_{status}_is_not_followed", partial(troubles.a_redirect_is_not_followed, status=status)
    for each in plan.troubles:
        if each.breaks:
            name = f"it_is_no_reason_to_give_up_when_{each.name}"
            yield name, partial(troubles.a_connection_that_breaks_is_no_reason_to_give_up, trouble=each)
        if each.status is not None:
            kinds = "_or_".join(kind.__name__ for kind in plan.statuses[each.status])
            yield (
                f"an_answer_of_{each.status}_is_a_{kinds}",
                partial(troubles.a_status_means_what_it_says, status=each.status),
            )


def _as_test(plan: Plan, name: str, check: Check) -> Callable[[Any, Path, Capture], None]:
    def test(_self: object, tmp_path: Path, capfd: Capture) -> None:
        Case.run(check, plan, tmp_path, capfd)

    test.__name__ = test.__qualname__ = f"test_{name}"
    vars(test)["contract_of"] = f"{plan.plugin.__module__}:{plan.plugin.__qualname__}"  # for `plugins check`
    test.__doc__ = (check.func if isinstance(check, partial) else check).__doc__
    return test


def _bodies(plugin: type, events: Iterable[str | bytes | Event] | None) -> tuple[bytes, ...]:
    if events is None:
        events = [each for each in (*BRIDGE_EVENT_TYPES, *EVENT_TYPES) if hasattr(plugin, hook_name(each))]
    bodies = tuple(_body(each) for each in events)
    if not bodies:
        raise ValueError(f"{plugin.__name__} has no hook for any event: there is nothing to test")
    return bodies


def _body(event: str | bytes | Event) -> bytes:
    return sample_body(event, **_MORE.get(event, {})) if isinstance(event, str) else as_body(event)


def _meant(own: Mapping[int, Meant]) -> dict[int, tuple[type[DeliveryError], ...]]:
    """What each status means that applies."""
    told = {**troubles.STATUSES, **own}
    return {status: each if isinstance(each, tuple) else (each,) for status, each in told.items() if each is not None}


def _of_kind(make: Callable[[], FarSide] | None) -> FarSide | None:
    """One is made to see what it is."""
    if make is None:
        return None
    peer = make()
    peer.close()
    return peer


def _of_settings(failing: Mapping[str, Source]) -> Iterator[Trouble]:
    for name, source in failing.items():
        slug = "".join(each if each.isalnum() else "_" for each in name)
        yield Trouble(name=slug, source=source)


def _asks_only(item: object) -> bool:
    return isinstance(item, HttpRequest) and not item.body and item.method in {"GET", "HEAD", "OPTIONS"}
