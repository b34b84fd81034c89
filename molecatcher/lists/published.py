"""The lists in force: numbered, stored, kept as files, and replaced only by what the guards let pass."""

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import msgspec
import structlog

from db.lists.values import SnapshotRow
from db.store import Store
from molecatcher.lists.list_files import ListFiles
from rules.lists.blocklist import AddressList, Body, ListName, Snapshot, count, first_serial
from rules.lists.changes import stamp
from rules.lists.encoding import decode, digest, encode
from rules.lists.guards import CONFIRMABLE, HeldList, Spared, refusals
from rules.policy.profiles import DEFAULT_PROFILE, Profile

log = structlog.get_logger()

LONGEST_PREPARATION_S = 20.0  # what is new may block less than what is in force meanwhile
Key = tuple[ListName, str]


class PublishedLists:
    """One snapshot for each list and profile that is in use, and the state that was refused in its place, if any.

    `prepare` is called with each snapshot before anybody is handed it, and with when it must be done (monotonic clock),
    unless the one in force hits what is spared now: that waits for nothing.
    """

    def __init__(
        self,
        store: Store,
        files: ListFiles,
        now_ns: Callable[[], int],
        prepare: Callable[[Snapshot, float], object] = lambda _snapshot, _until_s: None,
    ) -> None:
        self._prepare = prepare
        self._prepare_until_s = math.inf
        self._changing = threading.Lock()
        self._store = store
        self._files = files
        self._now_ns = now_ns
        self._snapshots: dict[Key, Snapshot] = {}
        self._withdrawn: dict[Key, Snapshot] = {}  # what a list is measured against that is built after a withdrawal
        self._held: dict[Key, HeldList] = {}
        self._confirmed: dict[Key, str] = {}

    def snapshot(self, name: ListName, profile: str = DEFAULT_PROFILE) -> Snapshot | None:
        """Return the list in force, None before there is one."""
        return self._snapshots.get((name, profile))

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Let one thread at a time change lists; all that it has prepared takes `LONGEST_PREPARATION_S` together."""
        with self._changing:
            self._prepare_until_s = time.monotonic() + LONGEST_PREPARATION_S
            yield

    def prepare_all(self) -> None:
        """Prepare what is in force, after a start."""
        until_s = time.monotonic() + LONGEST_PREPARATION_S
        for snapshot in list(self._snapshots.values()):
            self._prepare(snapshot, until_s)

    def held(self, name: ListName, profile: str = DEFAULT_PROFILE) -> HeldList | None:
        """Return the list that was refused in place of the one in force, None when that is the newest."""
        return self._held.get((name, profile))

    def confirm(self, name: ListName, digest: str, profile: str = DEFAULT_PROFILE) -> bool:
        """Let the held list with this digest pass when it is built again; tell whether it can be confirmed."""
        held = self.held(name, profile)
        if held is None or held.digest != digest or not held.is_confirmable:
            return False
        self._confirmed[name, profile] = digest
        return True

    def publish(self, name: ListName, profile: Profile, body: Body, spared: Spared) -> bool:
        """Put a list in force and tell whether it is; one that a guard refuses is held, which is said once."""
        key, identity = (name, profile.name), digest(body)
        before = self._before(key)
        found = refusals(body, before.body if before else None, spared, profile)
        held = HeldList(identity, tuple(found), count(body)) if found else None
        if held and not (held.is_confirmable and self._confirmed.get(key) == identity):
            if self._held.get(key) != held:
                why = [row.detail for row in found[:5]]
                log.error("list_refused", list=name.value, profile=profile.name, digest=identity, why=why)
            self._held[key] = held
            return False
        self._held.pop(key, None)
        in_force = self._snapshots.get(key)
        is_urgent = in_force is not None and in_force.digest != identity and _hits(in_force.body, spared)
        self._put_in_force(key, body, identity, is_urgent=is_urgent)
        self._withdrawn.pop(key, None)
        return True

    def narrow(self, name: ListName, profile: Profile, narrowed: Body, spared: Spared) -> None:
        """Replace a list in force by itself without what must be spared now, or withdraw it."""
        key, identity = (name, profile.name), digest(narrowed)
        if _hits(narrowed, spared):
            self.withdraw(name, profile.name)
        elif identity != self._snapshots[key].digest:
            self._put_in_force(key, narrowed, identity, is_urgent=True)

    def withdraw(self, name: ListName, profile: str) -> None:
        """Take a list out of force: nobody is handed it any more."""
        key = (name, profile)
        if key in self._snapshots:
            self._withdrawn[key] = self._snapshots.pop(key)

    def withdraw_all(self) -> None:
        """Take every list out of force."""
        self._withdrawn |= self._snapshots
        self._snapshots = {}

    def keep_only(self, profiles: Iterable[str]) -> None:
        """Forget the lists of other profiles; the database keeps them."""
        wanted = set(profiles)
        self._snapshots = {key: row for key, row in self._snapshots.items() if key[1] in wanted}
        self._withdrawn = {key: row for key, row in self._withdrawn.items() if key[1] in wanted}
        self._held = {key: row for key, row in self._held.items() if key[1] in wanted}
        self._confirmed = {key: row for key, row in self._confirmed.items() if key[1] in wanted}

    def restore(self, profiles: Iterable[str]) -> None:
        """Take up the newest snapshots of the database and of the files, which outlive it."""
        names = list(profiles)
        for key in ((name, profile) for profile in names for name in ListName):
            if key not in self._snapshots and (stored := self._stored(key)) is not None:
                self._snapshots[key] = stored
        for kept in self._files.load(names):
            found = self._snapshots.get((kept.list_name, kept.profile))
            if found is None or found.serial < kept.serial:
                self._snapshots[kept.list_name, kept.profile] = kept

    def _before(self, key: Key) -> Snapshot | None:
        """Return the list in force, or what was before it was withdrawn."""
        return self._snapshots.get(key) or self._withdrawn.get(key)

    def _stored(self, key: Key) -> Snapshot | None:
        row = self._store.latest_snapshot(*key)
        if row is None:
            return None
        try:
            return Snapshot(key[0], row.serial, row.created_at_ns, row.digest, decode(row.body), key[1])
        except msgspec.MsgspecError as error:
            log.warning("snapshot_unreadable", list=key[0].value, serial=row.serial, error=str(error))
            return None

    def _put_in_force(self, key: Key, body: Body, identity: str, *, is_urgent: bool) -> None:
        before, now_ns = self._before(key), self._now_ns()
        name, profile = key
        if before and before.digest == identity:
            listed, serial, created_at_ns = before.body, before.serial, before.created_at_ns
            if isinstance(body, AddressList) and isinstance(before.body, AddressList):  # show what is spared now
                listed = msgspec.structs.replace(before.body, spared=body.spared)
            self._snapshots[key] = msgspec.structs.replace(before, body=listed)
            kept = self._store.snapshots(name, profile)[:1]
            if [(row.serial, row.digest) for row in kept] == [(serial, identity)]:
                return
        else:
            listed = stamp(body, before.body if before else None, now_ns)
            serial, created_at_ns = before.serial + 1 if before else first_serial(now_ns), now_ns
        wanted = SnapshotRow(name, serial, created_at_ns, identity, encode(listed), profile)
        row = self._store.publish_snapshot(wanted)
        if before and (before.serial, before.digest) == (row.serial, row.digest):
            return
        if row.body is not wanted.body:
            listed = decode(row.body)
        snapshot = Snapshot(name, row.serial, row.created_at_ns, row.digest, listed, profile)
        if not is_urgent:
            self._prepare(snapshot, self._prepare_until_s)
        self._snapshots[key] = snapshot
        self._files.save(snapshot, row.body)
        log.info("list_published", list=name.value, profile=profile, serial=row.serial, entries=count(listed))


def _hits(body: Body, spared: Spared) -> bool:
    """Tell whether a list holds what no list may, whatever stood there before it."""
    return any(refusal.guard not in CONFIRMABLE for refusal in refusals(body, None, spared))
