"""Builds the block lists, keeps them as numbered snapshots and hands the newest to the API.

Names follow from catalogue and policy alone. Addresses need resolution: until every sanctioned name and nearly every
listed name has been answered once, there is no address list (503); afterwards the last good one stays (DESIGN.md
section 7).
"""

import threading
import time
from collections.abc import Callable, Iterable

import structlog

from db.errors import DbError
from db.store import Store
from db.values import Resolution
from molecatcher.resolve import NameResolver
from rules.blocklist import (
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
)
from rules.ruleset import Ruleset
from rules.verdict import Outcome

log = structlog.get_logger()

ENOUGH_ANSWERED = 0.9
OBSERVED_FOR_NS = 30 * 86_400 * 1_000_000_000
FIRST_RETRY_S = 5.0


class Publisher:
    """Owns the snapshots in force. `snapshot` is one dictionary look-up; building happens in a thread of its own."""

    def __init__(
        self,
        store: Store,
        ruleset: Callable[[], Ruleset],
        resolver: NameResolver,
        interval_s: float,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.resolution_problem = "the listed names have not been resolved yet"
        self._store = store
        self._ruleset = ruleset
        self._resolver = resolver
        self._interval_s = interval_s
        self._now_ns = now_ns
        self._snapshots: dict[ListName, Snapshot] = {}
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def start(self) -> None:
        """Take up the stored snapshots, publish the names, and begin to resolve in the background.

        A stored address list is taken up only while no sanctioned address is on it.
        """
        self._restore()
        self.publish_names()
        self._thread.start()

    def snapshot(self, name: ListName) -> Snapshot | None:
        """Return the list in force, None before there is one."""
        return self._snapshots.get(name)

    def rules_changed(self) -> None:
        """Publish under the new rules: names at once; addresses go through resolution again before they are trusted.

        While the store is away no list is handed out (503, firewalls keep theirs): the old ones may hit what is now
        sanctioned.
        """
        try:
            self._withdraw_addresses()
            self.publish_names()
        except DbError as error:
            log.warning("lists_withdrawn", reason=str(error))
            self._snapshots = {}
        self._wake.set()

    def stop(self) -> None:
        """End the thread as soon as its current resolution is done."""
        self._stopping.set()
        self._wake.set()

    def publish_names(self) -> None:
        """Publish the names that the rules in force list."""
        rules = self._ruleset()
        self._publish(ListName.UNSANCTIONED_DOMAINS, build_names(rules.catalogue, rules.policy, self._now_ns()))

    def resolve_and_publish(self) -> bool:
        """Resolve everything once and publish the addresses; tell whether enough was answered to do so."""
        rules, now_ns = self._ruleset(), self._now_ns()
        sanctioned = {sanction.domain for sanction in rules.policy.active_sanctions(now_ns)}
        sanctioned |= self._observed_names(rules, now_ns)
        wanted = names_to_resolve(rules.catalogue, rules.policy, now_ns)
        self._store.save_resolution(*self._resolver.resolve([*wanted, *sanctioned]))
        known = {answer.name: answer for answer in self._store.resolutions()}
        self.resolution_problem = _problem(known, wanted, sanctioned)
        if self.resolution_problem:
            log.warning("addresses_not_published", reason=self.resolution_problem)
            return False
        spared = set(self._store.observed_addresses(Outcome.SANCTIONED, now_ns - OBSERVED_FOR_NS))
        spared.update(address for name in sanctioned for address in known[name].addresses)
        resolved = {name: known[name].addresses for name in wanted if name in known}
        built = build_addresses(rules.catalogue, rules.policy, resolved, spared, now_ns)
        if rules is self._ruleset():
            self._publish(ListName.UNSANCTIONED_ADDRESSES, built)
        return True

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                if ListName.UNSANCTIONED_DOMAINS not in self._snapshots:
                    self.publish_names()
                is_published = self.resolve_and_publish()
            except DbError as error:
                log.warning("addresses_not_published", reason=str(error))
                is_published = False
            self._wake.wait(self._interval_s if is_published else min(FIRST_RETRY_S, self._interval_s))

    def _publish(self, name: ListName, body: NameList | AddressList) -> None:
        row = self._store.publish_snapshot(name, digest(body), self._now_ns(), encode(body))
        self._snapshots[name] = Snapshot(name, row.serial, row.created_at_ns, row.digest, body)
        log.info("list_published", list=name.value, serial=row.serial, entries=len(body.blocked))

    def _restore(self) -> None:
        for name in ListName:
            row = self._store.latest_snapshot(name)
            if row is not None:
                self._snapshots[name] = Snapshot(name, row.serial, row.created_at_ns, row.digest, decode(row.body))
        self._withdraw_addresses()

    def _withdraw_addresses(self) -> None:
        """Drop the address list in force unless the rules in force would still allow every entry of it."""
        snapshot = self._snapshots.get(ListName.UNSANCTIONED_ADDRESSES)
        if snapshot is None or not isinstance(snapshot.body, AddressList):
            return
        rules, now_ns = self._ruleset(), self._now_ns()
        known = {answer.name: answer.addresses for answer in self._store.resolutions()}
        spared = self._store.observed_addresses(Outcome.SANCTIONED, now_ns - OBSERVED_FOR_NS)
        allowed = build_addresses(rules.catalogue, rules.policy, known, spared, now_ns).blocked
        if not set(snapshot.body.blocked) <= set(allowed):
            del self._snapshots[ListName.UNSANCTIONED_ADDRESSES]
            self.resolution_problem = "the policy changed: the addresses are being resolved again"

    def _observed_names(self, rules: Ruleset, now_ns: int) -> set[str]:
        """Return the sanctioned names that agents were seen dialling, such as regional ones below the domain."""
        seen = self._store.observed_names(Outcome.SANCTIONED, now_ns - OBSERVED_FOR_NS)
        return {name for name in seen if rules.policy.sanction_for(name, now_ns) is not None}


def _problem(known: dict[str, Resolution], wanted: Iterable[str], sanctioned: Iterable[str]) -> str:
    """Return why the addresses cannot be published, an empty text if they can."""
    missing = [name for name in sanctioned if name not in known or not known[name].resolved_at_ns]
    if missing:
        return f"the sanctioned name {missing[0]} has not been resolved yet"
    names = list(wanted)
    answered = sum(1 for name in names if name in known and known[name].resolved_at_ns)
    if answered < ENOUGH_ANSWERED * len(names):
        return f"only {answered} of {len(names)} listed names have been resolved: does this host have a DNS server?"
    return ""
