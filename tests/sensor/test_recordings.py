"""What the manifests say of each recording is what the pipeline finds."""

import json
from collections import Counter
from typing import Any

import pytest
from frames import last_revisions, packet, read_packets, replay
from msgspec.structs import replace
from recordings import CAPTURES, recording_names

from rules.values.event import address_text
from rules.values.observation import Evidence, FlowState, Observation
from sensor.packet import LinkType, Packet
from sensor.pipeline import Pipeline

Hellos = Counter[tuple[str, str, str, tuple[str, ...]]]


def manifest(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CAPTURES / f"{name}.json").read_text())
    return found


def packets_of(name: str) -> list[Packet]:
    return read_packets(str(CAPTURES / f"{name}.pcap"))


def values(observations: list[Observation], evidence: Evidence) -> set[str]:
    return {row.value for found in observations for row in found.indicators if row.evidence is evidence}


def hellos_seen(observations: list[Observation]) -> Hellos:
    rows = [(found.five_tuple.transport, found.hello) for found in last_revisions(observations)]
    return Counter((transport.value, row.sni or "", row.ja4, row.alpn) for transport, row in rows if row is not None)


def hellos_said(said: dict[str, Any]) -> Hellos:
    found: Hellos = Counter()
    for row in said["client_hellos"]:
        transport = "udp" if row["transport"] == "quic" else "tcp"
        found[(transport, row["sni"], row["ja4"], tuple(row["alpn"]))] += row["hellos"]
    return found


@pytest.mark.parametrize("name", recording_names())
def test_names_hellos_proxies_and_banners(name: str) -> None:
    said, observations = manifest(name), replay(packets_of(name))
    assert {row.dns.qname for row in observations if row.dns} == {asked.lower() for asked in said["dns_names"]}
    assert hellos_seen(observations) == hellos_said(said)
    proxied = {row["via_http_connect"].split(":")[0] for row in said["client_hellos"] if "via_http_connect" in row}
    assert values(observations, Evidence.HTTP_CONNECT) == proxied
    banners = {banner for row in said["ssh"] for banner in (row["client_banner"], row["server_banner"])}
    assert values(observations, Evidence.SSH_BANNER) == banners
    assert {row["host"] for row in said["http_plain"]} <= values(observations, Evidence.HTTP_HOST)


@pytest.mark.parametrize("name", recording_names())
def test_answered_names_and_no_malformed_packet(name: str) -> None:
    pipeline = Pipeline()
    observations = pipeline.feed_batch(packets_of(name)) + pipeline.flush()
    assert pipeline.counters.malformed == {}
    answered = {row.dns.qname for row in observations if row.dns and (row.dns.addresses or row.dns.cnames)}
    with_address = {
        asked.lower() for asked, rows in manifest(name)["dns_answers"].items() if any(is_address(row) for row in rows)
    }
    assert answered >= with_address


def is_address(record: str) -> bool:
    return any(f" {kind} " in record for kind in ("A", "AAAA", "CNAME"))


@pytest.mark.parametrize("name", recording_names())
def test_flows_go_to_where_the_manifest_says(name: str) -> None:
    said = manifest(name)
    seen = {
        f"{address_text(row.five_tuple.dst)}:{row.five_tuple.dst_port}"
        for row in replay(packets_of(name))
        if row.hello is not None
    }
    assert {row["dst"].replace("[", "").replace("]", "") for row in said["client_hellos"]} <= seen
    assert {int(row.rpartition(":")[2]) for row in seen} <= set(said["server_ports"])


@pytest.mark.parametrize("name", recording_names())
def test_the_link_layer_makes_no_difference(name: str) -> None:
    """Cooked frames take no shortcut: this compares the shortcut for quiet flows with the long way, too."""
    packets = packets_of(name)
    cooked = [Packet(row.ts_ns, LinkType.LINUX_SLL, bytes(14) + row.data[12:], row.wire_octets + 2) for row in packets]
    tagged = [packet(row.ts_ns, row.data[:12] + b"\x81\x00\x00\x05" + row.data[12:]) for row in packets]
    plain = without_link(replay(packets), 0)
    assert plain == without_link(replay(cooked), 2) == without_link(replay(tagged), 4)


def without_link(observations: list[Observation], more: int) -> list[Observation]:
    """The observations as if no frame had `more` octets than the recorded one."""
    rows = [(row, row.traffic) for row in observations]
    octets = [carried.octets_out + carried.octets_in - more * carried.packets for _, carried in rows]
    return [
        replace(row, traffic=replace(carried, octets_out=total, octets_in=0))
        for (row, carried), total in zip(rows, octets, strict=True)
    ]


@pytest.mark.parametrize("name", ["ngrok-py-sanctioned", "cf2025-token-quic", "ngrok2-httpproxy", "ssh-serveo"])
def test_one_by_one_or_in_batches(name: str) -> None:
    packets, pipeline = packets_of(name), Pipeline()
    single = [found for row in packets for found in pipeline.feed(row)] + pipeline.flush()
    assert single == replay(packets)


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("ngrok-py-sanctioned", "tunnels.example.com"),
        ("ngrok2-httpproxy", "tunnel.us.ngrok.com"),
        ("cf2025-token-quic", "quic.cftunnel.com"),
        ("ipv6-ngrok2", "tunnel.us.ngrok.com"),
    ],
)
def test_an_established_tunnel_is_live_and_its_address_was_told(name: str, host: str) -> None:
    flows = [row for row in last_revisions(replay(packets_of(name))) if row.hello and row.hello.sni == host]
    assert flows
    for flow in flows:
        assert flow.state is FlowState.LIVE
        assert flow.told_names
