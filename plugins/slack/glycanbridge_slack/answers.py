"""What an answer of Slack's means for a delivery: pure rules, from status and body to a receipt or an error.

Slack answers an incoming webhook with 200 and the word `ok`, or with another status and one word that says why.
Anything else was not said by Slack, but by something that stands between.
"""

from __future__ import annotations

import re

from slack_sdk.webhook import WebhookResponse

from glycanbridge import DestinationError, PermanentError, TemporaryError

LEFT_ALONE_S = 30.0
"""How long after a 429 that does not say for how long."""
_NO_TEXT = {"no_text", "missing_text_or_fallback_or_attachments", "invalid_payload"}
"""How a webhook that Slack knows refuses a message without text."""
_NEW_WEBHOOK = "Slack does not know this webhook (any more): make a new one and put it into webhook_url"
_RESTRICTED = "an administrator of the workspace restricts who may post there: ask for this webhook to be allowed"
_MENDED_BY = {
    "no_service": _NEW_WEBHOOK,
    "no_service_id": _NEW_WEBHOOK,
    "no_active_hooks": _NEW_WEBHOOK,
    "no_team": _NEW_WEBHOOK,
    "invalid_token": _NEW_WEBHOOK,
    "token_revoked": _NEW_WEBHOOK,
    "team_disabled": "the workspace is closed: make a webhook in another one and put it into webhook_url",
    "channel_not_found": "the channel is gone: make a webhook for another one and put it into webhook_url",
    "channel_is_archived": "the channel is archived: bring it back, or make a webhook for another one",
    "user_not_found": "whom the webhook writes to is gone: make a new one and put it into webhook_url",
    "action_prohibited": _RESTRICTED,
    "posting_to_general_channel_denied": _RESTRICTED,
}
"""Slack's words for what is wrong with a webhook, its channel or its workspace, whatever the message."""
_OF_THE_WAY = {401, 403, 404, 405, 407, 410}
"""Statuses about address and rights: they blame no message."""
_SOON_OVER = {408, 425}
_WORD = re.compile(r"[a-z]+(_[a-z]+){0,9}")


def receipt_of(answer: WebhookResponse, place: str) -> str:
    """`ok`, if Slack has posted the message. Raises one of the plugin contract's errors if not.

    Of a body only a word of Slack's kind is repeated: a page from something between may hold the webhook itself.
    """
    status, body = answer.status_code, answer.body.strip()
    if status == 200 and body == "ok":
        return "ok"
    word = body if len(body) <= 60 and _WORD.fullmatch(body) else ""
    asked = answer.headers.get("retry-after")
    told = f"{place} answered {status} {word}".strip()
    if status == 429:
        raise DestinationError(f"{told}: it asks to be left alone for a while", retry_after_s=asked or LEFT_ALONE_S)
    if status >= 500 or status in _SOON_OVER:
        raise TemporaryError(f"{told}: the fault is on its side", retry_after_s=asked or 0)
    if status == 200 and body in {"", "o"}:
        raise TemporaryError(f"{told} with half an answer: the message may be there already", unknown=True)
    if status >= 400 and word and word not in _MENDED_BY and status not in _OF_THE_WAY:
        raise PermanentError(f"{told}: it does not take this message as it is")
    raise DestinationError(f"{told}: {_MENDED_BY.get(word) or _unknown(status)}")


def found_by_check(answer: WebhookResponse, place: str) -> str:
    """What the answer to a message without text says of the webhook. Raises as `receipt_of`."""
    body = answer.body.strip()
    if answer.status_code == 400 and body in _NO_TEXT:
        return f"{place} knows the webhook; nothing was posted ({body})"
    return f"{place} answered {receipt_of(answer, place)} to a message without text"


def _unknown(status: int) -> str:
    if 300 <= status < 400:
        return (
            "a redirect, which is not followed: results must not end up elsewhere; see to webhook_url and the network"
        )
    return "no known answer of Slack's; has something between answered? See to webhook_url, proxy and the network"
