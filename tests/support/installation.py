"""What a running API answers from, with something to put into it."""

import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from operator import attrgetter
from pathlib import Path

from starlette import types
from starlette.datastructures import Headers

from api.access.secrets import digest_of, new_id, new_secret, written
from api.caller import LOCAL, SCOPE_KEY, Caller
from api.context import ApiContext, CatalogueStatus, PolicyStatus, SanctionedDomain, ServiceRow
from db.access.values import Token, TokenScope
from db.store import Store
from molecatcher.recordings.dissection import dissect
from rules.catalogue.catalogue import load_catalogue
from rules.lists.blocklist import (
    AddressEntry,
    AddressList,
    Body,
    ListName,
    NameEntry,
    NameList,
    Scope,
    Snapshot,
    UrlList,
)
from rules.lists.encoding import digest
from rules.lists.guards import HeldList
from rules.policy.overlay import apply_overlay
from rules.policy.policy import Policy
from rules.policy.profiles import AGENTS_ONLY, DEFAULT_PROFILE, STRICT, Profile
from rules.policy.ruleset import Ruleset
from rules.preview.list_effects import ListEffect
from rules.values.event import Event, EventReason, uuid7
from rules.values.observation import FlowState, Kind, Transport
from rules.values.sensor_status import SensorStatus
from rules.values.verdict import Decision, Outcome, Role, Severity

Eventually = Callable[[Callable[[], object]], None]
NOW_NS = 1_795_460_400_000_000_000  # 2026-11-23T19:00:00Z
SECOND_NS = 1_000_000_000
LISTS = {
    NameList: ListName.UNSANCTIONED_DOMAINS,
    AddressList: ListName.UNSANCTIONED_ADDRESSES,
    UrlList: ListName.UNSANCTIONED_URLS,
}

CATALOGUE = CatalogueStatus("2026.11.23", date(2026, 11, 23), age_days=6)
RULES = Ruleset(load_catalogue(), Policy())
SERVICES = (
    ServiceRow("ngrok", "ngrok (agent and SDKs)", "reverse-tunnel", "high", Decision.BLOCK, "https://tunnel.example/"),
    ServiceRow("bore", "bore", "reverse-tunnel", "medium", Decision.BLOCK, "https://bore.example/"),
)
POLICY = PolicyStatus(
    path="policy.toml",
    loaded_at_ns=NOW_NS,
    sanctioned=(
        SanctionedDomain("tunnels.example.com", "ngrok", "platform@example.com", "team tenant", date(2027, 12, 31)),
    ),
)


def event_of(**fields: object) -> Event:
    """Return an event; what is not given is an ngrok agent's."""
    observed_at_ns = int(str(fields.get("observed_at_ns", NOW_NS)))
    defaults: dict[str, object] = {
        "event_id": uuid7(observed_at_ns),
        "observed_at_ns": observed_at_ns,
        "received_at_ns": NOW_NS,
        "kind": Kind.TLS,
        "verdict": Outcome.UNSANCTIONED,
        "state": FlowState.LIVE,
        "service": "ngrok",
        "service_category": "reverse-tunnel",
        "role": Role.AGENT,
        "severity": Severity.HIGH,
        "confidence": 95,
        "reasons": (
            EventReason("tls_sni", "connect.ngrok-agent.com", "the TLS hello asks for connect.ngrok-agent.com"),
        ),
        "sensor_id": "gateway-1",
        "src_ip": "10.20.0.7",
        "src_port": 51234,
        "dst_ip": "203.0.113.9",
        "dst_port": 443,
        "dst_name": "connect.ngrok-agent.com",
        "transport": Transport.TCP,
        "first_seen_ns": observed_at_ns,
        "last_seen_ns": observed_at_ns,
    }
    return Event(**(defaults | fields))  # type: ignore[arg-type]  # fields come by name


def add_token(store: Store, **fields: object) -> str:
    """Keep a token for feeds and return it as its holder writes it."""
    token_id, secret = new_id(), new_secret()
    defaults: dict[str, object] = {
        "token_id": token_id,
        "name": "firewall",
        "scopes": (TokenScope.FEEDS_READ,),
        "digest": digest_of(secret),
        "created_at_ns": NOW_NS,
    }
    assert store.add_token(Token(**(defaults | fields)), 100)  # type: ignore[arg-type]  # fields come by name
    return written(token_id, secret)


def snapshot_of(body: Body, serial: int = 7, created_at_ns: int = NOW_NS, profile: str = DEFAULT_PROFILE) -> Snapshot:
    """Return a snapshot of `body` under the list it belongs to."""
    return Snapshot(LISTS[type(body)], serial, created_at_ns, digest(body), body, profile)


def names_of(blocked: str, allowed: str = "") -> NameList:
    """Return a list from words: `name` stands for a subtree, `=name` for that name alone."""
    entries = tuple(sorted(map(_entry, blocked.split())))
    return NameList(blocked=entries, wide=entries, allowed=tuple(sorted(map(_entry, allowed.split()))))


def _entry(word: str) -> NameEntry:
    return NameEntry(word.removeprefix("="), Scope.EXACT if word.startswith("=") else Scope.SUBTREE, "ngrok")


@dataclass
class Installation:
    """What a running API answers from; a test changes it while the server runs."""

    store: Store
    path: Path
    url: str = ""
    now_ns: int = NOW_NS
    policy: PolicyStatus = POLICY
    services: tuple[ServiceRow, ...] = SERVICES
    catalogue: CatalogueStatus = CATALOGUE
    snapshots: dict[tuple[ListName, str], Snapshot] = field(default_factory=dict)
    profiles: tuple[tuple[Profile, bool], ...] = ((AGENTS_ONLY, True), (STRICT, False))
    used: list[str] = field(default_factory=list)
    unbuilt: str = ""
    held: dict[ListName, HeldList] = field(default_factory=dict)
    confirmed: list[tuple[ListName, str]] = field(default_factory=list)
    needs_approval: bool = False
    preview_lists: Callable[[Ruleset], Sequence[ListEffect]] = lambda _proposed: ()
    preview_profile: Callable[[Profile], Sequence[ListEffect]] = lambda _wanted: ()
    list_profiles: Callable[[], Sequence[tuple[Profile, bool]]] | None = None
    file_policy: Policy = field(default_factory=Policy)
    name_key: bytes = bytes(32)
    stop: Callable[[], None] = lambda: None
    ask_policy: Callable[["Installation"], PolicyStatus] = attrgetter("policy")

    def context(self) -> ApiContext:
        """Return the context that reads this installation's present state."""
        return ApiContext(
            store=self.store,
            snapshot=self.snapshot,
            profiles=lambda: self.list_profiles() if self.list_profiles else self.profiles,
            use_profile=self.used.append,
            catalogue_services=lambda: self.services,
            catalogue_status=lambda: self.catalogue,
            dissect=dissect,
            policy_status=lambda: self.ask_policy(self),
            now_ns=lambda: self.now_ns,
            version="0.1.0",
            ruleset=self.ruleset,
            needs_approval=lambda: self.needs_approval,
            preview_lists=self.preview,
            preview_profile=self.look_at_profile,
            name_key=self.name_key,
            held_list=self.held_list,
            why_unbuilt=lambda _name, _profile: self.unbuilt,
            confirm_list=self.confirm,
        )

    def ruleset(self) -> Ruleset:
        """Return the file's policy with what was changed over the API."""
        catalogue = RULES.catalogue
        return Ruleset(catalogue, apply_overlay(self.file_policy, self.store.policy.overlay(), catalogue, self.now_ns))

    def preview(self, proposed: Ruleset) -> Sequence[ListEffect]:
        """Return what other rules would do to the lists."""
        return self.preview_lists(proposed)

    def look_at_profile(self, wanted: Profile) -> Sequence[ListEffect]:
        """Return what the lists of a profile would hold."""
        return self.preview_profile(wanted)

    def snapshot(self, name: ListName, profile: str = DEFAULT_PROFILE) -> Snapshot | None:
        """Return the list in force."""
        return self.snapshots.get((name, profile))

    def held_list(self, name: ListName, profile: str = DEFAULT_PROFILE) -> HeldList | None:
        """Return the list that was refused."""
        return self.held.get(name) if profile == DEFAULT_PROFILE else None

    def confirm(self, name: ListName, digest: str, profile: str = DEFAULT_PROFILE) -> bool:  # noqa: ARG002 - as asked
        """Note what was confirmed, if it is held."""
        if name not in self.held or self.held[name].digest != digest:
            return False
        self.confirmed.append((name, digest))
        return True

    def add(self, **fields: object) -> Event:
        """Store an event and return it."""
        event = event_of(**fields)
        assert self.store.append([event]).stored == 1
        return event

    def add_many(self, count: int, *, before_ns: int = NOW_NS) -> list[Event]:
        """Store events, a second apart, newest first."""
        events = [event_of(observed_at_ns=before_ns - at * SECOND_NS) for at in range(count)]
        self.store.append(events)
        return events

    def break_database(self) -> None:
        """Take every table out of the database under the running program."""
        path = self.path
        with sqlite3.connect(path) as damage:
            tables = [name for (name,) in damage.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for name in tables:
                if not name.startswith("sqlite_"):
                    damage.execute(f'ALTER TABLE "{name}" RENAME TO "lost_{name}"')

    def mend_database(self) -> None:
        """Put back what `break_database` took."""
        with sqlite3.connect(self.path) as repair:
            lost = [name for (name,) in repair.execute("SELECT name FROM sqlite_master WHERE name LIKE 'lost_%'")]
            for name in lost:
                repair.execute(f'ALTER TABLE "{name}" RENAME TO "{name.removeprefix("lost_")}"')

    def publish(
        self, body: Body, serial: int = 7, created_at_ns: int = NOW_NS, profile: str = DEFAULT_PROFILE
    ) -> Snapshot:
        """Make `body` the current snapshot of its list."""
        snapshot = snapshot_of(body, serial, created_at_ns, profile)
        self.snapshots[snapshot.list_name, profile] = snapshot
        return snapshot

    def publish_both(self) -> None:
        """Publish a small list of names and one of addresses."""
        self.publish(names_of("ngrok-agent.com =tunnel.ngrok.com", "tunnels.example.com"))
        self.publish(AddressList((AddressEntry("203.0.113.9/32", "ngrok"),)))

    def beat(self, **fields: object) -> None:
        """Store a sensor's heartbeat of this moment."""
        status = SensorStatus(
            sensor_id="gateway-1",
            version="0.1.0",
            hostname="gateway.example.com",
            started_at_ns=self.now_ns - 60 * SECOND_NS,
            heartbeat_ns=self.now_ns,
            interfaces=("eth0",),
            engine="ebpf",
            packets=1234,
            octets=987_654,
        )
        values = {name: getattr(status, name) for name in status.__struct_fields__} | fields
        self.store.save_heartbeat(SensorStatus(**values))

    def set_policy(self, **fields: object) -> None:
        """Change parts of the policy's status."""
        self.policy = replace(self.policy, **fields)  # type: ignore[arg-type]  # fields come by name


def wait_until(is_true: Callable[[], object], timeout_s: float = 60) -> None:
    """Return when `is_true` does not answer false any more.

    Raises:
        TimeoutError: it did all the time.
    """
    deadline = time.monotonic() + timeout_s
    while not is_true():
        if time.monotonic() > deadline:
            raise TimeoutError("what was waited for did not happen")
        time.sleep(0.02)


def with_callers(app: types.ASGIApp) -> types.ASGIApp:
    """Return `app` where requests come from whom `X-Test-Caller` names, who sees names unless `X-Test-Names` is no."""

    async def name_caller(scope: types.Scope, receive: types.Receive, send: types.Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            sees_names = headers.get("X-Test-Names") != "no"
            scope[SCOPE_KEY] = Caller(headers.get("X-Test-Caller", LOCAL.name), sees_names)
        await app(scope, receive, send)

    return name_caller
