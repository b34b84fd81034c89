"""What live capture costs a packet, and what it loses, at the sender's full speed: each engine on the same traffic.

A sender in one network namespace floods the sensor in another over a veth pair: 88 % bulk, 10 % acknowledgements, DNS,
TLS hellos over two segments, QUIC; 15 % IPv6; new clients in every loop. CPU is the receiving process's, user and
system, per packet that the sender offered; what the filter itself costs is the sender's (veth delivers in its context):
`sender`. Loss is exact for each class that matters. The last lines are workers that share the clients (`--workers` of
the sensor), theirs summed. Needs root; with `--json` one object an engine is printed.
"""

import argparse
import json
import logging
import random
import resource
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from burst import Patched, pack
from veth import INTERFACE, veth, within

from sensor.capture.filter.flow_heads import FlowHeads
from sensor.capture.filter.packet_filter import PacketFilter
from sensor.capture.filter.program_heads import ProgramHeads
from sensor.capture.live.live import LiveSource
from sensor.capture.live.plain import PlainTap
from sensor.capture.live.ring import UNFILTERED_BLOCKS, RingTap
from sensor.capture.live.sockets import Engine
from sensor.capture.live.tap import TapOpener
from sensor.pipeline import Pipeline
from sensor.share import Share

PACKETS = 50_000  # a loop
BULK_OCTETS = 1400
QUIET_S = 1.0
MARK_OCTETS = 6
BULK, ACKNOWLEDGEMENT, SYN, HELLO_1, HELLO_2, DNS, QUIC = (
    name.ljust(MARK_OCTETS).encode() for name in ("bulk", "ack", "syn", "hello1", "hello2", "dns", "quic")
)
RELEVANT = (SYN, HELLO_1, HELLO_2, DNS, QUIC)
FLAG_SYN, FLAG_ACK = 0x02, 0x10
IPV6_SHARE = 0.15
ENGINES: dict[str, tuple[Callable[[Share], PacketFilter], TapOpener]] = {
    "af-packet": (lambda _: ProgramHeads(), PlainTap),
    "ring": (lambda _: ProgramHeads(), partial(RingTap, blocks=UNFILTERED_BLOCKS)),
    "flow-heads": (lambda share: FlowHeads(share=share), PlainTap),
    "flow-heads-ring": (lambda share: FlowHeads(share=share), RingTap),
}
BEST = "flow-heads-ring"
WORKERS = (2, 4)


class Client:
    """One client's address, and frames to and from it."""

    def __init__(self, number: int, *, is_ipv6: bool) -> None:
        self._is_ipv6 = is_ipv6
        low = struct.pack(">BB", number >> 8, number & 255)
        self._client = b"\x20\x01\x0d\xb8" + bytes(9) + b"\0" + low if is_ipv6 else b"\x0a\0" + low
        self._server = b"\x20\x01\x0d\xb8\xff" + bytes(10) + b"\1" if is_ipv6 else b"\xc0\0\2\1"

    def frame(self, protocol: int, transport: bytes, *, is_reply: bool) -> Patched:
        """Return the frame and where the octet of its loop lies in the client's address."""
        src, dst = (self._server, self._client) if is_reply else (self._client, self._server)
        if self._is_ipv6:
            ip = b"\x86\xdd" + struct.pack(">IHBB", 6 << 28, len(transport), protocol, 64)
            patch = 14 + 8 + 13 + 16 * is_reply
        else:
            ip = b"\x08\x00" + struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(transport), 1, 0x4000, 64, protocol, 0)
            patch = 14 + 12 + 1 + 4 * is_reply
        return bytes(12) + ip + src + dst + transport, patch

    def segment(self, seq: int, flags: int, payload: bytes, mark: bytes, *, is_reply: bool = False) -> Patched:
        """Return a TCP segment that ends in `mark`, behind the packet if there is no payload."""
        ports = (443, 40_000) if is_reply else (40_000, 443)
        header = struct.pack(">HHIIBBHHH", *ports, seq, 1, 0x50, flags, 65_535, 0, 0)
        frame, patch = self.frame(
            6, header + payload[: len(payload) - MARK_OCTETS] + mark * bool(payload), is_reply=is_reply
        )
        return (frame if payload else frame + mark), patch

    def datagram(self, ports: tuple[int, int], payload: bytes, mark: bytes) -> Patched:
        """Return a UDP datagram that ends in `mark`."""
        header = struct.pack(">HHHH", *ports, 8 + len(payload) + MARK_OCTETS, 0)
        return self.frame(17, header + payload + mark, is_reply=False)


def traffic(seed: int = 3) -> list[Patched]:
    """Return one loop of frames; openings are spread over it, each before its bulk."""
    source = random.Random(seed)
    bulk_octets = source.randbytes(BULK_OCTETS)
    hello = b"\x16\x03\x01\x06\xb8\x01\x00\x06\xb4\x03\x03" + source.randbytes(1600)
    clients = PACKETS // 300
    frames: list[Patched] = []
    for number in range(clients):
        client = Client(number, is_ipv6=source.random() < IPV6_SHARE)
        frames += opening(client, number, hello)
        for index in range(264):
            frames.append(client.segment(5001 + BULK_OCTETS * index, FLAG_ACK, bulk_octets, BULK, is_reply=True))
            if index % 9 == 0:
                frames.append(client.segment(2601, FLAG_ACK, b"", ACKNOWLEDGEMENT))
    return frames


def opening(client: Client, number: int, hello: bytes) -> Iterator[Patched]:
    """Yield a look-up, a TCP connection with its hello and now and then a QUIC hello."""
    for ident in range(3):
        header = struct.pack(">6H", ident, 0x0100, 1, 0, 0, 0)
        yield client.datagram((5000 + ident, 53), header + b"\x07example\x03com\0\0\1\0\1", DNS)
    yield client.segment(1000, FLAG_SYN, b"", SYN)
    yield client.segment(5000, FLAG_SYN | FLAG_ACK, b"", SYN, is_reply=True)
    yield client.segment(1001, FLAG_ACK, hello[:1400], HELLO_1)
    yield client.segment(2401, FLAG_ACK, hello[1400:1600], HELLO_2)
    if number % 3 == 0:
        for part in range(2):
            yield client.datagram((6000, 443), b"\xc3\0\0\0\1" + bytes((part,)) * 1195, QUIC)


def receive(engine: str, share: Share, *, with_pipeline: bool) -> None:
    """Capture on eth0 until nothing came for a second after the first packet, and print what came and what it cost."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    make_filter, open_tap = ENGINES[engine]
    pipeline = Pipeline()
    seen: Counter[bytes] = Counter()
    with LiveSource((INTERFACE,), Engine(engine, "", make_filter(share), open_tap)) as source:
        print("ready", flush=True)
        before = resource.getrusage(resource.RUSAGE_SELF)
        quiet_since = None
        while quiet_since is None or time.monotonic() - quiet_since < QUIET_S:
            batch = source.read(0.1) or []
            if batch or quiet_since is None:
                quiet_since = time.monotonic() if batch else None
            seen.update([packet.data[-MARK_OCTETS:] for packet in batch])
            if with_pipeline:
                pipeline.feed_batch(batch)
        after = resource.getrusage(resource.RUSAGE_SELF)
        counters = source.counters()
    result = {
        "seen": {mark.decode(): seen[mark] for mark in (*RELEVANT, BULK, ACKNOWLEDGEMENT)},
        "user_s": after.ru_utime - before.ru_utime,
        "system_s": after.ru_stime - before.ru_stime,
        "kernel_drops": counters.kernel_drops,
        "counted": counters.packets + counters.filtered_packets,
        "passed": counters.packets,
    }
    print(json.dumps(result), flush=True)


def in_namespace(name: str, *words: str) -> subprocess.Popen[str]:
    """Start a Python program of this folder in a network namespace."""
    return subprocess.Popen(within(name, [sys.executable, *words]), stdout=subprocess.PIPE, text=True)


def measure(engine: str, frames: Path, loops: int, workers: int = 1, *, with_pipeline: bool) -> dict[str, Any]:
    """Return what one engine saw of `loops` loops of `frames` in namespaces of its own, and its cost."""
    here = Path(__file__).resolve()
    options = ["--receive", engine, *(["--pipeline"] if with_pipeline else [])]
    with veth() as (sensor, sender), ExitStack() as stack:
        shares = [["--share", str(number), str(workers)] for number in range(workers)]
        receivers = [stack.enter_context(in_namespace(sensor, str(here), *options, *share)) for share in shares]
        for receiver in receivers:
            receiver.stdout.readline()  # type: ignore[union-attr]  # a pipe
        with in_namespace(sender, str(here.with_name("burst.py")), INTERFACE, str(frames), str(loops)) as burst:
            sent, seconds, cpu = burst.communicate()[0].split()
        results = [json.loads(receiver.communicate()[0]) for receiver in receivers]
    name = engine if workers == 1 else f"{workers} workers"
    sending = {"engine": name, "offered": int(sent), "sending_s": float(seconds), "sender_cpu_s": float(cpu)}
    return {**sending, **summed(results)}


def summed(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what several receivers of one sender say together."""
    seen: Counter[str] = Counter()
    for result in results:
        seen.update(result["seen"])
    return {"seen": seen, **{name: sum(row[name] for row in results) for name in results[0].keys() - {"seen"}}}


def lost(result: dict[str, Any], offered: Counter[bytes], loops: int) -> dict[str, float]:
    """Return the lost share of each class that matters."""
    seen = result["seen"]
    return {mark.decode(): 1 - seen[mark.decode()] / (offered[mark] * loops) for mark in RELEVANT}


def show(result: dict[str, Any], losses: dict[str, float]) -> None:
    """Print one line."""
    offered = result["offered"]
    user, system = result["user_s"] * 1e6 / offered, result["system_s"] * 1e6 / offered
    rate = offered / result["sending_s"] / 1000
    worst = ", ".join(f"{name.strip()} {share:.1%}" for name, share in losses.items() if share) or "nothing"
    passed = result["passed"] / offered
    sender = result["sender_cpu_s"] * 1e6 / offered
    print(f"{result['engine']:16} {rate:6.0f} {user:8.3f} {system:8.3f} {sender:8.2f}", end=" ")
    print(f"{passed:8.1%} {result['kernel_drops']:9}  {worst}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", action="append", choices=ENGINES, help="only these")
    parser.add_argument("--loops", type=int, default=10, help="of 50,000 packets")
    parser.add_argument("--pipeline", action="store_true", help="take what comes through the pipeline, too")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--receive", choices=ENGINES, help=argparse.SUPPRESS)
    parser.add_argument("--share", type=int, nargs=2, default=(0, 1), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.receive:
        receive(options.receive, Share(*options.share), with_pipeline=options.pipeline)
        return
    frames = traffic()
    offered = Counter(frame[-MARK_OCTETS:] for frame, _ in frames)
    if not options.json:
        print("CPU us per offered packet; lost of what matters")
        print("engine             kpps     user   system   sender   passed     drops  lost")
    with tempfile.NamedTemporaryFile() as file:
        file.write(pack(frames))
        file.flush()
        runs = [(engine, 1) for engine in options.engine or ENGINES]
        runs += [(BEST, workers) for workers in WORKERS if not options.engine]
        for engine, workers in runs:
            result = measure(engine, Path(file.name), options.loops, workers, with_pipeline=options.pipeline)
            losses = lost(result, offered, options.loops)
            if options.json:
                print(json.dumps({**result, "lost": losses}))
            else:
                show(result, losses)


if __name__ == "__main__":
    main()
