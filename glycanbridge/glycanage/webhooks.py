"""The three calls for webhooks that GlycanAge's page describes: register, list, delete.

A GET may be asked a second time. A POST or DELETE whose answer was lost may have been done: so one looks, and does not
simply ask again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from glycanbridge.errors import GlycanAgeError
from glycanbridge.glycanage.api import Api
from glycanbridge.glycanage.registrations import Registration, path_of, read_all, read_one
from glycanbridge.signature import fingerprint

QUICK_S = 2.0
"""A connection that failed sooner than this is worth a second try at once."""
SUPPORT = "support@glycanage.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be registered."""

    name: str
    description: str
    url: str
    events: tuple[str, ...]
    secret: str = field(repr=False)

    @property
    def fingerprint(self) -> str:
        """The secret's."""
        return fingerprint(self.secret)

    def is_there(self, listed: Registration) -> bool:
        """Whether this is what is listed: the same URL, and a name with the secret's fingerprint."""
        return listed.is_at(self.url) and listed.fingerprint == self.fingerprint


@dataclass(frozen=True, slots=True)
class Made:
    """A webhook that has been registered, and how that is known: `note` is a line for people, or empty."""

    registration: Registration
    note: str = ""


class Webhooks:
    """GlycanAge's webhooks of one account."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def listed(self) -> list[Registration]:
        """All registrations. Raises `GlycanAgeError`."""
        return read_all(self._get(), to=f"GET {self._api.base_url}/webhooks")

    def register(self, wanted: Wanted, *, before: Sequence[Registration]) -> Made:
        """Register a webhook; `before`: what was there already. Raises `GlycanAgeError`.

        After an answer that was lost or says nothing, the list tells whether it was made.
        """
        told = {"name": wanted.name, "description": wanted.description, "url": wanted.url}
        try:
            answer = self._api.call(
                "POST", "/webhooks", {**told, "events": list(wanted.events), "secret": wanted.secret}
            )
        except GlycanAgeError as error:
            if error.status is not None and not (error.status >= 500 or 200 <= error.status < 300):
                raise
            return Made(self._looked_for(wanted, before, error), f"the answer was lost ({error}), and it is listed")
        registration = read_one(answer)
        if registration is not None:
            return Made(registration)
        return Made(self._looked_for(wanted, before, None), "the answer named no id; it was found in the list")

    def delete(self, webhook_id: str) -> str:
        """Delete a registration; a line for people if there is anything to say about it. Raises `GlycanAgeError`."""
        try:
            self._api.call("DELETE", path_of(webhook_id))
        except GlycanAgeError as error:
            if error.status in {404, 410}:
                return "it was gone already"
            if error.status is not None and 300 <= error.status < 500:
                raise
            if any(each.id == webhook_id for each in self._after(error)):
                raise GlycanAgeError(f"{error}; it is still there: try again later") from None
            return "the answer could not be read, and it is gone"
        return ""

    def _get(self) -> Any:
        began_s = monotonic()
        try:
            return self._api.call("GET", "/webhooks")
        except GlycanAgeError as error:
            if error.status is not None or not error.temporary or monotonic() - began_s > QUICK_S:
                raise
        return self._api.call("GET", "/webhooks")

    def _looked_for(self, wanted: Wanted, before: Sequence[Registration], lost: GlycanAgeError | None) -> Registration:
        known = {each.id for each in before if each.id is not None}
        new = [each for each in self._after(lost) if each not in before and each.id not in known]
        new = [each for each in new if wanted.is_there(each)]
        if new:
            return new[-1]
        if lost is not None:
            raise GlycanAgeError(f"{lost}; it is not listed either: run it again later", temporary=lost.temporary)
        raise GlycanAgeError(
            f"GlycanAge took the webhook and told no id, and does not list it: ask {SUPPORT} before you register again"
        )

    def _after(self, lost: GlycanAgeError | None) -> list[Registration]:
        """What is listed after an answer that did not say enough. Raises `GlycanAgeError`: nothing is known then."""
        try:
            return self.listed()
        except GlycanAgeError as error:
            raise GlycanAgeError(
                f"{lost or error}; whether it was done is not known: `glycanbridge webhooks list` tells"
            ) from None
