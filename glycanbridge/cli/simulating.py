"""Tells a story while somebody watches: a progress bar, a table in the end, and Ctrl-C at any time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

import click

from glycanbridge.cli.stopping import sigterm_as_ctrl_c
from glycanbridge.cli.tables import show_rows
from glycanbridge.event_types import EVENT_TYPES
from glycanbridge.simulator.api import SimulatedApi
from glycanbridge.simulator.figures import COLUMNS, rows
from glycanbridge.simulator.latecomers import one_more
from glycanbridge.simulator.posting import Answer, Poster
from glycanbridge.simulator.registrations import Registration
from glycanbridge.simulator.sender import Fate, Sender
from glycanbridge.simulator.story import Sending, Story

LOOKED_EVERY_S = 0.1
"""How soon a registration is seen."""
MOST_TROUBLES = 20
"""So many lines about single events; the table counts all."""


def simulated(story: Story, told: Mapping[str, Any], *, url: str, secret: str) -> bool:
    """Send the story to `url`; whether every event was answered as it should be."""
    poster = Poster(url)
    click.echo(f"sending {len(story.sendings)} requests to {url}", err=True)
    try:
        with sigterm_as_ctrl_c(), closing(poster):
            return _tell(story, told, lambda sending: poster.post(sending.body, sending.signed_with(secret)))
    except KeyboardInterrupt:
        return False


def serve_api(story: Story, told: Mapping[str, Any], *, receiver_url: str) -> bool:
    """Serve GlycanAge's API, send the story to the first webhook that is registered there, and serve on until Ctrl-C.

    A webhook that is approved after the story gets one more event. `receiver_url` is what people are told to register.
    Raises `ListenError`.
    """
    host, port = told["listen"]
    account = {name: told[name] for name in ("email", "token", "approve_after_s")}
    fine, began = False, False
    with sigterm_as_ctrl_c(), SimulatedApi(host=host, port=port, **account) as api:
        try:
            _explain(api, receiver_url)
            while not api.approved:
                time.sleep(LOOKED_EVERY_S)
            webhook, began = api.approved[-1], True
            click.echo(f"approved: {webhook.name}, {webhook.url}", err=True)
            wanted = story.only({each for each in _types(story) if each in webhook.events or each not in EVENT_TYPES})
            newest = NewestWebhook(api)
            fine = _tell(wanted, told, newest.post)
            click.echo(f"the story is told; {api.base_url} serves on until Ctrl-C", err=True)
            while True:
                for each in newest.latecomers():
                    fate = _send_one_more(newest, each, told)
                    fine = fine and fate.fits  # before it is said: Ctrl-C may come right after
                    click.echo(_said(each, fate), err=True)
                time.sleep(LOOKED_EVERY_S)
        except KeyboardInterrupt:
            click.echo("stopped" if began else "stopped: no webhook was registered, so nothing was sent", err=True)
    return fine


class NewestWebhook:
    """The newest webhook that is approved at the moment: one may be deleted, and its successor has another secret."""

    def __init__(self, api: SimulatedApi) -> None:
        self._api = api
        self._posters: dict[str, Poster] = {}
        self._known = {each.id for each in api.approved}

    def post(self, sending: Sending) -> Answer:
        """Make the report available and send its event."""
        approved = self._api.approved
        return self.post_to(approved[-1] if approved else None, sending)

    def latecomers(self) -> list[Registration]:
        """The webhooks that are approved by now, were not at the beginning, and have got nothing."""
        return [each for each in self._api.approved if each.id not in self._known]

    def post_to(self, webhook: Registration | None, sending: Sending) -> Answer:
        """The same, to one webhook."""
        if sending.type == "report-ready" and sending.expected == "accepted":
            self._api.add_report(sending.data)
        if webhook is None:
            return Answer(None, error="no webhook is registered and approved")
        self._known.add(webhook.id)
        if webhook.url not in self._posters:
            self._posters[webhook.url] = Poster(webhook.url)
        return self._posters[webhook.url].post(sending.body, sending.signed_with(webhook.secret))


class _Noticed:
    """Says at once what keeps all from being taken, and not only when the last retry has failed."""

    def __init__(self, post: Callable[[Sending], Answer]) -> None:
        self._post = post
        self._told: set[str] = set()

    def post(self, sending: Sending) -> Answer:
        """Send it."""
        answer = self._post(sending)
        if answer.status is None:
            self._tell(f"no answer ({answer.error}), so it is sent again later: does `glycanbridge serve` run there?")
        elif answer.status == 401 and sending.signature == "right":
            self._tell("answered 401, so it is sent again later: is this secret one of the receiver's?")
        return answer

    def _tell(self, line: str) -> None:
        if line not in self._told:
            self._told.add(line)
            click.echo(line, err=True)


def _send_one_more(newest: NewestWebhook, webhook: Registration, told: Mapping[str, Any]) -> Fate:
    sending = one_more(webhook.events, now_ms=int(time.time() * 1000), practices=told["practices"])
    post = _Noticed(lambda sending: newest.post_to(webhook, sending)).post
    (fate,) = Sender([sending], post=post, back_off_s=told["back_off_s"]).run()
    return fate


def _said(webhook: Registration, fate: Fate) -> str:
    sending, became = fate.sending, fate.outcome if fate.fits else fate.trouble
    return (
        f"approved: {webhook.name}, {webhook.url}: one more event was sent to it, {sending.type} of {sending.about}: "
        f"{became}"
    )


def _types(story: Story) -> set[str]:
    return {each.type for each in story.sendings}


def _explain(api: SimulatedApi, receiver_url: str) -> None:
    keys = f"{{base_url: {api.base_url}, email: {api.email}, token: {api.token}, public_url: {receiver_url}}}"
    click.echo(
        f"{api.base_url} is GlycanAge's API now: put `glycanage: {keys}` into bridge.yaml, run `glycanbridge serve`, "
        "and type `glycanbridge webhooks register`",
        err=True,
    )


def _tell(story: Story, told: Mapping[str, Any], post: Callable[[Sending], Answer]) -> bool:
    """Send it all and print what came of it; Ctrl-C ends the sending, and what is left counts as not sent."""
    sender = Sender(story.sendings, post=_Noticed(post).post, back_off_s=told["back_off_s"], speed=told["speed"])
    fates: list[Fate] = []
    bar = click.progressbar(
        length=len(story.sendings), label="sending", file=sys.stderr, hidden=not sys.stderr.isatty()
    )
    try:
        with bar:
            for fate in sender.run():
                fates.append(fate)
                bar.update(1)
    except KeyboardInterrupt:
        _show(fates, told)
        click.echo(f"stopped with {sender.left} requests not sent to their end", err=True)
        raise
    _show(fates, told)
    return all(fate.fits for fate in fates)


def _show(fates: list[Fate], told: Mapping[str, Any]) -> None:
    columns = ("type", *COLUMNS, "p50_ms", "p99_ms")
    show_rows(rows(fates), as_json=told["as_json"], columns=columns, nothing="nothing was sent")
    troubles = [fate.trouble for fate in fates if not fate.fits]
    for line in troubles[:MOST_TROUBLES]:
        click.echo(line, err=True)
    if len(troubles) > MOST_TROUBLES:
        click.echo(f"... and {len(troubles) - MOST_TROUBLES} more", err=True)
    known = sum(not fate.fits and fate.outcome == "duplicate" for fate in fates)
    if known:
        click.echo(f"{known} were known already: another --seed or --begin makes other events", err=True)
