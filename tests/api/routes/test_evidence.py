from collections.abc import Callable

import httpx
from installation import Installation

from rules.values.event import Event

PACKETS = b"\x0a\x0d\x0d\x0a" + bytes(60)


def test_the_packets_of_an_event_are_a_file_to_keep(
    client: httpx.Client, installation: Installation, make_event: Callable[..., Event]
) -> None:
    event = make_event(evidence=PACKETS)
    installation.store.append([event])
    answer = client.get(f"/v1/events/{event.event_id}/evidence.pcap")
    assert (answer.status_code, answer.content) == (200, PACKETS)
    assert answer.headers["content-type"] == "application/vnd.tcpdump.pcap"
    assert answer.headers["content-disposition"] == f'attachment; filename="{event.event_id}.pcap"'


def test_an_event_without_packets_says_why_there_may_be_none(
    client: httpx.Client, installation: Installation, make_event: Callable[..., Event]
) -> None:
    event = make_event()
    installation.store.append([event])
    answer = client.get(f"/v1/events/{event.event_id}/evidence.pcap")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert "No packets are stored with this event" in answer.json()["detail"]


def test_no_event_is_another_reason(client: httpx.Client) -> None:
    answer = client.get("/v1/events/none/evidence.pcap")
    assert answer.status_code == 404
    assert "No event has this id" in answer.json()["detail"]


def test_lists_and_details_do_not_carry_packets(
    client: httpx.Client, installation: Installation, make_event: Callable[..., Event]
) -> None:
    event = make_event(evidence=PACKETS)
    installation.store.append([event])
    assert "evidence" not in client.get("/v1/events").json()["items"][0]
    assert "evidence" not in client.get(f"/v1/events/{event.event_id}").json()


def test_what_is_kept_is_a_metric(
    installation: Installation, make_event: Callable[..., Event], client: httpx.Client
) -> None:
    installation.store.append([make_event(evidence=PACKETS)])
    metrics = client.get("/metrics").text
    assert f"molecatcher_evidence_octets {float(len(PACKETS))}" in metrics
    assert "molecatcher_evidence_evicted_total 0.0" in metrics
