# The compiled part of sensor.capture.offline.heads.
from collections.abc import Callable
from mmap import mmap

from sensor.capture.filter.flow_table import CountRow
from sensor.capture.offline.layout import Layout
from sensor.packet import Packet

# Takes the next records up to one at `until_ns` or later, at most `records`, until there are `heads` among `found`,
# made by `make(time, link type, frame, octets on the wire, interface)`. To `counts` it adds those of flows that begin
# anew or were forgotten: behind how many heads, from which socket (0), key as in sensor.flows, octets from its source
# and from the other end, packets from each, time of the last. Answers the offset behind the last record, how many there
# were, the time of the last one, and whether the next one begins all flows anew; none is taken that is not all there or
# not as `layout` says. What `screen` holds back by what `ask` says (sensor.capture.screening.compiled) is not handed
# out, or later.
def walk(
    table: bytearray,
    window: bytearray | bytes,
    at: int,
    end: int,
    found: list[Packet],
    counts: list[CountRow],
    make: Callable[[int, int, bytes, int, str], Packet],
    records: int,
    heads: int,
    layout: Layout,
    until_ns: int = ...,
    screen: mmap | None = ...,
    ask: Callable[[int, str], bool] = ...,
    /,
) -> tuple[int, int, int, bool]: ...

# Takes what was counted of a flow: for each socket that showed it, its number, octets from the source of `key` and from
# the other end, packets from each, time of the last.
def take(table: bytearray, key: bytes, /) -> list[tuple[int, int, int, int, int, int]]: ...

# Appends what was counted of all flows to `counts`, behind no heads, and forgets it.
def take_all(table: bytearray, counts: list[CountRow], /) -> None: ...

# Reads an Ethernet frame with TCP or UDP: the flags, both addresses and both ports, sequence and acknowledgement
# number, the payload as far as it was captured, its octets on the wire; of UDP -1 and the ports instead of the numbers.
# None: whatever is not plain, or damaged (sensor.decoding.decode says how).
def read(frame: bytes, wire_octets: int, /) -> tuple[int, bytes, int, int, bytes, int] | None: ...
