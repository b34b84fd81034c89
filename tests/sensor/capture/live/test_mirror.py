"""Traffic that a mirror delivers in VXLAN, as clouds do: an interface of the kernel's unwraps it."""

import subprocess
from collections.abc import Iterator

import pytest
from cable import LARGEST_MTU, drain, send_frames
from frames import read_packets
from netns import Host, Network, needs_root
from recordings import CAPTURES

from rules.catalogue.catalogue import load_catalogue
from rules.policy.policy import Policy
from rules.policy.ruleset import Ruleset
from rules.values.verdict import Outcome
from sensor.capture.live.engine import open_source
from sensor.detection.detect import Detector
from sensor.pipeline import Pipeline

pytestmark = needs_root

MIRROR = "link add mirror0 type vxlan id 7 dev eth0 local {local} {remote} dstport 4789"
WRAPPING = 50  # octets: RFC 7348 section 5


@pytest.fixture
def hosts() -> Iterator[tuple[Host, Host]]:
    """A host `sensor` and, on the same cable, a host `mirror` whose `mirror0` wraps what it is given."""
    with Network() as network:
        sensor, mirror = network.host("sensor"), network.host("mirror")
        network.cable(sensor, "eth0", mirror, "eth0")
        for host in (sensor, mirror):
            host.ip(f"link set eth0 mtu {LARGEST_MTU}")
        sensor.address("eth0", "192.0.2.1/24")
        mirror.address("eth0", "192.0.2.2/24")
        try:
            sensor.ip(MIRROR.format(local="192.0.2.1", remote=""))
            mirror.ip(MIRROR.format(local="192.0.2.2", remote="remote 192.0.2.1"))
        except subprocess.CalledProcessError:
            pytest.skip("this kernel has no VXLAN")
        for host in (sensor, mirror):
            host.ip(f"link set mirror0 mtu {LARGEST_MTU - WRAPPING} up")
        yield sensor, mirror


def test_an_agent_in_mirrored_traffic_is_found(hosts: tuple[Host, Host]) -> None:
    frames = tuple(row.data for row in read_packets(str(CAPTURES / "ngrok-py-default.pcap")))
    sensor, mirror = hosts
    with sensor.inside(), open_source(("mirror0",)) as source:
        mirror.call(send_frames, "mirror0", frames)
        packets = drain(source)
        assert source.counters().kernel_drops == 0
    detector = Detector(Pipeline(), lambda: Ruleset(load_catalogue(), Policy()))
    found = [*detector.feed(packets), *detector.flush()]
    assert {row.verdict.outcome for row in found} == {Outcome.UNSANCTIONED}
    assert {row.verdict.service for row in found} == {"ngrok"}
