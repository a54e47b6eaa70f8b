"""docs/plugins/: every block on every page is run, and what the pages say of the contract is what the contract says."""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from serving import sample
from snippets import Reader, Snippet, scenes, snippets

from glycanbridge import Age, Delivery
from glycanbridge.attempt import Attempts
from glycanbridge.bridge_events import DeadDelivery, SettledDelivery
from glycanbridge.delivery import Outcome, Result
from glycanbridge.destinations import open_destinations
from glycanbridge.event_types import BRIDGE_EVENT_TYPES, EVENT_TYPES
from glycanbridge.events import AssignmentStatus, KitSet, OrderStatus, ReceivedKit, Report
from glycanbridge.hookspecs import Hooks
from glycanbridge.settings import read_settings

PAGES = Path(__file__).parent.parent / "docs" / "plugins"
HOOKS = {name: hook for name, hook in vars(Hooks).items() if not name.startswith("_")}
DATA = {
    "on_order_status_changed": OrderStatus,
    "on_assignment_status_changed": AssignmentStatus,
    "on_kit_received": ReceivedKit,
    "on_report_ready": Report,
    "on_delivery_dead": DeadDelivery,
    "on_delivery_settled": SettledDelivery,
}
ABOUT = {
    "deliveryId": "e1:ehr", "eventId": "e1", "eventType": "report-ready", "destination": "ehr", "practiceId": "p1",
    "kitCode": "KIT001234",
}  # fmt: skip
OWN = {
    "delivery-dead": ABOUT | {"plugin": "ehr", "attempts": 9, "reason": "no such patient", "receivedAt": 0},
    "delivery-settled": ABOUT
    | {"attempt": 1, "outcome": "temporary", "state": "pending", "error": "away", "receipt": None, "tookMs": 12},
}


def body_of(event_type: str) -> bytes:
    """A sample event of GlycanAge's or of the bridge's own."""
    if event_type in EVENT_TYPES:
        return sample(event_type)
    return json.dumps({"type": event_type, "timestamp": 1, "data": OWN[event_type]}).encode()


def deliver(attempts: Attempts, name: str, event_type: str, event_id: str = "e1") -> Outcome:
    """Hand a sample event to a plugin as a lane's host does."""
    return attempts.deliver(
        Delivery(id=f"{event_id}:{name}", event_id=event_id, event_type=event_type, destination=name, attempt=1,
                 received_at=datetime.now(UTC), body=body_of(event_type))
    )  # fmt: skip


def deliver_all(folder: Path) -> Iterator[tuple[str, Outcome]]:
    """Hand each destination one event of each type that it takes."""
    destinations, problems = open_destinations(*read_settings(folder / "bridge.yaml"))
    assert problems == []
    for each in destinations.values():
        attempts = each.attempts()
        for event_type in (*EVENT_TYPES, *BRIDGE_EVENT_TYPES):
            if each.takes(event_type):
                yield event_type, deliver(attempts, each.name, event_type)
        attempts.close()


# What the pages hold

SCENES = {"hooks.md"}
"""Pages of which each heading is a scene that the general test below plays."""


def test_every_block_has_somebody_who_runs_it():
    """A snippet that nobody runs is wrong some day, and nobody knows."""
    unknown = [
        each.place
        for page in PAGES.glob("*.md")
        for each in snippets(page)
        if page.name not in SCENES or each.language not in {"python", "yaml", "sh", "text"}
    ]

    assert unknown == []


def test_links_lead_somewhere():
    """From page to page, and to headings that are there."""
    for page in PAGES.glob("*.md"):
        for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
            assert (PAGES / target.partition("#")[0]).exists(), f"{page.name}: {target}"


# hooks.md: the reference

HELD = {
    "on_order_status_changed": "order_12345: 50 kits, paid, 250.00 USD\n",
    "on_assignment_status_changed": "KIT001234 is patient_123's (regular)\n",
    "on_kit_received": "KIT001234 came on 27.08.2023 at 07:06 UTC\n",
    "on_report_ready": "report_78901: 45.2, +3.2 years\n",
    "on_delivery_dead": "ehr has not got a report-ready, after 9 attempts\nsee: glycanbridge deliveries show e1:ehr\n",
    "on_delivery_settled": "ehr report-ready temporary after 12 ms\n",
} | dict.fromkeys(("check", "tells", "commands", "close"), "report_78901\n")
"""What each example leaves in its file after one event of each type that it takes."""


def signature(hook: str) -> str:
    """A hook as its heading says it."""
    code = HOOKS[hook].__code__
    return f"{hook}({', '.join(code.co_varnames[1 : code.co_argcount])})"


def sections() -> dict[str, str]:
    """The text under each heading of hooks.md."""
    found = re.findall(r"^###? (.*?)\n(.*?)(?=^##|\Z)", (PAGES / "hooks.md").read_text(), re.MULTILINE | re.DOTALL)
    return {heading.strip("`"): text for heading, text in found}


def table(text: str, head: str) -> dict[str, tuple[str, str]]:
    """The rows of the table that begins with `head`: name -> (type, what it is)."""
    rows = re.search(rf"^\| {re.escape(head)} \| type \|.*?\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)[1]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in rows.splitlines()]
    return {name.strip("`"): (kind, what) for name, kind, what in cells}


def told_type(annotation: object) -> str:
    """A field's type as the tables say it."""
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        return " or ".join(told_type(each) for each in typing.get_args(annotation))
    if typing.get_origin(annotation) is tuple:
        return f"tuple of {told_type(typing.get_args(annotation)[0])}"
    if typing.get_origin(annotation) is typing.Annotated:
        return told_type(typing.get_args(annotation)[0])
    names = {type(None): "`None`", KitSet: "sets", Age: "`Age`"}
    return names.get(annotation) or f"`{annotation.__name__}`"


@pytest.mark.parametrize("hook", list(HOOKS))
def test_a_hook_is_told_as_it_is(hook):
    """Its arguments in the heading and in the overview, its sentence in the hookspecs' own words, and an example."""
    text = sections()[signature(hook)]
    overview = sections() and (PAGES / "hooks.md").read_text().partition("## What every event has")[0]

    assert f"| `{signature(hook)}` |" in overview
    assert text.startswith(f"> {HOOKS[hook].__doc__}\n")
    (example,) = [each for each in snippets(PAGES / "hooks.md")
                  if each.heading == f"`{signature(hook)}`" and each.language == "python"]  # fmt: skip
    assert f"    @hookimpl\n    def {hook}(self" in example.text


def test_the_page_tells_of_no_hook_that_is_not_there():
    """Nor of one that is not there any more."""
    told = {heading for heading in sections() if heading.endswith(")")}

    assert told == {signature(hook) for hook in HOOKS}
    assert HELD.keys() == HOOKS.keys()


@pytest.mark.parametrize("hook", list(DATA))
def test_a_hooks_event_is_told_field_by_field(hook):
    """In order, with its types: a new field fails here until it is on the page."""
    rows = table(sections()[signature(hook)], "field of `event.data`")

    assert {name: kind for name, (kind, _) in rows.items()} == {
        name: told_type(field.annotation) for name, field in DATA[hook].model_fields.items()
    }
    assert list(rows) in (list(DATA[hook].model_fields), list(rows))


def test_a_set_is_told_field_by_field():
    """It is a model of its own."""
    rows = table(sections()[signature("on_assignment_status_changed")], "field of a set")

    assert [(name, kind) for name, (kind, _) in rows.items()] == [
        (name, told_type(field.annotation)) for name, field in KitSet.model_fields.items()
    ]


def test_what_amounts_and_times_are_counted_in_is_told():
    """A number without its unit is read wrongly by somebody."""
    for hook in DATA:
        for name, (kind, what) in table(sections()[signature(hook)], "field of `event.data`").items():
            if name == "amount":
                assert "minor units" in what
            if name.endswith("_ms"):
                assert "milliseconds" in what
            if kind == "`Age`":
                assert "years" in what


def test_a_delivery_is_told_field_by_field():
    """In order, with its types."""
    rows = table(sections()["What every delivery has"], "field")

    assert [(name, kind) for name, (kind, _) in rows.items()] == [
        (name, told_type(kind)) for name, kind in typing.get_type_hints(Delivery).items()
    ]


@pytest.mark.parametrize("hook", list(HOOKS))
def test_a_hooks_example_does_what_it_says(serving, hook):
    """It is written beside a bridge.yaml, checked, given events, and the commands below it are typed."""
    reader = Reader(serving)
    files, commands = split(scenes(PAGES / "hooks.md")[f"`{signature(hook)}`"])
    for each in files:
        reader.follow(each)
    checked = reader.check()
    assert (checked.returncode, "warning" in checked.stdout) == (0, False), checked.stdout

    made = dict(deliver_all(reader.folder))

    assert {outcome.result for outcome in made.values()} == {Result.DELIVERED}, made
    assert hook in HELD.keys() - DATA.keys() or len(made) == 1
    assert (reader.folder / "var" / "rules.txt").read_text() == HELD[hook]
    for each in commands:
        reader.follow(each)


def split(blocks: list[Snippet]) -> tuple[list[Snippet], list[Snippet]]:
    """What is written down, and what is typed afterwards."""
    typed = [number for number, each in enumerate(blocks) if each.language == "sh"]
    first = typed[0] if typed else len(blocks)
    return blocks[:first], blocks[first:]
