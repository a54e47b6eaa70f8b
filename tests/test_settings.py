"""bridge.yaml: read whole, every mistake at once with its line and column, and never the value of a secret."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import jsonschema
import pytest
from pydantic import BaseModel, Field, SecretStr, model_validator

from glycanbridge.bridge_yaml import BridgeYaml
from glycanbridge.errors import SettingsError
from glycanbridge.event_types import BRIDGE_EVENT_TYPES, EVENT_TYPES
from glycanbridge.problems import validate
from glycanbridge.settings import LocalPath, Timeout, json_schema, load, secrets_in, warnings

LISTEN = "expected host:port, such as 127.0.0.1:8080, or 0.0.0.0:8080 for every address"
MINIMAL = "receiver: {secrets: [0123456789abcdef0123456789abcdef]}\n"


@pytest.fixture
def write(tmp_path):
    """Writes bridge.yaml."""

    def write_it(text: str, **environ: str) -> BridgeYaml:
        file = tmp_path / "bridge.yaml"
        file.write_text(textwrap.dedent(text), encoding="utf-8")
        return BridgeYaml(file, environ=environ)

    return write_it


def test_the_files_that_references_name_are_told(write, tmp_path):
    """There or not, each with the first place: whoever looks after their modes must know them all."""
    (tmp_path / "a").write_text("x")
    source = write("receiver: {secrets: ['${file:a}', '${file:gone:-y}', '${file:a}', '${env:HOME}']}", HOME="h")

    secrets = ("receiver", "secrets")
    assert source.named_files == {tmp_path / "a": (*secrets, 0), tmp_path / "gone": (*secrets, 1)}
    assert secrets_in(source) == {1: "x", 2: "y", 3: "x", 4: "h"}
    assert secrets_in(write("receiver: [1]")) == secrets_in(write("")) == {}


@pytest.fixture
def told(write):
    """What is said of a wrong bridge.yaml, without its path."""

    def tell(text: str, **environ: str) -> list[str]:
        source = write(text, **environ)
        with pytest.raises(SettingsError) as wrong:
            load(source)
        return [str(each).removeprefix(f"{source.file}:") for each in wrong.value.problems]

    return tell


def test_the_contracts_example_is_read(write):
    """As it stands in the documentation, every key of it."""
    source = write(
        """
        receiver:
          listen: 127.0.0.1:8080
          path: /webhooks/glycanage
          secrets:
            - ${file:webhook-secret}
        journal: sqlite:///var/journal.db
        dead_letters: var/dead-letters
        retry:
          tries: 3
          schedule_s: [5, 60, 300, 1800, 7200, 18000, 43200, 86400]
        destinations:
          results-csv:
            plugin: csv
            enabled: true
            events: [report-ready]
            practices: [practice_67890]
            lanes: 1
            timeout_s: 30
            isolation: process
            retry: {schedule_s: [10, 600]}
            settings:
              directory: var/exports
        """
    )
    (source.folder / "webhook-secret").write_text("the secret\n")
    settings = load(BridgeYaml(source.file))

    assert settings.receiver.secrets[0].get_secret_value() == "the secret"
    assert (settings.receiver.host, settings.receiver.port) == ("127.0.0.1", 8080)
    assert settings.journal == f"sqlite:///{source.folder}/var/journal.db"
    assert settings.dead_letters == source.folder / "var" / "dead-letters"
    assert settings.retry_of("results-csv").schedule_s == (10, 600)
    assert settings.retry_of("results-csv").tries == 3
    assert settings.destinations["results-csv"].settings == {"directory": "var/exports"}


def test_what_is_left_out_has_the_documented_default(write):
    """A secret is all that must be said."""
    settings = load(write(MINIMAL))

    assert settings.receiver.listen == "127.0.0.1:8080"
    assert settings.receiver.max_body_bytes == 1_048_576
    assert settings.retry.schedule_s[-1] == 86400
    assert settings.destinations == {}


def test_every_mistake_is_told_at_once_with_line_and_column(told):
    """In the order of the file; each says what was expected and what came."""
    types = ", ".join(map(repr, (*EVENT_TYPES, *BRIDGE_EVENT_TYPES)))

    assert told(
        """\
        receiver:
          listen: 127.0.0.1
          pathh: /x
          secrets: []
          path: /a
          path: /b
        retry:
          tries: many
        destinations:
          bad_name: {plugin: csv}
          ops:
            events: [report-redy]
            practices: [67890]
            isolation: proces
            retry: {schedul_s: []}
            lanes: 0
            settings: []
        journal: mysql://u:geheim@host/db
        """
    ) == [
        f"2:11: receiver.listen: {LISTEN}, got '127.0.0.1'",
        "3:3: receiver.pathh: unknown key; did you mean 'path'?",
        "4:12: receiver.secrets: expected at least 1 item(s)",
        "6:3: receiver.path: stands twice; the first is in line 5",
        "8:10: retry.tries: expected an integer, got 'many'",
        "10:3: destinations.bad_name: expected a name of letters, digits and '-', at most 64 of them, got 'bad_name'",
        "11:3: destinations.ops.plugin: is missing",
        f"12:14: destinations.ops.events.0: expected one of {types}, got 'report-redy'; did you mean 'report-ready'?",
        "13:17: destinations.ops.practices.0: expected text, got 67890 without quotes",
        "14:16: destinations.ops.isolation: expected one of 'process', 'thread', got 'proces'; did you mean 'process'?",
        "15:13: destinations.ops.retry.schedul_s: unknown key; did you mean 'schedule_s'?",
        "16:12: destinations.ops.lanes: expected it to be greater than or equal to 1, got 0",
        "17:15: destinations.ops.settings: expected a mapping, got a list of 0",
        "18:10: journal: expected sqlite:///PATH (four slashes for an absolute path)",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "1:6: not YAML: expected ',' or ']', but got '<stream end>'"),
        ("receiver: {secrets: [${env:X}]}", "1:23: not YAML: expected ',' or ']', but got '{'; a ${...} inside [ ]"),
        ("- 1", "1:1: expected a mapping"),
        ("just text", "1:1: expected a mapping"),
        ("receiver: *nowhere", "not YAML: "),
        ("receiver: &a {secrets: &b [x]}", "1:1: receiver: anchors and aliases are not taken here"),
        (
            "receiver: !!python/object:os.system x",
            "1:11: receiver: the tag 'python/object:os.system' is not taken here",
        ),
        ("receiver: !secret x", "1:11: receiver: the tag '!secret' is not taken here"),
        ("", "1:1: receiver: is missing"),
        ("receiver: {path: /healthz, secrets: [x]}", "receiver.path: expected another path"),
        ("dead_letters: ~nobody-of-this-name/x", "dead_letters: expected a path, and ~ names no home directory here"),
        ("a: " + "9" * 5000, "1:4: a: this is no number that can be read"),
        ("a: " + "[" * 5000, "not YAML"),
    ],
)
def test_what_is_no_bridge_yaml_is_told(told, text, message):
    """Tags and aliases too: nothing in the file may run or multiply."""
    assert any(message in each for each in told(text))


def test_a_missing_file_says_what_to_do(tmp_path):
    """Its path, and the command that writes one."""
    with pytest.raises(SettingsError, match=r"nowhere\.yaml:1:1: no such file; `glycanbridge init` writes one"):
        load(BridgeYaml(tmp_path / "nowhere.yaml"))


def test_yaml_is_of_version_1_2(write):
    """`on` and `yes` are text, 0600 is six hundred, a date stays as it was written."""
    data = write("a: on\nb: yes\nc: 0600\nd: 2026-11-24\ne: 1.5\nf: true\ng: null\nh: 12:30:45\n").data

    assert data == {
        "a": "on", "b": "yes", "c": 600, "d": "2026-11-24", "e": 1.5, "f": True, "g": None, "h": "12:30:45"
    }  # fmt: skip


def test_references_are_resolved_in_scalars_after_parsing(write, tmp_path):
    """A value can hold anything and never becomes YAML; two dollars are one."""
    (tmp_path / "secret").write_text("from a file\r\n")
    (tmp_path / "credential").write_text("from systemd\n")
    source = write(
        """
        a: ${env:NAME}
        b: x${env:NAME}y${env:NOT:-default}z
        c: ${file:secret}
        d: ${credential:credential}
        e: $$5 and $${env:NAME} and $
        f: ${env:NOT:-}
        g: ${env:NASTY}
        """,
        NAME="value",
        NASTY="}, {x: ${env:NAME}\n- 1",
        CREDENTIALS_DIRECTORY=str(tmp_path),
    )

    assert source.problems == []
    assert source.data == {
        "a": "value",
        "b": "xvalueydefaultz",
        "c": "from a file",
        "d": "from systemd",
        "e": "$5 and ${env:NAME} and $",
        "f": "",
        "g": "}, {x: ${env:NAME}\n- 1",
    }


def test_numbers_and_switches_may_come_from_references(write):
    """They are text in the environment."""
    text = MINIMAL + "retry: {tries: '${env:TRIES}'}\ndestinations: {a: {plugin: x, enabled: '${env:ON}'}}\n"
    settings = load(write(text, TRIES="5", ON="false"))

    assert (settings.retry.tries, settings.destinations["a"].enabled) == (5, False)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("${env:NOT}", "the environment variable NOT is not set"),
        ("${file:not/there}", "not/there cannot be read"),
        ("${credential:not}", "there is no systemd credential not"),
        ("${NOT}", "this is no reference: write ${env:NAME}"),
        ("${evn:TOKEN:-geheim}", "this is no reference"),
        ("${vault:x}", "this is no reference"),
        ("${file:x", "a reference has no end"),
    ],
)
def test_an_undefined_reference_is_told_once(told, reference, message):
    """And not a second time for the value that is missing because of it."""
    (line,) = told(f"receiver:\n  secrets:\n    - {reference}\n")

    assert line.startswith("3:7: receiver.secrets.0: ")
    assert message in line
    assert "geheim" not in line


def test_the_name_of_a_destination_hides_none_of_its_mistakes(told):
    """`users` and `monkey` look like secrets to whoever looks at the whole path."""
    lines = told(
        MINIMAL + "destinations:\n  users: {plugin: csv, lanes: many}\n  monkey: {plugin: csv, timeout_s: long}\n"
    )

    assert lines == [
        "3:31: destinations.users.lanes: expected an integer, got 'many'",
        "4:36: destinations.monkey.timeout_s: expected a number, got 'long'",
    ]


def test_a_secret_file_that_windows_wrote_is_read_without_its_byte_order_mark(write):
    """Else every event would be refused, and nobody could see why."""
    source = write("receiver: {secrets: ['${file:secret}']}\n")
    (source.folder / "secret").write_bytes(b"\xef\xbb\xbfthe secret\r\n")

    assert load(BridgeYaml(source.file)).receiver.secrets[0].get_secret_value() == "the secret"


def test_a_secret_is_never_shown(write):
    """Settings may end up in a log."""
    assert "hunter2" not in repr(load(write("receiver: {secrets: [hunter2-hunter2-hunter2-hunter2-hunter2]}\n")))


class Odd:
    """A type that pydantic knows nothing of."""


class Schemaless(BaseModel, extra="forbid", arbitrary_types_allowed=True):
    """A model that has no JSON Schema."""

    odd: Odd | None = None
    host: str = "h"


def test_a_model_without_a_json_schema_is_checked_all_the_same(write):
    """Its own names are what it knows."""
    _, problems = validate(Schemaless, {"hots": 1, "host": 5}, write("hots: 1\nhost: 5\n"))

    assert [each.message for each in problems] == [
        "expected text, got 5 without quotes",
        "unknown key; did you mean 'host'?",
    ]


class PluginSettings(BaseModel, extra="forbid"):
    """A plugin's settings, with what a mistake must not show."""

    host: str
    port: int = 25
    password: SecretStr | None = None
    unlisted: SecretStr | None = None
    folder: LocalPath | None = None
    limit: int = Field(5, ge=1)


def test_a_plugins_settings_are_told_alike(write):
    """At their place in the file, and without secrets or what a reference gave."""
    source = write(
        """\
        destinations:
          ops:
            settings:
              port: smtp
              password: [geheim]
              passwort: geheim
              limit: ${env:LIMIT}
              unlisted:  12345678
        """,
        LIMIT="geheim",
    )
    loc = ("destinations", "ops", "settings")
    _, problems = validate(PluginSettings, source.data["destinations"]["ops"]["settings"], source, loc)

    assert [str(each).removeprefix(f"{source.file}:") for each in sorted(problems)] == [
        "3:5: destinations.ops.settings.host: is missing",
        "4:13: destinations.ops.settings.port: expected an integer, got 'smtp'",
        "5:17: destinations.ops.settings.password: expected text",
        "6:7: destinations.ops.settings.passwort: unknown key; did you mean 'password'?",
        "7:14: destinations.ops.settings.limit: expected an integer",
        "8:18: destinations.ops.settings.unlisted: expected text: put it in quotes",
    ]


class Pair(BaseModel):
    """Two settings that do not go together."""

    user: str | None = None
    limit: int | None = None

    @model_validator(mode="after")
    def _not_both(self):
        if self.limit and self.user:
            raise ValueError("expected a user or a limit, not both")
        return self


class Pairs(BaseModel):
    """A model in a model."""

    inner: Pair


@pytest.mark.parametrize(
    ("model", "text", "message"),
    [
        (Pair, "{user: u, limit: 1}", "expected a user or a limit, not both"),
        (Pairs, "inner: {user: u, limit: 1}", "expected a user or a limit, not both"),
        (Pair, "limit: {}", "expected an integer, got a mapping"),
    ],
)
def test_a_mistake_of_a_whole_model_does_not_say_that_a_mapping_came(write, model, text, message):
    """One was wanted: it reads as if that were the mistake."""
    source = write(text)

    assert [each.message for each in validate(model, source.data, source)[1]] == [message]


@pytest.mark.parametrize(
    ("file", "what_to_do"),
    [
        ("var/webhook-secret", "`glycanbridge init` writes it if it is missing"),
        ("./var/webhook-secret", "`glycanbridge init` writes it if it is missing"),
        ("var/service-token", "write the secret into it, readable for the bridge's user alone"),
    ],
)
def test_a_secrets_file_that_is_missing_is_told_with_what_to_do(told, file, what_to_do):
    """`init` writes one of them, and whoever types it for another waits for something that never comes."""
    (line,) = told(f"receiver: {{secrets: ['${{file:{file}}}']}}\n")

    assert line.endswith(f"cannot be read ({what_to_do}) and the reference has no default (:-...)")


def test_relative_paths_are_taken_from_the_files_folder(write):
    """A plugin's too; absolute ones stay."""
    source = write("folder: x/y\n")

    assert validate(PluginSettings, {"host": "h", "folder": "x/y"}, source)[0].folder == source.folder / "x" / "y"
    assert validate(PluginSettings, {"host": "h", "folder": "/x"}, source)[0].folder == Path("/x")


@pytest.mark.parametrize(
    ("seconds", "fits"), [(29.9, True), (30, False), (31, False), (0, False), (float("nan"), False)]
)
def test_a_plugin_may_not_wait_longer_than_its_attempt_may_last(write, seconds, fits):
    """Else its process is ended in the middle, and nobody knows what the far side has."""

    class Waiting(BaseModel):
        read_timeout_s: Timeout = 5

    model, problems = validate(Waiting, {"read_timeout_s": seconds}, write("a: b\n"), timeout_s=30.0)

    assert (model is not None, len(problems)) == (fits, 0 if fits else 1)
    if seconds == 31:
        assert "expected less than the destination's timeout_s, 30, which ends a whole attempt" in problems[0].message
    assert Waiting(read_timeout_s=31).read_timeout_s == 31


def test_a_plugins_own_default_may_not_be_longer_than_an_attempt_either(write):
    """Whoever shortens `timeout_s` is told what else to shorten."""

    class Waiting(BaseModel):
        read_timeout_s: Timeout = 5

    _, (problem,) = validate(Waiting, {}, write("a: b\n"), timeout_s=3.0)

    assert problem.message == "expected less than the destination's timeout_s, 3, which ends a whole attempt, got 5"
    assert Waiting().read_timeout_s == 5


@pytest.mark.parametrize("slip", ["file:var/webhook-secret", "'{file:var/secret}'", "$ {env:SECRET}", "env:SECRET"])
def test_a_misspelt_reference_is_no_secret(told, slip):
    """It stands in everybody's README, and GlycanAge's events would be refused."""
    (line,) = told(f"receiver:\n  secrets:\n    - {slip}\n")

    assert line.startswith("3:7: receiver.secrets.0: expected a secret, and this looks like a misspelt reference")


@pytest.mark.parametrize("secret", ["''", "'  '", "${env:EMPTY}"])
def test_an_empty_secret_is_refused(told, secret):
    """Anybody could sign with it."""
    (line,) = told(f"receiver:\n  secrets:\n    - {secret}\n", EMPTY="")

    assert line == "3:7: receiver.secrets.0: expected a secret, and this one is empty: anybody could sign with it"


@pytest.mark.parametrize(
    ("secret", "told"),
    [("short", "has 5 characters"), ("your-secure-32-character-or-longer-secret", "printed on GlycanAge's page"),
     ("test-secret-key-for-development", "printed on GlycanAge's page"), ("0123456789abcdef0123456789abcdef", None)],
)  # fmt: skip
def test_a_weak_secret_is_warned_of(write, secret, told):
    """And not refused: the vendor's own sample is too short."""
    lines = warnings(load(write(f"receiver: {{secrets: [{secret}]}}\n")))

    assert (told in lines[0]) if told else (lines == [])
    assert all(secret not in line for line in lines)


def test_the_schema_takes_what_we_take_and_refuses_what_we_refuse(write):
    """For editors: with the plugins' settings, and references in the place of numbers."""
    schema = json_schema({"mail": PluginSettings})
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    good = {
        "receiver": {"secrets": ["${file:x}"], "max_body_bytes": "${env:MAX}", "path": "${env:HOOK_PATH}"},
        "destinations": {
            "ops": {"plugin": "mail", "isolation": "${env:MODE}", "settings": {"host": "h", "port": "${env:PORT}"}}
        },
    }
    shipped = BridgeYaml(Path(__file__).parent.parent / "bridge.yaml").data

    validator.validate(good)
    validator.validate(shipped)
    for path, value in {
        ("receiver", "listen"): 5,
        ("receiver", "max_body_bytes"): "much",
        ("destinations", "ops", "settings", "port"): "smtp",
        ("destinations", "ops", "settings", "host"): None,
        ("destinations", "ops", "evnts"): [],
        ("destinations", "bad_name"): {"plugin": "x"},
    }.items():
        bad = json.loads(json.dumps(good))
        place = bad
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value
        assert not validator.is_valid(bad), path
