"""Apprise: addresses that it understands, messages that it sends, and what can be known of how that went.

Apprise tells whether a service took a message, and nothing of why not but in log lines, which hold addresses.
"""

from __future__ import annotations

import logging
import re
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import apprise
from pydantic import SecretStr
from urllib3.exceptions import InsecureRequestWarning

from glycanbridge import DestinationError, TemporaryError

_OF_THE_WAY = {*range(300, 400), 401, 403, 404, 405, 407, 410}
"""Statuses about address and rights: no event is to blame for them."""
_STATUS = re.compile(r"\berror=(\d{3})\b")
"""How Apprise's log lines tell an HTTP status: all that is ever taken from one."""


@dataclass(frozen=True, slots=True)
class Said:
    """What became of one message at one service."""

    where: str
    """`Slack (urls.0)`: a host may be a secret, a service's name is none."""
    took: bool
    status: int | None = None
    """The HTTP status, if Apprise has told one."""
    unsent: bool = False
    """It was sent nothing: its answer to an earlier message has not come to an end yet."""

    def __str__(self) -> str:
        if self.unsent:
            return f"{self.where} is still answering an earlier message, and was sent nothing"
        if self.status is None:
            return f"{self.where} has not confirmed it, and may have it"
        return f"{self.where} answered {self.status}"


class Service:
    """One Apprise URL. Raises `ValueError`, without the URL, if Apprise can do nothing with it."""

    def __init__(self, url: SecretStr, number: int = 0, *, timeout_s: float = 0) -> None:
        """`number` is its place in the settings; `timeout_s` bounds each message, 0: nothing does."""
        asset = apprise.AppriseAsset(
            storage_mode=apprise.PersistentStoreMode.MEMORY,  # Apprise writes nothing anywhere
            service_timeout=0,  # Apprise's own leaves a thread that keeps the process from ending: see `send`
            allow_templates=False,
        )
        asset.app_id, asset.app_desc, asset.app_url = "GlycanBridge", "GlycanBridge", ""
        asset.http_redirects = False
        self.url = url.get_secret_value()
        self._timeout_s = timeout_s or None
        self._left: list[threading.Thread] = []
        self._service = _opened(self.url, asset)
        self.name = f"{self._service.service_name} (urls.{number})"

    @property
    def is_protected(self) -> bool:
        """Whether its traffic is TLS with a certificate that is looked at, as far as Apprise tells."""
        service = self._service
        only_secure = not service.protocol and bool(service.secure_protocol)
        return bool((service.secure or only_secure) and service.verify_certificate)

    def send(self, title: str, body: str, kind: apprise.NotifyType = apprise.NotifyType.INFO) -> Said:
        """Send one message, within `timeout_s`.

        A service that answers a byte now and then defeats the timeouts of a socket, and nothing can end a thread that
        reads it. So it is left behind, a daemon that keeps no process from ending. While it is there the service is
        sent nothing more: there is never more than one for each of the plugin's callers, however long the bridge runs.
        """
        self._left = [each for each in self._left if each.is_alive()]
        if self._left:
            return Said(self.name, took=False, unsent=True)
        ended: list[Said | Exception] = []
        sending = threading.Thread(
            target=self._send_into, args=(ended, title, body, kind), name=f"apprise {self.name}", daemon=True
        )
        sending.start()
        sending.join(self._timeout_s)
        if not ended:
            self._left.append(sending)
            return Said(self.name, took=False)
        if isinstance(ended[0], Exception):
            raise ended[0]
        return ended[0]

    def _send_into(self, ended: list[Said | Exception], title: str, body: str, kind: apprise.NotifyType) -> None:
        try:
            ended.append(self._send(title, body, kind))
        except Exception as error:  # the thread would print it, and there may be an address in it
            ended.append(error)

    def _send(self, title: str, body: str, kind: apprise.NotifyType) -> Said:
        one = apprise.Apprise(asset=self._service.asset)
        one.add(self._service)
        result = one.notify(body=body, title=title, notify_type=kind, body_format=apprise.NotifyFormat.TEXT)
        last = [each.attempts[-1] for each in result if each.attempts]
        took = bool(last) and all(map(bool, last))  # not the result itself: with `optional` it is always good
        found = [int(each[1]) for line in result.logs() if (each := _STATUS.search(line.message))]
        return Said(self.name, took, found[-1] if found else None)


def told_of(refusals: Sequence[Said], *, alone: bool) -> TemporaryError | DestinationError:
    """The error that says what is wrong. `alone`: nobody else has the message either."""
    told = "; ".join(map(str, refusals))
    statuses = [each.status for each in refusals]
    if any(each.status is None and not each.unsent for each in refusals):
        return TemporaryError(told, unknown=True)
    if alone and 429 in statuses:
        return DestinationError(f"{told}: it asks to be left alone for a while", retry_after_s=60)
    if alone and all(each in _OF_THE_WAY for each in statuses):
        return DestinationError(f"{told}: see to urls")
    return TemporaryError(told, retry_after_s=0)  # a quick try would meet Apprise's own pause


def _opened(url: str, asset: apprise.AppriseAsset) -> apprise.NotifyBase:
    _hush()
    service = apprise.Apprise.instantiate(url, asset=asset)
    if service is not None:
        return service
    scheme = url.partition("://")[0].lower()
    for each in apprise.Apprise().details(show_disabled=True)["schemas"]:
        if scheme in {*(each["protocols"] or ()), *(each["secure_protocols"] or ())}:
            why = "does not take this address" if each["enabled"] else "needs packages that are not installed"
            raise ValueError(f"expected an Apprise URL, and {each['service_name']} {why}: see Apprise's page about it")
    raise ValueError("expected an Apprise URL, and no service of Apprise's has this scheme")


def _hush() -> None:
    """Let nothing be logged of addresses, and with them of tokens and telephone numbers, at whatever level."""
    logger = logging.getLogger("apprise")
    if _only_status not in logger.filters:
        logger.addFilter(_only_status)
        logger.propagate = False
        logger.addHandler(logging.NullHandler())
    for name in ("urllib3", "requests", "requests_oauthlib", "oauthlib"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    warnings.simplefilter("ignore", InsecureRequestWarning)


def _only_status(record: logging.LogRecord) -> bool:
    """Leave of a log line of Apprise's the status in it; drop one that has none."""
    found = _STATUS.search(record.getMessage())
    if found is not None:
        record.msg, record.args = found[0], ()
    return found is not None
