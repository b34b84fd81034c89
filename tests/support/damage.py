"""Packets as a network or somebody hostile might change them: lost, doubled, swapped, late, cut, with other octets."""

import random
from collections.abc import Callable, Sequence

from frames import S

from sensor.packet import Packet

FLAGS = (2, 4, 0x10, 0x11, 0x12, 0x14, 0x18, 0)
IPV4_FLAGS_AT = 47  # of TCP without a VLAN tag or options
ROUNDS = (0, 1, 2, 5, 10)
PAUSES_S = (1, 2, 4, 20)


def changed(packets: Sequence[Packet], chance: random.Random) -> list[Packet]:
    """Return `packets` with up to ten changes, their times never falling."""
    rows = list(packets)
    for _ in range(chance.choice(ROUNDS)):
        if rows:
            chance.choice(CHANGES)(rows, chance.randrange(len(rows)), chance)
    return rows


def lose(rows: list[Packet], at: int, _chance: random.Random) -> None:
    del rows[at]


def double(rows: list[Packet], at: int, chance: random.Random) -> None:
    to = min(len(rows) - 1, at + chance.randrange(4))
    rows.insert(to, with_time(rows[at], rows[to].ts_ns))


def swap(rows: list[Packet], at: int, chance: random.Random) -> None:
    to = min(len(rows) - 1, at + 1 + chance.randrange(3))
    rows[at], rows[to] = with_time(rows[to], rows[at].ts_ns), with_time(rows[at], rows[to].ts_ns)


def pause(rows: list[Packet], at: int, chance: random.Random) -> None:
    gap_ns = chance.choice(PAUSES_S) * S
    rows[at:] = [with_time(row, row.ts_ns + gap_ns) for row in rows[at:]]


def cut(rows: list[Packet], at: int, chance: random.Random) -> None:
    row = rows[at]
    rows[at] = with_data(row, row.data[: chance.randrange(14, len(row.data) + 1)])


def flip(rows: list[Packet], at: int, chance: random.Random) -> None:
    data = bytearray(rows[at].data)
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    rows[at] = with_data(rows[at], bytes(data))


def overwrite(rows: list[Packet], at: int, chance: random.Random) -> None:
    data = bytearray(rows[at].data)
    place = chance.randrange(len(data) - 4)
    data[place : place + 4] = chance.randbytes(4)
    rows[at] = with_data(rows[at], bytes(data))


def flag(rows: list[Packet], at: int, chance: random.Random) -> None:
    data = bytearray(rows[at].data)
    if len(data) > IPV4_FLAGS_AT:
        data[IPV4_FLAGS_AT] = chance.choice(FLAGS)
        rows[at] = with_data(rows[at], bytes(data))


CHANGES: tuple[Callable[[list[Packet], int, random.Random], None], ...] = (
    *(lose, double, swap, pause),
    *(cut, flip, overwrite, flag),
)


def with_time(row: Packet, ts_ns: int) -> Packet:
    return Packet(ts_ns, row.link_type, row.data, row.wire_octets)


def with_data(row: Packet, data: bytes) -> Packet:
    return Packet(row.ts_ns, row.link_type, data, row.wire_octets)
