"""Every format, whatever is listed and sanctioned: it blocks what it can say, and never what is protected."""

import ipaddress
from dataclasses import replace
from datetime import date

import pytest
from feed_readers import READERS
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from installation import NOW_NS, snapshot_of

from api.errors import UnrenderableSnapshot
from api.feeds.formats.base import FeedFormat, Format
from api.feeds.registry import REGISTRY
from rules.catalogue.catalogue import Catalogue
from rules.catalogue.service import Service, Trust
from rules.lists.address_building import build_addresses
from rules.lists.blocklist import AddressEntry, AddressList, Body, ListName, NameEntry, NameList, Scope, UrlList
from rules.lists.building import build_names, build_urls, protected_names
from rules.policy.policy import Policy, Sanction


def file_name(feed: Format) -> str:
    return f"{feed.list_name}.{feed.extension}"


NAME_FORMATS = [feed for feed in REGISTRY if feed.list_name is ListName.UNSANCTIONED_DOMAINS]
URL_FORMATS = [feed for feed in REGISTRY if feed.list_name is ListName.UNSANCTIONED_URLS]
ADDRESS_FORMATS = [feed for feed in REGISTRY if feed.list_name is ListName.UNSANCTIONED_ADDRESSES]

label = st.sampled_from("abc")
names = st.lists(label, min_size=1, max_size=4).map(lambda labels: ".".join([*labels, "example"]))
written = st.one_of(names, names.map("={}".format))
# What an organisation sanctions lies in its own domain, or below one that a service gives to its customers.
sanctioned_names = st.lists(names, max_size=3, unique=True)
services = st.lists(
    st.tuples(st.lists(written, max_size=5), st.lists(names, max_size=2), st.lists(written, max_size=2)),
    min_size=1,
    max_size=3,
)


def service(number: int, agents: list[str], auxiliaries: list[str], excluded: list[str]) -> Service:
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
        exclude_domains=tuple(excluded),
    )


def covers(entries: tuple[NameEntry, ...], name: str) -> bool:
    return any(
        name == entry.name or (entry.scope is Scope.SUBTREE and name.endswith(f".{entry.name}")) for entry in entries
    )


def rendered(feed: Format, body: Body) -> bytes:
    return b"".join(feed.render(snapshot_of(body)))


def test_every_format_is_registered_once_and_read_by_the_tests() -> None:
    assert [file_name(feed) for feed in REGISTRY if file_name(feed) not in READERS] == []
    assert len({file_name(feed) for feed in REGISTRY}) == len(REGISTRY)
    assert {feed.extension for feed in REGISTRY} == set(FeedFormat)


@pytest.mark.parametrize("feed", [*NAME_FORMATS, *URL_FORMATS], ids=file_name)
@settings(max_examples=30)
@given(listed=services, sanctioned=sanctioned_names, shared=st.lists(names, max_size=2), probes=st.lists(names))
def test_names_are_blocked_as_listed_and_protected_ones_never(
    feed: Format,
    listed: list[tuple[list[str], list[str], list[str]]],
    sanctioned: list[str],
    shared: list[str],
    probes: list[str],
) -> None:
    catalogue = Catalogue([service(at, *row) for at, row in enumerate(listed)], shared, (), date(2026, 11, 23))
    policy = Policy(sanctions=tuple(Sanction(domain, "s0", "o", "r") for domain in sanctioned))
    body = build_names(catalogue, policy, NOW_NS)
    assume(body.blocked)
    urls = build_urls(body, policy, NOW_NS)
    is_blocked = READERS[file_name(feed)](rendered(feed, urls if feed in URL_FORMATS else body))
    for entry in protected_names(catalogue, policy, NOW_NS).values():
        assert not is_blocked(entry.name)
        if entry.scope is Scope.SUBTREE:
            assert not is_blocked(f"x.y.{entry.name}")
    listed_entries = body.wide if feed.has_exemptions else body.blocked
    allowed = body.allowed if feed.has_exemptions else ()
    widened = tuple(NameEntry(entry.name, Scope.SUBTREE, entry.service) for entry in allowed)
    for entry in listed_entries:
        assert is_blocked(entry.name) is not covers(allowed, entry.name), entry
        below = f"x.y.{entry.name}"
        is_meant = entry.scope is Scope.SUBTREE and feed.says_subtrees and not covers(allowed, below)
        is_let_through = feed.exempts_subtrees and covers(widened, below)
        assert is_blocked(below) is is_meant or (is_let_through and not is_blocked(below)), entry
    for probe in [*probes, *sanctioned, *shared]:
        assert covers(listed_entries, probe) or not is_blocked(probe)


addresses = st.one_of(
    st.integers(0x01000000, 0x01000040).map(ipaddress.IPv4Address),
    st.integers(0x2600 << 112, (0x2600 << 112) + 64).map(ipaddress.IPv6Address),
).map(str)
pins = st.lists(st.sampled_from(["1.0.0.16/28", "2600::10/124"]), max_size=2).map(
    lambda prefixes: tuple(map(ipaddress.ip_network, prefixes))
)


@pytest.mark.parametrize("feed", ADDRESS_FORMATS, ids=file_name)
@settings(max_examples=30)
@given(resolved=st.lists(addresses, min_size=1, max_size=12), sanctioned=st.lists(addresses, max_size=6), pinned=pins)
def test_addresses_are_blocked_as_listed_and_sanctioned_ones_never(
    feed: Format, resolved: list[str], sanctioned: list[str], pinned: tuple[ipaddress.IPv4Network, ...]
) -> None:
    catalogue = Catalogue([service(0, ["=agent.example"], [], [])], [], (), date(2026, 11, 23))
    sanction = Sanction("ok.example", "s0", "o", "r", addresses=(ipaddress.ip_network("1.0.1.0/24"), *pinned))
    body = build_addresses(
        catalogue, Policy(sanctions=(sanction,)), NOW_NS, resolved={"agent.example": resolved}, sanctioned=sanctioned
    )
    said = [entry for entry in body.blocked if ipaddress.ip_network(entry.prefix).version in feed.versions]
    if not said:
        return
    is_blocked = READERS[file_name(feed)](rendered(feed, body))
    for entry in said:
        assert is_blocked(entry.prefix.partition("/")[0])
    for address in [*sanctioned, *(str(network[1]) for network in pinned)]:
        assert not is_blocked(address)
    for address in resolved:
        assert covers_address(body, address) or not is_blocked(address)


def covers_address(body: AddressList, address: str) -> bool:
    return any(ipaddress.ip_address(address) in ipaddress.ip_network(entry.prefix) for entry in body.blocked)


@pytest.mark.parametrize("feed", REGISTRY, ids=file_name)
def test_a_list_that_can_say_nothing_is_refused_or_not_blank(feed: Format) -> None:
    known: dict[ListName, Body] = {NAME_FORMATS[0].list_name: NameList(), URL_FORMATS[0].list_name: UrlList()}
    body = known.get(feed.list_name, AddressList())
    try:
        assert rendered(feed, body)
    except UnrenderableSnapshot:
        assert not feed.comment


@pytest.mark.parametrize("feed", REGISTRY, ids=file_name)
def test_more_than_the_consumer_takes_is_refused_before_the_first_byte(feed: Format) -> None:
    lines = len(list(feed.lines(snapshot_of(body_of(feed, 20)))))
    small = replace(feed, max_lines=lines)
    assert rendered(small, body_of(feed, 20))
    with pytest.raises(UnrenderableSnapshot, match=f"takes {lines}"):
        small.render(snapshot_of(body_of(feed, 21)))
    with pytest.raises(UnrenderableSnapshot, match="takes 30"):
        replace(feed, max_octets=30).render(snapshot_of(body_of(feed, 20)))


def body_of(feed: Format, count: int) -> Body:
    entries = tuple(NameEntry(f"n{at}.example", Scope.EXACT, "s") for at in range(count))
    if feed in NAME_FORMATS:
        return NameList(blocked=entries, wide=entries)
    if feed in URL_FORMATS:
        return UrlList(entries)
    first = ipaddress.ip_address("1.0.0.0" if 4 in feed.versions else "2600::")
    prefixes = (ipaddress.ip_network(first + at) for at in range(count))
    return AddressList(tuple(AddressEntry(str(prefix), "s") for prefix in prefixes))


@pytest.mark.parametrize("feed", [feed for feed in NAME_FORMATS if feed.max_line_octets is not None], ids=file_name)
def test_a_line_longer_than_the_consumer_takes_is_refused(feed: Format) -> None:
    assert feed.max_line_octets is not None
    longest = ".".join(["a" * 63] * 3 + ["b" * 61])
    for octets in range(240, len(longest) + 1):
        entry = NameEntry(longest[len(longest) - octets :].strip("."), Scope.SUBTREE, "s")
        needed = max(map(len, feed.lines(snapshot_of(NameList(blocked=(entry,), wide=(entry,))))))
        if needed <= feed.max_line_octets:
            rendered(feed, NameList(blocked=(entry,), wide=(entry,)))
        else:
            with pytest.raises(UnrenderableSnapshot, match=str(feed.max_line_octets)):
                rendered(feed, NameList(blocked=(entry,), wide=(entry,)))
