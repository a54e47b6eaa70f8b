"""SMART Backend Services against SEKMET's token endpoint, and against one that does what real ones seldom do."""

import logging
import socket
import ssl
import subprocess
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trustme
from fhir_front import answers, half, held, lost, reset
from filelock import FileLock
from glycanbridge_ehr.smart_answers import TokenAnswer
from sekmet.auth.keys import public_jwk
from serving import until
from smart_site import CLIENT_ID, DISCOVERY, KEYS, Clock, Site, lane, pem, settings_of

from glycanbridge import DestinationError, TemporaryError

SCOPE = "system/*.cruds"


@pytest.fixture
def clock():
    """A clock to turn by hand."""
    return Clock()


@pytest.fixture
def site(clock):
    """A server by hand."""
    site = Site(clock=clock)
    yield site
    site.front.close()


@pytest.fixture
def state(tmp_path):
    """What all lanes share."""
    return tmp_path / "state"


@pytest.fixture
def open_lane(site, state, tmp_path, clock):
    """Opens lanes of the site; all of them are closed at the end."""
    opened = []

    def open_it(**more):
        each = lane(
            settings_of(tmp_path, **more), fhir_url=site.fhir_url, state=state, clock=clock, steady=clock.steady
        )
        opened.append(each)
        return each.__enter__()

    yield open_it
    for each in opened:
        each.__exit__(None, None, None)


def get(client, site):
    """Ask the site for something as the FHIR way does."""
    return client.get(f"{site.fhir_url}/Patient/1")


@pytest.mark.parametrize("algorithm", list(KEYS))
def test_a_real_token_endpoint_takes_either_kind_of_key(sekmet, state, tmp_path, algorithm):
    """SEKMET holds to the rules: five minutes, a `jti` once. One token serves several writes."""
    key = KEYS[algorithm]
    registered = {"client_id": CLIENT_ID, "jwks": {"keys": [public_jwk(key)]}, "scopes": SCOPE}
    sekmet.let_in("smart", smart_clients=[registered], token_lifetime=300)

    with lane(settings_of(tmp_path, key, scope=SCOPE), fhir_url=sekmet.url, state=state) as client:
        made = [client.post(f"{sekmet.url}/Patient", json={"resourceType": "Patient"}) for _ in range(2)]
        found = client.auth.check()

    assert [each.status_code for each in made] == [201, 201]
    assert len(sekmet.front.asked("POST", "/auth/token")) == 2  # the second is check's
    assert len(sekmet.front.asked("GET", DISCOVERY)) == 1
    assert f"for the key {public_jwk(key)['kid']} ({algorithm}), used for 270 s each" in found
    assert found.startswith(f"token endpoint 127.0.0.1:{sekmet.front.port} gives tokens")


def test_a_real_server_whose_tokens_are_dead_at_birth_ends_in_a_refusal(sekmet, state, tmp_path):
    """One new token and one more request, and then its 401 is the caller's to tell."""
    registered = {"client_id": CLIENT_ID, "jwks": {"keys": [public_jwk(KEYS["ES384"])]}, "scopes": SCOPE}
    sekmet.let_in("smart", smart_clients=[registered], token_lifetime=-60)

    with lane(settings_of(tmp_path, scope=SCOPE), fhir_url=sekmet.url, state=state) as client:
        answer = client.post(f"{sekmet.url}/Patient", json={"resourceType": "Patient"})

    assert answer.status_code == 401
    assert len(sekmet.front.asked("POST", "/auth/token")) == 2
    assert len(sekmet.front.asked("POST", "/Patient")) == 2


def test_a_real_server_refuses_a_scope_and_a_client_that_it_does_not_know(sekmet, state, tmp_path):
    """The text says which setting to look at."""
    registered = {"client_id": CLIENT_ID, "jwks": {"keys": [public_jwk(KEYS["ES384"])]}, "scopes": "system/Patient.rs"}
    sekmet.let_in("smart", smart_clients=[registered])

    for more, text in (({"scope": "system/Device.c"}, "invalid_scope; see scope"),
                       ({"client_id": "nobody"}, "invalid_client; see client_id")):  # fmt: skip
        with (
            lane(settings_of(tmp_path, **more), fhir_url=sekmet.url, state=state) as client,
            pytest.raises(DestinationError, match=text),
        ):
            client.get(f"{sekmet.url}/Patient/1")


def test_what_is_asked_is_what_smart_asks_for(site, open_lane, clock):
    """The form, and an assertion that lives for less than four minutes and is new each time."""
    client = open_lane(scope="system/Patient.rs system/Observation.crus")
    for _ in range(2):
        get(client, site)
        clock.turn(300)
    get(client, site)

    form, claims = site.forms[0], site.assertions[0]
    assert form.pop("client_assertion")
    assert form == {
        "grant_type": "client_credentials",
        "scope": "system/Patient.rs system/Observation.crus",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    }
    assert claims | {"jti": ""} == {"iss": CLIENT_ID, "sub": CLIENT_ID, "aud": site.token_url, "jti": "",
                                    "exp": 1_790_000_000 + 180}  # fmt: skip
    assert len({each["jti"] for each in site.assertions}) == 3
    (request, *_) = site.front.asked("POST", "/token")
    assert request.headers["accept"] == "application/json"
    assert "authorization" not in request.headers


def test_eight_threads_fetch_one_token(site, open_lane):
    """However busy the destination is when it begins."""
    client = open_lane()
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: get(client, site).status_code, range(16)))

    assert found == [200] * 16
    assert site.given == ["secret-1"]


def test_eight_processes_fetch_one_token(site, state, tmp_path):
    """Lanes are processes: a clinic's EHR that allows 200 tokens an hour does not feel how many there are."""
    site._clock = __import__("time").time
    settings_of(tmp_path)
    program = [sys.executable, str(Path(__file__).with_name("smart_lane.py"))]
    command = [*program, str(tmp_path / "key.pem"), site.fhir_url, str(state)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    lanes = [subprocess.Popen(command, **pipes) for _ in range(8)]
    assert [each.stdout.readline() for each in lanes] == ["ready\n"] * 8
    for each in lanes:
        each.stdin.write("go\n")
        each.stdin.flush()

    assert [each.communicate()[0] for each in lanes] == ["200\n"] * 8
    assert site.given == ["secret-1"]


def test_a_stale_token_is_replaced_once_and_the_same_request_sent_again(site, open_lane):
    """The server forgot its tokens: nobody at the clinic hears of it."""
    client = open_lane()
    get(client, site)
    site.revoke()
    answer = client.post(site.fhir_url, content=b'{"resourceType": "Bundle"}')

    assert (answer.status_code, site.given) == (200, ["secret-1", "secret-2"])
    sent = site.front.asked("POST", "/fhir")
    assert [each.body for each in sent] == [b'{"resourceType": "Bundle"}'] * 2
    assert [each.headers["authorization"] for each in sent] == ["Bearer secret-1", "Bearer secret-2"]


def test_two_lanes_that_are_refused_at_once_fetch_one_token(site, open_lane):
    """Nor is a good new token thrown away by the lane that comes second."""
    lanes = [open_lane(), open_lane()]
    for each in lanes:
        get(each, site)
    site.revoke()
    together = threading.Barrier(2)

    def refuse(request, ask):
        answer = ask(request)
        together.wait(20)
        return answer

    site.front.will(refuse, times=2, path="/Patient")
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda each: get(each, site).status_code, lanes))

    assert (found, site.given) == ([200, 200], ["secret-1", "secret-2"])


def test_a_refused_token_is_nobodys_even_if_there_is_no_new_one(site, open_lane, state):
    """A lane that starts while the endpoint is away does not try the dead one first."""
    client = open_lane()
    get(client, site)
    site.revoke()
    site.front.will(answers(503), path="/token")
    with pytest.raises(TemporaryError):
        get(client, site)

    assert get(open_lane(), site).status_code == 200
    used = [each.headers["authorization"] for each in site.front.asked("GET", "/Patient")]
    assert used == ["Bearer secret-1", "Bearer secret-1", "Bearer secret-2"]


def test_a_streamed_answer_is_replaced_as_well(site, open_lane):
    """Large answers are read piece by piece; the refusal before must not stand in the way."""
    client = open_lane()
    get(client, site)
    site.revoke()
    with client.stream("GET", f"{site.fhir_url}/metadata") as response:
        assert (response.status_code, b"".join(response.iter_bytes())) == (200, b'{"resourceType": "Bundle"}')


def test_a_token_goes_to_its_server_alone(site, open_lane):
    """Whatever address an answer may have named."""
    client = open_lane()
    get(client, site)
    other = Site()
    try:
        assert get(client, other).status_code == 401
        assert [each.headers.get("authorization") for each in other.front.received] == [None]
    finally:
        other.front.close()


def test_a_wrong_key_stops_the_destination_until_it_is_mended(site, open_lane, tmp_path):
    """The key's file is read anew, so that nobody has to restart the bridge."""
    client = open_lane()
    (tmp_path / "key.pem").write_bytes(pem(KEYS["RS384"]))
    with pytest.raises(DestinationError, match="HTTP 401 invalid_client; see client_id and kid"):
        get(client, site)
    (tmp_path / "key.pem").write_bytes(pem(KEYS["ES384"]))

    assert get(client, site).status_code == 200


def test_where_tokens_are_given_is_asked_once_and_again_after_a_failure(site, open_lane, clock):
    """An EHR that moves its token endpoint is followed."""
    client = open_lane()
    for _ in range(2):
        get(client, site)
        clock.turn(300)
    assert len(site.front.asked("GET", DISCOVERY)) == 1

    for number, fault in enumerate((answers(404), reset), 2):
        site.front.will(fault, path="/token")
        with pytest.raises((DestinationError, TemporaryError)):
            get(client, site)
        assert get(client, site).status_code == 200
        assert len(site.front.asked("GET", DISCOVERY)) == number
        clock.turn(300)


def test_a_token_url_in_the_settings_needs_no_discovery(site, open_lane):
    """For servers that do not tell."""
    assert get(open_lane(token_url=site.token_url), site).status_code == 200
    assert site.front.asked("GET", DISCOVERY) == []


WELL = {"access_token": "t", "token_type": "bearer"}
DATE = "Wed, 21 Oct 2026 07:28:00 GMT"
ROWS = {
    "wrong client": (
        answers(401, {"error": "invalid_client"}),
        DestinationError,
        300,
        "HTTP 401 invalid_client; see cl",
    ),
    "wrong scope": (
        answers(400, {"error": "invalid_scope"}),
        DestinationError,
        300,
        "HTTP 400 invalid_scope; see scope",
    ),
    "no right": (answers(403), DestinationError, 300, "HTTP 403; see token_url, client_id and what"),
    "an unknown code": (answers(400, {"error": "patient_123"}), DestinationError, 300, "HTTP 400; see"),
    "another place": (answers(404, "<html>"), DestinationError, 300, "HTTP 404; see token_url"),
    "a pointer": (answers(302, location="http://127.0.0.1:9/"), DestinationError, 300, "HTTP 302; it points elsewhere"),
    "too many": (answers(429), DestinationError, 60, "HTTP 429; it has had too many"),
    "too many, in seconds": (answers(429, retry_after="17"), DestinationError, "17", "HTTP 429"),
    "too many, as a date": (answers(429, retry_after=DATE), DestinationError, DATE, "HTTP 429"),
    "too many, nonsense": (answers(429, retry_after="soon"), DestinationError, 60, "HTTP 429"),
    "broken": (answers(500), TemporaryError, 5, "HTTP 500; it cannot answer now"),
    "away": (answers(503, retry_after="20"), TemporaryError, "20", "HTTP 503"),
    "away, politely": (answers(400, {"error": "temporarily_unavailable"}), TemporaryError, 5, "HTTP 400 temporarily_"),
    "slow": (answers(408), TemporaryError, 5, "HTTP 408"),
    "no JSON": (answers(200, "<html>"), DestinationError, 300, "HTTP 200 without a token; see that token_url"),
    "no token": (answers(200, {"token_type": "bearer"}), DestinationError, 300, "HTTP 200 without a token"),
    "no text": (answers(200, WELL | {"access_token": 7}), DestinationError, 300, "without a token"),
    "two lines": (answers(200, WELL | {"access_token": "a\r\nb"}), DestinationError, 300, "without a token"),
    "a list": (answers(200, [WELL]), DestinationError, 300, "without a token"),
    "another kind": (answers(200, WELL | {"token_type": "mac"}), DestinationError, 300, "is no bearer token"),
    "too large": (answers(200, "x" * 300_000), DestinationError, 300, "more than 256 kB"),
    "reset": (reset, TemporaryError, 5, r"not reached, or no whole answer \(\w+\)"),
    "answer lost": (lost, TemporaryError, 5, "not reached, or no whole answer"),
    "half an answer": (half, TemporaryError, 5, r"no whole answer \(RemoteProtocolError\)"),
}


@pytest.mark.parametrize("row", ROWS)
def test_every_failure_of_the_token_endpoint_has_its_kind(site, open_lane, row):
    """And none is for ever: the next request gets its token."""
    fault, kind, retry_after_s, text = ROWS[row]
    client = open_lane()
    site.front.will(fault, path="/token")
    with pytest.raises(
        (DestinationError, TemporaryError), match=f"^token endpoint 127.0.0.1:{site.front.port}: .*{text}"
    ) as told:
        get(client, site)

    assert type(told.value) is kind
    assert told.value.retry_after_s == retry_after_s
    assert "patient_123" not in str(told.value)
    assert get(client, site).status_code == 200
    assert site.front.asked("GET", "/Patient/1")[0].headers["authorization"] == f"Bearer {site.given[-1]}"


DISCOVERIES = {
    "none": (answers(404), DestinationError, "HTTP 404; it says of no token endpoint: set token_url"),
    "broken": (answers(502, retry_after="7"), TemporaryError, "HTTP 502; it cannot answer now"),
    "elsewhere": (answers(301, location="/x"), DestinationError, "HTTP 301; it points elsewhere"),
    "no JSON": (answers(200, "<html>"), DestinationError, "no token_endpoint with https in it; set token_url"),
    "nothing of it": (answers(200, {}), DestinationError, "no token_endpoint with https"),
    "in the clear": (
        answers(200, {"token_endpoint": "http://ehr.example/t"}),
        DestinationError,
        "no token_endpoint with",
    ),
    "no text": (answers(200, {"token_endpoint": 1}), DestinationError, "no token_endpoint with https"),
    "no host": (answers(200, {"token_endpoint": "https:///t"}), DestinationError, "no token_endpoint with https"),
    "no address": (
        answers(200, {"token_endpoint": "https://[::1/t"}),
        DestinationError,
        "no token_endpoint with https",
    ),
    "no port": (answers(200, {"token_endpoint": "https://a:b/t"}), DestinationError, "no address; see token_url"),
    "reset": (reset, TemporaryError, "not reached, or no whole answer"),
}


@pytest.mark.parametrize("row", DISCOVERIES)
def test_every_failure_of_the_smart_configuration_has_its_kind(site, open_lane, row):
    """A key's signature is never sent in the clear, whatever the server says."""
    fault, kind, text = DISCOVERIES[row]
    client = open_lane()
    site.front.will(fault, path=DISCOVERY)
    with pytest.raises((DestinationError, TemporaryError), match=f": .*{text}") as told:
        get(client, site)

    assert type(told.value) is kind
    assert get(client, site).status_code == 200


def test_a_clock_that_is_wrong_is_told(site, open_lane):
    """Nobody would think of it: the refusal says only invalid_client."""
    client = open_lane()
    for time_there, text in (
        ("14:03:20", "; this machine's clock is 600 s ahead of the EHR's$"),
        ("14:23:20", "; this machine's clock is 600 s behind the EHR's$"),
        ("14:13:20", "half of the key$"),
        ("today", "half of the key$"),
    ):
        told = answers(401, {"error": "invalid_client"}, date=f"Mon, 21 Sep 2026 {time_there} GMT")
        site.front.will(told, path="/token")
        with pytest.raises(DestinationError, match=text):
            get(client, site)


def test_an_endpoint_that_does_not_answer_is_left_in_time(site, open_lane):
    """Within what an attempt has; and no quick try comes after it."""
    go, limits = threading.Event(), []
    for path, who, more in (
        (DISCOVERY, "SMART configuration of", {}),
        ("/token", "token endpoint", {"token_url": site.token_url}),
    ):
        client = open_lane(timeout_s=0.5, **more)
        client.event_hooks["request"] = [lambda request: limits.append(request.extensions["timeout"])]
        site.front.will(held(go), path=path)
        with pytest.raises(TemporaryError, match=rf"{who} .*: .*\(ReadTimeout\)") as told:
            get(client, site)
        assert told.value.retry_after_s == 5
    go.set()
    assert [(each["connect"], each["read"]) for each in limits] == [(0.25, 0.5)] * 2
    with pytest.raises(TemporaryError, match="no time is left"):
        client.auth._endpoint.fetch(client.auth._steady())


def test_an_answer_that_does_not_end_is_left_in_time(site, open_lane, clock):
    """A byte now and then is no answer either."""
    client = open_lane()

    def slow(request, ask):
        answer = ask(request)
        clock.turn(11)
        return answer

    site.front.will(slow, path=DISCOVERY)
    with pytest.raises(TemporaryError, match="its answer does not end") as told:
        get(client, site)
    assert told.value.retry_after_s == 5


def test_an_endpoint_that_is_not_there_is_temporary(site, open_lane):
    """Nobody listens."""
    client = open_lane(token_url="http://127.0.0.1:9/token")
    with pytest.raises(TemporaryError, match=r"token endpoint 127.0.0.1:9: not reached, .* \(ConnectError\)"):
        get(client, site)


def test_a_certificate_that_is_not_trusted_stops_the_destination(state, tmp_path):
    """A person must look at it; what was signed was not sent."""
    ca, trusting = trustme.CA(), ssl.create_default_context()
    ca.configure_trust(trusting)
    for name, verify, text in (
        ("127.0.0.1", True, "unable to get local issuer certificate"),
        ("other.example", trusting, "IP address mismatch"),
        ("127.0.0.1", trusting, None),
    ):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert(name).configure_cert(context)
        site = Site(tls=context)
        with lane(settings_of(tmp_path), fhir_url=site.fhir_url, state=state, verify=verify) as client:
            if text is None:
                assert get(client, site).status_code == 200
            else:
                with pytest.raises(DestinationError, match=rf"its certificate is not trusted \(.*{text}"):
                    get(client, site)
                assert site.front.received == []
        site.front.close()


def test_a_proxy_that_refuses_stops_the_destination(site, state, tmp_path):
    """Somebody must give the bridge its leave."""
    settings = settings_of(tmp_path, token_url=site.token_url.replace("http:", "https:"))
    with (
        lane(settings, fhir_url=site.fhir_url, state=state, proxy=site.front.url) as client,
        pytest.raises(DestinationError, match="the proxy does not let the bridge through; see proxy"),
    ):
        get(client, site)


def test_an_endpoint_that_goes_away_while_tls_begins_is_temporary(site, open_lane):
    """Nothing is wrong with its certificate: it was restarted, say."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        here = f"127.0.0.1:{listening.getsockname()[1]}"

        def hang_up():
            connection, _ = listening.accept()
            connection.recv(1 << 16)
            connection.close()

        hanging_up = threading.Thread(target=hang_up)
        hanging_up.start()
        with pytest.raises(TemporaryError, match="not reached, or no whole answer"):
            get(open_lane(token_url=f"https://{here}/token"), site)
        hanging_up.join()


def test_an_endpoint_that_speaks_no_tls_stops_the_destination(site, open_lane):
    """An address with a wrong port."""
    with pytest.raises(DestinationError, match="no TLS with it"):
        get(open_lane(token_url=site.token_url.replace("http:", "https:")), site)


def test_lanes_that_wait_too_long_for_another_try_later(site, open_lane, state):
    """A lane that hangs holds up the others for a while, never for ever."""
    client = open_lane()
    get(client, site)
    client.auth._token._wait_s = 0.1
    (kept,) = state.glob("token-*.json")
    kept.unlink()
    site.revoke()
    with FileLock(kept.with_suffix(".lock")), pytest.raises(TemporaryError, match="another lane") as told:
        get(client, site)
    assert told.value.retry_after_s == 5

    go = threading.Event()
    site.front.will(held(go), path="/token")
    patient = open_lane(timeout_s=20)
    impatient = threading.Thread(target=get, args=(patient, site))
    impatient.start()
    until(lambda: len(site.front.asked("POST", "/token")) == 2)
    patient.auth._token._wait_s = 0.1
    with pytest.raises(TemporaryError, match="another lane"):
        get(patient, site)
    go.set()
    impatient.join()


def test_check_says_what_the_token_does_not_allow(site, open_lane):
    """Before the first result is refused for it."""
    site.told["scope"] = "system/Patient.rs"
    client = open_lane(kid="clinic-1", scope="system/Patient.rs system/Observation.crus")

    assert client.auth.check() == (
        f"token endpoint 127.0.0.1:{site.front.port} gives tokens for the key clinic-1 (ES384), used for 270 s each"
        ", but without system/Observation.crus"
    )
    get(client, site)
    assert site.given == ["secret-1", "secret-2"]  # it asks itself, whatever lanes have


def test_no_secret_is_told_to_anybody(site, open_lane, tmp_path, caplog):
    """Neither token, assertion nor key: not in logs at their most talkative, errors, tracebacks or what is shown."""
    caplog.set_level(logging.DEBUG)
    told = []
    clients = [open_lane(), open_lane(key=pem(KEYS["ES384"]).decode())]
    for client in clients:
        for fault in [row[0] for row in ROWS.values()]:
            site.front.will(fault, path="/token")
            with pytest.raises((DestinationError, TemporaryError)) as error:
                get(client, site)
            told += ["".join(traceback.format_exception(error.value)), repr(error.value)]
        get(client, site)
        auth = client.auth
        told += [repr(each) for each in (client, auth, vars(auth), auth._token.__dict__, auth._settings, auth.check())]
        site.revoke()
        (kept,) = (tmp_path / "state").glob("token-*.json")
        kept.unlink()
    for key in (b"none", pem(KEYS["ES384"])[:90], pem(KEYS["ES384"], password=b"canary")):
        (tmp_path / "key.pem").write_bytes(key)
        with pytest.raises(DestinationError) as error:
            get(open_lane_again(clients[0]), site)
        told.append("".join(traceback.format_exception(error.value)))

    told.append(repr(TokenAnswer(at="there", status=200, headers={"a": "canary"}, body=b"canary")))
    everything = "\n".join([*told, caplog.text])
    secret_lines = [line for line in pem(KEYS["ES384"]).decode().splitlines() if "-----" not in line]
    assertions = [part for form in site.forms for part in form["client_assertion"].split(".")[1:]]
    needles = [*site.given, *secret_lines, *assertions, "patient_123", "canary"]
    assert len(site.given) > 2
    assert [each for each in needles if each in everything] == []


def open_lane_again(client):
    """The same lane, which has to ask for a token again."""
    client.auth._token._token = None
    return client
