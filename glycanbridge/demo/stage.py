"""What stands around the demo's bridge: GlycanAge, who registers it and sends, and a mail server that goes away."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from glycanbridge.bridge_yaml import BridgeYaml
from glycanbridge.demo.folder import DemoError
from glycanbridge.demo.mails import MailCatcher
from glycanbridge.glycanage.api import Api
from glycanbridge.glycanage.registering import glycanage_of, public_url_of, wanted
from glycanbridge.glycanage.webhooks import Webhooks
from glycanbridge.settings import Settings
from glycanbridge.simulator.api import SimulatedApi
from glycanbridge.simulator.posting import Answer, Poster
from glycanbridge.simulator.story import Sending

AWAY = (0.35, 0.6)
"""From which share of the story to which the mail server is away."""
APPROVED_S = 10.0


class Stage:
    """All of it, for one demo."""

    def __init__(self, settings: Settings, source: BridgeYaml, api: SimulatedApi, mails: MailCatcher) -> None:
        self.settings = settings
        self._source = source
        self._api, self._mails = api, mails
        self._poster = Poster(f"http://{settings.receiver.listen}{settings.receiver.path}")
        self._secret = settings.receiver.secrets[0].get_secret_value()

    def register(self, wait: Callable[[Callable[[], bool], float], bool]) -> str:
        """Register the bridge's webhook as `webhooks register` does, and wait for its approval; a line about it.

        Raises `DemoError` if it is not approved, and `GlycanAgeError`.
        """
        with closing(Api(glycanage_of(self.settings, self._source))) as api:
            webhook = wanted(self.settings, self._source, url=public_url_of(self.settings, self._source))
            made = Webhooks(api).register(webhook, before=[]).registration
        if not wait(lambda: bool(self._api.approved), APPROVED_S):
            raise DemoError("the simulated GlycanAge did not approve the webhook")
        return f"Registered at the simulated GlycanAge, {self._api.base_url}, and approved: {made.name}"

    def post(self, sending: Sending) -> Answer:
        """Send one request, as GlycanAge would; a report can be downloaded from the moment it is told of."""
        if sending.type == "report-ready" and sending.expected == "accepted":
            self._api.add_report(sending.data)
        return self._poster.post(sending.body, sending.signed_with(self._secret))

    def at(self, share: float) -> str | None:
        """Let happen what happens at this share of the story; a line about it, if anything does."""
        away = AWAY[0] <= share < AWAY[1]
        if away and self._mails.listens:
            self._mails.go_away()
            return "--- the mail server goes away: what it is owed waits, and nobody else does ---"
        if not away and not self._mails.listens:
            self._mails.come_back()
            return "--- the mail server is back ---"
        return None
