"""What a plugin must be like apart from its deliveries: its settings, and the hooks `check`, `tells` and `close`."""

from __future__ import annotations

from typing import Any, cast

from glycanbridge.attempt import Attempts
from glycanbridge.errors import GlycanBridgeError, SettingsError
from glycanbridge.plugins import plugin_made_by
from glycanbridge.problems import schema_of
from glycanbridge.testing.contract.plan import Case, fail
from glycanbridge.testing.contract.watching import Heard
from glycanbridge.testing.opening import make_plugin, name_of

_STRANGER = "no_setting_is_called_so"


def the_bridge_can_use_it(case: Case) -> None:
    """Its hooks are marked, take arguments that there are, and are of this version of the contract."""
    plugin_made_by(case.plan.plugin, name=name_of(case.plan.plugin), where=case.plan.plugin.__qualname__)


def its_settings_have_a_json_schema(case: Case) -> None:
    """`glycanbridge schema` gives it to editors, which check `bridge.yaml` as it is written."""
    if schema_of(type(case.model())) is None:
        fail("no JSON Schema can be made of the settings: see to the field with a class that pydantic does not know")


def every_setting_is_described(case: Case) -> None:
    """Whoever writes `bridge.yaml` has nothing else: a `Field(description=...)`, or `use_attribute_docstrings`."""
    models = dict(_objects(case))

    def is_described(node: dict[str, Any]) -> bool:  # pydantic leaves out what the model says in the same words
        return bool(
            node.get("description") or models.get(str(node.get("$ref")).rpartition("/")[2], {}).get("description")
        )

    missing = [
        f"{where}.{name}"
        for where, model in models.items()
        for name, node in model.get("properties", {}).items()
        if not is_described(node)
    ]
    if missing:
        fail(f"these settings have no description: {', '.join(missing)}")


def an_unknown_setting_is_refused(case: Case) -> None:
    """A misspelt key would be a setting that has no effect: `extra="forbid"`, in inner models too."""
    lenient = [where for where, node in _objects(case) if node.get("additionalProperties") is not False]
    if lenient:
        fail(f'these models take keys that they do not know: {", ".join(lenient)}; forbid them with extra="forbid"')
    folder, heard = case.new_folder(), Heard()
    try:
        make_plugin(case.plan.plugin, case.told(folder) | {_STRANGER: 1}, folder=folder, **case.plan.destination)
    except SettingsError as error:
        heard.add("the error of the settings", error)
        case.secrets().check(heard)
        if f"{_STRANGER}: unknown key" not in str(error):
            fail(f"an unknown key is to be told as such, and was: {error}")
    else:
        fail("a key that nobody knows was taken")


def check_sends_nothing(case: Case) -> None:
    """It is asked for again and again, by people: it must look, say in a line what it found, and deliver nothing."""
    with case.listening() as heard:
        plugin = case.make()
        before = len(case.peer.taken) if case.peer else 0
        found = Attempts(plugin, tries=1).check()
    heard.add("what check() says", found)
    _is_one_line("check()", found)
    case.secrets().check(heard)
    sent = [each for each in case.peer.taken[before:] if not case.plan.harmless(each)] if case.peer else []
    if sent:
        fail(
            "check() is to deliver nothing, and has sent this; if it is harmless, say so with harmless=...:\n"
            + sent[0].whole.decode("utf-8", "replace")[:1000]
        )


def check_says_so_when_nobody_is_there(case: Case) -> None:
    """A check that finds all well in any case is worse than none: it must raise."""
    found, error = "", cast("Exception | None", None)
    with case.listening() as heard:
        plugin = case.make()
        case.peer.close()
        try:
            found = str(Attempts(plugin, tries=1).check())
        except Exception as raised:
            error = raised
    if isinstance(error, GlycanBridgeError):  # of others the text is not told
        heard.add("the error of check()", error)
    case.secrets().check(heard)
    if error is None:
        fail(f"nobody was there, and check() said: {found}")


def tells_is_one_line_without_secrets(case: Case) -> None:
    """`glycanbridge check` shows it, without asking anybody."""
    with case.listening() as heard:
        plugin = case.make()
        before = case.peer.connections if case.peer else 0
        told = Attempts(plugin, tries=1).tells()
    heard.add("what tells() says", told)
    _is_one_line("tells()", told)
    case.secrets().check(heard)
    if not told:
        fail("tells() says nothing")
    if case.peer and case.peer.connections != before:
        fail("tells() is to talk to nobody, and has talked to the far side")


def closing_twice_is_harmless(case: Case) -> None:
    """Also of an instance that has delivered nothing, and of one that has."""
    idle, used = case.make(), case.make()
    case.delivered(used, case.deliveries()[-1])
    for each in (idle, used, idle, used):
        each.close()
        case.patience.step()


def _is_one_line(who: str, told: object) -> None:
    __tracebackhide__ = True
    if told is not None and not isinstance(told, str):
        fail(f"{who} is to return a text, and returned {type(told).__name__}")
    if told is not None and len(told.splitlines()) > 1:
        fail(f"{who} is to say one line, and said {told!r}")


def _objects(case: Case) -> list[tuple[str, dict[str, Any]]]:
    """The settings model and every model in it: its name, and its JSON Schema."""
    schema = schema_of(type(case.model()))
    if schema is None:  # another test says so
        return []
    inner = [(name, each) for name, each in schema.get("$defs", {}).items() if "properties" in each]
    return [(type(case.model()).__name__, schema), *inner]
