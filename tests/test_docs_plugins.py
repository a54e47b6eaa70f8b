"""docs/plugins/: every block on every page is run, and what the pages say of the contract is what the contract says."""

from __future__ import annotations

import json
import re
import runpy
import types
import typing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from serving import sample
from snippets import PAGES, scenes, snippets
from test_observers import ended, listening

import glycanbridge
from glycanbridge import (
    Age,
    Delivery,
    DestinationError,
    NotYetError,
    PermanentError,
    Personal,
    observers,
    rehearsal,
)
from glycanbridge.attempt import LONGEST_TEXT, Attempts
from glycanbridge.bridge_events import DeadDelivery, SettledDelivery, parse_kept
from glycanbridge.delivery import LONGEST_RETRY_AFTER_S, Outcome, Result
from glycanbridge.destinations import open_destinations
from glycanbridge.dispatcher import START_AGAIN_S
from glycanbridge.event_types import BRIDGE_EVENT_TYPES, EVENT_TYPES
from glycanbridge.events import AssignmentStatus, KitSet, OrderStatus, ReceivedKit, Report
from glycanbridge.glycanage.reports import REMEMBERED_S
from glycanbridge.hookspecs import CONTRACT, UNSAID, Hooks
from glycanbridge.hosts import CLOSE_S
from glycanbridge.hosts.forks import Forks
from glycanbridge.hosts.output import LONGEST_LINE, MOST_LINES, WINDOW_S
from glycanbridge.hosts.process import START_S
from glycanbridge.hosts.reports import MOST_QUESTIONS
from glycanbridge.hosts.thread import MOST_LEFT_BEHIND
from glycanbridge.identity import event_id
from glycanbridge.server import LAST_ATTEMPTS_S
from glycanbridge.settings import (
    DESTINATION_NAME,
    CircuitSettings,
    DestinationSettings,
    RetrySettings,
    read_settings,
)
from glycanbridge.testing import HandBridge, make_plugin, sample_report
from glycanbridge.testing import deliver as deliver_to

HOOKS = {name: hook for name, hook in vars(Hooks).items() if not name.startswith("_")}
DATA = {
    "on_order_status_changed": OrderStatus,
    "on_assignment_status_changed": AssignmentStatus,
    "on_kit_received": ReceivedKit,
    "on_report_ready": Report,
    "on_delivery_dead": DeadDelivery,
    "on_delivery_settled": SettledDelivery,
}


def deliver(attempts: Attempts, name: str, event_type: str) -> Outcome:
    """Hand a sample event to a plugin as a lane's host does."""
    return attempts.deliver(
        Delivery(id=f"e1:{name}", event_id="e1", event_type=event_type, destination=name, attempt=1,
                 received_at=datetime.now(UTC), body=sample(event_type))
    )  # fmt: skip


def deliver_all(folder: Path) -> dict[str, Outcome]:
    """Hand the only destination one event of each type that it takes."""
    destinations, problems = open_destinations(*read_settings(folder / "bridge.yaml"))
    ((name, destination),) = destinations.items()
    assert problems == []
    attempts, types = destination.attempts(), (*EVENT_TYPES, *BRIDGE_EVENT_TYPES)
    made = {each: deliver(attempts, name, each) for each in types if destination.takes(each)}
    attempts.close()
    return made


# What the pages hold


def test_every_block_has_somebody_who_runs_it():
    """A snippet that nobody runs is wrong some day, and nobody knows. Whoever reads a part does all of it."""
    tests = "".join(each.read_text(encoding="utf-8") for each in Path(__file__).parent.glob("test_docs_*.py"))
    read = set(re.findall(r'read\("([\w.-]+)", "([^"]*)"\)', tests))
    read |= {("hooks.md", f"`{signature(hook)}`") for hook in HOOKS}
    whole = {"testing.md"}  # tests/test_docs_testing.py runs each of its blocks as the file that it is

    pages = [each for each in PAGES.glob("*.md") if each.name not in whole]
    there = {(page.name, heading) for page in pages for heading, blocks in scenes(page).items() if blocks}
    assert there - read == set()


def test_a_page_with_a_block_that_never_ends_is_told(tmp_path):
    """All that follows would be a part of it, and run by nobody."""
    page = tmp_path / "page.md"
    page.write_text("# Page\n```sh\nls\n")

    with pytest.raises(ValueError, match=r"page\.md:2: this block has no end"):
        list(snippets(page))


def test_links_lead_somewhere():
    """To a page that is there."""
    targets = {
        (page.name, target.partition("#")[0])
        for page in PAGES.glob("*.md")
        for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    }

    assert {(page, to) for page, to in targets if not (PAGES / to).exists()} == set()


def test_the_index_names_every_page():
    """Nobody finds what nothing leads to."""
    index = (PAGES / "README.md").read_text(encoding="utf-8")

    assert [
        page.name for page in PAGES.glob("*.md") if page.name != "README.md" and f"({page.name})" not in index
    ] == []


# hooks.md: the reference

HELD = {
    "on_order_status_changed": "order_12345: 50 kits, paid, 250.00 USD\n",
    "on_assignment_status_changed": "KIT001234 is patient_123's (regular)\n",
    "on_kit_received": "KIT001234 came on 27.08.2023 at 07:06 UTC\n",
    "on_report_ready": "report_78901: 45.2, +3.2 years\n",
    "on_delivery_dead": "results-ehr has not got a report-ready, after 9 attempts\n"
    "see: glycanbridge deliveries show 3f9c2a1b7d4e:results-ehr\n",
    "on_delivery_settled": "results-ehr report-ready delivered after 180 ms\n",
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
    overview, _, _ = (PAGES / "hooks.md").read_text().partition("## What every event has")

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

    assert [(name, kind) for name, (kind, _) in rows.items()] == [
        (name, told_type(field.annotation)) for name, field in DATA[hook].model_fields.items()
    ]


def test_a_set_is_told_field_by_field():
    """It is a model of its own."""
    rows = table(sections()[signature("on_assignment_status_changed")], "field of a set")

    assert [(name, kind) for name, (kind, _) in rows.items()] == [
        (name, told_type(field.annotation)) for name, field in KitSet.model_fields.items()
    ]


def test_what_amounts_ages_and_durations_are_counted_in_is_told():
    """A number without its unit is read wrongly by somebody."""
    units = {"amount": "minor units", "took_ms": "milliseconds", "glycan_age": "years", "chronological_age": "years"}
    told = [
        (name, units[name] in what)
        for hook in DATA
        for name, (_, what) in table(sections()[signature(hook)], "field of `event.data`").items()
        if name in units
    ]

    assert {name for name, _ in told} == set(units)
    assert all(has_unit for _, has_unit in told), told


def test_what_all_events_have_is_told_field_by_field():
    """What all of them have, and nothing that none has."""
    rows = table(sections()["What every event has"], "field")
    event = glycanbridge.ReportReady.model_validate_json(sample())

    assert set(rows) == {*glycanbridge.Event.model_fields, "practice_id", "kit_codes"}
    assert all(hasattr(event, name) for name in rows)


def test_a_delivery_is_told_field_by_field():
    """In order, with its types."""
    rows = table(sections()["What every delivery has"], "field")

    fields = {name: kind for name, kind in typing.get_type_hints(Delivery).items() if name != "report_source"}
    assert [(name, kind) for name, (kind, _) in rows.items()] == [
        (name, told_type(kind)) for name, kind in fields.items()
    ]


def test_the_report_file_is_had_done_without_or_waited_for_as_it_is_shown(read):
    """Each choice, with a file, without one yet, and where there never will be one."""
    reader = read("hooks.md", "`delivery.report()`, the report file")
    reader.until("python")
    plugin = runpy.run_path(str(reader.folder / "rules.py"))["Rules"]
    told = "report_78901: a file of"
    here = f"{told} {len(sample_report())} bytes\n"
    for choice, report, held, error in [
        ("none", NotYetError("late"), f"{told} 0 bytes, not asked for\n", None),
        ("attach", sample_report(), here, None),
        ("attach", NotYetError("late"), f"{told} 0 bytes, it is missing: late\n", None),
        ("attach", PermanentError("never"), f"{told} 0 bytes, it is missing: never\n", None),
        ("wait", sample_report(), here, None),
        ("wait", NotYetError("late"), "", NotYetError),
        ("wait", PermanentError("never"), "", PermanentError),
    ]:
        file = reader.folder / "var" / "rules.txt"
        file.write_text("")
        made = make_plugin(plugin, {"file": "var/rules.txt", "report": choice}, folder=reader.folder)
        outcome = deliver_to(made, report=report)
        assert (file.read_text(), outcome.error) == (held, error)


@pytest.mark.parametrize("hook", list(HOOKS))
def test_a_hooks_example_does_what_it_says(read, hook):
    """It is written beside a bridge.yaml, checked, given events, and the commands below it are typed."""
    reader = read("hooks.md", f"`{signature(hook)}`")
    reader.until("python")
    checked = reader.serving.run("check")
    assert (checked.returncode, "warning" in checked.stdout) == (0, False), checked.stdout

    made = deliver_all(reader.folder)

    assert {outcome.result for outcome in made.values()} == {Result.DELIVERED}, made
    assert len(made) == 1
    assert (reader.folder / "var" / "rules.txt").read_text() == HELD[hook]
    if reader.left:
        reader.type()


RETRY, CIRCUIT, DEFAULTS = RetrySettings(), CircuitSettings(), DestinationSettings(plugin="x")
NUMBERS = [
    ("hooks.md", f"(up to {LONGEST_TEXT} characters)"),
    (
        "hooks.md",
        f"at most {len('e' * 128 + ':' + 'd' * 64 + ':' + ':' + 'n' * 64)} characters, and the attempt's digits",
    ),
    ("hooks.md", f"At most {len('e' * 128 + ':' + 'd' * 64)} characters"),
    ("hooks.md", f"takes longer than {observers.LAST_WORDS_S:g} s, when {observers.MOST_WAITING:,} wait"),
    ("hooks.md", f"It has {CLOSE_S:g} s"),
    ("errors.md", f"`retry.tries` of them ({RETRY.tries})"),
    ("errors.md", f"by default {RETRY.schedule_s[0]:g} s to {RETRY.schedule_s[-1] / 3600:g} h"),
    ("errors.md", f"`timeout_s` ({DEFAULTS.timeout_s:g})"),
    ("errors.md", f"After `circuit.failures` ({CIRCUIT.failures})"),
    ("errors.md", f"after {CIRCUIT.first_wait_s:g} s, 60 s and so on up to {CIRCUIT.longest_wait_s / 60:g} minutes"),
    ("errors.md", {3600.0: "An hour is the\nmost that is followed"}[LONGEST_RETRY_AFTER_S]),
    ("errors.md", f"`NotYetError` asks for {NotYetError('').retry_after_s:g} s"),
    ("errors.md", f"`DestinationError` for {DestinationError('').retry_after_s:g} s"),
    ("errors.md", {9: "has nine attempts"}[len(RETRY.schedule_s) + 1]),
    ("errors.md", f"again every {START_AGAIN_S:g} s, and what is owed waits"),
    ("where-it-runs.md", f"again every {START_AGAIN_S:g} s"),
    ("where-it-runs.md", {8: "after eight the destination is paused"}[MOST_LEFT_BEHIND]),
    ("where-it-runs.md", f"takes longer than {rehearsal.LONGEST_S:g} s"),
    ("where-it-runs.md", f"may take {START_S:g} s"),
    ("where-it-runs.md", f"a running attempt end ({LAST_ATTEMPTS_S:g} s when it stops)"),
    ("where-it-runs.md", f"answers {MOST_QUESTIONS} times in an attempt"),
    ("where-it-runs.md", f"not asked for again for {REMEMBERED_S:g} s"),
    ("where-it-runs.md", f"cut at {LONGEST_LINE:,} characters, at most {MOST_LINES} lines in {WINDOW_S:g} s"),
    ("changes.md", f"is taken for `{UNSAID}`"),
]


@pytest.mark.parametrize(("page", "told"), NUMBERS, ids=[told for _, told in NUMBERS])
def test_every_number_that_is_told_is_the_codes(page, told):
    """An author who counts on ten seconds is left with five."""
    assert told in (PAGES / page).read_text(encoding="utf-8")


def test_an_id_is_no_longer_than_is_told():
    """Somebody makes a column for it."""
    assert event_id(json.dumps({"id": "e" * 128, "type": "t", "data": {}}).encode()).id == "e" * 128
    assert event_id(json.dumps({"id": "e" * 129, "type": "t", "data": {}}).encode()).id != "e" * 129
    assert re.fullmatch(DESTINATION_NAME, "d" * 64)
    assert not re.fullmatch(DESTINATION_NAME, "d" * 65)


class Settled:
    """Keeps the delivery that it is told with."""

    def __init__(self):
        self.told = []

    @glycanbridge.hookimpl
    def on_report_ready(self, event, delivery):
        return None

    @glycanbridge.hookimpl
    def on_delivery_settled(self, event, delivery):
        self.told.append((event.data, delivery))


def test_what_a_settled_delivery_is_told_with_is_as_the_page_says(tmp_path):
    """Its id is no delivery's that `deliveries show` would find, and somebody makes a column for it."""
    with HandBridge(Settled, folder=tmp_path) as bridge:
        bridge.receive("report-ready")
        bridge.run()
        row, ((data, delivery),) = bridge.delivery(), bridge.plugin().told

    assert delivery.id == f"{row.event_id}:settled:1:settled"
    assert (delivery.event_id, data.event_id) == (row.event_id, row.event_id)
    assert (delivery.destination, delivery.attempt) == ("settled", 1)


def test_a_number_from_a_hook_for_settled_deliveries_is_a_line_in_the_log(caplog):
    """What it returns is thrown away, and yet a mistake is told."""

    class Counting:
        @glycanbridge.hookimpl
        def on_delivery_settled(self):
            return 7

    forks = Forks()
    told = observers.open_observers([listening(Counting())], forks=forks)
    told.start()
    told.tell(ended())
    told.stop()
    forks.close()

    assert "not observed: the hook returned int, neither a text nor None" in caplog.text


# settings.md, where-it-runs.md, changes.md


def test_the_settings_example_delivers_and_its_descriptions_are_in_the_schema(read):
    """What a field's docstring says is what an editor shows."""
    reader = read("settings.md", "The JSON Schema")
    reader.until("yaml")

    (outcome,) = deliver_all(reader.folder).values()

    assert (outcome.result, outcome.receipt) == (Result.DELIVERED, "a letter of 3 lines")
    letter = (reader.folder / "var" / "letters" / "e1.txt").read_text()
    assert "kit_code: …1234" in letter
    assert "patient" not in letter
    reader.type()


def test_what_may_be_told_of_each_event_is_in_the_table():
    """Field by field at each level, as the code has it: whoever chooses a level signs for it."""
    page = (PAGES / "settings.md").read_text(encoding="utf-8")
    (rows,) = re.findall(r"^\| event \| `none` .*\n\|[-|]+\|\n((?:\|.*\n)+)", page, re.MULTILINE)
    shown = {}
    for line in rows.splitlines():
        head, *cells = line.strip("|").split("|")
        none, ids, full = (re.findall(r"`(\w+)`", cell) for cell in cells)
        shown[head.strip()] = [set(none), {*none, *ids}, {*none, *ids, *full}]
    told = {}
    for event_type in (*EVENT_TYPES, *BRIDGE_EVENT_TYPES):
        levels = [each.told(parse_kept(sample(event_type))) for each in Personal]
        told[f"`{event_type}`"] = [set(each) for each in levels]
        if "sets" in levels[0]:
            told["each of its `sets`"] = [set(each["sets"][0]) for each in levels]

    assert shown == told
    assert "`kit_code` as `…1234`" in rows
    assert not {"reason", "error", "receipt"} & set().union(*(none for none, *_ in shown.values()))


def test_a_secret_that_was_changed_is_read_at_the_next_start(read):
    """As the page says: what the bridge has read at its start is what a plugin gets, however often it is made."""
    reader = read("settings.md", "The JSON Schema")
    reader.until("yaml")
    config = reader.serving.config
    config.write_text(config.read_text().replace("${env:PRINTER_KEY:-1234}", "${file:printer-key}"))
    (reader.folder / "printer-key").write_text("old")
    destinations, problems = open_destinations(*read_settings(config))
    (reader.folder / "printer-key").write_text("new")

    def key_of(destination):
        return destination.attempts().instance.settings.key.get_secret_value()

    assert problems == []
    assert key_of(destinations["letters"]) == "old"
    assert key_of(open_destinations(*read_settings(config))[0]["letters"]) == "new"
    reader.type()


def test_the_mistakes_are_told_as_they_are_shown(read):
    """Line by line, to the column."""
    reader = read("settings.md", "What a mistake looks like")
    reader.until("yaml")
    reader.until("yaml")


def test_plugins_are_listed_as_it_is_shown(read):
    """And those left out by the environment are told as such."""
    reader = read("where-it-runs.md", "Which plugins there are")
    assert " csv " in f" {' '.join(reader.type().split())} "
    reader.type()


def test_a_plugin_says_which_contract_it_is_made_for(read):
    """As it is shown, and as the code has it."""
    reader = read("changes.md", "Saying which one")
    reader.until("python")
    page = (PAGES / "changes.md").read_text()
    reader.configure("{plugin_files: [rules.py], destinations: {rules: {plugin: rules}}}")

    assert deliver_all(reader.folder)["report-ready"].receipt == "noted"
    assert f'contract = "{UNSAID}"' in page
    assert f"\n## {CONTRACT}\n" in page


def test_the_contracts_page_has_every_public_name():
    """What is not there may change from one release to the next."""
    page = (PAGES / "changes.md").read_text()
    children = {each.__name__ for each in glycanbridge.Event.__subclasses__()}
    children |= {"DeliveryDead", "DeliverySettled"}

    assert [name for name in {*glycanbridge.__all__, *HOOKS} - children if f"`{name}`" not in page] == []
