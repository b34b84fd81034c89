"""Which addresses belong on the lists, which never do, and which tell an agent."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from observations import NOW_NS

from rules.catalogue.catalogue import Catalogue
from rules.catalogue.service import ListKind
from rules.lists.address_building import MOST_SERVICES, agent_addresses, agent_names, build_addresses, names_to_resolve
from rules.lists.blocklist import AddressEntry, Origin, WithheldAddress
from rules.policy.policy import Policy
from rules.policy.reader import parse_policy

POLICY = '[[sanctioned]]\ndomain = "tunnels.example.com"\nservice = "ngrok"\nowner = "o"\nreason = "r"\n'


@pytest.fixture
def policy(catalogue: Catalogue) -> Policy:
    return parse_policy(POLICY, "policy.toml", catalogue, NOW_NS)


def test_addresses_of_an_unpinned_sanctioned_service_are_withheld(catalogue: Catalogue, policy: Policy) -> None:
    assert "ngrok" not in names_to_resolve(catalogue, policy, NOW_NS).values()
    built = build_addresses(catalogue, policy, NOW_NS, resolved={"connect.ngrok-agent.com": ["3.1.2.3"]}, sanctioned=())
    assert "3.1.2.3/32" not in {entry.prefix for entry in built.blocked}
    assert "tunnels.example.com" in built.withheld["ngrok"]


def test_addresses_that_its_vendor_publishes_are_withheld_too(catalogue: Catalogue) -> None:
    own = POLICY.replace("ngrok", "cloudflared")
    published = set(map(ipaddress.ip_address, catalogue.services["cloudflared"].addresses))

    def listed(text: str) -> set[ipaddress.IPv4Address | ipaddress.IPv6Address]:
        policy = parse_policy(text, "policy.toml", catalogue, NOW_NS)
        blocked = build_addresses(catalogue, policy, NOW_NS, resolved={}, sanctioned=()).blocked
        return {ipaddress.ip_network(entry.prefix).network_address for entry in blocked} & published

    assert listed("") == published
    assert listed(own) == set()
    assert listed(own + 'addresses = ["3.0.0.0/24"]\n') == published


def test_pinned_observed_and_resolved_sanctioned_addresses_are_removed(catalogue: Catalogue) -> None:
    policy = parse_policy(POLICY + 'addresses = ["3.0.0.0/24"]\n', "policy.toml", catalogue, NOW_NS)
    resolved = {"connect.ngrok-agent.com": ["3.0.0.1", "3.1.2.3", "3.1.2.4", "2600:1f00::1", "10.0.0.1", "0.0.0.0"]}
    built = build_addresses(catalogue, policy, NOW_NS, resolved=resolved, sanctioned=["3.1.2.4"])
    ngrok = {entry.prefix for entry in built.blocked if entry.service == "ngrok"}
    assert ngrok == {"3.1.2.3/32", "2600:1f00::1/128"}


def test_shared_edges_are_not_listed_but_published_tunnel_edges_are(catalogue: Catalogue) -> None:
    resolved = {"api.trycloudflare.com": ["104.16.230.132"], "h2.cftunnel.com": ["198.41.200.13"]}
    prefixes = {
        entry.prefix for entry in build_addresses(catalogue, Policy(), NOW_NS, resolved=resolved, sanctioned=()).blocked
    }
    assert "104.16.230.132/32" not in prefixes
    assert "198.41.200.13/32" in prefixes


def test_the_front_ends_of_google_are_not_listed(catalogue: Catalogue) -> None:
    blocking = parse_policy('[services]\nchrome-remote-desktop = "block"\n', "policy.toml", catalogue, NOW_NS)
    resolved = {"remotedesktop-pa.googleapis.com": ["142.250.74.10", "2a00:1450:4001:831::200a", "3.9.9.9"]}
    built = build_addresses(catalogue, blocking, NOW_NS, resolved=resolved, sanctioned=())
    assert [row.prefix for row in built.blocked if row.service == "chrome-remote-desktop"] == ["3.9.9.9/32"]
    assert {row.address for row in built.spared} == {"142.250.74.10", "2a00:1450:4001:831::200a"}
    assert "142.250.74.10" not in agent_addresses(catalogue, Policy(), resolved, NOW_NS)


def test_the_apex_of_a_subtree_is_not_resolved_it_may_be_a_web_site(catalogue: Catalogue) -> None:
    names = names_to_resolve(catalogue, Policy(), NOW_NS)
    assert "tunnel.us.ngrok.com" in names
    assert "portmap.io" not in names


@given(
    st.lists(st.integers(0x03000000, 0x03000040), max_size=20),
    st.lists(st.integers(0x03000000, 0x03000040), max_size=20),
)
def test_no_sanctioned_address_is_ever_listed(catalogue: Catalogue, found: list[int], sanctioned: list[int]) -> None:
    resolved = {"tunnel.ngrok.com": [str(ipaddress.ip_address(number)) for number in found]}
    spared = [str(ipaddress.ip_address(number)) for number in sanctioned]
    built = build_addresses(catalogue, Policy(), NOW_NS, resolved=resolved, sanctioned=spared)
    assert not {f"{address}/32" for address in spared} & {entry.prefix for entry in built.blocked}


def test_only_names_of_agents_are_resolved(catalogue: Catalogue) -> None:
    for name in names_to_resolve(catalogue, Policy(), NOW_NS):
        match = catalogue.match(name)
        assert match is not None
        assert ListKind.AGENT in match.kinds


def test_a_sanctioned_address_in_ipv6_notation_is_not_listed(catalogue: Catalogue) -> None:
    resolved = {"tunnel.ngrok.com": ["::ffff:198.51.100.7", "198.51.100.7", "198.51.100.8"]}
    listed = build_addresses(catalogue, Policy(), NOW_NS, resolved=resolved, sanctioned=["198.51.100.7"]).blocked
    assert not [entry for entry in listed if entry.prefix in ("::ffff:c633:6407/128", "198.51.100.7/32")]
    assert "198.51.100.8/32" in [entry.prefix for entry in listed]


BLOCKED = """
[[blocked]]
entry = "9.9.8.0/24"
owner = "o"
reason = "r"
"""


def test_a_network_of_the_policy_is_listed_unless_something_sanctioned_is_in_it(catalogue: Catalogue) -> None:
    policy = parse_policy(BLOCKED, "policy.toml", catalogue, NOW_NS)
    listed = build_addresses(catalogue, policy, NOW_NS, resolved={}, sanctioned=()).blocked
    assert AddressEntry("9.9.8.0/24", "policy", Origin.MANUAL, "r (o)") in listed
    built = build_addresses(catalogue, policy, NOW_NS, resolved={}, sanctioned=["9.9.8.7"])
    assert "9.9.8.0/24" not in {entry.prefix for entry in built.blocked}
    why = "a sanctioned name resolves to it, or was seen at it"
    assert built.spared == (WithheldAddress("9.9.8.0/24", "", "policy", why),)


AGENT = "connect.ngrok-agent.com"


def test_addresses_of_agents_are_known_whatever_is_sanctioned_but_for_pins(catalogue: Catalogue) -> None:
    pinned = parse_policy(POLICY + 'addresses = ["3.9.0.0/16"]\n', "policy.toml", catalogue, NOW_NS)
    resolved = {AGENT: ["3.1.2.3", "3.9.0.1", "2600:1f00::7"], "www.example.org": ["3.1.2.4"]}
    found = agent_addresses(catalogue, pinned, resolved, NOW_NS)
    assert found == {"3.1.2.3": ("ngrok", AGENT), "2600:1f00::7": ("ngrok", AGENT)}


def test_shared_addresses_and_ignored_services_say_nothing(catalogue: Catalogue) -> None:
    many = dict(list({service: name for name, service in agent_names(catalogue, Policy()).items()}.items()))
    sinkhole = {name: ["3.1.2.3"] for name in list(many.values())[: MOST_SERVICES + 1]}
    shared = str(next(net for net in catalogue.shared_networks if net.version == 4)[1])
    resolved = {**sinkhole, AGENT: [shared, "10.0.0.1", "0.0.0.0"]}
    assert agent_addresses(catalogue, Policy(), resolved, NOW_NS) == {}
    ignoring = parse_policy('[services]\nngrok = "ignore"\n', "policy.toml", catalogue, NOW_NS)
    assert agent_addresses(catalogue, ignoring, {AGENT: ["3.1.2.3"]}, NOW_NS) == {}
