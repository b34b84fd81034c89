"""The list for programs of one's own: rows of CSV (RFC 4180, but for LF) and JSON, each entry with its service."""

import json
from collections.abc import Iterator

from api.feeds.addresses import address_list, prefixes
from api.feeds.formats.base import FeedFormat, Format
from api.feeds.names import blocked_entries
from api.feeds.urls import patterns, url_entries
from rules.lists.blocklist import Entry, ListName, NameList, Snapshot, UrlList
from rules.values.event import rfc3339

ORIGIN = "service,source,first_listed,role,expires"


def rows(snapshot: Snapshot) -> Iterator[dict[str, str]]:
    """Return the entries as they are listed."""
    if isinstance(snapshot.body, NameList):
        for entry in blocked_entries(snapshot):
            yield {"name": entry.name, "scope": entry.scope.value} | _origin(entry, snapshot)
    elif isinstance(snapshot.body, UrlList):
        for url in url_entries(snapshot):
            yield from ({"url": pattern} | _origin(url, snapshot) for pattern in patterns(url))
    else:
        prefixes(snapshot)  # refuses what is not a prefix
        for row in sorted(address_list(snapshot).blocked):
            yield {"prefix": row.prefix} | _origin(row, snapshot)


def _origin(entry: Entry, snapshot: Snapshot) -> dict[str, str]:
    return {
        "service": entry.service,
        "source": entry.source.value,
        "first_listed": rfc3339(entry.first_listed_ns or snapshot.created_at_ns),
        "role": entry.role.value,
        "expires": rfc3339(entry.expires_ns) if entry.expires_ns else "",
        "reason": entry.reason,
    }


def csv_lines(snapshot: Snapshot) -> Iterator[str]:
    """Return the header and a line for each entry, without the reason, which is free text; no field needs quotes."""
    subjects = {ListName.UNSANCTIONED_DOMAINS: "name,scope", ListName.UNSANCTIONED_URLS: "url"}
    yield f"{subjects.get(snapshot.list_name, 'prefix')},{ORIGIN}"
    yield from (",".join(list(row.values())[:-1]) for row in rows(snapshot))


def json_lines(snapshot: Snapshot) -> Iterator[str]:
    """Return one object: list, serial, created_at and entries, each on a line of its own."""
    head = {"list": snapshot.list_name, "serial": snapshot.serial, "created_at": rfc3339(snapshot.created_at_ns)}
    yield json.dumps(head)[:-1] + ', "entries": ['
    yield from divided(json.dumps(row) for row in rows(snapshot))
    yield "]}"


def divided(items: Iterator[str]) -> Iterator[str]:
    """Return the items with commas between them."""
    last = next(items, None)
    for item in items:
        yield f"{last},"
        last = item
    if last is not None:
        yield last


def _all(extension: FeedFormat, meaning: tuple[str, ...], **fields: object) -> tuple[Format, ...]:
    lists = (ListName.UNSANCTIONED_DOMAINS, ListName.UNSANCTIONED_ADDRESSES, ListName.UNSANCTIONED_URLS)
    common = {"extension": extension, "consumer": "programs of your own", "comment": ""}
    return tuple(
        Format(list_name=name, meaning=text, **(common | fields))  # type: ignore[arg-type]  # fields come by name
        for name, text in zip(lists, meaning, strict=True)
    )


CSV = _all(
    FeedFormat.CSV,
    (f"name,scope,{ORIGIN}", f"prefix,{ORIGIN}", f"url,{ORIGIN}"),
    lines=csv_lines,
    media_type="text/csv; charset=utf-8",
)
JSON = _all(
    FeedFormat.JSON,
    tuple(
        f"entries of {subject}, service, source, first_listed, role, expires and reason"
        for subject in ("name, scope", "prefix", "url")
    ),
    lines=json_lines,
    media_type="application/json",
)
