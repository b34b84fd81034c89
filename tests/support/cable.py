"""A sensor host and a sender, joined by one cable (`eth0` at both ends)."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from netns import Host, Network

from sensor.capture.live.live import LiveSource
from sensor.flows.flow import Count
from sensor.packet import Packet

LARGEST_MTU = 65_535


@dataclass(frozen=True)
class Wire:
    """The two hosts; the calling thread is on the sensor host."""

    network: Network
    sensor: Host
    sender: Host

    def send(self, *frames: bytes) -> None:
        self.sender.call(send_frames, "eth0", frames)


@contextmanager
def open_wire() -> Iterator[Wire]:
    """Yield a cable without addresses, so that nobody but the test speaks on it."""
    with Network() as network:
        sensor, sender = network.host("sensor"), network.host("sender")
        for host in (sensor, sender):
            host.sysctl("net/ipv6/conf/default/disable_ipv6", 1)
        network.cable(sensor, "eth0", sender, "eth0")
        for host in (sensor, sender):
            host.ip(f"link set eth0 mtu {LARGEST_MTU}")
        with sensor.inside():
            yield Wire(network, sensor, sender)


def send_frames(interface: str, frames: tuple[bytes, ...]) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.bind((interface, 0))
        for frame in frames:
            sock.send(frame)


def drain(source: LiveSource, quiet_s: float = 0.15) -> list[Packet]:
    """Every packet until none came for `quiet_s`."""
    return drain_counted(source, quiet_s)[0]


def drain_counted(source: LiveSource, quiet_s: float = 0.15) -> tuple[list[Packet], list[tuple[int, Count]]]:
    """The same, and what was counted of flows that ended, each behind so many of the packets."""
    packets: list[Packet] = []
    counts: list[tuple[int, Count]] = []
    while batch := source.read(quiet_s):
        counts += [(len(packets) + place, counted) for place, counted in source.counts]
        packets += batch
    return packets, counts + [(len(packets), counted) for _, counted in source.counts]
