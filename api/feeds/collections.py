"""The lists as TAXII collections: indicators in the order in which they were listed, kept until a list changes."""

from bisect import bisect_right
from dataclasses import dataclass
from uuid import uuid5

from api.context import Snapshots
from api.errors import UnrenderableSnapshot
from api.feeds.formats import stix
from rules.lists.blocklist import Entry, ListName, Snapshot, count
from rules.policy.profiles import DEFAULT_PROFILE

MAX_OBJECTS = 200_000
COLLECTION_IDS = {name: str(uuid5(stix.NAMESPACE, name.value)) for name in ListName}


@dataclass(frozen=True, slots=True)
class Member:
    """An indicator's place in a collection: when it was added, its id, the entry."""

    added_ns: int
    id: str
    entry: Entry

    @property
    def place(self) -> tuple[int, str]:
        """Return what the order is by."""
        return self.added_ns, self.id


@dataclass(frozen=True, slots=True)
class Collection:
    """One list state as a collection."""

    snapshot: Snapshot
    members: tuple[Member, ...]
    by_id: dict[str, Member]

    def page(self, after: tuple[int, str], limit: int) -> tuple[Member, ...]:
        """Return at most `limit` members whose place is after `after`."""
        start = bisect_right(self.members, after, key=lambda member: member.place)
        return self.members[start : start + limit]


class Collections:
    """The newest collection of each list and profile; two requests that meet a new snapshot may both build it."""

    def __init__(self, snapshot: Snapshots) -> None:
        self._snapshot = snapshot
        self._kept: dict[tuple[ListName, str], Collection] = {}

    def get(self, list_name: ListName, profile: str = DEFAULT_PROFILE) -> Collection | None:
        """Return the collection of the snapshot in force, None before the first.

        Raises:
            UnrenderableSnapshot: it is too large, or holds what cannot be.
        """
        snapshot = self._snapshot(list_name, profile)
        if snapshot is None:
            return None
        kept = self._kept.get((list_name, profile))
        if kept is None or (kept.snapshot.serial, kept.snapshot.digest) != (snapshot.serial, snapshot.digest):
            kept = self._kept[list_name, profile] = _collect(snapshot)
        return kept


def _collect(snapshot: Snapshot) -> Collection:
    if count(snapshot.body) > MAX_OBJECTS:
        raise UnrenderableSnapshot(f"{snapshot.list_name} has more than {MAX_OBJECTS} entries: take the STIX bundle")
    found = [
        Member(stix.added_ns(entry, snapshot), stix.indicator_id(entry), entry) for entry in stix.entries(snapshot)
    ]
    members = tuple(sorted(found, key=lambda member: member.place))
    return Collection(snapshot, members, {member.id: member for member in members})
