"""`glycanbridge webhooks`: this bridge at GlycanAge: registered, looked at, deleted. Rotation has a file of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import click

from glycanbridge.bridge_yaml import BridgeYaml
from glycanbridge.cli import Commands
from glycanbridge.cli.choices import who, yes_option
from glycanbridge.cli.options import config_option, json_option
from glycanbridge.cli.tables import show_row, show_rows
from glycanbridge.errors import JournalError, JournalMissing
from glycanbridge.event_types import EVENT_TYPES
from glycanbridge.glycanage.api import Api
from glycanbridge.glycanage.notes import lost_sight_of, note_registered, registered_at, takes
from glycanbridge.glycanage.registering import doubts, glycanage_of, public_url_of, trouble_of, wanted
from glycanbridge.glycanage.registrations import Registration
from glycanbridge.glycanage.rotation import delete, described
from glycanbridge.glycanage.webhooks import SUPPORT, Made, Wanted, Webhooks
from glycanbridge.journal import Journal
from glycanbridge.journals.opening import open_by_hand
from glycanbridge.settings import Settings, read_settings
from glycanbridge.signature import fingerprint

TABLE = {"rotate": ("rotate.command", "Change the secret step by step, with no event lost.")}


@click.group(cls=Commands, table=TABLE)
def command() -> None:
    """Register this bridge at GlycanAge; list, delete, change the secret."""


@command.command("register")
@config_option
@json_option
@click.option("--url", help="The receiver as GlycanAge reaches it; by default glycanage.public_url.")
@click.option(
    "--name", help="What it is called there, with the secret's fingerprint; by default glycanage.webhook_name."
)
@click.option("--description", help="What it is for.")
@click.option("--event", "events", type=click.Choice(EVENT_TYPES), multiple=True, help="Only this event; repeatable.")
@click.option("--again", is_flag=True, help="Also where this URL is registered already: each event may come twice.")
def register(
    config: Path, *, as_json: bool, url: str | None, name: str | None, description: str | None,
    events: tuple[str, ...], again: bool,
) -> None:  # fmt: skip
    """Register this bridge's URL with its newest secret, the last one in receiver.secrets.

    Nothing comes before GlycanAge's team has approved it.
    """
    settings, source = read_settings(config)
    glycanage_of(settings, source)
    url = _checked(url) if url is not None else public_url_of(settings, source)
    asked = wanted(settings, source, url=url, name=name, description=description, events=events)
    for line in doubts(url, settings):
        click.echo(line, err=True)
    with opened(settings, source) as webhooks:
        before = webhooks.listed()
        same = [each for each in before if each.is_at(url)]
        if same and not again:
            _already(same, asked, as_json=as_json)
            return
        if not again:
            _not_lost(asked, settings)
        made = webhooks.register(asked, before=before)
    show_row(_made(made, asked), as_json=as_json)
    if made.note:
        click.echo(f"note: {made.note}", err=True)
    click.echo(f"GlycanAge's team must approve it before anything comes: write to {SUPPORT}", err=True)
    try:
        with journal_of(settings) as journal:
            note_registered(journal, made.registration.id, asked.fingerprint, url=url, who=who())
            if asked.fingerprint not in takes(journal):
                click.echo(
                    "the bridge does not take this secret yet: (re)start it before the webhook is approved", err=True
                )
    except JournalError as error:
        click.echo(f"registered, and not noted in the journal: {error}", err=True)


@command.command("list")
@config_option
@json_option
def list_webhooks(config: Path, *, as_json: bool) -> None:
    """Show what is registered at GlycanAge for this account, and which of it is this bridge."""
    settings, source = read_settings(config)
    with opened(settings, source) as webhooks:
        rows = [_row(each, settings) for each in webhooks.listed()]
    columns = ("id", "name", "url", "events", "status", "ours")
    show_rows(rows, as_json=as_json, columns=columns, nothing="nothing is registered")


@command.command("delete")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@config_option
@yes_option
@click.option("--last", "last_one", is_flag=True, help="Also the last one of our own URL: nothing comes any more.")
def delete_webhooks(ids: tuple[str, ...], config: Path, *, yes: bool, last_one: bool) -> None:
    """Delete registrations at GlycanAge, by their whole IDs. There is no way back but to register anew."""
    settings, source = read_settings(config)
    url = glycanage_of(settings, source).public_url
    with opened(settings, source) as webhooks:
        listed = webhooks.listed()
        chosen = [each for each in listed if each.id in ids]
        unknown = [each for each in dict.fromkeys(ids) if each not in {one.id for one in listed}]
        if unknown:
            raise click.ClickException(
                f"GlycanAge lists no webhook {', '.join(unknown)}; nothing was deleted: `webhooks list` shows them"
            )
        for each in chosen:
            click.echo(f"to delete: {described(each)}", err=True)
        works = [each for each in listed if _is_ours(each, settings) and each.approved is not False]
        if not last_one and works and all(each in chosen for each in works):
            raise click.ClickException(
                f"nothing was done: no other webhook of {url or 'this bridge'} is approved, so nothing would come any "
                "more: say --last if that is meant"
            )
        if not yes:
            raise click.ClickException("nothing was done: say --yes to do it")
        with journal_of(settings) as journal:
            for each in chosen:
                delete(webhooks, journal, each, who=who(), say=click.echo)


@contextmanager
def opened(settings: Settings, source: BridgeYaml) -> Iterator[Webhooks]:
    """GlycanAge's webhooks. Raises `SettingsError` if `bridge.yaml` does not say where its API is."""
    with closing(Api(glycanage_of(settings, source))) as api:
        yield Webhooks(api)


@contextmanager
def journal_of(settings: Settings) -> Iterator[Journal | None]:
    """The journal to note things in; `None` if there is none yet."""
    try:
        journal = open_by_hand(settings.journal)
    except JournalMissing:
        yield None
        return
    with closing(journal):
        yield journal


def _is_ours(each: Registration, settings: Settings) -> bool:
    """Whether it is of our own URL; where that is not told, whether it is of a secret of ours."""
    url = settings.glycanage.public_url if settings.glycanage is not None else None
    if url is not None:
        return each.is_at(url)
    return each.fingerprint in {fingerprint(secret.get_secret_value()) for secret in settings.receiver.secrets}


def _checked(url: str) -> str:
    trouble = trouble_of(url)
    if trouble:
        raise click.UsageError(f"--url: {trouble}")
    return url


def _not_lost(asked: Wanted, settings: Settings) -> None:
    """See that the journal does not know of the very same that GlycanAge does not list: it may not list all."""
    with journal_of(settings) as journal:
        registered = registered_at(journal, asked.fingerprint, asked.url)
    if registered is not None:
        raise click.ClickException(
            f"nothing was done: {lost_sight_of(registered)}. Ask {SUPPORT}, or say --again for another one"
        )


def _already(same: Sequence[Registration], asked: Wanted, *, as_json: bool) -> None:
    """Say that the very same is registered already, or end with what is there instead and what to do."""
    for each in same:
        if asked.is_there(each) and (not each.events or set(each.events) == set(asked.events)):
            show_row(_made(Made(each), asked), as_json=as_json)
            click.echo("it is registered already; nothing was changed", err=True)
            if each.approved is False:
                click.echo(f"GlycanAge's team must approve it before anything comes: write to {SUPPORT}", err=True)
            return
    for each in same:
        events = ", ".join(each.events) or "events that are not told"
        click.echo(f"there is: {described(each)}: {events}", err=True)
    raise click.ClickException(
        f"nothing was done: {asked.url} is registered otherwise. For a new secret: `glycanbridge webhooks rotate`; "
        "for other events: --again, then `webhooks delete` the old one once the new one is approved"
    )


def _made(made: Made, asked: Wanted) -> dict[str, Any]:
    registration = made.registration
    return {
        "id": registration.id,
        "name": registration.name or asked.name,
        "url": registration.url or asked.url,
        "events": ", ".join(registration.events or asked.events),
        "status": registration.standing,
        "approved": registration.approved,
        "secret": asked.fingerprint,
    }


def _row(each: Registration, settings: Settings) -> dict[str, Any]:
    known = [fingerprint(secret.get_secret_value()) for secret in settings.receiver.secrets]
    url = settings.glycanage.public_url if settings.glycanage is not None else None
    ours = "no"
    if each.is_at(url):
        secret = each.fingerprint
        which = "newest" if secret == known[-1] else "older" if secret in known else "not in bridge.yaml"
        ours = f"yes, secret {secret} ({which})" if secret else "yes, its secret is not known"
    return {
        "id": each.id,
        "name": each.name,
        "url": each.url,
        "events": ", ".join(each.events) or None,
        "status": each.standing,
        "approved": each.approved,
        "ours": ours,
    }
