"""What stands before the damage of a file comes first, also what waits in a screen, whichever picks the heads."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from crafted import write_pcap
from frames import Conversation, S
from screened import hello, nothing

from sensor.capture.offline.chunks import CHUNK_OCTETS
from sensor.capture.offline.file import open_capture
from sensor.capture.offline.heads import IS_COMPILED
from sensor.capture.offline.pcapng_file import Commented, write_pcapng
from sensor.capture.screening.choice import make_screen
from sensor.capture.screening.plain import PlainScreen
from sensor.capture.screening.screen import Screen
from sensor.errors import MalformedCapture
from sensor.packet import LinkType, Packet

NO_BLOCK = b"\xff" * 100  # of a type that there is not (RFC 1951 section 3.2.3)
SCREENS = [
    pytest.param(make_screen, id="compiled", marks=pytest.mark.skipif(not IS_COMPILED, reason="there was no compiler")),
    pytest.param(PlainScreen, id="plain"),
]


Write = Callable[[Path, list[Packet]], None]


def write_blocks(path: Path, packets: list[Packet]) -> None:
    path.write_bytes(write_pcapng([Commented(row) for row in packets]))


def read_until_damage(path: Path, screen: Screen) -> list[Packet]:
    found: list[Packet] = []
    with open_capture(str(path), heads_only=True, screen=screen) as source:
        try:
            while (batch := source.read()) is not None:
                found += batch
        except MalformedCapture:
            assert not source.truncated
            return found
    pytest.fail("the damage went by unnoticed")


@pytest.mark.parametrize("make", SCREENS)
@pytest.mark.parametrize(
    ("write", "damage"),
    [(write_pcap, struct.pack("<IIII", 9, 0, 2**31, 60)), (write_blocks, struct.pack("<II", 6, 2**31))],
)
def test_a_hello_that_waits_for_its_rest_comes_before_the_damage(
    make: Callable[[], Screen], write: Write, damage: bytes, tmp_path: Path
) -> None:
    talk = Conversation(start_ns=2 * S)
    begun = [*talk.open(), *talk.send(hello("connect.ngrok-agent.com")[:150])]
    path = tmp_path / "damaged"
    write(path, begun)
    with path.open("ab") as file:
        file.write(damage + bytes(60))
    screen = make()
    screen.ask = nothing
    assert [row.data for row in read_until_damage(path, screen)] == [row.data for row in begun]


@pytest.mark.parametrize("make", SCREENS)
@pytest.mark.parametrize("write", [write_pcap, write_blocks])
def test_what_a_damaged_compression_still_gave_is_read(
    make: Callable[[], Screen], write: Write, tmp_path: Path
) -> None:
    rows = [Packet(2 * S, LinkType.ETHERNET, bytes([number % 256]) * 1000, 1000) for number in range(400)]
    whole = tmp_path / "whole"
    write(whole, rows)
    deflate = zlib.compressobj(wbits=31)
    path = tmp_path / "damaged.gz"
    path.write_bytes(deflate.compress(whole.read_bytes()) + deflate.flush(zlib.Z_FULL_FLUSH) + NO_BLOCK)
    found = read_until_damage(path, make())
    assert [row.data for row in found] == [row.data for row in rows[: len(found)]]
    assert len(found) > len(rows) - CHUNK_OCTETS // 1000  # what zlib had at hand when it met the damage is lost
