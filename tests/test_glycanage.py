"""The client of GlycanAge's API, over real sockets: its settings, its limits, and where credentials may go."""

from __future__ import annotations

import base64
import json
import re
import ssl
import threading
from contextlib import closing, contextmanager
from pathlib import Path
from time import monotonic

import pytest
import trustme
from glycanage_peers import AUTHORIZATION, EMAIL, TOKEN
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError
from ruamel.yaml import YAML

from glycanbridge.errors import GlycanAgeError
from glycanbridge.glycanage.addresses import joined, next_url, report_url
from glycanbridge.glycanage.api import Api
from glycanbridge.glycanage_settings import GlycanAgeSettings, ReportSettings
from glycanbridge.testing import Answer, Fault, HttpPeer

BASE = "https://api.glycanage.example/v1"
ODD_PATHS = [
    "//evil", "/\t/evil", "\n//evil", " //evil", "@evil.test", ".evil.test", "/../../admin", "/%2e%2e/", "/%2E%2E/a",
    "\\\\evil", "/\\evil", "/reports/..", "/reports/../x", "/.//x", "/reports//x", "/r\u2024\u2024/x", "/reports/x y",
    "", ":8080/x", "/reports/x@evil", "/r#x", "/\uff0e\uff0e/admin", "https://evil.example/x",
]  # fmt: skip


def settings(base_url: str, **more: object) -> GlycanAgeSettings:
    """Settings for an API at an address."""
    return GlycanAgeSettings.model_validate({"base_url": base_url, "email": EMAIL, "token": TOKEN} | more)


@contextmanager
def api_at(base_url: str, **more: object):
    """A client of an API at an address."""
    with closing(Api(settings(base_url, timeout_s=5, **more))) as api:
        yield api


@pytest.mark.parametrize("path", ODD_PATHS)
def test_a_report_is_asked_for_on_glycanages_host_or_not_at_all(path):
    """What an event names is somebody else's text, and health data and credentials travel by it."""
    with pytest.raises(ValueError, match=r"reportUrl|not GlycanAge's") as refused:
        report_url(BASE, path)

    assert path == "" or path not in str(refused.value)


@pytest.mark.parametrize("path", ["/reports/report_78901", "/reports/a.b~c-d_e", "/r/"])
def test_a_plain_path_stands_below_the_base(path):
    """Its own path included: /v1 is part of where the API is."""
    assert report_url(BASE, path) == joined(BASE, path) == f"{BASE}{path}"


@pytest.mark.parametrize("path", [each for each in ODD_PATHS if each != "https://evil.example/x"])
def test_what_we_ask_for_ourselves_is_held_to_the_same(path):
    """An id or a path from bridge.yaml must not climb out of the API either."""
    with pytest.raises(ValueError, match="not GlycanAge's"):
        joined(BASE, path)


@pytest.mark.parametrize(
    "told",
    [
        *ODD_PATHS[:6], "http://api.glycanage.example/v1/x", "https://api.glycanage.example:8443/v1/x", "https:/x",
        "https://evil.example/x", "https://api.glycanage.example@evil.example/", "https://u@api.glycanage.example/x",
        "https://api.glycanage.example.evil.example/", "https://api.glycanage.example\\@evil.example/", "https:x",
        "https://api.glycanage.example/../admin", "https://api.glycanage.example/%2e%2e/admin", "ftp://x/", "x", "",
        "https://\u212aapi.glycanage.example/", "HTTPS://api.glycan\u0430ge.example/x", "https://[::1", "https:///x",
        "https://api.glycanage.example:99999/x", "/a\u202eb",
    ],
)  # fmt: skip
def test_a_redirect_or_next_page_leads_to_the_same_scheme_host_and_port(told):
    """Credentials are sent with it."""
    with pytest.raises(ValueError, match="leads away"):
        next_url(BASE, told)


@pytest.mark.parametrize(
    ("base", "told", "url"),
    [
        (BASE, "/reports?page=2", "https://api.glycanage.example:443/reports?page=2"),
        (BASE, "https://api.glycanage.example/x", "https://api.glycanage.example/x"),
        (BASE, "https://API.glycanage.example:443/x", "https://API.glycanage.example:443/x"),
        ("http://[::1]:8080/v1", "/x", "http://[::1]:8080/x"),
    ],
)
def test_the_same_host_is_known_however_it_is_written(base, told, url):
    """A default port, capitals, brackets."""
    assert next_url(base, told) == url


@given(st.text(st.sampled_from("/.\\@:?#%2eEaA \t\n\uff0e"), max_size=12))
@example("/%2e./x")
def test_no_path_whatever_leaves_the_base(path):
    """The library takes out dots and decodes: what it would ask for is below the base, or nothing is asked."""
    try:
        url = joined(BASE, path)
    except ValueError:
        return
    assert url.startswith(f"{BASE}/")
    assert "/../" not in f"{url.lower().replace('%2e', '.')}/"


def test_credentials_go_to_glycanage_and_to_no_other_socket():
    """A redirect to another host, there and back, is refused before a byte is sent to it."""
    with HttpPeer() as evil, HttpPeer() as peer, api_at(peer.url) as api:
        evil.answer(lambda _: Answer.redirect(f"{peer.url}/reports/r1"))
        for told in (evil.url, f"//127.0.0.1:{evil.port}/", f"http://127.0.0.1:{peer.port}@127.0.0.1:{evil.port}/"):
            peer.answer(Answer.redirect(told))
            with pytest.raises(GlycanAgeError, match="answered 302: it leads away from"):
                api.file(f"{peer.url}/reports/r1", accept="application/pdf", largest_bytes=100)
            with pytest.raises(GlycanAgeError, match="answered 302: it sends us somewhere else"):
                api.call("GET", "/webhooks")
            with pytest.raises(GlycanAgeError, match="answered 302"):
                api.call("POST", "/webhooks", {"secret": "x"})

        assert evil.connections == 0
        assert {each.headers["Authorization"] for each in peer.requests} == {AUTHORIZATION}


def test_a_file_is_followed_on_the_same_host_and_not_for_ever():
    """GlycanAge may keep files elsewhere below its own roof."""
    with HttpPeer() as peer, api_at(f"{peer.url}/v1") as api:
        peer.answer(Answer.redirect("/files/1"), Answer(200, b"%PDF"))
        assert api.file(f"{peer.url}/v1/reports/r1", accept="application/pdf", largest_bytes=100).body == b"%PDF"
        peer.answer(Answer.redirect("/files/1"))
        with pytest.raises(GlycanAgeError, match="answered 302 more than 3 times"):
            api.file(f"{peer.url}/v1/reports/r1", accept="application/pdf", largest_bytes=100)

    assert len(peer.requests) == 2 + 4
    assert peer.requests[0].headers["Accept"] == "application/pdf"


def test_no_proxy_is_taken_from_the_environment(monkeypatch):
    """A variable that somebody set for a package manager must not see health data."""
    with HttpPeer(Answer(200, "[]")) as peer, HttpPeer(Answer(200, "[1]")) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        with api_at(peer.url) as api:
            assert (api.call("GET", "/webhooks"), proxy.connections) == ([], 0)


def test_this_machine_is_asked_without_the_proxy_of_the_settings():
    """A rehearsal's http went to the proxy in clear, with the account's credentials."""
    with HttpPeer(Answer(200, "[]")) as peer, HttpPeer(Answer(200, "[1]")) as proxy:
        for host in ("127.0.0.1", "localhost"):
            with api_at(peer.url.replace("127.0.0.1", host), proxy=proxy.url) as api:
                assert (api.call("GET", "/webhooks"), proxy.connections) == ([], 0)


def test_a_proxy_sees_no_credentials_but_its_own():
    """It is asked for a way through, and speaks of TLS's bytes only."""
    with HttpPeer(Answer(407)) as proxy, api_at(BASE, proxy=proxy.url.replace("//", "//user:word@")) as api:
        with pytest.raises(GlycanAgeError, match="the proxy does not let it through"):
            api.call("GET", "/webhooks")

        assert (proxy.requests[0].method, proxy.requests[0].path) == ("CONNECT", "api.glycanage.example:443")
        assert proxy.requests[0].headers["Authorization"] is None
        told = base64.b64encode(b"user:word").decode()
        assert proxy.requests[0].headers["Proxy-Authorization"] == f"Basic {told}"
        assert len(proxy.requests) == 1


def test_an_authoritys_own_file_makes_its_certificates_trusted(tmp_path):
    """A clinic's proxy may speak with one of its own."""
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with HttpPeer(Answer(200, "[]"), tls=tls) as peer:
        with api_at(peer.url, ca_file=tmp_path / "ca.pem") as api:
            assert api.call("GET", "/webhooks") == []
        with api_at(peer.url) as api, pytest.raises(GlycanAgeError, match="its certificate is not trusted"):
            api.call("GET", "/webhooks")
    assert len(peer.requests) == 1
    for text in ("no certificate", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"):
        (tmp_path / "ca.pem").write_text(text)
        with pytest.raises(GlycanAgeError, match=r"glycanage\.ca_file: "):
            Api(settings(BASE, ca_file=tmp_path / "ca.pem"))
    with pytest.raises(GlycanAgeError, match=r"glycanage\.ca_file: .*No such file"):
        Api(settings(BASE, ca_file=tmp_path / "none.pem"))
    for proxy in ("carrier-pigeon://x", "socks5://127.0.0.1:1080"):
        with pytest.raises(GlycanAgeError, match=r"glycanage\.proxy: expected"):
            Api(settings(BASE, proxy=proxy))


@pytest.mark.parametrize("answer", ["head", "body", "to its end", "tls"])
def test_the_time_is_one_for_the_whole_request(answer):
    """Each byte begins a library's limit anew: a slow far side would hold us for ever."""
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    raw = {"body": None, "tls": None, "head": b"HTTP/1.1 200 OK\r\n", "to its end": b"HTTP/1.0 200 OK\r\n\r\n["}[answer]
    drip = Fault.DRIP if raw is None else Answer(raw=raw, then=Fault.DRIP)
    with HttpPeer(drip, tls=tls if answer == "tls" else None) as peer, pytest.MonkeyPatch.context() as patch:
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        patch.setattr(ssl, "create_default_context", lambda **_: trusting)
        with closing(Api(settings(peer.url, timeout_s=0.3))) as api:
            began = monotonic()
            with pytest.raises(GlycanAgeError, match=r"no whole answer within 0\.3 s") as late:
                api.call("GET", "/webhooks")

    assert late.value.temporary
    assert monotonic() - began < 3
    assert not [each for each in threading.enumerate() if isinstance(each, threading.Timer)]


@pytest.mark.parametrize("body", [b"[" + b" " * 2000 + b"]", None])
def test_a_large_answer_is_refused_before_it_is_read_whole(body, monkeypatch):
    """Whether it tells its length or not."""
    monkeypatch.setattr("glycanbridge.glycanage.api.LARGEST_JSON_BYTES", 1000)
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"400\r\n" + b"x" * 1024 + b"\r\n"
    answer = Answer(200, body) if body else Answer(raw=raw * 1, then=Fault.HANG)
    with HttpPeer(answer) as peer, api_at(peer.url) as api, pytest.raises(GlycanAgeError, match="larger than 1,000"):
        api.call("GET", "/webhooks")


@pytest.mark.parametrize(
    "body",
    [b"[", b"\xff\xfe", b"[" * 100_000, b"<html>", b"1" * 5000, b'{"a": "\xff"}'],
    ids=["broken", "binary", "deep", "html", "long number", "no UTF-8"],
)
def test_what_is_no_json_is_a_line(body):
    """Whatever comes."""
    answer = Answer(200, body, {"Content-Type": "text/plain; charset=x"})
    with HttpPeer(answer) as peer, api_at(peer.url) as api, pytest.raises(GlycanAgeError) as told:
        api.call("GET", "/webhooks")
    assert "answered 200 with text/plain, not JSON" in str(told.value)
    assert len(str(told.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"message": "url is\nnot  reachable"}, "; it says: url is not reachable"),
        ({"error": {"message": "no"}}, "; it says: no"),
        ({"message": ["a", "b", 3]}, "; it says: a; b"),
        ({"detail": "\u202egnp\x1b[31m"}, "; it says: gnp [31m"),
        ({"message": "x" * 500}, "; it says: " + "x" * 200),
        ({"message": f"bad token {TOKEN}"}, ""),
        ({"message": f"bad token {TOKEN[:6]}..."}, ""),
        ({"message": "secret of-more-than-32 is short"}, ""),
        ({"message": f"not allowed: {AUTHORIZATION}"}, ""),
        ({"message": 7}, ""),
        (["message"], ""),
    ],
)
def test_an_answers_own_words_are_quoted_in_a_line_unless_they_tell_a_secret(body, said):
    """An API may well repeat what it was sent."""
    with HttpPeer(Answer(400, json.dumps(body))) as peer, api_at(peer.url) as api:
        with pytest.raises(GlycanAgeError) as told:
            api.call("POST", "/webhooks", {"secret": "a-secret-of-more-than-32-characters-x"})
        assert str(told.value) == f"POST {peer.url}/webhooks: answered 400: it does not take what was sent{said}"


def test_a_reports_error_tells_neither_its_address_nor_what_was_said():
    """Both may name a patient."""
    with (
        HttpPeer(Answer(404, '{"message": "patient_123"}')) as peer,
        api_at(peer.url) as api,
        pytest.raises(GlycanAgeError) as told,
    ):
        api.file(f"{peer.url}/reports/report_78901", accept="*/*", largest_bytes=900)
    assert str(told.value).startswith("the report: answered 404: ")
    assert "patient" not in str(told.value)
    assert "78901" not in str(told.value)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"base_url": "http://api.glycanage.example"}, "expected https://"),
        ({"base_url": "https://u:p@api.glycanage.example"}, "expected a whole address"),
        ({"base_url": "https://api.glycanage.example/../x"}, "expected a whole address"),
        ({"base_url": "https://api.glycanage.example:0"}, "port"),
        ({"base_url": "https://api.glycanage.example?x=1"}, "expected a whole address"),
        ({"token": "two\nlines"}, "expected a token of one line"),
        ({"token": ""}, "expected a token of one line"),
        ({"email": "lab:x@clinic.example"}, "pattern"),
        ({"events": []}, "at least 1"),
        ({"events": ["report-redy"]}, "report-ready"),
        ({"public_url": "javascript:x"}, "expected the receiver's address"),
        ({"reconcile_every_h": 1}, "needs report_list"),
        ({"report_list": {"path": "/../x"}}, "expected a path"),
    ],
)
def test_settings_that_could_not_work_are_refused(more, told):
    """At the start, and not at the first request."""
    with pytest.raises(ValidationError, match=told):
        settings(**({"base_url": BASE} | more))


def test_the_table_of_settings_is_what_there_is():
    """A setting that nobody is told of is none; those of reports and lists have pages of their own."""
    page = (Path(__file__).parent.parent / "docs" / "glycanage.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[a-z_`, ]+`) \| ([^|]*?) \|", page.split("## Register")[0], re.MULTILINE)
    told = {name: default for names, default in rows for name in re.findall(r"`([a-z_]+)`", names)}
    defaults = {name: field.get_default() for name, field in GlycanAgeSettings.model_fields.items()}

    assert {*told, "reports", "report_list", "columns", "reconcile_every_h"} == set(defaults)
    assert told["timeout_s"] == str(defaults["timeout_s"])
    assert told["webhook_name"] == f"`{defaults['webhook_name']}`"
    assert {name for name, default in told.items() if default == "required"} == {
        name for name, field in GlycanAgeSettings.model_fields.items() if field.is_required()
    }


def test_the_table_of_report_settings_is_what_there_is():
    """With its defaults as they are."""
    page = (Path(__file__).parent.parent / "docs" / "glycanage.md").read_text(encoding="utf-8")
    part = page.split("## Report files")[1].split("## ")[0]
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| `?([^|`]*?)`? \|", part, re.MULTILINE))

    defaults = {name: field.get_default() for name, field in ReportSettings.model_fields.items()}
    assert {name: text.replace(",", "") for name, text in rows.items()} == {
        name: str(default) for name, default in defaults.items()
    }


def test_what_the_page_writes_into_bridge_yaml_is_taken():
    """Each block by itself."""
    page = (Path(__file__).parent.parent / "docs" / "glycanage.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)

    told = [GlycanAgeSettings.model_validate(YAML(typ="safe").load(each)["glycanage"]) for each in blocks]
    assert len(told) == 3
    assert told[1].reports == ReportSettings()
    assert told[2].reconcile_every_h == 6


def test_a_slash_at_the_end_of_the_base_does_not_matter():
    """People copy it with and without."""
    assert settings(f"{BASE}/").base_url == BASE
