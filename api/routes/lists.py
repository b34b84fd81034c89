"""Block lists as people look at them: what is in force, why an entry is there, what changed, and what is held."""

from collections.abc import Iterator
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
from api.openapi import problems
from api.problems import Kind, Problem
from api.queries import ConfirmBody, DiffQuery, EntryQuery
from api.schemas import DiffDocument, EntryPage, ListDocument, ListList, SnapshotList
from rules.blocklist import AddressList, ListName, NameEntry, NameList, Scope, decode
from rules.event import rfc3339
from rules.list_guards import listed

MAX_CHANGES = 10_000

router = APIRouter(tags=["lists"])
Name = Annotated[ListName, Path(description="The list")]


@router.get("/v1/lists", response_model=ListList, responses=problems(503))
def list_lists(context: Context) -> Response:
    """Every list: its serial in force, what it leaves out, and the newer state that a guard refused, if any."""
    return json_response({"items": [_list_document(context, name) for name in ListName]})


@router.get("/v1/lists/{list_name}", response_model=ListDocument, responses=problems(404, 422, 503))
def get_list(list_name: Name, context: Context) -> Response:
    """One list."""
    return json_response(_list_document(context, list_name))


@router.get("/v1/lists/{list_name}/entries", response_model=EntryPage, responses=problems(404, 422, 503))
def list_entries(list_name: Name, query: Annotated[EntryQuery, Query()], context: Context) -> Response:
    """The entries in force or of an earlier snapshot, in order: service, source, reason and since when each is listed.

    `next` is the `after` of the next page. A name list is shown as formats with exemptions have it; `allowed` exempts.
    """
    body = _body(context, list_name, query.serial)
    found = sorted((row for row in _entries(body) if _is_wanted(row, query)), key=_text_of)
    page = found[: query.limit]
    more = page[-1]["entry"] if len(found) > query.limit else None
    return json_response({"items": page, "next": more})


@router.get("/v1/lists/{list_name}/snapshots", response_model=SnapshotList, responses=problems(404, 422, 503))
def list_snapshots(list_name: Name, context: Context) -> Response:
    """The states of a list that are kept, newest first."""
    rows = context.store.snapshots(list_name)
    items = [{"serial": row.serial, "created_at": rfc3339(row.created_at_ns), "digest": row.digest} for row in rows]
    return json_response({"items": items})


@router.get("/v1/lists/{list_name}/diff", response_model=DiffDocument, responses=problems(404, 422, 503))
def get_diff(list_name: Name, query: Annotated[DiffQuery, Query()], context: Context) -> Response:
    """What the snapshot `to` (the one in force unless given) has more and less than the snapshot `from`."""
    before, after = (listed(_body(context, list_name, serial)) for serial in (query.from_serial, query.to_serial))
    added, removed = sorted(after - before), sorted(before - after)
    return json_response(
        {
            "added": added[:MAX_CHANGES],
            "removed": removed[:MAX_CHANGES],
            "is_truncated": max(len(added), len(removed)) > MAX_CHANGES,
        }
    )


@router.post(
    "/v1/lists/{list_name}/confirm", status_code=202, response_model=ListDocument, responses=problems(409, 422, 503)
)
def confirm_list(list_name: Name, body: ConfirmBody, context: Context, request: Request) -> Response:
    """Publish the held state with this digest although it is far from the one in force."""
    in_force = context.snapshot(list_name)
    audit(request, "list.publish", list_name, before=in_force and in_force.digest, after=body.digest)
    if not context.confirm_list(list_name, body.digest):
        detail = "Nothing with this digest is held that could be confirmed: look at `held` in /v1/lists."
        raise Problem(Kind.CONFLICT, detail)
    return json_response(_list_document(context, list_name), status=202)


def _list_document(context: ApiContext, name: ListName) -> dict[str, object]:
    snapshot, held = context.snapshot(name), context.held_list(name)
    return {
        "list_name": name,
        "serial": snapshot.serial if snapshot else None,
        "created_at": rfc3339(snapshot.created_at_ns) if snapshot else None,
        "digest": snapshot.digest if snapshot else None,
        "entries": count_entries(snapshot) if snapshot else 0,
        "feeds": [f"/feeds/{name}.{feed_format}" for feed_format in FORMATS[name]],
        "withheld": snapshot.body.withheld if snapshot and isinstance(snapshot.body, AddressList) else {},
        "held": held and msgspec.to_builtins(held) | {"is_confirmable": held.is_confirmable},
    }


def _body(context: ApiContext, name: ListName, serial: int | None) -> NameList | AddressList:
    """Return a list's content, in force or as it was.

    Raises:
        Problem: it is not there (any more).
    """
    snapshot = context.snapshot(name)
    if serial is None or (snapshot and snapshot.serial == serial):
        if snapshot is None:
            raise Problem(Kind.NOT_FOUND, "This list has not been built yet.")
        return snapshot.body
    row = context.store.snapshot(name, serial)
    if row is None:
        raise Problem(
            Kind.NOT_FOUND, f"Snapshot {serial} is not kept; /v1/lists/{name}/snapshots lists those that are."
        )
    return decode(row.body)


def _entries(body: NameList | AddressList) -> Iterator[dict[str, object]]:
    if isinstance(body, AddressList):
        for row in body.blocked:
            yield _entry(row.prefix, msgspec.to_builtins(row))
        return
    for action, rows in (("allow", body.allowed), ("block", body.wide)):
        for name in rows:
            yield _entry(_text(name), msgspec.to_builtins(name), action)


def _text_of(row: dict[str, object]) -> str:
    return str(row["entry"])


def _text(entry: NameEntry) -> str:
    return f"*.{entry.name}" if entry.scope is Scope.SUBTREE else entry.name


def _entry(text: str, row: dict[str, object], action: str = "block") -> dict[str, object]:
    since = row.get("first_listed_ns")
    return {
        "entry": text,
        "action": action,
        "scope": row.get("scope", "exact"),
        "service": row["service"],
        "source": row.get("source", "catalogue"),
        "reason": row.get("reason", ""),
        "first_listed": rfc3339(since) if isinstance(since, int) and since else None,
    }


def _is_wanted(row: dict[str, object], query: EntryQuery) -> bool:
    text = _text_of(row)
    if query.after is not None and text <= query.after:
        return False
    if query.q and query.q.lower() not in text:
        return False
    return query.service is None or row["service"] == query.service
