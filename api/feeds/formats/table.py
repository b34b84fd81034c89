"""The list for programs of one's own: rows of CSV (RFC 4180, but for LF) and JSON, each entry with its service."""

import json
from collections.abc import Iterator

from api.feeds.addresses import address_list, prefixes
from api.feeds.formats.base import FeedFormat, Format
from api.feeds.names import blocked_entries
from rules.blocklist import AddressEntry, ListName, NameEntry, NameList, Snapshot
from rules.event import rfc3339


def rows(snapshot: Snapshot) -> Iterator[dict[str, str]]:
    """Return the entries as they are listed."""
    if isinstance(snapshot.body, NameList):
        for entry in blocked_entries(snapshot):
            yield {"name": entry.name, "scope": entry.scope.value} | _origin(entry, snapshot)
    else:
        prefixes(snapshot)  # refuses what is not a prefix
        for row in sorted(address_list(snapshot).blocked):
            yield {"prefix": row.prefix} | _origin(row, snapshot)


def _origin(entry: NameEntry | AddressEntry, snapshot: Snapshot) -> dict[str, str]:
    since = rfc3339(entry.first_listed_ns or snapshot.created_at_ns)
    return {"service": entry.service, "source": entry.source.value, "first_listed": since, "reason": entry.reason}


def csv_lines(snapshot: Snapshot) -> Iterator[str]:
    """Return the header and a line for each entry, without the reason, which is free text; no field needs quotes."""
    subject = "name,scope" if isinstance(snapshot.body, NameList) else "prefix"
    yield f"{subject},service,source,first_listed"
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


def _both(extension: FeedFormat, meaning: tuple[str, str], **fields: object) -> tuple[Format, Format]:
    lists = (ListName.UNSANCTIONED_DOMAINS, ListName.UNSANCTIONED_ADDRESSES)
    common = {"extension": extension, "consumer": "programs of your own", "comment": ""}
    names, addresses = (
        Format(list_name=name, meaning=text, **(common | fields))  # type: ignore[arg-type]  # fields come by name
        for name, text in zip(lists, meaning, strict=True)
    )
    return names, addresses


CSV = _both(
    FeedFormat.CSV,
    ("name,scope,service,source,first_listed", "prefix,service,source,first_listed"),
    lines=csv_lines,
    media_type="text/csv; charset=utf-8",
)
JSON = _both(
    FeedFormat.JSON,
    (
        "entries of name, scope, service, source, first_listed and reason",
        "entries of prefix, service, source, first_listed and reason",
    ),
    lines=json_lines,
    media_type="application/json",
)
