"""What is to be registered at GlycanAge: made from `bridge.yaml`, or refused with the place in it and what to write."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from glycanbridge.bridge_yaml import BridgeYaml, Loc
from glycanbridge.errors import SettingsError
from glycanbridge.glycanage.registrations import named
from glycanbridge.glycanage.webhooks import Wanted
from glycanbridge.glycanage_settings import LOOPBACK, GlycanAgeSettings
from glycanbridge.settings import PUBLISHED_SECRETS, VENDORS_SECRET_LENGTH, Settings
from glycanbridge.signature import fingerprint

DESCRIPTION = "Hands GlycanAge's events to the clinic's own systems (GlycanBridge)"
_URL = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9.-]*)(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?")
_EXAMPLE = "public_url: https://HOST/webhooks/glycanage"


def glycanage_of(settings: Settings, source: BridgeYaml) -> GlycanAgeSettings:
    """The part `glycanage:`. Raises `SettingsError` if there is none."""
    if settings.glycanage is None:
        raise _wrong(
            source, ("glycanage",), "is missing: write base_url, email and token under it (docs/glycanage.md, Settings)"
        )
    return settings.glycanage


def public_url_of(settings: Settings, source: BridgeYaml) -> str:
    """Where GlycanAge reaches the receiver. Raises `SettingsError` if it is not told, or cannot be registered."""
    here, url = ("glycanage", "public_url"), glycanage_of(settings, source).public_url
    if url is None:
        raise _wrong(source, here, f"is missing: write the receiver as GlycanAge reaches it, {_EXAMPLE}")
    trouble = trouble_of(url)
    if trouble:
        raise _wrong(source, here, trouble)
    return url


def trouble_of(url: str) -> str:
    """Why this URL cannot be registered; empty if it can."""
    try:
        possible = _URL.fullmatch(url) is not None and urlsplit(url).port != 0 and ".." not in url
    except ValueError:
        possible = False
    if not possible:
        return "expected a whole address, https://HOST/PATH, without user, query and `..`"
    if urlsplit(url).scheme != "https" and not is_rehearsal(url):
        return "expected https://: results of patients would travel in clear"
    return ""


def is_rehearsal(url: str) -> bool:
    """Whether it leads to this machine, where GlycanAge itself can never come."""
    return urlsplit(url).hostname in LOOPBACK


def doubts(url: str, settings: Settings) -> list[str]:
    """What may be a slip in a URL that can be registered, a line each."""
    told = []
    if is_rehearsal(url):
        told.append(f"{url} is this machine: good for a rehearsal, and nothing that GlycanAge itself can reach")
    if not urlsplit(url).path.rstrip("/").endswith(settings.receiver.path):
        told.append(f"{url} does not end in receiver.path, {settings.receiver.path}: does a proxy change the path?")
    return told


def wanted(
    settings: Settings,
    source: BridgeYaml,
    *,
    url: str,
    name: str | None = None,
    description: str | None = None,
    events: Sequence[str] = (),
) -> Wanted:
    """The webhook as it is to be registered, with the newest secret: the last one in `receiver.secrets`.

    Raises `SettingsError` for a secret that GlycanAge would not take, or that anybody knows.
    """
    glycanage, number = glycanage_of(settings, source), len(settings.receiver.secrets) - 1
    secret, here = settings.receiver.secrets[number].get_secret_value(), ("receiver", "secrets", number)
    if secret in PUBLISHED_SECRETS:
        raise _wrong(source, here, "is printed on GlycanAge's page, so anybody can sign with it: make another one")
    if len(secret) < VENDORS_SECRET_LENGTH:
        raise _wrong(
            source, here, f"has {len(secret)} characters, and GlycanAge asks for {VENDORS_SECRET_LENGTH} or more"
        )
    return Wanted(
        name=named(name or glycanage.webhook_name, fingerprint(secret)),
        description=description or DESCRIPTION,
        url=url,
        events=tuple(dict.fromkeys(events or glycanage.events)),
        secret=secret,
    )


def _wrong(source: BridgeYaml, here: Loc, message: str) -> SettingsError:
    return SettingsError([source.problem(here, message)])
