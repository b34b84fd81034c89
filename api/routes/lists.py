"""Block lists as people look at them: what is in force, why an entry is there, what changed, and what is held."""

import heapq
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from api.access.audit import audit
from api.context import ApiContext
from api.dependencies import Context
from api.documents import json_response
from api.feeds import FORMATS, count_entries
from api.list_schemas import DiffDocument, EntryPage, ListDocument, ListList, SnapshotList
from api.openapi import problems
from api.problems import Kind, Problem
from api.queries import ConfirmBody, DiffQuery, EntryQuery, ProfileQuery
from rules.blocklist import AddressList, Body, Entry, ListName, NameEntry, NameList, Scope, UrlList, decode
from rules.event import rfc3339
from rules.list_changes import differences
from rules.profiles import DEFAULT_PROFILE, Profile

MAX_CHANGES = 10_000
MAX_SPARED = 1_000

router = APIRouter(tags=["lists"])
Name = Annotated[ListName, Path(description="The list")]
InProfile = Annotated[ProfileQuery, Query()]


@router.get("/v1/lists", response_model=ListList, responses=problems(503))
def list_lists(context: Context) -> Response:
    """Every list: its serial in force, what it leaves out, and the newer state that a guard refused, if any."""
    profiles = context.profiles()
    in_use = [profile.name for profile, is_in_use in profiles if is_in_use]
    items = [_list_document(context, name, profile) for profile in in_use for name in ListName]
    return json_response({"items": items, "profiles": [_profile_document(*row) for row in profiles]})


@router.get("/v1/lists/{list_name}", response_model=ListDocument, responses=problems(404, 422, 503))
def get_list(list_name: Name, query: InProfile, context: Context) -> Response:
    """One list."""
    return json_response(_list_document(context, list_name, query.profile))


@router.get("/v1/lists/{list_name}/entries", response_model=EntryPage, responses=problems(404, 422, 503))
def list_entries(list_name: Name, query: Annotated[EntryQuery, Query()], context: Context) -> Response:
    """The entries in force or of an earlier snapshot, in order: service, source, reason and since when each is listed.

    `next` is the `after` of the next page. A name list is shown as formats with exemptions have it; `allowed` exempts.
    """
    body = _body(context, list_name, query.profile, query.serial)
    wanted = (row for row in _entries(body) if _is_wanted(*row, query))
    found = heapq.nsmallest(query.limit + 1, wanted, key=lambda row: row[0])
    page = [_entry(*row) for row in found[: query.limit]]
    more = page[-1]["entry"] if len(found) > query.limit else None
    return json_response({"items": page, "next": more})


@router.get("/v1/lists/{list_name}/snapshots", response_model=SnapshotList, responses=problems(404, 422, 503))
def list_snapshots(list_name: Name, query: InProfile, context: Context) -> Response:
    """The states of a list that are kept, newest first."""
    rows = context.store.snapshots(list_name, query.profile)
    items = [{"serial": row.serial, "created_at": rfc3339(row.created_at_ns), "digest": row.digest} for row in rows]
    return json_response({"items": items})


@router.get("/v1/lists/{list_name}/diff", response_model=DiffDocument, responses=problems(404, 422, 503))
def get_diff(list_name: Name, query: Annotated[DiffQuery, Query()], context: Context) -> Response:
    """What the snapshot `to` (the one in force unless given) has more and less than the snapshot `from`."""
    serials = (query.from_serial, query.to_serial)
    before, after = (_body(context, list_name, query.profile, serial) for serial in serials)
    added = list(islice((text for is_new, text in differences(before, after) if is_new), MAX_CHANGES + 1))
    removed = list(islice((text for is_new, text in differences(before, after) if not is_new), MAX_CHANGES + 1))
    return json_response(
        {
            "added": sorted(added[:MAX_CHANGES]),
            "removed": sorted(removed[:MAX_CHANGES]),
            "is_truncated": max(len(added), len(removed)) > MAX_CHANGES,
        }
    )


@router.post(
    "/v1/lists/{list_name}/confirm", status_code=202, response_model=ListDocument, responses=problems(409, 422, 503)
)
def confirm_list(list_name: Name, query: InProfile, body: ConfirmBody, context: Context, request: Request) -> Response:
    """Publish the held state with this digest although it is far from the one in force."""
    in_force = context.snapshot(list_name, query.profile)
    audit(
        request, "list.publish", f"{list_name}/{query.profile}", before=in_force and in_force.digest, after=body.digest
    )
    if not context.confirm_list(list_name, body.digest, query.profile):
        detail = "Nothing with this digest is held that could be confirmed: look at `held` in /v1/lists."
        raise Problem(Kind.CONFLICT, detail)
    return json_response(_list_document(context, list_name, query.profile), status=202)


def _list_document(context: ApiContext, name: ListName, profile: str) -> dict[str, object]:
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


def _profile_document(profile: Profile, is_in_use: bool) -> dict[str, object]:
    return {
        "name": profile.name,
        "services": sorted(profile.services),
        "roles": sorted(profile.roles),
        "minimum_confidence": profile.minimum_confidence,
        "findings": profile.findings,
        "networks": list(map(str, profile.networks)),
        "max_entries": profile.max_entries,
        "is_in_use": is_in_use,
    }


def _body(context: ApiContext, name: ListName, profile: str, serial: int | None) -> Body:
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


def _is_wanted(text: str, row: Entry, _action: str, query: EntryQuery) -> bool:
    if query.after is not None and text <= query.after:
        return False
    if query.q and query.q.lower() not in text:
        return False
    return query.service is None or row.service == query.service
