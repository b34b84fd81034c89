import time
from collections.abc import Iterator
from typing import Any

import pytest
from query_plans import plans, statements
from stored_events import SECOND_NS, T0_NS, make_event

from db.store import Store, open_store
from db.values import EventCursor, EventFilter, FindingCursor, FindingFilter, FindingState
from rules.values.event import Event
from rules.values.observation import FlowState, Kind
from rules.values.verdict import Outcome, Role, Severity

SERVICES = ["ngrok", "frp", "chisel", "cloudflared", None]
VERDICTS = [Outcome.SANCTIONED, Outcome.UNSANCTIONED, Outcome.SUSPICIOUS]
WINDOW: dict[str, Any] = {"from_ns": T0_NS, "to_ns": T0_NS + 50_000 * SECOND_NS}
CURSOR = EventCursor(T0_NS + 10_000 * SECOND_NS, make_event(10_000).event_id)


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (EventFilter(), [5, 4, 3, 2, 1]),
        (EventFilter(from_ns=T0_NS + 2 * SECOND_NS, to_ns=T0_NS + 4 * SECOND_NS), [3, 2]),
        (EventFilter(src="10.0.0.2"), [2]),
        (EventFilter(src="2001:DB8::0:1"), [5]),
        (EventFilter(src="not an address"), []),
        (EventFilter(dst="192.0.2.3"), [3]),
        (EventFilter(dst="[2001:db8::9]"), [5]),
        (EventFilter(dst="Tunnel.Ngrok.com."), [4]),
        (EventFilter(dst="ngrok.com"), []),
        (EventFilter(service="frp"), [2]),
        (EventFilter(service=""), [3]),
        (EventFilter(verdict=Outcome.SUSPICIOUS), [3]),
        (EventFilter(role=Role.VISITOR), [4]),
        (EventFilter(severity=Severity.LOW), [4]),
        (EventFilter(state=FlowState.BLOCKED), [2]),
        (EventFilter(sensor="b"), [5]),
        (EventFilter(q="NGROK.com"), [4]),
        (EventFilter(q="fr"), [2]),
        (EventFilter(q="10.0.0."), [4, 3, 2, 1]),
        (EventFilter(q="%"), []),
        (EventFilter(service="ngrok", role=Role.AGENT, q="agent"), [5, 1]),
    ],
    ids=str,
)
def test_filters(store: Store, wanted: EventFilter, numbers: list[int]) -> None:
    store.append(
        [
            make_event(1, src_ip="10.0.0.1"),
            make_event(2, src_ip="10.0.0.2", service="frp", state=FlowState.BLOCKED),
            make_event(3, src_ip="10.0.0.3", service=None, dst_ip="192.0.2.3", verdict=Outcome.SUSPICIOUS),
            make_event(4, src_ip="10.0.0.4", dst_name="tunnel.ngrok.com", role=Role.VISITOR, severity=Severity.LOW),
            make_event(5, src_ip="2001:db8::1", dst_ip="2001:db8::9", sensor_id="b"),
        ]
    )
    assert [each.event_id for each in store.events(wanted, 10)] == [make_event(n).event_id for n in numbers]


def test_pages_cover_every_event_once_while_others_come_in(store: Store) -> None:
    first = [make_event(n, observed_at_ns=T0_NS + n // 7 * SECOND_NS) for n in range(500)]
    store.append(first)
    seen: list[str] = []
    after = None
    coming = 1000
    while page := store.events(EventFilter(), 30, after):
        seen += [each.event_id for each in page]
        after = EventCursor.of(page[-1])
        store.append([make_event(coming), make_event(coming + 1, observed_at_ns=T0_NS + coming % 71 * SECOND_NS)])
        coming += 2
    assert len(seen) == len(set(seen))
    assert {each.event_id for each in first} <= set(seen)


def test_addresses_that_sanctioned_traffic_was_seen_to_use(store: Store) -> None:
    store.append(
        [
            make_event(1, verdict=Outcome.SANCTIONED, dst_ip="192.0.2.1"),
            make_event(2, verdict=Outcome.SANCTIONED, kind=Kind.DNS, dns_answers=("a.example", "192.0.2.2")),
            make_event(3, dst_ip="192.0.2.3"),
            make_event(4, verdict=Outcome.SANCTIONED, dst_ip="192.0.2.1"),
        ]
    )
    assert store.observed_addresses(Outcome.SANCTIONED, T0_NS) == {"192.0.2.1", "192.0.2.2"}
    assert store.observed_addresses(Outcome.SANCTIONED, T0_NS + 3 * SECOND_NS) == {"192.0.2.1"}


def test_names_that_sanctioned_traffic_was_seen_to_ask_for(store: Store) -> None:
    store.append(
        [
            make_event(1, verdict=Outcome.SANCTIONED, dst_name="a.example"),
            make_event(2, verdict=Outcome.SANCTIONED, dst_name="b.example"),
            make_event(3, verdict=Outcome.SANCTIONED, dst_name=None),
            make_event(4, dst_name="c.example"),
        ]
    )
    assert store.observed_names(Outcome.SANCTIONED, T0_NS) == {"a.example", "b.example"}
    assert store.observed_names(Outcome.SANCTIONED, T0_NS + 2 * SECOND_NS) == {"b.example"}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """20,000 events, one a second."""
    with open_store(tmp_path_factory.mktemp("large") / "molecatcher.db") as opened:
        for start in range(0, 20_000, 10_000):
            opened.append([varied(number) for number in range(start, start + 10_000)])
        yield opened


def varied(number: int) -> Event:
    return make_event(
        number,
        src_ip=f"10.{number % 3}.{number % 7}.{number % 251}",
        service=SERVICES[number % 5],
        verdict=VERDICTS[number % 3],
        dst_name=f"host{number % 1000}.example",
        dst_ip=f"198.51.{number % 100}.1",
    )


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (EventFilter(**WINDOW), "ix_events_observed_at_ns_event_id"),
        (EventFilter(src="10.0.0.0"), "ix_events_src_ip_observed_at_ns_event_id"),
        (EventFilter(src="10.0.0.0", **WINDOW), "ix_events_src_ip_observed_at_ns_event_id"),
        (EventFilter(dst="198.51.7.1", **WINDOW), "ix_events_dst_ip_observed_at_ns_event_id"),
        (EventFilter(dst="host5.example"), "ix_events_dst_name_observed_at_ns_event_id"),
    ],
    ids=str,
)
@pytest.mark.parametrize("after", [None, CURSOR], ids=["first", "next"])
def test_a_page_of_events_walks_one_index(
    large: Store, wanted: EventFilter, index: str, after: EventCursor | None
) -> None:
    with statements(large) as noted:
        assert wanted.sensor or large.events(wanted, 100, after)
        large.events(wanted, 100, after)
    for plan in plans(large, noted):
        assert plan.startswith("SEARCH events USING INDEX " + index), plan


def test_an_unfiltered_page_walks_the_index_in_order(large: Store) -> None:
    with statements(large) as noted:
        large.events(EventFilter(), 100)
        large.events(EventFilter(), 100, CURSOR)
    assert [plan.split(" (")[0] for plan in plans(large, noted)] == [
        "SCAN events USING INDEX ix_events_observed_at_ns_event_id",
        "SEARCH events USING INDEX ix_events_observed_at_ns_event_id",
    ]


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (FindingFilter(from_ns=1), "ix_findings_last_seen_ns_finding_id"),
        (FindingFilter(src="10.0.0.0"), "ix_findings_src_ip_last_seen_ns_finding_id"),
        (FindingFilter(service="frp"), "ix_findings_service_last_seen_ns_finding_id"),
        (FindingFilter(state=FindingState.OPEN), "ix_findings_state_last_seen_ns_finding_id"),
    ],
    ids=str,
)
def test_a_page_of_findings_walks_one_index(large: Store, wanted: FindingFilter, index: str) -> None:
    with statements(large) as noted:
        large.findings(wanted, 100, FindingCursor(T0_NS, ""))
    (plan,) = plans(large, noted)
    assert plan.startswith("SEARCH findings USING INDEX " + index), plan


def test_writing_and_streaming_search_by_key(large: Store) -> None:
    with statements(large) as noted:
        large.append([make_event(1)])
        large.ingested_after(10_000, 100)
        large.event(make_event(1).event_id)
    found = plans(large, noted)
    assert found
    assert all(plan.startswith("SEARCH events USING INDEX") for plan in found), found


def test_every_page_of_20_000_events_is_fast(large: Store) -> None:
    after, seen, slowest = None, 0, 0.0
    while True:
        began = time.perf_counter()
        page = large.events(EventFilter(), 1000, after)
        slowest = max(slowest, time.perf_counter() - began)
        if not page:
            break
        seen += len(page)
        after = EventCursor.of(page[-1])
    assert seen == 20_000
    assert slowest < 1, "a page of 1000 takes some 15 ms on an idle machine"
