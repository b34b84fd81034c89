"""Whatever the catalogue lists, people block by hand and findings name: nothing that is handed out, in any format or
over any protocol, blocks what is sanctioned, as its reader would judge it.
"""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial

import dns.message
import dns.name
import dns.rdatatype
import dns.rrset
import dns.xfr
import dns.zone
import pytest
from feed_readers import READERS
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from installation import NOW_NS, snapshot_of
from list_judges import Judge
from name_readers import read_star_names
from policy_zone import Zone
from zone_service import ORIGIN, Zones

from api.errors import UnrenderableSnapshot
from api.feeds.decisions import decisions
from api.feeds.formats.base import Format
from api.feeds.registry import REGISTRY
from api.feeds.rpz import soa_text
from rules.catalogue.catalogue import Catalogue
from rules.catalogue.service import Service, Trust
from rules.lists.address_building import build_addresses
from rules.lists.blocklist import AddressList, Body, ListName, NameList
from rules.lists.building import FoundName, build_names, build_urls
from rules.policy.policy import Blocked, Policy, Sanction
from rules.policy.profiles import Profile
from rules.values.verdict import Decision, Role

TODAY = date(2026, 11, 23)
LATER_NS = NOW_NS + 86_400 * 10**9

labels = st.sampled_from("abc")
names = st.lists(labels, min_size=1, max_size=4).map(lambda parts: ".".join([*parts, "example"]))
written = st.one_of(names, names.map("={}".format))
addresses = st.one_of(
    st.integers(0x01000000, 0x01000040).map(ipaddress.IPv4Address),
    st.integers(0x2600 << 112, (0x2600 << 112) + 64).map(ipaddress.IPv6Address),
).map(str)
networks = st.sampled_from(["1.0.0.16/28", "1.0.0.0/24", "1.0.0.9/32", "2600::10/124", "2600::/64", "2600::5/128"]).map(
    ipaddress.ip_network
)
PHASES = (Phase.explicit, Phase.generate)  # the worlds are too large to be made smaller in good time
IDS = ("s0", "s1", "s2")


@dataclass(frozen=True)
class World:
    """Everything that lists are made of, and what was seen of the sanctioned tunnel."""

    services: tuple[Service, ...]
    policy: Policy
    found: tuple[FoundName, ...]
    profile: Profile
    resolved: dict[str, list[str]]
    seen: list[str]
    shared: tuple[str, ...]

    def bodies(self) -> dict[ListName, Body]:
        catalogue = Catalogue(list(self.services), list(self.shared), (), TODAY)
        listed = build_names(catalogue, self.policy, NOW_NS, self.profile, self.found)
        spared = [*self.seen, *(it for name in self.sanctioned() for it in self.resolved.get(name, ()))]
        return {
            ListName.UNSANCTIONED_DOMAINS: listed,
            ListName.UNSANCTIONED_URLS: build_urls(listed, self.policy, NOW_NS),
            ListName.UNSANCTIONED_ADDRESSES: build_addresses(
                catalogue, self.policy, NOW_NS, self.profile, resolved=self.resolved, sanctioned=spared
            ),
        }

    def active(self) -> list[Sanction]:
        return [row for row in self.policy.sanctions if row.expires is None or row.expires >= TODAY]

    def sanctioned(self) -> set[str]:
        """Names that must be let through: sanctioned domains, what lies below, and what their agents need."""
        found = set()
        for row in self.active():
            found |= {row.domain, f"x.{row.domain}", f"a.b.{row.domain}"}
            needed = next(it for it in self.services if it.id == row.service).auxiliary_domains
            for entry in needed:
                found |= {entry[1:]} if entry.startswith("=") else {entry, f"x.{entry}"}
        return found

    def sanctioned_addresses(self) -> set[str]:
        pins = [network for row in self.active() for network in row.addresses]
        ends = {str(network[at]) for network in pins for at in (0, -1)}
        return ends | set(self.seen)


services = st.tuples(
    *(
        st.builds(
            Service,
            id=st.just(service_id),
            name=st.just("s"),
            homepage=st.just(""),
            category=st.just("reverse-tunnel"),
            confidence=st.sampled_from(Trust),
            ports=st.just(()),
            sources=st.just(("test",)),
            agent_domains=st.lists(written, max_size=4).map(tuple),
            endpoint_domains=st.lists(written, max_size=2).map(tuple),
            auxiliary_domains=st.lists(written, max_size=2).map(tuple),
            exclude_domains=st.lists(written, max_size=1).map(tuple),
            addresses=st.lists(addresses, max_size=3).map(tuple),
        )
        for service_id in IDS
    )
)
sanctions = st.builds(
    Sanction,
    names,
    st.sampled_from(IDS),
    st.just("o"),
    st.just("r"),
    st.sampled_from([None, TODAY, TODAY - timedelta(1)]),
    st.lists(networks, max_size=2).map(tuple),
)
blocked = st.one_of(
    st.builds(Blocked, st.just("o"), st.just("r"), names, st.booleans(), path=st.sampled_from(["", "", "/p"])),
    st.builds(Blocked, st.just("o"), st.just("r"), network=networks),
)
policies = st.builds(
    Policy,
    sanctions=st.lists(sanctions, min_size=1, max_size=3, unique_by=lambda row: row.domain).map(tuple),
    blocked=st.lists(blocked, max_size=4).map(tuple),
    decisions=st.dictionaries(st.sampled_from(IDS), st.sampled_from([Decision.BLOCK, Decision.MONITOR]), max_size=3),
)
worlds = st.builds(
    World,
    services,
    policies,
    st.lists(st.builds(FoundName, names, st.sampled_from(IDS), st.just("seen"), st.just(LATER_NS)), max_size=3).map(
        tuple
    ),
    st.builds(Profile, st.just("p"), roles=st.frozensets(st.sampled_from(Role), min_size=1)),
    st.dictionaries(names, st.lists(addresses, max_size=3), max_size=6),
    st.lists(addresses, max_size=3),
    st.lists(names, max_size=1).map(tuple),
)


def _blocks(zone: Zone, name: str) -> bool:
    return zone.judge(name) == "blocked"


def assert_spares(world: World, is_blocked: Judge, list_name: ListName, where: str) -> None:
    if list_name is ListName.UNSANCTIONED_ADDRESSES:
        hit = {address for address in world.sanctioned_addresses() if is_blocked(address)}
    else:
        ends = ("", "/p") if list_name is ListName.UNSANCTIONED_URLS else ("",)
        hit = {name for name in world.sanctioned() for end in ends if is_blocked(f"{name}{end}")}
    assert not hit, f"{where} blocks {hit}"


@settings(max_examples=100, phases=PHASES)
@given(world=worlds)
def test_no_format_blocks_what_is_sanctioned(world: World) -> None:
    bodies = world.bodies()
    for feed in REGISTRY:
        octets = render(feed, bodies[feed.list_name])
        if octets is not None:
            name = f"{feed.list_name}.{feed.extension}"
            assert_spares(world, READERS[name](octets), feed.list_name, name)


def render(feed: Format, body: Body) -> bytes | None:
    """Return the file, None where the format refuses it."""
    try:
        return b"".join(feed.render(snapshot_of(body)))
    except UnrenderableSnapshot:
        return None


@settings(max_examples=50, phases=PHASES)
@given(world=worlds, before=worlds)
def test_no_transferred_zone_blocks_what_is_sanctioned(world: World, before: World) -> None:
    zones, secondary = Zones(), dns.zone.Zone(ORIGIN, relativize=False)
    for at, state in enumerate((before, world)):
        body = state.bodies()[ListName.UNSANCTIONED_DOMAINS]
        assert isinstance(body, NameList)
        zones.publish(body, 5 + at)
        transfer(zones, secondary, 5 if at else None)
        judged = Zone(secondary)
        name = ListName.UNSANCTIONED_DOMAINS
        assert_spares(state, partial(_blocks, judged), name, f"transfer {at}")
    whole = dns.zone.Zone(ORIGIN, relativize=False)
    transfer(zones, whole, None)
    assert secondary == whole


def transfer(zones: Zones, secondary: dns.zone.Zone, serial: int | None) -> None:
    """Bring a secondary up to date: with a serial, by the difference to it where that is smaller."""
    rdtype = dns.rdatatype.AXFR if serial is None else dns.rdatatype.IXFR
    query = dns.message.make_query(ORIGIN, rdtype)
    if serial is not None:
        query.authority.append(dns.rrset.from_text(ORIGIN, 0, "IN", "SOA", soa_text(serial)))
    with dns.xfr.Inbound(secondary, rdtype, serial) as inbound:
        for wire in zones.answers().answer(query.to_wire(), ipaddress.ip_address("127.0.0.1"), over_tcp=True):
            inbound.process_message(dns.message.from_wire(wire, xfr=True, one_rr_per_rrset=True))


@settings(max_examples=100, phases=PHASES)
@given(world=worlds)
def test_no_decision_blocks_what_is_sanctioned(world: World) -> None:
    for list_name, body in world.bodies().items():
        assert_spares(world, judge_decisions(body), list_name, "decisions")


def judge_decisions(body: Body) -> Judge:
    """What a bouncer does with decisions: `*.` before a domain is what lies below it."""
    values: dict[str, list[str]] = {"Ip": [], "Range": [], "Domain": []}
    for row in decisions(body):
        values[str(row["scope"])].append(str(row["value"]))
    if not isinstance(body, AddressList):
        return read_star_names("".join(f"{value}\n" for value in values["Domain"]).encode() or b"\n")
    ranges = [ipaddress.ip_network(value) for value in [*values["Range"], *values["Ip"]]]
    return lambda text: any(ipaddress.ip_address(text) in network for network in ranges)


def without_protection(*_arguments: object) -> dict[str, object]:
    return {}


@pytest.mark.parametrize(
    "test",
    [
        test_no_format_blocks_what_is_sanctioned,
        test_no_transferred_zone_blocks_what_is_sanctioned,
        test_no_decision_blocks_what_is_sanctioned,
    ],
)
def test_these_tests_would_notice(test: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rules.lists.building.protected_names", without_protection)
    with pytest.raises(AssertionError, match="blocks"):
        test()
