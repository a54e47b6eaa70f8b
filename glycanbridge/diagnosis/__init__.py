"""Why is this body not taken? Tries every usual mistake with signatures for real, and says which one it is. Pure.

```
headers: what the signature claims     keys, bodies: what may have been used instead of ours     forms: remarks
ways: what is no HMAC, or a wrong one
```
One mistake with the body and one with the secret may come together, and any with the header. Nothing that is said here
holds a secret, a piece of a body, or a signature that would be right.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from glycanbridge.diagnosis.bodies import body_forms
from glycanbridge.diagnosis.forms import Form, Remark
from glycanbridge.diagnosis.headers import Reading, readings
from glycanbridge.diagnosis.keys import UNSET, UNSET_WORDS, key_forms
from glycanbridge.diagnosis.ways import other_ways
from glycanbridge.errors import SignatureError
from glycanbridge.signature import fingerprint, verify

MOST_HASHED_BYTES = 268_435_456
"""When so much has been hashed, in about a second, no two mistakes together are tried any more: the body is large."""
_PUBLISHED = "a sample secret of GlycanAge's page"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What is the matter with a signature."""

    signed: bool
    """The bridge takes it as it stands."""
    secret: str | None
    """The name of the secret that signed it; `None` if nothing that was tried fits."""
    remarks: tuple[Remark, ...]
    """What is wrong, or worth knowing."""

    @property
    def lines(self) -> list[str]:
        """All of it for people: what it is, then a line for each remark and one for what to do about it."""
        if self.signed:
            told = [f"signed with {self.secret}"]
        elif self.secret:
            told = [f"signed with {self.secret}, and yet it is not taken as it stands:"]
        else:
            told = ["not signed by anybody known here:"]
        for each in self.remarks:
            told += [f"- {each.told}", *([f"  what to do: {each.do}"] if each.do else [])]
        return told


def diagnose(
    body: bytes,
    header: str | None,
    secrets: Mapping[str, str],
    *,
    others: Mapping[str, str] | None = None,
    published: Collection[str] = (),
) -> Diagnosis:
    """Which of `secrets` signed `body`, or which mistake keeps the bridge from taking it.

    `secrets` and `others` are named for what is said of them: those that the bridge takes, and those that it does not,
    such as an old one. `published` secrets are everybody's.
    """
    header = None if header is None else header.strip(" \t")  # as HTTP has it: the bridge never sees blanks around it
    try:
        name = list(secrets)[verify(body, header, list(secrets.values()))]
    except SignatureError:
        return _refused(body, header, secrets, _foreign(others or {}, published))
    remarks = _published_remark() if secrets[name] in published else ()
    if header is not None and header.lower() != header:
        remarks = (*remarks, Remark("header-upper", "its hex digits are in upper case, which is accepted"))
    return Diagnosis(signed=True, secret=name, remarks=remarks)


def _published_remark() -> tuple[Remark, ...]:
    do = "make a new one of 32 characters or more, and register it: anybody can sign with this one"
    return (Remark("secret-published", "this secret is printed on GlycanAge's page", do),)


def _foreign(others: Mapping[str, str], published: Collection[str]) -> dict[str, tuple[str, Remark]]:
    """The secrets that the bridge does not take, and what it means if one of them fits."""
    found = {}
    for name, secret in others.items():
        do = "if it is the one that is registered, add it to receiver.secrets, and start the bridge anew"
        found[name] = (secret, Remark("secret-other", f"{name} is not among receiver.secrets", do))
    for secret in sorted(published):
        do = "the sender still has the sample's: give it the one of this bridge (`glycanbridge init` makes one)"
        found[f"{_PUBLISHED} ({len(secret)} characters)"] = (
            secret,
            Remark("secret-sample", f"{_PUBLISHED} was used", do),
        )
    return found


def _refused(
    body: bytes, header: str | None, secrets: Mapping[str, str], foreign: Mapping[str, tuple[str, Remark]]
) -> Diagnosis:
    read, about_header = readings(header)
    empty = [Remark("body-empty", "the body is empty here", "look where it was lost: in the proxy, or in FILE")]
    about_body = [] if body else empty
    keys: list[Key] = [(name, form, ()) for name, secret in secrets.items() for form in key_forms(secret)]
    keys += [(name, form, (remark,)) for name, (secret, remark) in foreign.items() for form in key_forms(secret)]
    keys += [("no secret at all", Form(word), (UNSET,)) for word in UNSET_WORDS]
    found = (_fitting(read, keys, body_forms(body)) or _otherwise(read, body, secrets)) if read else None
    if found is not None:
        name, reading, remarks = found
        return Diagnosis(signed=False, secret=name, remarks=(*reading.remarks, *remarks, *about_body))
    told = [*read[0].remarks, _nothing_fits(secrets)] if read else about_header
    return Diagnosis(signed=False, secret=None, remarks=(*told, *about_body))


Key = tuple[str, Form, tuple[Remark, ...]]


def _fitting(
    read: Sequence[Reading], keys: Sequence[Key], bodies: Sequence[Form]
) -> tuple[str, Reading, tuple[Remark, ...]] | None:
    hashed_bytes = 0
    for (name, key, about), form in _combined(keys, bodies):
        if hashed_bytes > MOST_HASHED_BYTES and key.remark and form.remark:
            return None
        for digest in {each.digest for each in read}:
            hashed_bytes += len(form.value) + 128
            digits = hmac.digest(key.value, form.value, digest).hex()
            for each in read:
                if each.digest == digest and hmac.compare_digest(digits[: len(each.digits)], each.digits):
                    return name, each, (*about, *(remark for remark in (key.remark, form.remark) if remark))
    return None


def _otherwise(
    read: Sequence[Reading], body: bytes, secrets: Mapping[str, str]
) -> tuple[str, Reading, tuple[Remark, ...]] | None:
    for each in read:
        for name, digits, remark in other_ways(body, secrets, each.digest):
            if hmac.compare_digest(digits[: len(each.digits)], each.digits):
                return name, each, (remark,)
    return None


def _combined(keys: Sequence[Key], bodies: Sequence[Form]) -> Iterator[tuple[Key, Form]]:
    """Every key with every body, and first of all those with the fewest mistakes: they are the likely ones."""
    for mistakes in range(3):
        for key in keys:
            for body in bodies:
                if (key[1].remark is not None) + (body.remark is not None) == mistakes:
                    yield key, body


def _nothing_fits(secrets: Mapping[str, str]) -> Remark:
    prints = "; ".join(f"{name}: {fingerprint(secret)}" for name, secret in secrets.items())
    return Remark(
        "unknown",
        "signed with another secret, or the body was changed in a way that is not known here",
        f"compare the secrets' fingerprints, which `glycanbridge webhooks list` shows in the registrations' names "
        f"({prints or 'there is no secret'}); if they are the same, save the body byte for byte where it comes in, "
        "before any proxy",
    )
