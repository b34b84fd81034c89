"""Builds the block lists, keeps them as numbered snapshots and hands the newest to the API.

Names follow from catalogue and policy alone. Addresses need resolution: until every sanctioned domain and nearly every
listed name has been answered once, there is no address list (503); afterwards the last good one stays (DESIGN.md
section 7). A resolver that answers NXDOMAIN or a sinkhole for the listed names, perhaps because it has our own list,
is not believed.
"""

import ipaddress
import threading
import time
from collections.abc import Callable, Iterable, Sequence

import msgspec
import structlog

from db.errors import DbError
from db.store import Store
from db.values import Resolution, SnapshotRow
from molecatcher.list_files import ListFiles
from molecatcher.resolve import NameResolver
from rules.blocklist import (
    OWN_NETWORKS,
    AddressList,
    ListName,
    NameList,
    Snapshot,
    build_addresses,
    build_names,
    decode,
    digest,
    encode,
    names_to_resolve,
    narrow_names,
    protected_names,
    stamp,
)
from rules.list_guards import CONFIRMABLE, HeldList, Spared, listed, refusals
from rules.ruleset import Ruleset
from rules.verdict import Outcome

log = structlog.get_logger()

ENOUGH_ANSWERED = 0.9
OBSERVED_FOR_NS = 30 * 86_400 * 1_000_000_000
FIRST_RETRY_S = 5.0
LOST_AT_ONCE = 0.5  # more than this share of the names that had addresses, and
FEWEST_LOST = 5  # no fewer than this many: the resolver began to block them, perhaps by our own list


class Publisher:
    """Owns the snapshots in force. `snapshot` is one dictionary look-up; building happens in a thread of its own."""

    def __init__(
        self,
        store: Store,
        ruleset: Callable[[], Ruleset],
        resolver: NameResolver,
        interval_s: float,
        *,
        files: ListFiles,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.resolution_problem = "the listed names have not been resolved yet"
        self._store = store
        self._ruleset = ruleset
        self._resolver = resolver
        self._interval_s = interval_s
        self._files = files
        self._held: dict[ListName, HeldList] = {}
        self._confirmed: dict[ListName, str] = {}
        self._now_ns = now_ns
        self._snapshots: dict[ListName, Snapshot] = {}
        self._changing = threading.Lock()  # a list is published or withdrawn under the rules that were looked at
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    @property
    def is_alive(self) -> bool:
        """Tell whether lists are still being built."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Take up the stored snapshots, publish the names, and begin to resolve in the background.

        A stored address list is taken up only while no sanctioned address is on it.
        """
        self._restore()
        self._catch_up()
        self._thread.start()

    def snapshot(self, name: ListName) -> Snapshot | None:
        """Return the list in force, None before there is one."""
        return self._snapshots.get(name)

    def held(self, name: ListName) -> HeldList | None:
        """Return the list that was refused in place of the one in force, None when that is the newest."""
        return self._held.get(name)

    def confirm(self, name: ListName, digest: str) -> bool:
        """Publish the held list with this digest as soon as it is built again; tell whether it can be confirmed."""
        held = self._held.get(name)
        if held is None or held.digest != digest or not held.is_confirmable:
            return False
        self._confirmed[name] = digest
        self._wake.set()
        return True

    def rules_changed(self) -> None:
        """Publish under the new rules: names at once; addresses go through resolution again before they are trusted.

        While the store is away no list is handed out (503, firewalls keep theirs): the old ones may hit what is now
        sanctioned.
        """
        try:
            self._catch_up()
        except DbError as error:
            log.warning("lists_withdrawn", reason=str(error))
            self._snapshots = {}
        self._wake.set()

    def stop(self) -> None:
        """End the thread as soon as its current resolution is done."""
        self._stopping.set()
        self._wake.set()

    def publish_names(self) -> None:
        """Publish the names that the rules list; where they are refused, those in force without what is spared now."""
        rules, now_ns = self._ruleset(), self._now_ns()
        spared = Spared(names=protected_names(rules.catalogue, rules.policy, now_ns))
        name = ListName.UNSANCTIONED_DOMAINS
        if self._publish(name, build_names(rules.catalogue, rules.policy, now_ns), spared):
            return
        snapshot = self._snapshots.get(name)
        if snapshot is None or not isinstance(snapshot.body, NameList):
            return
        narrowed = narrow_names(snapshot.body, rules.catalogue, rules.policy, now_ns)
        if any(refusal.guard not in CONFIRMABLE for refusal in refusals(narrowed, None, spared)):
            del self._snapshots[name]
        elif listed(narrowed) != listed(snapshot.body) or narrowed.allowed != snapshot.body.allowed:
            self._put_in_force(name, narrowed)

    def resolve_and_publish(self) -> bool:
        """Resolve everything once and publish the addresses; tell whether enough was answered to do so."""
        rules, now_ns = self._ruleset(), self._now_ns()
        wanted = names_to_resolve(rules.catalogue, rules.policy, now_ns)
        sanctioned = _sanctioned_domains(rules, now_ns)
        names = [*wanted, *sanctioned, *self._observed_names(rules, now_ns)]
        self._store.save_resolution(*_believable(self._known(), self._resolver.resolve(names)))
        known = self._known()
        self.resolution_problem = _unresolved(known, sanctioned) or _too_few(known, wanted)
        if self.resolution_problem:
            log.warning("addresses_not_published", reason=self.resolution_problem)
            return False
        built = self._build(rules, known, now_ns)
        pins = [network for sanction in rules.policy.active_sanctions(now_ns) for network in sanction.addresses]
        addresses = map(ipaddress.ip_network, self._spared_addresses(rules, known, now_ns))
        with self._changing:
            if _is_same(rules, self._ruleset()):
                self._publish(ListName.UNSANCTIONED_ADDRESSES, built, Spared(networks=(*pins, *addresses)))
        return True

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                self._catch_up()
                is_published = self.resolve_and_publish()
            except DbError as error:
                log.warning("addresses_not_published", reason=str(error))
                is_published = False
            self._wake.wait(self._interval_s if is_published else min(FIRST_RETRY_S, self._interval_s))

    def _catch_up(self) -> None:
        """Bring the lists in force up to the rules, the time (sanctions expire) and what was seen meanwhile."""
        with self._changing:
            self._withdraw_addresses()
            self.publish_names()

    def _publish(self, name: ListName, body: NameList | AddressList, spared: Spared) -> bool:
        """Put a list in force unless a guard refuses it; then it is held, and said once."""
        before, identity = self._snapshots.get(name), digest(body)
        found = refusals(body, before.body if before else None, spared)
        held = HeldList(identity, tuple(found), len(listed(body))) if found else None
        if held and not (held.is_confirmable and self._confirmed.get(name) == identity):
            if self._held.get(name) != held:
                log.error("list_refused", list=name.value, digest=identity, why=[row.detail for row in found[:5]])
            self._held[name] = held
            return False
        self._held.pop(name, None)
        self._put_in_force(name, body)
        return True

    def _put_in_force(self, name: ListName, body: NameList | AddressList) -> None:
        before, identity, now_ns = self._snapshots.get(name), digest(body), self._now_ns()
        if before and before.digest == identity:
            wanted = SnapshotRow(name, before.serial, before.created_at_ns, identity, encode(before.body))
        else:
            stamped = stamp(body, before.body if before else None, now_ns)
            wanted = SnapshotRow(name, before.serial + 1 if before else 1, now_ns, identity, encode(stamped))
        row = self._store.publish_snapshot(wanted)
        if before and (before.serial, before.digest) == (row.serial, row.digest):
            return
        self._snapshots[name] = Snapshot(name, row.serial, row.created_at_ns, row.digest, decode(row.body))
        self._files.save(self._snapshots[name])
        log.info("list_published", list=name.value, serial=row.serial, entries=len(body.blocked))

    def _restore(self) -> None:
        """Take up the newest snapshots of the database and of the files, which outlive it."""
        for name in ListName:
            row = self._store.latest_snapshot(name)
            if row is None:
                continue
            try:
                body = decode(row.body)
            except msgspec.MsgspecError as error:
                log.warning("snapshot_unreadable", list=name.value, serial=row.serial, error=str(error))
            else:
                self._snapshots[name] = Snapshot(name, row.serial, row.created_at_ns, row.digest, body)
        for kept in self._files.load():
            stored = self._snapshots.get(kept.list_name)
            if stored is None or stored.serial < kept.serial:
                self._snapshots[kept.list_name] = kept
        self._withdraw_addresses()

    def _withdraw_addresses(self) -> None:
        """Drop the address list in force unless it would be allowed now, every entry of it."""
        snapshot = self._snapshots.get(ListName.UNSANCTIONED_ADDRESSES)
        if snapshot is None or not isinstance(snapshot.body, AddressList):
            return
        rules, now_ns, known = self._ruleset(), self._now_ns(), self._known()
        problem = _unresolved(known, _sanctioned_domains(rules, now_ns))
        if problem or not listed(snapshot.body) <= listed(self._build(rules, known, now_ns)):
            del self._snapshots[ListName.UNSANCTIONED_ADDRESSES]
            self.resolution_problem = problem or "what is sanctioned changed: the addresses are being resolved again"

    def _build(self, rules: Ruleset, known: dict[str, Resolution], now_ns: int) -> AddressList:
        """Return the addresses to block as far as names are `known`, none that a sanctioned agent was seen to use."""
        resolved = {name: answer.addresses for name, answer in known.items()}
        spared = self._spared_addresses(rules, known, now_ns)
        return build_addresses(rules.catalogue, rules.policy, resolved, spared, now_ns)

    def _spared_addresses(self, rules: Ruleset, known: dict[str, Resolution], now_ns: int) -> set[str]:
        """Return the addresses that sanctioned names resolve to or were seen at."""
        spared = set(self._store.observed_addresses(Outcome.SANCTIONED, now_ns - OBSERVED_FOR_NS))
        for name, answer in known.items():
            if rules.policy.sanction_for(name, now_ns) is not None:
                spared.update(answer.addresses)
        return spared

    def _known(self) -> dict[str, Resolution]:
        return {answer.name: answer for answer in self._store.resolutions()}

    def _observed_names(self, rules: Ruleset, now_ns: int) -> set[str]:
        """Return the sanctioned names that agents were seen dialling, such as regional ones below the domain.

        Anybody inside can make up such names, also ones that never resolve: so they hold nothing back. The addresses
        that were seen with them are spared anyway.
        """
        seen = self._store.observed_names(Outcome.SANCTIONED, now_ns - OBSERVED_FOR_NS)
        return {name for name in seen if rules.policy.sanction_for(name, now_ns) is not None}


def _is_same(one: Ruleset, other: Ruleset) -> bool:
    return one.catalogue is other.catalogue and one.policy == other.policy


def _sanctioned_domains(rules: Ruleset, now_ns: int) -> list[str]:
    return [sanction.domain for sanction in rules.policy.active_sanctions(now_ns)]


def _believable(known: dict[str, Resolution], answers: Sequence[Resolution]) -> list[Resolution]:
    """Return the answers; where too many names lost their addresses at once, the losses as failures."""
    had = {name for name, answer in known.items() if _has_addresses(answer)}
    lost = {answer.name for answer in answers if answer.name in had and answer.ok and not _has_addresses(answer)}
    if len(lost) < FEWEST_LOST or len(lost) <= LOST_AT_ONCE * len(had):
        return list(answers)
    log.warning("answers_not_believed", lost=len(lost), had=len(had), example=min(lost))
    return [msgspec.structs.replace(answer, ok=False) if answer.name in lost else answer for answer in answers]


def _has_addresses(answer: Resolution) -> bool:
    """Tell whether a name has an address; that of a sinkhole is none."""
    addresses = map(ipaddress.ip_address, answer.addresses)
    return any(not any(address in network for network in OWN_NETWORKS) for address in addresses)


def _unresolved(known: dict[str, Resolution], sanctioned: Iterable[str]) -> str:
    """Return why sanctioned addresses cannot be told from others, an empty text if they can."""
    missing = [name for name in sanctioned if name not in known or not known[name].resolved_at_ns]
    return f"the sanctioned name {missing[0]} has not been resolved yet" if missing else ""


def _too_few(known: dict[str, Resolution], names: Iterable[str]) -> str:
    """Return why the answers do not make a list, an empty text if they do."""
    wanted = list(names)
    answers = [known[name] for name in wanted if name in known and known[name].resolved_at_ns]
    if len(answers) < ENOUGH_ANSWERED * len(wanted):
        return (
            f"only {len(answers)} of {len(wanted)} listed names have been resolved: does this host have a DNS server?"
        )
    if wanted and not any(map(_has_addresses, answers)):
        return f"none of {len(wanted)} listed names has an address: does the DNS server of this host block them?"
    return ""
