"""A list as an event of MISP (misp-core-format); `api.routes.misp` has the directory that MISP pulls.

The event keeps its UUID and gets the time of the snapshot, so that readers take a new state for a newer version.
"""

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID, uuid5

from api.feeds.formats.base import FeedFormat, Format
from api.feeds.formats.stix import added_ns, entries
from api.feeds.formats.table import divided
from rules.lists.blocklist import Entry, EntryKind, ListName, NameEntry, Scope, Snapshot, UrlEntry

NAMESPACE = UUID("4e3c7d0a-6a70-5f0f-8d1e-b7e6f6a6c2d4")
EVENT_IDS = {name: str(uuid5(NAMESPACE, name.value)) for name in ListName}
NS_PER_S = 1_000_000_000
_TYPES = {EntryKind.NAME: "domain", EntryKind.ADDRESS: "ip-dst", EntryKind.URL: "url"}
FINISHED, LOW_THREAT = "2", "3"


def describe(snapshot: Snapshot) -> dict[str, object]:
    """Return the event without its attributes, as a manifest has it."""
    created_s = snapshot.created_at_ns // NS_PER_S
    return {
        "info": f"Molecatcher {snapshot.list_name}",
        "date": datetime.fromtimestamp(created_s, UTC).date().isoformat(),
        "timestamp": str(created_s),
        "analysis": FINISHED,
        "threat_level_id": LOW_THREAT,
        "Orgc": {"name": "Molecatcher", "uuid": str(uuid5(NAMESPACE, "organisation"))},
        "Tag": [{"name": "tlp:amber", "colour": "#ffc000"}],
    }


def value_of(entry: Entry) -> str:
    """Return an attribute's value: a name, an address, a network, or a URL without its scheme."""
    if isinstance(entry, NameEntry):
        return entry.name
    if isinstance(entry, UrlEntry):
        return entry.url
    return entry.prefix.removesuffix("/128" if ":" in entry.prefix else "/32")


def event_lines(snapshot: Snapshot) -> Iterator[str]:
    """Return the event, an attribute a line."""
    own = {"uuid": EVENT_IDS[snapshot.list_name], "published": True}
    yield f'{{"Event": {json.dumps(describe(snapshot) | own)[:-1]}, "Attribute": ['
    yield from divided(json.dumps(_attribute(entry, snapshot)) for entry in entries(snapshot))
    yield "]}}"


def hash_lines(snapshot: Snapshot) -> Iterator[str]:
    """Return for each value its MD5, by which readers look for it, and the event."""
    event = EVENT_IDS[snapshot.list_name]
    for entry in entries(snapshot):
        yield f"{hashlib.md5(value_of(entry).encode(), usedforsecurity=False).hexdigest()},{event}"


def _attribute(entry: Entry, snapshot: Snapshot) -> dict[str, object]:
    below = ", and every name below it" if isinstance(entry, NameEntry) and entry.scope is Scope.SUBTREE else ""
    return {
        "uuid": str(uuid5(NAMESPACE, value_of(entry))),
        "type": _TYPES[entry.kind],
        "category": "Network activity",
        "to_ids": True,
        "value": value_of(entry),
        "timestamp": str(added_ns(entry, snapshot) // NS_PER_S),
        "comment": f"unsanctioned tunnel: {entry.service or 'listed by hand'}{below}",
    }


def _format(list_name: ListName, kind: str) -> Format:
    return Format(
        extension=FeedFormat.MISP,
        list_name=list_name,
        consumer="MISP, as an event",
        meaning=f"one attribute of type {kind} a line",
        lines=event_lines,
        comment="",
        media_type="application/json",
        says_subtrees=False,
    )


NAMES = _format(ListName.UNSANCTIONED_DOMAINS, "domain")
ADDRESSES = _format(ListName.UNSANCTIONED_ADDRESSES, "ip-dst")
URLS = _format(ListName.UNSANCTIONED_URLS, "domain or url")
