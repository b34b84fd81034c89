"""A deterministic mix of traffic with 200 tunnel flows in it, as a pcap, and the truth about them as JSON.

    PYTHONPATH=tests/support python bench/mix.py --packets 2000000 mix.pcap      (writes mix.json as well)

97 % bulk TCP over more than 1,000 concurrent flows, 1 % DNS, TLS, QUIC and SSH, one flow in eight over IPv6, one in
sixteen in a VLAN. Tunnel flows are known by a name below one of 50 suffixes of the catalogue, or by SSH on port 443; 40
lookalikes must stay quiet. TCP is right: handshakes, sequence and acknowledgement numbers, checksums.
"""

import argparse
import itertools
import json
import random
import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path as File

import conversations
from wire import TCP, UDP, BulkFlow, Connection, Path

from rules.catalogue.catalogue import Catalogue, load_catalogue

BULK_FLOWS = 1200
FLOW_SEGMENTS = 900  # on average
BULK_SHARE = 0.969
DNS_SHARE = 0.93  # of what is not bulk, by conversations
IPV6_SHARE = 0.12
VLAN_SHARE = 0.06
DOWNLOAD_SHARE = 0.8
AT_ONCE = 40  # conversations beside the bulk
SUFFIXES = 50
PACKET_US = 20
LOOKALIKES = (("dns", 16), ("tls", 12), ("tls-split", 4), ("quic-443", 4), ("ssh-22", 4))
TUNNELS = (
    ("dns", 40),
    ("tls", 50),
    ("tls-split", 35),  # the server name in the second segment
    ("tls-swapped", 15),
    ("tls-ipv6", 10),
    ("tls-vlan", 10),
    ("quic-443", 15),
    ("quic-7844", 10),
    ("ssh-443", 15),
)


@dataclass(slots=True)
class Truth:
    """What is in the capture: tunnel flows and lookalikes by five-tuple and class."""

    packets: int = 0
    suffixes: list[str] = field(default_factory=list)
    tunnels: list[dict[str, str | int]] = field(default_factory=list)
    lookalikes: list[dict[str, str | int]] = field(default_factory=list)


def choose_suffixes(catalogue: Catalogue) -> list[str]:
    """Return one plain agent domain of each of the first services that have one."""
    firsts = (
        next((name for name in service.agent_domains if name.count(".") and not set("=*?") & set(name)), None)
        for _, service in sorted(catalogue.services.items())
    )
    return [name for name in firsts if name is not None][:SUFFIXES]


class Mix:
    """The frames, in the order of their sending; the same for the same seed and number."""

    def __init__(
        self,
        seed: int = 11,
        bulk_flows: int = BULK_FLOWS,
        flow_segments: int = FLOW_SEGMENTS,
        *,
        has_tunnels: bool = True,
    ) -> None:
        self._random = random.Random(seed)
        self._bulk_flows = bulk_flows
        self._flow_segments = flow_segments
        self._has_tunnels = has_tunnels
        self.bulk_opened = 0
        self._catalogue = load_catalogue()
        self._ports = itertools.count(0)
        self.truth = Truth(suffixes=choose_suffixes(self._catalogue))
        self._records = [
            b"\x17\x03\x03" + struct.pack(">H", octets - 5) + self._random.randbytes(octets - 5)
            for octets in (1440, 1440, 1440, 1100, 600)
        ]

    def frames(self, packets: int) -> Iterator[bytes]:
        """Yield about `packets` frames, tunnels and lookalikes spread over all of them."""
        bulk: list[BulkFlow] = []
        active: deque[Iterator[bytes]] = deque()
        for _ in range(self._bulk_flows):
            yield from self._open_bulk(bulk)
        wanted = self._special(packets)
        made = 8 * self._bulk_flows
        while made < packets:
            batch = self._bulk(bulk) if self._random.random() < BULK_SHARE else self._other(active, wanted, made)
            for octets in batch:
                made += 1
                yield octets
        for rest in (*active, *(conversation for _, conversation in wanted)):
            yield from rest

    def _bulk(self, bulk: list[BulkFlow]) -> Iterator[bytes]:
        at = self._random.randrange(len(bulk))
        flow = bulk[at]
        yield from flow.burst(2 * self._random.randrange(1, 4))
        if flow.left <= 0:
            bulk[at] = bulk[-1]
            bulk.pop()
            yield from flow.close()
            yield from self._open_bulk(bulk)

    def _open_bulk(self, bulk: list[BulkFlow]) -> Iterator[bytes]:
        self.bulk_opened += 1
        connection = Connection(self._path(TCP, 443))
        kind = "tls-split" if self._random.random() < 1 / 5 else "tls"
        yield from conversations.greet(connection, kind, self._benign_name(), self._random)
        packets = int(self._random.lognormvariate(0, 1) * self._flow_segments / 1.65)
        is_download = self._random.random() < DOWNLOAD_SHARE
        payload = self._random.choice(self._records)
        bulk.append(BulkFlow(connection, packets, payload, is_download=is_download))

    def _other(
        self, active: deque[Iterator[bytes]], wanted: deque[tuple[int, Iterator[bytes]]], made: int
    ) -> Iterator[bytes]:
        """Yield a few frames, each of another conversation."""
        while wanted and wanted[0][0] <= made:
            active.append(wanted.popleft()[1])
        while len(active) < AT_ONCE:
            active.append(self._benign())
        for _ in range(4):
            conversation = active.popleft()
            octets = next(conversation, None)
            if octets is not None:
                active.append(conversation)
                yield octets

    def _benign(self) -> Iterator[bytes]:
        chance = self._random.random()
        if chance < DNS_SHARE:
            kind = "dns"
        else:
            kind = self._random.choices(("tls", "tls-split", "quic-443", "ssh-22"), (0.72, 0.18, 0.06, 0.04))[0]
        return self._conversation(kind, self._benign_name(), None)

    def _special(self, packets: int) -> deque[tuple[int, Iterator[bytes]]]:
        """Return tunnels and lookalikes with the frame number from which each is due, in order."""
        if not self._has_tunnels:
            return deque()
        kinds = [(kind, self.truth.tunnels) for kind, count in TUNNELS for _ in range(count)]
        kinds += [(kind, self.truth.lookalikes) for kind, count in LOOKALIKES for _ in range(count)]
        self._random.shuffle(kinds)
        due = sorted(self._random.randrange(packets * 9 // 10) for _ in kinds)
        suffixes = itertools.cycle(self.truth.suffixes)
        rows = deque[tuple[int, Iterator[bytes]]]()
        for number, (at, (kind, listed)) in enumerate(zip(due, kinds, strict=True)):
            suffix = next(suffixes)
            name = f"t{number}.{suffix}" if listed is self.truth.tunnels else self._lookalike(number, suffix)
            rows.append((at, self._conversation(kind, name, listed)))
        return rows

    def _lookalike(self, number: int, suffix: str) -> str:
        first, _, rest = suffix.partition(".")
        forms = (f"not{first}.{rest}", f"{suffix}.example.net", f"x{first}.{rest}", f"{first}-{number}.{rest}")
        return next(name for name in (forms[number % 4], *forms) if self._catalogue.match(name) is None)

    def _conversation(self, kind: str, name: str, listed: list[dict[str, str | int]] | None) -> Iterator[bytes]:
        protocol, _, variant = kind.partition("-")
        port = {"dns": 53, "tls": 443, "quic": 443, "ssh": 22}[protocol]
        path = self._path(
            UDP if protocol in {"dns", "quic"} else TCP,
            int(variant) if variant.isdigit() else port,
            is_ipv6=variant == "ipv6" or None,
            vlan=101 if variant == "vlan" else None,
        )
        if listed is not None:
            listed.append({"class": kind, "name": "" if protocol == "ssh" else name, **path.row()})
        return conversations.converse(path, kind, name, self._random)

    def _benign_name(self) -> str:
        number = self._random.randrange(4000)
        return f"{('www', 'cdn', 'api', 'img')[number % 4]}{number}.example.{('com', 'org', 'net')[number % 3]}"

    def _path(self, transport: int, port: int, *, is_ipv6: bool | None = None, vlan: int | None = None) -> Path:
        """Return a path of its own: no five-tuple comes twice."""
        number = next(self._ports)
        if is_ipv6 is None:
            is_ipv6 = self._random.random() < IPV6_SHARE
        if vlan is None and self._random.random() < VLAN_SHARE:
            vlan = 100
        src_port, host = 20_000 + number % 40_000, number // 40_000
        if is_ipv6:
            src = bytes.fromhex("20010db800010000") + struct.pack(">II", 0, host << 8 | number % 250)
            dst = bytes.fromhex("20010db800020000") + struct.pack(">II", 0, 1 + self._random.randrange(400))
        else:
            src = bytes((10, 1 + host, number % 250, 7))
            dst = bytes((198, 18, self._random.randrange(4), 1 + self._random.randrange(200)))
        return Path(transport, (src, src_port, dst, port), vlan)


def write_mix(path: File, packets: int, mix: Mix | None = None) -> Truth:
    """Write the capture to `path` and the truth beside it; return the truth."""
    mix = mix if mix is not None else Mix()
    pack = struct.Struct("<IIII").pack
    chunk: list[bytes] = []
    number = 0
    with path.open("wb") as stream:
        stream.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for number, octets in enumerate(mix.frames(packets), 1):
            seconds, microseconds = divmod(number * PACKET_US, 1_000_000)
            size = len(octets)
            chunk.append(pack(1_700_000_000 + seconds, microseconds, size, size) + octets)
            if not number & 0xFFF:
                stream.write(b"".join(chunk))
                chunk.clear()
        stream.write(b"".join(chunk))
    mix.truth.packets = number
    path.with_suffix(".json").write_text(json.dumps(asdict(mix.truth), indent=1) + "\n", encoding="utf-8")
    return mix.truth


def main() -> None:
    """Write the capture named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=File)
    parser.add_argument("--packets", type=int, default=2_000_000)
    options = parser.parse_args()
    truth = write_mix(options.file, options.packets)
    print(f"{truth.packets} packets, {len(truth.tunnels)} tunnel flows, {len(truth.lookalikes)} lookalikes")


if __name__ == "__main__":
    main()
