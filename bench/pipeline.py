"""What a packet costs to read, decode and take through the whole pipeline, beside other programs on the same file.

The traffic is always the same: 96 % bulk TCP of 500 flows in both directions, and among it new connections with their
hellos (a fifth of them over two segments), DNS look-ups and QUIC. Times are CPU time of this process (of the child for
other programs), the best of three rounds.
"""

import argparse
import os
import random
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sensor.capture.offline.file import open_capture
from sensor.decoding.decode import decode
from sensor.packet import Packet
from sensor.pipeline import Limits, Pipeline

CLIENTS, SERVERS, FLOWS = 200, 100, 500
BULK_SHARE = 0.96
ROUNDS = 3
SCAPY_SAMPLE = 2_000
FLOOD = 300_000
NOTHING_KEPT = Limits(kept_octets=0)
SYN, ACK, PSH = 2, 16, 8
Ends = tuple[bytes, int, bytes, int]


def frame(protocol: int, src: bytes, dst: bytes, transport: bytes) -> bytes:
    """Return an Ethernet frame with an IPv4 packet."""
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(transport), 1, 0x4000, 64, protocol, 0)
    return b"\x02" * 12 + b"\x08\x00" + header + src + dst + transport


def segment(ends: Ends, seq: int, flags: int, payload: bytes = b"") -> bytes:
    """Return a TCP segment's frame."""
    src, src_port, dst, dst_port = ends
    header = struct.pack(">HHIIBBHHH", src_port, dst_port, seq % 2**32, 1, 0x50, flags, 65535, 0, 0)
    return frame(6, src, dst, header + payload)


def datagram(ends: Ends, payload: bytes) -> bytes:
    """Return a UDP datagram's frame."""
    src, src_port, dst, dst_port = ends
    return frame(17, src, dst, struct.pack(">HHHH", src_port, dst_port, 8 + len(payload), 0) + payload)


def hello(name: bytes, octets: int) -> bytes:
    """Return a TLS record with a ClientHello of about `octets`, the server name at its end."""
    server_name = struct.pack(">HHHBH", 0, len(name) + 5, len(name) + 3, 0, len(name)) + name
    share = bytes(max(0, octets - 120))
    extensions = struct.pack(">HH", 51, len(share)) + share + server_name
    body = b"\x03\x03" + bytes(32) + b"\0" + b"\0\x04\x13\x01\x13\x02" + b"\x01\0"
    body += struct.pack(">H", len(extensions)) + extensions
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + struct.pack(">H", len(message)) + message


def reverse(ends: Ends) -> Ends:
    """Return the other direction."""
    return (*ends[2:], *ends[:2])


class Traffic:
    """Frames in the order of their sending; the same for the same seed."""

    def __init__(self, seed: int = 7) -> None:
        self._random = random.Random(seed)
        self._bulk: list[Ends] = []
        self._sent: dict[Ends, int] = {}

    def frames(self, packets: int) -> Iterator[bytes]:
        """Yield at least `packets` frames."""
        made = 0
        for _ in range(FLOWS):
            for octets in self._connection():
                made += 1
                yield octets
        while made < packets:
            batch = self._bulk_segments() if self._random.random() < BULK_SHARE else self._other()
            for octets in batch:
                made += 1
                yield octets

    def _ends(self, port: int) -> Ends:
        client = bytes([10, 1, self._random.randrange(CLIENTS), 7])
        server = bytes([198, 51, 100, self._random.randrange(SERVERS)])
        return client, self._random.randrange(20_000, 60_000), server, port

    def _connection(self) -> Iterator[bytes]:
        ends = self._ends(443)
        octets = 1700 if self._random.random() < 1 / 5 else 500
        record = hello(b"www%d.example.com" % self._random.randrange(1000), octets)
        yield segment(ends, 1000, SYN)
        yield segment(reverse(ends), 5000, SYN | ACK)
        for at in range(0, len(record), 1400):
            yield segment(ends, 1001 + at, ACK | PSH, record[at : at + 1400])
        yield segment(reverse(ends), 5001, ACK | PSH, b"\x16\x03\x03\x00\x7a\x02" + bytes(121))
        self._sent[ends], self._sent[reverse(ends)] = 1001 + len(record), 5128
        self._bulk.append(ends)
        if len(self._bulk) > FLOWS:
            self._bulk.pop(0)

    def _bulk_segments(self) -> Iterator[bytes]:
        ends = self._random.choice(self._bulk)
        sender = reverse(ends) if self._random.random() < 0.8 else ends  # noqa: PLR2004 - downloads prevail
        for _ in range(self._random.randrange(1, 12)):
            yield segment(sender, self._sent[sender], ACK, b"\x17\x03\x03" + bytes(1397))
            self._sent[sender] += 1400
        yield segment(reverse(sender), self._sent[reverse(sender)], ACK)

    def _other(self) -> Iterator[bytes]:
        if self._random.random() < 0.3:  # noqa: PLR2004 - the rest are look-ups
            yield from self._connection()
            return
        ends = self._ends(53)
        question = struct.pack(">6H", ends[1], 0x0100, 1, 0, 0, 0) + b"\x03www\x07example\x03com\0\0\x01\0\x01"
        yield datagram(ends, question)
        answer = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 300, 4) + bytes([198, 51, 100, ends[1] % SERVERS])
        response = struct.pack(">6H", ends[1], 0x8180, 1, 1, 0, 0) + question[12:] + answer
        yield datagram(reverse(ends), response)


def write_capture(path: Path, packets: int) -> int:
    """Write the traffic as a pcap, 20 us between frames; return how many frames there are."""
    frames = 0
    with path.open("wb") as stream:
        stream.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for octets in Traffic().frames(packets):
            seconds, microseconds = divmod(frames * 20, 1_000_000)
            stream.write(struct.pack("<IIII", 1_700_000_000 + seconds, microseconds, len(octets), len(octets)) + octets)
            frames += 1
    return frames


def best_cpu_s(work: Callable[[], object]) -> float:
    """Return the least CPU seconds of a few rounds."""
    times = []
    for _ in range(ROUNDS):
        before = time.process_time()
        work()
        times.append(time.process_time() - before)
    return min(times)


def read_all(path: Path) -> list[Packet]:
    """Return all packets of the file."""
    packets: list[Packet] = []
    with open_capture(str(path)) as capture:
        while (batch := capture.read()) is not None:
            packets += batch
    return packets


def read_only(path: Path) -> None:
    """Read the file and keep nothing."""
    with open_capture(str(path)) as capture:
        while capture.read() is not None:
            pass


def whole_pipeline(path: Path) -> Pipeline:
    """Read the file through the pipeline."""
    pipeline = Pipeline()
    with open_capture(str(path)) as capture:
        while (batch := capture.read()) is not None:
            pipeline.feed_batch(batch)
    pipeline.flush()
    return pipeline


def feed_all(packets: list[Packet], limits: Limits | None = None) -> None:
    """Take packets that were read before through the pipeline."""
    pipeline = Pipeline(limits)
    pipeline.feed_batch(packets)
    pipeline.flush()


def scapy_cpu_us(path: Path) -> float:
    """Return the CPU microseconds a packet that scapy needs to dissect a sample of the file."""
    from scapy.layers.inet import IP  # noqa: F401, PLC0415 - registers the layers; takes a second to import
    from scapy.utils import PcapReader  # noqa: PLC0415 - the same

    with PcapReader(str(path)) as reader:
        before = time.process_time()
        for _ in range(SCAPY_SAMPLE):
            reader.read_packet()
        return (time.process_time() - before) / SCAPY_SAMPLE * 1e6


def child_cpu_us(command: list[str], packets: int) -> float | None:
    """Return the CPU microseconds a packet of `command`, None if it is not installed."""
    if shutil.which(command[0]) is None:
        return None
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / packets * 1e6


def flood() -> tuple[float, float]:
    """Return microseconds a packet and peak MiB that a flood of SYNs from all over costs."""
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pipeline = Pipeline()
    started = time.process_time()
    for number in range(FLOOD):
        src = struct.pack(">I", 0x0B000000 + number)
        data = segment((src, 1024 + number % 60_000, b"\xc6\x33\x64\x01", 443), number, SYN) + bytes(10)
        pipeline.feed(Packet(number * 1000, 1, data, len(data)))
    spent = time.process_time() - started
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
    return spent / FLOOD * 1e6, grown_kb / 1024


def measure(path: Path, packets: int) -> list[tuple[str, float]]:
    """Return what was measured, in microseconds a packet."""
    held = read_all(path)
    rows = [
        ("read the file", best_cpu_s(lambda: read_only(path)) / packets * 1e6),
        ("decode every packet", best_cpu_s(lambda: [decode(packet) for packet in held]) / packets * 1e6),
        ("pipeline without reading", best_cpu_s(lambda: feed_all(held)) / packets * 1e6),
        ("the same, no packets kept", best_cpu_s(lambda: feed_all(held, NOTHING_KEPT)) / packets * 1e6),
        ("read and pipeline", best_cpu_s(lambda: whole_pipeline(path)) / packets * 1e6),
        (f"scapy PcapReader ({SCAPY_SAMPLE} packets)", scapy_cpu_us(path)),
    ]
    peers = {
        "tcpdump -r, a filter": ["tcpdump", "-nr", str(path), "udp port 53"],
        "tshark -r, names": ["tshark", "-nr", str(path), "-T", "fields", "-e", "tls.handshake.extensions_server_name"],
    }
    for name, command in peers.items():
        spent = child_cpu_us(command, packets)
        rows += [(name, spent)] if spent is not None else []
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packets", type=int, default=100_000)
    packets_wanted: int = parser.parse_args().packets
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mix.pcap"
        packets = write_capture(path, packets_wanted)
        octets = path.stat().st_size
        print(f"{packets} packets, {octets / packets:.0f} octets on average; Python {sys.version.split()[0]}, ", end="")
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        rows = measure(path, packets)
        counters = whole_pipeline(path).counters
    ours = dict(rows)["read and pipeline"]
    print(f"{'':32} {'us/packet':>10} {'kpackets/s':>11} {'ratio':>8}")
    for name, spent in rows:
        print(f"{name:32} {spent:10.2f} {1000 / spent:11.0f} {spent / ours:8.2f}")
    print(f"flows {counters.flows}, DNS messages {counters.dns_messages}, malformed {counters.malformed}")
    spent, grown_mib = flood()
    print(f"{FLOOD} SYNs, each a flow: {spent:.1f} us each, {grown_mib:.0f} MiB more than before")


if __name__ == "__main__":
    main()
