"""The diagnosis of a signature: each usual mistake is made as a sender would make it, and is told by its name."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import json
import time
import urllib.parse
import zlib

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from glycanbridge.cli import main
from glycanbridge.diagnosis import bodies, diagnose
from glycanbridge.settings import PUBLISHED_SECRETS
from glycanbridge.signature import fingerprint, sign

SECRET = "whsec_c2VjcmV0LW9mLXRoaXMtYnJpZGdlLTMy"
HEX = "00112233445566778899aabbccddeeff" * 2
EVENT = {"type": "report-ready", "b": "Žana/é & <b>", "a": {"y": 45.20, "x": [1.0, 2, None]}}
BODY = json.dumps(EVENT).encode()
LINES = json.dumps(EVENT, indent=3).encode()
ADDED = {"the old one": "an-old-secret-that-was-given-back-long-ago"}


def signed(body: bytes, key: bytes | str, digest: str = "sha256") -> str:
    """What HMAC gives, in hex."""
    return hmac.new(key.encode() if isinstance(key, str) else key, body, digest).hexdigest()


def header(body: bytes, key: bytes | str = SECRET) -> str:
    """The header that is right for it."""
    return f"sha256={signed(body, key)}"


def kinds(body: bytes, told: str | None, *secrets: str, **more) -> list[str]:
    """What is said to be wrong, in its fixed words; it is never said to be signed."""
    named = {f"number {number}": each for number, each in enumerate(secrets or (SECRET,), 1)}
    found = diagnose(body, told, named, published=PUBLISHED_SECRETS, **more)
    assert not found.signed
    return [each.kind for each in found.remarks]


SECRETS = [
    (f"{SECRET}\n", "secret-newline"), (f"{SECRET}\r\n", "secret-newline"), (f"{SECRET}\r", "secret-newline"),
    (f" {SECRET}", "secret-blanks"), (f"{SECRET} ", "secret-blanks"), (f"\ufeff{SECRET}", "secret-bom"),
    (f"\ufeff{SECRET}\r\n", "secret-bom"), (f'"{SECRET}"', "secret-quotes"), (f"'{SECRET}'", "secret-quotes"),
    (SECRET.removeprefix("whsec_"), "secret-prefix"),
    (base64.b64decode(SECRET.removeprefix("whsec_")), "secret-base64"),
    (base64.b64encode(SECRET.encode()), "secret-encoded"), (SECRET.encode().hex(), "secret-encoded"),
    (SECRET.encode("utf-16-le"), "secret-encoded"), ("", "secret-unset"), ("undefined", "secret-unset"),
    *((each, "secret-sample") for each in sorted(PUBLISHED_SECRETS)),
]  # fmt: skip


@pytest.mark.parametrize(("key", "kind"), SECRETS)
def test_a_mistake_with_the_secret_at_the_senders_side(key, kind):
    """A line break that `echo` has added is the most usual of all."""
    assert kinds(BODY, header(BODY, key)) == [kind]


@pytest.mark.parametrize("ours", ["{}\n", "{} ", " {}", "\ufeff{}", '"{}"', "{}\r\n"])
def test_a_mistake_with_the_secret_at_our_side(ours):
    """The sender's is right then."""
    assert kinds(BODY, header(BODY), ours.format(SECRET)) == ["secret-ours"]


def test_a_secret_that_is_hex_may_have_been_decoded():
    """Its letters are the key, and not the bytes that they name."""
    assert kinds(BODY, header(BODY, bytes.fromhex(HEX)), HEX) == ["secret-hex"]


def test_an_old_secret_is_known_by_its_name():
    """It was given by hand, and is not among those that the bridge takes."""
    found = diagnose(BODY, header(BODY, ADDED["the old one"]), {"ours": SECRET}, others=ADDED)

    assert (found.signed, found.secret, found.remarks[0].kind) == (False, "the old one", "secret-other")


RIGHT = signed(BODY, SECRET)
HEADERS = [
    (None, "header-missing"), ("", "header-missing"), ("  ", "header-missing"), (RIGHT, "header-prefix"),
    (f"SHA256={RIGHT}", "header-case"), (f"sha512={RIGHT}", "header-other-prefix"),
    (f"sha256:{RIGHT}", "header-other-prefix"), (f"v1={RIGHT}", "header-other-prefix"),
    (f"sha256={base64.b64encode(bytes.fromhex(RIGHT)).decode()}", "header-base64"),
    (f"sha256={base64.urlsafe_b64encode(bytes.fromhex(RIGHT)).decode().rstrip('=')}", "header-base64"),
    (f"sha256={base64.b64encode(RIGHT.encode()).decode()}", "header-base64"),
    (f"sha256= {RIGHT}", "header-blanks"), (f"sha256 = {RIGHT}", "header-blanks"),
    (f"sha256={RIGHT}\n", "header-blanks"), (f"sha256=SHA2-256(stdin)= {RIGHT}", "header-more"),
    (f"sha256={RIGHT}  -", "header-more"), (f"sha256=0x{RIGHT.upper()}", "header-more"),
    (f"sha256={'-'.join(RIGHT[each : each + 2] for each in range(0, 64, 2)).upper()}", "header-more"),
    (f'"sha256={RIGHT}"', "header-quotes"), (f"X-GlycanAge-Signature: sha256={RIGHT}", "header-name"),
    (f"sha256={RIGHT},sha256={RIGHT}", "header-twice"), (f"sha256={RIGHT}, sha256={'0' * 64}", "header-twice"),
    (f"sha256={RIGHT[:63]}", "header-length"), *((f"sha256={RIGHT[:each]}", "header-length") for each in (32, 40, 56)),
    (f"sha256={RIGHT}0a", "header-length"),
    ("sha256=", "header-unreadable"), ("sha256=nonsense!", "header-unreadable"), ("sha256=00", "header-unreadable"),
]  # fmt: skip


@pytest.mark.parametrize(("told", "kind"), HEADERS)
def test_a_mistake_with_the_header(told, kind):
    """Whatever its form, it is read with patience: what it means is right."""
    assert kinds(BODY, told) == [kind]


def test_blanks_around_the_header_are_none_to_the_bridge():
    """HTTP takes them off: who copied one along must not look for a mistake that is not there."""
    assert diagnose(BODY, f"  sha256={RIGHT}\t ", {"ours": SECRET}).signed


def test_a_list_of_other_things_did_not_come_twice():
    """It is how others sign, with the time: no proxy has doubled it."""
    assert kinds(BODY, f"t=1693123200,v1={RIGHT}") == ["header-list", "header-other-prefix"]


KEY, PLAIN_HASH = SECRET.encode(), hashlib.sha256
WAYS = [
    (signed(KEY, BODY), "way-swapped"), (PLAIN_HASH(KEY + BODY).hexdigest(), "way-no-hmac"),
    (PLAIN_HASH(BODY + KEY).hexdigest(), "way-no-hmac"), (PLAIN_HASH(BODY).hexdigest(), "way-no-secret"),
]  # fmt: skip


@pytest.mark.parametrize(("digits", "kind"), WAYS)
def test_what_is_no_hmac_is_not_taken_for_another_secret(digits, kind):
    """`openssl dgst -sha256` without `-hmac`, and `hash_hmac` with its arguments exchanged, have the right secret."""
    assert kinds(BODY, f"sha256={digits}") == [kind]


def test_a_body_of_blanks_is_looked_at_in_no_time():
    """Of a mebibyte, the question whether it is base64 took hours."""
    began_s = time.monotonic()
    kinds(b"a" + b" " * 100_000 + b"!", f"sha256={'0' * 64}")

    assert time.monotonic() - began_s < 10


@pytest.mark.parametrize("digest", ["sha1", "sha512", "sha384", "md5"])
def test_another_digest(digest):
    """Each has its own length, so that it is known also under the wrong name."""
    assert kinds(BODY, f"{digest}={signed(BODY, SECRET, digest)}") == ["header-other-prefix", "header-other-digest"]
    assert kinds(BODY, f"sha256={signed(BODY, SECRET, digest)}") == ["header-other-digest"]


def test_upper_case_digits_are_taken_and_that_is_said():
    """Nobody need look for a mistake there."""
    found = diagnose(BODY, f"sha256={RIGHT.upper()}", {"ours": SECRET})

    assert (found.signed, [each.kind for each in found.remarks]) == (True, ["header-upper"])


def test_a_secret_that_everybody_knows_signs_and_is_warned_of():
    """It is printed on the vendor's page."""
    secret = min(PUBLISHED_SECRETS)
    found = diagnose(BODY, header(BODY, secret), {"ours": secret}, published=PUBLISHED_SECRETS)

    assert (found.signed, [each.kind for each in found.remarks]) == (True, ["secret-published"])


PLAIN = b'{"type":"report-ready"}'
BODIES = [  # what was signed, what came
    (PLAIN, PLAIN + b"\n", "body-newline-added"), (PLAIN, PLAIN + b"\r\n", "body-newline-added"),
    (PLAIN + b"\n", PLAIN, "body-newline-removed"), (PLAIN + b"\r\n", PLAIN, "body-newline-removed"),
    (LINES, LINES.replace(b"\n", b"\r\n"), "body-lf-to-crlf"),
    (LINES.replace(b"\n", b"\r\n"), LINES, "body-crlf-to-lf"),
    (LINES.replace(b"\n", b""), LINES, "body-one-line"), (PLAIN, b"  " + PLAIN, "body-blanks"),
    (BODY, b"\xef\xbb\xbf" + BODY, "body-bom-added"), (b"\xef\xbb\xbf" + BODY, BODY, "body-bom-removed"),
    (BODY, gzip.compress(BODY), "body-compressed"), (BODY, zlib.compress(BODY), "body-compressed"),
    (BODY, urllib.parse.quote(BODY).encode(), "body-percent-encoded"),
    (BODY, urllib.parse.quote_plus(BODY).encode(), "body-percent-encoded"),
    (BODY, b"payload=" + urllib.parse.quote_plus(BODY).encode(), "body-percent-encoded"),
    (urllib.parse.quote_plus(BODY).encode(), BODY, "body-percent-decoded"),
    (BODY, base64.b64encode(BODY), "body-base64"),
    (b"", BODY, "body-unread"), (b"{}", BODY, "body-unread"), (b"[object Object]", BODY, "body-unread"),
    (str(EVENT).encode(), BODY, "body-python-repr"), (str(PLAIN).encode(), PLAIN, "body-python-repr"),
    ("é".encode(), "é".encode().decode("latin-1").encode(), "body-encoding"),
    ("é".encode().decode("latin-1").encode(), "é".encode(), "body-encoding"),
]  # fmt: skip
STRINGIFIED = '{"type":"report-ready","b":"Žana/é & <b>","a":{"y":45.2,"x":[1,2,null]}}'
WRITTEN = [
    (STRINGIFIED, "body-json-stringify"),
    (json.dumps(EVENT), "body-json-python"),
    (json.dumps(EVENT, ensure_ascii=False), "body-json-python"),
    (r'{"type":"report-ready","b":"\u017dana\/\u00e9 & <b>","a":{"y":45.2,"x":[1,2,null]}}', "body-json-php"),
    (STRINGIFIED.replace("/", r"\/"), "body-json-php"),
    (json.dumps(EVENT, separators=(",", ":")), "body-json-escaped"),
    (json.dumps(EVENT, separators=(",", ":"), sort_keys=True), "body-json-sorted"),
    (json.dumps(EVENT, sort_keys=True), "body-json-sorted"),
    (r'{"a":{"x":[1,2,null],"y":45.2},"b":"Žana/é \u0026 \u003cb\u003e","type":"report-ready"}', "body-json-go"),
    (json.dumps(EVENT, indent=2), "body-json-indent-2"),
    (json.dumps(EVENT, indent=4, ensure_ascii=False), "body-json-indent-4"),
]


@pytest.mark.parametrize(("was_signed", "came", "kind"), BODIES)
def test_a_body_that_was_changed_on_its_way(was_signed, came, kind):
    """By a proxy, an editor, a gateway; or that was read wrongly before it was signed."""
    assert kinds(came, header(was_signed)) == [kind]


@pytest.mark.parametrize(("was_signed", "kind"), WRITTEN)
def test_a_body_that_was_written_anew_before_it_was_signed(was_signed, kind):
    """The literal texts are what Node and PHP print; the vendor's own sample signs such a copy."""
    assert kinds(LINES, header(was_signed.encode())) == [kind]


def test_one_mistake_of_each_kind_at_once():
    """They come together: whoever writes JSON anew has read the secret from a file, too."""
    told = base64.b64encode(hmac.digest(f"{SECRET}\n".encode(), STRINGIFIED.encode(), "sha256")).decode()

    assert kinds(BODY, told) == ["header-prefix", "header-base64", "secret-newline", "body-json-stringify"]


def test_the_fewest_mistakes_explain_it():
    """An old secret is likelier than two mistakes that give the same by chance."""
    assert kinds(b"{}", header(b"{}", "an old one"), others={"x": "an old one"}) == ["secret-other"]


def test_when_nothing_fits_the_fingerprints_are_told_and_no_secret():
    """What can be compared with the other side without telling it."""
    told = "\n".join(diagnose(BODY, header(BODY, "another"), {"first": SECRET, "second": HEX}).lines)

    assert f"first: {fingerprint(SECRET)}; second: {fingerprint(HEX)}" in told
    assert "signed with another secret, or the body was changed in a way that is not known here" in told


def test_an_empty_body_is_said_to_be_empty():
    """A proxy may have dropped it."""
    assert kinds(b"", header(BODY)) == ["unknown", "body-empty"]


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"a": "\\ud800"}', b"\xff\xfe", b"%zz=", b"1" * 5000, b"=", b"\x1f\x8b"]
)
def test_no_body_brings_it_down(body):
    """Whatever lies in the file: it is only not explained."""
    assert kinds(body, header(b"something else")) == ["unknown"]


def test_what_would_be_unpacked_without_end_is_not():
    """A few kilobytes may hold gigabytes."""
    bomb = gzip.compress(b"0" * (bodies.LARGEST_BYTES + 1))

    assert kinds(bomb, header(b"0" * (bodies.LARGEST_BYTES + 1))) == ["unknown"]
    assert kinds(bomb, header(b"0" * bodies.LARGEST_BYTES)) == ["unknown"]  # half of it is nobody's body


def test_a_large_body_takes_seconds_and_not_minutes(monkeypatch):
    """Single mistakes are looked for in it, and not every two together."""
    monkeypatch.setattr("glycanbridge.diagnosis.MOST_HASHED_BYTES", 26_843_545)
    body = b"0" * 2_500_000
    began = time.monotonic()

    assert kinds(body, header(b"x")) == ["unknown"]
    assert kinds(body, header(body, f"{SECRET}\n")) == ["secret-newline"]
    assert kinds(body, header(body + b"\n")) == ["body-newline-removed"]
    assert kinds(body, header(body + b"\n", f"{SECRET}\n")) == ["unknown"]
    assert kinds(body * 4, header(body * 4, f"{SECRET}\n")) == ["secret-newline"]
    assert time.monotonic() - began < 20


def every_explanation() -> list[str]:
    """All that any mistake of the tables makes it say."""
    made = [(BODY, header(BODY, key)) for key, _ in SECRETS] + [(BODY, told) for told, _ in HEADERS]
    made += [(came, header(was)) for was, came, _ in BODIES] + [(LINES, header(was.encode())) for was, _ in WRITTEN]
    return ["\n".join(diagnose(body, told, {"ours": SECRET}, published=PUBLISHED_SECRETS).lines) for body, told in made]


def test_nothing_that_is_said_holds_a_secret_a_body_or_a_right_signature():
    """It is pasted into tickets."""
    for told in every_explanation():
        assert SECRET not in told
        assert not [each for each in PUBLISHED_SECRETS if each in told]
        assert "Žana" not in told
        assert RIGHT[:16] not in told
        assert hashlib.sha256(SECRET.encode()).hexdigest()[:8] not in told


@settings(max_examples=40, deadline=None)
@given(body=st.binary(max_size=300), secret=st.text(st.characters(exclude_categories=["Cs"]), min_size=1), more=st.text(
    st.characters(exclude_categories=["Cs"]), min_size=1))  # fmt: skip
def test_whatever_is_rightly_signed_is_said_to_be(body, secret, more):
    """And never whatever is not, however odd the bytes are."""
    assert diagnose(body, sign(body, secret), {"a": secret}).signed
    assert diagnose(body, sign(body, secret), {"b": more, "a": secret}).secret == ("b" if more == secret else "a")
    if more != secret:
        assert not diagnose(body, sign(body, secret), {"b": more}).signed
    assert not diagnose(body + b"!", sign(body, secret), {"a": secret}).signed


@pytest.fixture
def verify(tmp_path, monkeypatch):
    """Types the command in a bridge's folder with two secrets; its exit code and what it says."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bridge.yaml").write_text(f"receiver: {{secrets: [{HEX}, {SECRET}]}}\nnonsense: 1\n")
    (tmp_path / "body").write_bytes(BODY)

    def typed(*arguments: str, **more) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["verify", *arguments], **more)
        return done.exit_code, done.output

    return typed


def test_the_command_says_which_secret_signed(verify):
    """Counted as in bridge.yaml, whatever else is wrong in that."""
    assert verify("body", "--signature", header(BODY)) == (0, "signed with secret number 2 of receiver.secrets\n")
    code, told = verify("-", "--signature", header(b"x", HEX), input=b"x")
    assert (code, told) == (0, "signed with secret number 1 of receiver.secrets\n")


def test_the_command_says_what_is_wrong_and_exits_1(verify):
    """With what to do about it."""
    code, told = verify("body", "--signature", RIGHT)

    assert code == 1
    assert "the prefix `sha256=` is missing\n  what to do: send `sha256=` and 64 hex digits\n" in told


def test_the_command_tries_a_secret_that_lies_in_a_file(verify, tmp_path):
    """Also where there is no bridge.yaml; without either it says what is missing."""
    (tmp_path / "old.txt").write_text("an-old-secret\r\n")
    (tmp_path / "none.yaml").write_text("")
    code, told = verify("body", "--signature", header(BODY, "an-old-secret"), "--secret-file", "old.txt")
    assert (code, "the secret in old.txt is not among receiver.secrets" in told) == (1, True)
    assert verify("body", "--signature", header(BODY), "--secret-file", "old.txt", "-c", "none.yaml")[0] == 1
    code, told = verify("body", "--signature", header(BODY), "-c", "none.yaml")
    assert (code, "receiver: is missing" in told) == (78, True)


def test_the_command_reads_no_file_that_no_bridge_would_take(verify, tmp_path):
    """A file without end is read to what a body may have at the most."""
    with (tmp_path / "large").open("wb") as file:
        file.truncate(67_108_865)
    code, told = verify("large", "--signature", RIGHT)

    assert (code, "larger than" in told) == (1, True)
