# The compiled part of sensor.capture.heads.
from typing import TypeAlias

Row: TypeAlias = tuple[int, bytes, int]

# Answers (time, frame, octets on the wire) of each head among the next records; the offset behind the last record, how
# many records and octets on the wire there were, the time of the last one, and whether the next record is damaged.
def walk(
    table: bytearray,
    window: bytearray | bytes,
    at: int,
    end: int,
    records: int,
    record_header_octets: int,
    fraction_ns: int,
    is_swapped: bool,
    /,
) -> tuple[list[Row], int, int, int, int, bool]: ...
