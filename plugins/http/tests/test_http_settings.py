"""The settings: where requests may go, what may stand in them, and how a mistake is told before there is an event."""

import json
import re
from pathlib import Path

import pytest
from glycanbridge_http import Http, HttpSettings
from glycanbridge_http.address import Address, ProxyAddress
from glycanbridge_http.samples import KNOWN
from glycanbridge_http.statuses import DEFAULTS, Meaning, Statuses
from pydantic import SecretStr, ValidationError

README = Path(__file__).parents[1] / "README.md"
HOST = "portal.clinic.example"
URL = f"https://{HOST}/hooks/zXcVbNeedle"
NO_IP = "10.0.0.256"
KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def settings(events=KNOWN, timeout_s=30, **told):
    """The settings as the bridge would check them."""
    context = {"timeout_s": timeout_s, "events": events, "folder": Path("/")}
    return HttpSettings.model_validate({"url": URL} | told, context=context)


def refused(**told):
    """What is said of settings that are refused: without any secret in it."""
    with pytest.raises(ValidationError) as raised:
        settings(**told)
    shown = str(raised.value)
    assert "needle" not in shown.lower()
    error, *more = raised.value.errors()
    assert [each for each in more if each["type"] != "too_short"] == []  # the list around it, as the bridge knows
    return ".".join(map(str, error["loc"])), error["msg"].removeprefix("Value error, ")


# Where requests go


@pytest.mark.parametrize(
    ("url", "place"),
    [
        (URL, HOST),
        (f"https://{HOST.upper()}:443", HOST),
        (f"https://{HOST}?api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sig=x_y-z~", HOST),
        (f"https://{HOST}:8443/a/b.c;d=1/@x?y=(z)", f"{HOST}:8443"),
        ("http://127.0.0.1:9/x", "127.0.0.1:9, NOT encrypted"),
        ("http://localhost/x", "localhost, NOT encrypted"),
        ("http://[::1]:9/x", "[::1]:9, NOT encrypted"),
    ],
)
def test_an_address_by_https_or_of_this_machine_is_taken_and_only_its_host_shown(url, place):
    """Whoever knows a webhook's path can send there."""
    assert Http(settings(url=url)).tells().startswith(f"POST requests to {place}: kind of event")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("", "expected a whole address"),
        (f"{HOST}/needle", "expected a whole address"),
        (f"ftp://{HOST}/needle", "expected a whole address"),
        (f" {URL}", "expected a whole address"),
        (f"https://needle@{HOST}/x", "expected a whole address"),
        (f"https://needle:word@{HOST}/x", "expected a whole address"),
        (f"https://evil.example\\@{HOST}/x", "expected a whole address"),
        (f"https://{HOST}:99999/x", "expected a whole address"),
        (f"https://{HOST}:0/x", "expected a whole address"),
        ("https://{{ event.type }}/needle", "expected a whole address"),
        (f"https://{HOST}{{{{ event.type }}}}/needle", "expected a whole address"),
        (f"https://{HOST}:{{{{ 443 }}}}/needle", "expected a whole address"),
        (f"http://{HOST}/needle", "expected https://"),
        ("http://127.0.0.1.evil.example/needle", "expected https://"),
        ("https://portal..clinic.example/needle", "expected a host's name"),
        (f"https://{'a' * 64}.example/needle", "expected a host's name"),
        ("https://a-.example/needle", "expected a host's name"),
        (f"https://{NO_IP}/needle", "expected a host, and this is no IP address"),
        ("https://[:::1]/needle", "expected a host, and this is no IP address"),
        ("https://[1:2]/needle", "expected a host, and this is no IP address"),
        (f"{URL}/{'x' * 8000}", "expected an address of at most 8000 characters"),
        (f"{URL}\n", "expected a path and a query"),
        (f"{URL}#x", "expected a path and a query"),
        (f"{URL}/a b", "expected a path and a query"),
        (f"{URL}/ž", "expected a path and a query"),
        (f"{URL}/%zz", "expected a path and a query"),
        (f"{URL}/{{% if 1 %}}x{{% endif %}}", "expected a path and a query"),
        (f"{URL}/{{# x #}}", "expected a path and a query"),
        (f"{URL}/{{{{ event.type", "expected a path and a query"),
        (f"{URL}/../x", "expected a path without . and .."),
        (f"{URL}/%2e%2E/x", "expected a path without . and .."),
        (f"{URL}/{{{{ event.data.nothing }}}}", "line 1 of it: there is no nothing; there is"),
        (f"{URL}/{{{{ event.data }}}}", "line 1 of it: expected one value, not several"),
        (f"{URL}/{{{{ event.type | nothing }}}}", "line 1 of it: No filter named 'nothing'"),
        (f"{URL}/{{{{ event.type.nothing() }}}}", "line 1 of it: this cannot be called"),
    ],
)
def test_any_other_address_is_refused_without_being_shown(url, expected):
    """No value of an event may stand before the path, and none that there never is anywhere."""
    loc, message = refused(url=url)
    assert loc == "url"
    assert message.startswith(expected)


@pytest.mark.parametrize(
    "proxy",
    [f"https://{HOST}:3128", "http://proxy", "127.0.0.1:3128", "http://a:needle@", "http://needle:b@c@d:1",
     "http://x:70000", "socks5://127.0.0.1:9"],
)  # fmt: skip
def test_a_proxy_that_could_not_be_used_as_it_is_written_is_refused_without_being_shown(proxy):
    """To one called https the password would go in clear all the same; one without a port would be asked at another."""
    loc, message = refused(proxy=proxy)
    assert loc == "proxy"
    assert message.startswith("expected http://HOST:PORT or ")


@pytest.mark.parametrize("proxy", ["http://proxy..clinic.example:3128", f"http://{NO_IP}:3128", "http://[1:2]:3128"])
def test_a_proxys_host_that_can_be_none_is_refused(proxy):
    """As one of `url` is."""
    loc, message = refused(proxy=proxy)
    assert loc == "proxy"
    assert message.startswith("expected a host")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9", "[::1]"])
def test_a_proxy_beside_an_address_without_tls_is_refused(host):
    """Through a proxy it would be the proxy's own machine, and all of it would cross the network in clear."""
    loc, message = refused(url=f"http://{host}/needle", proxy="http://127.0.0.1:3128")
    assert loc == "proxy"
    assert message == "expected none beside an http:// url: the proxy would get everything in clear"


# What may stand in a request


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"X-Key": "a\r\nX-Evil: needle"}, "one line of plain signs"),
        ({"X-Key": "a\nneedle"}, "one line of plain signs"),
        ({"X-Key": " needle"}, "one line of plain signs"),
        ({"X-Key": "needle "}, "one line of plain signs"),
        ({"X-Key": "needle\x00"}, "one line of plain signs"),
        ({"X-Key": "ž"}, "one line of plain signs"),
        ({"X-Key\r\nX-Evil": "x"}, "expected a header's name"),
        ({"X Key": "x"}, "expected a header's name"),
        ({"": "x"}, "expected a header's name"),
        *(({name: "x"}, "belongs to the connection") for name in
          ("Host", "content-length", "Transfer-Encoding", "Connection", "Keep-Alive", "TE", "Trailer", "Upgrade",
           "Expect", "Proxy-Authorization", "Proxy-Connection", "Accept-Encoding")),
        ({"content-type": "text/plain"}, "content_type sets this one"),
        ({"X-Key": "x", "x-key": "y"}, "each header once"),
        ({"Idempotency-key": "x"}, "expected no idempotency-key: the bridge sets it"),
    ],
)  # fmt: skip
def test_a_header_that_would_begin_another_or_frame_the_request_is_refused(headers, expected):
    """A line end in a value would be a header of somebody else's."""
    loc, message = refused(headers=headers)
    assert loc.partition(".")[0] == "headers"
    assert expected in message


@pytest.mark.parametrize(
    ("auth", "header"),
    [({"bearer": "x"}, "authorization"), ({"basic": {"user": "x", "password": "y"}}, "Authorization"),
     ({"hmac": [KEY]}, "Webhook-Signature")],
)  # fmt: skip
def test_who_the_bridge_is_is_told_once(auth, header):
    """Two such headers would be read in two ways."""
    assert refused(auth=auth, headers={header: "x"}) == (
        "headers", f"expected no {header.lower()}: the bridge sets it, by auth or idempotency_header"
    )  # fmt: skip
    assert settings(headers={header: "x"})
    assert refused(auth=auth, idempotency_header=header) == (
        "idempotency_header", "expected another header: auth sets this one"
    )  # fmt: skip
    assert settings(idempotency_header=header)


@pytest.mark.parametrize(
    ("auth", "loc", "expected"),
    [
        ({}, "auth", "expected exactly one of basic, bearer and hmac"),
        ({"bearer": "x", "hmac": [KEY]}, "auth", "expected exactly one of basic, bearer and hmac"),
        ({"bearer": "a needle"}, "auth.bearer", "expected a token without spaces"),
        ({"basic": {"user": "a:needle", "password": "x"}}, "auth.basic.user", "without a colon"),
        ({"basic": {"user": "a", "password": ""}}, "auth.basic.password", "at least 1 item"),
        ({"hmac": []}, "auth.hmac", "at least 1 item"),
        ({"hmac": ["needle"]}, "auth.hmac.0", "expected whsec_ and then 24 to 64 random bytes in base64"),
        ({"hmac": ["whsec_needle!"]}, "auth.hmac.0", "expected whsec_ and then"),
        ({"hmac": ["whsec_c2hvcnQ="]}, "auth.hmac.0", "expected whsec_ and then"),
    ],
)
def test_the_bridge_shows_who_it_is_in_one_way(auth, loc, expected):
    """And a secret that is none is told before the far side refuses it."""
    at, message = refused(auth=auth)
    assert at == loc
    assert expected in message


@pytest.mark.parametrize(
    ("wrong", "loc", "expected"),
    [
        ({"method": "GET"}, "method", "'POST', 'PUT' or 'PATCH'"),
        ({"content_type": "json"}, "content_type", "expected a media type"),
        ({"content_type": "text/plain\r\nX-Evil: 1"}, "content_type", "expected a media type"),
        ({"content_type": "text/plain; charset=latin-1"}, "content_type", "expected charset=utf-8"),
        ({"content_type": "text/plain; charset=utf-8; charset=latin-1"}, "content_type", "expected charset=utf-8"),
        ({"content_type": "text/plain; charset=utf-8-sig"}, "content_type", "expected charset=utf-8"),
        ({"as_signed": True}, "as_signed", "expected personal: full beside it"),
        ({"as_signed": True, "personal": "full", "body": "x", "content_type": "text/plain"}, "as_signed", "not both"),
        ({"idempotency_header": "a b"}, "idempotency_header", "expected a header's name"),
        ({"receipt": "a b"}, "receipt", "expected a place in a JSON answer"),
        ({"receipt": "/a~2"}, "receipt", "expected a place in a JSON answer"),
        ({"check_url": "https://evil.example/x"}, "check_url", "expected an address at the same host as url"),
        ({"check_url": f"https://{HOST}:444/x"}, "check_url", "expected an address at the same host as url"),
        ({"check_url": f"https://{HOST}/{{{{ event.type }}}}"}, "check_url", "without values of an event"),
        ({"ca_file": "missing.pem"}, "ca_file", "expected a file of certificates in PEM: No such file"),
        ({"ca_file": __file__}, "ca_file", "expected a file of certificates in PEM"),
        ({"connect_timeout_s": 15, "read_timeout_s": 15}, "", "to be less together than the destination's timeout_s"),
        ({"read_timeout_s": 30}, "read_timeout_s", "expected less than the destination's timeout_s, 30"),
        ({"personal": "some"}, "personal", "'none', 'ids' or 'full'"),
        ({"urll": "x"}, "urll", "Extra inputs"),
    ],
)
def test_a_setting_that_cannot_work_is_told_at_start_with_what_to_write(wrong, loc, expected):
    """Not at the first event, when it would wait."""
    at, message = refused(**wrong)
    assert at == loc
    assert expected in message


@pytest.mark.parametrize(
    "parameters", ["", "; charset=utf-8", ';charset="UTF-8"', "; x-charset=latin-1; charset=utf-8"]
)
def test_the_charset_that_the_body_has_is_taken_however_it_is_written(parameters):
    """A parameter of another name says nothing of it."""
    assert settings(content_type=f"text/plain{parameters}")


# What a status means


@pytest.mark.parametrize(
    ("wrong", "loc", "expected"),
    [
        ({"success": [200], "temporary": ["200"]}, "temporary", "200 stands in success already"),
        ({"destination": ["5XX"], "permanent": ["5xx"]}, "permanent", "5xx stands in destination already"),
        ({"success": ["6xx"]}, "success.0", "expected a status such as 409, or a range such as 5xx"),
        ({"success": ["x"]}, "success.0", "expected a status such as 409, or a range such as 5xx"),
        ({"success": [99]}, "success.0", "expected a status such as 409, or a range such as 5xx"),
        ({"success": [1200]}, "success.0", "expected a status such as 409, or a range such as 5xx"),
        ({"success": ["²00"]}, "success.0", "expected a status such as 409, or a range such as 5xx"),
    ],
)
def test_a_status_has_one_meaning(wrong, loc, expected):
    """And is one."""
    at, message = refused(**wrong)
    assert at.startswith(loc)
    assert expected in message


def test_every_status_means_what_the_readme_says_unless_it_is_overruled():
    """Row by row of its table; what nobody knows stops the destination and loses nothing."""
    plain = Statuses({})
    rows = re.findall(r"^\| (?:an answer |any other |too many requests: )?([0-9x, ]+?)(?:, such as [^|]*)? \| (\w+) \|",
                      README.read_text(encoding="utf-8"), re.MULTILINE)  # fmt: skip
    told = {each: kind for listed, kind in rows for each in listed.split(", ")}
    assert set(told) | {"3xx"} == {each for listed in DEFAULTS.values() for each in listed}
    for name, kind in told.items():
        statuses = [int(name)] if name.isdecimal() else range(int(name[0]) * 100, int(name[0]) * 100 + 100)
        found = {plain[each] for each in statuses if name == str(each) or str(each) not in told}
        assert found == {Meaning.SUCCESS if kind == "delivered" else Meaning(kind)}
    assert {plain[each] for each in (100, 199, 301, 399, 600, 999)} == {Meaning.DESTINATION}


def test_the_operators_lists_come_before_the_table_and_a_status_before_its_range():
    """`success: [409]` is enough for a service whose 409 means that it has the event."""
    ours = settings(success=[409], temporary=["4xx"], permanent=[500], destination=["2XX"])
    statuses = Statuses({each: getattr(ours, each) for each in Meaning})
    found = {status: statuses[status] for status in (409, 404, 429, 500, 503, 200, 204, 301)}
    assert found == {
        409: "success", 404: "temporary", 429: "temporary", 500: "permanent", 503: "temporary", 200: "destination",
        204: "destination", 301: "destination",
    }  # fmt: skip


# What the settings show


def test_the_settings_show_no_secret():
    """Not in a representation or a dump, nor their parts."""
    ours = settings(
        headers={"X-Key": "needle1"}, auth={"basic": {"user": "a", "password": "needle2"}}, check_url=f"{URL}/needle3",
        proxy="http://a:needle4@127.0.0.1:1",
    )  # fmt: skip
    assert "needle" not in repr(settings(body='{"token": "needle5"}'))
    plugin = Http(ours)
    parts = Address.of(ours.url), ProxyAddress.of(ours.proxy)
    shown = f"{ours!r} {ours} {ours.model_dump()} {ours.model_dump_json()} {parts} {parts[0]} {parts[1]} {vars(plugin)}"
    assert "needle" not in (shown + plugin.tells()).lower()
    assert " through the proxy 127.0.0.1:1: " in plugin.tells()


@pytest.mark.parametrize(
    ("told", "leaves"),
    [
        ({}, "of a patient at most the last four letters of the kit code"),
        ({"personal": "ids"}, "at most a patient's ids and kit codes, no ages"),
        ({"personal": "full"}, "at most a patient's ids, kit codes and ages"),
        (
            {"personal": "full", "as_signed": True, "method": "PUT"},
            "the event as GlycanAge signed it, with a patient's",
        ),
    ],
)
def test_what_leaves_is_told_in_a_line(told, leaves):
    """For whoever answers for it, in `check`."""
    line = Http(settings(**told)).tells()
    assert leaves in line
    assert line.startswith(f"{told.get('method', 'POST')} requests to {HOST}: ")
    assert "\n" not in line


def test_the_settings_in_the_readme_are_those_of_the_plugin():
    """Each with what it needs and its default."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (\w+) \| (.*?) ?\| ", README.read_text(encoding="utf-8"), re.MULTILINE)
    schema = HttpSettings.model_json_schema()
    secrets = {"auth", "headers"}
    for (name, required, secret, default), (field, each) in zip(rows, HttpSettings.model_fields.items(), strict=True):
        is_secret = "password" in json.dumps(schema["properties"][name]) or name in secrets
        assert (name, required, secret) == (
            field, "yes" if each.is_required() else "no", "yes" if is_secret else "no"
        )  # fmt: skip
        plain = each.is_required() or each.default in (None, ()) or each.default == {}
        assert default == ("" if plain else f"`{each.default}`")
        assert len(schema["properties"][name]["description"]) > 15


def test_an_address_without_a_path_is_asked_for_its_root():
    """As every client does."""
    assert Address.of(SecretStr(f"https://{HOST}")).url({}) == f"https://{HOST}/"
    assert Address.of(SecretStr(f"https://{HOST}?x=1")).url({}) == f"https://{HOST}/?x=1"
