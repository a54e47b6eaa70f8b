"""At which tier a plugin stands: each rule is kept by the plugin that we generate, and broken by one change to it."""

from __future__ import annotations

import ast
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from serving import alive, until

from glycanbridge.errors import PluginError
from glycanbridge.new_plugin import NewPlugin
from glycanbridge.plugins import installed_plugins
from glycanbridge.testing.contract import repeats
from glycanbridge.tiers import RULES, Evidence, Judged, Standing, State, Tier, Verdict, judge, runs
from glycanbridge.tiers.code import Code, paths_to, wide_errors
from glycanbridge.tiers.gold import REPEATED
from glycanbridge.tiers.readme import Readme
from glycanbridge.tiers.source import check_source

ROOT = Path(__file__).parent.parent
UNSEEN = {"tests", "strict-types"}
"""What is not known while nothing is run."""
FOR_PLATINUM = {"py-typed", "samples"}
"""What the generated plugin leaves to its author."""


class Installed:
    """The generated plugin, as an editable install leaves it: its folder on the path, its metadata beside."""

    def __init__(self, folder: Path) -> None:
        self.source = NewPlugin.of("lab").write(folder)[0]
        self.packages = folder / "packages"
        self.metadata = self.packages / "glycanbridge_lab-0.1.0.dist-info"
        self.metadata.mkdir(parents=True)
        (self.metadata / "entry_points.txt").write_text("[glycanbridge]\nlab = glycanbridge_lab:Lab\n")
        readme = (self.source / "README.md").read_text()
        self.write_metadata(f"Version: 0.1.0\nRequires-Python: >=3.11\n\n{readme}")
        self.note_source(self.source)

    @property
    def module(self) -> Path:
        return self.source / "glycanbridge_lab.py"

    def write_metadata(self, text: str) -> None:
        (self.metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: glycanbridge-lab\n{text}")

    def note_source(self, folder: Path) -> None:
        (self.metadata / "direct_url.json").write_text(
            json.dumps({"url": folder.as_uri(), "dir_info": {"editable": True}})
        )

    def judge(self, *, source: Path | None = None, run: bool = False, within_s: float = 60):
        """Hold it against every rule."""
        return judge(self.evidence(source=source, run=run, within_s=within_s))

    def evidence(self, *, source: Path | None = None, run: bool = True, within_s: float = 60) -> Evidence:
        """What is there of it."""
        (found,) = installed_plugins(["lab"])
        return Evidence.of(found, source_folder=source, run=run, within_s=within_s)

    def look(self, rule: str, **how: object):
        """Hold it against one rule."""
        (chosen,) = [each for each in RULES if each.name == rule]
        return chosen.look(self.evidence(**how))


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """The generated plugin, on the path for this test alone."""
    installed = Installed(tmp_path)
    monkeypatch.syspath_prepend(str(installed.packages))
    monkeypatch.syspath_prepend(str(installed.source))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield installed
    sys.modules.pop("glycanbridge_lab", None)


def not_kept(standing) -> set[str]:
    """The rules that are not kept."""
    return {each.rule.name for each in standing.judged if each.verdict.state is not State.MET}


def told(standing, rule: str) -> str:
    """What is said of one rule."""
    (verdict,) = [each.verdict for each in standing.judged if each.rule.name == rule]
    return f"{verdict.state}: {verdict.told}"


def test_the_generated_plugin_keeps_every_rule_up_to_gold(lab):
    """Whoever begins with it begins well; what nobody has looked at does not count."""
    standing = lab.judge()

    assert not_kept(standing) == UNSEEN | FOR_PLATINUM
    assert (standing.tier, standing.next) == (None, Tier.BRONZE)
    assert told(standing, "tests") == "not known: its tests were not run: leave --without-tests out"


def changed(old: str, new: str):
    """A change to one file of the package: the first of them in which `old` stands."""

    def change(lab: Installed) -> None:
        for file in sorted(each for each in lab.source.rglob("*") if each.is_file()):
            if re.search(old, file.read_text(), re.DOTALL):
                file.write_text(re.sub(old, new, file.read_text(), flags=re.DOTALL))
                return
        raise AssertionError(f"nothing has {old}")

    return change


def without_changes(lab: Installed) -> None:
    """Delete its list of changes."""
    (lab.source / "CHANGELOG.md").unlink()


def without_readme_in_the_package(lab: Installed) -> None:
    """As where `readme =` is forgotten."""
    lab.write_metadata("Version: 0.1.0\nRequires-Python: >=3.11\n")


def without_python(lab: Installed) -> None:
    """As where `requires-python =` is forgotten."""
    lab.write_metadata("Version: 0.1.0\n\nA plugin.\n")


def without_tests(lab: Installed) -> None:
    """Throw its tests away."""
    shutil.rmtree(lab.source / "tests")


BREAKS = [
    ("contract", changed(r'    contract = ">=1.0,<2"[^\n]*\n', ""), "say what it is made for, in the class: "),
    ("settings", changed(r'    """What the service knows the bridge by[^\n]*\n', ""), "describe LabSettings.token"),
    ("settings", changed('extra="forbid", ', ""), "LabSettings: refuse keys that it does not know"),
    ("package", without_readme_in_the_package, "say in pyproject.toml: a README"),
    ("package", without_python, "say in pyproject.toml: Requires-Python"),
    ("settings-table", changed(r"\| `token` \| yes[^\n]*\n", ""), "says nothing of token"),
    ("settings-table", changed("## Settings\n", "## Knobs\n"), "under `## Settings`"),
    ("failure-table", changed(r"\| permanent \|", "| for good |"), "says permanent"),
    ("failure-table", changed("## When it fails\n", "## Failures\n"), "under `## When it fails`"),
    ("failure-table", changed(r"\| kind \|", "| sort |"), "says temporary, nor permanent, nor destination or unknown"),
    ("what-leaves", changed("## What leaves\n", "## What goes\n"), "write into the README, under `## What leaves`"),
    ("repeats", changed("## What a repeat looks like\n", "## Repeats\n"), "under `## What a repeat looks like`"),
    ("tells", changed(r"@hookimpl\n    def tells\(", "def _tells("), "add the hook tells()"),
    ("contract-suite", changed("TestContract = ", "Contract = "), "add TestContract = contract_suite"),
    ("check", changed(r"@hookimpl\n    def check\(", "def _check("), "add the hook check()"),
    ("errors", changed('raise PermanentError\\(f"', 'raise Exception(f"'), "raises Exception"),
    ("errors", changed(r"except httpx2.RequestError as error:.*?unknown=True\) from None", "except:\n            pass"),
     "catches everything and passes over it"),
    ("changes", without_changes, "write down what each version changes"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "change", "why"), BREAKS)
def test_one_change_breaks_one_rule_and_the_line_says_what_to_do(lab, rule, change, why):
    """A rule that nothing breaks asks for nothing; one that breaks with another says the same twice."""
    change(lab)

    standing = lab.judge()

    assert not_kept(standing) - UNSEEN - FOR_PLATINUM == {rule}
    assert told(standing, rule).startswith("missing: ")
    assert why in told(standing, rule)


def test_every_rule_can_be_broken():
    """Those that are broken elsewhere in this file are named here."""
    elsewhere = {"loads", "tests", "idempotency-key", "py-typed", "strict-types", "samples"}

    assert {rule for rule, _, _ in BREAKS} | elsewhere == {each.name for each in RULES}


def test_a_plugin_that_cannot_be_loaded_is_told_why_and_nothing_else_is_claimed_of_it(lab):
    """What cannot be looked at is not known, and not called missing."""
    lab.module.write_text("import not_there\n")

    standing = lab.judge()

    assert "No module named 'not_there'" in told(standing, "loads")
    for rule in ("contract", "settings", "tells", "contract-suite", "check", "idempotency-key", "errors", "py-typed"):
        assert told(standing, rule) == "not known: mend first what keeps it from being loaded"
    assert standing.tier is None


def test_settings_without_a_json_schema_are_told_as_such(lab):
    """Editors check bridge.yaml by it; which settings there are is not known either then."""
    changed("    timeout_s: Timeout = 10", "    odd: TypeAdapter[int] | None = None")(lab)
    changed('frozen=True, extra="forbid"', 'arbitrary_types_allowed=True, extra="forbid"')(lab)

    standing = lab.judge()

    assert told(standing, "settings").startswith("missing: no JSON Schema can be made of its settings")
    assert told(standing, "settings-table").startswith("not known: mend first")


def test_that_a_repeat_can_be_known_is_seen_in_the_code_or_not_known_without_its_tests(lab):
    """The row says how it was seen: reading the id is not sending it."""
    assert re.match(
        r"met: glycanbridge_lab.py:\d+ reads delivery.event_id; that it is sent", told(lab.judge(), "idempotency-key")
    )

    changed(r"delivery\.event_id", "str(event.timestamp)")(lab)
    changed(r"delivery\.id", "str(event.timestamp)")(lab)
    sys.modules.pop("glycanbridge_lab")

    assert told(lab.judge(), "idempotency-key").startswith("not known: it reads neither delivery.id nor ")


def test_the_contract_suite_has_the_test_that_shows_a_repeat():
    """It is known by its name: whoever renames it there renames it here."""
    assert hasattr(repeats, REPEATED.removeprefix("test_"))


def test_tests_must_pass_and_there_must_be_some_that_run(lab):
    """A suite of which all is skipped shows nothing."""
    (test,) = (lab.source / "tests").iterdir()
    test.write_text("def test_it():\n    assert 1 == 2, 'it is broken'\n")
    failed = lab.look("tests")
    assert failed.told.startswith("mend them: pytest ended with 1")
    assert "it is broken" in failed.output

    test.write_text("import pytest\n\n@pytest.mark.skip\ndef test_it():\n    pass\n")
    assert lab.look("tests").told.startswith("pytest finds none that it could run")

    without_tests(lab)
    assert lab.look("tests").told.startswith("it has no tests")


def test_tests_that_do_not_end_are_ended(lab):
    """With all that they have started; whoever asks gets an answer."""
    (test,) = (lab.source / "tests").iterdir()
    test.write_text(
        "import subprocess, sys, threading\n\n"
        "def test_it():\n"
        "    code = 'import threading; threading.Event().wait()'\n"
        "    process = subprocess.Popen([sys.executable, '-c', code])\n"
        "    open('pid', 'w').write(str(process.pid))\n"
        "    threading.Event().wait()\n"
    )

    assert lab.look("tests", within_s=5).told.startswith("they have not ended within 5 s")
    pid = (lab.source / "pid").read_text()
    until(lambda: not alive(int(pid)))


def make_platinum(lab: Installed) -> None:
    """Do what the generated plugin leaves to its author; its tests are short ones here."""
    package = lab.source / "glycanbridge_lab"
    package.mkdir()
    lab.module.rename(package / "__init__.py")
    (package / "py.typed").touch()
    changed(r'"glycanbridge_lab\.py", "tests"\]\n', '"glycanbridge_lab", "tests"]\n')(lab)
    tests = lab.source / "tests"
    (tests / "samples").mkdir()
    (tests / "samples" / "busy.json").write_text('{"error": "busy"}')
    (tests / "test_lab.py").write_text(
        "from pathlib import Path\n\n"
        "import glycanbridge_lab\n\n"
        "SAMPLES = Path(__file__).parent / 'samples'\n"
        "from glycanbridge.testing import HttpPeer, contract_suite\n\n"
        "def settings(peer):\n    return {'url': peer.url, 'token': 'a-token-of-the-tests', 'timeout_s': 1}\n\n"
        "TestContract = contract_suite(glycanbridge_lab.Lab, settings, peer=HttpPeer)\n\n"
        "def test_it():\n    assert (SAMPLES / 'busy.json').read_text()\n    assert glycanbridge_lab.Lab\n"
    )


def test_a_plugin_that_keeps_every_rule_is_platinum(lab, tmp_path, monkeypatch):
    """And asks for nothing more; nothing of what was run is left in its folder. Then its types are broken."""
    monkeypatch.setenv("MYPY_CACHE_DIR", str(tmp_path / "cache"))
    make_platinum(lab)
    before = sorted(lab.source.rglob("*"))

    standing = lab.judge(run=True)

    assert not_kept(standing) == set()
    assert (standing.tier, standing.next) == (Tier.PLATINUM, None)
    assert re.match(r"met: [4-6][0-9] have passed in ", told(standing, "tests"))
    assert re.fullmatch(r"met: [4-6][0-9] of its tests have passed", told(standing, "contract-suite"))
    assert told(standing, "idempotency-key") == "met: the contract suite has seen it in what is sent"
    assert sorted(lab.source.rglob("*")) == before
    changed(r"def _protected\(url: HttpUrl\) -> HttpUrl:", "def _protected(url):")(lab)
    broken = lab.look("strict-types")
    assert (broken.state, broken.told) == (State.MISSING, "mend what `mypy --strict` finds")
    assert "Function is missing a type annotation" in broken.output


def test_a_module_becomes_a_package_and_the_far_side_is_recorded_for_platinum(lab):
    """A single module cannot carry `py.typed` (PEP 561); a sample that no test reads shows nothing."""
    assert "make the module a package, glycanbridge_lab/__init__.py" in lab.look("py-typed", run=False).told
    assert "record what the far side really answers" in lab.look("samples", run=False).told

    sys.modules.pop("glycanbridge_lab")
    make_platinum(lab)
    (lab.source / "glycanbridge_lab" / "py.typed").unlink()
    changed("'samples'", "'recorded'")(lab)

    assert "put an empty py.typed into glycanbridge_lab/" in lab.look("py-typed", run=False).told
    assert lab.look("samples", run=False).told == "no test reads tests/samples"


def test_the_source_is_the_folder_that_pip_has_noted_or_the_one_that_is_named(lab, tmp_path):
    """Without one its tests are not known, and the row says how to show them."""
    (lab.metadata / "direct_url.json").unlink()
    assert told(lab.judge(), "tests").startswith("not known: it was not installed from a folder, so its tests")
    assert not_kept(lab.judge(source=lab.source)) == UNSEEN | FOR_PLATINUM

    lab.note_source(tmp_path / "gone")
    assert told(lab.judge(), "contract-suite").endswith("which is gone; name its folder with --source")

    (lab.metadata / "direct_url.json").write_text('{"url": "https://example.invalid/lab.zip", "archive_info": {}}')
    assert told(lab.judge(), "samples").startswith("not known: it was not installed from a folder")


def test_a_source_that_is_not_what_is_installed_shows_nothing(lab, tmp_path):
    """Its tests would test other code than the one that a bridge runs."""
    other = tmp_path / "other"
    shutil.copytree(lab.source, other)
    (other / "glycanbridge_lab.py").write_text("# changed since\n")
    shutil.copy(lab.module, lab.packages)
    (lab.metadata / "RECORD").write_text("glycanbridge_lab.py,,\n")

    assert told(lab.judge(source=other), "tests").endswith("is not what is installed: install it anew")
    assert told(lab.judge(source=lab.source), "tests").startswith("not known: its tests were not run")


@pytest.mark.parametrize(
    ("project", "why"),
    [
        (None, "cannot be read: No such file"),
        ("[project", "is no TOML"),
        ('[project]\nname = "another"\n', "is that of 'another', and not of glycanbridge-lab"),
        ("", "is that of 'nothing', and not of glycanbridge-lab"),
    ],
)
def test_another_packages_folder_is_refused(tmp_path, project, why):
    """A slip in --source must not lend one plugin another one's tests."""
    if project is not None:
        (tmp_path / "pyproject.toml").write_text(project)

    with pytest.raises(PluginError, match=re.escape(why)):
        check_source(tmp_path, "glycanbridge-lab")


def test_a_plugin_that_is_a_file_is_no_package(tmp_path):
    """It works, and nobody else can install it."""
    file = tmp_path / "rules.py"
    file.write_text(
        "from glycanbridge import hookimpl\n\n\n"
        "class Rules:\n    @hookimpl\n    def on_report_ready(self, event, delivery):\n        pass\n"
    )
    file.chmod(0o600)
    (found,) = installed_plugins(["rules"], files=[file])

    standing = judge(Evidence.of(found, source_folder=None, run=False, within_s=1))

    assert told(standing, "loads").startswith("met")
    assert told(standing, "settings") == "met: it takes none"
    assert told(standing, "package").startswith("missing: it is a file")
    assert told(standing, "tests").startswith("not known: nobody knows where its source is")


def test_a_readme_is_read_as_people_read_it():
    """A heading in a code block is none; a section ends with the next one of its level; a cell may hold a bar."""
    table = "| a | kind |\n|---|:-:|\n| `x\\|y` | 1 |\n"
    readme = Readme([f"# A\n## Settings\n```yaml\n# Settings\n```\n### Inner\n{table}\n## Empty\n"])

    (settings,) = readme.under("settings")
    (table,) = settings.tables()
    assert (table.columns, table.rows) == (("a", "kind"), (("`x\\|y`", "1"),))
    assert readme.under("Empty") == []
    assert [each.title for each in readme.sections] == ["A", "Settings", "Inner", "Empty"]


def test_a_tier_is_reached_with_all_below_it():
    """A rule of bronze that is not kept leaves nothing, however much of gold there is."""

    def standing(*not_kept: str) -> Standing:
        states = dict.fromkeys(not_kept, State.MISSING)
        return Standing(tuple(Judged(each, Verdict(states.get(each.name, State.MET), "")) for each in RULES))

    assert (standing("tests").tier, standing("tests").next) == (None, Tier.BRONZE)
    assert not standing("tests").reaches(Tier.BRONZE)
    assert (standing("check").tier, standing("check").next) == (Tier.SILVER, Tier.GOLD)
    assert [standing("check").reaches(each) for each in Tier] == [True, True, False, False]
    assert standing().reaches(Tier.PLATINUM)


def test_nobody_needs_pytest_or_mypy_to_be_told_how_a_plugin_stands():
    """A clinic has neither: what they would show is not known then."""
    assert runs.is_there("pytest")
    assert not runs.is_there("no_such_program")


@pytest.mark.parametrize("plugin", sorted(each.parent.name for each in (ROOT / "plugins").glob("*/pyproject.toml")))
def test_the_plugins_of_this_repository_are_gold(plugin):
    """But for their tests, which this suite runs anyway, and what only a run of them shows."""
    (found,) = installed_plugins([plugin])

    standing = judge(Evidence.of(found, source_folder=ROOT / "plugins" / plugin, run=False, within_s=1))

    seen_by_running = {"tests", "idempotency-key"}
    assert {
        each.rule.name for tier in (Tier.BRONZE, Tier.SILVER, Tier.GOLD) for each in standing.missing(tier)
    } <= seen_by_running
    assert told(standing, "tests").startswith("not known")


def test_what_is_written_by_a_run_is_read_as_utf8_whatever_stands_there(tmp_path):
    """A test prints what it likes."""
    (tmp_path / "odd.py").write_text("import sys\nsys.stdout.buffer.write(b'\\xff\\n')\nsys.exit(3)\n")

    ran = runs.run(["odd"], tmp_path, within_s=60)

    assert (ran.code, ran.last_lines) == (3, "�")


def module_of_tests(lab: Installed) -> Path:
    """The generated plugin's test module."""
    return lab.source / "tests" / "test_lab.py"


SUITE = "TestContract = contract_suite(Lab, settings, peer=HttpPeer)\n"
QUICK = (
    "import pytest\nfrom glycanbridge.testing import HttpPeer, contract_suite\nfrom glycanbridge_lab import Lab\n\n"
    "def settings(peer):\n    return {'url': peer.url, 'token': 'a-token-of-the-tests', 'timeout_s': 1}\n\n"
    "def test_it():\n    assert Lab\n\n"
)
"""A test module that has no suite yet."""


def another_file(lab: Installed) -> None:
    """No test's name to pytest: the suite is never run."""
    module_of_tests(lab).write_text(QUICK)
    (lab.source / "tests" / "contract.py").write_text(QUICK + SUITE)


def skipped(lab: Installed) -> None:
    """As a whole."""
    module_of_tests(lab).write_text(f"{QUICK}{SUITE}TestContract.pytestmark = pytest.mark.skip\n")


def of_another_plugin(lab: Installed) -> None:
    """A package may have two: the suite of the one says nothing of the other."""
    module_of_tests(lab).write_text(f"{QUICK}class Lab(Lab):\n    pass\n\n{SUITE}")


def one_left_out(lab: Installed) -> None:
    """The one that fails, for example."""
    module_of_tests(lab).write_text(
        f"{QUICK}class TestContract(contract_suite(Lab, settings, peer=HttpPeer)):\n"
        "    test_tells_is_one_line_without_secrets = pytest.mark.skip(\n"
        "        contract_suite(Lab, settings).test_tells_is_one_line_without_secrets)\n"
    )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (another_file, "none of its tests has passed for Lab"),
        (skipped, "test_"),
        (of_another_plugin, "none of its tests has passed for Lab"),
        (one_left_out, "test_tells_is_one_line_without_secrets has not passed"),
    ],
)
def test_a_suite_counts_only_where_its_tests_have_passed_for_this_plugin(lab, change, why):
    """What stands in a file and is never run has shown nothing."""
    change(lab)
    evidence = lab.evidence()
    look = {each.name: each.look for each in RULES}

    suite = look["contract-suite"](evidence)

    assert suite.state is State.MISSING
    assert why in suite.told
    assert look["tests"](evidence).state is State.MET
    assert (look["idempotency-key"](evidence).state is State.MET) == (change is one_left_out)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("TestContract = contract_suite(", "TestContract: type = contract_suite("),
        ("contract_suite", "glycanbridge.testing.contract_suite"),
        (SUITE, "PROMISES" + SUITE.removeprefix("TestContract") + "\n\nclass TestContract(PROMISES): ...\n"),
        (SUITE, "PROMISES" + SUITE.removeprefix("TestContract") + "\nTestContract = PROMISES\n"),
        (SUITE, "from glycanbridge.testing import contract_suite as suite\nTestContract = suite(Lab, settings)\n"),
    ],
)
def test_a_suite_in_another_style_is_seen(lab, old, new):
    """It is run by pytest all the same."""
    file = module_of_tests(lab)
    head, found, tail = file.read_text().partition(SUITE)
    file.write_text(head + found.replace(old, new) + tail)

    assert lab.look("contract-suite", run=False).state is State.MET


def test_that_an_id_is_logged_is_no_idempotency_key(lab):
    """Whoever reads the log can know a repeat, and the far side cannot."""
    text = lab.module.read_text().replace("delivery.id", '"1"').replace("delivery.event_id", '"1"')
    lab.module.write_text(f"{text}\n\ndef _log(one: Delivery) -> None:\n    print(one.id)  # noqa: T201\n")
    assert lab.look("idempotency-key", run=False).told.startswith("it reads neither delivery.id nor ")

    sys.modules.pop("glycanbridge_lab")
    lab.module.write_text(f"{text}\n\ndef _key(one: Delivery) -> str:\n    return one.id\n")
    assert "reads delivery.id" in lab.look("idempotency-key", run=False).told


@pytest.mark.parametrize(
    ("code", "seen"),
    [
        ("try:\n    f()\nexcept Exception:\n    g('sent')\n", True),
        ("try:\n    f()\nexcept (KeyError, Exception):\n    ...\n", True),
        ("try:\n    f()\nexcept Exception as error:\n    logging.debug(error)\n", True),
        ("with contextlib.suppress(Exception):\n    f()\n", True),
        ("from contextlib import suppress as quietly\nwith quietly(BaseException):\n    f()\n", True),
        ("raise builtins.Exception('no')\n", True),
        ("try:\n    f()\nexcept Exception as error:\n    raise TemporaryError(1) from error\n", False),
        ("try:\n    f()\nexcept Exception as error:\n    found.append(error)\n", False),
        ("try:\n    f()\nexcept KeyError:\n    pass\n", False),
        ("with suppress(FileNotFoundError):\n    f()\n", False),
    ],
)
def test_what_is_passed_over_in_silence_is_seen(code, seen):
    """With it, a delivery that has failed is delivered; whoever makes something of the error has said it."""
    assert bool(wide_errors([Code("it.py", ast.parse(code))])) is seen


def test_errors_by_their_full_names_and_by_other_ones_are_seen(lab):
    """`import glycanbridge` is as good a style as another."""
    text = lab.module.read_text().replace("    DestinationError,\n", "    DestinationError as Away,\n")
    text = text.replace("raise DestinationError(", "raise Away(")
    for each in ("NotYetError", "PermanentError", "TemporaryError"):
        text = text.replace(f"    {each},\n", "").replace(f"raise {each}(", f"raise glycanbridge.{each}(")
    lab.module.write_text(text.replace("import httpx2\n", "import glycanbridge\nimport httpx2\n"))

    assert lab.look("errors").told == "DestinationError, NotYetError, PermanentError, TemporaryError"


@pytest.mark.parametrize(
    ("code", "seen"),
    [
        ("KINDS = ['samples', 'kits']", False),
        ("'no samples are left'", False),
        ("Path(__file__).parent / 'samples' / 'busy.json'", True),
        ("open('tests/samples/busy.json')", True),
        ("HERE.joinpath('samples')", True),
    ],
)
def test_samples_are_read_by_a_path(code, seen):
    """A word alone reads nothing."""
    assert bool(paths_to([Code("it.py", ast.parse(code))], "samples")) is seen


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("pyproject.toml", "\n[[tool.mypy.overrides]]\nmodule = ['glycanbridge_lab.*']\nignore_errors = true\n"),
        ("mypy.ini", "[mypy]\nignore_errors = True\n"),
        ("glycanbridge_lab.py", "\n# mypy: ignore-errors\n"),
    ],
)
def test_mypy_that_is_switched_off_has_found_nothing_out(lab, file, text):
    """By the plugin's own configuration, which mypy is run with; what is said of other packages is theirs."""
    switched_off = lab.evidence().untyped
    with (lab.source / file).open("a") as opened:
        opened.write(text)

    assert (switched_off, lab.evidence().untyped) == (None, file)
    changed("glycanbridge_lab.\\*'", "another.*'")(lab) if file == "pyproject.toml" else None
    assert (lab.evidence().untyped is None) == (file == "pyproject.toml")


def test_headings_that_are_underlined_are_headings():
    """Markdown has two kinds; a rule between two paragraphs and that of a table are none."""
    readme = Readme(["Lab\n===\nIt is.\n\n---\n\nSettings\n--------\n\n| a |\n|---|\n| `url` |\nEmpty\n---\n"])

    assert [each.title for each in readme.sections] == ["Lab", "Settings", "Empty"]
    assert readme.first_cells() == {"url"}
    assert readme.under("Empty") == []


def test_a_plugin_for_another_contract_is_told_so_by_that_rule(lab):
    """It is what is to be mended."""
    changed('contract = ">=1.0,<2"', 'contract = ">=7"')(lab)

    assert told(lab.judge(), "contract").startswith("missing: ")
    assert "is made for the contract >=7" in told(lab.judge(), "contract")


def test_every_setting_that_is_in_no_table_is_named(lab):
    """Not the first few of them."""
    more = "".join(f'    more_{number}: int = 0\n    """More."""\n' for number in range(7))
    changed("    timeout_s: Timeout = 10\n", f"{more}    timeout_s: Timeout = 10\n")(lab)

    assert lab.look("settings-table", run=False).told.endswith(", ".join(f"more_{number}" for number in range(7)))


def test_a_plugin_in_a_namespace_package_has_code(lab, tmp_path, monkeypatch):
    """`acme.lab`, without an `acme/__init__.py`: its top level has no file."""
    folder = tmp_path / "space" / "acme_of_tests"
    folder.mkdir(parents=True)
    (folder / "lab.py").write_text(lab.module.read_text())
    (lab.metadata / "entry_points.txt").write_text("[glycanbridge]\nlab = acme_of_tests.lab:Lab\n")
    monkeypatch.syspath_prepend(str(folder.parent))

    assert lab.look("errors", run=False).state is State.MET
