"""The key that the bridge signs with, and the settings that name it: every mistake is told with its place."""

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from glycanbridge_ehr.settings_smart import SmartSettings
from glycanbridge_ehr.smart_key import signing_key
from pydantic import ValidationError
from sekmet.auth.keys import public_jwk
from smart_site import KEYS, lane, pem, public_pem, settings_of

from glycanbridge import DestinationError


@pytest.mark.parametrize("algorithm", list(KEYS))
def test_a_key_is_called_by_its_thumbprint_unless_the_ehr_calls_it_otherwise(tmp_path, algorithm):
    """The same that another program makes of it, so that nobody has to write it down."""
    key = signing_key(settings_of(tmp_path, KEYS[algorithm]))
    named = signing_key(settings_of(tmp_path, KEYS[algorithm], kid="clinic-1", algorithm=algorithm))

    assert (key.algorithm, key.kid) == (algorithm, public_jwk(KEYS[algorithm])["kid"])
    assert (named.algorithm, named.kid) == (algorithm, "clinic-1")


@pytest.mark.parametrize("algorithm", list(KEYS))
def test_an_assertion_is_signed_as_it_says(tmp_path, algorithm):
    """With the header that SMART asks for, and by the right key."""
    key = signing_key(settings_of(tmp_path, KEYS[algorithm], kid="clinic-1"))
    told = key.assertion(client_id="us", audience="there", now_s=1_790_000_000.9)

    assert jwt.get_unverified_header(told) == {"alg": algorithm, "kid": "clinic-1", "typ": "JWT"}
    options = {"verify_exp": False}
    claims = jwt.decode(told, KEYS[algorithm].public_key(), [algorithm], audience="there", options=options)
    assert claims == {"iss": "us", "sub": "us", "aud": "there", "exp": 1_790_000_180, "jti": claims["jti"]}
    assert (
        claims["jti"]
        != jwt.decode(key.assertion(client_id="us", audience="there", now_s=0), options={"verify_signature": False})[
            "jti"
        ]
    )


def test_a_key_may_stand_in_the_settings_or_in_any_pem(tmp_path):
    """As a credential of systemd's, or in OpenSSL's older format."""
    old = KEYS["ES384"].private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    (tmp_path / "old.pem").write_bytes(old)

    assert signing_key(settings_of(tmp_path, key=pem(KEYS["ES384"]).decode())).algorithm == "ES384"
    assert signing_key(settings_of(tmp_path, key_file=tmp_path / "old.pem")).algorithm == "ES384"


EHR = "ehr.example"
SMALL = rsa.generate_private_key(public_exponent=65537, key_size=1024)
BAD_KEYS = {
    "nothing": (b"", {}, "expected a private key in PEM, without a password"),
    "no PEM": (b"-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----", {}, "expected a private key in PEM"),
    "a public key": (public_pem(KEYS["ES384"]), {}, "expected a private key in PEM"),
    "a password": (pem(KEYS["ES384"], password=b"canary"), {}, "expected a private key in PEM, without a password"),
    "a small key": (pem(SMALL), {}, "expected an RSA key of 2048 bits or more, or an EC key on P-384"),
    "another curve": (pem(ec.generate_private_key(ec.SECP256R1())), {}, "expected an RSA key of 2048 bits or more, or"),
    "another kind": (pem(KEYS["ES384"]), {"algorithm": "RS384"}, "this key signs ES384, but algorithm is RS384"),
}


@pytest.mark.parametrize("bad", BAD_KEYS)
def test_a_key_that_cannot_be_used_is_told_with_its_place(tmp_path, bad):
    """And not with what stands in it."""
    text, more, expected = BAD_KEYS[bad]
    settings = settings_of(tmp_path, **more)
    settings.key_file.write_bytes(text)
    with pytest.raises(DestinationError, match=f"^smart.key_file: {settings.key_file}: {expected}") as told:
        signing_key(settings)
    assert "canary" not in str(told.value)

    if text:
        with pytest.raises(DestinationError, match=f"^smart.key: {expected}"):
            signing_key(SmartSettings(client_id="us", key=text.decode(), **more))


def test_a_key_file_that_cannot_be_read_is_told(tmp_path):
    """It may be made later: no restart is needed."""
    for file, text in ((tmp_path / "none.pem", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(
            DestinationError, match=f"^smart.key_file: {file}: {text}; the bridge must be able to read it"
        ):
            signing_key(settings_of(tmp_path, key_file=file))


BAD_SETTINGS = {
    "no key": ({}, "expected exactly one of key_file and key"),
    "two keys": ({"key_file": "a", "key": "b"}, "expected exactly one of key_file and key"),
    "no client": ({"key": "a", "client_id": ""}, "at least 1 character"),
    "in the clear": ({"key": "a", "token_url": f"http://{EHR}/token"}, "expected an https: address"),
    "a user": ({"key": "a", "token_url": f"https://u:p@{EHR}/token"}, "without a user and a #"),
    "a part": ({"key": "a", "token_url": f"https://{EHR}/token#x"}, "without a user and a #"),
    "no host": ({"key": "a", "token_url": "https:///token"}, "without a user and a #"),
    "another algorithm": ({"key": "a", "algorithm": "HS256"}, "'RS384' or 'ES384'"),
    "a misspelling": ({"key": "a", "clientid": "b"}, "Extra inputs are not permitted"),
    "no time": ({"key": "a", "timeout_s": 0}, "greater than 0"),
}


@pytest.mark.parametrize("bad", BAD_SETTINGS)
def test_settings_that_cannot_be_right_are_refused(bad):
    """At start, and without showing a secret."""
    told, text = BAD_SETTINGS[bad]
    with pytest.raises(ValidationError, match=text) as error:
        SmartSettings(**{"client_id": "us"} | told)
    assert "input_value" not in str(error.value)


def test_a_token_url_on_this_machine_may_be_unencrypted():
    """A proxy of the clinic's own that speaks TLS for us."""
    for url in ("http://127.0.0.1:8080/t", "http://localhost/t", "http://[::1]/t", f"https://{EHR}/t"):
        assert SmartSettings(client_id="us", key="x", token_url=url).token_url == url


def test_a_key_in_the_settings_is_never_shown(tmp_path):
    """Neither are the settings' JSON and the key itself."""
    settings = settings_of(tmp_path, key=pem(KEYS["ES384"]).decode())
    shown = repr(settings) + repr(signing_key(settings)) + json.dumps(settings.model_dump(mode="json"))
    assert not any(line in shown for line in pem(KEYS["ES384"]).decode().splitlines())


def test_the_public_half_is_printed_as_an_ehr_wants_it(tmp_path, sekmet):
    """A real server, registered with what was printed, takes what we sign; and a mistake is told."""

    def printed(*arguments):
        command = [sys.executable, "-m", "glycanbridge_ehr.jwks", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    for private in KEYS.values():
        settings = settings_of(tmp_path, private, scope="system/*.cruds")
        code, jwks, _ = printed(settings.key_file)
        assert code == 0
        assert "PRIVATE" not in jwks
        assert '"d"' not in jwks
        registered = {"client_id": settings.client_id, "jwks": json.loads(jwks), "scopes": "system/*.cruds"}
        sekmet.let_in("smart", smart_clients=[registered])
        with lane(settings, fhir_url=sekmet.url, state=tmp_path) as client:
            assert client.auth.check().endswith("used for 3240 s each")

    assert json.loads(printed(settings.key_file, "clinic-1")[1])["keys"][0]["kid"] == "clinic-1"
    assert printed(tmp_path / "none.pem")[0] == 1
    assert "No such file" in printed(tmp_path / "none.pem")[2]
    assert printed()[0] == 2


def test_registering_works_as_it_is_written(tmp_path, sekmet):
    """The page's two commands, in an empty folder; a real server takes what comes of them."""
    page = (Path(__file__).parents[1] / "README-smart.md").read_text()
    make, show = re.findall(r"```\n(.*?)\n```", page, re.DOTALL)
    (tmp_path / "var").mkdir()
    environ = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    run = {"shell": True, "cwd": tmp_path, "env": environ, "capture_output": True}
    subprocess.run(make, check=True, **run)
    jwks = json.loads(subprocess.run(show, check=True, **run).stdout)
    settings = settings_of(tmp_path, key_file=tmp_path / "var" / "ehr-key.pem")
    registered = {"client_id": settings.client_id, "jwks": jwks, "scopes": settings.scope}
    sekmet.let_in("smart", smart_clients=[registered])

    assert stat.S_IMODE(settings.key_file.stat().st_mode) == 0o600
    with lane(settings, fhir_url=sekmet.url, state=tmp_path / "state") as client:
        assert jwks["keys"][0]["kid"] in client.auth.check()
