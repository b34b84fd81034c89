import sqlite3
from pathlib import Path

import pytest
from stored_events import event_id, make_event, received

from db.store import Store, open_store
from db.values import EventFilter, EvidenceUsage

PACKETS = b"\x0a\x0d\x0d\x0a" + bytes(range(256))


def test_an_events_packets_are_kept_apart_from_it(store: Store) -> None:
    store.append([make_event(1, evidence=PACKETS), make_event(2)])
    assert store.evidence(event_id(1)) == PACKETS
    assert store.evidence(event_id(2)) is None
    assert store.evidence("no such event") is None
    assert store.events(EventFilter(), 10) == [make_event(2), make_event(1)]
    assert store.evidence_usage() == EvidenceUsage(len(PACKETS), 0)


def test_a_batch_that_comes_again_changes_nothing(store: Store) -> None:
    for _ in range(2):
        store.append([make_event(1, evidence=PACKETS)])
    assert store.evidence_usage() == EvidenceUsage(len(PACKETS), 0)


@pytest.mark.parametrize("is_one_batch", [True, False])
def test_a_later_revision_without_packets_leaves_them(store: Store, is_one_batch: bool) -> None:
    reports = [make_event(1, evidence=PACKETS), make_event(1, revision=2)]
    for batch in [reports] if is_one_batch else [[row] for row in reports]:
        store.append(batch)
    assert store.evidence(event_id(1)) == PACKETS


def test_of_several_revisions_with_packets_the_highest_counts(store: Store) -> None:
    store.append([make_event(1, evidence=b"first")])
    store.append([make_event(1, revision=3, evidence=b"third, and longer")])
    store.append([make_event(1, revision=2, evidence=b"second")])
    assert store.evidence(event_id(1)) == b"third, and longer"
    assert store.evidence_usage() == EvidenceUsage(len(b"third, and longer"), 0)


def test_without_room_those_of_the_oldest_events_go_and_are_counted(path: Path) -> None:
    with open_store(path, evidence_limit=10 * len(PACKETS), now_ns=received) as store:
        store.append([make_event(number, evidence=PACKETS) for number in range(250)])
        store.append([make_event(number, evidence=PACKETS) for number in range(250, 300)])
        assert [number for number in range(300) if store.evidence(event_id(number))] == list(range(290, 300))
        assert store.evidence_usage() == EvidenceUsage(10 * len(PACKETS), 290)
        assert len(store.events(EventFilter(), 500)) == 300


def test_what_alone_is_too_large_is_left_out(path: Path) -> None:
    with open_store(path, evidence_limit=100, now_ns=received) as store:
        store.append([make_event(1, evidence=b"x" * 60), make_event(2, evidence=PACKETS)])
        assert store.evidence(event_id(1)) == b"x" * 60
        assert store.evidence(event_id(2)) is None


def test_a_refused_event_leaves_no_packets(store: Store, path: Path) -> None:
    result = store.append([make_event(1, evidence=PACKETS, confidence=101), make_event(2, evidence=PACKETS)])
    assert [row.event_id for row in result.rejected] == [event_id(1)]
    assert store.evidence(event_id(1)) is None
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM evidence").fetchone() == (1,)
    connection.close()
