"""Block lists as the page shows them: a card each, and one with its entries and what changed lately."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from api.context import ApiContext
from api.feeds import FORMATS, FeedFormat, count_entries
from api.feeds.listed import body_of, changes, entry_page, list_document
from api.requests.parameters import EntryQuery
from db.lists.values import PullRecord, SnapshotRow
from rules.lists.blocklist import AddressList, ListName, WithheldAddress
from rules.policy.profiles import DEFAULT_PROFILE

Pulls = Sequence[tuple[PullRecord, int, bool]]  # each with the serial in force, and whether it is behind

MAX_REASONS = 3
MAX_STATES = 10
SHOWN_FORMATS = (FeedFormat.TXT, FeedFormat.RPZ)  # the list's own page has the others


@dataclass(frozen=True, slots=True)
class ListCard:
    """A published list, or one that is not built yet (`serial` 0)."""

    name: str
    profile: str
    serial: int
    count: int
    created_at_ns: int
    paths: tuple[str, ...]
    held: str
    why_unbuilt: str
    withheld: tuple[tuple[str, str], ...]
    spared: tuple[WithheldAddress, ...]
    consumers: int
    behind: tuple[PullRecord, ...]

    @property
    def id(self) -> str:
        """Return what the card is known by on the page."""
        return self.name if self.profile == DEFAULT_PROFILE else f"{self.name}-{self.profile}"

    @property
    def address(self) -> str:
        """Return where its own page is."""
        in_profile = "" if self.profile == DEFAULT_PROFILE else f"?profile={self.profile}"
        return f"/lists/{self.name}{in_profile}"


@dataclass(frozen=True, slots=True)
class KeptState:
    """A state of a list that is kept, and what it has more and less than the one before; None: that one is not kept."""

    row: SnapshotRow
    changed: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class ListPage:
    """One list: `document` as the API has it, a page of its entries, and its newest states."""

    card: ListCard
    document: dict[str, Any]
    entries: list[dict[str, object]]
    next_after: str | None
    services: tuple[tuple[str, str], ...]
    states: tuple[KeptState, ...]
    pulls: Pulls
    profiles: tuple[str, ...]


def list_cards(context: ApiContext, pulls: Pulls) -> tuple[ListCard, ...]:
    """Return every list in every profile that is in use."""
    return tuple(_card(context, name, profile, pulls) for profile in _in_use(context) for name in ListName)


def make_list_page(context: ApiContext, name: ListName, query: EntryQuery, pulls: Pulls) -> ListPage:
    """Return what the page of one list shows.

    Raises:
        Problem: the state that `query.serial` names is not kept.
    """
    is_built = query.serial is not None or context.snapshot(name, query.profile) is not None
    entries, more = entry_page(body_of(context, name, query.profile, query.serial), query) if is_built else ([], None)
    return ListPage(
        card=_card(context, name, query.profile, pulls),
        pulls=_of(pulls, name, query.profile),
        document=list_document(context, name, query.profile),
        entries=entries,
        next_after=more,
        services=tuple((row.id, row.name) for row in context.catalogue_services()),
        states=_states(context, name, query.profile),
        profiles=_in_use(context),
    )


def _in_use(context: ApiContext) -> tuple[str, ...]:
    return tuple(profile.name for profile, is_in_use in context.profiles() if is_in_use)


def _states(context: ApiContext, name: ListName, profile: str) -> tuple[KeptState, ...]:
    rows = context.store.snapshots(name, profile)[: MAX_STATES + 1]
    bodies = [body_of(context, name, profile, row.serial) for row in rows]
    found = [
        KeptState(row, changes(before, after))
        for row, after, before in zip(rows[:-1], bodies[:-1], bodies[1:], strict=True)
    ]
    if rows and len(rows) <= MAX_STATES:
        found.append(KeptState(rows[-1], None))
    return tuple(found)


def _of(pulls: Pulls, name: ListName, profile: str) -> Pulls:
    return [row for row in pulls if (row[0].list_name, row[0].profile) == (name, profile)]


def _card(context: ApiContext, name: ListName, profile: str, pulls: Pulls) -> ListCard:
    pulling = _of(pulls, name, profile)
    shown = [feed_format for feed_format in FORMATS[name] if feed_format in SHOWN_FORMATS]
    in_profile = "" if profile == DEFAULT_PROFILE else f"?profile={profile}"
    snapshot, held = context.snapshot(name, profile), context.held_list(name, profile)
    body = snapshot.body if snapshot else None
    return ListCard(
        name=name.value,
        profile=profile,
        serial=snapshot.serial if snapshot else 0,
        count=count_entries(snapshot) if snapshot else 0,
        created_at_ns=snapshot.created_at_ns if snapshot else 0,
        paths=tuple(f"/feeds/{name}.{feed_format}{in_profile}" for feed_format in shown),
        why_unbuilt=context.why_unbuilt(name, profile),
        held="; ".join(refusal.detail for refusal in held.refusals[:MAX_REASONS]) if held else "",
        withheld=tuple(body.withheld.items()) if isinstance(body, AddressList) else (),
        spared=body.spared if isinstance(body, AddressList) else (),
        consumers=len(pulling),
        behind=tuple(record for record, _, is_behind in pulling if is_behind),
    )
