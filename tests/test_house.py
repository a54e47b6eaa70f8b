"""The house is as its plan says: layers, sizes, names, hooks, the picture of a delivery's life, plugins alike."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import glycanbridge
from glycanbridge.delivery import TRANSITIONS, State
from glycanbridge.event_types import BRIDGE_EVENT_TYPES, EVENT_TYPES
from glycanbridge.hookspecs import Hooks, hook_name

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "glycanbridge"
MODULES = sorted(PACKAGE.rglob("*.py"))
PLUGINS = sorted(each for each in (ROOT / "plugins").iterdir() if (each / "pyproject.toml").exists())
EXAMPLES = sorted(each.parent for each in (ROOT / "examples").glob("*/pyproject.toml"))
"""Plugins as a stranger would publish them: nothing of ours installs them."""
PLUGIN_MODULES = [
    module
    for plugin in [*PLUGINS, *EXAMPLES]
    for module in sorted([*plugin.glob("glycanbridge_*.py"), *plugin.glob("glycanbridge_*/**/*.py")])
]
HOOKS = {name: hook for name, hook in vars(Hooks).items() if not name.startswith("_")}

HOMES = {
    "apsw": {"journals"},
    "click": {"cli"},
    "falcon": {"receiver", "simulator"},
    "filelock": {"journals"},
    "greenlet": {"turns"},
    "httpx2": {"glycanage"},
    "packaging": {"plugins"},
    "pluggy": {"hookspecs", "plugins"},
    "hypothesis": {"testing"},
    "pydantic": {
        "bridge_events",
        "events",
        "glycanage_settings",
        "personal",
        "settings",
        "settings_kinds",
        "problems",
        "plugins",
        "testing",
    },
    "pydantic_core": {"problems"},
    "pytest": {"testing"},
    "ruamel": {"bridge_yaml"},
    "structlog": {"logs"},
    "tenacity": {"retry"},
    "waitress": {"http_server", "http_connection"},
}


def name_of(module: Path) -> str:
    """A module's path from the root."""
    return str(module.relative_to(ROOT))


def tree(module: Path) -> ast.Module:
    """What is written in a module."""
    return ast.parse(module.read_text(encoding="utf-8"))


def functions(module: Path) -> list[ast.FunctionDef]:
    """Every function and method of a module."""
    return [node for node in ast.walk(tree(module)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def imports(module: Path) -> set[str]:
    """What a module imports, by full name."""
    found = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def tracked() -> list[Path]:
    """Every file that git knows of."""
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("this is no git checkout")
    return [ROOT / name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


def test_a_room_imports_only_from_the_rooms_below_it():
    """import-linter holds the layers, exhaustively."""
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("module", [*MODULES, *PLUGIN_MODULES], ids=name_of)
def test_a_room_is_small(module):
    """About 300 lines at the most, functions of about 30."""
    lengths = {each.name: each.end_lineno - each.lineno + 1 for each in functions(module)}

    assert len(module.read_text().splitlines()) <= 310
    assert {name: length for name, length in lengths.items() if length > 45} == {}


def test_the_whole_system_fits_on_a_page_or_two():
    """`bridge.py` stays short: two methods."""
    (bridge,) = [node for node in tree(PACKAGE / "bridge.py").body if getattr(node, "name", "") == "Bridge"]
    public = [each.name for each in bridge.body if isinstance(each, ast.FunctionDef) and each.name[0] != "_"]

    assert public == ["accept", "deliver_next"]
    assert len((PACKAGE / "bridge.py").read_text().splitlines()) <= 100


def test_no_room_has_a_name_that_says_nothing():
    """Nor a lazy import, nor a knot for type checkers alone."""
    empty = {"utils", "helpers", "common", "base", "manager", "misc"}

    assert [name_of(each) for each in MODULES if each.stem in empty] == []
    assert [name_of(each) for each in MODULES if "TYPE_CHECKING" in each.read_text()] == []
    inside = {
        f"{name_of(module)}:{node.lineno}"
        for module in MODULES
        for function in functions(module)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert inside == set()


def test_every_dependency_has_one_home():
    """Whoever replaces one knows where to look."""
    found = {name: set() for name in HOMES}
    for module in MODULES:
        room = module.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for imported in imports(module):
            top = imported.split(".")[0]
            if top in found:
                found[top].add(room)

    assert found == HOMES


@pytest.mark.parametrize("module", [*MODULES, *PLUGIN_MODULES], ids=name_of)
def test_every_public_name_has_a_docstring(module):
    """And every module opens with a sentence."""
    whole = tree(module)
    missing = [] if ast.get_docstring(whole) else ["the module itself"]
    scopes = [whole, *(node for node in whole.body if isinstance(node, ast.ClassDef) and node.name[0] != "_")]
    for scope in scopes:
        named = [node for node in scope.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        missing += [node.name for node in named if node.name[0] != "_" and not ast.get_docstring(node)]

    assert missing == []


def test_the_public_names_are_a_dozen_and_all_there():
    """The stub for type checkers, the table and `__all__` say the same."""
    stub = {alias.asname for node in ast.parse((PACKAGE / "__init__.pyi").read_text()).body for alias in node.names}

    assert stub == set(glycanbridge.__all__) == set(glycanbridge._ROOMS)
    assert len(stub) <= 18
    assert all(getattr(glycanbridge, name) is not None for name in stub)
    assert set(dir(glycanbridge)) >= stub
    with pytest.raises(AttributeError, match="nothing"):
        _ = glycanbridge.nothing


def test_every_event_type_has_its_hook():
    """A hook's name is mechanical."""
    assert [name for name in HOOKS if name.startswith("on_")] == [
        hook_name(each) for each in (*EVENT_TYPES, *BRIDGE_EVENT_TYPES)
    ]


@pytest.mark.parametrize("hook", list(HOOKS))
def test_every_hook_is_documented_and_tested(hook):
    """Under a heading with its arguments as they are; `test_docs_plugins.py` holds the rest of the page to the code."""
    code = HOOKS[hook].__code__
    arguments = ", ".join(code.co_varnames[1 : code.co_argcount])
    tests = "".join(each.read_text() for each in (ROOT / "tests").glob("*.py"))

    assert f"\n### `{hook}({arguments})`\n" in (ROOT / "docs" / "plugins" / "hooks.md").read_text()
    assert f"def {hook}(self" in tests
    assert HOOKS[hook].__doc__


def test_every_public_name_is_in_the_pages_for_authors():
    """What may be imported is what is explained, and not only listed."""
    pages = [each for each in (ROOT / "docs" / "plugins").glob("*.md") if each.name != "changes.md"]
    told = "".join(each.read_text() for each in pages)

    assert [name for name in glycanbridge.__all__ if not re.search(rf"`@?{name}\b", told)] == []


def test_the_picture_of_a_deliverys_life_is_the_table():
    """Paste what this prints into `docs/architecture.md` when the table changes."""
    moves = [f"    {start} --> {to}: {what}" for (start, what), to in TRANSITIONS.items()]
    picture = "\n".join(["stateDiagram-v2", f"    [*] --> {State.PENDING}", *moves])

    shown = re.search(r"```mermaid\n(.*?)\n```", (ROOT / "docs" / "architecture.md").read_text(), re.DOTALL)[1]
    assert sorted(shown.splitlines()) == sorted(picture.splitlines())


def test_the_database_knows_the_same_states():
    """Its CHECKs repeat them."""
    (first,) = (PACKAGE / "journals" / "migrations" / "sqlite").glob("0001_*.sql")
    told = re.search(r"CHECK \(state IN \((.*?)\)\)", first.read_text())[1]

    assert re.findall(r"'(\w+)'", told) == [each.value for each in State]


def test_every_room_is_on_the_plan():
    """`docs/architecture.md` names each, with what it is for."""
    plan = (ROOT / "docs" / "architecture.md").read_text()
    rooms = {each.relative_to(PACKAGE).parts[0] for each in MODULES} - {"__init__.py"}

    assert [room for room in rooms if f"`{room}`" not in plan and f"`{room}/`" not in plan] == []


def test_every_module_has_its_tests():
    """One file for each, or the file that tests it from outside."""
    elsewhere = {
        "bridge_yaml": "settings", "problems": "settings", "places": "settings", "server": "story",
        "hookspecs": "plugins", "errors": "events", "event_types": "events", "identity": "events",
        "plugin_files": "plugins", "rehearsal": "plugins", "bridge_events": "announcements",
        "journals": "journals_sqlite", "disk": "power_loss", "http_connection": "http_server",
        "settings_kinds": "settings", "glycanage_settings": "glycanage",
    }  # fmt: skip
    rooms = {each.relative_to(PACKAGE).parts[0].removesuffix(".py") for each in MODULES} - {"__init__", "__main__"}
    missing = {room for room in rooms if not (ROOT / "tests" / f"test_{elsewhere.get(room, room)}.py").exists()}

    assert missing == set()


def test_every_test_says_why_it_is_there():
    """Its name is a sentence, its docstring the reason."""
    files = [*(ROOT / "tests").glob("test_*.py"), *(ROOT / "plugins").glob("*/tests/test_*.py")]
    files += (ROOT / "examples").glob("*/tests/test_*.py")
    silent = [
        f"{name_of(module)}: {each.name}"
        for module in files
        for each in functions(module)
        if each.name.startswith("test_") and not ast.get_docstring(each)
    ]

    assert silent == []


@pytest.mark.parametrize("plugin", [*PLUGINS, *EXAMPLES], ids=lambda each: each.name)
def test_plugins_are_alike(plugin):
    """Reading one is reading all: the same files, names and headings, and only our public names imported."""
    name = plugin.name.removeprefix("glycanbridge-")
    module = f"glycanbridge_{name}"
    readme = (plugin / "README.md").read_text()
    project = (plugin / "pyproject.toml").read_text()
    code = [*plugin.glob(f"{module}.py"), *plugin.glob(f"{module}/**/*.py")]
    ours = {each for module in code for each in imports(module) if each.split(".")[0] == "glycanbridge"}

    assert f'name = "glycanbridge-{name}"' in project
    assert f'{name} = "{module}:{name.capitalize()}"' in project
    assert list((plugin / "tests").glob("test_*.py"))
    assert {"## Settings", "## When it fails"} <= set(readme.splitlines())
    assert ours <= {f"glycanbridge.{each}" for each in glycanbridge.__all__}
    assert (f"-e plugins/{name}" in (ROOT / "requirements.txt").read_text()) == (plugin in PLUGINS)


@pytest.mark.parametrize("plugin", EXAMPLES, ids=lambda each: each.name)
def test_an_example_is_as_a_strangers(plugin):
    """It is tested with what authors have, and with nothing of this repository's."""
    tests = list((plugin / "tests").glob("*.py"))
    used = {each for test in tests for each in imports(test) if each.split(".")[0] == "glycanbridge"}
    helpers = {each.stem for each in (ROOT / "tests").glob("*.py")}

    public = tuple(f"glycanbridge.{each}" for each in (*glycanbridge.__all__, "testing"))
    assert [each for each in used if not each.startswith(public)] == []
    assert [each for test in tests for each in imports(test) if each.split(".")[0] in helpers] == []
    assert (plugin / "CHANGELOG.md").exists()
    assert {"## Example", "## What leaves", "## What a repeat looks like"} <= set(
        (plugin / "README.md").read_text().splitlines()
    )


def test_the_core_imports_no_plugin():
    """Ours enter by the same door as a stranger's."""
    assert [name_of(each) for each in MODULES if any(name.startswith("glycanbridge_") for name in imports(each))] == []


def test_nothing_that_is_committed_names_this_machine_or_a_registrys_host():
    """Nor is there a lock file that would: a checkout must build from whatever registry its machine knows."""
    locks = {"uv.lock", "poetry.lock", "package-lock.json", "yarn.lock"}
    known = {"keepachangelog.com", "json-schema.org", "127.0.0.1"}
    known.add("schema.getpostman.com")  # by this very address Postman recognises a collection: it imports no other
    texts = {name_of(each): each.read_text(encoding="utf-8", errors="ignore") for each in tracked()}
    hosts = {host for text in texts.values() for host in re.findall(r"https://([a-z0-9-]+(?:\.[a-z0-9-]+)+)", text)}

    assert [name for name in texts if Path(name).name in locks or Path(name).name.startswith("pylock")] == []
    nowhere = {host for host in hosts if host.endswith((".example", ".invalid"))}  # RFC 2606: nobody can have them
    assert hosts - nowhere <= known
    assert [name for name, text in texts.items() if f"{ROOT.parent}/" in text or f"{Path.home()}/" in text] == []
