import contextlib
import fcntl
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from netns import Host, Network, needs_root
from structlog.testing import capture_logs

from sensor.capture.filter.classic import HEAD_SNAP_OCTETS, SNAP_OCTETS
from sensor.capture.live.live import BATCH_PACKETS, LiveSource
from sensor.capture.live.plain import IS_COMPILED, PlainTap
from sensor.capture.live.ring import RingTap
from sensor.capture.live.sockets import Engine
from sensor.capture.live.tap import TapOpener
from sensor.packet import LinkType, Packet

pytestmark = needs_root

MARK = b"molecatcher test packet "
BROADCAST = b"\xff" * 6
SENDER = b"\x02\x00\x00\x00\x00\x01"
IPV4 = struct.pack("!H", 0x0800) + b"\x45" + b"\x00" * 19
IPV6 = struct.pack("!H", 0x86DD) + b"\x60" + b"\x00" * 39
ARP = struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, 1) + b"\x00" * 20


@dataclass(frozen=True)
class Wire:
    """A sensor host and a sender, joined by one cable (`eth0` at both ends)."""

    network: Network
    sensor: Host
    sender: Host

    taps: tuple[TapOpener, TapOpener]

    def listen_on(self, *interfaces: str, small: bool = False) -> LiveSource:
        return LiveSource(interfaces, Engine(open_tap=self.taps[small]))

    def send(self, *frames: bytes) -> None:
        self.sender.call(send_frames, "eth0", frames)


TAPS: dict[str, tuple[TapOpener, TapOpener]] = {
    "plain": (PlainTap, partial(PlainTap, buffer_octets=64 * 1024)),
    "ring": (RingTap, partial(RingTap, blocks=1)),
}


@pytest.fixture(params=TAPS)
def wire(request: pytest.FixtureRequest) -> Iterator[Wire]:
    with Network() as network:
        sensor, sender = network.host("sensor"), network.host("sender")
        network.cable(sensor, "eth0", sender, "eth0")
        sensor.address("eth0", "192.0.2.1/24")
        sender.address("eth0", "192.0.2.2/24")
        with sensor.inside():
            yield Wire(network, sensor, sender, TAPS[request.param])


def send_frames(interface: str, frames: tuple[bytes, ...]) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.bind((interface, 0))
        for frame in frames:
            sock.send(frame)


def send_until(interface: str, over: threading.Event) -> None:
    """Send what the filter rejects."""
    while not over.is_set():
        send_frames(interface, tuple(frame(number, ARP) for number in range(100)))


def frame(number: int, network: bytes = IPV4) -> bytes:
    return BROADCAST + SENDER + network + MARK + struct.pack("!I", number)


def receive(source: LiveSource, count: int, within_s: float = 60) -> list[Packet]:
    """Marked packets until `count` of them came or the time is over."""
    packets: list[Packet] = []
    end = time.monotonic() + within_s
    while len(packets) < count and time.monotonic() < end:
        packets += [packet for packet in source.read(0.05) or () if MARK in packet.data]
    return packets


def drain(source: LiveSource, quiet_s: float = 0.3) -> list[Packet]:
    """Every marked packet until none came for `quiet_s`."""
    packets: list[Packet] = []
    while batch := source.read(quiet_s):
        packets += [packet for packet in batch if MARK in packet.data]
    return packets


def await_interfaces(source: LiveSource, *names: str) -> None:
    end = time.monotonic() + 60
    while source.interfaces != names and time.monotonic() < end:
        source.read(0.05)
    assert source.interfaces == names


def test_every_packet_arrives_whole_in_order_and_with_the_kernels_time(wire: Wire) -> None:
    frames = [frame(number) + bytes(number % 1400) for number in range(3000)]
    with wire.listen_on("eth0") as source:
        before = time.time_ns()
        wire.send(*frames)
        after = time.time_ns()
        time.sleep(0.2)  # a time of reading would be later than `after`
        packets = receive(source, len(frames))
        counters = source.counters()
    assert [packet.data for packet in packets] == frames
    assert all(packet.wire_octets == len(packet.data) for packet in packets)
    assert {(packet.interface, packet.link_type) for packet in packets} == {("eth0", LinkType.ETHERNET)}
    stamps = [packet.ts_ns for packet in packets]
    assert before <= stamps[0]
    assert stamps == sorted(stamps)
    assert stamps[-1] <= after
    assert counters.packets >= len(frames)
    assert counters.kernel_drops == 0


def test_a_batch_is_bounded(wire: Wire) -> None:
    with wire.listen_on("eth0") as source:
        wire.send(*[frame(number) for number in range(BATCH_PACKETS + 10)])
        assert len(source.read(1) or ()) == BATCH_PACKETS


def test_what_a_sleeping_reader_loses_is_counted(wire: Wire) -> None:
    with wire.listen_on("eth0", small=True) as source:
        sent = 2000
        wire.send(*[frame(number) for number in range(sent)])
        early = source.counters().kernel_drops
        full = source.fill()
        received = len(drain(source))
        total = source.counters()
        source.listen_on(())
        assert source.counters().kernel_drops == source.kernel_drops() == total.kernel_drops
    assert early > 0
    assert full > 0.9
    assert source.take_fill_peak() > 0.9
    assert total.interface_drops == {"eth0": total.kernel_drops}
    assert received > 0
    assert received + total.kernel_drops >= sent
    assert total.packets - received < 20  # neighbour discovery at most


@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("IPv4", IPV4),
        ("IPv6", IPV6),
        ("VLAN", b"\x81\x00\x00\x0a" + IPV4),
        ("VLAN, IPv6", b"\x81\x00\x00\x0a" + IPV6),
        ("QinQ", b"\x88\xa8\x00\x14\x81\x00\x00\x0a" + IPV4),
        ("QinQ of old", b"\x91\x00\x00\x14\x81\x00\x00\x0a" + IPV6),
        ("three tags", b"\x88\xa8\x00\x14\x81\x00\x00\x0a\x81\x00\x00\x0b" + IPV4),
    ],
)
def test_the_filter_passes(wire: Wire, name: str, network: bytes) -> None:
    with wire.listen_on("eth0") as source:
        wire.send(frame(7, network))
        packets = receive(source, 1)
    assert len(packets) == 1, name
    assert packets[0].data.endswith(network[-20:] + MARK + struct.pack("!I", 7))


@pytest.mark.parametrize("network", [ARP, b"\x81\x00\x00\x0a" + ARP, b"\x88\xcc" + bytes(40), b"\x88\x63" + bytes(40)])
def test_the_filter_rejects(wire: Wire, network: bytes) -> None:
    with wire.listen_on("eth0") as source:
        wire.send(frame(1, network), frame(2))
        packets = drain(source)
    assert [packet.data for packet in packets] == [frame(2)]


def test_nothing_unfiltered_queues_before_the_socket_is_bound(wire: Wire) -> None:
    over = threading.Event()
    flood = threading.Thread(target=wire.sender.call, args=(send_until, "eth0", over))
    flood.start()
    try:
        for _ in range(10):
            with wire.listen_on("eth0") as source:
                assert drain(source, 0.05) == []
    finally:
        over.set()
        flood.join()


def test_giants_arrive_whole_or_their_heads_do(wire: Wire) -> None:
    blob = bytes(range(256)) * 4096
    with wire.listen_on("eth0") as source:
        transfer(wire.sensor, wire.sender, blob)
        packets = source.read(0.5) or []
    assert max(packet.wire_octets for packet in packets) > 20_000
    is_received = wire.taps[0] is PlainTap and IS_COMPILED  # into room for heads
    most = HEAD_SNAP_OCTETS if is_received else SNAP_OCTETS
    assert all(len(packet.data) >= min(packet.wire_octets, most) for packet in packets)


def transfer(server: Host, client: Host, blob: bytes) -> None:
    """Send `blob` over TCP port 9000 of the sensor."""
    listener = server.call(socket.create_server, ("192.0.2.1", 9000))
    with listener, client.call(socket.create_connection, ("192.0.2.1", 9000)) as connection:
        accepted, _ = listener.accept()
        with accepted, contextlib.closing(accepted):
            accepted.settimeout(60)
            connection.setblocking(False)
            left = memoryview(blob)
            while left:
                with contextlib.suppress(BlockingIOError):
                    left = left[connection.send(left) :]
                accepted.recv(1 << 20)


def test_loopback_is_seen_once(wire: Wire) -> None:
    with wire.listen_on("lo") as source, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for number in range(20):
            sock.sendto(MARK + bytes([number]), ("127.0.0.1", 9))
        packets = [packet for packet in drain(source) if packet.data[23] == socket.IPPROTO_UDP]
    assert [packet.data[-1] for packet in packets] == list(range(20))


def test_both_directions_are_seen_on_a_cable(wire: Wire) -> None:
    with wire.listen_on("eth0") as source:
        wire.send(frame(1))
        send_frames("eth0", (frame(2),))
        packets = receive(source, 2)
    assert {packet.data for packet in packets} == {frame(1), frame(2)}


def test_a_device_without_ethernet_header_gives_raw_packets(wire: Wire) -> None:
    wire.sensor.ip("tuntap add tun0 mode tun")
    wire.sensor.address("tun0", "198.51.100.1/24")
    with open_tun("tun0"), wire.listen_on("tun0") as source:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(MARK, ("198.51.100.2", 53))
        (packet,) = receive(source, 1)
    assert packet.link_type == LinkType.RAW
    assert packet.data[0] == 0x45
    assert packet.data.endswith(MARK)


def open_tun(name: str) -> contextlib.AbstractContextManager[object]:
    """The program's end of a tun device, which gives it a carrier."""
    device = Path("/dev/net/tun").open("r+b", buffering=0)  # noqa: SIM115 - the caller closes it
    fcntl.ioctl(device, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x1001))  # TUNSETIFF, IFF_TUN | IFF_NO_PI
    return device


def test_several_interfaces_are_read_together(wire: Wire) -> None:
    wire.network.cable(wire.sensor, "eth1", wire.sender, "eth1")
    with wire.listen_on("eth0", "eth1") as source:
        assert source.interfaces == ("eth0", "eth1")
        for interface in source.interfaces:
            wire.sender.call(send_frames, interface, tuple(frame(number) for number in range(600)))
        time.sleep(0.2)  # blocks of a ring are handed over after 50 ms
        batches = [source.read(0.3) or [] for _ in range(5)]
        assert max(map(len, batches)) <= BATCH_PACKETS
        marked = [packet for batch in batches for packet in batch if MARK in packet.data]
        for interface in source.interfaces:
            numbers = [packet.data for packet in marked if packet.interface == interface]
            assert numbers == [frame(number) for number in range(600)]


def test_down_and_up_is_followed(wire: Wire) -> None:
    with wire.listen_on("eth0") as source:
        wire.sensor.ip("link set eth0 down")
        assert drain(source) == []
        wire.sensor.ip("link set eth0 up")
        wire.sender.await_carrier("eth0")
        wire.send(frame(1))
        assert len(receive(source, 1)) == 1


def rename(wire: Wire, source: LiveSource) -> None:
    wire.sensor.ip("link set eth0 name wan0")
    await_interfaces(source)
    wire.sensor.ip("link set wan0 name eth0")


def recreate(wire: Wire, source: LiveSource) -> None:
    wire.sensor.ip("link delete eth0")
    await_interfaces(source)
    wire.network.cable(wire.sensor, "eth0", wire.sender, "eth0")


def recreate_unseen(wire: Wire, source: LiveSource) -> None:
    assert source.interfaces == ("eth0",)
    index = socket.if_nametoindex("eth0")
    wire.sensor.ip("link delete eth0")
    wire.sensor.ip(f"link add eth0 index {index} type veth peer name eth0 netns {wire.sender.namespace}")
    wire.sensor.ip("link set eth0 up")
    wire.sender.ip("link set eth0 up")
    wire.sender.await_carrier("eth0")


@pytest.mark.parametrize("event", [rename, recreate, recreate_unseen])
def test_an_interface_that_comes_back_is_captured_again(wire: Wire, event: Callable[[Wire, LiveSource], None]) -> None:
    with wire.listen_on("eth0") as source:
        wire.send(frame(1))
        assert len(receive(source, 1)) == 1
        event(wire, source)
        source.read(0.2)
        await_interfaces(source, "eth0")
        wire.send(frame(2))
        assert [packet.data for packet in receive(source, 1)] == [frame(2)]


def test_an_interface_may_appear_later(wire: Wire) -> None:
    with capture_logs() as logs, wire.listen_on("later0", "later0") as source:
        assert logs == [{"event": "interface_missing", "interface": "later0", "log_level": "warning"}]
        assert source.interfaces == ()
        assert source.read(0) == []
        wire.network.cable(wire.sensor, "later0", wire.sender, "later0")
        await_interfaces(source, "later0")
        wire.sender.call(send_frames, "later0", (frame(1),))
        assert [packet.interface for packet in receive(source, 1)] == ["later0"]


def test_listening_on_the_new_name_of_an_interface_loses_nothing(wire: Wire) -> None:
    with wire.listen_on("eth0") as source:
        wire.sensor.ip("link set eth0 name wan0")
        wire.send(frame(1))
        source.listen_on(("wan0",))
        assert [(packet.interface, packet.data) for packet in receive(source, 1)] == [("wan0", frame(1))]


@pytest.mark.parametrize("state", ["up", "down", "missing"])
def test_waiting_does_not_burn_the_processor(wire: Wire, state: str) -> None:
    with wire.listen_on("eth0") as source:
        if state != "up":
            wire.sensor.ip("link set eth0 down" if state == "down" else "link delete eth0")
        source.read(0.2)
        source.read(0.2)
        started, cpu = time.monotonic(), time.process_time()
        calls = 0
        while time.monotonic() - started < 1:
            source.read(0.25)
            calls += 1
        assert calls < 20
        assert time.process_time() - cpu < 0.2


def test_a_closed_source_is_at_its_end(wire: Wire) -> None:
    source = wire.listen_on("eth0")
    wire.send(frame(1))
    receive(source, 1)
    counters = source.counters()
    source.close()
    source.close()
    assert source.read(0) is None
    assert source.counters() == replace(counters, interface_drops={})
