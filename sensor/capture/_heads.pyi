# The compiled part of sensor.capture.heads.
from typing import TypeAlias

Row: TypeAlias = tuple[int, bytes, int]
Count: TypeAlias = tuple[int, bytes, int, int, int, int]

# Answers (time, frame, octets on the wire) of each head among the next records; the offset behind the last record, how
# many records and octets on the wire there were, the time of the last one, and whether the next record is damaged; the
# counts of flows that begin anew or were forgotten (behind how many heads, key as in sensor.flow, octets from its
# source and from the other end, packets, time of the last), and whether the next record begins all flows anew. The
# first record at `until_ns` or later is the last one.
def walk(
    table: bytearray,
    window: bytearray | bytes,
    at: int,
    end: int,
    records: int,
    record_header_octets: int,
    fraction_ns: int,
    is_swapped: bool,
    until_ns: int = ...,
    /,
) -> tuple[list[Row], int, int, int, int, bool, list[Count], bool]: ...

# Takes what was counted of a flow: octets from the source of `key` and from the other end, packets, time of the last.
def take(table: bytearray, key: bytes, /) -> tuple[int, int, int, int] | None: ...
