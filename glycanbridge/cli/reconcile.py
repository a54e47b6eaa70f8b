"""`glycanbridge reconcile`: what GlycanAge has, compared with the journal; the events that never came are made."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import click

from glycanbridge.bridge_yaml import BridgeYaml
from glycanbridge.cli.choices import yes_option
from glycanbridge.cli.options import Moment, config_option, json_option
from glycanbridge.cli.tables import iso, show_rows
from glycanbridge.dead_letters import DeadLetter, DeadLetters
from glycanbridge.destinations import open_destinations
from glycanbridge.errors import DeadLetterError, JournalUnavailable, SettingsError
from glycanbridge.glycanage.api import Api
from glycanbridge.identity import short
from glycanbridge.journals import open_questions
from glycanbridge.journals.opening import open_by_hand
from glycanbridge.reconciling.comparing import Comparison, Finding, compare
from glycanbridge.reconciling.export import Export
from glycanbridge.reconciling.listing import listed
from glycanbridge.reconciling.making import keep
from glycanbridge.reconciling.rows import KINDS, REPORTS, Kind, Row, read_instant
from glycanbridge.settings import Settings, read_settings


@click.command
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--api", "by_api", is_flag=True, help="Ask GlycanAge's API, as glycanage.report_list says.")
@click.option(
    "--type",
    "event_type",
    type=click.Choice(list(KINDS)),
    default=REPORTS.event_type,
    show_default=True,
    help="The events that may be missing.",
)
@click.option("--since", type=Moment(), help="Only what came to be at or after: a date, a time, or 3d, 12h, 30m ago.")
@click.option("--until", type=Moment(), help="Only what came to be before: a date, a time, or 3d, 12h, 30m ago.")
@yes_option
@config_option
@json_option
def command(
    file: Path | None,
    config: Path,
    *,
    by_api: bool,
    event_type: str,
    since: int | None,
    until: int | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Compare what GlycanAge has with the journal: a CSV export of its dashboard, or a list of its API.

    Lists what is missing, different, contradictory or incomplete. With --yes the events of the missing ones are made
    and delivered like any other, flagged `reconciled`, and listed as made. Exit 1 if something is missing,
    contradictory or incomplete and was not made.
    """
    if by_api == (file is not None):
        raise click.UsageError("name a FILE, or say --api")
    kind = KINDS[event_type]
    if by_api and kind is not REPORTS:
        raise click.UsageError(f"--api compares {REPORTS.called}: export a FILE for --type {event_type}")
    settings, source = read_settings(config)
    with closing(open_questions(settings.journal)) as journal, _rows(file, kind, settings, source) as rows:
        found = compare(rows, kind=kind, journal=journal, since=since, until=until)
    if found.missing:
        _tell_quarantined(settings)
    made = _make(found, settings, source) if yes else set()
    _show(found, made, as_json=as_json)
    click.echo(f"{'GlycanAge' if file is None else file}: {_summary(found)}", err=True)
    if found.missing:
        click.echo(f"{len(made)} made" if yes else "nothing was done: say --yes to make what is missing", err=True)
    left = (0 if yes else len(found.missing)) + found.count("contradicts") + found.count("incomplete")
    click.get_current_context().exit(1 if left else 0)


@contextmanager
def _rows(file: Path | None, kind: Kind, settings: Settings, source: BridgeYaml) -> Iterator[Iterator[Row]]:
    """What GlycanAge has. Raises `SettingsError` if it is not known where it lists that."""
    glycanage = settings.glycanage
    if file is not None:
        columns = {} if glycanage is None else dict[str, str](glycanage.columns.items())
        export = Export(file, kind, columns)
        if export.lacking:
            click.echo(f"{file}: no column of {', '.join(export.lacking)}: glycanage.columns tells its name", err=True)
        yield export.rows()
        return
    if glycanage is None or glycanage.report_list is None:
        loc = ("glycanage",) if glycanage is None else ("glycanage", "report_list")
        told = "not told: --api needs to know where GlycanAge lists its reports; a FILE needs nothing"
        raise SettingsError([source.problem(loc, told)])
    with closing(Api(glycanage)) as api:
        yield listed(api, glycanage.report_list, kind)


def _make(found: Comparison, settings: Settings, source: BridgeYaml) -> set[str]:
    """Keep the events of what is missing; their ids. Doing it again after a failure makes none twice."""
    made: set[str] = set()
    if found.missing:
        destinations, _ = open_destinations(settings, source)
        with closing(open_by_hand(settings.journal)) as journal:
            try:
                for each in found.missing:
                    if not keep(each, journal=journal, destinations=destinations).duplicate:
                        made.add(each.id)
            except JournalUnavailable as error:
                raise JournalUnavailable(
                    f"{len(made)} of {len(found.missing)} made, do it again for the others: {error}"
                ) from error
    return made


def _tell_quarantined(settings: Settings) -> None:
    """Say how many bodies were not understood: what is missing may have come, and be one of them."""
    try:
        letters = DeadLetters(settings.dead_letters).letters()
        count = sum(isinstance(each, DeadLetter) and each.kind == "quarantine" for each in letters)
    except DeadLetterError:  # nobody knows then
        return
    if count:
        wait = "bodies wait" if count > 1 else "body waits"
        click.echo(f"{count} {wait} in quarantine; `glycanbridge dead-letters list`: replay them first", err=True)


def _show(found: Comparison, made: set[str], *, as_json: bool) -> None:
    shown = ("reportId", "testId", "kitCode", found.kind.at)
    names = {field: _snake(field) for field in shown if field in found.kind.fields}
    columns = [name for field, name in names.items() if field != "testId" or field in found.kind.key]
    rows = [_row(each, names, found.kind, made) for each in found.findings]
    if not as_json:  # the event of what is missing is not there yet
        rows = [row | {"event": None if row["what"] == "missing" else short(row["event_id"] or "")} for row in rows]
    columns += ["what", "event", "why"] if any(row.get("event") for row in rows) else ["what", "why"]
    show_rows(rows, as_json=as_json, columns=columns, nothing="nothing is missing")


def _row(each: Finding, names: dict[str, str], kind: Kind, made: set[str]) -> dict[str, Any]:
    told: dict[str, Any] = {name: each.row.values.get(field) for field, name in names.items()}
    at = read_instant(each.row.values.get(kind.at))
    if at is not None:
        told[_snake(kind.at)] = iso(at.ms)
    is_made = each.made is not None and each.made.id in made
    event = each.made or each.opposing
    against = each.opposing if each.what == "different" else None
    return {
        **told,
        "what": "made" if is_made else each.what,
        "why": each.why,
        "place": each.row.place,
        "event_id": event and event.id,
        "made": is_made,
        "row": None if against is None else {name: _readable(name, text, kind) for name, text in against.row.items()},
        "held": None if against is None else {name: _readable(name, text, kind) for name, text in against.held.items()},
    }


def _readable(name: str, value: Any, kind: Kind) -> Any:
    """A value as it stands there; a time as ISO 8601, so that two can be compared."""
    at = read_instant(str(value)) if name == kind.at else None
    return value if at is None else iso(at.ms)


def _summary(found: Comparison) -> str:
    counts = {what: found.count(what) for what in ("missing", "different", "contradicts", "incomplete")}
    looked = found.held + len(found.findings)
    told = ", ".join(f"{count} {what}" for what, count in {"held": found.held, **counts}.items() if count)
    passed = {
        "of another time": found.outside,
        f"without {found.kind.called} yet": found.not_yet,
        "said twice": found.repeated,
    }
    besides = ", ".join(f"{count} {what}" for what, count in passed.items() if count)
    lines = [f"{looked} {found.kind.called}" + (f": {told}" if told else "")]
    lines += [f"passed over: {besides}"] if besides else []
    lines += [f"{found.naive} times have no zone and were taken as UTC"] if found.naive else []
    return "; ".join(lines)


def _snake(name: str) -> str:
    return re.sub(r"(?=[A-Z])", "_", name).lower()
