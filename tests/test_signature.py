"""The signature: raw bytes, constant time, several secrets, a reason for every refusal."""

from __future__ import annotations

import pytest

from glycanbridge.errors import SignatureError
from glycanbridge.signature import Secrets, fingerprint, sign, verify


def test_the_header_is_the_one_that_github_publishes_for_the_same_scheme():
    """GitHub documents this vector for the same scheme, `sha256=` and HMAC-SHA256 in hex."""
    expected = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"

    assert sign(b"Hello, World!", "It's a Secret to Everybody") == expected


@pytest.mark.parametrize("secrets", [["one"], ["two", "one"], ["one", "two"], ["two", "one", "three"]])
def test_any_one_of_the_secrets_may_have_signed(secrets):
    """During a rotation two secrets are good."""
    assert secrets[verify(b"body", sign(b"body", "one"), secrets)] == "one"


def test_hex_digits_may_be_in_upper_case():
    """They name the same bytes."""
    header = "sha256=" + sign(b"body", "one").removeprefix("sha256=").upper()

    assert verify(b"body", header, ["one"]) == 0


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (None, "missing"),
        ("", "missing"),
        ("sha256=", "malformed"),
        ("sha256=" + "0" * 63, "malformed"),
        ("sha256=" + "0" * 65, "malformed"),
        ("sha256=" + "0" * 64 + "\n", "malformed"),
        ("SHA256=" + "0" * 64, "malformed"),
        ("sha1=" + "0" * 40, "malformed"),
        ("sha1=" + "0" * 64, "malformed"),
        ("0" * 64, "malformed"),
        ("sha256=" + "g" * 64, "malformed"),
        ("sha256=" + "é" * 64, "malformed"),
        ("sha256=" + "٣" * 64, "malformed"),
        ("sha256=" + "\xff" * 64, "malformed"),
        ("sha256=" + "0" * 64, "wrong"),
    ],
)
def test_a_refusal_has_its_reason(header, reason):
    """Missing, malformed or wrong; nothing else, and never an exception of another kind."""
    with pytest.raises(SignatureError) as refused:
        verify(b"body", header, ["one"])

    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        (None, "missing"),
        ("0" * 64, "malformed: without sha256="),
        ("SHA256=" + "0" * 64, "malformed: sha256 in upper case"),
        ("sha1=" + "0" * 40, "malformed: another digest than sha256"),
        ("SHA-512=" + "0" * 128, "malformed: another digest than sha256"),
        ("sha256=" + "0" * 63, "malformed: wrong length"),
        ("sha256=", "malformed: wrong length"),
        ("sha256=" + "Az+/" * 10 + "Az8=", "malformed: base64 instead of hex"),
        ("sha256=" + "0" * 64 + ",sha256=" + "0" * 64, "malformed: came twice"),
        ("patient_123", "malformed"),
        ("sha256=" + "0" * 64, "wrong"),
    ],
)
def test_a_refusal_says_what_can_be_seen_from_the_header_alone(header, kind):
    """The receiver counts it so in its log: fixed words, and nothing of what a stranger sent."""
    with pytest.raises(SignatureError) as refused:
        verify(b"body", header, ["one"])

    assert refused.value.kind == kind


def test_a_duplicated_header_is_refused_even_if_both_are_right():
    """WSGI joins them with a comma; nobody may choose which one counts."""
    right = sign(b"body", "one")

    with pytest.raises(SignatureError, match="malformed"):
        verify(b"body", f"{right}, {right}", ["one"])


@pytest.mark.parametrize("altered", [b"Body", b"body\n", b"bod", b"", b" body"])
def test_every_byte_of_the_body_counts(altered):
    """The signature is over the raw bytes."""
    with pytest.raises(SignatureError, match="wrong"):
        verify(altered, sign(b"body", "one"), ["one"])


def test_a_refusal_does_not_name_the_secret():
    """Its text goes into logs."""
    with pytest.raises(SignatureError) as refused:
        verify(b"body", sign(b"body", "two"), ["my-secret"])

    assert "my-secret" not in str(refused.value)


def test_which_secrets_have_signed_is_remembered_until_it_is_asked():
    """A rotation needs to know that GlycanAge has the new one; a refusal is no such news."""
    secrets = Secrets(["one", "two"])
    secrets.verify(b"body", sign(b"body", "two"))
    secrets.verify(b"other", sign(b"other", "two"))
    with pytest.raises(SignatureError, match="wrong"):
        secrets.verify(b"body", sign(b"body", "three"))

    assert secrets.fingerprints == (fingerprint("one"), fingerprint("two"))
    assert secrets.signed() == {fingerprint("two")}
    assert secrets.signed() == set()


def test_a_fingerprint_tells_secrets_apart_and_nothing_else():
    """It is shown to people, and stands in GlycanAge's list."""
    assert fingerprint("one") != fingerprint("two")
    assert len(fingerprint("one")) == 8
