"""Every table at its limit: small tables in this process, those of the program in a process whose memory is measured.

docs/architecture.md, "Bounds", lists the tables. The floods of the long tests are as large as issue 3 asks.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import floods
import pytest
from floods import Clock
from main_job import open_folder
from netns import Network

from rules.catalogue.catalogue import load_catalogue
from rules.policy.policy import Policy
from rules.policy.ruleset import Ruleset
from rules.values.event import Origin
from rules.values.observation import Evidence, Observation
from sensor.detection.detect import Detector
from sensor.pipeline import Limits, Pipeline
from sensor.reporting.report import Reporter

SUPPORT = Path(__file__).parents[1] / "support"
MAX_RESIDENT_KIB = 300 * 1024
FLOOD_TIMEOUT_S = 400
SCREENED = ("screened-dns", "screened-half_hellos", "screened-syns")
SMALL = Limits(
    flows=200, half_open=100, head_octets=1 << 20, dns_transactions=100, told_pairs=50, fragmented_datagrams=20
)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="the sensor's capture socket needs root")


def observe(pipeline: Pipeline, packets: Any) -> list[Observation]:
    return [row for batch in floods.batches(packets) for row in pipeline.feed_batch(batch)]


def tunnels(observations: list[Observation]) -> int:
    """How many flows say the tunnel's name."""
    return len(
        {
            row.five_tuple
            for row in observations
            for indicator in row.indicators
            if indicator.evidence is Evidence.TLS_SNI and indicator.value == floods.TUNNEL
        }
    )


def test_concurrent_flows() -> None:
    pipeline = Pipeline(SMALL)
    assert tunnels(observe(pipeline, floods.flow_flood(Clock(), 5_000, tunnels=50))) == 50
    assert len(pipeline._table) == SMALL.flows
    assert pipeline.counters.flows_evicted == 5_000 - SMALL.flows


def test_a_syn_flood_takes_no_room_from_tunnels() -> None:
    pipeline, clock = Pipeline(SMALL), Clock()
    found = observe(pipeline, floods.tunnels_around_a_syn_flood(clock, 5_000))
    assert tunnels(found) == 3
    assert len(pipeline._flows._half_open) == SMALL.half_open - 1  # the last tunnel's became a flow
    assert pipeline.counters.half_open_evicted == 5_003 - 2 - (SMALL.half_open - 1)
    assert pipeline.counters.flows_evicted == 0
    assert len(pipeline._table) == 3


def test_a_dns_flood() -> None:
    pipeline, clock = Pipeline(SMALL), Clock()
    found = observe(pipeline, floods.dns_flood(clock, 2_000)) + observe(pipeline, floods.tunnel(clock, 0))
    assert tunnels(found) == 1
    assert len(pipeline._dns) == SMALL.dns_transactions
    assert len(pipeline._dns._waiting) <= SMALL.dns_transactions
    assert pipeline.counters.dns_evicted == 1_000 - SMALL.dns_transactions // 2
    assert len(pipeline._told_names) == SMALL.told_pairs
    assert pipeline.counters.names_evicted == 2_000 - SMALL.told_pairs  # one chain a pair
    found += pipeline.flush()
    assert len({row.key for row in found if row.dns is not None}) == 2_000


def test_half_open_hellos() -> None:
    pipeline = Pipeline(Limits(head_octets=SMALL.head_octets))
    assert tunnels(observe(pipeline, floods.half_hellos(Clock(), 3_000, completed=100))) == 100
    assert pipeline.counters.reassembly_evicted > 2_000
    assert pipeline._flows._held_octets + 1024 * len(pipeline._flows._heads) <= SMALL.head_octets


def test_alarms_of_heads_that_are_gone_are_cleared_away() -> None:
    pipeline = Pipeline(Limits(head_octets=50 * 1024))
    observe(pipeline, floods.half_hellos(Clock(step_ns=1), 20_000, completed=0))
    assert pipeline.counters.reassembly_evicted > 19_900
    assert len(pipeline._flows._alarms) <= 3 * len(pipeline._flows._heads) + 16_384


def test_initials_without_end() -> None:
    pipeline, clock = Pipeline(SMALL), Clock()
    found = observe(pipeline, floods.quic_flood(clock, 500)) + observe(pipeline, floods.tunnel(clock, 0))
    assert tunnels(found) == 1
    assert pipeline.counters.reassembly_evicted > 400
    assert pipeline._flows._held_octets <= SMALL.head_octets


def test_fragments_without_end() -> None:
    pipeline = Pipeline(SMALL)
    observe(pipeline, floods.fragment_flood(Clock(), 1_000))
    assert pipeline.counters.fragments_evicted == 1_000 - SMALL.fragmented_datagrams


def test_a_head_that_is_not_begun_makes_room_and_is_read_when_it_comes() -> None:
    pipeline, clock = Pipeline(Limits(head_octets=50 * 1024)), Clock()
    tunnel = list(floods.tunnel(clock, 0))
    flood = [clock.tcp((floods.client(number), 40_000, b"\xc6\x33\x64\x07", 443), 1, 0x12) for number in range(1, 100)]
    assert tunnels(observe(pipeline, [*tunnel[:2], *flood, *tunnel[2:]])) == 1
    assert pipeline.counters.reassembly_evicted > 50
    assert len(pipeline._flows._heads) <= 50


def test_distinct_detections() -> None:
    detector = Detector(Pipeline(SMALL), lambda: Ruleset(load_catalogue(), Policy()))
    reporter = Reporter(Origin("sensor"), max_windows=100)
    clock, events = Clock(), 0
    for batch in floods.batches(floods.detection_flood(clock, 2_000)):
        events += len(reporter.take(detector.feed(batch), batch[-1].ts_ns))
    assert reporter.events == events == 2_000 - SMALL.dns_transactions
    assert reporter.windows_evicted == events - 100
    assert len(reporter._windows) == len(reporter._by_observation) == 100


def flood(size: int, *names: str, interfaces: str = "lo", enter: Sequence[str] = ()) -> dict[str, Any]:
    """What a sensor process found and counted, and its peak memory; `enter` is a command that runs others elsewhere."""
    with open_folder() as state:
        argv = [*enter, sys.executable, str(SUPPORT / "flood_job.py"), str(state), str(size), interfaces, *names]
        environment = os.environ | {"PYTHONPATH": str(SUPPORT)}
        done = subprocess.run(argv, env=environment, check=True, capture_output=True, timeout=FLOOD_TIMEOUT_S)
    report: dict[str, Any] = json.loads(done.stdout)
    assert report["peak_kib"] < MAX_RESIDENT_KIB
    return report


@pytest.mark.full
@needs_root
@pytest.mark.timeout(FLOOD_TIMEOUT_S)
@pytest.mark.parametrize(
    ("size", "names", "found", "counters"),
    [
        (1_000_000, ["flows"], 1000, ["flows_evicted", "reassembly_evicted"]),
        (1_000_000, ["syns"], 3, ["half_open_evicted"]),
        (1_000_000, ["dns"], 1, ["dns_evicted", "names_evicted"]),
        (100_000, ["half_hellos"], 1000, ["reassembly_evicted"]),
        (1_000_000, ["detections"], 0, ["windows_evicted", "spool_overflow"]),
        (50_000, ["quic"], 0, ["reassembly_evicted"]),
        (100_000, ["fragments"], 0, ["fragments_evicted"]),
        (500_000, [*SCREENED], 3, ["screen_evicted"]),
        (
            100_000,
            [*SCREENED, "dns", "flows", "tunnels", "detections", "half_hellos", "quic", "fragments", "syns"],
            25_000,
            [*(name for name in asdict(Pipeline().counters) if name.endswith("_evicted")), "watch_evicted"],
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else str(value),
)
def test_memory_in_a_flood(size: int, names: list[str], found: int, counters: list[str]) -> None:
    report = flood(size, *names)
    assert report["found"] >= found
    assert [name for name in counters if not report["counters"][name]] == []
    assert not report["counters"].get("shed")


@pytest.mark.full
@needs_root
@pytest.mark.timeout(FLOOD_TIMEOUT_S)
def test_memory_where_several_interfaces_show_everything() -> None:
    size, names = 50_000, ["dns", "flows", "tunnels", "detections", "half_hellos", "quic", "fragments", "giants"]
    with Network() as network:
        host, other = network.host("sensor"), network.host("other")
        interfaces = ["eth0", "eth1"]
        for name in interfaces:
            network.cable(host, name, other, name)
        enter = ["ip", "netns", "exec", host.namespace]
        report = flood(size, *names, interfaces=",".join(interfaces), enter=enter)
    assert report["found"] >= 12_500
    assert report["counters"]["copies"] > size
    assert report["counters"]["directions_evicted"] > 0
    assert not report["counters"].get("shed")
