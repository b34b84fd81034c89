"""What a list holds, as documents: in force or as it was, why an entry is there, and what changed."""

import heapq
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import msgspec

from api.context import ApiContext
from api.feeds import FORMATS, count_entries
from api.problems import Kind, Problem
from api.requests.parameters import EntryQuery
from rules.lists.blocklist import AddressList, Body, Entry, ListName, NameEntry, NameList, Scope, UrlList
from rules.lists.changes import differences
from rules.lists.encoding import decode
from rules.policy.profiles import DEFAULT_PROFILE, Profile
from rules.values.event import rfc3339

MAX_CHANGES = 10_000
MAX_SPARED = 1_000


def entry_page(body: Body, query: EntryQuery) -> tuple[list[dict[str, object]], str | None]:
    """Return the entries that a query asks for, in order, and where the next page begins. Costs O(entries)."""
    wanted = (row for row in _entries(body) if _is_wanted(row[0], row[1], query))
    found = heapq.nsmallest(query.limit + 1, wanted, key=lambda row: row[0])
    page = [_entry(*row) for row in found[: query.limit]]
    return page, found[query.limit - 1][0] if len(found) > query.limit else None


def changes(before: Body, after: Body) -> dict[str, Any]:
    """Return what `after` has more and less than `before`, of each so many at most."""
    added = list(islice((text for is_new, text in differences(before, after) if is_new), MAX_CHANGES + 1))
    removed = list(islice((text for is_new, text in differences(before, after) if not is_new), MAX_CHANGES + 1))
    return {
        "added": sorted(added[:MAX_CHANGES]),
        "removed": sorted(removed[:MAX_CHANGES]),
        "is_truncated": max(len(added), len(removed)) > MAX_CHANGES,
    }


def list_document(context: ApiContext, name: ListName, profile: str) -> dict[str, Any]:
    """Return a list in force: what it leaves out, where it is pulled, and the newer state that is held, if any."""
    snapshot, held = context.snapshot(name, profile), context.held_list(name, profile)
    in_profile = "" if profile == DEFAULT_PROFILE else f"?profile={profile}"
    body = snapshot.body if snapshot else None
    return {
        "list_name": name,
        "profile": profile,
        "serial": snapshot.serial if snapshot else None,
        "created_at": rfc3339(snapshot.created_at_ns) if snapshot else None,
        "digest": snapshot.digest if snapshot else None,
        "entries": count_entries(snapshot) if snapshot else 0,
        "feeds": [f"/feeds/{name}.{feed_format}{in_profile}" for feed_format in FORMATS[name]],
        "withheld": body.withheld if isinstance(body, AddressList) else {},
        "spared": body.spared[:MAX_SPARED] if isinstance(body, AddressList) else (),
        "held": held and msgspec.to_builtins(held) | {"is_confirmable": held.is_confirmable},
    }


def profile_document(profile: Profile, is_in_use: bool) -> dict[str, object]:
    """Return what a profile chooses."""
    return {
        "name": profile.name,
        "services": sorted(profile.services),
        "roles": sorted(profile.roles),
        "minimum_confidence": profile.minimum_confidence,
        "findings": profile.findings,
        "networks": list(map(str, profile.networks)),
        "max_entries": profile.max_entries,
        "max_shrink": profile.max_shrink,
        "max_growth": profile.max_growth,
        "is_in_use": is_in_use,
    }


def body_of(context: ApiContext, name: ListName, profile: str, serial: int | None) -> Body:
    """Return a list's content, in force or as it was.

    Raises:
        Problem: it is not there (any more).
    """
    snapshot = context.snapshot(name, profile)
    if serial is None or (snapshot and snapshot.serial == serial):
        if snapshot is None:
            raise Problem(Kind.NOT_FOUND, "This list has not been built yet.")
        return snapshot.body
    row = context.store.snapshot(name, serial, profile)
    if row is None:
        raise Problem(
            Kind.NOT_FOUND, f"Snapshot {serial} is not kept; /v1/lists/{name}/snapshots lists those that are."
        )
    return decode(row.body)


def _entries(body: Body) -> Iterator[tuple[str, Entry, str]]:
    """Yield the entries with their texts and what each does."""
    parts: tuple[tuple[str, Iterable[Entry]], ...] = (("block", body.blocked),)
    if isinstance(body, NameList):
        parts = (("allow", body.allowed), ("block", body.wide))
    for action, rows in parts:
        for row in rows:
            slash = "/" if isinstance(body, UrlList) and isinstance(row, NameEntry) else ""
            yield f"{row.text}{slash}", row, action


def _entry(text: str, row: Entry, action: str) -> dict[str, object]:
    return {
        "entry": text,
        "kind": "url" if text.endswith("/") else row.kind,
        "action": action,
        "scope": row.scope if isinstance(row, NameEntry) else Scope.EXACT,
        "service": row.service,
        "role": row.role,
        "source": row.source,
        "reason": row.reason,
        "first_listed": rfc3339(row.first_listed_ns) if row.first_listed_ns else None,
        "expires": rfc3339(row.expires_ns) if row.expires_ns else None,
    }


def _is_wanted(text: str, row: Entry, query: EntryQuery) -> bool:
    if query.after is not None and text <= query.after:
        return False
    if query.q and query.q.lower() not in text:
        return False
    return query.service is None or row.service == query.service
