"""What one sensor reported leaves whole: as if it had never been there, and nothing else changes."""

import pytest
from stored_events import T0_NS, make_event

from db.retention import Aging
from db.store import Store
from db.values import Aggregation, Dimension, EventFilter, FindingChange, FindingFilter
from rules.values.event import DEMONSTRATION

HOUR_NS = 3600 * 10**9


def sums(store: Store) -> tuple[object, ...]:
    window = EventFilter(from_ns=T0_NS // HOUR_NS * HOUR_NS)
    by_hour = store.aggregate(window, Aggregation(by=(Dimension.SERVICE,), interval_ns=HOUR_NS), 1000)
    return by_hour, store.service_counts(T0_NS, T0_NS + 24 * HOUR_NS)


@pytest.fixture
def watched(store: Store) -> Store:
    store.append([make_event(number, evidence=b"packets") for number in range(3)])
    store.append([make_event(3, service="bore", src_ip="10.20.0.8")])
    return store


def add_demonstration(store: Store, count: int) -> None:
    events = [
        make_event(100 + number, sensor_id=DEMONSTRATION, src_ip="192.0.2.10", evidence=b"recorded")
        for number in range(count)
    ]
    store.append(events)


@pytest.mark.parametrize("count", [1, 500, 501])
def test_nothing_of_a_demonstration_stays(watched: Store, count: int) -> None:
    before = (watched.events(EventFilter(), 2000), watched.findings(FindingFilter(), 99), sums(watched))
    kept = watched.evidence_usage()
    assert not watched.has_events_of(DEMONSTRATION)
    add_demonstration(watched, count)
    (finding,) = watched.findings(FindingFilter(src="192.0.2.10"), 9)
    watched.change_finding(finding.finding_id, FindingChange(comment="only a recording"), "alice", T0_NS)
    assert watched.has_events_of(DEMONSTRATION)

    assert watched.forget_events_of(DEMONSTRATION) == count
    assert (watched.events(EventFilter(), 2000), watched.findings(FindingFilter(), 99), sums(watched)) == before
    assert watched.evidence_usage() == kept
    assert watched.finding_history(finding.finding_id, None, 9) == []
    assert not watched.has_events_of(DEMONSTRATION)
    assert watched.forget_events_of(DEMONSTRATION) == 0


def test_a_finding_that_others_saw_too_is_theirs_again(watched: Store) -> None:
    (before,) = watched.findings(FindingFilter(service="bore"), 9)
    watched.append([make_event(200, service="bore", src_ip="10.20.0.8", sensor_id=DEMONSTRATION)])
    watched.change_finding(before.finding_id, FindingChange(assignee="alice"), "alice", T0_NS)
    watched.forget_events_of(DEMONSTRATION)
    (after,) = watched.findings(FindingFilter(service="bore"), 9)
    assert (after.sightings, after.last_seen_ns, after.sensor_id) == (
        before.sightings,
        before.last_seen_ns,
        "gateway-1",
    )
    assert after.assignee == "alice"


def test_a_finding_that_outlived_its_events_leaves(watched: Store) -> None:
    add_demonstration(watched, 1)
    watched.retention.purge(Aging.EVENTS, T0_NS + HOUR_NS)
    watched.forget_events_of(DEMONSTRATION)
    assert watched.findings(FindingFilter(src="192.0.2.10"), 9) == []
