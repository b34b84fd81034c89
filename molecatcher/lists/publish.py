"""Builds the block lists of every profile in use and hands the newest to the API.

Names follow from catalogue, policy and findings. Addresses need resolution: until every sanctioned domain and nearly
every listed name has been answered once, there is no address list (503); afterwards the last good one stays (DESIGN.md
section 7).
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import structlog

from db.errors import DbError
from db.store import Store
from molecatcher.background import NEVER_S, BackgroundLoop
from molecatcher.lists.found_names import BELIEVED_FOR_NS, found_names
from molecatcher.lists.list_files import ListFiles
from molecatcher.lists.lookups import Lookups, NameLookups
from molecatcher.lists.profile_use import ProfileUse
from molecatcher.lists.published import PublishedLists
from molecatcher.names.resolve import NameResolver
from molecatcher.shared_file import SharedFile
from rules.lists.blocklist import Body, ListName, NameList, Snapshot, UrlList
from rules.lists.building import build_names, build_urls, narrow_names, narrow_urls, protected_names
from rules.lists.changes import differences
from rules.lists.guards import HeldList, Spared
from rules.policy.profiles import DEFAULT_PROFILE, FindingUse, Profile
from rules.policy.ruleset import Ruleset
from rules.preview.list_effects import ListEffect, list_effect

if TYPE_CHECKING:
    from db.values import NameSighting

log = structlog.get_logger()

FIRST_RETRY_S = 5.0
SHORTEST_PAUSE_S = 60.0
NAMES, URLS, ADDRESSES = ListName.UNSANCTIONED_DOMAINS, ListName.UNSANCTIONED_URLS, ListName.UNSANCTIONED_ADDRESSES


class Publisher(BackgroundLoop):
    """Owns the lists in force. `snapshot` is a dictionary look-up; building happens in two threads of its own.

    This one asks the DNS and publishes what follows; `_RulesFollower` has what is there follow changed rules meanwhile.
    """

    def __init__(
        self,
        store: Store,
        ruleset: Callable[[], Ruleset],
        resolver: NameResolver,
        interval_s: float,
        *,
        files: ListFiles,
        agent_addresses: SharedFile[dict[str, tuple[str, str]]] | None = None,
        prepare: Callable[[Snapshot, float], object] = lambda _snapshot, _until_s: None,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        super().__init__("publishing")
        self.resolution_problem = "the listed names have not been resolved yet"
        self._store = store
        self._ruleset = ruleset
        self._lookups = NameLookups(store, resolver, agent_addresses)
        self._interval_s = interval_s
        self._now_ns = now_ns
        self._lists = PublishedLists(store, files, now_ns, prepare)
        self._use = ProfileUse(store, self._profile_names, now_ns)
        self._sightings: list[NameSighting] = []
        self._follower = _RulesFollower(self)

    @property
    def is_alive(self) -> bool:
        """Tell whether lists are still being built."""
        return super().is_alive and self._follower.is_alive

    def start(self) -> None:
        """Take up the stored snapshots, publish the names, and begin to resolve in the background.

        A stored address list is taken up only while no sanctioned address is on it.
        """
        self._restore()
        self._catch_up()
        super().start()
        self._follower.start()

    def snapshot(self, name: ListName, profile: str = DEFAULT_PROFILE) -> Snapshot | None:
        """Return the list in force, None before there is one."""
        return self._lists.snapshot(name, profile)

    def use_profile(self, profile: str) -> None:
        """Note that somebody pulls a profile: it is built from now on."""
        if self._use.ask(profile):
            self.wake()

    def held(self, name: ListName, profile: str = DEFAULT_PROFILE) -> HeldList | None:
        """Return the list that was refused in place of the one in force, None when that is the newest."""
        return self._lists.held(name, profile)

    def why_unbuilt(self, name: ListName, profile: str = DEFAULT_PROFILE) -> str:
        """Return why a list is not there, "" when it is, or will be in a moment."""
        return self.resolution_problem if name is ADDRESSES and self.snapshot(name, profile) is None else ""

    def confirm(self, name: ListName, digest: str, profile: str = DEFAULT_PROFILE) -> bool:
        """Publish the held list with this digest as soon as it is built again; tell whether it can be confirmed."""
        if not self._lists.confirm(name, digest, profile):
            return False
        self.wake()
        return True

    def profiles(self) -> list[tuple[Profile, bool]]:
        """Return every profile, each with whether it is in use."""
        in_use = self._use.names()
        return [(profile, profile.name in in_use) for profile in self._ruleset().policy.profiles]

    def rules_changed(self) -> None:
        """Have the lists follow the rules, in a thread: many large ones take minutes."""
        self._follower.wake()

    def follow_rules(self) -> None:
        """Publish under the new rules: names at once; addresses go through resolution again before they are trusted.

        While the store is away no list is handed out (503, firewalls keep theirs): the old ones may hit what is now
        sanctioned.
        """
        try:
            self._catch_up()
        except DbError as error:
            log.warning("lists_withdrawn", reason=str(error))
            with self._lists.changing():
                self._lists.withdraw_all()
        self.wake()

    def stop(self) -> None:
        """End the threads, each as soon as it is done with what it does."""
        super().stop()
        self._follower.stop()

    def publish_names(self) -> None:
        """Publish names and URLs of every profile; what is refused leaves those in force, but for what is spared."""
        rules, now_ns = self._ruleset(), self._now_ns()
        spared = Spared(names=protected_names(rules.catalogue, rules.policy, now_ns))
        profiles = self._profiles(rules)
        self._lists.keep_only(profile.name for profile in profiles)
        wants_findings = any(profile.findings is not FindingUse.OFF for profile in profiles)
        self._sightings = self._store.agent_names(now_ns - BELIEVED_FOR_NS) if wants_findings else []
        for profile in profiles:
            built = self._names(rules, profile, now_ns)
            if not self._lists.publish(NAMES, profile, built, spared):
                self._narrow_names(rules, profile, spared, now_ns)
            in_force = self._lists.snapshot(NAMES, profile.name)
            if in_force is not None and isinstance(in_force.body, NameList):
                urls = build_urls(in_force.body, rules.policy, now_ns)
                if not self._lists.publish(URLS, profile, urls, spared):
                    self._narrow_urls(rules, profile, spared, now_ns)

    def preview(self, proposed: Ruleset) -> list[ListEffect]:
        """Return what would change on each list of each profile in use under other rules; nothing is published.

        It is built from what the last lists were built from: names seen and addresses resolved meanwhile do not count.
        """
        now = self._lookups.known(self._ruleset(), self._now_ns())
        then = replace(now, rules=proposed)
        spared, in_use = _spared(then), self._use.names()
        found: list[ListEffect] = []
        for profile in (row for row in now.rules.policy.profiles if row.name in in_use):
            found += self._effects(profile, self._bodies(now, profile), self._bodies(then, profile), spared)
        note = then.unresolved()
        return [msgspec.structs.replace(row, note=note) if row.list_name is ADDRESSES else row for row in found]

    def preview_profile(self, wanted: Profile) -> list[ListEffect]:
        """Return what each list of a profile would hold, beside what that profile or else the default one holds now.

        Built as `preview` does; nothing is published.
        """
        now = self._lookups.known(self._ruleset(), self._now_ns())
        defined = {profile.name: profile for profile in now.rules.policy.profiles}
        before = defined.get(wanted.name, defined[DEFAULT_PROFILE])
        return self._effects(wanted, self._bodies(now, before), self._bodies(now, wanted), _spared(now))

    def _effects(
        self, profile: Profile, before: dict[ListName, Body], after: dict[ListName, Body], spared: Spared
    ) -> list[ListEffect]:
        return [
            list_effect(name, profile, (before[name], after[name]), self._body(name, profile), spared) for name in after
        ]

    def _bodies(self, known: Lookups, profile: Profile) -> dict[ListName, Body]:
        """Return every list of a profile as it would be built."""
        names = self._names(known.rules, profile, known.now_ns)
        urls = build_urls(names, known.rules.policy, known.now_ns)
        return {NAMES: names, URLS: urls, ADDRESSES: known.build(profile)}

    def _body(self, name: ListName, profile: Profile) -> Body | None:
        in_force = self._lists.snapshot(name, profile.name)
        return in_force.body if in_force is not None else None

    def _names(self, rules: Ruleset, profile: Profile, now_ns: int) -> NameList:
        found = found_names(self._sightings, profile.findings)
        return build_names(rules.catalogue, rules.policy, now_ns, profile, found)

    def _narrow_names(self, rules: Ruleset, profile: Profile, spared: Spared, now_ns: int) -> None:
        """Leave the list in force without what must be spared now."""
        snapshot = self._lists.snapshot(NAMES, profile.name)
        if snapshot is not None and isinstance(snapshot.body, NameList):
            narrowed = narrow_names(snapshot.body, rules.catalogue, rules.policy, now_ns, profile)
            self._lists.narrow(NAMES, profile, narrowed, spared)

    def _narrow_urls(self, rules: Ruleset, profile: Profile, spared: Spared, now_ns: int) -> None:
        """As `_narrow_names`."""
        snapshot = self._lists.snapshot(URLS, profile.name)
        if snapshot is not None and isinstance(snapshot.body, UrlList):
            narrowed = narrow_urls(snapshot.body, rules.catalogue, rules.policy, now_ns, profile)
            self._lists.narrow(URLS, profile, narrowed, spared)

    def resolve_and_publish(self) -> bool:
        """Resolve everything once and publish the addresses; tell whether enough was answered to do so."""
        rules, now_ns = self._ruleset(), self._now_ns()
        profiles = self._profiles(rules)
        self._lookups.resolve(rules, profiles, now_ns)
        self._lookups.look(now_ns)
        known = self._lookups.known(rules, now_ns)
        told, self.resolution_problem = self.resolution_problem, known.unresolved() or known.too_few(profiles[0])
        if self.resolution_problem:
            if self.resolution_problem != told:  # it is tried again every few seconds
                log.warning("addresses_not_published", reason=self.resolution_problem)
            return False
        built = [known.build(profile) for profile in profiles]
        spared = Spared(networks=known.spared_networks())
        with self._lists.changing():
            if _is_same(rules, self._ruleset()):
                for profile, body in zip(profiles, built, strict=True):
                    self._lists.publish(ADDRESSES, profile, body, spared)
        return True

    def step(self) -> float:
        """Publish names and addresses as they are now, and again when the answers are old."""
        try:
            self._catch_up()
            is_published = self.resolve_and_publish()
        except DbError as error:
            log.warning("addresses_not_published", reason=str(error))
            is_published = False
        return self._pause_s() if is_published else min(FIRST_RETRY_S, self._interval_s)

    def _run(self) -> None:
        self._lists.prepare_all()
        super()._run()

    def _pause_s(self) -> float:
        """Return how long the answers hold, within bounds: all names are asked again together, so that a lie shows."""
        ttl_s = self._lookups.shortest_ttl_s
        return self._interval_s if ttl_s is None else min(self._interval_s, max(SHORTEST_PAUSE_S, ttl_s))

    def _profiles(self, rules: Ruleset) -> list[Profile]:
        """Return the profiles that are in use, the default one first."""
        self._use.look()
        in_use = self._use.names()
        return [profile for profile in rules.policy.profiles if profile.name in in_use]

    def _profile_names(self) -> frozenset[str]:
        return frozenset(profile.name for profile in self._ruleset().policy.profiles)

    def _catch_up(self) -> None:
        """Bring the lists in force up to the rules, the time (sanctions expire) and what was seen meanwhile."""
        with self._lists.changing():
            self._withdraw_addresses()
            self.publish_names()

    def _restore(self) -> None:
        """Take up what was published; a profile that has a list is in use, until it is not asked for any more."""
        names = self._profile_names()
        self._use.look()
        self._lists.restore(names)
        for name in names:
            if self._lists.snapshot(NAMES, name) is not None:
                self._use.ask(name)
        self._withdraw_addresses()

    def _withdraw_addresses(self) -> None:
        """Drop the address lists in force unless each would be allowed now, every entry of it."""
        rules, now_ns = self._ruleset(), self._now_ns()
        in_force = [
            (profile, snapshot)
            for profile in rules.policy.profiles
            if (snapshot := self._lists.snapshot(ADDRESSES, profile.name)) is not None
        ]
        if not in_force:
            return
        self._lookups.look(now_ns)
        known = self._lookups.known(rules, now_ns)
        problem = known.unresolved()
        for profile, snapshot in in_force:
            built = known.build(profile)
            if problem or any(not is_new for is_new, _text in differences(snapshot.body, built)):
                self._lists.withdraw(ADDRESSES, profile.name)
                why = "what is sanctioned changed: the addresses are being resolved again"
                self.resolution_problem = problem or why


class _RulesFollower(BackgroundLoop):
    """Has the lists follow the rules whenever it is woken."""

    def __init__(self, publisher: Publisher) -> None:
        super().__init__("following", NEVER_S)
        self._publisher = publisher

    def step(self) -> float:
        """Follow."""
        self._publisher.follow_rules()
        return NEVER_S


def _is_same(one: Ruleset, other: Ruleset) -> bool:
    return one.catalogue is other.catalogue and one.policy == other.policy


def _spared(known: Lookups) -> Spared:
    """Return what no list may hit."""
    names = protected_names(known.rules.catalogue, known.rules.policy, known.now_ns)
    return Spared(names=names, networks=known.spared_networks())
