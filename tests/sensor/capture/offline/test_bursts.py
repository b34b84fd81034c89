"""Bursts held equal to records that are read one by one."""

import random
import re
import struct

from frames import ACK, CLIENT, SERVER, SYN, S, tcp
from hypothesis import given
from hypothesis import strategies as st
from segments import FLAVOURS, Flavour, made, read_segment, written

from sensor.capture.offline.bursts import FIRST_SAMPLE, SECOND, Bursts
from sensor.capture.offline.pcap import FILE_HEADER_OCTETS, PcapFormat
from sensor.flows.flow import reverse_key
from sensor.packet import LinkType, Packet

FORMS = re.compile(rb"(?s).{12}(?:(?:\x81\x00..)?\x08\x00\x45.{5}[\x00\x40]\x00.\x06|\x86\xdd[\x60-\x6f].{5}\x06)")
COMMON = {54, 74, 754, 1454}  # lengths of which there are enough to be learned
Found = list[tuple[int, bytes, int]]  # number of the first record, key and number of records of each burst


def found_in(packets: list[Packet], flavour: Flavour) -> Found:
    """Return the bursts of a file that is read as the picker reads it; each has to end where a record ends."""
    content, file_format = written(packets, flavour)
    window, bursts, found = bytearray(content), Bursts(file_format), []
    for _ in range(FIRST_SAMPLE):
        bursts.learn(window, FILE_HEADER_OCTETS, len(window))
    starts = starts_in(content, file_format)
    at = FILE_HEADER_OCTETS
    while at < len(window):
        assert at in starts
        burst = bursts.match(window, at, len(window))
        if burst is None:
            at = starts[at]
            continue
        group, records = bursts.keys[burst.lastindex or 0], bursts.records[burst.lastindex or 0]
        assert burst[SECOND] == content[at : at + 4]
        found.append((list(starts).index(at), burst[group], records))
        for _ in range(records):
            at = starts[at]
        assert at == burst.end()
    return found


def starts_in(content: bytes, file_format: PcapFormat) -> dict[int, int]:
    """Return where each record begins, with where it ends."""
    at, starts = FILE_HEADER_OCTETS, {}
    while at < len(content):
        (octets,) = struct.unpack_from(f"{file_format.byte_order}8xI", content, at)
        starts[at] = at + file_format.record_header_octets + octets
        at = starts[at]
    return starts


def is_plain(row: Packet) -> bool:
    """Tell whether a packet may be in a burst: a segment of a form that is known, without SYN, FIN or RST."""
    segment = read_segment(row)
    return segment is not None and not segment[1] & 7 and FORMS.match(row.data) is not None


@given(st.integers(0, 2**32), st.sampled_from(FLAVOURS))
def test_bursts_are_of_one_connection_and_leave_nothing_plain_out(seed: int, flavour: Flavour) -> None:
    chance = random.Random(seed)
    made_rows = [made(chance, 0) for _ in range(150)]
    rows = [row for row in made_rows if len(row.data) in COMMON] * 2
    packets = [Packet(number * 50_000_000, row.link_type, row.data, row.wire_octets) for number, row in enumerate(rows)]
    taken: set[int] = set()
    for first, key, records in found_in(packets, flavour):
        burst = packets[first : first + records]
        keys = [(read_segment(row) or (b"",))[0] for row in burst]
        assert keys[0] == key
        assert {*keys} <= {key, reverse_key(key)}
        assert len({(row.ts_ns // S, row.data[12:14]) for row in burst}) == 1  # a tag makes another form
        taken.update(range(first, first + records))
    assert taken == {number for number, row in enumerate(packets) if is_plain(row)}


def test_two_segments_and_their_acknowledgement_over_and_over_make_one_burst() -> None:
    there, back = (CLIENT, 40000, SERVER, 443), (SERVER, 443, CLIENT, 40000)
    packets = [tcp(0, ends, (1, 1, ACK), b"") for ends in (there, there, back) * 4]
    assert [records for _, _, records in found_in(packets, FLAVOURS[0])] == [9, 3]


def test_a_burst_ends_with_the_second_the_direction_or_the_connection() -> None:
    there, back, other = (CLIENT, 40000, SERVER, 443), (SERVER, 443, CLIENT, 40000), (CLIENT, 40001, SERVER, 443)
    rows = [(0, there), (1, back), (2, there), (3, other), (4, there), (1000, there), (1001, back)]
    packets = [tcp(ms * 1_000_000, ends, (1, 1, ACK), b"") for ms, ends in rows]
    assert [records for _, _, records in found_in(packets, FLAVOURS[0])] == [3, 1, 1, 2]


def test_a_syn_is_in_no_burst() -> None:
    packets = [tcp(0, (CLIENT, 40000, SERVER, 443), (1, 1, flags), b"") for flags in (ACK, SYN, ACK)]
    assert [records for _, _, records in found_in(packets, FLAVOURS[0])] == [1, 1]


def test_what_cannot_be_a_length_is_not_learned() -> None:
    window = bytearray(struct.pack("<IIII", 0, 0, 0xFFFFFFFF, 0))
    bursts = Bursts(PcapFormat("<", 1000, 16))
    for _ in range(FIRST_SAMPLE):
        bursts.learn(window, 0, len(window))
    assert bursts.match(window, 0, len(window)) is None


def test_a_frame_too_short_for_its_headers_is_in_no_burst() -> None:
    """Else what stands behind it in the file would be read as its own."""
    row = tcp(0, (CLIENT, 40000, SERVER, 443), (1, 1, ACK), b"")
    packets = [Packet(0, LinkType.ETHERNET, row.data[:octets], 54) for octets in (54, 40, 47, 48, 40)]
    assert [records for _, _, records in found_in(packets, FLAVOURS[0])] == [1, 1]
