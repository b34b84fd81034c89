"""Whatever the screen in Python passes over the compiled one passes over as well."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence

import pytest
from damage import changed
from frames import S, read_packets
from recordings import CAPTURES, recording_names
from screened import LISTED
from traps import DETECTED
from traps_quiet import QUIET

from sensor.capture.screening.compiled import IS_COMPILED, CompiledScreen
from sensor.capture.screening.plain import PlainScreen
from sensor.capture.screening.screen import Screen
from sensor.packet import Packet

pytestmark = pytest.mark.skipif(not IS_COMPILED, reason="there was no compiler at install")

START_NS = 1_700_000_000 * S
SPOKEN = ["example.net", "www.example.org", "c*.example", "ngrok-agent.com"]


def is_hashed(kind: int, name: str) -> bool:
    """Whether a name is of interest: of one in eight, always the same."""
    return name == LISTED or (sum(name.encode()) + kind) % 8 == 0


def sifted(
    screen: Screen, packets: list[Packet], batch: int, ends: Iterable[bytes], names: Sequence[str] | None = None
) -> Counter[tuple[int, bytes]]:
    screen.ask = is_hashed
    screen.follow(ends, names)
    found: list[Packet] = []
    for at in range(0, len(packets), batch):
        found += screen.sift(packets[at : at + batch])
        found += screen.advance(max(row.ts_ns for row in packets[: at + batch]))
    found += screen.advance(0, is_end=True)
    assert screen.totals().packets == len(packets) - len(found)
    assert screen.totals().octets == sum(row.wire_octets for row in packets) - sum(row.wire_octets for row in found)
    return Counter((row.ts_ns, row.data) for row in found)


def assert_agree(
    packets: list[Packet], batch: int = 64, ends: Iterable[bytes] = (), names: Sequence[str] | None = None
) -> None:
    compiled = sifted(CompiledScreen(), packets, batch, ends, names)
    missing = compiled - sifted(PlainScreen(), packets, batch, ends, names)
    assert missing == Counter()


@pytest.mark.parametrize("name", recording_names())
def test_of_recordings(name: str) -> None:
    assert_agree(read_packets(str(CAPTURES / f"{name}.pcap")))


@pytest.mark.parametrize("seed", range(200))
def test_of_traps_whose_packets_are_lost_doubled_swapped_cut_and_changed(seed: int) -> None:
    chance = random.Random(seed)
    packets: list[Packet] = []
    for trap in chance.sample((*DETECTED, *QUIET), 6):
        rows = changed(trap.packets(), chance)
        shift_ns = START_NS - (rows[0].ts_ns if rows else 0)
        packets += [Packet(row.ts_ns + shift_ns, row.link_type, row.data, row.wire_octets) for row in rows]
    ends = [bytes((192, 0, 2, 10))] if seed % 2 else []
    assert_agree(
        sorted(packets, key=lambda row: row.ts_ns), chance.choice((1, 7, 64)), ends, chance.choice((None, SPOKEN))
    )
