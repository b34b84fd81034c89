"""Networks in filters: whatever text an address has, it is found where it belongs and nowhere else."""

import ipaddress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from query_plans import plans, statements
from sqlalchemy import literal, select
from stored_events import make_event

from db.events.search import MAX_FOUND
from db.sql.engine import reading
from db.sql.networks import Network, bounds, in_network
from db.store import Store
from db.values import Aggregation, EventCursor, EventFilter, FindingFilter
from rules.values.event import Event
from rules.values.verdict import Outcome

GROUPS = st.lists(st.sampled_from([0, 0, 0, 1, 0xDB8, 0x2001, 0xFFFF]), min_size=8, max_size=8)
IPV6 = GROUPS.map(lambda groups: ipaddress.IPv6Address(b"".join(group.to_bytes(2) for group in groups)))
IPV4 = st.lists(st.sampled_from([0, 1, 10, 20, 100, 255]), min_size=4, max_size=4).map(
    lambda octets: ipaddress.IPv4Address(bytes(octets))
)
ADDRESSES = st.one_of(IPV4, IPV6)


@st.composite
def networks(draw: st.DrawFn) -> Network:
    address = draw(ADDRESSES)
    return ipaddress.ip_network(f"{address}/{draw(st.integers(0, address.max_prefixlen))}", strict=False)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(network=networks(), address=ADDRESSES, offset=st.integers(0, 2**128))
def test_an_address_is_found_where_it_belongs(
    store: Store, network: Network, address: ipaddress.IPv4Address | ipaddress.IPv6Address, offset: int
) -> None:
    inside = network[offset % network.num_addresses]
    with reading(store._engine) as connection:
        for text, is_in in ((str(address), address in network), (str(inside), True)):
            found = in_network(literal(text), network)
            assert connection.execute(select(found)).scalar_one() == is_in, (text, network)
            is_within = connection.execute(select(bounds(network).holds(literal(text)))).scalar_one()
            assert is_within or not is_in, (text, network)


@pytest.fixture(params=[MAX_FOUND // 2, MAX_FOUND * 3], ids=["few addresses", "many addresses"])
def filled(request: pytest.FixtureRequest, store: Store) -> list[Event]:
    events = [
        make_event(
            at,
            src_ip=f"10.20.{at % 2}.{at % request.param}",
            verdict=(Outcome.UNSANCTIONED, Outcome.SUSPICIOUS)[at % 3 == 0],
        )
        for at in range(400)
    ]
    store.append(events)
    return events[::-1]


@pytest.mark.parametrize("verdict", [None, Outcome.SUSPICIOUS])
@pytest.mark.parametrize("network", ["10.20.1.0/24", "10.20.0.8/29", "10.0.0.0/8", "192.0.2.0/24", "0.0.0.0/0"])
def test_pages_of_a_network_hold_its_events_once(
    store: Store, filled: list[Event], network: str, verdict: Outcome | None
) -> None:
    wanted = EventFilter(src=network, verdict=verdict)
    within = ipaddress.ip_network(network)
    expected = [
        event for event in filled if ipaddress.ip_address(event.src_ip) in within and verdict in {None, event.verdict}
    ]
    found: list[Event] = []
    with statements(store) as noted:
        while page := store.events(wanted, 70, EventCursor.of(found[-1]) if found else None):
            found += page
    assert found == expected
    assert [group.value for group in store.aggregate(wanted, Aggregation(), 1)] == [len(expected)]
    sources = {finding.src_ip for finding in store.findings(FindingFilter(src=network), 500)}
    assert sources >= {event.src_ip for event in expected}
    assert all(ipaddress.ip_address(source) in within for source in sources)
    assert not [plan for plan in plans(store, noted) if "TEMP B-TREE" in plan and "each_facet" in plan]
