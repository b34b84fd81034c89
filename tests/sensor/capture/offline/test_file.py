import gzip
import io
import struct
import sys
from pathlib import Path

import pytest
from blocks import block, enhanced, interface, option, section
from frames import read_packets
from recordings import CAPTURES

from sensor.capture.offline.file import CaptureFile, open_capture
from sensor.capture.offline.whole import BATCH_PACKETS
from sensor.errors import CaptureError, MalformedCapture
from sensor.packet import LinkType, Packet

FRAMES = [bytes([number]) * (60 + number) for number in range(3)]


def pcap(order: str = "<", magic: int = 0xA1B2C3D4, link_type: int = 1, extra: bytes = b"") -> bytes:
    records = [
        struct.pack(f"{order}IIII", 10 + number, 7, len(data), len(data) + number) + extra + data
        for number, data in enumerate(FRAMES)
    ]
    return struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 65535, link_type) + b"".join(records)


def read_bytes(tmp_path: Path, content: bytes) -> list[Packet]:
    path = tmp_path / "capture"
    path.write_bytes(content)
    return read_packets(str(path))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("magic", "fraction_ns", "extra"), [(0xA1B2C3D4, 7000, b""), (0xA1B23C4D, 7, b""), (0xA1B2CD34, 7000, bytes(8))]
)
def test_every_pcap_flavour(tmp_path: Path, order: str, magic: int, fraction_ns: int, extra: bytes) -> None:
    packets = read_bytes(tmp_path, pcap(order, magic, extra=extra))
    assert [packet.data for packet in packets] == FRAMES
    assert [packet.ts_ns for packet in packets] == [(10 + n) * 10**9 + fraction_ns for n in range(3)]
    assert [packet.wire_octets - len(packet.data) for packet in packets] == [0, 1, 2]
    assert {packet.link_type for packet in packets} == {LinkType.ETHERNET}


def test_the_fcs_length_is_no_part_of_the_link_type(tmp_path: Path) -> None:
    assert read_bytes(tmp_path, pcap(link_type=0x24000001))[0].link_type == LinkType.ETHERNET


def test_a_capture_in_gzip_members_reads_the_same(tmp_path: Path) -> None:
    content = pcap()
    whole = read_bytes(tmp_path, content)
    assert read_bytes(tmp_path, gzip.compress(content)) == whole
    assert read_bytes(tmp_path, gzip.compress(content[:70]) + gzip.compress(content[70:]) + bytes(16)) == whole


def test_standard_input_reads_plain_and_gzip(monkeypatch: pytest.MonkeyPatch) -> None:
    for content in (pcap(), gzip.compress(pcap())):
        stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(content)))
        monkeypatch.setattr(sys, "stdin", stdin)
        with open_capture("-") as capture:
            assert capture.progress is None
            assert [packet.data for packet in capture.read() or []] == FRAMES
        assert not stdin.closed


def test_batches_and_progress(tmp_path: Path) -> None:
    path = tmp_path / "many.pcap"
    record = struct.pack("<IIII", 1, 0, 60, 60) + bytes(60)
    path.write_bytes(pcap()[:24] + record * 1200)
    with open_capture(str(path)) as capture:
        sizes = []
        while (batch := capture.read()) is not None:
            sizes.append(len(batch))
        assert sizes == [BATCH_PACKETS, BATCH_PACKETS, 1200 - 2 * BATCH_PACKETS]
        assert capture.progress == (path.stat().st_size, path.stat().st_size)
        assert capture.read() is None


@pytest.mark.parametrize("make", [pcap, lambda: section() + interface() + b"".join(enhanced(1, row) for row in FRAMES)])
def test_a_file_cut_anywhere_ends_cleanly(tmp_path: Path, make: object) -> None:
    content = make() if callable(make) else b""
    path = tmp_path / "cut"
    for end in range(24, len(content), 3):
        path.write_bytes(content[:end])
        with open_capture(str(path)) as capture:
            frames = [packet.data for packet in capture.read() or []]
            assert frames == FRAMES[: len(frames)]
            assert capture.read() is None
            whole = end == len(content) or len(frames) == len(FRAMES)
            assert capture.truncated or whole or is_at_a_boundary(content, end)


def is_at_a_boundary(content: bytes, end: int) -> bool:
    if content[:4] == section()[:4]:
        at = 0
        while at < end:
            at += struct.unpack_from("<I", content, at + 4)[0]
        return at == end
    at = 24
    while at < end:
        at += 16 + struct.unpack_from("<I", content, at + 8)[0]
    return at == end


def test_a_cut_gzip_stream_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(pcap() + bytes(20000))[:-12])
    with open_capture(str(path)) as capture:
        while capture.read() is not None:
            pass
        assert capture.truncated


def test_damaged_gzip_is_malformed(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(pcap()))
    content[12:30] = b"\xff" * 18
    with pytest.raises(MalformedCapture, match="gzip"):
        read_bytes(tmp_path, bytes(content))


def test_packets_before_the_damage_come_first(tmp_path: Path) -> None:
    path = tmp_path / "damaged"
    path.write_bytes(pcap() + struct.pack("<IIII", 1, 0, 2**31, 60) + bytes(60))
    with open_capture(str(path)) as capture:
        assert len(capture.read() or []) == len(FRAMES)
        with pytest.raises(MalformedCapture) as caught:
            capture.read()
        assert caught.value.offset == len(pcap())
        assert capture.read() is None


@pytest.mark.parametrize("content", [b"", b"\n", b"#!/bin/sh\n" * 10, pcap()[:20], gzip.compress(b"text", mtime=0)])
def test_what_is_no_capture_is_refused_with_advice(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(CaptureError, match=r"record it again|convert it first"):
        read_bytes(tmp_path, content)


def test_a_missing_file_is_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="check the path"):
        open_capture(str(tmp_path / "nowhere"))
    with pytest.raises(CaptureError, match="check the path"):
        open_capture(str(tmp_path))


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_with_every_packet_block(tmp_path: Path, order: str) -> None:
    obsolete = struct.pack(f"{order}HH4I", 0, 3, 0, 3_000_000, 60, 60) + FRAMES[0]
    packets = read_bytes(
        tmp_path,
        section(order)
        + interface(order=order, options=option(2, b"eth0", order), snap=61)
        + block(0x0BAD, bytes(5000), order)
        + enhanced(2_000_000, FRAMES[0], order=order)
        + block(3, struct.pack(f"{order}I", 61) + FRAMES[1], order)
        + block(3, struct.pack(f"{order}I", 999) + FRAMES[1], order)
        + block(2, obsolete, order),
    )
    assert [packet.ts_ns for packet in packets] == [2 * 10**9, 2 * 10**9, 2 * 10**9, 3 * 10**9]
    assert [packet.data for packet in packets] == [FRAMES[0], FRAMES[1], FRAMES[1], FRAMES[0]]
    assert [packet.wire_octets for packet in packets] == [69, 61, 999, 60]
    assert {packet.interface for packet in packets} == {"eth0"}


@pytest.mark.parametrize(
    ("resolution", "offset_s", "ts_ns"),
    [
        (b"\x09", 0, 5_000),
        (b"\x06", 0, 5_000_000),
        (b"\x83", 0, 625_000_000_000),
        (b"\x03", 100, 105_000_000_000),
        (b"\x06", -(10**10), 0),
        (b"\x06", 10**10, 2**63 - 1),
    ],
)
def test_pcapng_time_options(tmp_path: Path, resolution: bytes, offset_s: int, ts_ns: int) -> None:
    options = option(9, resolution) + option(14, struct.pack("<q", offset_s))
    packets = read_bytes(tmp_path, section() + interface(options=options) + enhanced(5000, FRAMES[0]))
    assert packets[0].ts_ns == ts_ns


def test_pcapng_sections_have_interfaces_of_their_own(tmp_path: Path) -> None:
    content = section() + interface(1) + interface(113) + enhanced(1, FRAMES[0], index=1)
    content += section(">") + interface(101, order=">") + enhanced(1, FRAMES[1], order=">")
    assert [packet.link_type for packet in read_bytes(tmp_path, content)] == [113, 101]


def test_pcapng_skips_a_block_larger_than_the_buffer(tmp_path: Path) -> None:
    content = section() + interface() + block(0x0BAD, bytes(3 << 20)) + enhanced(1, FRAMES[0])
    assert len(read_bytes(tmp_path, content)) == 1


@pytest.mark.parametrize(
    "damage",
    [
        struct.pack("<II", 6, 8) + bytes(8),
        struct.pack("<II", 6, 33) + bytes(40),
        struct.pack("<II", 6, 1 << 30) + bytes(40),
        block(6, bytes(16)),
        block(2, bytes(16)),
        block(3, b""),
        block(3, struct.pack("<I", 99)),
        block(1, bytes(4)),
        block(6, struct.pack("<5I", 7, 0, 0, 4, 4) + bytes(4)),
        block(6, struct.pack("<5I", 0, 0, 0, 400, 4) + bytes(4)),
        struct.pack("<III", 0x0A0D0D0A, 28, 0) + bytes(16),
    ],
)
def test_a_pcapng_block_that_cannot_be(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "damaged"
    content = section() + interface() + enhanced(1, FRAMES[0])
    path.write_bytes(content + damage)
    with open_capture(str(path)) as capture:
        assert len(capture.read() or []) == 1
        with pytest.raises(MalformedCapture) as caught:
            capture.read()
        assert caught.value.offset >= len(content)


def test_the_recordings_read_whole() -> None:
    for path in CAPTURES.glob("*.pcap"):
        capture: CaptureFile = open_capture(str(path))
        frames = 0
        while (batch := capture.read()) is not None:
            frames += len(batch)
        assert frames
        assert not capture.truncated
        capture.close()
