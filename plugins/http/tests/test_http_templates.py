"""What a request says: what is told and what is not, values that stay values, and templates that cannot get out."""

import json
import time
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree as ET

import pytest
from glycanbridge_http import Http, HttpSettings
from glycanbridge_http.bodies import as_told, from_template, values
from glycanbridge_http.limits import MOST_STEPS
from glycanbridge_http.requests import Requests
from glycanbridge_http.samples import KNOWN, sample, samples
from glycanbridge_http.sandbox import FILTERS, METHODS
from glycanbridge_http.signing import key_of, signed
from glycanbridge_http.templates import Template, TemplateFault, as_text, in_json
from pydantic import SecretStr, ValidationError

from glycanbridge import EVENT_TYPES, PermanentError, Personal

URL = "https://portal.clinic.example/x"
NASTY = [
    'a"b', "a\\", '\\"', "a\nb\r\tc", "</script><script>", "{{ 7 * 7 }}", "{% raw %}", "'", "\x01\x1f", "\u2028",
    '","admin":true,"x":"', "ž…😀", "&amp;<a>", "%00%2F", "a b+c",
]  # fmt: skip
"""What may stand in an id, for all that we know."""


def made(source, event_type="report-ready", *, personal="full", content_type="application/json", **data):
    """What a template makes of a sample, changed as told."""
    body = from_template(source, content_type=content_type, personal=Personal(personal))
    return body(*sample(event_type, **data)).decode()


def fault(source, *, event_type="report-ready", **more):
    """Why a template fails for a sample."""
    with pytest.raises(TemplateFault) as raised:
        made(source, event_type, **more)
    return raised.value


# What is told


@pytest.mark.parametrize("event_type", EVENT_TYPES)
@pytest.mark.parametrize("personal", Personal)
def test_without_a_template_the_event_is_told_as_far_as_personal_allows(event_type, personal):
    """Each field of it, and no other; the ids by which it is found again."""
    event, delivery = sample(event_type)
    body = json.loads(as_told(personal)(event, delivery))
    assert list(body) == ["type", "timestamp", "event_id", "delivery_id", "data"]
    assert (body["type"], body["timestamp"]) == (event_type, "2023-08-27T08:00:00.000Z")
    assert (body["event_id"], body["delivery_id"]) == ("sample", "sample:preview")
    assert set(body["data"]) == set(personal.told(event))
    assert ("patient_123" in json.dumps(body)) == (personal is not Personal.NONE and "order" not in event_type)
    assert ("45.2" in json.dumps(body)) == (personal is Personal.FULL and event_type == "report-ready")


def test_that_a_delivery_was_given_up_is_told_with_what_says_nothing_of_a_patient():
    """What a far side has said may quote one, so `none` tells which delivery it is, and not why."""
    event, delivery = sample("delivery-dead")
    told, more = (json.loads(as_told(each)(event, delivery))["data"] for each in (Personal.NONE, Personal.IDS))
    assert told == {
        "delivery_id": "3f9c2a1b7d4e:results-ehr", "event_id": "3f9c2a1b7d4e", "event_type": "report-ready",
        "destination": "results-ehr", "practice_id": "practice_67890", "kit_code": "…1234", "plugin": "ehr",
        "attempts": 9, "received_at": "2023-08-27T08:00:00.000Z",
    }  # fmt: skip
    assert (more["reason"], more["kit_code"]) == ("ehr.clinic.example answered 422", "KIT001234")
    nameless, _ = sample("delivery-dead", kitCode=None)
    assert json.loads(as_told(Personal.NONE)(nameless, delivery))["data"]["kit_code"] is None


def test_what_may_not_be_told_is_not_known_to_a_template():
    """Whatever it names, and however it looks for it."""
    told = json.dumps(values(*sample("report-ready"), Personal.NONE), default=str)
    assert [each for each in ("KIT001234", "patient_123", "report_78901", "test_56789", "45.2") if each in told] == []
    assert fault('"{{ event.data.patient_id }}"', personal="none").reason == (
        "it names something that is not told of this event"
    )
    for way in ("event.data['patient_id']", "event['data'].get('patient_id').upper()", "delivery.body", "settings"):
        with pytest.raises(TemplateFault):
            made(f'"{{{{ {way} }}}}"', personal="none")


def test_a_signed_body_is_sent_byte_for_byte():
    """For a service that knows GlycanAge's own format."""
    requests = Requests(HttpSettings(url=URL, personal="full", as_signed=True))
    event, delivery = sample("report-ready")
    assert requests.of(event, delivery).body == delivery.body


def test_all_that_the_readme_names_is_there():
    """`event` and `delivery`, each by name."""
    source = """{"a": {{ [event.type, event.timestamp, event.data.kit_code, delivery.id, delivery.event_id,
        delivery.event_type, delivery.destination, delivery.attempt, delivery.received_at] | tojson }}}"""
    assert json.loads(made(source))["a"] == [
        "report-ready", "2023-08-27T08:00:00.000Z", "KIT001234", "sample:preview", "sample", "report-ready", "preview",
        1, "2023-08-27T08:00:01.000Z",
    ]  # fmt: skip


# Values stay values


@pytest.mark.parametrize("value", NASTY)
def test_a_text_in_json_stays_within_its_quotes(value):
    """Whatever it is, and by whichever way it came there."""
    source = """{"a": "{{ event.data.kit_code }}", "b": {{ event.data.kit_code | tojson }}, "c": {{ event.data }},
        "d": "{{ event.data.kit_code ~ "!" }}", "e": "{{ (event.data.kit_code | tojson) ~ "" }}"}"""
    told = json.loads(made(source, kitCode=value), strict=True)
    assert told["a"] == told["b"] == told["c"]["kit_code"] == value
    assert told["d"] == value + "!"
    assert json.loads(told["e"]) == value  # JSON that was worked on is a text again
    assert set(told) == set("abcde")


@pytest.mark.parametrize("value", NASTY)
def test_a_value_in_another_kind_of_text_is_escaped_for_it(value):
    """A form's fields and a tag's text end where the template says."""
    form = made("a={{ event.data.kit_code }}&b=1", content_type="application/x-www-form-urlencoded", kitCode=value)
    assert parse_qs(form, strict_parsing=True, keep_blank_values=True) == {"a": [value], "b": ["1"]}
    plain = made("{{ event.data.kit_code }}", content_type="text/plain; charset=utf-8", kitCode=value)
    assert plain == value
    if value.isprintable():
        tag = made('<a b="{{ event.data.kit_code }}">{{ event.data.kit_code }}</a>', content_type="text/xml",
                   kitCode=value)  # fmt: skip
        found = ET.fromstring(tag)
        assert (found.text, found.attrib) == (value, {"b": value})


def test_numbers_nothing_and_lists_are_json_as_they_are():
    """So that a template needs no `tojson` for them."""
    source = '{"n": {{ event.data.amount }}, "s": {{ event.data.sets }}, "p": {{ event.data.previous_status }}, '
    source += '"t": {{ 1 == 1 }}, "m": {{ event.data.sets | map(attribute="kit_code") }}}'
    told = json.loads(made(source, "assignment-status-changed", previousStatus=None))
    assert told["n"] == 15000
    assert told["s"][0] == {"patient_id": "patient_123", "kit_code": "KIT001234", "product": "regular"}
    assert (told["p"], told["t"], told["m"]) == (None, True, ["KIT001234"] * 2)


def test_in_plain_text_nothing_is_nothing_and_times_are_iso():
    """People read it."""
    assert as_text(None) == ""
    assert made("{{ event.timestamp }} {{ event.data.sets }}", "assignment-status-changed", content_type="text/plain",
                sets=[]) == "2023-08-27T08:00:00.000Z []"  # fmt: skip


@pytest.mark.parametrize(
    "content_type", ["text/json", "application/x-ndjson", "application/jsonl", "application/JSON; a=b"]
)
@pytest.mark.parametrize("value", NASTY)
def test_a_text_ends_no_quotes_in_json_of_another_name(content_type, value):
    """Otherwise a value could begin a field of its own."""
    source = '{"kit": "{{ event.data.kit_code }}"}'
    assert json.loads(made(source, content_type=content_type, kitCode=value)) == {"kit": value}


def test_each_line_of_json_lines_is_json():
    """And the whole is none; elsewhere it has to be."""
    source = '{"a": "{{ event.data.kit_code }}"}\n\n{"a": {{ event.data }}}\n'
    first, _, second = made(source, content_type="application/x-ndjson").split("\n")
    assert json.loads(first)["a"] == json.loads(second)["a"]["kit_code"]
    assert "it makes no valid JSON" in fault(f"{source}{{", content_type="application/jsonl").reason
    assert "it makes no valid JSON" in fault(source, content_type="text/json").reason


@pytest.mark.parametrize("content_type", ["application/xml", "text/xml", "application/fhir+xml; a=b"])
@pytest.mark.parametrize("sign", ["\x01", "\x1f", "\ufffe"])
def test_a_sign_that_xml_has_not_is_a_fault(content_type, sign):
    """It is known before anything is sent, as what is no valid JSON is."""
    source = "<a>{{ event.data.kit_code }}</a>"
    assert "a sign that XML has not" in fault(source, content_type=content_type, kitCode=f"KIT{sign}1").reason
    assert made(source, content_type=content_type, kitCode="a\tž…😀") == "<a>a\tž…😀</a>"


def test_a_value_is_never_a_template():
    """What GlycanAge sends is not run."""
    assert made("{{ event.data.kit_code }}", content_type="text/plain", kitCode="{{ 7 * 7 }}") == "{{ 7 * 7 }}"


@pytest.mark.parametrize("value", [each for each in NASTY if not set(each) & set("/\\%\n\x01\u2028")])
def test_a_value_in_the_address_is_a_part_of_one_segment_or_of_one_query_value(value):
    """It changes neither host nor path, and begins nothing new."""
    address = "https://portal.clinic.example/a/{{ event.data.kit_code }}/b?c={{ event.data.kit_code }}&d=1"
    event, delivery = sample("report-ready", kitCode=value)
    url = urlsplit(Requests(_unchecked(url=address)).of(event, delivery).url)
    assert url.netloc == "portal.clinic.example"
    assert [unquote(each) for each in url.path.split("/")] == ["", "a", value, "b"]
    assert parse_qs(url.query, strict_parsing=True) == {"c": [value], "d": ["1"]}
    assert url.fragment == ""


@pytest.mark.parametrize(
    "value", ["..", ".", "...", "../x", "a/b", "a\\b", "%2e%2e", "%2F", "a\nb", "a\r\nX-Evil: 1", "\x01"]
)
def test_a_value_that_could_climb_the_path_is_a_dead_letter(value):
    """Servers read %2F as a slash, and some read %25 twice; the error shows the place and not the value."""
    event, delivery = sample("report-ready", kitCode=value)
    requests = Requests(_unchecked(url="https://portal.clinic.example/a/{{ event.data.kit_code }}"))
    with pytest.raises(
        PermanentError, match=r"^url: line 1 of it: it cannot be made of this event \(ValueError\)"
    ) as raised:
        requests.of(event, delivery)
    assert value.strip() not in str(raised.value) or value in {".", ".."}


def test_a_value_too_long_for_an_address_is_a_dead_letter():
    """It will never be shorter."""
    requests = Requests(_unchecked(url="https://portal.clinic.example/a/{{ event.data.kit_code }}"))
    with pytest.raises(PermanentError, match=r"^url: it makes an address of more than 8000 characters"):
        requests.of(*sample("report-ready", kitCode="x" * 70_000))


def test_nothing_at_all_cannot_be_a_part_of_a_path():
    """`/orders//paid` is another address."""
    requests = Requests(_unchecked(url="https://portal.clinic.example/a/{{ event.data.previous_status }}/b"))
    with pytest.raises(PermanentError, match=r"^url: line 1"):
        requests.of(*sample("order-status-changed", previousStatus=None))


def test_in_a_query_nothing_is_an_empty_value():
    """There it means nothing else."""
    requests = Requests(_unchecked(url="https://portal.clinic.example/a?b={{ event.data.previous_status }}"))
    assert requests.of(*sample("order-status-changed", previousStatus=None)).url.endswith("/a?b=")


def _unchecked(**told):
    """Settings for events that are full of patients' values."""
    event_types = ["order-status-changed"] if "status" in told["url"] else ["report-ready"]
    try:
        return HttpSettings.model_validate({"personal": "full", **told}, context={"events": event_types})
    except ValidationError:  # the sample in which something is missing fails; that is what the test is about
        return HttpSettings.model_construct(personal=Personal.FULL, url=SecretStr(told["url"]))


# What a template cannot do


@pytest.mark.parametrize(
    "escape",
    [
        "''.__class__", "''['__class__']", "event.__class__.__mro__", "event.data.kit_code.__init__.__globals__",
        "event.keys.__self__", "event | attr('__class__')", "'{0.__class__}'.format(event)", "event.data.items",
        "'{x.__class__}'.format_map({'x': event})", "('%s' % event)", "'%c' % 65", "''.join(['a'])", "self",
        "self._TemplateReference__context",
        "cycler.__init__.__globals__.os", "lipsum.__globals__", "namespace()", "joiner()", "dict(a=1)", "loop",
        "range.__self__", "[].append(1)", "event.clear()", "event.data.update({'a': 1})", "event.pop('type')",
        "event.data.kit_code.encode()", "'a'.zfill(10 ** 9)", "'a'.ljust(1000000000)", "'a' | center(1000000000)",
        "'a' * 1000000000", "[1] * 1000000000", "2 ** 1000000", "range(1000000000) | list", "'a' | safe", "'a' | e",
        "'a' | xmlattr", "'%s' | format(1)", "[1] | random", "'x' | indent(1000000000)", "debug()", "_steps()",
        "event | tojson(indent=9)", "(1).to_bytes(1)", "event.timestamp.__reduce__()", "nothing", "event.nothing.more",
    ],
)  # fmt: skip
def test_a_template_does_not_get_out_of_its_sandbox(escape):
    """Nor fill the memory: it is refused when it is compiled, or fails when it is made."""
    began = time.process_time()
    found = fault(f"\n{{{{ {escape} }}}}", content_type="text/plain")
    assert found.line == 2
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    "statement",
    [
        "{% include 'x' %}", "{% import 'x' as x %}", "{% from 'x' import y %}", "{% extends 'x' %}",
        "{% macro m() %}{% endmacro %}", "{% call x() %}{% endcall %}", "{% filter upper %}x{% endfilter %}",
        "{% block b %}{% endblock %}", "{% set x %}y{% endset %}", "{% with %}{% endwith %}", "{% do 1 %}",
        "{% autoescape false %}{% endautoescape %}", "{% for x in [] recursive %}{% endfor %}", "{% debug %}",
        "{% trans %}{% endtrans %}", "{% set event.type = 1 %}", "{{ ( }}", "{% if %}", "{% for %}", "{{ 'x }}",
    ],
)  # fmt: skip
def test_a_statement_that_is_not_for_templates_is_refused_with_its_line(statement):
    """No file is read, and whatever is written means one thing."""
    assert fault(f"one\ntwo\n{statement}", content_type="text/plain").line == 3


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (
            "{% for a in range(99999) %}\n{% for b in range(99999) %}\n{% endfor %}{% endfor %}",
            "its loops and filters go round",
        ),
        ("{% for a in event.data.kit_code %}\n{% for b in range(99999) %}\n{% endfor %}{% endfor %}", "its loops and"),
        ("{% for a in range(99999) %}{{ event.data }}{% endfor %}", "it makes more than"),
        ("x" * 70_000, "expected at most 65536"),
        ("{{ " + "(" * 3000 + ")" * 3000 + " }}", "it cannot be compiled"),
    ],
)
def test_a_template_without_end_costs_little(source, reason):
    """At the start it runs in the bridge itself; an attempt has its time limit besides."""
    began = time.process_time()
    assert reason in fault(source, content_type="text/plain").reason
    assert time.process_time() - began < 5


def test_loops_are_counted_and_otherwise_as_ever():
    """`loop.last`, `else` and conditions work."""
    source = """[{% for each in event.data.sets if each.product != "x" %}{{ loop.index }}{{ "," if not loop.last }}
        {%- else %}0{% endfor %}]"""
    assert json.loads(made(source, "assignment-status-changed")) == [1, 2]
    assert json.loads(made(source, "assignment-status-changed", sets=[])) == [0]
    plain = Template("{% for x in range(100000) %}{% endfor %}.", escape=as_text)
    assert plain.render({}) == plain.render({}) == "."  # each render has all of its steps
    assert MOST_STEPS == 100_000


@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_is_jinjas(name):
    """A misspelt one would fail when the plugin is made."""
    Template(f"{{{{ event.type | {name} }}}}", escape=in_json)


def test_what_may_be_called_changes_nothing():
    """The sandbox would not know of all."""
    assert not set(METHODS) & {"format", "format_map", "update", "pop", "clear", "append", "ljust", "zfill", "join"}


# Mistakes


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('{\n"a": {{ event.data.nothing }}}', "line 2 of it: there is no nothing; there is kit_code, practice_id"),
        ('{\n"a": {{ event.data.glycan_age }}}', "line 2 of it: there is no glycan_age; there is kit_code"),
        ('{\n\n"a": {{ nothing }}}', "line 3 of it: 'nothing' is undefined"),
        ('{\n"a": {{ event.type }}}', "line 2 of it: a text stands outside quotes: write quotes around it, or tojson"),
        ('{"a": NaN}', "it makes no valid JSON"),
        ('{"a": 1}}', "it makes no valid JSON (line 1, column 9 of what it makes: Extra data)"),
        ("[" * 5000, "it makes no valid JSON"),
        ("{\n{% if %}", "line 2 of it: "),
    ],
)
def test_a_template_that_fails_for_a_sample_is_refused_at_start_with_its_line(body, told):
    """Before a patient's event is a dead letter."""
    with pytest.raises(ValidationError) as raised:
        HttpSettings.model_validate({"url": URL, "body": body}, context={"events": ["kit-received", "report-ready"]})
    (error,) = raised.value.errors()
    assert error["loc"] == ("body",)
    assert error["msg"].removeprefix("Value error, ").startswith(told)
    assert "{%" in body or "tried with a sample of kit-received at personal: none" in error["msg"]


def test_a_template_is_tried_with_every_event_type_that_the_destination_gets_and_no_other():
    """One that is for reports alone says so by the destination's `events`."""
    body = '{"report": "{{ event.data.created_on }}"}'
    assert HttpSettings.model_validate({"url": URL, "body": body}, context={"events": ["report-ready"]}).body == body
    for events in (KNOWN, ("kit-received",), ("report-ready", "order-status-changed")):
        with pytest.raises(
            ValidationError, match=r"there is no created_on; there is .* needs the destination's events"
        ):
            HttpSettings.model_validate({"url": URL, "body": body}, context={"events": events})
    asks = '{"at": "{% if event.type == "report-ready" %}{{ event.data.created_on }}{% endif %}"}'
    assert HttpSettings.model_validate({"url": URL, "body": asks}, context={"events": KNOWN})


def test_a_lanes_process_does_not_try_it_again():
    """There the bridge does not say which events the destination gets: it has looked already."""
    body = '{"report": "{{ event.data.created_on }}"}'
    assert HttpSettings.model_validate({"url": URL, "body": body}, context={"folder": Path()}).body == body
    with pytest.raises(ValidationError, match="line 1 of it: "):
        HttpSettings(url=URL, body="{{ ( }}")


def test_it_is_tried_with_what_may_be_missing_too():
    """An amount that is paid with tokens is none, and `none * 2` fails."""
    with pytest.raises(
        ValidationError, match=r"line 1 of it: . is for numbers(.|\n)*tried with a sample of order-status"
    ):
        HttpSettings.model_validate(
            {"url": URL, "body": '{"a": {{ event.data.amount * 2 }}}'}, context={"events": ["order-status-changed"]}
        )


def test_there_is_a_sample_of_every_event_type():
    """A type without one would not be tried."""
    assert {f"on_{each.replace('-', '_')}" for each in KNOWN} == {each for each in dir(Http) if each.startswith("on_")}
    assert [event.type for event, _ in samples([*KNOWN, "some-day"])] == [
        "order-status-changed", "order-status-changed", "assignment-status-changed", "assignment-status-changed",
        "kit-received", "report-ready", "delivery-dead", "delivery-dead",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('{"a":\n{{ event.data.glycan_age }}}', "body: line 2 of it: a text stands outside quotes"),
        ('{"a":\n{{ event.data.glycan_age | float }}}',
         "body: line 2 of it: what should be a number is none, and there is no default; "),
        ('{"a":{{ event.data.glycan_age | length }}\n{{ "}" if event.data.glycan_age == "45.2" }}',
         "body: it makes no valid JSON (line 2, column 1 of what it makes: "),
        ('{"a":\n{{ event.data.glycan_age | float(default=event.data.x) }}}',
         "body: line 2 of it: it names something that is not told of this event; "),
        ('{"a":\n"{{ event.data[event.data.glycan_age] or "" }}"}',
         "body: line 2 of it: it names something that is not told of this event; "),
    ],
)  # fmt: skip
def test_a_template_that_fails_for_an_event_is_a_dead_letter_that_names_the_line_and_no_value(body, told):
    """Jinja's own text would quote the patient's value."""
    settings = HttpSettings.model_construct(url=SecretStr(URL), body=body, personal=Personal.FULL)
    with pytest.raises(PermanentError) as raised:
        Requests(settings).of(*sample("report-ready", glycanAge="needle7Q"))
    assert str(raised.value).startswith(told)
    assert "look at it with the command preview" in str(raised.value)
    assert "needle7Q" not in f"{raised.value!r} {vars(raised.value)}"


def test_half_of_a_sign_is_a_fault_and_no_crash():
    """YAML can write one; UTF-8 cannot."""
    assert "half of a pair" in fault('{"a": "\ud800"}').reason


# The signature


def test_the_signature_is_standard_webhooks_own_vector():
    """Its specification's example."""
    key = key_of(SecretStr("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
    assert signed(
        [key], webhook_id="msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp=1614265330, body=b'{"test": 2432232314}'
    ) == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_each_secret_signs_and_the_time_is_the_attempts():
    """The far side takes either during a rotation, and may refuse what is old."""
    secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_" + "QUJD" * 10]
    now = iter([1_700_000_000.9, 1_700_000_005.0])
    requests = Requests(HttpSettings(url=URL, auth={"hmac": secrets}), now_s=lambda: next(now))
    first, second = (requests.of(*sample("kit-received")) for _ in range(2))
    assert first.headers["webhook-timestamp"] == "1700000000"
    assert second.headers["webhook-timestamp"] == "1700000005"
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == "sample:preview"
    expected = [signed([key_of(SecretStr(each))], webhook_id="sample:preview", timestamp=1_700_000_000,
                       body=first.body)["webhook-signature"] for each in secrets]  # fmt: skip
    assert first.headers["webhook-signature"] == " ".join(expected)
    assert expected[0] != expected[1]
    assert "authorization" not in {name.lower() for name in first.headers}


def test_an_age_is_text_for_a_template():
    """GlycanAge writes it so; whoever wants a number says so."""
    source = '{"a": "{{ event.data.glycan_age }}", "b": {{ event.data.glycan_age | float }}}'
    assert made(source) == '{"a": "45.2", "b": 45.2}'
    assert made("{{ event.data.glycan_age | float(none) }}", glycanAge="n/a") == "null"
    assert made("{{ event.data.chronological_age | int }}") == "42"


@pytest.mark.parametrize("age", ["45,2", "45.2", "n/a", ""])
def test_a_text_outside_quotes_is_no_json_whatever_is_in_it(age):
    """`45,2` would reach the far side as two results."""
    assert "a text stands outside quotes" in fault("[{{ event.data.glycan_age }}]", glycanAge=age).reason
    found = fault('{"a": "\\"", "b": {{ event.data.glycan_age }}}', glycanAge=age)
    assert "a text stands outside quotes" in found.reason
    assert json.loads(made('["\\\\", "\\"{{ event.data.glycan_age }}"]', glycanAge=age)) == ["\\", f'"{age}']


def test_a_time_outside_quotes_is_a_text_too():
    """In ISO 8601 it is no JSON."""
    assert "a text stands outside quotes" in fault("[{{ event.timestamp }}]").reason


def test_a_templates_own_letters_may_stand_outside_quotes():
    """The comma between the items of a list."""
    source = '[{% for each in [1, 2, 3] %}{{ each }}{{ "," if not loop.last else "" }}{% endfor %}{{ ", 4" }}]'
    assert json.loads(made(source)) == [1, 2, 3, 4]
    assert json.loads(made("""["{{ 'a"' if event.type else "b" }}"]""")) == ['a"']


def test_one_template_serves_many_threads_and_events():
    """Nothing of one event is left for the next."""
    plugin = Http(HttpSettings.model_validate({"url": URL, "body": '{"a": "{{ event.data.practice_id }}"}'}))
    bodies = [plugin._requests.of(*sample("kit-received", practiceId=f"p{number}")).body for number in range(3)]
    assert [json.loads(each)["a"] for each in bodies] == ["p0", "p1", "p2"]
