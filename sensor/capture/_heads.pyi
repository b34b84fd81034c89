"""The compiled part of sensor.capture.heads."""

Row = tuple[int, bytes, int]

def walk(  # noqa: PLR0917 - as PyArg_ParseTuple takes them
    table: bytearray,
    window: bytearray,
    at: int,
    end: int,
    records: int,
    record_header_octets: int,
    fraction_ns: int,
    is_swapped: bool,
    /,
) -> tuple[list[Row], int, int, int, int, bool]:
    """Return (time, frame, octets on the wire) of each head among the next records, where they end, and counts.

    The others are: the offset behind the last record, how many records and octets on the wire there were, the time of
    the last one, and whether the next record is damaged.
    """
