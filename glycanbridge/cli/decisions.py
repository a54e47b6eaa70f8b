"""What a person decides about events, deliveries and dead letters: `replay`, `confirm` and `discard`.

Apart from the files of those who only look, who need no plugins and no settings of destinations.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import click

from glycanbridge.cli.choices import (
    check_choice,
    confirm,
    make_again,
    one_or_many,
    reason_option,
    replay_options,
    who,
    yes_option,
)
from glycanbridge.cli.dead_letters import chosen_letters
from glycanbridge.cli.deliveries import find_delivery
from glycanbridge.cli.events import find_event
from glycanbridge.cli.options import choice_options, config_option
from glycanbridge.dead_letters import DeadLetters, letter_of
from glycanbridge.delivery import State
from glycanbridge.destinations import open_destinations
from glycanbridge.errors import DeadLetterError, ParseError
from glycanbridge.journal import Filter, Journal, Replay
from glycanbridge.journals.opening import open_by_hand
from glycanbridge.replays import chosen_deliveries, chosen_events, discard_letter, replay_letter, replay_of, takers
from glycanbridge.settings import read_settings


@click.command("replay")
@replay_options
def replay_events(
    one: str | None, config: Path, *, which: Filter, all_of_them: bool, per_s: float | None, yes: bool
) -> None:
    """Deliver past events again: one by its ID, or those that fit. What was delivered before keeps its history.

    --destination is where they are to go: also one that was added later, and was owed none of them. Without it they
    go to every destination that takes them. A destination's `events` and `practices` hold as ever.
    """
    check_choice(one, replace(which, destination=None), all_of_them=all_of_them)  # where to is no choice of what
    settings, source = read_settings(config)
    destinations, _ = open_destinations(settings, source)
    if which.destination not in {None, *destinations}:
        known = ", ".join(destinations) or "none"
        raise click.UsageError(f"--destination {which.destination}: bridge.yaml has {known}")
    names = [name for name in destinations if which.destination in {None, name}]
    with closing(open_by_hand(settings.journal)) as journal:
        if one is None:
            chosen = chosen_events(which, names, questions=journal, destinations=destinations)
        else:
            event = find_event(journal, one)
            chosen = [replay_of(event, name, destinations) for name in takers(event, names, destinations)]
        events, to = len({each.event_id for each in chosen}), sorted({each.destination for each in chosen})
        told = f"deliveries of {events} events to {', '.join(to) or 'nobody'}"
        make_again(journal, chosen, told, yes=yes or one is not None, per_s=per_s)


@click.command("replay")
@replay_options
def replay_deliveries(
    one: str | None, config: Path, *, which: Filter, all_of_them: bool, per_s: float | None, yes: bool
) -> None:
    """Make deliveries again, now, with their whole schedule before them: one by its ID, or those that fit.

    Dead ones, unless --state says otherwise: `pending` ones need not wait any longer. Their history stays.
    """
    check_choice(one, which, all_of_them=all_of_them)
    with _chosen(one, config, which) as (journal, _, chosen):
        make_again(journal, chosen, "deliveries", yes=yes or one is not None, per_s=per_s)


@click.command("confirm")
@click.argument("delivery_id", metavar="ID")
@config_option
@reason_option
def confirm_delivery(delivery_id: str, config: Path, *, reason: str) -> None:
    """Say that the destination has a pending delivery: for one whose attempt was cut off, and that is held."""
    with closing(open_by_hand(read_settings(config)[0].journal)) as journal:
        row = find_delivery(journal, delivery_id)
        if not journal.confirm(row.id, who=who(), reason=reason):
            raise click.ClickException(f"{row.id} is {row.state}: only a pending delivery can be confirmed")
    click.echo(f"{row.id} counts as delivered", err=True)


@click.command("discard")
@one_or_many
@config_option
@choice_options
@reason_option
@yes_option
def discard_deliveries(one: str | None, config: Path, *, which: Filter, reason: str, yes: bool) -> None:
    """Give up deliveries for good: one by its ID, or those that fit: pending ones, unless --state says dead.

    They stay in the journal as dead, with who and why; there is no dead letter of them.
    """
    check_choice(one, which)
    which = which if which.state or one is not None else replace(which, state=State.PENDING)
    with _chosen(one, config, which) as (journal, letters, chosen):
        confirm(len(chosen), "deliveries", yes=yes or one is not None)
        ids = [f"{each.event_id}:{each.destination}" for each in chosen]
        gone = [each for each in ids if journal.discard(each, who=who(), reason=reason)]
        for each in gone:
            letters.remove(letter_of(each))
    click.echo(f"{len(gone)} discarded; {len(chosen) - len(gone)} could not be: running or delivered", err=True)


@contextmanager
def _chosen(one: str | None, config: Path, which: Filter) -> Iterator[tuple[Journal, DeadLetters, list[Replay]]]:
    """The journal, the dead letters, and the one delivery with this ID or all that fit."""
    settings, source = read_settings(config)
    destinations, _ = open_destinations(settings, source)
    with closing(open_by_hand(settings.journal)) as journal:
        if one is None:
            chosen = chosen_deliveries(which, questions=journal, destinations=destinations)
        else:
            row = find_delivery(journal, one)
            chosen = [replay_of(journal.event(row.event_id)[0], row.destination, destinations, was=row)]
        yield journal, DeadLetters(settings.dead_letters), chosen


@click.command("replay")
@one_or_many
@config_option
@choice_options
@click.option("--all", "all_of_them", is_flag=True, help="Every dead letter.")
@yes_option
def replay_letters(one: str | None, config: Path, *, which: Filter, all_of_them: bool, yes: bool) -> None:
    """Send dead letters again: one by its ID, or those that fit. Also files put back by hand.

    A delivery is due now, and its file goes once it is delivered. A body that was not understood is read again, and
    becomes an ordinary event if it is understood now.
    """
    check_choice(one, which, all_of_them=all_of_them)
    settings, source = read_settings(config)
    destinations, _ = open_destinations(settings, source)
    letters = DeadLetters(settings.dead_letters)
    chosen = chosen_letters(letters, which) if one is None else [letters.load(one)]
    confirm(len(chosen), "dead letters", yes=yes or one is not None)
    left = 0
    with closing(open_by_hand(settings.journal, make=True)) as journal:
        for letter in chosen:
            try:
                told = replay_letter(
                    letter, journal=journal, destinations=destinations, dead_letters=letters, who=who()
                )
            except (ParseError, DeadLetterError) as error:
                left += 1
                told = f"left as it is: {error}"
            click.echo(f"{letter.id[:12]} {told}")
    click.get_current_context().exit(1 if left else 0)


@click.command("discard")
@one_or_many
@config_option
@choice_options
@reason_option
@yes_option
def discard_letters(one: str | None, config: Path, *, which: Filter, reason: str, yes: bool) -> None:
    """Remove dead letters for good: one by its ID, or those that fit. The journal remembers who and why."""
    check_choice(one, which)
    settings, _ = read_settings(config)
    letters = DeadLetters(settings.dead_letters)
    chosen = chosen_letters(letters, which) if one is None else [letters.load(one)]
    confirm(len(chosen), "dead letters", yes=yes or one is not None)
    with closing(open_by_hand(settings.journal, make=True)) as journal:
        for letter in chosen:
            discard_letter(letter, journal=journal, dead_letters=letters, who=who(), reason=reason)
    click.echo(f"{len(chosen)} discarded by {who()}: {reason}", err=True)
