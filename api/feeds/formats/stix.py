"""A bundle of STIX 2.1 indicators (OASIS STIX 2.1 sections 4.7 and 9), also what the TAXII collections hold.

An entry has the same id in every list state: a UUIDv5 of what it says. It is created when it was first listed.
"""

import json
from collections.abc import Iterator
from itertools import chain
from uuid import UUID, uuid5

from api.feeds.addresses import address_list, prefixes
from api.feeds.formats.base import FeedFormat, Format
from api.feeds.formats.table import divided
from api.feeds.names import blocked_entries
from api.feeds.urls import url_entries
from rules.lists.blocklist import AddressEntry, Entry, ListName, NameEntry, NameList, Scope, Snapshot, UrlEntry, UrlList
from rules.values.event import rfc3339

NAMESPACE = UUID("c9c15aa5-8f0c-5f0e-9d57-2a6b7b6c9f10")
MEDIA_TYPE = "application/stix+json;version=2.1"


def entries(snapshot: Snapshot) -> Iterator[Entry]:
    """Return the entries that are indicators, in order."""
    if isinstance(snapshot.body, NameList):
        return blocked_entries(snapshot)
    if isinstance(snapshot.body, UrlList):
        return url_entries(snapshot)
    prefixes(snapshot)  # refuses what is not a prefix
    return iter(sorted(address_list(snapshot).blocked))


def producer() -> dict[str, object]:
    """Return the identity that all indicators refer to."""
    made = "2026-11-23T00:00:00.000000Z"
    head: dict[str, object] = {"type": "identity", "spec_version": "2.1"}
    head["id"] = f"identity--{uuid5(NAMESPACE, 'producer')}"
    return head | {"created": made, "modified": made, "name": "Molecatcher", "identity_class": "system"}


def indicator_id(entry: Entry) -> str:
    """Return the id of an entry, whatever the list and the time."""
    what = f"{entry.name} {entry.scope}" if isinstance(entry, NameEntry) else entry.text
    return f"indicator--{uuid5(NAMESPACE, what)}"


def added_ns(entry: Entry, snapshot: Snapshot) -> int:
    """Return since when an entry is listed."""
    return entry.first_listed_ns or snapshot.created_at_ns


def indicator(entry: Entry, snapshot: Snapshot) -> dict[str, object]:
    """Return the entry as an indicator."""
    since = rfc3339(added_ns(entry, snapshot))
    head = {"type": "indicator", "spec_version": "2.1", "id": indicator_id(entry), "created_by_ref": producer()["id"]}
    return (
        head
        | {
            "created": since,
            "modified": since,
            "name": f"unsanctioned tunnel: {entry.service or 'listed by hand'}",
            "description": entry.reason or f"on the list {snapshot.list_name}",
            "indicator_types": ["anomalous-activity"],
            "pattern": _pattern(entry),
            "pattern_type": "stix",
            "valid_from": since,
        }
        | ({"valid_until": rfc3339(entry.expires_ns)} if entry.expires_ns else {})
    )


def bundle_lines(snapshot: Snapshot) -> Iterator[str]:
    """Return the bundle, an object a line."""
    name = f"bundle--{uuid5(NAMESPACE, f'{snapshot.list_name} {snapshot.serial}')}"
    yield f'{{"type": "bundle", "id": "{name}", "objects": ['
    yield from divided(
        map(json.dumps, chain([producer()], (indicator(entry, snapshot) for entry in entries(snapshot))))
    )
    yield "]}"


def _pattern(entry: Entry) -> str:
    if isinstance(entry, AddressEntry):
        kind = "ipv6-addr" if ":" in entry.prefix else "ipv4-addr"
        return f"[{kind}:value ISSUBSET '{entry.prefix}']"
    if isinstance(entry, UrlEntry):
        url = entry.url.replace("\\", r"\\").replace("'", r"\'")  # STIX 2.1 section 9.2, of a string literal
        return f"[url:value = 'https://{url}' OR url:value = 'http://{url}']"
    itself = f"domain-name:value = '{entry.name}'"
    return f"[{itself} OR domain-name:value LIKE '%.{entry.name}']" if entry.scope is Scope.SUBTREE else f"[{itself}]"


def _format(list_name: ListName, meaning: str) -> Format:
    return Format(
        extension=FeedFormat.STIX,
        list_name=list_name,
        consumer="threat intelligence platforms",
        meaning=meaning,
        lines=bundle_lines,
        comment="",
        media_type=MEDIA_TYPE,
    )


NAMES = _format(ListName.UNSANCTIONED_DOMAINS, "a STIX 2.1 bundle with an indicator for each name")
ADDRESSES = _format(ListName.UNSANCTIONED_ADDRESSES, "a STIX 2.1 bundle with an indicator for each prefix")
URLS = _format(ListName.UNSANCTIONED_URLS, "a STIX 2.1 bundle with an indicator for each name and each URL")
