"""Rows of a list that GlycanAge's API has, where a site knows of one: `glycanage.report_list`.

No list is documented, so where it is, where the rows are in it and what leads to the next page are settings. All pages
are on the configured host, each is asked for once, and there is an end to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from glycanbridge.errors import GlycanAgeError
from glycanbridge.glycanage.addresses import joined
from glycanbridge.glycanage.api import Api
from glycanbridge.glycanage_settings import ListSettings
from glycanbridge.reconciling.rows import Kind, Row

MOST_PAGES = 10_000
_ABSENT = object()


def listed(api: Api, settings: ListSettings, kind: Kind, *, pause: Callable[[], None] = lambda: None) -> Iterator[Row]:
    """Every row of the list, page by page. Raises `GlycanAgeError`, and what `pause` raises, which is called between.

    The texts of its errors hold no value of a row.
    """
    url: str | None = joined(api.base_url, settings.path)
    seen: set[str] = set()
    while url is not None:
        number = len(seen) + 1
        where = f"{settings.path.partition('?')[0]}, page {number}"
        if (name := urlsplit(url)._replace(scheme="", netloc="").geturl()) in seen:
            raise GlycanAgeError(f"{where}: it is a page that came before: see glycanage.report_list.next")
        if number > MOST_PAGES:
            raise GlycanAgeError(f"{where}: more than {MOST_PAGES:,} pages: see glycanage.report_list.next")
        seen.add(name)
        try:
            page = api.page(url)
        except ValueError as error:
            raise GlycanAgeError(f"{where}: {error}") from None
        yield from _rows(page, settings, kind, where)
        url = _next(page, settings, where)
        pause()


def _rows(page: Any, settings: ListSettings, kind: Kind, where: str) -> Iterator[Row]:
    items = _at(page, settings.items) if settings.items else page
    if not isinstance(items, list):
        what = f"at {settings.items!r}" if settings.items else "in the answer itself"
        raise GlycanAgeError(f"{where}: there is no list {what}: see glycanage.report_list.items")
    names = {field: field for field in kind.fields} | dict[str, str](settings.fields.items())
    for number, item in enumerate(items, 1):
        place = f"{where}, {number}"
        key = kind.key[0]
        if not isinstance(item, dict) or _at(item, names[key]) is _ABSENT:
            raise GlycanAgeError(f"{place}: it has no {names[key]!r}: see glycanage.report_list.fields")
        yield Row(place, dict(_values(item, names, place)))


def _values(item: Mapping[str, Any], names: Mapping[str, str], place: str) -> Iterator[tuple[str, str]]:
    for field, name in names.items():
        value = _at(item, name)
        if value is _ABSENT or value is None:
            continue
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise GlycanAgeError(f"{place}: {name!r} is neither text nor a number: see glycanage.report_list.fields")
        if text := str(value).strip():
            yield field, text


def _next(page: Any, settings: ListSettings, where: str) -> str | None:
    if settings.next is None:
        return None
    url = _at(page, settings.next)
    if url is _ABSENT or url is None or url == "":
        return None
    if not isinstance(url, str):
        raise GlycanAgeError(f"{where}: {settings.next!r} is no path and no URL: see glycanage.report_list.next")
    return url


def _at(value: Any, path: str) -> Any:
    """What stands at a path such as `data.items`; a key that is really called so goes first."""
    if isinstance(value, dict) and path in value:
        return value[path]
    for name in path.split("."):
        if not isinstance(value, dict) or name not in value:
            return _ABSENT
        value = value[name]
    return value
