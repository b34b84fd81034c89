"""Which names belong on the lists, and which never do."""

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from observations import NOW_NS

from rules.catalogue.catalogue import Catalogue
from rules.catalogue.service import Service, Trust
from rules.lists.blocklist import NameEntry, NameList, Origin, Scope
from rules.lists.building import build_names, narrow_names, protected_names
from rules.policy.policy import Policy, Sanction
from rules.policy.reader import parse_policy

POLICY = '[[sanctioned]]\ndomain = "tunnels.example.com"\nservice = "ngrok"\nowner = "o"\nreason = "r"\n'


@pytest.fixture
def policy(catalogue: Catalogue) -> Policy:
    return parse_policy(POLICY, "policy.toml", catalogue, NOW_NS)


def is_blocked(entries: tuple[NameEntry, ...], name: str) -> bool:
    """A list read by someone who knows only what an entry means."""
    return any(
        name == entry.name or (entry.scope is Scope.SUBTREE and name.endswith("." + entry.name)) for entry in entries
    )


def test_agents_of_blocked_services_are_listed(catalogue: Catalogue) -> None:
    names = build_names(catalogue, Policy(), NOW_NS)
    for blocked in (
        "connect.ngrok-agent.com",
        "tunnel.ngrok.com",
        "region1.v2.argotunnel.com",
        "x.new.ngrok-agent.com",
    ):
        assert is_blocked(names.blocked, blocked)


def test_visitors_sites_and_watched_services_are_not_listed(catalogue: Catalogue) -> None:
    names = build_names(catalogue, Policy(), NOW_NS)
    for open_name in ("abc.ngrok.app", "ngrok.com", "dashboard.ngrok.com", "controlplane.tailscale.com", "github.com"):
        assert not is_blocked(names.wide, open_name)


def test_the_sanctioned_agents_needs_are_spared_and_the_rest_stays_listed(catalogue: Catalogue, policy: Policy) -> None:
    names = build_names(catalogue, policy, NOW_NS)
    for needed in (
        "tunnels.example.com",
        "tunnel.us.tunnels.example.com",
        "crl.ngrok-agent.com",
        "update.ngrok-agent.com",
    ):
        assert not is_blocked(names.blocked, needed)
        assert is_blocked(names.allowed, needed)
    for still in ("connect.ngrok-agent.com", "connect.us-cal-1.ngrok-agent.com", "tunnel.ngrok.com", "ngrok-agent.com"):
        assert is_blocked(names.blocked, still)
    assert is_blocked(names.wide, "connect.new.ngrok-agent.com")


def test_a_sanctioned_name_below_a_listed_one_is_spared(catalogue: Catalogue) -> None:
    policy = parse_policy(POLICY.replace("tunnels.example.com", "acme.nport.link"), "p", catalogue, NOW_NS)
    names = build_names(catalogue, policy, NOW_NS)
    assert not is_blocked(names.blocked, "acme.nport.link")
    assert is_blocked(names.blocked, "nport.link")
    assert is_blocked(names.wide, "other.nport.link")


def test_no_entry_is_redundant(catalogue: Catalogue) -> None:
    entries = build_names(catalogue, Policy(), NOW_NS).blocked
    for entry in entries:
        others = tuple(other for other in entries if other is not entry)
        assert not is_blocked(others, entry.name), entry


LABEL = st.sampled_from(["a", "b", "c"])
NAME = st.lists(LABEL, min_size=1, max_size=4).map(lambda labels: ".".join([*labels, "example"]))


def service(number: int, agents: list[str], auxiliaries: list[str]) -> Service:
    return Service(
        id=f"s{number}",
        name="s",
        homepage="",
        category="reverse-tunnel",
        confidence=Trust.HIGH,
        ports=(),
        sources=("test",),
        agent_domains=tuple(agents),
        auxiliary_domains=tuple(auxiliaries),
    )


@settings(max_examples=500)
@given(
    st.lists(
        st.tuples(st.lists(st.one_of(NAME, NAME.map("={}".format)), max_size=5), st.lists(NAME, max_size=2)),
        min_size=1,
        max_size=3,
    ),
    st.lists(NAME, max_size=3, unique=True),
    st.lists(NAME, max_size=2),
    NAME,
)
def test_no_list_ever_covers_a_protected_name(
    listed: list[tuple[list[str], list[str]]], sanctioned: list[str], shared: list[str], below: str
) -> None:
    services = [service(number, agents, auxiliaries) for number, (agents, auxiliaries) in enumerate(listed)]
    catalogue = Catalogue(services, shared, (), date(2026, 11, 23))
    policy = Policy(sanctions=tuple(Sanction(domain, "s0", "o", "r") for domain in sanctioned))
    names: NameList = build_names(catalogue, policy, NOW_NS)
    for entry in protected_names(catalogue, policy, NOW_NS).values():
        assert not is_blocked(names.blocked, entry.name)
        if entry.scope is Scope.SUBTREE:
            assert not is_blocked(names.blocked, f"{below}.{entry.name}")
            assert is_blocked(names.allowed, f"{below}.{entry.name}")
    for name in shared:
        assert not is_blocked(names.blocked, name)


BLOCKED = """
[[blocked]]
entry = "tunnel.colleague.example"
owner = "soc@example.com"
reason = "a private ingress"
expires = 2026-12-31

[[blocked]]
entry = "=relay.colleague.example"
owner = "o"
reason = "r"
"""


def test_sites_of_a_service_are_exempted_from_its_entries_and_not_from_the_policys(catalogue: Catalogue) -> None:
    entries = ("dashboard.cpolar.com", "=app.beeceptor.com", "gitlab.com")
    text = "".join(f'[[blocked]]\nentry = "{entry}"\nowner = "o"\nreason = "r"\n' for entry in entries)
    policy = parse_policy(text, "policy.toml", catalogue, NOW_NS)
    names = build_names(catalogue, policy, NOW_NS)
    for allowed in (names.allowed, narrow_names(names, catalogue, policy, NOW_NS).allowed):
        assert not {"dashboard.cpolar.com", "app.beeceptor.com", "altssh.gitlab.com"} & {row.name for row in allowed}
    assert is_blocked(build_names(catalogue, Policy(), NOW_NS).allowed, "app.beeceptor.com")


def test_a_site_that_no_entry_covers_needs_no_exemption(catalogue: Catalogue) -> None:
    names = build_names(catalogue, Policy(), NOW_NS)
    assert names.allowed
    for entry in names.allowed:
        assert is_blocked(names.wide, entry.name), entry


EXPIRES_NS = 1_798_761_600 * 10**9  # 2027-01-01T00:00:00Z, the end of the last day


def test_the_policy_lists_beyond_the_catalogue(catalogue: Catalogue) -> None:
    policy = parse_policy(BLOCKED, "policy.toml", catalogue, NOW_NS)
    ours = [entry for entry in build_names(catalogue, policy, NOW_NS).blocked if entry.source is Origin.MANUAL]
    assert ours == [
        NameEntry("relay.colleague.example", Scope.EXACT, "policy", Origin.MANUAL, "r (o)"),
        NameEntry(
            "tunnel.colleague.example",
            Scope.SUBTREE,
            "policy",
            Origin.MANUAL,
            "a private ingress (soc@example.com)",
            expires_ns=EXPIRES_NS,
        ),
    ]
    expired_ns = NOW_NS + 60 * 86_400 * 10**9
    later = [entry.name for entry in build_names(catalogue, policy, expired_ns).blocked if entry.service == "policy"]
    assert later == ["relay.colleague.example"]


def made_up(agents: tuple[str, ...], *auxiliaries: tuple[str, ...], shared: tuple[str, ...] = ()) -> Catalogue:
    """Return a catalogue with a service for each tuple of auxiliary names, the first with these agents."""
    services = [
        Service(
            id=f"s{at}",
            name="s",
            homepage="",
            category="reverse-tunnel",
            confidence=Trust.HIGH,
            ports=(),
            sources=("test",),
            agent_domains=() if at else agents,
            auxiliary_domains=needed,
        )
        for at, needed in enumerate(auxiliaries)
    ]
    return Catalogue(services, list(shared), (), date(2026, 11, 23))


def test_a_sanctioned_name_that_others_share_protects_what_is_below_it() -> None:
    found = made_up(("x.ok.example", "other.example"), (), shared=("ok.example",))
    listed = build_names(found, Policy(sanctions=(Sanction("ok.example", "s0", "o", "r"),)), NOW_NS)
    assert [entry.name for entry in listed.blocked] == ["other.example"]


def test_of_two_services_that_need_a_name_the_wider_need_counts() -> None:
    found = made_up(("x.needed.example", "other.example"), ("=needed.example",), ("needed.example",))
    sanctions = (Sanction("a.example", "s0", "o", "r"), Sanction("b.example", "s1", "o", "r"))
    listed = build_names(found, Policy(sanctions=sanctions), NOW_NS)
    assert [entry.name for entry in listed.blocked] == ["other.example"]
