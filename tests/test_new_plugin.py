"""What a new plugin is made of: names that suit pip, Python and `bridge.yaml`, and files that our tools find fine."""

from __future__ import annotations

import importlib
import re
import ssl
import subprocess
import sys
import tomllib
from importlib import resources

import pytest
import trustme

import glycanbridge
from glycanbridge import DestinationError, TemporaryError
from glycanbridge.errors import PluginError
from glycanbridge.new_plugin import FILES, LONGEST_NAME, NewPlugin
from glycanbridge.testing import Answer, Fault, HttpPeer, deliver

LONGEST = "a" * 20 + "-" + "b" * (LONGEST_NAME - 21)
NAMES = ["a", "i", "o", "l", "my-2nd-lab", "event", "make-plugin", LONGEST]


@pytest.mark.parametrize(
    ("name", "module", "class_name"),
    [
        ("lab", "glycanbridge_lab", "Lab"),
        ("my-lab", "glycanbridge_my_lab", "MyLab"),
        ("my-2nd-lab", "glycanbridge_my_2nd_lab", "My2ndLab"),
        ("event", "glycanbridge_event", "EventPlugin"),
        ("warning", "glycanbridge_warning", "WarningPlugin"),
        ("make-plugin", "glycanbridge_make_plugin", "MakePluginPlugin"),
        ("make-bridge", "glycanbridge_make_bridge", "MakeBridgePlugin"),
        ("i", "glycanbridge_i", "IPlugin"),
        ("l", "glycanbridge_l", "LPlugin"),
        ("o", "glycanbridge_o", "OPlugin"),
    ],
)
def test_one_name_makes_all_the_others(name, module, class_name):
    """Whoever reads one knows the others; a class never takes the name of what its own module needs."""
    plugin = NewPlugin.of(name)

    assert (plugin.package, plugin.module, plugin.class_name) == (f"glycanbridge-{name}", module, class_name)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("", "expected lower-case letters"),
        ("MyLab", "such as my-lab; mylab would do"),
        ("my_lab", "my-lab would do"),
        ("2nd-lab", "nd-lab would do"),
        ("my--lab", "my-lab would do"),
        ("lab-", "lab would do"),
        ("lab\n", "lab would do"),
        ("../lab", "lab would do"),
        ("größe", "expected lower-case letters"),
        ("a" * (LONGEST_NAME + 1), f"at most {LONGEST_NAME}"),
        ("class", "a word of Python's own"),
        ("none", "try none-lab"),
        ("test-lab", "pytest takes every class TestLab for tests"),
    ],
)
def test_a_name_that_would_not_do_somewhere_is_refused_with_one_that_would(name, told):
    """It stands in a path, a package's name, Python and bridge.yaml: what is wrong in one shows up late."""
    with pytest.raises(PluginError, match=re.escape(told)):
        NewPlugin.of(name)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_is_well_formed_under_any_name(tmp_path, name):
    """A longer name makes longer lines: the formatter must have nothing to break, and nothing to join."""
    folder = NewPlugin.of(name).write(tmp_path)[0]

    for check in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *check, "--no-cache", "."], cwd=folder, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    (entry,) = project["project"]["entry-points"]["glycanbridge"].items()
    assert entry == (name, f"glycanbridge_{name.replace('-', '_')}:{NewPlugin.of(name).class_name}")


def test_every_file_of_the_template_is_used_and_every_mark_filled():
    """What lies in the template and is not written is forgotten; a mark that stays is a puzzle."""
    template = {each.name for each in (resources.files("glycanbridge.new_plugin") / "template").iterdir()}

    assert {f"{source}.txt" for source in FILES.values()} == template
    assert not [path for path, text in NewPlugin.of("my-lab").files() if "«" in path + text or "»" in path + text]


def test_nothing_is_ever_overwritten(tmp_path):
    """A second run would undo what its author has made of it: nothing at all is written then."""
    first = NewPlugin.of("lab").write(tmp_path)
    first[1].write_text("changed")

    with pytest.raises(PluginError, match="is there already, and nothing was written"):
        NewPlugin.of("lab").write(tmp_path)

    assert first[1].read_text() == "changed"
    assert sorted(each for each in tmp_path.rglob("*") if each.is_file()) == sorted(first[1:])


def test_where_nothing_can_be_written_is_said(tmp_path):
    """A file where the folder should be."""
    (tmp_path / "here").write_text("")

    with pytest.raises(PluginError, match=r"here.* cannot be written: |here.*is there already"):
        NewPlugin.of("lab").write(tmp_path / "here" / "there")


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """The class of a new plugin."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(NewPlugin.of("lab").write(tmp_path)[0]))
    yield importlib.import_module("glycanbridge_lab").Lab
    del sys.modules["glycanbridge_lab"]


def test_a_certificate_that_is_not_trusted_stops_the_destination(lab, glycanbridge_plugin):
    """Time does not mend it, and no delivery is to blame; the generated tests have no certificates to try it with."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with HttpPeer(tls=context) as peer:
        outcome = deliver(glycanbridge_plugin(lab, {"url": peer.url, "token": "a-token-of-the-tests"}))

    assert (outcome.error, outcome.text) == (
        DestinationError, f"the certificate of 127.0.0.1:{peer.port} is not trusted",
    )  # fmt: skip
    assert peer.requests == []


def test_an_answer_that_drips_is_given_up_as_unknown(lab, glycanbridge_plugin):
    """A timeout for each read would never end it, and the whole lane would stand still behind it."""
    with HttpPeer(Fault.DRIP) as peer:
        plugin = glycanbridge_plugin(lab, {"url": peer.url, "token": "a-token-of-the-tests", "timeout_s": 0.3})
        dripped = deliver(plugin)
        peer.answer(Answer(200, "x" * 100_000))
        whole = deliver(plugin)

    assert (dripped.error, dripped.unknown) == (TemporaryError, True)
    assert whole.delivered


def test_the_code_imports_only_public_names():
    """An author copies what stands there: all else of glycanbridge may change from one version to the next."""
    code = dict(NewPlugin.of("lab").files())["glycanbridge_lab.py"]
    (names,) = re.findall(r"from glycanbridge import \(\n(.*?)\)", code, re.DOTALL)

    assert {each.strip(" ,") for each in names.splitlines()} <= set(glycanbridge.__all__)
    assert len(code.splitlines()) <= 160


def test_the_readme_says_which_ones_are_the_defaults():
    """The table is what a clinic reads; the model is what counts."""
    files = dict(NewPlugin.of("lab").files())
    told = re.findall(r"^\| `(\w+)` \| (yes|no) \| (yes|no) \| (?:`(\w+)`)? *\|", files["README.md"], re.MULTILINE)

    assert told == [
        ("url", "yes", "no", ""), ("token", "yes", "yes", ""), ("personal", "no", "no", "none"),
        ("timeout_s", "no", "no", "10"),
    ]  # fmt: skip
