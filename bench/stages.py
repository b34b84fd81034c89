"""What each kind of relevant packet costs in the program, stage by stage, beside other parsers in the same run.

    make bench-stages        (ARGS="--conversations 500" for a quick look)

Fresh conversations go packet by packet through the whole sensor but capture and report; each stage is called alone on
the same packets as well. `flow` is what is left: table, reassembly, alarms, making observations. Correlation is the
learning of an answer, else one look-up of told names for each observation. CPU microseconds a packet (of a kind that
needs two packets: both together), the best of the rounds; only ratios within one run mean anything.
"""

import argparse
import hmac
import os
import random
import struct
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import conversations
import dns.message
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from hellos import records
from initials import crypto, initial
from wire import ACK, TCP, UDP, Connection, Path, datagram

from rules.catalogue.catalogue import load_catalogue
from rules.classification.classify import classify
from rules.policy.policy import Policy
from rules.policy.ruleset import Ruleset
from sensor.correlate import ToldNames
from sensor.decode import Datagram, Segment, decode, read_plain
from sensor.detect import Detector
from sensor.errors import NeedMoreData
from sensor.extract.dns import is_likely_dns, parse_message
from sensor.extract.quic import QuicInitialReader
from sensor.extract.stream import read_stream
from sensor.packet import LinkType, Packet
from sensor.pipeline import Pipeline

if TYPE_CHECKING:
    from rules.values.observation import Observation

ROUNDS = 5
BATCH = 512
PEER_PACKETS = 200
START_NS = 1_700_000_000_000_000_000
DATAGRAM_CUT = 1050

Step = tuple[str, tuple[bytes, ...]]  # a kind of packet and the frames of one conversation that make it up
Extract = Callable[[Sequence[bytes]], object]


@dataclass(frozen=True, slots=True)
class Kind:
    """A row: its packets in every conversation, what reads their payload (None: nothing does) and its rivals."""

    name: str
    packets: list[list[Packet]]
    extract: Extract | None

    @property
    def flat(self) -> list[Packet]:
        """Return the packets of all conversations."""
        return [packet for part in self.packets for packet in part]


@dataclass(slots=True)
class Spent:
    """CPU microseconds a conversation and stage; the best of the rounds."""

    whole: float
    decode: float
    extract: float
    correlate: float
    classify: float

    @property
    def flow(self) -> float:
        """Return what no other stage explains."""
        return max(0.0, self.whole - self.decode - self.extract - self.correlate - self.classify)


def tcp_steps(kind: str, path: Path, chance: random.Random) -> Iterator[Step]:
    """Yield the packets of a TCP connection, one kind after the other."""
    made = Connection(path)
    syn, answer, ack = made.open()
    yield from (("SYN", (syn,)), ("SYN ACK", (answer,)), ("ACK alone", (ack,)))
    if kind == "ssh":
        server, _ = made.send(conversations.BANNER, is_client=False)
        client, _ = made.send(conversations.BANNER)
        yield from (("SSH banner, server", (server,)), ("SSH banner, client", (client,)))
    else:
        hello = records(conversations.client_hello("www.example.com", chance, is_split=kind == "split"))
        *segments, _ = made.send(hello)
        yield ("TLS hello, 2 segments" if kind == "split" else "TLS hello, 1 segment"), tuple(segments)
        yield "TLS server hello", (next(iter(made.send(conversations.SERVER_HELLO, is_client=False))),)
        yield "TLS data, counted only", (made.frame(ACK, conversations.APPLICATION),)
    fin, other_fin, _ = made.close()
    yield from (("FIN", (fin,)), ("FIN, the second", (other_fin,)))


def quic_steps(path: Path, chance: random.Random, *, is_split: bool) -> Iterator[Step]:
    """Yield a hello in one or two encrypted datagrams."""
    dcid = chance.randbytes(8)
    message = conversations.client_hello(
        "www.example.com", chance, is_split=is_split, extra=conversations.QUIC_PARAMETERS
    )
    pieces = [(at, message[at : at + DATAGRAM_CUT]) for at in range(0, len(message), DATAGRAM_CUT)]
    frames = [
        datagram(path, initial(crypto(at, piece), dcid=dcid, number=number))
        for number, (at, piece) in enumerate(pieces)
    ]
    yield f"QUIC hello, {len(frames)} datagram{'s' * is_split}", tuple(frames)


def steps(source: str, number: int, chance: random.Random) -> Iterator[Step]:
    """Yield the packets of conversation `number` of one source of traffic."""
    client = struct.pack(">I", (10 << 24) + number)
    server = bytes((198, 18, number >> 8 & 255, number & 255))
    transport, port = {"dns": (UDP, 53), "quic": (UDP, 443), "quic2": (UDP, 443), "ssh": (TCP, 22)}.get(
        source, (TCP, 443)
    )
    path = Path(transport, (client, 20_000 + number % 40_000, server, port))
    if source == "dns":
        question, answer = conversations.dns(path, f"www{number % 4000}.example.com", chance)
        yield from (("DNS query", (question,)), ("DNS answer", (answer,)))
    elif transport == UDP:
        yield from quic_steps(path, chance, is_split=source == "quic2")
    else:
        yield from tcp_steps(source, path, chance)


def kinds(source: str, count: int) -> list[Kind]:
    """Return the rows of one source of traffic, in the order in which their packets come."""
    chance = random.Random(5)
    ts_ns = START_NS
    made: dict[str, list[list[Packet]]] = {}
    for row in zip(*(list(steps(source, number, chance)) for number in range(count)), strict=True):
        for name, frames in row:
            ts_ns += 1000
            packets = [Packet(ts_ns, LinkType.ETHERNET, frame, len(frame), "eth0") for frame in frames]
            made.setdefault(name, []).append(packets)
    return [Kind(name, packets, extractor(name)) for name, packets in made.items()]


def extractor(name: str) -> Extract | None:
    """Return what reads the payloads of a kind."""
    if name.startswith("DNS"):
        return lambda payloads: [is_likely_dns(payload) and parse_message(payload) for payload in payloads]
    if name.startswith("QUIC"):
        return read_quic
    if name.startswith(("TLS hello", "TLS server", "SSH")):
        return read_growing
    return None


def read_growing(payloads: Sequence[bytes]) -> None:
    """Read a stream's head after each segment, as the flow table does."""
    head = b""
    for payload in payloads:
        head += payload
        with suppress(NeedMoreData):
            read_stream(head)


def read_quic(payloads: Sequence[bytes]) -> None:
    """Read the datagrams of a client's hello."""
    reader = QuicInitialReader()
    for payload in payloads:
        with suppress(NeedMoreData):
            reader.feed(payload)


def batches(packets: Sequence[Packet]) -> Iterator[Sequence[Packet]]:
    """Yield the packets as capture hands them on."""
    return (packets[at : at + BATCH] for at in range(0, len(packets), BATCH))


def cpu_us(work: Callable[[], object], count: int) -> float:
    """Return the CPU microseconds of one of `count` parts of `work`."""
    before = time.process_time_ns()
    work()
    return (time.process_time_ns() - before) / count / 1000


def best_us(work: Callable[[], object], count: int) -> float:
    """Return the least of the rounds."""
    return min(cpu_us(work, count) for _ in range(ROUNDS))


def drain(values: Iterable[object]) -> None:
    """Do everything that a lazy sequence does."""
    for _ in values:
        pass


class Bench:
    """One source of traffic, measured."""

    def __init__(self, source: str, count: int, ruleset: Ruleset) -> None:
        self._count = count
        self._ruleset = ruleset
        self.kinds = kinds(source, count)
        self.seen: dict[str, list[Observation]] = {kind.name: [] for kind in self.kinds}

    def whole(self) -> dict[str, float]:
        """Return what each kind costs on its way through the sensor."""
        best: dict[str, float] = {}
        for _ in range(ROUNDS):
            detector = Detector(Pipeline(), lambda: self._ruleset)
            for kind in self.kinds:
                parts = list(batches(kind.flat))
                spent = cpu_us(partial(drain, map(detector.feed, parts)), self._count)
                best[kind.name] = min(spent, best.get(kind.name, spent))
        return best

    def observe(self) -> None:
        """Note which observations each kind completes."""
        pipeline = Pipeline()
        for kind in self.kinds:
            for part in batches(kind.flat):
                self.seen[kind.name] += pipeline.feed_batch(part)

    def spent(self, kind: Kind, whole_us: float) -> Spent:
        """Return the stages of one kind."""
        decoded = [[decode(packet) for packet in part] for part in kind.packets]
        payloads = [[bytes(row.payload) for row in part if isinstance(row, Segment | Datagram)] for part in decoded]
        extract_us = 0.0
        if kind.extract is not None:
            extract = kind.extract
            extract_us = best_us(lambda: drain(map(extract, payloads)), self._count)
        seen, rules = self.seen[kind.name], self._ruleset
        return Spent(
            whole=whole_us,
            decode=best_us(lambda: drain(read_plain(row) or decode(row) for row in kind.flat), self._count),
            extract=extract_us,
            correlate=self._correlate_us(kind.name, payloads),
            classify=best_us(lambda: drain(classify(row, rules.policy, rules.catalogue) for row in seen), self._count),
        )

    def _correlate_us(self, name: str, payloads: list[list[bytes]]) -> float:
        seen = self.seen[name]
        if name == "DNS query":
            return 0.0
        if name == "DNS answer":
            messages = [parse_message(part[0]) for part in payloads]
            clients = [row.five_tuple.src for row in seen]
            pairs = list(zip(clients, messages, strict=True))

            def learn() -> None:
                told = ToldNames()
                for client, message in pairs:
                    told.learn(client, message, START_NS)

            return best_us(learn, self._count)
        told = ToldNames()
        ends = [(row.five_tuple.src, row.five_tuple.dst) for row in seen]
        return best_us(lambda: drain(told.chains(src, dst, START_NS) for src, dst in ends), self._count)


def scapy_us(kind: Kind) -> float:
    """Return what scapy needs to dissect the packets of one conversation."""
    from scapy.layers.l2 import Ether  # noqa: PLC0415 - takes a second
    from scapy.layers.tls.record import TLS  # noqa: F401, PLC0415 - binds TLS to its port

    frames = [packet.data for part in kind.packets[:PEER_PACKETS] for packet in part]
    drain(map(Ether, frames[:1]))
    return cpu_us(lambda: drain(map(Ether, frames)), len(kind.packets[:PEER_PACKETS]))


def dnspython_us(kind: Kind) -> float:
    """Return what dnspython needs for the message alone."""
    messages = [part[0].data[42:] for part in kind.packets]
    return best_us(lambda: drain(map(dns.message.from_wire, messages)), len(messages))


def quic_floor_us() -> float:
    """Return what the cryptography of one Initial costs: five HMACs, a mask and one authenticated decryption.

    Source: RFC 9001 section 5.
    """
    key, nonce = bytes(16), bytes(12)
    sealed = AESGCM(key).encrypt(nonce, bytes(1150), b"header")

    def once() -> None:
        for _ in range(5):
            hmac.digest(key, b"label", "sha256")
        Cipher(AES(key), ECB()).encryptor().update(nonce + bytes(4))  # noqa: S305 - RFC 9001 section 5.4.3
        AESGCM(key).decrypt(nonce, sealed, b"header")

    def many() -> None:
        for _ in range(500):
            once()

    return best_us(many, 500)


def peers(kind: Kind, quic_us: float) -> str:
    """Return what others cost on the same packets."""
    others = {"scapy": scapy_us(kind)}
    if kind.name.startswith("DNS"):
        others["dnspython, message alone"] = dnspython_us(kind)
    if kind.name.startswith("QUIC"):
        others["cryptography alone, one datagram"] = quic_us
    return ", ".join(f"{name} {spent:.0f}" for name, spent in others.items())


def main() -> None:
    """Print the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conversations", type=int, default=2000)
    count: int = parser.parse_args().conversations
    ruleset = Ruleset(load_catalogue(), Policy())
    quic_us = quic_floor_us()
    print(f"{count} conversations of each kind; Python {sys.version.split()[0]}, ", end="")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    print("| packet | us | decode | flow | extract | correlate | classify | others |")
    print("|---|--:|--:|--:|--:|--:|--:|---|")
    done: set[str] = set()
    for source in ("dns", "tls", "split", "quic", "quic2", "ssh"):
        bench = Bench(source, count, ruleset)
        whole = bench.whole()
        bench.observe()
        for kind in bench.kinds:
            if kind.name not in done:
                done.add(kind.name)
                row = bench.spent(kind, whole[kind.name])
                stages = (row.whole, row.decode, row.flow, row.extract, row.correlate, row.classify)
                print(f"| {kind.name} | {' | '.join(f'{spent:.1f}' for spent in stages)} | {peers(kind, quic_us)} |")
    packets = kinds("tls", count)[0].flat
    print(f"\nA loop over the packets that does nothing takes {best_us(lambda: drain(packets), count):.3f} us each.")


if __name__ == "__main__":
    main()
